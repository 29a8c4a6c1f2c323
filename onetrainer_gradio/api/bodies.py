"""Limit request bodies: bytes per request, bytes of all requests together, and seconds without data.

The limits apply to every path, including Gradio's, and to bodies without a Content-Length.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.replies import error_reply
from onetrainer_gradio.config.digits import is_whole

MAX_BODY_BYTES = 8_000_000
MAX_TOGETHER_BYTES = 64_000_000
SILENCE_S = 30.0

TOO_LARGE = f"The request is too large. The maximum is {MAX_BODY_BYTES} bytes."


class Bodies:
    """Count the bytes that ``app`` receives."""

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int = MAX_BODY_BYTES,
        max_together: int = MAX_TOGETHER_BYTES,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_together = max_together
        self.silence_s = silence_s
        self._together = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not is_whole(announced) or int(announced) > self.max_bytes:
            await error_reply(413, TOO_LARGE, headers={"Connection": "close"})(scope, receive, send)
            return
        taken, whole = 0, False

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:  # only a disconnect can follow
                return await receive()
            try:
                async with asyncio.timeout(self.silence_s):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408, f"The request timed out: no data for {self.silence_s:g} seconds.", {"Connection": "close"}
                ) from error
            whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            taken, self._together = taken + size, self._together + size
            if taken > self.max_bytes:
                raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
            if self._together > self.max_together:
                raise HTTPException(
                    503,
                    "Too many large requests at the same time. Try again in a few seconds.",
                    {"Retry-After": "5", "Connection": "close"},
                )
            return message

        try:
            await self.app(scope, limited, send)
        finally:
            self._together -= taken
