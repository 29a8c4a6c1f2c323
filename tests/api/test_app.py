"""The API as a whole: the paths of the contract, one format for errors, documentation that needs no network.

Covers ``versions.py``, ``api/dependencies.py``, ``api/serialization.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from onetrainer_gradio.api.failures import Failures
from onetrainer_gradio.api.replies import STATUS_BY_ERROR, install, status_of
from onetrainer_gradio.errors import ConfigValueError, TrainerError

pytestmark = pytest.mark.slow

# The paths that clients were promised; pause and resume belong to training control.
CONTRACT = (
    ("GET", "/api/training/status"),
    ("POST", "/api/training/start"),
    ("POST", "/api/training/stop"),
    ("POST", "/api/training/backup"),
    ("POST", "/api/training/save"),
    ("POST", "/api/training/pause"),
    ("POST", "/api/training/resume"),
    ("GET", "/api/training/progress"),
    ("GET", "/api/config/current"),
    ("GET", "/api/config/list"),
    ("GET", "/api/config/load/{name}"),
    ("POST", "/api/config/validate"),
    ("GET", "/api/config/schema"),
    ("GET", "/api/config/defaults"),
    ("POST", "/api/samples/default"),
    ("POST", "/api/samples/custom"),
    ("GET", "/api/samples/list"),
    ("GET", "/api/samples/latest"),
    ("GET", "/api/samples/{id}"),
    ("GET", "/api/system/info"),
    ("GET", "/api/system/resources"),
    ("GET", "/api/system/processes"),
)

SHAPE = {"ok", "error", "errors", "status"}


def operations(app) -> set[tuple[str, str]]:
    """Return method and path of every documented operation, without the names of parameters."""
    return {
        (method.upper(), re.sub(r"\{[^}]*\}", "{}", path)) for path, item in app.openapi()["paths"].items() for method in item
    }


def test_every_path_of_the_contract_stands(app):
    promised = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path in CONTRACT}
    assert promised - operations(app) == set()


def test_every_operation_is_described(app):
    """The documentation describes each path and its successful response."""
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            assert operation.get("description"), f"{method} {path}"
            assert operation["tags"], f"{method} {path}"
            assert operation["description"].startswith(operation["summary"]), f"{method} {path}"


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_needs_nothing_from_elsewhere(panel, page):
    """Every address in the pages is an existing path of this server, and the browser may load no other."""
    reply = panel.client.get(page)
    assert reply.status_code == 200
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?:https?:)?//", reply.text)
    for address in re.findall(r"(?:src|href|spec-url)\s*=\s*[\"']([^\"']+)", reply.text):
        assert panel.client.get(address).status_code == 200, address
    assert "default-src 'self'" in reply.headers["content-security-policy"]


def test_redoc_asks_for_no_image_from_elsewhere(panel):
    script = panel.client.get("/docs/assets/redoc.standalone.js")
    assert len(script.content) > 500_000
    assert b"cdn.redoc.ly" not in script.content


def test_only_the_files_of_the_documentation_are_served(panel):
    for name in ("nope.js", "..%2f__init__.py", "..%2fcore.py"):
        assert panel.client.get(f"/docs/assets/{name}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nope", 404),
        ("GET", "/api/", 404),
        ("POST", "/api/training/nope", 404),
        ("POST", "/api/training/status", 405),
        ("DELETE", "/api/training/start", 405),
        ("PATCH", "/api/samples/custom", 405),
    ],
)
def test_unknown_paths_and_methods_answer_in_the_one_shape(panel, method, path, status):
    reply = panel.client.request(method, path)
    assert reply.status_code == status
    assert reply.json().keys() == SHAPE
    assert (reply.json()["ok"], reply.json()["status"]) == (False, status)


def test_a_broken_body_answers_in_the_one_shape(panel):
    reply = panel.client.patch("/api/config/current", content=b"{", headers={"Content-Type": "application/json"})
    assert reply.status_code == 422
    assert reply.json().keys() == SHAPE


def test_an_unexpected_error_reveals_nothing_of_the_inside(log_records):
    """The client learns that something failed; the log has the cause."""

    def broken():
        raise RuntimeError("the secret is 1234")

    app = FastAPI()
    app.add_api_route("/broken", broken)
    install(app)
    app.add_middleware(Failures)
    reply = TestClient(app).get("/broken")
    assert reply.status_code == 500
    assert reply.json().keys() == SHAPE
    assert "1234" not in reply.text
    assert "1234" in log_records.text


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_error_has_a_status():
    """A new error has the status of its family until the table lists it."""
    for kind in subclasses(TrainerError):
        assert any(base in STATUS_BY_ERROR for base in kind.__mro__)
    assert status_of(ConfigValueError("x")) == 422


def test_large_replies_are_compressed_and_images_are_not(panel):
    schema = panel.client.get("/api/config/schema", headers={"Accept-Encoding": "gzip"})
    assert schema.headers["content-encoding"] == "gzip"
    panel.finished(steps=1, sample_every=1)
    sample = panel.client.get("/api/samples/latest").json()["samples"][0]
    image = panel.client.get(sample["path"], headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in image.headers


def test_system_readings(panel):
    assert panel.client.get("/api/system/info").json()["versions"]["python"]
    assert panel.client.get("/api/system/resources").json()["now"]["memory_total"] > 0
    processes = panel.client.get("/api/system/processes").json()["processes"]
    assert "panel" in {item["role"] for item in processes}


def test_every_path_is_in_the_documentation(app):
    """docs/api.md names each path with its method, and no path that doesn't exist."""
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    written = {
        (method, re.sub(r"\{[^}]*\}", "{}", path))
        for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/(?:api/|health|metrics)[^`?\s]*)(?:\?[^`]*)?`", text)
    }
    assert written == operations(app)
