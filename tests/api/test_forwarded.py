"""Proxy headers are used if they come from a trusted proxy, and removed otherwise."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from onetrainer_gradio.api.forwarded import LOCAL_PROXIES, Forwarded
from onetrainer_gradio.api.prefix import prefix_of

pytestmark = pytest.mark.slow

SENT = {
    "X-Forwarded-For": "6.6.6.6, 203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/train",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=6.6.6.6",
    "X-Real-IP": "6.6.6.6",
}


async def seen(scope, receive, send):
    request = Request(scope)
    body = {
        "client": request.client.host,
        "scheme": scope["scheme"],
        "prefix": prefix_of(scope),
        "headers": dict(request.headers),
    }
    await JSONResponse(body)(scope, receive, send)


def ask(peer: str, *trusted: str) -> dict:
    return TestClient(Forwarded(seen, (*LOCAL_PROXIES, *trusted)), client=(peer, 1)).get("/", headers=SENT).json()


@pytest.mark.parametrize(
    ("peer", "trusted"), [("127.0.0.1", ()), ("::1", ()), ("::ffff:127.0.0.1", ()), ("10.0.0.5", ("10.0.0.0/24",))]
)
def test_a_trusted_proxy_sets_the_client_address(peer, trusted):
    """The last address that isn't a trusted proxy counts, because the client can invent the ones before it."""
    body = ask(peer, *trusted)
    assert (body["client"], body["scheme"], body["prefix"]) == ("203.0.113.9", "https", "/train")


@pytest.mark.parametrize("peer", ["10.0.1.5", "203.0.113.50"])
def test_nobody_else_can_fake_an_address_a_scheme_or_a_prefix(peer):
    body = ask(peer, "10.0.0.0/24")
    assert (body["client"], body["scheme"], body["prefix"]) == (peer, "http", "")
    assert not {name for name in body["headers"] if "forwarded" in name or name == "x-real-ip"}
