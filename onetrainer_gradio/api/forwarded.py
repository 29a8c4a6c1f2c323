"""Use the headers of trusted reverse proxies, and remove those that anyone else sends."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

# This machine, also as an IPv4 address on an IPv6 socket.
LOCAL_PROXIES = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
ANYONE = "*"
_FORWARDED = (b"x-forwarded-", b"forwarded", b"x-real-ip")


class Forwarded:
    """Take the client's address, the scheme and the prefix from a proxy in ``trusted`` (addresses, networks, or ``*``)."""

    def __init__(self, app: ASGIApp, trusted: Sequence[str] = LOCAL_PROXIES) -> None:
        self._app = app
        self._behind_proxy = ProxyHeadersMiddleware(app, ANYONE if ANYONE in trusted else list(trusted))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        client = scope.get("client")
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
        elif client is not None and client[0] in self._behind_proxy.trusted_hosts:
            await self._behind_proxy(scope, receive, send)  # type: ignore[arg-type]
        else:
            scope["headers"] = [(name, value) for name, value in scope["headers"] if not name.startswith(_FORWARDED)]
            await self._app(scope, receive, send)
