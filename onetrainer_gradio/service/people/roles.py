"""Define roles, the scopes of tokens, and who a request comes from."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Role(IntEnum):
    """What someone may do. Each role includes the ones below it.

    A viewer sees runs and samples. An operator also starts and stops runs and edits settings and data. An owner also manages
    people, secrets, engines and folders, and deletes. ``NOBODY`` is whoever has not signed in.
    """

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    OWNER = 3

    @property
    def word(self) -> str:
        """Return the role as it is written in REST and in the database."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """Return the role of a word.

        :raises ValueError: if there is no such role.
        """
        found = {role.word: role for role in cls if role is not cls.NOBODY}.get(word)
        if found is None:
            raise ValueError(f"{word!r} isn't a role")
        return found


class Scope(StrEnum):
    """What a token may be used for. It never allows more than the role of its person."""

    READ = "read"
    RUN = "run"
    ADMIN = "admin"

    @property
    def role(self) -> Role:
        """Return the highest role of a request with a token of this scope."""
        return {Scope.READ: Role.VIEWER, Scope.RUN: Role.OPERATOR, Scope.ADMIN: Role.OWNER}[self]


class Kind(StrEnum):
    """How a request was authenticated."""

    NOBODY = "nobody"
    LOCAL = "local"  # a panel that requires no sign-in
    PANEL = "panel"  # the panel's own password or token
    ACCOUNT = "account"
    TOKEN = "token"
    LINK = "link"


@dataclass(frozen=True)
class Identity:
    """Who a request comes from.

    ``name`` is shown to others, and empty for the only user of a panel without accounts. ``account`` is the ID of an account,
    ``via`` the ID of the session, token or link, and ``run_id`` and ``shows`` restrict a link.
    """

    role: Role
    kind: Kind
    name: str = ""
    account: str = ""
    via: str = ""
    shows: str = "panel"
    run_id: str = ""

    @property
    def restricted(self) -> bool:
        """Return whether a link opens only a part of the panel."""
        return self.shows != "panel"


LOCAL = Identity(Role.OWNER, Kind.LOCAL)
PANEL = Identity(Role.OWNER, Kind.PANEL)
STRANGER = Identity(Role.NOBODY, Kind.NOBODY)

# The key of the identity in a request's scope, for what doesn't run in the task of the request.
IDENTITY_KEY = "onetrainer_gradio.identity"

# The identity behind the current request. Calls from Python, the command line and the panel's own threads have the default.
_ACTING: ContextVar[Identity] = ContextVar("onetrainer_gradio_identity", default=LOCAL)


def acting() -> Identity:
    """Return who the current request comes from."""
    return _ACTING.get()


def act_as(identity: Identity) -> None:
    """Set who the rest of the current task acts for. Threads that it starts for a call inherit this."""
    _ACTING.set(identity)


def author(otherwise: str = "") -> str:
    """Return the name of who the current request comes from, or ``otherwise`` if it has none."""
    return acting().name or otherwise
