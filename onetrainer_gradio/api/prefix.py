"""Support a path prefix of a reverse proxy: ``https://host/train/`` in front of ``http://127.0.0.1:7860/``.

The proxy removes the prefix from the path and sends it in ``X-Forwarded-Prefix``. The page's own requests are relative to the
page. Redirects, the cookie's path, the OpenAPI document and Gradio's own requests need the prefix.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = "x-forwarded-prefix"

# Only plain characters, because it appears in URLs, headers and the page. No segment of dots, which a browser would resolve.
_PREFIX = re.compile(r"(?:/(?!\.+(?:/|$))[A-Za-z0-9._~-]+)+")
_LONGEST = 200


def prefix_of(scope: Scope) -> str:
    """Return the prefix that a proxy removed, such as ``/train``; empty if there is none or it is invalid."""
    prefix = Headers(scope=scope).get(HEADER, "").strip().rstrip("/")
    return prefix if len(prefix) <= _LONGEST and _PREFIX.fullmatch(prefix) else ""


class Prefix:
    """Set ASGI's ``root_path`` and prepend the prefix to ``path``.

    It runs after the guard, so the guard decides on the requested path, whatever the header contains.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        prefix = prefix_of(scope) if scope["type"] in {"http", "websocket"} else ""
        if prefix:
            scope = {**scope, "root_path": prefix, "path": prefix + scope["path"]}
        await self.app(scope, receive, send)
