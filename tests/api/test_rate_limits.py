"""Expensive requests are limited by person and address, and the response contains the time to wait."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.api.forwarded import Forwarded
from onetrainer_gradio.errors import RateLimitError
from onetrainer_gradio.service.host.access import Access, AccessSettings
from onetrainer_gradio.service.host.rate_limits import PEOPLE_PER_ADDRESS, RATE_LIMITS, RateLimiter
from onetrainer_gradio.service.people.permissions import PERMISSIONS
from tests.api.conftest import ADDRESS, rehearsal_service
from tests.api.people import PASSWORD, panel_with_accounts, signed_in

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-programs-of-people"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
ZIP = "GET /api/runs/{run_id}/files.zip"


def panel(tmp_path, factor: float = 1.0, **access):
    return create_api(rehearsal_service(tmp_path / "data"), Access(AccessSettings(**access)), RateLimiter(factor))


def test_every_limited_route_exists():
    routes = [route for limit in RATE_LIMITS for route in limit.routes]
    assert len(set(routes)) == len(routes)
    assert set(routes) <= set(PERMISSIONS)


def test_too_many_requests_get_429_and_the_time_to_wait(tmp_path):
    with TestClient(panel(tmp_path, 0.1, token=TOKEN), base_url=ADDRESS, headers=KNOWN) as client:
        replies = [client.get("/api/runs/none/files.zip") for _ in range(4)]
        assert [reply.status_code for reply in replies] == [404, 404, 404, 429]
        last = replies[-1]
        assert 1 <= int(last.headers["Retry-After"]) <= 60
        body = last.json()
        assert body["error"].startswith("Too many requests (downloads of archives): 3 per minute are allowed. Try again in ")
        assert client.get("/api/training/status").status_code == 200  # cheap requests are always answered


def test_it_works_again_after_the_time_to_wait():
    limiter = RateLimiter(0.001)
    limiter.check(ZIP, person="a", address="1.1.1.1")
    with pytest.raises(RateLimitError) as error:
        limiter.check(ZIP, person="a", address="1.1.1.1")
    assert 1 <= error.value.retry_after_s <= 60


def test_one_person_does_not_hold_up_another():
    limiter = RateLimiter(0.1)
    for _ in range(3):
        limiter.check(ZIP, person="a", address="1.1.1.1")
    with pytest.raises(RateLimitError):
        limiter.check(ZIP, person="a", address="2.2.2.2")
    limiter.check(ZIP, person="b", address="1.1.1.1")


def test_many_people_at_one_address_share_its_limit():
    limiter = RateLimiter(0.1)
    for number in range(3 * PEOPLE_PER_ADDRESS):
        limiter.check(ZIP, person=str(number), address="1.1.1.1")
    with pytest.raises(RateLimitError):
        limiter.check(ZIP, person="another", address="1.1.1.1")
    limiter.check(ZIP, person="another", address="2.2.2.2")


def test_logins_are_limited_by_address(tmp_path):
    """This includes logins with the right password, which cost as much."""
    with TestClient(panel(tmp_path, 0.1, password="a password"), base_url=ADDRESS) as client:
        codes = [client.post("/api/login", json={"password": "a password"}).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        assert client.post("/login", data={"password": "a password"}).status_code == 429


@pytest.mark.exhaustive
def test_changes_of_passwords_are_limited(tmp_path):
    """This includes the right password: each request computes hashes that need much memory."""
    app = panel_with_accounts(tmp_path / "data")
    app.state.rate_limiter.factor = 0.1
    with signed_in(app, "viewer") as client:
        body = {"current": PASSWORD, "new": PASSWORD}
        codes = [client.post("/api/account/password", json=body).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        assert client.get("/api/account").status_code == 200


@pytest.mark.exhaustive
def test_a_faked_address_does_not_help(tmp_path):
    """Only a trusted proxy can set the client address."""
    app = Forwarded(panel(tmp_path, 0.1, password="a password"), ("10.0.0.5",))
    body = {"password": "a password"}

    def codes(peer: str) -> list[int]:
        client = TestClient(app, base_url=ADDRESS, client=(peer, 1))
        return [
            client.post("/api/login", json=body, headers={"X-Forwarded-For": f"6.6.6.{number}"}).status_code
            for number in range(4)
        ]

    assert codes("203.0.113.9") == [200, 200, 200, 429]
    assert codes("10.0.0.5") == [200, 200, 200, 200]


@pytest.mark.exhaustive
def test_a_panel_without_a_password_has_no_limits(tmp_path):
    with TestClient(panel(tmp_path, 0.001), base_url=ADDRESS) as client:
        assert {client.get("/api/runs/none/files.zip").status_code for _ in range(5)} == {404}


@pytest.mark.exhaustive
def test_the_limits_can_be_turned_off(tmp_path):
    with TestClient(panel(tmp_path, 0.0, token=TOKEN), base_url=ADDRESS, headers=KNOWN) as client:
        assert {client.get("/api/runs/none/files.zip").status_code for _ in range(40)} == {404}


@pytest.mark.exhaustive
def test_websockets_that_are_opened_too_often_are_closed(tmp_path):
    app = panel(tmp_path, 0.01, token=TOKEN)
    with TestClient(app, base_url=ADDRESS, headers=KNOWN) as client:
        for _ in range(2):
            with client.websocket_connect("ws://127.0.0.1:7860/ws") as live:
                assert live.receive_json()["type"] == "connected"
        with client.websocket_connect("ws://127.0.0.1:7860/ws") as live, pytest.raises(WebSocketDisconnect) as closed:
            live.receive_json()
        assert closed.value.code == 1013


def test_a_page_in_heavy_use_stays_below_the_limits():
    """This is the most that one person's page sends in a minute: three uploads
    at a time, a check per edit, one estimate per pause.
    """
    limiter = RateLimiter()
    busy = {
        "PUT /api/datasets/uploads/{upload_id}": 3000,
        "POST /api/config/validate": 240,
        "POST /api/config/memory": 120,
        "POST /api/concepts/statistics": 240,
        "POST /gradio_api/queue/join": 600,
        ZIP: 10,
    }
    began = time.monotonic()
    for route, requests in busy.items():
        for _ in range(requests):
            limiter.check(route, person="a", address="1.1.1.1")
    assert time.monotonic() - began < 10
