"""What remains to be trained after a backup.

Covers ``config/final_model.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.final_model import final_model_exists
from onetrainer_gradio.config.resume import Progress, nothing_left, nothing_left_of, saves_result, steps_changed, total_steps
from tests.fakes.configs import write_result


@pytest.mark.parametrize(("epoch", "left"), [(0, True), (2, True), (3, False), (4, False), ("x", True), (None, True)])
def test_a_backup_behind_the_last_epoch_has_nothing_left(tmp_path: Path, epoch: object, left: bool) -> None:
    """A finding names the epochs; an unreadable backup is left to the engine's own error."""
    (tmp_path / "meta.json").write_text(json.dumps({"train_progress": {"epoch": epoch}}))
    write_result(tmp_path / "lora.safetensors")
    config = TrainConfig(epochs=3, output_model_destination="lora.safetensors")
    found = nothing_left(config, tmp_path, base_folder=tmp_path)
    assert (found is None) is left
    if found is not None:
        assert (found.severity, found.path) == ("error", "epochs")
        assert f"epoch {epoch} of 3" in found.message
    assert nothing_left(TrainConfig(epochs=3), tmp_path / "none") is None


@pytest.mark.parametrize(
    ("at", "steps", "limit", "total"),
    [
        (Progress(), 7, None, 21),
        (Progress(2, 0, 0, 12), 7, None, 19),
        (Progress(1, 4, 8, 10), 7, None, 10 + 3 + 7),
        (Progress(1, 4, 8, 10), 3, None, 10 + 0 + 3),
        (Progress(3, 0, 0, 18), 7, None, 18),
        (Progress(9, 0, 0, 54), 7, None, 54),
        (Progress(2, 0, 0, 12), 7, 15, 15),
        (Progress(2, 0, 0, 12), 7, 99, 19),
    ],
)
def test_the_last_step_follows_from_the_backup_and_the_images_of_now(
    at: Progress, steps: int, limit: int | None, total: int
) -> None:
    """It is the rest of the interrupted epoch plus the remaining epochs, bounded by the step limit."""
    assert total_steps(at, steps, TrainConfig(epochs=3, batch_size=2), limit) == total


@pytest.mark.parametrize(
    ("at", "changed"),
    [
        (Progress(2, 0, 0, 12), True),
        (Progress(2, 0, 0, 14), False),
        (Progress(0, 3, 6, 3), False),
        (Progress(0, 3, 6, 3, epoch_length=6), True),
        (Progress(2, 1, 1, 9, epoch_length=7), False),
    ],
)
def test_a_warning_reports_that_the_images_changed(at: Progress, changed: bool) -> None:
    """The backup's record decides, otherwise its completed epochs; in the first epoch of a foreign backup nothing is known."""
    warned = steps_changed(at, 7, Path("backup"))
    assert (warned is not None) is changed
    assert warned is None or "now has 7" in warned.message


def test_the_step_limit_and_the_last_backup_count_too(tmp_path: Path) -> None:
    """The newest backup of the workspace counts; others don't matter."""
    for name, epoch in (("2026-01-01_00-00-00", 3), ("2026-01-02_00-00-00", 1)):
        (tmp_path / "backup" / name).mkdir(parents=True)
        progress = {"epoch": epoch, "epoch_step": 0, "epoch_sample": 0, "global_step": epoch * 4}
        (tmp_path / "backup" / name / "meta.json").write_text(json.dumps({"train_progress": progress}))
    (tmp_path / "backup" / "2026-01-03_00-00-00").mkdir()
    write_result(tmp_path / "lora.safetensors")
    config = TrainConfig(epochs=3, workspace_dir=str(tmp_path), output_model_destination=str(tmp_path / "lora.safetensors"))
    continued = config.model_copy(update={"continue_last_backup": True})
    assert nothing_left_of(config, RunOptions(), "builtin") is None
    assert nothing_left_of(continued, RunOptions(), "builtin") is None
    found = nothing_left_of(continued, RunOptions(max_steps=4), "builtin")
    assert found is not None
    assert found.path == "max_steps"
    assert nothing_left_of(continued, RunOptions(max_steps=4), "onetrainer") is None  # its last folder has no progress
    assert nothing_left_of(continued, RunOptions(max_steps=5), "builtin") is None
    found = nothing_left_of(continued, RunOptions(resume_from=str(tmp_path / "backup" / "2026-01-01_00-00-00")), "builtin")
    assert found is not None
    assert found.path == "epochs"


def test_a_run_with_no_step_left_only_saves_its_missing_result(tmp_path: Path) -> None:
    """A missing, truncated or outdated result, or one of an unfinished run, is a warning, for epochs and step limit alike."""
    backup, result = tmp_path / "backup", tmp_path / "lora.safetensors"
    backup.mkdir()
    progress = {"epoch": 3, "epoch_step": 0, "epoch_sample": 0, "global_step": 12}
    (backup / "meta.json").write_text(json.dumps({"train_progress": progress}))

    def severities() -> set[str]:
        config = TrainConfig(epochs=3, output_model_destination=str(result))
        found = (nothing_left(config, backup), nothing_left(config.model_copy(update={"epochs": 4}), backup, 12))
        return {f"{finding.severity} {finding.code}" for finding in found if finding is not None}

    missing, existing = {"warning only-saves-result"}, {"error nothing-left-to-train"}
    assert severities() == missing
    write_result(result)
    assert severities() == existing
    whole = result.read_bytes()
    for torn in (b"", whole[:-1], bytes(len(whole))):
        result.write_bytes(torn)
        assert severities() == missing, torn
    write_result(result)
    before_s = (backup / "meta.json").stat().st_mtime - 1
    os.utime(result, (before_s, before_s))
    assert severities() == missing
    write_result(result)
    for unfinished, severity in ((False, "error"), (True, "warning")):
        options = RunOptions(resume_from=str(backup), unfinished=unfinished)
        warning = nothing_left_of(TrainConfig(epochs=3, output_model_destination=str(result)), options, "builtin")
        assert warning is not None
        assert warning.severity == severity
    only_cache = TrainConfig(epochs=3, output_model_destination=str(result), only_cache=True)
    assert not saves_result(only_cache, RunOptions(unfinished=True), backup)
    found = nothing_left(only_cache, backup)
    assert found is not None
    assert found.code == "nothing-left-to-train"


def test_the_result_of_a_run_may_be_named_by_its_time_or_be_a_folder(tmp_path: Path) -> None:
    """A single file in a folder has a name with its time; a diffusers folder has all its components."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    single = TrainConfig(output_model_destination="models", output_model_format="SAFETENSORS")
    assert not final_model_exists(single, tmp_path, 0)
    write_result(folder / "2026-01-01_00-00-00.safetensors")
    assert final_model_exists(single, tmp_path, 0)
    many = TrainConfig(output_model_destination="whole", output_model_format="DIFFUSERS")
    whole = tmp_path / "whole"
    (whole / "unet").mkdir(parents=True)
    assert not final_model_exists(many, tmp_path, 0)
    write_result(whole / "unet" / "model.safetensors")
    assert not final_model_exists(many, tmp_path, 0)
    (whole / "model_index.json").write_text(json.dumps({"_class_name": "X", "unet": ["diffusers", "Y"], "vae": [None, None]}))
    assert final_model_exists(many, tmp_path, 0)
    (whole / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "Y"], "vae": ["diffusers", "Z"]}))
    assert not final_model_exists(many, tmp_path, 0)
    assert not final_model_exists(TrainConfig(output_model_destination=""), tmp_path, 0)
