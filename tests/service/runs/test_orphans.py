"""Output that was written after every listener died is found."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from onetrainer_gradio.events import BackupCreated, ModelSaved
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.orphans import find_unreported_outputs, written_since

LONG_AGO = time.time() - 1000


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    config = {"workspace_dir": str(tmp_path / "workspace"), "output_model_destination": str(tmp_path / "lora.safetensors")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "workspace" / "backup").mkdir(parents=True)
    return tmp_path


def back_up(run_folder: Path, name: str, step: int, at: float) -> Path:
    folder = run_folder / "workspace" / "backup" / name
    (folder / "lora").mkdir(parents=True)
    (folder / "lora" / "weights").write_bytes(b"w" * 100)
    meta = folder / "meta.json"
    meta.write_text(json.dumps({"train_progress": {"global_step": step, "epoch": 2, "epoch_step": 1, "epoch_sample": 4}}))
    os.utime(meta, (at, at))
    return folder


def test_the_newest_backup_and_the_model_are_found(run_folder: Path) -> None:
    """Both are reported as the run itself would have reported them."""
    now = time.time()
    back_up(run_folder, "2026-01-01_00-00-00-backup-6-1-0", 6, LONG_AGO)
    newest = back_up(run_folder, "2026-01-01_00-10-00-backup-13-2-1", 13, now)
    (run_folder / "lora.safetensors").write_bytes(b"12345")
    backup, model = written_since(run_folder, now - 1)
    assert isinstance(backup, BackupCreated)
    assert (backup.path, backup.global_step, backup.epoch, backup.epoch_step) == (str(newest), 13, 2, 1)
    assert backup.bytes == 100 + (newest / "meta.json").stat().st_size
    assert isinstance(model, ModelSaved)
    assert (model.path, model.final, model.global_step, model.bytes) == (str(run_folder / "lora.safetensors"), True, 13, 5)


def test_what_was_there_before_is_not_reported_again(run_folder: Path) -> None:
    """An earlier backup or model isn't output of this run."""
    back_up(run_folder, "2026-01-01_00-00-00-backup-6-1-0", 6, LONG_AGO)
    assert list(written_since(run_folder, time.time() - 1)) == []
    back_up(run_folder, "2026-01-01_00-10-00-backup-13-2-1", 13, time.time())
    model = run_folder / "lora.safetensors"
    model.write_bytes(b"12345")
    os.utime(model, (LONG_AGO, LONG_AGO))
    assert [type(event) for event in written_since(run_folder, time.time() - 1)] == [BackupCreated]


def test_a_half_written_model_is_no_final_model(run_folder: Path) -> None:
    """OneTrainer was killed while writing; the earlier file is still moved aside."""
    now = time.time()
    back_up(run_folder, "2026-01-01_00-10-00-backup-13-2-1", 13, now)
    (run_folder / "lora.safetensors").write_bytes(b"123")
    (run_folder / ".unfinished-123-old-lora.safetensors").write_bytes(b"earlier")
    assert [type(event) for event in written_since(run_folder, now - 1)] == [BackupCreated]


@pytest.mark.parametrize("damage", ["no workspace", "no backups", "half a backup", "no configuration"])
def test_nothing_is_made_up(run_folder: Path, damage: str) -> None:
    """If files are missing, nothing is reported, and nothing is raised."""
    backup = back_up(run_folder, "2026-01-01_00-10-00-backup-13-2-1", 13, time.time())
    if damage == "no workspace":
        (run_folder / "workspace").rename(run_folder / "elsewhere")
    elif damage == "no backups":
        (run_folder / "workspace" / "backup").rename(run_folder / "workspace" / "old")
    elif damage == "half a backup":
        (backup / "meta.json").write_text("{")
    else:
        (run_folder / "config.json").unlink()
    assert list(written_since(run_folder, 0.0)) == []


def test_a_backup_that_does_not_count_steps_is_reported_all_the_same(run_folder: Path) -> None:
    """No content of a backup keeps a run from ending."""
    backup = back_up(run_folder, "2026-01-01_00-10-00-backup-13-2-1", 13, time.time())
    (backup / "meta.json").write_text('{"train_progress": {"global_step": null, "epoch": "two"}}')
    (event,) = written_since(run_folder, 0.0)
    assert (event.path, event.global_step) == (str(backup), 0)


def test_what_the_journal_names_is_not_reported_twice(run_folder: Path) -> None:
    """Only output after the last listener's end and after the run's start is new."""
    began = time.time() - 10
    (run_folder / "run.json").write_text(json.dumps({"created_at": began}))
    journal = Journal(run_folder / "journal.jsonl")
    first = back_up(run_folder, "2026-01-01_00-00-00-backup-6-1-0", 6, time.time())
    journal.append(BackupCreated(path=str(first), global_step=6, epoch=1, epoch_step=0, bytes=1))
    assert find_unreported_outputs(run_folder, journal) == []
    second = back_up(run_folder, "2026-01-01_00-10-00-backup-13-2-1", 13, time.time())
    assert [event.path for event in find_unreported_outputs(run_folder, journal)] == [str(second)]
    os.utime(second / "meta.json", (began - 1, began - 1))
    assert find_unreported_outputs(run_folder, journal) == []
    journal.close()
