"""Runs as folders."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.errors import DiskFullError, RunConflictError, RunNotFoundError
from onetrainer_gradio.events import PhaseChanged, PhaseProgress, RunEnded, RunPlanned, WarningIssued
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.runs import record as runs
from onetrainer_gradio.service.runs.metrics import MetricsWriter
from onetrainer_gradio.service.runs.record import Run, RunRecord, RunStore, new_run_id
from tests.fakes.configs import small_config
from tests.service.runs.test_metrics import step
from tests.service.runs.test_view import PLAN


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def create(store: RunStore, run_id: str = "", **options: object) -> Run:
    chosen = RunOptions(**options)  # type: ignore[arg-type]
    record = RunRecord(
        id=run_id or new_run_id(),
        name="name",
        created_at=1.0,
        backend="rehearsal",
        workspace="w",
        options=chosen.model_dump(mode="json"),
        versions={"python": "3"},
    )
    return store.create(small_config(store.folder.parent), record)


def test_a_run_is_found_again_as_it_was_created(store: RunStore) -> None:
    """Record, options and frozen configuration survive the panel."""
    run = create(store, tags=("a",), max_steps=7)
    again = RunStore(store.folder).get(run.id)
    assert again.record == run.record
    assert again.options() == RunOptions(tags=("a",), max_steps=7)
    assert again.config()["concepts"][0]["name"] == "red"
    assert "secrets" not in again.config()


@pytest.mark.slow
def test_a_new_run_is_the_newest_whatever_the_clock_shows(store: RunStore) -> None:
    """In autumn the clock goes back an hour, and a machine may start with yesterday's date."""
    first = store.new_id(1_000_000.5)
    assert first == new_run_id(1_000_000.5)
    create(store, first)
    second = store.new_id(1_000_000.5 - 3600)
    create(store, second)
    third = store.new_id(1_000_000.5)
    create(store, third)
    assert store.ids() == [third, second, first]
    assert store.new_id(2_000_000) == new_run_id(2_000_000)
    for name in ("9999-12-31_23-59-59-0000", "9999-99-99_99-99-99-0000"):
        (store.folder / name).mkdir()
        assert store.new_id(2_000_000) == new_run_id(2_000_000)


@pytest.mark.slow
def test_ids_sort_by_time_and_hold_no_path(store: RunStore) -> None:
    """The newest run comes first; only a well-formed id is looked up."""
    older, newer = new_run_id(1_000_000.25), new_run_id(1_000_000.5)
    assert older < newer < new_run_id(1_000_001)
    for run_id in (newer, older):
        create(store, run_id)
    (store.folder / "notes").mkdir()
    assert store.ids() == [newer, older]
    for wrong in ("..", "../runs", "", "notes", new_run_id(), f"{newer}/../{older}"):
        with pytest.raises(RunNotFoundError):
            store.get(wrong)


@pytest.mark.slow
def test_a_folder_without_a_record_is_listed_as_damaged(store: RunStore) -> None:
    """A folder that lost its record is listed with the reason, dated by its name, and can be deleted; a file is no run."""
    run = create(store)
    bare = new_run_id(5)
    (store.folder / bare).mkdir()
    (store.folder / new_run_id(6)).write_text("a file")
    listed = {row["id"]: row for row in store.list()}
    assert listed.keys() == {run.id, bare}
    assert (listed[run.id]["damaged"], listed[bare]["damaged"]) == ("", "run.json is missing.")
    assert listed[bare]["created_at"] == 5
    store.get(bare).record_end(RunEnded(reason="lost"))
    store.delete(bare)
    assert store.ids() == [run.id]


@pytest.mark.slow
def test_what_a_damaged_record_still_contains_is_kept(store: RunStore) -> None:
    """Keys with the right type stay; the rest comes from the run's line in the list and from its configuration."""
    run = create(store, tags=("a",), max_steps=7)
    run.journal.append(RunEnded(reason="completed"))
    line = run.summary()
    body = read_json(run.folder / "run.json")
    write_json(run.folder / "run.json", body | {"created_at": "yesterday", "options": body["options"] | {"max_steps": "many"}})
    again = Run(run.folder)
    assert again.damage == "run.json is damaged: created_at, options.max_steps."
    assert (again.record.name, again.record.created_at, again.record.workspace) == ("name", 1.0, "w")
    assert (again.options().tags, again.options().max_steps) == (("a",), None)
    (run.folder / "run.json").unlink()
    assert Run(run.folder).summary() == line | {"damaged": "run.json is missing."}
    (run.folder / "summary.json").unlink()
    assert Run(run.folder).record.workspace == str(store.folder.parent / "workspace")


@pytest.mark.slow
def test_a_start_that_fails_leaves_no_folder(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, neither the run's folder nor a part of it remains."""
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(runs, "write_json", lambda *_, **__: (_ for _ in ()).throw(full))
    with pytest.raises(DiskFullError):
        create(store)
    assert list(store.folder.iterdir()) == []


def test_what_a_killed_panel_left_of_a_new_folder_is_removed(store: RunStore) -> None:
    """A folder is created under another name; an unfinished one is removed at the next start, and nothing else is."""
    store.folder.mkdir()
    for name in (f".new-{new_run_id()}", ".new-mine", ".newest"):
        (store.folder / name).mkdir()
    store.remove_unfinished()
    assert sorted(path.name for path in store.folder.iterdir()) == [".new-mine", ".newest"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_runs_that_nobody_uses_are_not_held(store: RunStore) -> None:
    """A long list needs little memory; a run in use is the same object for all users."""
    first = create(store, new_run_id(1))
    for second in range(2, 80):
        create(store, new_run_id(second))
    gc.collect()
    assert len(store.list()) == 79
    assert len(store._in_use) < 79
    assert store.get(first.id) is first


@pytest.mark.slow
@pytest.mark.parametrize(
    "damaged",
    [
        {"run.json": {}},
        {"run.json": {"id": 1}},
        {"run.json": {"id": "x", "name": "n", "created_at": 1, "backend": "b", "workspace": "w", "options": 7}},
        {"summary.json": {"version": 2}},
        {"summary.json": {"version": 2, "summary": 5}},
    ],
)
def test_a_damaged_run_costs_no_other(store: RunStore, damaged: dict[str, object]) -> None:
    """The list of runs, and so the start of the panel, works without an invalid record."""
    whole, broken = create(store), create(store)
    for run in (whole, broken):
        run.journal.append(RunEnded(reason="completed"))
    for name, content in damaged.items():
        write_json(broken.folder / name, content)
    again = RunStore(store.folder)
    assert whole.id in [run.id for run in again.all()]
    assert whole.id in [line["id"] for line in again.list()]


@pytest.mark.slow
def test_a_record_of_a_newer_version_can_be_read(store: RunStore) -> None:
    """Unknown keys are ignored."""
    run = create(store)
    write_json(run.folder / "run.json", {**read_json(run.folder / "run.json"), "colour": "red"})
    assert Run(run.folder).record == run.record


@pytest.mark.slow
def test_the_state_follows_journal_and_metrics(store: RunStore) -> None:
    """The next state contains everything that was written since the last one."""
    run = create(store)
    assert run.state()["status"] == "starting"
    run.journal.append(PLAN)
    run.journal.append(PhaseChanged(phase="training"))
    writer = MetricsWriter(run.folder / "metrics.bin")
    writer.plan(("unet",))
    for number in range(1, 200):
        writer.add(step(number))
    writer.flush()
    state = run.state()
    assert (state["status"], state["update_step"], state["row"], state["seq"]) == ("running", 199, 199, 2)
    assert state["speed"] == pytest.approx(20.0)
    summary = run.summary()
    assert (summary["active"], summary["global_step"], summary["total_steps"]) == (True, 398, 200)


@pytest.mark.slow
def test_a_running_run_cannot_be_deleted_an_ended_one_can(store: RunStore) -> None:
    """Deleting removes the run's folder and keeps the workspace."""
    run = create(store)
    workspace = store.folder.parent / "workspace"
    workspace.mkdir()
    with pytest.raises(RunConflictError, match="still running"):
        store.delete(run.id)
    run.journal.append(RunEnded(reason="stopped"))
    store.delete(run.id)
    assert workspace.is_dir()
    assert store.ids() == []
    with pytest.raises(RunNotFoundError):
        store.get(run.id)


@pytest.mark.slow
def test_the_log_is_read_in_parts(store: RunStore) -> None:
    """It is read from an offset on, or the last lines; a position leads to the next part."""
    run = create(store)
    assert run.log() == {"offset": 0, "text": "", "next": 0, "size": 0}
    text = "".join(f"line {number}\n" for number in range(1000))
    (run.folder / "console.log").write_text(text)
    first = run.log(0, limit=100)
    assert first["text"] + run.log(first["next"], limit=10**6)["text"] == text
    last = run.log(-1, limit=100)
    assert text.endswith(last["text"])
    assert last["text"].startswith("line ")
    assert (last["offset"] + len(last["text"]), last["next"]) == (len(text), len(text))
    assert run.log(10**9)["text"] == ""


def test_a_chart_names_its_run_and_all_columns(store: RunStore) -> None:
    """A chart lists the run's other columns."""
    run = create(store)
    series = run.metrics_series(["loss"])
    assert (series["run_id"], series["all_columns"], series["x"]) == (run.id, [], [])
    assert isinstance(PLAN, RunPlanned)


@pytest.mark.slow
def test_a_long_journal_is_folded_to_the_same_state(store: RunStore) -> None:
    """A viewer that is far behind skips old progress and gets the same state as the others."""
    run = create(store)
    follower = Run(run.folder)
    run.journal.append(PhaseChanged(phase="caching"))
    for done in range(1, 2501):
        run.journal.append(PhaseProgress(phase="caching", done=done, total=3000))
        if done % 500 == 0:
            follower.state()
    run.journal.append(WarningIssued(code="a", message="b"))
    assert Run(run.folder).state()["warnings_count"] == 1
    run.journal.append(PhaseProgress(phase="caching", done=2501, total=3000))
    late = Run(run.folder)
    late.state()
    run.journal.append(PhaseProgress(phase="caching", done=2502, total=3000))
    assert late.state() == follower.state()
    assert (late.state()["phase_done"], late.state()["seq"]) == (2502, 2504)


@pytest.mark.slow
def test_the_line_of_an_ended_run_is_kept(store: RunStore) -> None:
    """A long list of old runs is fast, and an active run is always read again."""
    run = create(store)
    assert store.list()[0]["active"]
    assert not (run.folder / "summary.json").exists()
    run.journal.append(RunEnded(reason="stopped"))
    fresh = store.list()[0]
    assert (fresh["active"], fresh["end_reason"]) == (False, "stopped")
    assert RunStore(store.folder).list() == [fresh]
    write_json(run.folder / "summary.json", {"version": 0, "summary": {}})
    assert RunStore(store.folder).list() == [fresh]


@pytest.mark.slow
def test_warnings_count_in_the_list(store: RunStore) -> None:
    """The list shows that a run has warnings without opening it."""
    run = create(store)
    run.journal.append(WarningIssued(code="a", message="b"))
    assert store.list()[0]["warnings_count"] == 1


def test_a_console_log_that_is_no_file_is_empty(store: RunStore) -> None:
    """Reading doesn't block on a named pipe or folder in its place."""
    run = create(store)
    log = run.folder / "console.log"
    log.unlink(missing_ok=True)
    os.mkfifo(log)
    assert run.log_bytes()[0] == 0
    assert run.log()["text"] == ""
    log.unlink()
    log.mkdir()
    assert run.log_bytes()[0] == 0


@pytest.mark.slow
def test_what_killed_saves_left_goes_and_what_others_call_alike_stays(store: RunStore) -> None:
    """When its run is opened again, an unfinished model next to the output file is removed without a new training."""
    run = create(store)
    run.journal.append(RunEnded(reason="lost"))
    beside = Path(run.config()["output_model_destination"]).parent
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        dead = process.pid
    left, other, alive = (
        beside / name for name in (f".unfinished-{dead}-save", ".unfinished-mine", f".unfinished-{os.getppid()}-x")
    )
    for folder in (left, other, alive):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text("half")
    run.remove_unfinished_files()
    assert sorted(path.name for path in beside.glob(".unfinished-*")) == sorted((other.name, alive.name))
