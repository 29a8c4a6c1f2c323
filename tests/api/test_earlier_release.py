"""A data folder that an earlier release wrote opens unchanged: runs, draft, saved configuration and queue."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import put_service
from tests.api.conftest import ADDRESS, rehearsal_service

pytestmark = pytest.mark.slow  # builds the whole panel and trains

FIXTURE = Path(__file__).parent.parent / "fixtures" / "earlier_release"
PLACEHOLDER = "{folder}"
COMPLETED, FAILED = "2026-11-28_22-37-23-a636", "2026-11-28_22-37-24-a569"
SAVED_AT = 1795905444.4184313
TEXTS = (".json", ".jsonl", ".log", ".sql")


def unpack(folder: Path) -> None:
    """Copy the fixture as if the earlier release had written it into ``folder``."""
    shutil.copytree(FIXTURE, folder)
    for file in folder.rglob("*"):
        if file.suffix in TEXTS:
            file.write_text(file.read_text(encoding="utf-8").replace(PLACEHOLDER, folder.as_posix()), encoding="utf-8")
    os.utime(folder / "lora.safetensors", (SAVED_AT, SAVED_AT))  # a newer file would not be the run's
    script = folder / "data" / "queue.sql"
    with closing(sqlite3.connect(folder / "data" / "queue.sqlite")) as database:
        database.executescript(script.read_text(encoding="utf-8"))
    script.unlink()


@pytest.fixture
def earlier(app: FastAPI, tmp_path: Path) -> Iterator[TestClient]:
    """A client of the current panel on that data folder."""
    unpack(tmp_path / "earlier")
    put_service(app, rehearsal_service(tmp_path / "earlier" / "data"))
    with TestClient(app, base_url=ADDRESS) as client:
        yield client


def get(client: TestClient, path: str, **query: Any) -> dict[str, Any]:
    reply = client.get(path, params=query)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def test_runs_are_listed_with_how_they_ended(earlier):
    body = get(earlier, "/api/runs", limit=10)
    shown = [(run["id"], run["name"], run["status"], run["global_step"]) for run in body["runs"]]
    assert shown == [(FAILED, "failed", "error", 8), (COMPLETED, "first", "completed", 12)]
    assert get(earlier, "/api/runs", search="first")["matches"] == 1


def test_the_page_of_a_run_has_everything(earlier):
    """It has settings, curve, samples, log, a journal with today's names, files, backups and replay."""
    run = get(earlier, f"/api/runs/{COMPLETED}")
    assert run["config"]["model_type"] == "STABLE_DIFFUSION_15"
    assert run["state"]["end_reason"] == "completed"
    curve = get(earlier, "/api/runs/series", ids=f"{COMPLETED},{FAILED}", metrics="loss")
    assert [len(each["x"]) for each in curve["runs"]] == [12, 8]
    assert get(earlier, f"/api/runs/{COMPLETED}/metrics")["max"]["loss"][:2] == [1.0, 0.5]
    samples = get(earlier, "/api/samples/list", run_id=COMPLETED)["samples"]
    assert len(samples) == 2
    assert earlier.get(f"/api/samples/{samples[0]['id']}/image").content.startswith(b"\x89PNG")
    assert earlier.get(f"/api/runs/{COMPLETED}/log.txt").text.split("\n")[:3] == ["step 4", "step 8", "step 12"]
    types = {event["type"] for event in get(earlier, f"/api/runs/{COMPLETED}/journal", limit=1000)["events"]}
    assert {"backup_created", "sample_generated", "phase_progress"} <= types
    kinds = [file["kind"] for file in get(earlier, f"/api/runs/{COMPLETED}/files")["files"]]
    assert (kinds.count("backup"), kinds.count("model")) == (3, 1)
    assert get(earlier, f"/api/runs/{COMPLETED}/replay", step=7)["step"] == 7
    error = get(earlier, f"/api/runs/{FAILED}")["state"]["error"]
    assert "memory is used up" in error


def test_a_failed_run_resumes_from_its_backup(earlier):
    backups = get(earlier, f"/api/runs/{FAILED}/backups")["backups"]
    assert [(backup["global_step"], backup["problem"]) for backup in backups] == [(3, ""), (6, "")]
    reply = earlier.post(f"/api/runs/{FAILED}/resume", json={})
    assert reply.status_code == 200, reply.text
    service = earlier.app.state.service
    service.wait_for(lambda state: not state["process_running"], 30)
    resumed = service.runs.get(reply.json()["run_id"])
    assert (resumed.record.options["resumes_run"], resumed.resumed_step()) == (FAILED, 6)


def test_draft_and_saved_configuration_are_as_they_were_left(earlier):
    """The draft has an edit that was never saved."""
    draft = get(earlier, "/api/config/current")
    assert draft["name"] == "portrait"
    assert [draft["config"][name] for name in ("epochs", "lora_rank")] == [7, 24]
    opened = get(earlier, "/api/config/load/portrait")
    assert [opened["config"][name] for name in ("epochs", "lora_rank", "learning_rate")] == [7, 16, 0.0005]


def test_the_queue_is_as_it_was_left_and_continues(earlier):
    queue = get(earlier, "/api/queue")
    assert [(item["name"], item["state"], item["tags"]) for item in queue["items"]] == [("tonight", "waiting", ["steps=3"])]
    assert queue["paused"]
    assert earlier.post("/api/queue/resume", json={}).status_code == 200
    service = earlier.app.state.service
    service.wait_for(lambda state: state["status"] == "completed" and state["update_step"] == 3, 30)
