"""Guard all routes: pages, REST, WebSocket, files, documentation and Gradio's own paths.

This is a plain ASGI middleware, because Starlette's base class doesn't handle WebSockets and buffers streams. It checks in this
order: the name of the panel (Host), the page that sent the request (Origin), and the session or token.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.cookies import client_of, host_of, session_cookie, session_of
from onetrainer_gradio.api.policy import complete
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.api.replies import trainer_error_reply
from onetrainer_gradio.errors import AccessError, ForbiddenOriginError, NotAuthenticatedError
from onetrainer_gradio.service.host.access import Access, is_loopback

# Reachable without login. Everything else is guarded, including routes that are added later.
OPEN_PATHS = frozenset({"/login", "/api/login", "/health", "/health/live"})
LINK_PARAMETER = "token"

CLOSE_NOT_AUTHENTICATED = 4401
CLOSE_FORBIDDEN = 4403

# Browsers treat other ports of this machine as the same site, but they are foreign to the panel.
FOREIGN_SITES = frozenset({"cross-site", "same-site"})


class Guard:
    """Pass a request to ``app`` or reject it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        try:
            answer = self._answer(scope)
        except AccessError as error:
            answer = error
        if answer is None:
            await self.app(scope, receive, self._with_headers(send))
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
        self._check_host(host_of(scope))
        self._check_origin(scope, headers)
        if not self.access.required or scope["path"] in OPEN_PATHS:
            return None
        by_link = self._by_link(scope)
        if by_link is not None:
            return by_link
        if self._known(scope, headers):
            return None
        if _wants_page(scope, headers):
            target = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
            return RedirectResponse(f"{prefix_of(scope)}/login?next={quote(target, safe='/')}", status_code=303)
        return NotAuthenticatedError(
            "Not logged in.", suggestion="Log in at /login, or send the header 'Authorization: Bearer' with the panel's token."
        )

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

    def _by_link(self, scope: Scope) -> Response | None:
        """Exchange the token of a start link for a session."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        links = [value for key, value in query if key == LINK_PARAMETER]
        if not links or scope["path"].startswith(("/api/", "/gradio_api/")):
            return None
        rest = urlencode([(key, value) for key, value in query if key != LINK_PARAMETER])
        clean = prefix_of(scope) + local_path(scope["path"]) + (f"?{rest}" if rest else "")
        session = None if self.access.session_valid(session_of(scope)) else self.access.use_link(links[0], client_of(scope))
        reply = RedirectResponse(clean, status_code=303)
        if session is not None:
            reply.headers["Set-Cookie"] = session_cookie(scope, session, hosted=self.access.settings.hosted)
        return reply

    def _known(self, scope: Scope, headers: Headers) -> bool:
        if self.access.session_valid(session_of(scope)):
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self.access.bearer(token.strip(), client_of(scope))

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


async def _refuse_socket(answer: Response | AccessError, receive: Receive, send: Send) -> None:
    # The page sees the close code only if the socket was accepted first.
    foreign = isinstance(answer, ForbiddenOriginError)
    await receive()
    if not foreign:
        await send({"type": "websocket.accept"})
    code = CLOSE_FORBIDDEN if foreign else CLOSE_NOT_AUTHENTICATED
    await send({"type": "websocket.close", "code": code, "reason": "other site" if foreign else "not logged in"})
