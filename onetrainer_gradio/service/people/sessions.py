"""Keep sessions of accounts and links. Only digests are stored, which are useless to a reader of the file."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.service.people.rows import Rows
from onetrainer_gradio.service.people.store import PeopleStore

SESSION_S = 30 * 24 * 3600.0
MAX_SESSIONS = 2000


@dataclass(frozen=True)
class Session:
    """A browser that is signed in as ``account``, or that opened ``link``."""

    digest: str
    account: str
    link: str
    created: float
    expires: float
    address: str

    @property
    def id(self) -> str:
        """Return an ID that may be shown."""
        return self.digest[:16]

    def as_dict(self) -> dict[str, Any]:
        """Return what the person may see."""
        return {"id": self.id, "created": self.created, "expires": self.expires, "address": self.address}


class Sessions:
    """All sessions that haven't expired."""

    def __init__(self, store: PeopleStore, changed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._changed = changed
        self._clock = clock
        self._rows = Rows(store, "sessions", Session, key="digest")

    def start(self, *, account: str = "", link: str = "", address: str = "", expires: float | None = None) -> str:
        """Return the secret of a new session. When there are too many, those that expire first end."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        until = now + SESSION_S if expires is None else min(expires, now + SESSION_S)
        session = Session(digest_of(secret), account, link, now, until, address)
        with self._rows.lock:
            known = sorted(self._rows.now.values(), key=lambda each: -each.expires)
            live = sum(each.expires > now for each in known)
            self._rows.put(session, without={each.digest for each in known[min(live, MAX_SESSIONS - 1) :]})
        return secret

    def find(self, secret: str) -> Session | None:
        """Return the session with this secret, or None if it ended or expired."""
        if not secret:
            return None
        found = self._rows.now.get(digest_of(secret))
        return found if found is not None and found.expires > self._clock() else None

    def of_account(self, account: str) -> list[Session]:
        """Return the sessions of an account, newest first."""
        now = self._clock()
        found = (each for each in self._rows.now.values() if each.account == account and each.expires > now)
        return sorted(found, key=lambda each: -each.created)

    def end(self, wanted: Callable[[Session], bool]) -> int:
        """End all sessions for which ``wanted`` is true. Return their number."""
        with self._rows.lock:
            ended = {each.digest for each in self._rows.now.values() if wanted(each)}
            if ended:
                self._rows.remove(ended)
        if ended:
            self._changed()
        return len(ended)


def digest_of(secret: str) -> str:
    """Return the digest that is stored instead of a secret with 128 random bits or more."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
