"""Set the Content-Security-Policy of the page: what it may load and run, and which sites may frame it.

Gradio writes its configuration into inline scripts, and the page has another one in its head. The policy lists the hash
of each of them, so that injected scripts don't run. Gradio's HTML component compiles its templates with ``Function``, so
evaluating text stays allowed for scripts that already run.
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "Content-Security-Policy"

_SCRIPT = re.compile(rb"<script\b([^>]*)>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_HAS_SOURCE = re.compile(rb"\bsrc\s*=", re.IGNORECASE)

# A Space shows its page in a frame on the Hugging Face site.
FRAMED_ON_A_SPACE = "'self' https://huggingface.co https://*.huggingface.co https://*.hf.space"

# Gradio and our modules set style attributes, show data addresses as images, and use workers and media from blobs.
PAGE = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'"
)
# Everything else: data, images, downloads. A browser that opens one of them directly runs no scripts in it.
NOTHING = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'"


def ancestors(*, hosted: bool) -> str:
    """Return the part of a policy that defines which pages may frame a response."""
    return "frame-ancestors " + (FRAMED_ON_A_SPACE if hosted else "'self'")


def complete(headers: MutableHeaders, *, hosted: bool) -> None:
    """Add a policy to a response that has none, and a rule for frames to every response."""
    policy = headers.get(HEADER) or NOTHING
    if "frame-ancestors" not in policy:
        policy = f"{policy}; {ancestors(hosted=hosted)}"
    headers[HEADER] = policy


class Policy:
    """Add the page's policy to HTML responses that have none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "text/html" in Headers(scope=scope).get("accept", ""):
            # Gradio would compress the page, and its scripts couldn't be read; an outer middleware compresses it
            scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}
        held: Message | None = None
        parts: list[bytes] = []

        async def with_policy(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_page(message):
                held = message
            elif held is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_page(held, b"".join(parts), send)

        await self.app(scope, receive, with_policy)


def _is_page(start: Message) -> bool:
    headers = MutableHeaders(scope=start)
    return headers.get("content-type", "").startswith("text/html") and HEADER not in headers


async def _send_page(start: Message, body: bytes, send: Send) -> None:
    inline = hashes(body)
    MutableHeaders(scope=start)[HEADER] = PAGE.format(hashes="".join(f" '{each}'" for each in inline))
    await send(start)
    await send({"type": "http.response.body", "body": body})


def hashes(page: bytes) -> list[str]:
    """Return the hashes of a page's inline scripts in the form that a policy needs."""
    inline = (text for attributes, text in _SCRIPT.findall(page) if not _HAS_SOURCE.search(attributes))
    return list(dict.fromkeys(f"sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}" for text in inline))
