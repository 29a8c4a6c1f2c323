"""Backups and saves: whole or not at all, and what happens when the disk is full."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onetrainer_gradio.commands import BackupNow, SaveNow
from onetrainer_gradio.errors import DiskFullError
from onetrainer_gradio.events import BackupFailed, BackupMade, ModelSaved, SaveFailed
from tests.engine.recording import Desk, Recorder, after_step

resource = pytest.importorskip("resource", reason="limits of a process exist on POSIX systems only")

pytestmark = pytest.mark.slow


@contextmanager
def files_of_at_most(size: int):
    """Within the block no file can grow beyond ``size`` bytes: the system refuses, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass
class FullDisk:
    """Makes the disk full when a phase begins, until the next event."""

    phase: str
    limit: ExitStack = field(default_factory=ExitStack)
    used: bool = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.limit.close()

    def __call__(self, event) -> None:
        self.limit.close()
        if getattr(event, "phase", "") == self.phase and not self.used:
            self.used = True
            self.limit.enter_context(files_of_at_most(20_000))


@pytest.fixture
def big(configured):
    """A run whose adapter is larger than the full disk allows."""
    return lambda **changes: configured(layer_filter="", **changes)


def test_a_full_disk_during_a_backup_leaves_the_earlier_one(big, train, tmp_path):
    """The failure is told with its cause, the run goes on, and the earlier backup is untouched."""
    workspace = tmp_path / "workspace"
    first, second = BackupNow(), BackupNow()
    recorder, desk = Recorder(), Desk()
    after_step(recorder, desk, 1, first)
    train(big(), recorder, desk)
    (made,) = recorder.of(BackupMade)
    before = {path: path.read_bytes() for path in Path(made.path).rglob("*") if path.is_file()}

    with FullDisk("backing_up") as disk:
        recorder, desk = Recorder(disk), Desk()
        after_step(recorder, desk, 1, second)
        outcome, _ = train(big(), recorder, desk)
    assert (outcome, len(recorder.steps)) == ("completed", 6)
    (failed,) = recorder.of(BackupFailed)
    assert failed.error.type == "DiskFullError"
    assert "no space left" in recorder.answer(second).reason
    assert [path.name for path in (workspace / "backup").iterdir()] == [Path(made.path).name]
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in workspace.rglob("*") if "unfinished" in path.name]


def test_a_full_disk_during_a_save_is_told_and_survived(big, train, tmp_path):
    """An intermediate save that fails does not end the run."""
    save = SaveNow()
    with FullDisk("saving") as disk:
        recorder, desk = Recorder(disk), Desk()
        after_step(recorder, desk, 1, save)
        outcome, _ = train(big(), recorder, desk)
    assert outcome == "completed"
    assert recorder.of(SaveFailed)[0].error.type == "DiskFullError"
    assert recorder.answer(save).outcome == "refused"
    assert not list((tmp_path / "workspace" / "save").iterdir())


def test_a_full_disk_at_the_end_is_an_error_and_keeps_the_older_result(big, train, tmp_path):
    """The final save fails loudly, and a file that was there before is still whole."""
    from onetrainer_gradio.backends import builtin
    from onetrainer_gradio.config import RunOptions

    config = big()
    target = Path(config.output_model_destination)
    target.parent.mkdir()
    target.write_text("an older result")
    with FullDisk("saving") as disk, pytest.raises(DiskFullError, match="no space left"):
        builtin.run(config, Recorder(disk), Desk(), RunOptions())
    assert target.read_text() == "an older result"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_only_the_newest_backups_are_kept(configured, train, tmp_path):
    """``rolling_backup`` deletes the oldest; folders that are no backups stay."""
    foreign = tmp_path / "workspace" / "backup" / "aaa-my-own-notes"
    foreign.mkdir(parents=True)
    config = configured(
        backup_after=1, backup_after_unit="EPOCH", epochs=5, rolling_backup=True, rolling_backup_count=2, batch_size=6
    )
    _, recorder = train(config)
    made = [Path(event.path).name for event in recorder.of(BackupMade)]
    left = sorted(path.name for path in foreign.parent.iterdir())
    assert len(made) == 4
    assert left == sorted([*made[-2:], foreign.name])


def test_an_unfinished_backup_of_a_killed_run_is_removed(configured, train, tmp_path):
    """What a dead process left half written is no backup and goes; what a living one writes stays."""
    workspace = tmp_path / "workspace"
    dead, alive = workspace / ".unfinished-999999999-x", workspace / ".unfinished-1-x"
    dead.mkdir(parents=True)
    alive.mkdir()
    train(configured(backup_before_save=True, epochs=1))
    assert (dead.exists(), alive.exists()) == (False, True)


def test_backups_and_saves_tell_what_was_written(configured, train):
    """Path, numbers and bytes of each."""
    config = configured(backup_before_save=True, epochs=1)
    _, recorder = train(config)
    backup, saved = recorder.of(BackupMade)[0], recorder.of(ModelSaved)[0]
    assert (backup.global_step, backup.epoch, backup.epoch_step) == (3, 1, 0)
    assert backup.bytes == sum(path.stat().st_size for path in Path(backup.path).rglob("*") if path.is_file())
    assert saved.bytes == Path(saved.path).stat().st_size
    assert all(path.stat().st_mode & 0o044 for path in Path(backup.path).rglob("*") if path.is_file())


def test_the_average_is_saved_and_resumed(configured, train, tmp_path):
    """With EMA the result is the average, the backup holds both, and a resume goes on with both."""
    from safetensors.torch import load_file

    config = configured(
        ema="CPU", ema_decay=0.9, ema_update_step_interval=1, learning_rate=0.05, backup_after=1, backup_after_unit="EPOCH"
    )
    _, recorder = train(config)
    elsewhere = {"workspace_dir": str(tmp_path / "plain"), "output_model_destination": str(tmp_path / "plain.safetensors")}
    plain = config.model_copy(update={"ema": "OFF", **elsewhere})
    _, without = train(plain)
    assert without.losses == recorder.losses
    average, last = load_file(config.output_model_destination), load_file(plain.output_model_destination)
    assert any((average[name] != last[name]).any() for name in last)
    backup = Path(recorder.of(BackupMade)[0].path)
    assert (backup / "ema" / "ema.pt").is_file()
    again = config.model_copy(update={"output_model_destination": str(tmp_path / "again.safetensors")})
    train(again, resume_from=str(backup))
    resumed = load_file(again.output_model_destination)
    assert all((resumed[name] == average[name]).all() for name in average)


def test_the_disk_helper_really_refuses(tmp_path):
    """The stand-in for a full disk makes the system refuse a large file."""
    with files_of_at_most(1000), pytest.raises(OSError, match="too large"):
        (tmp_path / "x").write_bytes(b"0" * 5000)
    shutil.rmtree(tmp_path)
