"""Tell browsers to use only HTTPS for the panel's host name (HSTS)."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.cookies import HTTPS, host_of
from onetrainer_gradio.api.guard import hostname
from onetrainer_gradio.service.host.access import is_address, is_loopback

HEADER = "Strict-Transport-Security"
VALUE = "max-age=31536000"


class StrictTransport:
    """Add the header to responses over HTTPS at the default port.

    Browsers apply it to all ports of a host. A panel at another port shares its host with programs that may be served over HTTP,
    and a certificate that the panel made would lock out everyone after its renewal: no browser lets people accept it then.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or not _is_strict(scope):
            await self.app(scope, receive, send)
            return

        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                MutableHeaders(scope=message).setdefault(HEADER, VALUE)
            await send(message)

        await self.app(scope, receive, with_header)


def _is_strict(scope: Scope) -> bool:
    if scope["scheme"] not in HTTPS:
        return False
    host = host_of(scope)
    name = hostname(host)
    certificate = getattr(scope["app"].state, "certificate", None) if "app" in scope else None
    own = certificate is not None and certificate.own
    return bool(name) and host in {name, f"{name}:443"} and not own and not is_loopback(name) and not is_address(name)
