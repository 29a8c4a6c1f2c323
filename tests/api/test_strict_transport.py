"""HSTS is sent only over HTTPS, and only where it can't lock anyone out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.api.conftest import rehearsal_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A panel with a password; its first request is slow."""
    return create_api(rehearsal_service(tmp_path_factory.mktemp("transport")), Access(AccessSettings(password="a password")))


@pytest.mark.parametrize(
    ("address", "own", "sent"),
    [
        ("https://panel.example.org", False, True),
        ("http://panel.example.org", False, False),  # browsers ignore it there, and an attacker could have added it
        ("https://panel.example.org:7860", False, False),  # other programs on this host may use HTTP
        ("https://panel.example.org", True, False),
        ("https://localhost", False, False),
        ("https://192.168.1.20", False, False),
    ],
)
def test_it_is_sent_over_https_at_the_default_port(app, address, own, sent):
    app.state.certificate = SimpleNamespace(own=own)
    reply = TestClient(app, base_url=address).get("/health/live")
    assert reply.headers.get("strict-transport-security") == ("max-age=31536000" if sent else None)


def test_it_is_on_rejected_requests_too(app):
    reply = TestClient(app, base_url="https://panel.example.org").get("/api/training/status")
    assert reply.status_code == 401
    assert "strict-transport-security" in reply.headers
