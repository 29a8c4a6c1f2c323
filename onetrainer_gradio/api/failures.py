"""Turn unexpected errors into a response, so that the connection stays open.

The web framework answers an unexpected error too, but then raises it again. The server would log it a second time and reset
the connection, and the client's next request on it would fail.
"""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.replies import unexpected_error_reply

log = logging.getLogger(__name__)


class Failures:
    """Answer for ``app`` when it raises."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = complete = False

        async def watched(message: Message) -> None:
            nonlocal started, complete
            started = True
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            return  # the client is gone
        except Exception as error:  # any error of an endpoint becomes its response
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if not started:
                await unexpected_error_reply(error)(scope, receive, send)
            elif not complete:
                raise  # incomplete response: only a closed connection shows the client that the rest is missing
