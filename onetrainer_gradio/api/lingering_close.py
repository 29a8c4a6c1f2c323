"""Read what a client still sends before the connection of an early response is closed.

If a connection is closed while data arrives, the system resets it, and the other side may lose the response. A proxy then
answers with its own 502.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 30.0
LINGER_SILENCE_S = 3.0


class LingeringClose:
    """Discard the rest of a request after its response, for a limited time, if its connection is closed afterwards.

    The server does this itself for connections that it keeps.
    """

    def __init__(self, app: ASGIApp, max_s: float = LINGER_S, silence_s: float = LINGER_SILENCE_S) -> None:
        self.app = app
        self.max_s = max_s
        self.silence_s = silence_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        whole = closes = lingers = False

        async def received() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or not message.get("more_body", False)
            return message

        async def answered(message: Message) -> None:
            nonlocal closes, lingers
            if message["type"] == "http.response.start":
                closes = _closes(scope, Headers(raw=list(message.get("headers", []))))
            elif closes and not whole and not message.get("more_body", False):
                lingers, message = True, {**message, "more_body": True}
            await send(message)

        await self.app(scope, received, answered)
        if lingers:
            await self._discard(receive)
            await send({"type": "http.response.body", "body": b""})

    async def _discard(self, receive: Receive) -> None:
        try:
            async with asyncio.timeout(self.max_s):
                while await self._more(receive):
                    pass
        except TimeoutError:
            pass  # the response was sent: a client that still sends doesn't read it

    async def _more(self, receive: Receive) -> bool:
        async with asyncio.timeout(self.silence_s):
            return bool((await receive()).get("more_body", False))


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _closes(scope: Scope, headers: Headers) -> bool:
    """Return whether the server closes the connection after a response whose end the client recognizes by its length."""
    asked = (headers.get("connection", ""), Headers(scope=scope).get("connection", ""))
    return "content-length" in headers and (scope.get("http_version") == "1.0" or "close" in {each.lower() for each in asked})
