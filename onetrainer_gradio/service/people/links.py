"""Keep links that open a part of the panel without an account: one run, the gallery, or the whole panel."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from onetrainer_gradio.errors import AccountError, AccountNotFoundError
from onetrainer_gradio.service.people.roles import Role
from onetrainer_gradio.service.people.rows import Rows
from onetrainer_gradio.service.people.sessions import digest_of
from onetrainer_gradio.service.people.store import PeopleStore
from onetrainer_gradio.service.people.tokens import USE_EVERY_S, checked_days, checked_title

MAX_LINKS = 1000
LINK_ROLES = (Role.VIEWER, Role.OPERATOR)


class Shows(StrEnum):
    """What a link opens."""

    RUN = "run"
    GALLERY = "gallery"
    PANEL = "panel"


@dataclass(frozen=True)
class Link:
    """A link. ``shows`` is what it opens, and ``run_id`` the run if it opens one."""

    id: str
    digest: str
    made_by: str
    name: str
    shows: str
    run_id: str
    role: str
    created: float
    expires: float
    last_used: float

    def as_dict(self) -> dict[str, Any]:
        """Return the link without its digest."""
        shown = ("id", "made_by", "name", "shows", "run_id", "role", "created", "expires", "last_used")
        return {name: getattr(self, name) for name in shown}


class Links:
    """All links. A revoked one is removed, and its sessions end with it."""

    def __init__(self, store: PeopleStore, changed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._changed = changed
        self._clock = clock
        self._rows = Rows(store, "links", Link, key="id")

    def add(self, made_by: str, name: str, shows: str, role: Role, days: float, run_id: str = "") -> tuple[Link, str]:
        """Return a new link and its secret, which is stored nowhere.

        :raises AccountError: if it would give more than the role operator, or a value is invalid.
        """
        name = checked_title(name)
        if shows not in {each.value for each in Shows}:
            raise AccountError(f"{shows!r} can't be shared.", path="shows", suggestion=f"Use one of {', '.join(Shows)}.")
        if role not in LINK_ROLES or (shows == "gallery" and role is not Role.VIEWER):
            raise AccountError(f"A link to the {shows} can't have the role {role.word}.", path="role", suggestion="Use viewer.")
        if bool(run_id) != (shows == "run"):
            raise AccountError("Only a link to a run has a run, and it needs one.", path="run_id")
        secret = secrets.token_urlsafe(24)
        now = self._clock()
        link = Link(
            secrets.token_hex(8),
            digest_of(secret),
            made_by,
            name,
            shows,
            run_id,
            role.word,
            now,
            now + checked_days(days),
            0.0,
        )
        with self._rows.lock:
            if len(self._rows.now) >= MAX_LINKS:
                raise AccountError(f"There are {MAX_LINKS} links, which is the maximum.", suggestion="Remove links first.")
            self._rows.put(link)
        return link, secret

    def all(self) -> list[Link]:
        """Return all links, newest first."""
        return sorted(self._rows.now.values(), key=lambda each: -each.created)

    def get(self, link_id: str) -> Link:
        """Return a link.

        :raises AccountNotFoundError: if there is none with this ID.
        """
        found = self._rows.now.get(link_id)
        if found is None:
            raise AccountNotFoundError("This link doesn't exist.", value=link_id)
        return found

    def find(self, link_id: str) -> Link | None:
        """Return a link that hasn't expired, or None."""
        found = self._rows.now.get(link_id)
        return found if found is not None and found.expires > self._clock() else None

    def opened_by(self, secret: str) -> Link | None:
        """Return the link with this secret, or None if it is unknown, revoked or expired. Note its use."""
        digest, now = digest_of(secret), self._clock()
        with self._rows.lock:
            found = next((each for each in self._rows.now.values() if each.digest == digest and each.expires > now), None)
            if found is not None and now - found.last_used >= USE_EVERY_S:
                found = replace(found, last_used=now)
                self._rows.put(found)
        return found

    def revoke(self, wanted: Callable[[Link], bool]) -> int:
        """Revoke all links for which ``wanted`` is true. Return their number."""
        with self._rows.lock:
            gone = {each.id for each in self._rows.now.values() if wanted(each)}
            if gone:
                self._rows.remove(gone)
        if gone:
            self._changed()
        return len(gone)
