"""How much of a request's body is accepted: bytes of one request, bytes of all requests together, and seconds of silence.

The limits hold for every path, those of Gradio included, and for bodies that do not announce their length.
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

TOO_LARGE = f"The request is too large. At most {MAX_BODY_BYTES} bytes are accepted."


class Bodies:
    """Counts what ``app`` receives."""

    def __init__(
        self,
        app: ASGIApp,
        most_bytes: int = MAX_BODY_BYTES,
        most_together: int = MAX_TOGETHER_BYTES,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.app = app
        self.most_bytes = most_bytes
        self.most_together = most_together
        self.silence_s = silence_s
        self._together = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not is_whole(announced) or int(announced) > self.most_bytes:
            await error_reply(413, TOO_LARGE, headers={"Connection": "close"})(scope, receive, send)
            return
        taken, whole = 0, False

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:  # only the end of the connection is waited for
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.silence_s)
            except TimeoutError as error:
                raise HTTPException(408, f"Nothing arrived for {self.silence_s:g} seconds.", {"Connection": "close"}) from error
            whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            taken, self._together = taken + size, self._together + size
            if taken > self.most_bytes:
                raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
            if self._together > self.most_together:
                raise HTTPException(503, "Too many large requests at the same time.", {"Retry-After": "5", "Connection": "close"})
            return message

        try:
            await self.app(scope, limited, send)
        finally:
            self._together -= taken
