"""Log in and out: a page for people and two endpoints for programs."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from onetrainer_gradio.api.cookies import client_of, session_cookie, session_of
from onetrainer_gradio.api.dependencies import AccessRules
from onetrainer_gradio.api.guard import local_path
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.api.threads import control
from onetrainer_gradio.errors import AccessError, NotAuthenticatedError, TooManyAttemptsError
from onetrainer_gradio.service.host.threads import Threads, in_thread

router = APIRouter(tags=["session"])

# The page loads nothing.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "Cache-Control": "no-store",
}


class Login(BaseModel):
    """The credentials."""

    password: str = Field(description="The panel's password or token.")


class LoginReply(BaseModel):
    """The session has started; its cookie is in the headers."""

    ok: bool = True


class SessionReply(BaseModel):
    """Whether access is protected."""

    ok: bool = True
    required: bool = Field(description="Whether a password or token is required.")


@router.get("/api/session", response_model=SessionReply)
@control
def session(access: AccessRules) -> dict[str, bool]:
    """Show whether this panel requires a password or token."""
    return {"ok": True, "required": access.required}


@router.post("/api/login", response_model=LoginReply, responses={401: ERRORS[401]})
@control
def login(body: Login, request: Request, access: AccessRules) -> Response:
    """Log in and set the session cookie. Programs can send `Authorization: Bearer` with each request instead."""
    reply = SafeJSONResponse({"ok": True})
    if access.required:
        session = access.login(body.password, client_of(request.scope))
        reply.headers["Set-Cookie"] = session_cookie(request.scope, session, hosted=access.settings.hosted)
    return reply


@router.post("/api/logout", response_model=LoginReply)
@control
def logout(request: Request, access: AccessRules) -> Response:
    """Log out and end the session."""
    access.logout(session_of(request.scope))
    reply = SafeJSONResponse({"ok": True})
    reply.headers["Set-Cookie"] = session_cookie(request.scope, "", hosted=access.settings.hosted)
    return reply


@router.get("/login", include_in_schema=False)
@control
def login_page(request: Request, access: AccessRules, following: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Serve the login page."""
    if not access.required or access.session_valid(session_of(request.scope)):
        return RedirectResponse(prefix_of(request.scope) + local_path(following), status_code=303)
    return page(following)


@router.post("/login", include_in_schema=False)
async def login_form(request: Request, access: AccessRules) -> Response:
    """Handle the login page's form, which works without scripts."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    following = form.get("next", ["/"])[0]
    reply: Response = RedirectResponse(prefix_of(request.scope) + local_path(following), status_code=303)
    if not access.required:
        return reply
    try:
        session = await in_thread(Threads.CONTROL, access.login, form.get("password", [""])[0], client_of(request.scope))
    except (NotAuthenticatedError, TooManyAttemptsError) as error:
        return page(following, error)
    reply.headers["Set-Cookie"] = session_cookie(request.scope, session, hosted=access.settings.hosted)
    return reply


def page(following: str, error: AccessError | None = None) -> Response:
    """Return the login page; ``following`` is the path to open afterwards."""
    text = files(__package__).joinpath("pages/login.html").read_text(encoding="utf-8")
    values: dict[str, str] = {
        "{{next}}": escape(local_path(following)),
        "{{error}}": escape(error.message) if error else "",
        "{{invalid}}": "true" if error else "false",
    }
    for mark, value in values.items():
        text = text.replace(mark, value)
    status = {NotAuthenticatedError: 401, TooManyAttemptsError: 429}.get(type(error), 200) if error else 200
    return HTMLResponse(text, status_code=status, headers=PAGE_HEADERS)
