"""The panel below a path of a reverse proxy: ``https://host/train/`` in front of ``http://127.0.0.1:7860/``.

The proxy takes the prefix off the path and names it in ``X-Forwarded-Prefix``. The page's own parts ask relative to the page;
redirects, the cookie's path, the API's description and Gradio's own requests have to know the prefix.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = "x-forwarded-prefix"

# Segments of plain letters: it comes back in addresses, headers and the page. No segment of dots, which a browser would resolve.
_PREFIX = re.compile(r"(?:/(?!\.+(?:/|$))[A-Za-z0-9._~-]+)+")
_LONGEST = 200


def prefix_of(scope: Scope) -> str:
    """The prefix that a proxy took off, as ``/train``; empty when there is none, or one that cannot stand in an address."""
    told = Headers(scope=scope).get(HEADER, "").strip().rstrip("/")
    return told if len(told) <= _LONGEST and _PREFIX.fullmatch(told) else ""


class Prefix:
    """Lets ``app`` know the prefix in the way that ASGI has for it: ``root_path``, and a ``path`` that begins with it.

    It stands behind the guard, which so decides on the path that is asked for, whatever a header says.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        prefix = prefix_of(scope) if scope["type"] in {"http", "websocket"} else ""
        if prefix:
            scope = {**scope, "root_path": prefix, "path": prefix + scope["path"]}
        await self.app(scope, receive, send)
