"""A data folder records its version: older ones are migrated from a copy, newer ones are rejected unchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onetrainer_gradio.errors import DataVersionError, RunConflictError, StorageError
from onetrainer_gradio.server import main
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.data_folder_lock import DataFolderLock
from onetrainer_gradio.service.host.data_version import MIGRATIONS, VERSION_FILE, Migration, check_version, prepare_version
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.queue.store import QueueStore
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService


def raise_names(data: Path) -> None:
    """A migration that does harm if it runs twice on the same files."""
    for path in data.glob("runs/*/run.json"):
        document = json.loads(path.read_text("utf-8"))
        write_json(path, {**document, "name": document["name"] + "!"})


def interrupted(data: Path) -> None:
    raise_names(data)
    (data / "runs" / "a" / "extra.json").write_text("{}", "utf-8")
    raise StorageError("No space left on disk.")


FIRST = MIGRATIONS[0]
LATER = (FIRST, Migration(2, "Names end in an exclamation mark.", ("runs/*/*.json",), raise_names))
BROKEN = (FIRST, Migration(2, "Names end in an exclamation mark.", ("runs/*/*.json",), interrupted))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder from before versions were recorded."""
    folder = tmp_path / "data"
    for name in ("a", "b"):
        write_json(folder / "runs" / name / "run.json", {"name": name})
        (folder / "runs" / name / "console.log").write_text("step 1\n", "utf-8")
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_migrations_lead_from_0_to_the_current_version_one_by_one() -> None:
    assert [migration.to for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_folder_without_a_version_has_version_0_and_keeps_its_files(data: Path) -> None:
    before = everything(data)
    assert check_version(data) == 0
    prepare_version(data)
    assert check_version(data) == len(MIGRATIONS)
    after = everything(data)
    assert str(after.pop(VERSION_FILE), "utf-8").count("onetrainer_gradio") == 1
    assert after == before


def test_a_folder_of_this_version_is_not_touched(data: Path) -> None:
    prepare_version(data)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    prepare_version(data)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_a_migration_makes_a_copy_of_what_it_changes_first(data: Path) -> None:
    prepare_version(data, LATER)
    assert read_json(data / "runs" / "a" / "run.json") == {"name": "a!"}
    (copy,) = (data / "migrations").iterdir()
    assert copy.name.startswith("version-1-")
    assert sorted(everything(copy)) == ["runs/a/run.json", "runs/b/run.json"]
    assert read_json(copy / "runs" / "b" / "run.json") == {"name": "b"}


@pytest.mark.slow
def test_an_interrupted_migration_starts_again_from_its_copy(data: Path) -> None:
    with pytest.raises(StorageError, match="No space left"):
        prepare_version(data, BROKEN)
    assert check_version(data, BROKEN) == 0 + 1
    prepare_version(data, LATER)
    assert read_json(data / "runs" / "a" / "run.json") == {"name": "a!"}
    assert not (data / "runs" / "a" / "extra.json").exists()
    assert [copy.name[:9] for copy in (data / "migrations").iterdir()] == ["version-1"]


@pytest.mark.slow
def test_a_copy_that_a_kill_left_after_the_migration_is_never_used_again(data: Path) -> None:
    """If someone goes back to the copy, continues, and upgrades again, the later work is migrated, not the old copy."""
    prepare_version(data, LATER)
    (copy,) = (data / "migrations").iterdir()
    copy.rename(data / "migrations" / "unfinished-2")
    prepare_version(data, LATER)
    write_json(data / "runs" / "a" / "run.json", {"name": "newer"})
    write_json(data / VERSION_FILE, {"version": 1})
    prepare_version(data, LATER)
    assert read_json(data / "runs" / "a" / "run.json") == {"name": "newer!"}


@pytest.mark.slow
def test_a_folder_that_a_panel_of_an_earlier_version_uses_is_not_migrated(data: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write_json(data / "panel.json", ProcessIdentity.of(sleeper.pid).as_dict())
        with pytest.raises(RunConflictError, match="has to be migrated"):
            prepare_version(data, LATER)
        assert read_json(data / "runs" / "a" / "run.json") == {"name": "a"}
    finally:
        sleeper.communicate(b"\n", timeout=30)
    prepare_version(data, LATER)
    assert check_version(data, LATER) == 2


@pytest.mark.parametrize("document", ["{", "[]", '{"version": "1"}', '{"version": true}', '{"version": -1}', "{}"])
def test_a_damaged_version_is_an_error_and_not_version_0(data: Path, document: str) -> None:
    (data / VERSION_FILE).write_text(document, "utf-8")
    with pytest.raises(DataVersionError, match="damaged"):
        prepare_version(data)


@pytest.mark.slow
def test_a_newer_folder_is_rejected_before_anything_is_touched(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(data / VERSION_FILE, {"version": 99, "written_by": "onetrainer_gradio 9.0"})
    with QueueClosed(data) as store:
        store.change(lambda queue: queue.set_fact("paused", "by hand"))
    before = everything(data)
    with pytest.raises(DataVersionError, match=r"9\.0, data version 99.*supports data folders up to"):
        TrainerService(ServiceSettings(data_folder=data))
    with pytest.raises(DataVersionError), DataFolderLock(data, "a test"):
        pass
    where = os.getcwd()
    try:
        for command in (["--port", "0", "--no-open"], ["queue", "list"], ["train", "Demo LoRA"], ["memory", "Demo LoRA"]):
            assert main([*command, "--data", str(data)]) == 1
            assert "Install the newer version" in capsys.readouterr().err
    finally:
        os.chdir(where)
    assert everything(data) == before


class QueueClosed:
    """Open the queue of a data folder, and close it at the end."""

    def __init__(self, data: Path) -> None:
        self._store = QueueStore(data / "queue.sqlite")

    def __enter__(self) -> QueueStore:
        return self._store

    def __exit__(self, *error: object) -> None:
        self._store.close()


@pytest.mark.slow
def test_settings_saved_configurations_and_the_queue_of_an_unversioned_folder_still_work(tmp_path: Path) -> None:
    """This version opens what a service without versions wrote; only the version file is new."""
    first = TrainerService(ServiceSettings(data_folder=tmp_path, runs_queue=False))
    first.configs.save("mine")
    first.queue.pause()
    first.close()
    (tmp_path / VERSION_FILE).unlink()
    again = TrainerService(ServiceSettings(data_folder=tmp_path, runs_queue=False))
    try:
        assert check_version(tmp_path) == len(MIGRATIONS)
        assert again.queue.summary()["paused"]
        assert again.configs.read("mine")
    finally:
        again.close()
