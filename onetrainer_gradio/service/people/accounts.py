"""Keep accounts: names, roles, passwords, authenticator apps and recovery codes."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from onetrainer_gradio.errors import AccountError, AccountNotFoundError, LastOwnerError
from onetrainer_gradio.service.people.roles import Role
from onetrainer_gradio.service.people.rows import Rows
from onetrainer_gradio.service.people.store import PeopleStore

MAX_ACCOUNTS = 500
MIN_PASSWORD, MAX_PASSWORD = 8, 256
RECOVERY_CODES = 10
PASSWORD_COST = RFC_9106_LOW_MEMORY
TOTP_STEP_S = 30
ISSUER = "OneTrainer panel"
_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")


@dataclass(frozen=True)
class Account:
    """One person. ``as_dict`` has what others may see."""

    id: str
    name: str
    role: str
    password: str = ""
    totp: str = ""
    totp_step: int = 0
    recovery: str = "[]"
    subject: str = ""
    created: float = 0.0
    last_seen: float = 0.0
    disabled: int = 0
    gpu_hours: float | None = None
    disk_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the account without its secrets."""
        hidden = {"password", "totp", "totp_step", "recovery", "subject"}
        shown = {key: value for key, value in asdict(self).items() if key not in hidden}
        signs_in = {"has_password": bool(self.password), "two_factor": bool(self.totp), "external": bool(self.subject)}
        return {**shown, **signs_in, "disabled": bool(self.disabled), "recovery_codes": len(json.loads(self.recovery))}


class Accounts:
    """All accounts."""

    def __init__(self, store: PeopleStore, changed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._changed = changed
        self._clock = clock
        self._rows = Rows(store, "accounts", Account, key="id")
        self._hasher = PasswordHasher.from_parameters(PASSWORD_COST)
        self._unknown = ""

    def all(self) -> list[Account]:
        """Return all accounts by name."""
        return sorted(self._rows.now.values(), key=lambda account: account.name.lower())

    def get(self, account_id: str) -> Account:
        """Return an account.

        :raises AccountNotFoundError: if there is none with this ID.
        """
        found = self._rows.now.get(account_id)
        if found is None:
            raise AccountNotFoundError("This account doesn't exist.", value=account_id)
        return found

    def find(self, account_id: str) -> Account | None:
        """Return an account that may sign in, or None."""
        found = self._rows.now.get(account_id)
        return None if found is None or found.disabled else found

    def named(self, name: str) -> Account | None:
        """Return the account with this name in any case, or None."""
        wanted = name.strip().lower()
        return next((each for each in self._rows.now.values() if each.name.lower() == wanted), None)

    def id_of_name(self, name: str) -> str:
        """Return the ID of the account with this name; empty if there is none."""
        found = self.named(name) if name else None
        return "" if found is None else found.id

    def of_subject(self, subject: str) -> Account | None:
        """Return the account of an external sign-in, or None."""
        return next((each for each in self._rows.now.values() if subject and each.subject == subject), None)

    def add(self, name: str, role: Role, password: str = "", *, subject: str = "") -> Account:
        """Add an account.

        :raises AccountError: if the name is taken or invalid, the password is too short, or there are too many accounts.
        """
        with self._rows.lock:
            name = _checked_name(name)
            if len(self._rows.now) >= MAX_ACCOUNTS:
                raise AccountError(f"There are {MAX_ACCOUNTS} accounts, which is the maximum.")
            if self.named(name):
                raise AccountError(f"An account with the name {name!r} already exists.", path="name", value=name)
            hashed = self._hashed(password) if password or not subject else ""
            account = Account(secrets.token_hex(8), name, role.word, hashed, subject=subject, created=self._clock())
            self._rows.put(account)
        self._changed()
        return account

    def change(self, account_id: str, changes: dict[str, Any]) -> Account:
        """Change ``name``, ``role``, ``disabled``, ``password``, ``gpu_hours`` or ``disk_bytes`` of an account: all or nothing.

        :raises LastOwnerError: if no owner would be left who can sign in.
        :raises AccountError: if a value is invalid.
        """
        wanted = dict(changes)
        if "password" in wanted:
            wanted["password"] = self._hashed(str(wanted["password"]))
        with self._rows.lock:
            account = self.get(account_id)
            if "name" in wanted:
                wanted["name"] = _checked_name(str(wanted["name"]))
                other = self.named(wanted["name"])
                if other is not None and other.id != account_id:
                    raise AccountError(f"An account with the name {other.name!r} already exists.", path="name")
            if "disabled" in wanted:
                wanted["disabled"] = int(wanted["disabled"])
            changed = replace(account, **wanted)
            self._raise_if_last_owner(account, changed)
            return self._put(changed)

    def remove(self, account_id: str) -> Account:
        """Remove an account.

        :raises LastOwnerError: if it is the last owner.
        """
        with self._rows.lock:
            account = self.get(account_id)
            self._raise_if_last_owner(account, None)
            self._rows.remove({account_id})
        self._changed()
        return account

    def seen(self, account_id: str) -> None:
        """Note that someone signed in."""
        with self._rows.lock:
            self._put(replace(self.get(account_id), last_seen=self._clock()), quiet=True)

    # passwords

    def set_password(self, account_id: str, password: str) -> None:
        """Set a new password.

        :raises AccountError: if it is too short or too long.
        """
        self.change(account_id, {"password": password})

    def check_password(self, name: str, password: str) -> Account | None:
        """Return the account with this name and password, or None. An unknown name takes as long as a wrong password."""
        account = self.named(name)
        if account is None or not account.password or len(password) > MAX_PASSWORD:
            self._matches(self._hash_of_nobody(), password[:MAX_PASSWORD])
            return None
        if not self._matches(account.password, password) or account.disabled:
            return None
        if self._hasher.check_needs_rehash(account.password):
            self.set_password(account.id, password)
        return account

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password.encode(errors="surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False

    def _hashed(self, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise AccountError(
                f"The password has {len(password)} characters. It must have between {MIN_PASSWORD} and {MAX_PASSWORD}.",
                path="password",
            )
        return self._hasher.hash(password.encode(errors="surrogatepass"))

    def _hash_of_nobody(self) -> str:
        if not self._unknown:
            self._unknown = self._hasher.hash(secrets.token_urlsafe(16))
        return self._unknown

    # authenticator apps

    def offer_totp(self, account_id: str) -> dict[str, str]:
        """Return a new secret for an authenticator app, and its address for a QR code. Nothing is stored yet.

        :raises AccountError: if the account has no password: no sign-in with a provider asks for the code.
        """
        name = self._with_password(account_id).name
        secret = pyotp.random_base32()
        return {"secret": secret, "address": pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)}

    def turn_on_totp(self, account_id: str, secret: str, code: str) -> list[str]:
        """Require a code of the app from now on. Return the recovery codes, which are shown only once.

        :raises AccountError: if the code doesn't match the secret, or the account has no password.
        """
        self._with_password(account_id)
        if not re.fullmatch(r"[A-Z2-7]{32}", secret) or not self._totp_step(secret, code, 0):
            raise AccountError("The code doesn't match.", path="code", suggestion="Enter the current code of the app.")
        codes = ["-".join((secrets.token_hex(3), secrets.token_hex(3))) for _ in range(RECOVERY_CODES)]
        with self._rows.lock:
            step = self._totp_step(secret, code, 0)
            digests = json.dumps([_digest(each) for each in codes])
            self._put(replace(self.get(account_id), totp=secret, totp_step=step, recovery=digests))
        return codes

    def _with_password(self, account_id: str) -> Account:
        account = self.get(account_id)
        if not account.password:
            raise AccountError(
                "This account has no password.",
                suggestion="Turn on a second factor at your sign-in provider, or set a password first.",
            )
        return account

    def turn_off_totp(self, account_id: str) -> None:
        """Require only the password from now on."""
        with self._rows.lock:
            self._put(replace(self.get(account_id), totp="", totp_step=0, recovery="[]"))

    def use_code(self, account_id: str, code: str) -> bool:
        """Return whether a code of the app, or a recovery code, is valid. Each one is accepted once."""
        with self._rows.lock:
            account = self.get(account_id)
            given = "".join(code.split()).lower()
            if step := self._totp_step(account.totp, given, account.totp_step):
                self._put(replace(account, totp_step=step), quiet=True)
                return True
            digests = json.loads(account.recovery)
            left = [each for each in digests if not hmac.compare_digest(each, _digest(given))]
            if len(left) == len(digests):
                return False
            self._put(replace(account, recovery=json.dumps(left)), quiet=True)
            return True

    def _totp_step(self, secret: str, code: str, after: int) -> int:
        """Return the time step of a code that is valid now, or 0. The clock of the app may be off by one step."""
        now = int(self._clock()) // TOTP_STEP_S
        app = pyotp.TOTP(secret) if secret and code.isascii() and code.isdigit() else None
        steps = [step for step in (now - 1, now, now + 1) if app and step > after]
        return next((step for step in steps if app and hmac.compare_digest(app.at(step * TOTP_STEP_S), code)), 0)

    def _put(self, account: Account, *, quiet: bool = False) -> Account:
        self._rows.put(account)
        if not quiet:
            self._changed()
        return account

    def _raise_if_last_owner(self, account: Account, changed: Account | None) -> None:
        def owns(each: Account | None) -> bool:
            return each is not None and each.role == Role.OWNER.word and not each.disabled

        others = (each for each in self._rows.now.values() if each.id != account.id)
        if owns(account) and not owns(changed) and not any(map(owns, others)):
            raise LastOwnerError(
                f"{account.name} is the last owner.",
                suggestion="Choose another owner first.",
                value=account.name,
            )


def _checked_name(name: str) -> str:
    name = name.strip()
    if not _NAME.fullmatch(name) or any(0xD800 <= ord(letter) <= 0xDFFF for letter in name):
        raise AccountError("The name must have between 1 and 64 printable characters.", path="name")
    return name


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest()
