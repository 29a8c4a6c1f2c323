"""Keep API tokens of people: named, limited by scope and time, shown once, revocable."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from onetrainer_gradio.errors import AccountError, AccountNotFoundError
from onetrainer_gradio.service.people.roles import Scope
from onetrainer_gradio.service.people.rows import Rows
from onetrainer_gradio.service.people.sessions import digest_of
from onetrainer_gradio.service.people.store import PeopleStore

PREFIX = "otg_"
MAX_TOKENS = 1000
MAX_DAYS = 366
# The time of the last use is written at most this often.
USE_EVERY_S = 60.0
MAX_NAME = 80


@dataclass(frozen=True)
class Token:
    """A token of an account; an empty ``account`` is the only user of a panel without accounts."""

    id: str
    digest: str
    account: str
    name: str
    scope: str
    created: float
    expires: float
    last_used: float

    def as_dict(self) -> dict[str, Any]:
        """Return the token without its digest."""
        shown = ("id", "account", "name", "scope", "created", "expires", "last_used")
        return {name: getattr(self, name) for name in shown}


class Tokens:
    """All tokens."""

    def __init__(self, store: PeopleStore, changed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._changed = changed
        self._clock = clock
        self._rows = Rows(store, "tokens", Token, key="digest")

    def add(self, account: str, name: str, scope: Scope, days: float) -> tuple[Token, str]:
        """Return a new token and its secret, which is stored nowhere.

        :raises AccountError: if the name is empty, the time is invalid or there are too many tokens.
        """
        name = checked_title(name)
        secret = PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        token = Token(secrets.token_hex(8), digest_of(secret), account, name, scope.value, now, now + checked_days(days), 0.0)
        with self._rows.lock:
            if len(self._rows.now) >= MAX_TOKENS:
                raise AccountError(f"There are {MAX_TOKENS} tokens, which is the maximum.", suggestion="Remove tokens first.")
            self._rows.put(token)
        return token, secret

    def all(self) -> list[Token]:
        """Return all tokens, newest first."""
        return sorted(self._rows.now.values(), key=lambda each: -each.created)

    def get(self, token_id: str) -> Token:
        """Return a token.

        :raises AccountNotFoundError: if there is none with this ID.
        """
        found = self._of_id(token_id)
        if found is None:
            raise AccountNotFoundError("This token doesn't exist.", value=token_id)
        return found

    def find(self, secret: str) -> Token | None:
        """Return the token with this secret, or None if it is unknown, revoked or expired."""
        found = self._rows.now.get(digest_of(secret)) if secret.startswith(PREFIX) else None
        return found if found is not None and found.expires > self._clock() else None

    def is_use_due(self, token_id: str) -> bool:
        """Return whether the last noted use of a token is long enough ago to note another one."""
        known = self._of_id(token_id)
        return known is not None and self._clock() - known.last_used >= USE_EVERY_S

    def note_use(self, token_id: str) -> None:
        """Note that a token was used. Written at most once per minute.

        :raises StorageError: if it can't be written.
        """
        with self._rows.lock:
            known = self._of_id(token_id)
            if known is not None and self.is_use_due(token_id):
                self._rows.put(replace(known, last_used=self._clock()))

    def revoke(self, wanted: Callable[[Token], bool]) -> int:
        """Revoke all tokens for which ``wanted`` is true. Return their number."""
        with self._rows.lock:
            gone = {each.digest for each in self._rows.now.values() if wanted(each)}
            if gone:
                self._rows.remove(gone)
        if gone:
            self._changed()
        return len(gone)

    def _of_id(self, token_id: str) -> Token | None:
        return next((each for each in self._rows.now.values() if each.id == token_id), None)


def checked_title(name: str) -> str:
    """Return the name of a token or link.

    :raises AccountError: if it is empty or too long.
    """
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise AccountError(f"The name must have between 1 and {MAX_NAME} printable characters.", path="name")
    return name


def checked_days(days: float) -> float:
    """Return a lifetime in seconds.

    :raises AccountError: if it isn't between a minute and a year.
    """
    if not 1 / 1440 <= days <= MAX_DAYS:
        raise AccountError(f"The lifetime must be between a minute and {MAX_DAYS} days.", path="days", value=days)
    return days * 24 * 3600
