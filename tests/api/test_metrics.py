"""Metrics for Prometheus: what they count, and who may read them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.api.conftest import ADDRESS, rehearsal_service

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-programs"


def read(client, **headers) -> dict[str, list]:
    reply = client.get("/metrics", headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family.samples for family in text_string_to_metric_families(reply.text)}


def value(families, name, **labels):
    (found,) = (sample.value for sample in families[f"onetrainer_gradio_{name}"] if labels.items() <= sample.labels.items())
    return found


def test_runs_queue_and_machine_are_measured(panel):
    panel.finished(updates=2)
    families = read(panel.client)
    assert value(families, "runs", status="completed") == 1
    assert value(families, "run_active") == 0
    assert value(families, "queue_runs", state="waiting") == 0
    assert value(families, "disk_free_bytes") > 0
    assert value(families, "viewers") == 0


def test_the_current_run_is_measured_while_it_trains(panel):
    panel.training()
    families = read(panel.client)
    assert value(families, "run_active") == 1
    assert value(families, "run_total_steps") > 0
    assert value(families, "runs", status="active") == 1


@pytest.mark.exhaustive
def test_requests_are_counted_by_route_and_status(tmp_path):
    """Labels contain neither path parameters nor paths that don't exist."""
    app = create_api(rehearsal_service(tmp_path / "data"), Access(AccessSettings()))
    with TestClient(app, base_url=ADDRESS) as client:
        for path in ("/api/runs/one", "/api/runs/two", "/api/training/status", "/nothing/here", "/nothing/there"):
            client.get(path)
        client.request("INVENTED", "/api/training/status")
        families = read(client)
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["onetrainer_gradio_http_requests"]
        if sample.name.endswith("_total")
    }
    assert counted["GET", "/api/runs/{run_id}", "404"] == 2
    assert counted["GET", "/api/training/status", "200"] == 1
    assert counted["GET", "other", "404"] == 2
    assert [number for (method, _, _), number in counted.items() if method == "other"] == [1]
    assert "INVENTED" not in str(counted)
    assert value(families, "http_request_duration_seconds", method="GET", route="/api/training/status", le="+Inf") == 1


def test_metrics_need_the_token(tmp_path):
    app = create_api(rehearsal_service(tmp_path / "data"), Access(AccessSettings(token=TOKEN)))
    with TestClient(app, base_url=ADDRESS) as client:
        assert client.get("/metrics").status_code == 401
        families = read(client, Authorization=f"Bearer {TOKEN}")
    assert value(families, "http_requests", status="401", method="GET") == 1


@pytest.mark.exhaustive
def test_each_panel_has_metrics_of_its_own(tmp_path):
    """Two apps in one process, as in tests, don't share counters and don't fail."""
    first, second = (create_api(rehearsal_service(tmp_path / name), Access(AccessSettings())) for name in ("a", "b"))
    with TestClient(first, base_url=ADDRESS) as client:
        client.get("/api/training/status")
    with TestClient(second, base_url=ADDRESS) as client:
        assert not any(
            sample.labels.get("route") == "/api/training/status" for samples in read(client).values() for sample in samples
        )
