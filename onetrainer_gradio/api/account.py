"""Let people manage their own account: password, authenticator app, sessions and tokens."""

from __future__ import annotations

from typing import Annotated, Any

import segno
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from onetrainer_gradio.api.cookies import client_of, session_of
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import Done
from onetrainer_gradio.api.threads import control, slow
from onetrainer_gradio.errors import AccountError, NotAuthenticatedError, NotPermittedError
from onetrainer_gradio.service.people.accounts import MAX_PASSWORD, Account
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.roles import Identity, Kind, Role, Scope, acting

router = APIRouter(prefix="/api/account", tags=["people"])

MAX_QR = 2000


class AccountReply(BaseModel):
    """Who is signed in, with what belongs to them."""

    ok: bool = True
    account: dict[str, Any] | None = Field(None, description="The account; null without one.")
    role: str = Field(description="The role of this request.")
    sessions: list[dict[str, Any]] = Field(default_factory=list, description="Browsers that are signed in, newest first.")
    tokens: list[dict[str, Any]] = Field(default_factory=list, description="API tokens, newest first, without their secrets.")
    usage: dict[str, Any] | None = Field(
        None,
        description="`gpu_hours` in the last `days`, `disk_bytes`, and `exceeded`: which quota is used up, as a sentence.",
    )


class NewPassword(BaseModel):
    """A new password, confirmed by the current one."""

    current: str = Field("", max_length=MAX_PASSWORD)
    new: str = Field(max_length=4 * MAX_PASSWORD)


class TotpOffer(BaseModel):
    """A new secret for an authenticator app. Nothing is stored yet."""

    ok: bool = True
    secret: str
    address: str = Field(description="The `otpauth` address.")
    qr: str = Field(description="The address as a QR code (SVG).")


class TotpConfirmation(BaseModel):
    """Proof that the app has the secret."""

    secret: str = Field(max_length=100)
    code: str = Field(max_length=20)
    password: str = Field("", max_length=MAX_PASSWORD, description="The current password.")


class Proof(BaseModel):
    """The current password."""

    password: str = Field("", max_length=MAX_PASSWORD)


class RecoveryReply(BaseModel):
    """Recovery codes, shown only once."""

    ok: bool = True
    recovery_codes: list[str]


class NewToken(BaseModel):
    """A token for programs."""

    name: str = Field(max_length=200)
    scope: Scope = Field(Scope.READ, description="`read`, `run` or `admin`; never more than your role.")
    days: float = Field(30, description="Lifetime in days, at most 366.")


class TokenReply(BaseModel):
    """A new token; its secret is shown only once."""

    ok: bool = True
    token: dict[str, Any]
    secret: str = Field(description="Send it as `Authorization: Bearer`.")


@router.get("", response_model=AccountReply)
@slow
def account(service: Service) -> dict[str, Any]:
    """Show who is signed in, with their sessions, tokens and usage."""
    who, people = acting(), service.people
    own = people.accounts.find(who.account) if who.account else None
    return {
        "account": own.as_dict() if own else None,
        "role": who.role.word,
        "usage": service.quotas.report(own) if own else None,
        "sessions": [{**each.as_dict(), "current": each.id == who.via} for each in people.sessions.of_account(who.account)]
        if who.account
        else [],
        "tokens": [each.as_dict() for each in people.tokens.all() if each.account == who.account] if _has_tokens(who) else [],
    }


@router.post("/password", response_model=Done)
@control
def change_password(service: Service, body: NewPassword, request: Request) -> dict[str, Any]:
    """Set a new password. All other sessions of the account end."""
    own = _own(service.people)
    _prove(service.people, own, body.current, client_of(request.scope))
    service.people.accounts.set_password(own.id, body.new)
    current = service.people.sessions.find(session_of(request.scope))
    keep = current.digest if current else ""
    service.people.sessions.end(lambda each: each.account == own.id and each.digest != keep)
    return {}


@router.post("/two-factor/offer", response_model=TotpOffer)
@control
def offer_two_factor(service: Service) -> dict[str, Any]:
    """Return a new secret for an authenticator app. It counts once a code of the app confirms it."""
    offer = service.people.accounts.offer_totp(_own(service.people).id)
    return {**offer, "qr": qr_code(offer["address"])}


@router.put("/two-factor", response_model=RecoveryReply)
@control
def turn_on_two_factor(service: Service, body: TotpConfirmation, request: Request) -> dict[str, Any]:
    """Require a code of the app at each sign-in. Return the recovery codes."""
    own = _own(service.people)
    _prove(service.people, own, body.password, client_of(request.scope))
    return {"recovery_codes": service.people.accounts.turn_on_totp(own.id, body.secret, body.code)}


@router.delete("/two-factor", response_model=Done)
@control
def turn_off_two_factor(service: Service, body: Proof, request: Request) -> dict[str, Any]:
    """Require only the password from now on."""
    own = _own(service.people)
    _prove(service.people, own, body.password, client_of(request.scope))
    service.people.accounts.turn_off_totp(own.id)
    return {}


@router.delete("/sessions/{session_id}", response_model=Done)
@control
def end_session(service: Service, session_id: Annotated[str, Path(max_length=64)]) -> dict[str, Any]:
    """End one of your sessions, such as that of a lost phone."""
    own = _own(service.people)
    service.people.sessions.end(lambda each: each.account == own.id and each.id == session_id)
    return {}


@router.post("/tokens", response_model=TokenReply)
@control
def add_token(service: Service, body: NewToken) -> dict[str, Any]:
    """Make a token for programs. Its secret is shown only once."""
    who = acting()
    if not _has_tokens(who):
        raise NotPermittedError("Only someone who is signed in can make tokens.")
    if body.scope.role > who.role:
        raise NotPermittedError(f"The scope {body.scope.value} is more than your role, {who.role.word}.")
    token, secret = service.people.tokens.add(who.account, body.name, body.scope, body.days)
    return {"token": token.as_dict(), "secret": secret}


@router.delete("/tokens/{token_id}", response_model=Done)
@control
def revoke_token(service: Service, token_id: Annotated[str, Path(max_length=64)]) -> dict[str, Any]:
    """Revoke one of your tokens. An owner can revoke the tokens of everyone."""
    who = acting()
    token = service.people.tokens.get(token_id)
    if (token.account != who.account and who.role < Role.OWNER) or not _has_tokens(who):
        raise NotPermittedError("This is a token of someone else.")
    service.people.tokens.revoke(lambda each: each.id == token_id)
    return {}


def qr_code(text: str) -> str:
    """Return a QR code as an SVG image without fixed size."""
    if len(text) > MAX_QR:
        raise AccountError("This address is too long for a QR code.")
    return str(segno.make(text, error="m").svg_inline(scale=4, border=4, omitsize=True, dark="#000", light="#fff"))


def _has_tokens(who: Identity) -> bool:
    """Return whether tokens belong to this identity. A link has none, and a token makes others only with the scope admin."""
    return who.kind in {Kind.ACCOUNT, Kind.PANEL, Kind.LOCAL} or (who.kind is Kind.TOKEN and who.role is Role.OWNER)


def _own(people: People) -> Account:
    """Return the account of who is signed in in a browser.

    :raises NotPermittedError: if it is a token, a link or the panel's password.
    """
    who = acting()
    if who.kind is not Kind.ACCOUNT:
        raise NotPermittedError("Only someone who is signed in with an account can do this.")
    return people.accounts.get(who.account)


def _prove(people: People, own: Account, password: str, address: str) -> None:
    """Check the current password, so that an unlocked browser isn't enough.

    :raises NotAuthenticatedError: if it is wrong. An account without password signs in elsewhere and needs none.
    :raises TooManyAttemptsError: if this address has to wait.
    """
    if not own.password:
        return
    people.throttle.check(address)
    if people.accounts.check_password(own.name, password) is None:
        people.throttle.failed(address)
        raise NotAuthenticatedError("Wrong password.", path="password")
