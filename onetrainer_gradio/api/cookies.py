"""The cookie that carries a session, and how a request's connection looks from outside."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.service.host.access import SESSION_S

HTTPS = frozenset({"https", "wss"})


def host_of(scope: Scope) -> str:
    """The Host header in lower case, empty when there is none."""
    return Headers(scope=scope).get("host", "").strip().lower()


def client_of(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def cookie_name(host: str) -> str:
    """Browsers share cookies between the ports of a host: the name tells two panels on one machine apart."""
    _, _, port = host.rpartition(":")
    return f"onetrainer_gradio_{port if is_whole(port) else 'web'}"


def session_of(scope: Scope) -> str:
    """The session that a request carries, empty when none.

    Every program of a host leaves cookies there; one that the standard library cannot read would hide ours from it. Of several
    of our name the first counts, which is the one of the longer path.
    """
    name = cookie_name(host_of(scope))
    pairs = (pair.partition("=") for pair in Headers(scope=scope).get("cookie", "").split(";"))
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def session_cookie(scope: Scope, session: str, *, hosted: bool) -> str:
    """The Set-Cookie header that starts a session, or ends it when ``session`` is empty.

    Below a proxy's prefix it is sent there only, so that two panels at one address do not take each other's.
    On a Space (``hosted``) the page lies in a frame of another site, which only a partitioned cookie reaches.
    """
    parts = [f"{cookie_name(host_of(scope))}={session}", f"Path={prefix_of(scope)}/", "HttpOnly"]
    parts.append(f"Max-Age={round(SESSION_S) if session else 0}")
    if hosted:
        parts += ["SameSite=None", "Secure", "Partitioned"]
    else:
        parts.append("SameSite=Lax")
        if scope["scheme"] in HTTPS:
            parts.append("Secure")
    return "; ".join(parts)
