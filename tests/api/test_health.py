"""Liveness and readiness are open to everyone, with reasons only for people who are signed in."""

from __future__ import annotations

import os

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service.host import readiness
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.api.conftest import ADDRESS, rehearsal_service

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-programs"


@pytest.fixture
def app(tmp_path):
    return create_api(rehearsal_service(tmp_path / "data"), Access(AccessSettings(token=TOKEN)))


def test_a_ready_panel_answers_200(app):
    with TestClient(app, base_url=ADDRESS) as client:
        reply = client.get("/health")
        assert (reply.status_code, reply.json()) == (200, {"ok": True})
        assert client.get("/health/live").json() == {"ok": True}


def test_a_panel_that_has_not_started_is_alive_but_not_ready(app):
    client = TestClient(app, base_url=ADDRESS)  # without its lifespan, the service is never opened
    assert client.get("/health/live").status_code == 200
    assert client.get("/health").status_code == 503


def test_the_reasons_are_only_for_who_is_logged_in(app):
    """Others learn whether the panel works, and nothing about the machine."""
    app.state.not_ready.append(lambda: "The page is being built.")
    with TestClient(app, base_url=ADDRESS) as client:
        stranger = client.get("/health")
        assert (stranger.status_code, stranger.json()) == (503, {"ok": False})
        known = client.get("/health", headers={"Authorization": f"Bearer {TOKEN}"})
        assert known.json() == {"ok": False, "reasons": ["The page is being built."]}
        wrong = client.get("/health", headers={"Authorization": "Bearer wrong"})
        assert wrong.json() == {"ok": False}


def test_a_full_disk_is_a_reason(tmp_path):
    assert readiness.storage_problems(tmp_path) == []
    (reason,) = readiness.storage_problems(tmp_path, min_free=1 << 60)
    assert "MB free" in reason
    assert str(tmp_path) not in reason


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_cannot_be_written_is_a_reason(tmp_path):
    tmp_path.chmod(0o500)
    assert readiness.storage_problems(tmp_path) == ["Can't write to the data folder."]


def test_a_data_folder_that_is_gone_is_a_reason(tmp_path):
    assert readiness.storage_problems(tmp_path / "gone") == ["Can't write to the data folder."]
