"""Serve the panel over HTTPS: which certificate it uses, its renewal while the panel runs, and the redirect from HTTP."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from onetrainer_gradio.api.guard import hostname
from onetrainer_gradio.errors import CertificateError, StorageError
from onetrainer_gradio.service.host.certificates import Certificate, names_of_machine, own_certificate, read_certificate

log = logging.getLogger(__name__)

CHECKED_EVERY_S = 3600.0
FOLDER = "https"
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,260}")


@dataclass(frozen=True)
class HttpsOptions:
    """The options of HTTPS. Without ``certfile`` and ``own``, the panel is served over HTTP."""

    certfile: Path | None = None
    keyfile: Path | None = None
    password: str = ""
    own: bool = False
    redirect_port: int | None = None

    @property
    def enabled(self) -> bool:
        """Return whether the panel is served over HTTPS."""
        return self.own or self.certfile is not None


def certificate_of(options: HttpsOptions, data_folder: Path, host: str, public_hosts: tuple[str, ...]) -> Certificate | None:
    """Return the certificate to serve with, or None for HTTP.

    :raises CertificateError: if the files can't be used.
    :raises StorageError: if the panel's own certificate can't be written.
    """
    if options.certfile is not None:
        return read_certificate(options.certfile, options.keyfile, options.password)
    return own_certificate(data_folder / FOLDER, names_of_machine(host, public_hosts)) if options.own else None


class CertificateWatch:
    """Use a renewed certificate without a restart: the panel renews its own, others are replaced by programs such as certbot."""

    def __init__(
        self,
        certificate: Certificate,
        context: ssl.SSLContext,
        read: Callable[[], Certificate | None],
        changed: Callable[[Certificate], None] = lambda certificate: None,
    ) -> None:
        self.certificate = certificate
        self._context = context
        self._read = read
        self._changed = changed
        self._mark = certificate.mark()

    async def run(self, every_s: float = CHECKED_EVERY_S) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            self.check()

    def check(self) -> bool:
        """Use the certificate for new connections if it changed, and return whether it did."""
        try:
            found = self._read()
            if found is None or (found.fingerprint == self.certificate.fingerprint and found.mark() == self._mark):
                return False
            self._context.load_cert_chain(found.certfile, found.keyfile, found.password)
            self._mark = found.mark()
        except (CertificateError, StorageError, OSError) as error:
            log.error(
                "The panel keeps its certificate, which expires on %s: %s", f"{self.certificate.expires_at:%Y-%m-%d}", error
            )
            return False
        self.certificate = found
        self._changed(found)
        log.warning("The panel uses a new certificate: %s", found.fingerprint)
        return True


class RedirectToHttps:
    """Answer requests over HTTP with the same address over HTTPS at ``port``."""

    def __init__(self, port: int) -> None:
        self._port = "" if port == 443 else f":{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            await self._reply(scope)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    def _reply(self, scope: Scope) -> Response:
        given = Headers(scope=scope).get("host", "").strip()
        name = hostname(given) if _HOST.fullmatch(given) else ""
        if not name:
            return PlainTextResponse("The request has no valid Host header.", status_code=400)
        host = f"[{name}]" if ":" in name else name
        query = "?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""
        path = quote(scope["path"], safe="/:@!$&'()*+,;=~-._")
        return RedirectResponse(f"https://{host}{self._port}{path}{query}", status_code=308)
