"""Sign in with an OpenID Connect provider: send the browser there, and check its answer."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from onetrainer_gradio.api.cookies import HTTPS, client_of, cookie_name, host_of, session_cookie
from onetrainer_gradio.api.dependencies import AccessRules, Service
from onetrainer_gradio.api.guard import local_path
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.api.public_address import public_address
from onetrainer_gradio.api.replies import status_of
from onetrainer_gradio.api.session import end_former, page
from onetrainer_gradio.api.threads import sign_in
from onetrainer_gradio.errors import AccessError, NotPermittedError
from onetrainer_gradio.service.host.access import Access
from onetrainer_gradio.service.people.identity_provider import ATTEMPT_S, Attempt, IdentityProvider
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.provider_settings import Profile
from onetrainer_gradio.service.people.roles import STRANGER, Role

router = APIRouter(tags=["session"])

CALLBACK = "/login/callback"
# One cookie for each tab that is signing in; with more than this, all are removed.
MAX_ATTEMPTS = 5
_SHOWN_STATE = 12


@router.get("/login/start", include_in_schema=False)
@sign_in
def start(request: Request, access: AccessRules, service: Service) -> Response:
    """Send the browser to the provider."""
    provider: IdentityProvider | None = request.app.state.identity_provider
    following = local_path(request.query_params.get("next", "/"))
    if provider is None:
        return _to_login(request.scope)
    try:
        address, attempt = provider.begin(public_address(request.scope, access) + CALLBACK, following)
    except AccessError as error:
        return page(request, access, following, error, typed=False)
    reply = RedirectResponse(address, status_code=303, headers={"Cache-Control": "no-store"})
    earlier = [name for name in request.cookies if name.startswith(_attempt_cookie(request.scope, ""))]
    for name in earlier if len(earlier) >= MAX_ATTEMPTS else ():
        reply.headers.append("Set-Cookie", _cookie(request.scope, access, name, ""))
    name = _attempt_cookie(request.scope, attempt.state)
    reply.headers.append("Set-Cookie", _cookie(request.scope, access, name, provider.sealed(attempt)))
    return reply


@router.get(CALLBACK, include_in_schema=False)
@sign_in
def callback(request: Request, access: AccessRules, service: Service) -> Response:
    """Check what the provider sent through the browser, and sign in."""
    provider: IdentityProvider | None = request.app.state.identity_provider
    if provider is None:
        return _to_login(request.scope)
    people, address = service.people, client_of(request.scope)
    name = _attempt_cookie(request.scope, request.query_params.get("state", ""))
    attempt: Attempt | None = None
    profile: Profile | None = None
    try:
        attempt = provider.opened(request.cookies.get(name, ""), request.query_params.get("state", ""))
        profile = provider.finish(attempt, request.query_params)
        secret = signed_in(people, provider, profile, address)
    except AccessError as error:
        target = f"{provider.settings.title}: {profile.shown if profile else ''}"
        people.audit.note(STRANGER, "sign in", target=target, address=address, status=status_of(error))
        reply = page(request, access, attempt.following if attempt else "/", error, typed=False)
    else:
        end_former(request, access, people)
        who = people.of_session(secret) or STRANGER
        people.audit.note(who, "sign in", target=provider.settings.title, address=address, status=200)
        reply = RedirectResponse(prefix_of(request.scope) + local_path(attempt.following), status_code=303)
        reply.headers.append("Set-Cookie", session_cookie(request.scope, secret, hosted=access.settings.hosted))
    reply.headers["Cache-Control"] = "no-store"
    reply.headers.append("Set-Cookie", _cookie(request.scope, access, name, ""))
    return reply


def signed_in(people: People, provider: IdentityProvider, profile: Profile, address: str) -> str:
    """Return the secret of a new session for someone whom the list names.

    :raises NotPermittedError: if it doesn't, if the account is disabled, or if the panel has no owner yet.
    """
    role = provider.settings.role_of(profile)
    if role is Role.NOBODY:
        hint = " The provider hasn't verified the email address of this account." if profile.unverified else ""
        raise NotPermittedError(
            f"{provider.settings.title} signed you in as “{profile.shown}”, who isn't on the list of this panel.{hint}",
            suggestion="Ask its owner to add you.",
        )
    return people.sign_in_elsewhere(profile.key, profile.shown, role, address)


def _to_login(scope: Scope) -> Response:
    return RedirectResponse(f"{prefix_of(scope)}/login", status_code=303)


def _attempt_cookie(scope: Scope, state: str) -> str:
    letters = "".join(letter for letter in state if letter.isascii() and letter.isalnum())
    return f"{cookie_name(host_of(scope))}_attempt_{letters[:_SHOWN_STATE]}"


def _cookie(scope: Scope, access: Access, name: str, value: str) -> str:
    """Return the Set-Cookie header of an attempt. The provider's answer is a navigation, so ``Lax`` lets it through."""
    parts = [f"{name}={value}", f"Path={prefix_of(scope)}/login", "HttpOnly", "SameSite=Lax"]
    parts.append(f"Max-Age={round(ATTEMPT_S) if value else 0}")
    if access.settings.hosted or scope["scheme"] in HTTPS:
        parts.append("Secure")
    return "; ".join(parts)
