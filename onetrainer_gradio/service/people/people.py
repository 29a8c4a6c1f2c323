"""Answer who a session, token or link belongs to, and sign people in."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from onetrainer_gradio.errors import AccountError, CodeRequiredError, NotAuthenticatedError, NotPermittedError
from onetrainer_gradio.service.host.access import LoginThrottle
from onetrainer_gradio.service.people.accounts import MAX_ACCOUNTS, Account, Accounts
from onetrainer_gradio.service.people.audit import AuditLog
from onetrainer_gradio.service.people.links import Link, Links
from onetrainer_gradio.service.people.roles import Identity, Kind, Role, Scope
from onetrainer_gradio.service.people.sessions import Session, Sessions
from onetrainer_gradio.service.people.store import PEOPLE_FILE, PeopleStore
from onetrainer_gradio.service.people.tokens import Tokens

# Without similar letters. 60 bits, and guessing is slowed down.
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_CODE_LENGTH = 12
# an account's name has at most 64 letters; the rest is for a number
_MAX_NAME = 58


class People:
    """Accounts, sessions, tokens, links and the audit log of a data folder. Safe from any thread."""

    def __init__(self, data: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: set[Callable[[], None]] = set()
        self._setup_code = ""
        self.store = PeopleStore(data / PEOPLE_FILE)
        self.accounts = Accounts(self.store, self._changed, clock)
        self.sessions = Sessions(self.store, self._changed, clock)
        self.tokens = Tokens(self.store, self._changed, clock)
        self.links = Links(self.store, self._changed, clock)
        self.audit = AuditLog(self.store, clock)
        self.throttle = LoginThrottle(clock)

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back, from any thread, when someone may have lost access. Return what ends this."""
        with self._lock:
            self._listeners.add(callback)
        return lambda: self._listeners.discard(callback)

    def _changed(self) -> None:
        for callback in tuple(self._listeners):
            callback()

    # who is it

    def of_session(self, secret: str) -> Identity | None:
        """Return who is signed in with a session, or None."""
        session = self.sessions.find(secret)
        if session is None:
            return None
        if session.link:
            link = self.links.find(session.link)
            return None if link is None else self._link_identity(link, session)
        account = self.accounts.find(session.account)
        if account is None:
            return None
        return Identity(Role.of(account.role), Kind.ACCOUNT, account.name, account.id, session.id)

    def of_token(self, secret: str, *, accounts: bool) -> Identity | None:
        """Return who a token belongs to, or None. ``accounts``: whether the panel has accounts.

        The role is the lower one of the account and the scope.
        """
        token = self.tokens.find(secret)
        if token is None:
            return None
        role, name = Role.OWNER, token.name
        if token.account:
            account = self.accounts.find(token.account)
            if account is None or not accounts:
                return None
            role, name = Role.of(account.role), account.name
        limited = min(role, Scope(token.scope).role)
        return Identity(limited, Kind.TOKEN, name, token.account, token.id)

    def _link_identity(self, link: Link, session: Session) -> Identity:
        return Identity(Role.of(link.role), Kind.LINK, f"link “{link.name}”", "", link.id, link.shows, link.run_id)

    # signing in

    def sign_in(self, name: str, password: str, code: str, address: str) -> str:
        """Return the secret of a new session.

        :raises NotAuthenticatedError: if the name, password or code is wrong.
        :raises CodeRequiredError: if the account also needs a code of its authenticator app.
        :raises TooManyAttemptsError: if this address has to wait.
        """
        self.throttle.check(address)
        account = self.accounts.check_password(name, password)
        if account is None:
            self.throttle.failed(address)
            raise NotAuthenticatedError("Wrong name or password.")
        if account.totp:
            if not code:
                raise CodeRequiredError("Enter the code of your authenticator app, or a recovery code.", path="code")
            if not self.accounts.use_code(account.id, code):
                self.throttle.failed(address)
                raise CodeRequiredError("This code is wrong, expired or already used.", path="code")
        self.throttle.passed(address)
        return self.signed_in(account, address)

    def sign_in_elsewhere(self, subject: str, name: str, role: Role, address: str) -> str:
        """Return the secret of a new session of someone whom a provider has identified by ``subject``.

        The first sign-in makes an account with ``role``. Later the account keeps the role that owners give it. An account with
        a password and the same name belongs to someone else.

        :raises NotPermittedError: if the account is disabled, or if the panel has no owner yet and this isn't one.
        :raises AccountError: if there are too many accounts.
        """
        with self._lock:
            account = self.accounts.of_subject(subject)
            if account is None:
                if self.needs_setup and role is not Role.OWNER:
                    raise NotPermittedError("This panel has no owner yet.", suggestion="Ask its owner to set it up first.")
                account = self.accounts.add(self._free_name(name), role, subject=subject)
                self._setup_code = ""
        if account.disabled:
            raise NotPermittedError(f"The account {account.name} is disabled.", suggestion="Ask an owner of the panel.")
        return self.signed_in(account, address)

    def _free_name(self, wanted: str) -> str:
        name = "".join(letter for letter in wanted if letter.isprintable()).strip()[:_MAX_NAME].strip() or "person"
        names = (name, *(f"{name} {number}" for number in range(2, MAX_ACCOUNTS + 2)))
        return next(each for each in names if self.accounts.named(each) is None)

    def signed_in(self, account: Account, address: str) -> str:
        """Return the secret of a new session of an account that has proven who it is."""
        self.accounts.seen(account.id)
        return self.sessions.start(account=account.id, address=address)

    def open_link(self, secret: str, address: str) -> tuple[Link, str] | None:
        """Exchange the secret of a link for a session, or return None if it is unknown, revoked or expired.

        :raises TooManyAttemptsError: if this address has to wait.
        """
        self.throttle.check(address)
        link = self.links.opened_by(secret)
        if link is None:
            self.throttle.failed(address)
            return None
        return link, self.sessions.start(link=link.id, address=address, expires=link.expires)

    # the first owner

    @property
    def needs_setup(self) -> bool:
        """Return whether there is no account yet."""
        return not self.accounts.all()

    def new_setup_code(self) -> str:
        """Return a new code that makes the first owner. It is only in memory and in the terminal."""
        letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))
        self._setup_code = letters
        return "-".join(letters[at : at + 4] for at in range(0, _CODE_LENGTH, 4))

    def set_up(self, code: str, name: str, password: str, address: str) -> str:
        """Add the first owner. Return the secret of a new session.

        :raises NotAuthenticatedError: if the code is wrong or used.
        :raises AccountError: if the name or password can't be used.
        :raises TooManyAttemptsError: if this address has to wait.
        """
        self.throttle.check(address)
        given = "".join(letter for letter in code.upper() if letter.isalnum())
        with self._lock:
            right = hmac.compare_digest(given.encode(errors="replace"), self._setup_code.encode()) and bool(self._setup_code)
            if not right:
                self.throttle.failed(address)
                raise NotAuthenticatedError("Wrong set-up code.", suggestion="Enter the code that the terminal shows.")
            if not self.needs_setup:
                raise AccountError("The panel already has an owner.", suggestion="Use the login page.")
            account = self.accounts.add(name, Role.OWNER, password)
            self._setup_code = ""
        self.throttle.passed(address)
        return self.signed_in(account, address)

    # leaving

    def end_session(self, secret: str) -> None:
        """End a session; an unknown one is ignored."""
        found = self.sessions.find(secret)
        if found is not None:
            self.sessions.end(lambda each: each.digest == found.digest)

    def remove_account(self, account_id: str) -> None:
        """Remove an account with its sessions and tokens.

        :raises LastOwnerError: if it is the last owner.
        """
        self.accounts.remove(account_id)
        self.sessions.end(lambda each: each.account == account_id)
        self.tokens.revoke(lambda each: each.account == account_id)

    def revoke_link(self, link_id: str) -> None:
        """Revoke a link and end its sessions."""
        self.links.get(link_id)
        self.links.revoke(lambda each: each.id == link_id)
        self.sessions.end(lambda each: each.link == link_id)

    def run_deleted(self, run_id: str) -> None:
        """Revoke the links to a run that no longer exists."""
        for link in [each for each in self.links.all() if each.run_id == run_id]:
            self.revoke_link(link.id)
