"""Each request has an ID, in the response and in its log lines."""

from __future__ import annotations

import json
import logging

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service.host.access import Access, AccessSettings
from onetrainer_gradio.service.host.logs import JsonFormatter
from tests.api.conftest import ADDRESS, rehearsal_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A panel with a password; its first request is slow."""
    return create_api(rehearsal_service(tmp_path_factory.mktemp("requests")), Access(AccessSettings(password="a password")))


@pytest.fixture
def lines():
    """Return what the panel's loggers write as JSON."""
    written: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record):
            written.append(self.format(record))

    handler, logger = Keep(), logging.getLogger("onetrainer_gradio")
    handler.setFormatter(JsonFormatter())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_response_names_the_id_of_its_request(app):
    client = TestClient(app, base_url=ADDRESS)
    first, second = (client.get("/health/live").headers["X-Request-ID"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("sent", "kept"), [("trace-0123456789", True), ("short", False), ("x" * 65, False), ('"}\tforged', False)]
)
def test_an_id_is_taken_from_a_proxy_if_it_is_plain(app, sent, kept):
    reply = TestClient(app, base_url=ADDRESS).get("/health/live", headers={"X-Request-ID": sent})
    assert (reply.headers["X-Request-ID"] == sent) is kept


def test_a_request_is_one_line_of_json(app, lines):
    reply = TestClient(app, base_url=ADDRESS).get(
        "/api/training/status?token=very-secret", headers={"X-Request-ID": "trace-0123456789"}
    )
    assert reply.status_code == 401
    (body,) = (json.loads(line) for line in lines if "duration_ms" in line)
    assert body["request_id"] == "trace-0123456789"
    assert (body["method"], body["path"], body["status"]) == ("GET", "/api/training/status", 401)
    assert body["duration_ms"] >= 0
    assert "very-secret" not in "".join(lines)


def test_what_is_logged_during_a_request_has_its_id(app, lines):
    """This includes the threads of endpoints."""

    @app.get("/api/session/fails")
    def fails():
        logging.getLogger("onetrainer_gradio.test").warning("from a thread")

    app.router.routes.insert(0, app.router.routes.pop())
    client = TestClient(app, base_url=ADDRESS)
    client.post("/api/login", json={"password": "a password"})
    client.get("/api/session/fails", headers={"X-Request-ID": "trace-0123456789"})
    (body,) = (json.loads(line) for line in lines if "from a thread" in line)
    assert body["request_id"] == "trace-0123456789"
