"""Control access to the panel: password, token, sessions, start link, and login throttling.

This module doesn't depend on HTTP. Sessions survive a restart of the panel: their file contains keyed digests, which are
useless to a reader, and a changed password or token ends all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.errors import CommandLineError, InsecureBindError, NotAuthenticatedError, TooManyAttemptsError
from onetrainer_gradio.service.host.atomic import read_json, write_json

log = logging.getLogger(__name__)

SESSION_S = 30 * 24 * 3600.0
MAX_SESSIONS = 1000
_MAX_SESSIONS_BYTES = 1 << 20
FREE_ATTEMPTS = 5
LONGEST_WAIT_S = 300.0
MAX_CLIENTS = 10_000
MAX_FAILURES, CROWD_S = 120, 60.0
MIN_SECRET = 8
# A token of this length can't be guessed: it is accepted however many failed attempts there are.
LONG_SECRET = 24

LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost", "localhost.localdomain"})


@dataclass(frozen=True)
class AccessSettings:
    """The access settings of the command line and the environment.

    ``hosts`` are names of the panel in addition to loopback ones; ``hosted`` means a Space, whose page is in a frame of
    another site; ``sessions_file`` keeps sessions over a restart (None: they are kept in memory). With ``accounts``, people
    sign in with accounts.
    """

    password: str = ""
    token: str = ""
    hosts: tuple[str, ...] = ()
    hosted: bool = False
    sessions_file: Path | None = None
    accounts: bool = False

    @property
    def required(self) -> bool:
        """Return whether people have to sign in."""
        return bool(self.password or self.token or self.accounts)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address reaches only this machine."""
    name = host.strip("[]").lower().rstrip(".")
    if name in LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def check_bind(settings: AccessSettings, *, host: str, share: bool) -> None:
    """Raise an error if the panel would be open to others without a password or token.

    :raises InsecureBindError: for any address but loopback, a share link, a Space or a public name, without password or token.
    :raises CommandLineError: if the password or token is too short to protect anything.
    """
    for name, secret in (("password", settings.password), ("token", settings.token)):
        if secret and len(secret) < MIN_SECRET:
            raise CommandLineError(f"The {name} has {len(secret)} characters. It must have at least {MIN_SECRET}.")
    if settings.required:
        return
    doors = {
        f"the address {host} is reachable from other machines": not is_loopback(host),
        "anyone can open a share link": share,
        "it runs in a hosted Space": settings.hosted,
        f"it is reachable as {', '.join(settings.hosts)}": not all(is_loopback(name) for name in settings.hosts),
    }
    for reason, is_open in doors.items():
        if is_open:
            raise InsecureBindError(
                f"The panel would be open without a password because {reason}.",
                suggestion="Start it with --accounts, --password or --token, or set ONETRAINER_GRADIO_PASSWORD.",
            )


class Access:
    """Check passwords, tokens and sessions. Safe from any thread.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, settings: AccessSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._key = hashlib.sha256(f"{settings.password}\0{settings.token}".encode()).digest()
        self._links: set[bytes] = set()
        self._login_throttle = LoginThrottle(clock)
        self._sessions = _read_sessions(settings.sessions_file)

    @property
    def required(self) -> bool:
        """Return whether people have to sign in."""
        return self.settings.required

    def login(self, secret: str, client: str) -> str:
        """Return a new session for a valid password or token; ``client`` is the address of the attempt.

        :raises NotAuthenticatedError: if it is neither.
        :raises TooManyAttemptsError: if this address has to wait.
        """
        self._login_throttle.check(client)
        if not self._is_secret(secret):
            self._login_throttle.failed(client)
            raise NotAuthenticatedError(
                "Wrong password or token.", expected="the password or token that the panel was started with"
            )
        self._login_throttle.passed(client)
        return self._new_session()

    def bearer(self, token: str, client: str) -> bool:
        """Return whether a program has access with this token.

        :raises TooManyAttemptsError: if this address has to wait.
        """
        if len(self.settings.token) >= LONG_SECRET and _same(token, self.settings.token):
            return True
        self._login_throttle.check(client)
        if not self._is_secret(token):
            self._login_throttle.failed(client)
            return False
        return True

    def session_valid(self, session: str) -> bool:
        """Return whether a session exists and hasn't expired."""
        with self._lock:
            return self._sessions.get(self._digest(session), 0.0) > self._clock()

    def logout(self, session: str) -> None:
        """End a session; an unknown one is ignored."""
        with self._lock:
            if self._sessions.pop(self._digest(session), None) is not None:
                self._write_sessions()

    def new_link(self) -> str:
        """Return a token that opens one session, once, for the link that the panel prints at startup."""
        link = secrets.token_urlsafe(24)
        with self._lock:
            self._links.add(hashlib.sha256(link.encode()).digest())
        return link

    def use_link(self, link: str, client: str) -> str | None:
        """Return a new session for an unused link, or None if it is used or unknown.

        :raises TooManyAttemptsError: if this address has to wait.
        """
        self._login_throttle.check(client)
        digest = hashlib.sha256(link.encode()).digest()
        with self._lock:
            known = digest in self._links
            self._links.discard(digest)
        if not known:
            self._login_throttle.failed(client)
            return None
        return self._new_session()

    def _is_secret(self, given: str) -> bool:
        # Both are always compared, so that the time doesn't reveal which of them exists.
        matches = [_same(given, known) for known in (self.settings.password, self.settings.token)]
        return any(matches)

    def _digest(self, session: str) -> str:
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    def _new_session(self) -> str:
        session = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            live = sorted(((end, key) for key, end in self._sessions.items() if end > now), reverse=True)[: MAX_SESSIONS - 1]
            self._sessions = {key: end for end, key in live}
            self._sessions[self._digest(session)] = now + SESSION_S
            self._write_sessions()
        return session

    def _write_sessions(self) -> None:
        path = self.settings.sessions_file
        if path is None:
            return
        try:
            write_json(path, self._sessions, mode=0o600, durable=False)
        except OSError as error:
            # A person who wants to free disk space can still sign in; ended sessions must not come back.
            log.warning("Can't write to %s (%s). Sessions end when the panel restarts.", path, error)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


class LoginThrottle:
    """Slow down guessing: after a few wrong attempts, each further one doubles the delay of that address.

    Behind a proxy, a request can fake its address, so all addresses together have at most ``MAX_FAILURES`` wrong attempts
    in ``CROWD_S`` seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}
        self._crowd: deque[float] = deque(maxlen=MAX_FAILURES)

    def check(self, client: str) -> None:
        """Allow an attempt of an address.

        :raises TooManyAttemptsError: if it has to wait.
        """
        with self._lock:
            count, last = self._failures.get(client, (0, 0.0))
            crowded_until = self._crowd[0] + CROWD_S if len(self._crowd) == MAX_FAILURES else 0.0
        now = self._clock()
        wait_s = max(_wait_s(count) - (now - last), crowded_until - now)
        if wait_s > 0:
            raise TooManyAttemptsError(wait_s)

    def failed(self, client: str) -> None:
        """Count a wrong attempt."""
        now = self._clock()
        with self._lock:
            if len(self._failures) >= MAX_CLIENTS:
                self._failures = {key: value for key, value in self._failures.items() if now - value[1] < LONGEST_WAIT_S}
            self._crowd.append(now)
            count, last = self._failures.get(client, (0, now))
            expired = now - last > 2 * LONGEST_WAIT_S
            self._failures[client] = (1 if expired else count + 1, now)

    def passed(self, client: str) -> None:
        """Forget the wrong attempts of an address that got in."""
        with self._lock:
            self._failures.pop(client, None)


def _wait_s(failures: int) -> float:
    excess = failures - FREE_ATTEMPTS
    return 0.0 if excess < 0 else min(2.0**excess, LONGEST_WAIT_S)


def _same(given: str, known: str) -> bool:
    # An empty secret doesn't count: it never gives access.
    return hmac.compare_digest(given.encode(errors="surrogatepass"), known.encode(errors="surrogatepass")) and bool(known)


def _read_sessions(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    body = read_json(path, _MAX_SESSIONS_BYTES)
    if not isinstance(body, dict):
        return {}  # no file, or a torn one: everybody logs in again
    return {str(key): float(end) for key, end in body.items() if isinstance(end, int | float) and math.isfinite(end)}
