"""Answer requests that come too often with status 429 and the time to wait."""

from __future__ import annotations

import hashlib

from starlette.types import ASGIApp, Receive, Scope, Send

from onetrainer_gradio.api.cookies import client_of, session_of
from onetrainer_gradio.api.replies import trainer_error_reply
from onetrainer_gradio.api.route_table import MATCHED_KEY, Matched
from onetrainer_gradio.errors import RateLimitError
from onetrainer_gradio.service.host.rate_limits import RateLimiter
from onetrainer_gradio.service.people.permissions import needed
from onetrainer_gradio.service.people.roles import IDENTITY_KEY, STRANGER, Identity, Kind, Role

CLOSE_TRY_AGAIN_LATER = 1013


class RateLimits:
    """Count the requests that the guard let through.

    A panel that requires no sign-in is reachable only from its own machine, and has no limits.
    """

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self.app = app
        self.limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] in {"http", "websocket"}:
            try:
                self._check(scope)
            except RateLimitError as error:
                await _reject(error, scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        identity: Identity = scope.get(IDENTITY_KEY, STRANGER)
        known = identity != STRANGER
        if known and identity.kind is Kind.LOCAL:
            return
        matched: Matched | None = scope.get(MATCHED_KEY)
        if matched is not None:
            # a login counts for its address, also with the session of an earlier one
            known = known and needed(matched.key) is not Role.NOBODY
            self.limiter.check(matched.key, person=_person(identity, scope) if known else "", address=client_of(scope))


def _person(identity: Identity, scope: Scope) -> str:
    """Return who is counted: an account with all its sessions, otherwise the token, link or session."""
    name = identity.account or identity.via or session_of(scope) or "token"
    return f"{identity.kind}:{hashlib.sha256(name.encode(errors='replace')).hexdigest()}"


async def _reject(error: RateLimitError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await trainer_error_reply(error)(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})  # browsers see the close code only then
    await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN_LATER, "reason": "too many connections"})
