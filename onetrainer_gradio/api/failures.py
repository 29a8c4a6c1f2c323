"""The last resort for requests: whatever nothing else caught becomes one reply, and the connection lives on.

The web framework answers an unexpected error too, but then raises it again; the server logs it a second time and resets the
connection, which fails the client's next request on it.
"""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.replies import unexpected_error_reply

log = logging.getLogger(__name__)


class Failures:
    """Answers for ``app`` when it raises."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
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
            return  # nobody is there to be answered
        except Exception as error:  # whatever an endpoint raises is the cause of its reply
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if not started:
                await unexpected_error_reply(error)(scope, receive, send)
            elif not complete:
                raise  # half a reply: only a closed connection tells the client that the rest is missing
