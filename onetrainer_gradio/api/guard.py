"""Guard all routes: pages, REST, WebSocket, files, documentation and Gradio's own paths.

This is a plain ASGI middleware, because Starlette's base class doesn't handle WebSockets and buffers streams. It checks in this
order: the name of the panel (Host), the page that sent the request (Origin), the session or token, and the role that the route
needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.allowed import CLOSE_NOT_AUTHENTICATED, note_use, record, while_allowed
from onetrainer_gradio.api.cookies import client_of, host_of, session_cookie, session_of
from onetrainer_gradio.api.policy import complete
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.api.replies import error_reply, trainer_error_reply
from onetrainer_gradio.api.route_table import MATCHED_KEY, Matched, RouteTable
from onetrainer_gradio.errors import (
    AccessError,
    ForbiddenOriginError,
    NotAuthenticatedError,
    NotPermittedError,
    TooManyAttemptsError,
)
from onetrainer_gradio.service.host.access import Access, is_loopback
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.permissions import check, needed, recorded
from onetrainer_gradio.service.people.roles import IDENTITY_KEY, LOCAL, PANEL, STRANGER, Identity, Kind, Role, act_as

LINK_PARAMETER = "token"
# Responses that stay open: all events of a page, those of one function, and a stream of nothing while a page is open.
_STREAMS = frozenset(
    {
        "GET /gradio_api/queue/data",
        "GET /gradio_api/call/{api_name}/{event_id}",
        "GET /gradio_api/call/v2/{api_name}/{event_id}",
        "GET /gradio_api/heartbeat/{session_hash}",
    }
)

CLOSE_FORBIDDEN = 4403

_SIGN_IN = (CLOSE_NOT_AUTHENTICATED, "not logged in")
_CLOSED: Mapping[type[AccessError], tuple[int, str]] = {
    ForbiddenOriginError: (CLOSE_FORBIDDEN, "other site"),
    NotPermittedError: (CLOSE_FORBIDDEN, "not permitted"),
}

# Browsers treat other ports of this machine as the same site, but they are foreign to the panel.
FOREIGN_SITES = frozenset({"cross-site", "same-site"})


class Guard:
    """Pass a request to ``app`` or reject it.

    ``table`` finds the role that a route needs. Without it, every route needs the role owner.
    """

    def __init__(self, app: ASGIApp, access: Access, table: RouteTable | None = None) -> None:
        self.app = app
        self.access = access
        self.table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        secret = _link_in(scope) if self.access.required else None
        try:
            self._check_source(scope)
            if secret is None:
                answer = self._answer(scope)
            else:  # writes the session into a file
                answer = await in_thread(Threads.CONTROL, self._by_link, scope, secret)
        except AccessError as error:
            answer = error
        if answer is None:
            await self._pass(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_socket(answer, receive, send)
        else:
            reply = trainer_error_reply(answer) if isinstance(answer, AccessError) else answer
            await reply(scope, receive, self._with_headers(send))

    def _answer(self, scope: Scope) -> Response | AccessError | None:
        """Return None to let the request through, otherwise the response.

        :raises AccessError: if the request is rejected.
        """
        headers = Headers(scope=scope)
        matched = self.table.match(scope) if self.table else None
        identity = self._identify(scope, headers, matched)
        if identity is None:
            return _not_signed_in(scope, headers)
        if self.table is not None:
            if matched is None:
                return error_reply(404, f"{scope['path'][:200]} doesn't exist.")
            if identity.restricted and matched.key == "GET /":
                return RedirectResponse(f"{prefix_of(scope)}/shared", status_code=303)
            check(identity, matched.key, matched.parameters)
            scope[MATCHED_KEY] = matched
        act_as(identity)
        scope[IDENTITY_KEY] = identity
        return None

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that is allowed. Record what changes something; end what stays open when the access ends."""
        identity, matched, people = scope[IDENTITY_KEY], scope.get(MATCHED_KEY), people_of(scope)
        send = self._with_headers(send)
        if people is None or matched is None or not self.access.required:
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket" or matched.key in _STREAMS:
            stays = partial(self._identify, scope, Headers(scope=scope), matched)
            await while_allowed(self.app, scope, receive, send, people=people, allowed=lambda: _or_none(stays) == identity)
            return
        if identity.kind is Kind.TOKEN and people.tokens.is_use_due(identity.via):
            await note_use(people, identity)
        if recorded(matched.key):
            await record(self.app, scope, receive, send, people=people, identity=identity, matched=matched)
        else:
            await self.app(scope, receive, send)

    def _identify(self, scope: Scope, headers: Headers, matched: Matched | None) -> Identity | None:
        """Return who sent a request, or None if it has to sign in first."""
        if not self.access.required:
            return LOCAL
        if matched is None or needed(matched.key) is not Role.NOBODY:
            return self._known(scope, headers)
        try:
            return self._known(scope, headers) or STRANGER
        except TooManyAttemptsError:
            return STRANGER  # what is open to everyone stays open

    def _check_source(self, scope: Scope) -> None:
        self._check_host(host_of(scope))
        self._check_origin(scope, Headers(scope=scope))

    def _check_host(self, host: str) -> None:
        """Reject foreign host names: another site's name may resolve to this machine's address (DNS rebinding).

        With a password, any name is allowed, because the session's cookie is bound to the name it was created under.
        """
        name = hostname(host)
        if self.access.required or is_loopback(name) or name in self.access.settings.hosts:
            return
        raise ForbiddenOriginError(
            f"The panel isn't available under the host name {name!r}.",
            value=name,
            expected="localhost or 127.0.0.1",
            suggestion="Start the panel with --public-host and a password to use another name.",
        )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Reject requests from pages of other sites, whatever the method."""
        origin = headers.get("origin")
        if origin is not None and not self._own(origin, host_of(scope)):
            raise ForbiddenOriginError(f"The request comes from another site: {origin}.", value=origin)
        # Browsers send no Origin with a plain GET, and some paths of the API act on GET.
        if headers.get("sec-fetch-site") in FOREIGN_SITES and not _opens_page(scope, headers):
            raise ForbiddenOriginError("The request comes from a page of another site.")

    def _own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin.lower())
        except ValueError:
            return False
        return bool(parts.netloc) and (parts.netloc == host or hostname(parts.netloc) in self.access.settings.hosts)

    def _by_link(self, scope: Scope, secret: str) -> Response:
        """Exchange the token of a start link for a session."""
        rest = urlencode([(key, value) for key, value in _query(scope) if key != LINK_PARAMETER])
        clean = prefix_of(scope) + local_path(scope["path"]) + (f"?{rest}" if rest else "")
        session = self._session_by_link(scope, secret)
        reply = RedirectResponse(clean, status_code=303, headers={"Cache-Control": "no-store"})
        if session is not None:
            reply.headers["Set-Cookie"] = session_cookie(scope, session, hosted=self.access.settings.hosted)
        return reply

    def _session_by_link(self, scope: Scope, secret: str) -> str | None:
        """Return a new session for a start link or a link of a person. Someone who is signed in stays so."""
        current = self._of_session(scope)
        if current is not None and current.kind is not Kind.LINK:
            return None
        people = people_of(scope)
        opened = people.open_link(secret, client_of(scope)) if people is not None else None
        return opened[1] if opened is not None else self.access.use_link(secret, client_of(scope))

    def _known(self, scope: Scope, headers: Headers) -> Identity | None:
        found = self._of_session(scope)
        if found is not None:
            return found
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        people, token = people_of(scope), token.strip()
        if people is not None and (named := people.of_token(token, accounts=self.access.settings.accounts)) is not None:
            return named
        return PANEL if self.access.bearer(token, client_of(scope)) else None

    def _of_session(self, scope: Scope) -> Identity | None:
        session = session_of(scope)
        if self.access.session_valid(session):
            return PANEL
        people = people_of(scope)
        found = people.of_session(session) if people is not None else None
        return found if found is None or found.kind is Kind.LINK or self.access.settings.accounts else None

    def _with_headers(self, send: Send) -> Send:
        hosted = self.access.settings.hosted

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                complete(headers, hosted=hosted)
                if not hosted:
                    headers.setdefault("X-Frame-Options", "SAMEORIGIN")
            await send(message)

        return send_with_headers


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _link_in(scope: Scope) -> str | None:
    """Return the token of a link in the address of a page, or None if there is none."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].startswith(("/api/", "/gradio_api/")):
        return None
    return next((value for key, value in _query(scope) if key == LINK_PARAMETER), None)


def people_of(scope: Scope) -> People | None:
    """Return the people of the app's service, or None in an app without one."""
    found = getattr(getattr(scope.get("app"), "state", None), "service", None)
    return None if found is None else found.people


def _or_none(identify: Callable[[], Identity | None]) -> Identity | None:
    try:
        return identify()
    except AccessError:
        return None


def hostname(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def local_path(path: str) -> str:
    """Return a path of this panel to redirect to. A path that leads to another site becomes the start page."""
    foreign = not path.startswith("/") or path.startswith(("//", "/\\")) or any(ord(letter) < 32 for letter in path)
    return "/" if foreign else path


def allowed_hosts(names: Iterable[str]) -> tuple[str, ...]:
    """Return host names as the guard compares them: lower case, without scheme, port and path."""
    return tuple(hostname(name.split("//")[-1].split("/")[0].lower()) for name in names if name)


def _wants_page(scope: Scope, headers: Headers) -> bool:
    """Return whether the request is for a page."""
    return (
        scope["type"] == "http"
        and scope["method"] in {"GET", "HEAD"}
        and not scope["path"].startswith("/api/")
        and "text/html" in headers.get("accept", "")
    )


def _opens_page(scope: Scope, headers: Headers) -> bool:
    """Return whether a browser navigates to a page, such as after a click on a link. Other sites may cause this and no more."""
    return headers.get("sec-fetch-mode") == "navigate" and _wants_page(scope, headers)


def _not_signed_in(scope: Scope, headers: Headers) -> Response | AccessError:
    if _wants_page(scope, headers):
        target = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        return RedirectResponse(f"{prefix_of(scope)}/login?next={quote(target, safe='/')}", status_code=303)
    return NotAuthenticatedError(
        "Not logged in.", suggestion="Log in at /login, or send the header 'Authorization: Bearer' with the panel's token."
    )


async def _refuse_socket(answer: Response | AccessError, receive: Receive, send: Send) -> None:
    # The page sees the close code only if the socket was accepted first.
    foreign = isinstance(answer, ForbiddenOriginError)
    await receive()
    if not foreign:
        await send({"type": "websocket.accept"})
    code, reason = next((closed for kind, closed in _CLOSED.items() if isinstance(answer, kind)), _SIGN_IN)
    await send({"type": "websocket.close", "code": code, "reason": reason})
