"""What the page shows before Gradio has built it: the top bar and the form, in the markup that the server sends.

Gradio's front end needs most of a second. Meanwhile the scripts fill these places, and ``assets/main.js`` moves them to where
Gradio puts its own, with everything that was typed in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.service.people.roles import IDENTITY_KEY, LOCAL, Identity, Role
from onetrainer_gradio.ui.assets import asset_path
from onetrainer_gradio.ui.tabs import Tab
from onetrainer_gradio.ui.widget import markup

# URLs are relative to this element. What follows it comes before Gradio's own scripts and therefore runs first.
BASE = re.compile(rb"<base\b[^>]*>|(?=</head>)")
BODY_BEGINS = b"<gradio-app"


def first_view(tabs: Sequence[Tab]) -> str:
    """Return the markup. The style sheet is in the body so that it comes after Gradio's."""
    links = "".join(f'<a href="#{tab.key}" data-og-tab="{tab.key}">{escape(tab.title)}</a>' for tab in tabs)
    return (
        f'<link rel="stylesheet" href="{asset_path("panel.css")}">'
        f'<div id="og-first"><div class="main"><div id="og-first-top">{markup("topbar")}</div>'
        f'<nav class="og-first-tabs">{links}</nav><div class="tabitem">{markup("form")}</div></div></div>'
    )


def role_mark(identity: Identity) -> str:
    """Return the element from which the scripts read the role; an owner's page has none. ``assets/permitted.js`` follows it."""
    return "" if identity.role >= Role.OWNER else f'<meta name="og-role" content="{identity.role.word}">'


class FirstView:
    """Insert markup into the head of each page of ``app``, and before Gradio's element in its body.

    The role of who requests the page is added if it isn't that of an owner.
    """

    def __init__(self, app: ASGIApp, head: str, body: str) -> None:
        self.app = app
        self.head = head.encode()
        self.body = body.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        held: Message | None = None
        parts: list[bytes] = []

        async def with_first_view(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_plain_html(message):
                held = message
            elif held is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    page = self._complete(b"".join(parts), role_mark(scope.get(IDENTITY_KEY, LOCAL)))
                    MutableHeaders(scope=held)["Content-Length"] = str(len(page))
                    await send(held)
                    await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, with_first_view)

    def _complete(self, page: bytes, mark: str) -> bytes:
        if BODY_BEGINS not in page:
            return page
        page = BASE.sub(lambda found: found[0] + mark.encode() + self.head, page, count=1)
        return page.replace(BODY_BEGINS, self.body + BODY_BEGINS, 1)


def _is_plain_html(start: Message) -> bool:
    headers = MutableHeaders(scope=start)
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers
