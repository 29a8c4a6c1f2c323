"""Runs that OneTrainer created elsewhere.

Covers ``service/runs/workspace.py`` and ``service/runs/event_files.py``, too.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.errors import PathNotFoundError
from onetrainer_gradio.service.runs.changes import RunChanges
from onetrainer_gradio.service.runs.imports import WorkspaceImport
from onetrainer_gradio.service.runs.lineage import chain_of, chain_series
from onetrainer_gradio.service.runs.record import RunStore
from onetrainer_gradio.service.runs.samples import SampleStore
from tests.fakes.configs import small_config
from tests.service.runs.test_record import create

FIRST, SECOND = "2026-01-02_03-04-05", "2026-01-02_04-00-00"


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "data" / "runs")


@pytest.fixture
def imports(store: RunStore) -> WorkspaceImport:
    return WorkspaceImport(store, lambda ids: None)


def seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%d_%H-%M-%S"))


def charts(folder: Path, at: float, steps: range) -> None:
    """Write an event file as OneTrainer does: it counts steps from 0, and charts the rate of the next step."""
    writer = EventFileWriter(str(folder))
    for step in steps:
        scalars = {"lr/unet": 1e-4 * (step + 2), "loss/train_step": 1 / (step + 1), "smooth_loss/train_step": 2 / (step + 1)}
        if step == steps[-1]:
            scalars |= {
                "loss/validation_step/cats": 0.5,
                "loss/validation_step/dogs": 0.7,
                "loss/validation_step/total_average": 0.6,
            }
        for tag, value in scalars.items():
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=at + 10 * (step - steps.start + 1), step=step, summary=summary))
    writer.close()


def put(path: Path, content: bytes, at: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))


def write_workspace(place: Path) -> Path:
    """A workspace with two starts: 20 steps, then a resume from the backup at step 10 for another 15."""
    folder = place / "OneTrainer" / "workspace"
    document = to_document(small_config(place / "material"), packed=True) | {
        "workspace_dir": "workspace",
        "secrets": {"x": "y"},
    }
    for stamp, steps in ((FIRST, range(20)), (SECOND, range(10, 25))):
        at = seconds(stamp)
        charts(folder / "tensorboard" / f"mine{stamp}", at, steps)
        put(folder / "config" / f"mine{stamp}.json", json.dumps(document).encode(), at)
    sample = folder / "samples" / "0 - red"
    put(sample / "mine2026-01-02_03-06-00-training-sample-10-1-0.png", b"one", seconds(FIRST) + 115)
    put(sample / "mine2026-01-02_04-01-00-training-sample-16-1-6.png", b"two", seconds(SECOND) + 60)
    progress = {"train_progress": {"epoch": 1, "epoch_step": 0, "epoch_sample": 0, "global_step": 10}}
    put(
        folder / "backup" / "2026-01-02_03-06-10-backup-10-1-0" / "meta.json", json.dumps(progress).encode(), seconds(FIRST) + 125
    )
    put(folder / "save" / "mine2026-01-02_03-06-20-save-10-1-0.safetensors", b"weights", seconds(FIRST) + 135)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return write_workspace(tmp_path)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.mark.slow
def test_each_start_becomes_a_run_and_the_workspace_stays_as_it_is(
    store: RunStore, imports: WorkspaceImport, workspace: Path, tmp_path: Path
) -> None:
    """Curve, samples, backups, saves and settings appear like those of our runs; the second start continues the first."""
    before = snapshot(workspace)
    preview = imports.preview(workspace)
    assert [(item["name"], item["samples"], item["backups"], item["added"]) for item in preview] == [
        (f"mine{FIRST}", 1, 1, False),
        (f"mine{SECOND}", 1, 0, False),
    ]
    assert store.ids() == []
    added = imports.add(workspace)["added"]
    assert added == [item["id"] for item in preview] == store.ids()[::-1]
    first, second = map(store.get, added)
    assert first.metrics_series(("loss",))["x"] == list(range(1, 21))
    rates = first.metrics_series(("lr/unet",))["min"]["lr/unet"]
    assert rates[0] is None
    assert rates[1] == pytest.approx(2e-4)
    joined = chain_series(chain_of(store, second.id), ("loss",), 100, None, None)
    assert (joined["x"], joined["resumes"]) == (list(range(1, 26)), [{"step": 10, "run_id": second.id}])
    assert [(file["kind"], file["global_step"]) for file in first.files()] == [("sample", 10), ("backup", 10), ("save", 10)]
    samples = SampleStore(store, tmp_path / "thumbnails")
    assert samples.path(samples.list(second.id)["samples"][0]["id"]).read_bytes() == b"two"
    assert samples.list(first.id)["samples"][0]["prompt"]
    assert "secrets" not in first.config()
    assert first.config()["workspace_dir"] == str(workspace)
    state = second.state()
    assert (state["progress"]["global_step"], state["max_step"], state["end_reason"]) == (25, 10, "stopped")
    assert [line["imported"] for line in store.page()["runs"]] == [True, True]
    assert snapshot(workspace) == before


@pytest.mark.slow
def test_an_import_is_repeated_without_losing_labels(store: RunStore, imports: WorkspaceImport, workspace: Path) -> None:
    """A run that continued in the meantime is read again under the same ID; its name and tags stay."""
    added = imports.add(workspace, [f"mine{SECOND}"])["added"]
    assert len(added) == 1
    RunChanges(store, store.delete, lambda ids: None).label(added[0], {"name": "better"})
    charts(workspace / "tensorboard" / f"mine{SECOND}", seconds(SECOND) + 1000, range(25, 40))
    again = imports.add(workspace)
    assert (len(again["added"]), again["updated"]) == (1, added)
    run = store.get(added[0])
    assert (run.name, run.state()["progress"]["global_step"]) == ("better", 40)


@pytest.mark.slow
def test_deleting_an_imported_run_leaves_the_workspace(store: RunStore, imports: WorkspaceImport, workspace: Path) -> None:
    """Only the panel's folder is deleted."""
    before = snapshot(workspace)
    for run_id in imports.add(workspace)["added"]:
        store.delete(run_id)
    assert snapshot(workspace) == before
    assert not any(item["added"] for item in imports.preview(workspace))


@pytest.mark.slow
def test_runs_of_this_panel_are_not_added_twice(store: RunStore, imports: WorkspaceImport, workspace: Path) -> None:
    """A workspace that the panel trains in already has its own runs."""
    run = create(store, "2026-01-02_03-04-05-0000")
    record = json.loads((run.folder / "run.json").read_text()) | {"workspace": str(workspace), "created_at": seconds(FIRST)}
    (run.folder / "run.json").write_text(json.dumps(record))
    os.utime(run.folder)
    fresh = RunStore(store.folder)
    result = WorkspaceImport(fresh, lambda ids: None).add(workspace)
    assert result["skipped"] == [f"mine{FIRST}", f"mine{SECOND}"]  # it hasn't ended
    assert result["added"] == []


@pytest.mark.slow
def test_a_damaged_workspace_is_read_as_far_as_it_goes(store: RunStore, imports: WorkspaceImport, workspace: Path) -> None:
    """Truncated event files, invalid JSON and links that lead elsewhere are no errors."""
    file = next((workspace / "tensorboard" / f"mine{FIRST}").iterdir())
    file.write_bytes(file.read_bytes()[:-30])
    (workspace / "config" / f"mine{FIRST}.json").write_text("{")
    (workspace / "samples" / "1 - leads away").symlink_to("/")
    (workspace / "samples" / "0 - red" / "mine2026-01-02_03-06-00-training-sample-11-1-1.png").symlink_to("/etc/passwd")
    first = store.get(imports.add(workspace)["added"][0])
    assert first.state()["progress"]["global_step"] == 20
    assert first.state()["warnings_count"] == 1
    assert len([each for each in first.files() if each["kind"] == "sample"]) == 1


def test_a_folder_without_runs_is_an_error(imports: WorkspaceImport, tmp_path: Path) -> None:
    """The error describes what a workspace contains."""
    with pytest.raises(PathNotFoundError):
        imports.preview(tmp_path)
