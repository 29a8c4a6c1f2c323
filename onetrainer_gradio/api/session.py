"""Log in and out: a page for people and two endpoints for programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from onetrainer_gradio.api.cookies import client_of, session_cookie, session_of
from onetrainer_gradio.api.dependencies import AccessRules, Service
from onetrainer_gradio.api.guard import local_path
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.api.replies import status_of
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.api.threads import control
from onetrainer_gradio.errors import (
    AccessError,
    AccountError,
    CodeRequiredError,
    NotAuthenticatedError,
    NotPermittedError,
    TooManyAttemptsError,
)
from onetrainer_gradio.service.host.access import Access
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.people.accounts import MAX_PASSWORD, MIN_PASSWORD
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.roles import PANEL, STRANGER, Role, acting

router = APIRouter(tags=["session"])

# The page loads nothing.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "Cache-Control": "no-store",
}


class Login(BaseModel):
    """The credentials: those of an account, or the panel's password or token."""

    password: str = Field(description="The password of the account, or the panel's password or token.")
    name: str = Field("", max_length=200, description="Name of the account. If empty, the panel's password or token counts.")
    code: str = Field("", max_length=50, description="Code of the authenticator app, or a recovery code.")


class SetUp(BaseModel):
    """The first owner of a panel with accounts."""

    code: str = Field(max_length=50, description="The set-up code from the terminal.")
    name: str = Field(max_length=200, description="Name of the owner.")
    password: str = Field(description="Password of the owner.")


class LoginReply(BaseModel):
    """The session has started; its cookie is in the headers."""

    ok: bool = True


class SessionReply(BaseModel):
    """Whether access is protected, and who is signed in."""

    ok: bool = True
    required: bool = Field(description="Whether people have to sign in.")
    accounts: bool = Field(False, description="Whether people sign in with accounts.")
    name: str = Field("", description="Name of who is signed in. Empty for the only user of a panel without accounts.")
    role: str = Field("owner", description="`viewer`, `operator` or `owner`.")
    kind: str = Field("local", description="`local`, `panel`, `account`, `token` or `link`.")
    shows: str = Field("panel", description="What a link opens: `run`, `gallery` or `panel`.")


@router.get("/api/session", response_model=SessionReply)
@control
def session(access: AccessRules) -> dict[str, Any]:
    """Show whether this panel requires signing in, and who is signed in."""
    who = acting()
    shown = {"name": who.name, "role": who.role.word, "kind": who.kind.value, "shows": who.shows}
    return {"ok": True, "required": access.required, "accounts": access.settings.accounts, **shown}


@router.post("/api/login", response_model=LoginReply, responses={401: ERRORS[401]})
@control
def login(body: Login, request: Request, access: AccessRules, service: Service) -> Response:
    """Log in and set the session cookie. Programs can send `Authorization: Bearer` with each request instead."""
    reply = SafeJSONResponse({"ok": True})
    if access.required:
        secret = start_session(request, access, service.people, body)
        reply.headers["Set-Cookie"] = session_cookie(request.scope, secret, hosted=access.settings.hosted)
    return reply


@router.post("/api/setup", response_model=LoginReply, responses={401: ERRORS[401]})
@control
def set_up(body: SetUp, request: Request, access: AccessRules, service: Service) -> Response:
    """Make the first owner with the set-up code from the terminal, and log in."""
    reply = SafeJSONResponse({"ok": True})
    secret = _set_up(request, access, service.people, body)
    reply.headers["Set-Cookie"] = session_cookie(request.scope, secret, hosted=access.settings.hosted)
    return reply


def start_session(request: Request, access: Access, people: People, body: Login) -> str:
    """Return the secret of a new session, end the former session of the browser, and record the attempt.

    :raises NotAuthenticatedError: if the credentials are wrong.
    :raises TooManyAttemptsError: if this address has to wait.
    """
    address = client_of(request.scope)
    by_account = access.settings.accounts and bool(body.name.strip())
    try:
        if by_account:
            secret = people.sign_in(body.name, body.password, body.code, address)
        else:
            secret = access.login(body.password, address)
    except (NotAuthenticatedError, TooManyAttemptsError) as error:
        people.audit.note(STRANGER, "sign in", target=body.name, address=address, status=status_of(error))
        raise
    end_former(request, access, people)
    people.audit.note(people.of_session(secret) or PANEL, "sign in", address=address, status=200)
    return secret


def _set_up(request: Request, access: Access, people: People, body: SetUp) -> str:
    if not access.settings.accounts:
        raise NotPermittedError("This panel has no accounts.", suggestion="Start it with --accounts.")
    address = client_of(request.scope)
    secret = people.set_up(body.code, body.name, body.password, address)
    end_former(request, access, people)
    people.audit.note(people.of_session(secret) or STRANGER, "set up", address=address, status=200)
    return secret


def end_former(request: Request, access: Access, people: People) -> None:
    """End the session that a browser had before it got a new one."""
    former = session_of(request.scope)
    if former:
        access.logout(former)
        people.end_session(former)


@router.post("/api/logout", response_model=LoginReply)
@control
def logout(request: Request, access: AccessRules, service: Service) -> Response:
    """Log out and end the session."""
    end_former(request, access, service.people)
    reply = SafeJSONResponse({"ok": True})
    reply.headers["Set-Cookie"] = session_cookie(request.scope, "", hosted=access.settings.hosted)
    return reply


@router.get("/login", include_in_schema=False)
@control
def login_page(
    request: Request, access: AccessRules, service: Service, following: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """Serve the login page."""
    if not access.required or acting().role >= Role.VIEWER:
        return RedirectResponse(prefix_of(request.scope) + local_path(following), status_code=303)
    if access.settings.accounts and service.people.needs_setup:
        return RedirectResponse(f"{prefix_of(request.scope)}/setup", status_code=303)
    return page(request, access, following)


@router.post("/login", include_in_schema=False)
async def login_form(request: Request, access: AccessRules, service: Service) -> Response:
    """Handle the login page's form, which works without scripts."""
    form = await _form(request)
    following = form.get("next", "/")
    reply: Response = RedirectResponse(prefix_of(request.scope) + local_path(following), status_code=303)
    if not access.required:
        return reply
    body = Login(password=form.get("password", ""), name=form.get("name", "")[:200], code=form.get("code", "")[:50])
    try:
        secret = await in_thread(Threads.CONTROL, start_session, request, access, service.people, body)
    except (NotAuthenticatedError, TooManyAttemptsError) as error:
        return page(request, access, following, error, name=body.name)
    reply.headers["Set-Cookie"] = session_cookie(request.scope, secret, hosted=access.settings.hosted)
    return reply


@router.get("/setup", include_in_schema=False)
@control
def setup_page(request: Request, access: AccessRules, service: Service) -> Response:
    """Serve the page that makes the first owner."""
    if not access.settings.accounts or not service.people.needs_setup:
        return RedirectResponse(f"{prefix_of(request.scope)}/login", status_code=303)
    return _setup_page(request, access, {})


@router.post("/setup", include_in_schema=False)
async def setup_form(request: Request, access: AccessRules, service: Service) -> Response:
    """Handle the form of the set-up page, which works without scripts."""
    form = await _form(request)
    body = SetUp(code=form.get("code", "")[:50], name=form.get("name", "")[:200], password=form.get("password", ""))
    try:
        secret = await in_thread(Threads.CONTROL, _set_up, request, access, service.people, body)
    except (NotAuthenticatedError, TooManyAttemptsError, AccountError) as error:
        return _setup_page(request, access, {"name": body.name, "code": body.code}, error)
    reply = RedirectResponse(f"{prefix_of(request.scope)}/", status_code=303)
    reply.headers["Set-Cookie"] = session_cookie(request.scope, secret, hosted=access.settings.hosted)
    return reply


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode("utf-8", "replace")
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True, max_num_fields=10).items()}


def page(
    request: Request,
    access: Access,
    following: str,
    error: AccessError | None = None,
    *,
    name: str = "",
    typed: bool = True,
) -> Response:
    """Return the login page; ``following`` is the path to open afterwards. ``typed``: the error is about the page's fields."""
    accounts = access.settings.accounts
    parts = {"accounts": accounts, "code": isinstance(error, CodeRequiredError), "password": not accounts}
    values = {"page": "Log in", "name": name, "invalid": "true" if error and typed else "false", **_links(request, following)}
    return _filled("login.html", values, error, parts | _offers(request, access))


def _setup_page(request: Request, access: Access, typed: Mapping[str, str], error: AccessError | None = None) -> Response:
    values = {"page": "Set up", "least": str(MIN_PASSWORD), "most": str(MAX_PASSWORD), **typed, **_links(request, "/")}
    return _filled("setup.html", values, error, _offers(request, access))


def _offers(request: Request, access: Access) -> dict[str, bool]:
    """Return which parts of the page about signing in with a provider are shown."""
    offered = request.app.state.identity_provider is not None
    return {"provider": offered, "frame": offered and access.settings.hosted, "own": offered and not access.settings.hosted}


def _links(request: Request, following: str) -> dict[str, str]:
    """Return the values of the page that depend on its path and the provider."""
    path, provider = local_path(following), request.app.state.identity_provider
    base = "../" * (request.scope["path"].removeprefix(prefix_of(request.scope)).count("/") - 1)
    return {"next": path, "quoted": quote(path, safe=""), "base": base, "title": provider.settings.title if provider else ""}


def _filled(file: str, values: Mapping[str, str], error: AccessError | None, parts: Mapping[str, bool] = {}) -> Response:
    """Return the page around a form, with values in its marks, and without the parts that aren't needed."""
    pages = files(__package__).joinpath("pages")
    frame, form = (pages.joinpath(each).read_text(encoding="utf-8") for each in ("sign_in.html", file))
    text = frame.replace("  <!-- form -->\n", form)
    for part, wanted in parts.items():
        text = re.sub(rf"\s*<!-- {part} -->(.*?)<!-- /{part} -->", r"\1" if wanted else "", text, flags=re.DOTALL)
    marks = {"error": error.message if error else "", "invalid": "true" if error else "false", "name": "", "code": "", **values}
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: escape(marks[found[1]]), text)
    status = 200 if error is None else status_of(error)
    return HTMLResponse(text, status_code=status, headers=PAGE_HEADERS)
