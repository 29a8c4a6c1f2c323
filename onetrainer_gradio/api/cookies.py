"""Read and write the session cookie; read a request's host and client address."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.service.host.access import SESSION_S

HTTPS = frozenset({"https", "wss"})


def host_of(scope: Scope) -> str:
    """Return the Host header in lower case, or an empty string."""
    return Headers(scope=scope).get("host", "").strip().lower()


def client_of(scope: Scope) -> str:
    """Return the client's address."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def cookie_name(host: str) -> str:
    """Return the cookie's name. It contains the port, because browsers share cookies between the ports of a host."""
    _, _, port = host.rpartition(":")
    return f"onetrainer_gradio_{port if is_whole(port) else 'web'}"


def session_of(scope: Scope) -> str:
    """Return the session of a request, or an empty string.

    The header may contain cookies of other programs that the standard library can't parse and that would hide ours. If there
    are several cookies with our name, the first one counts, because it has the longest path.
    """
    name = cookie_name(host_of(scope))
    pairs = (pair.partition("=") for pair in Headers(scope=scope).get("cookie", "").split(";"))
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def session_cookie(scope: Scope, session: str, *, hosted: bool) -> str:
    """Return the Set-Cookie header that starts a session, or ends it if ``session`` is empty.

    Behind a proxy's prefix, the cookie is limited to that path, so that two panels at one address don't share it.
    On a Space (``hosted``), the page is in a frame of another site, which needs a partitioned cookie.
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
