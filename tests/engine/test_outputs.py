"""Backups and saves are complete or don't exist, and a full disk is handled.

Covers ``engine/ema.py``, ``engine/methods/full.py``, ``engine/methods/method.py``, ``engine/methods/__init__.py``.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onetrainer_gradio.commands import BackupNow, SaveNow, Stop
from onetrainer_gradio.config.paths.backup_chain import MARKER, read_chain
from onetrainer_gradio.engine.staging import unused
from onetrainer_gradio.errors import ConfigInvalidError, DiskFullError, OutputProtectedError
from onetrainer_gradio.events import (
    BackupCreated,
    BackupFailed,
    Event,
    ModelSaved,
    PhaseChanged,
    Resumed,
    SaveFailed,
    StepDone,
    WarningIssued,
)
from tests.engine.recording import FakeControl, Recorder, after_step

resource = pytest.importorskip("resource", reason="limits of a process exist on POSIX systems only")

pytestmark = pytest.mark.slow


@contextmanager
def files_of_at_most(size: int):
    """Limit files to ``size`` bytes within the block: the system rejects larger ones, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass
class FullDisk:
    """Fills the disk when a phase begins, until the next event."""

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
    """The failure is reported with its cause, the run continues, and the earlier backup is unchanged."""
    workspace = tmp_path / "workspace"
    first, second = BackupNow(), BackupNow()
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 1, first)
    train(big(), recorder, control)
    (made,) = recorder.of(BackupCreated)
    before = {path: path.read_bytes() for path in Path(made.path).rglob("*") if path.is_file()}

    with FullDisk("backing_up") as disk:
        recorder, control = Recorder(disk), FakeControl()
        after_step(recorder, control, 1, second)
        outcome, _ = train(big(), recorder, control)
    assert (outcome, len(recorder.steps)) == ("completed", 6)
    (failed,) = recorder.of(BackupFailed)
    assert failed.error.type == "DiskFullError"
    assert "No space left" in recorder.answer(second).reason
    assert [path.name for path in (workspace / "backup").iterdir()] == [Path(made.path).name]
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in workspace.rglob("*") if "unfinished" in path.name]


@pytest.mark.exhaustive
def test_a_full_disk_during_a_save_is_reported_and_survived(big, train, tmp_path):
    """A failed intermediate save doesn't end the run."""
    save = SaveNow()
    with FullDisk("saving") as disk:
        recorder, control = Recorder(disk), FakeControl()
        after_step(recorder, control, 1, save)
        outcome, _ = train(big(), recorder, control)
    assert outcome == "completed"
    assert recorder.of(SaveFailed)[0].error.type == "DiskFullError"
    assert recorder.answer(save).outcome == "refused"
    assert not list((tmp_path / "workspace" / "save").iterdir())


@dataclass
class FullUntil:
    """Fills the disk for the final save until ``opened`` accepts an event."""

    opened: Callable[[Event], bool]
    limit: ExitStack = field(default_factory=ExitStack)
    used: bool = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.limit.close()

    def __call__(self, event) -> None:
        if getattr(event, "phase", "") == "saving" and not self.used:
            self.used = True
            self.limit.enter_context(files_of_at_most(20_000))
        elif self.used and self.opened(event):
            self.limit.close()


def waits(event: Event) -> bool:
    return isinstance(event, WarningIssued) and event.code == "waiting_for_space"


@pytest.mark.exhaustive
def test_the_final_save_waits_for_room_on_a_full_disk(big, train):
    """The run shows that it is waiting, and saves once there is space; an older result is kept until then."""
    config = big()
    target = Path(config.output_model_destination)
    target.parent.mkdir()
    target.write_text("an older result")
    seen = []

    def opened(event) -> bool:
        seen.extend([target.read_text()] if waits(event) else [])
        return waits(event)

    with FullUntil(opened) as disk:
        outcome, recorder = train(config, Recorder(disk))
    assert (outcome, seen) == ("completed", ["an older result"])
    shown = [event.detail for event in recorder.of(PhaseChanged) if event.phase == "saving"]
    assert any("Waiting for space" in detail for detail in shown)
    assert recorder.of(ModelSaved)[0].bytes == target.stat().st_size > 20_000
    assert target.with_stem("lora-2").read_text() == "an older result"
    assert {path.name for path in target.parent.iterdir()} == {"lora.safetensors", "lora-2.safetensors"}


@pytest.mark.exhaustive
def test_a_stop_ends_the_wait_for_room_with_the_cause(big, train):
    """The weights are lost then, as the warning states; an older result stays complete, and no other file remains."""
    config, stop = big(), Stop()
    target = Path(config.output_model_destination)
    target.parent.mkdir()
    target.write_text("an older result")
    control = FakeControl()

    def opened(event) -> bool:
        if waits(event):
            control.give(SaveNow(), stop)
        return False

    with FullUntil(opened) as disk, pytest.raises(DiskFullError, match="No space left"):
        train(config, recorder := Recorder(disk), control)
    assert recorder.answer(stop).outcome == "done"
    assert target.read_text() == "an older result"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.exhaustive
def test_a_stop_while_there_is_room_again_loses_nothing(big, train):
    """The wait may check the disk rarely; before the weights are dropped, they are written once more."""
    control, stop = FakeControl(), Stop()

    def opened(event) -> bool:
        if waits(event):
            control.give(stop)
        return waits(event)

    with FullUntil(opened) as disk:
        _, recorder = train(big(), Recorder(disk), control)
    assert recorder.answer(stop).outcome == "done"
    assert Path(recorder.of(ModelSaved)[0].path).stat().st_size > 20_000


@pytest.mark.exhaustive
def test_with_a_backup_of_the_same_state_a_full_disk_is_an_error_that_names_it(big, train, tmp_path):
    """Nothing is lost then, so there is no wait."""
    config = big(backup_before_save=True)
    with FullUntil(lambda event: False) as disk, pytest.raises(DiskFullError, match="No space left") as caught:
        train(config, recorder := Recorder(disk))
    (backup,) = recorder.of(BackupCreated)
    assert backup.path in caught.value.suggestion


@pytest.mark.exhaustive
def test_weights_go_to_the_workspace_when_their_place_is_gone(configured, train, tmp_path):
    """If a folder became a file during the run, as after an unmount, the
    weights are saved elsewhere, and the path is reported.
    """
    config = configured(epochs=1)
    target = Path(config.output_model_destination)

    def spoil(event) -> None:
        if isinstance(event, StepDone) and event.update_step == 1:
            target.parent.write_text("a file now")

    outcome, recorder = train(config, Recorder(spoil))
    (saved,) = recorder.of(ModelSaved)
    (warned,) = (event for event in recorder.of(WarningIssued) if event.code == "output_moved")
    assert outcome == "completed"
    assert saved.path in warned.message
    assert Path(saved.path).is_file()
    assert Path(saved.path).is_relative_to(tmp_path)
    assert target.parent.read_text() == "a file now"


@pytest.mark.exhaustive
def test_only_the_newest_backups_are_kept(configured, train, tmp_path):
    """``rolling_backup`` deletes the oldest; other folders stay."""
    foreign = tmp_path / "workspace" / "backup" / "aaa-my-own-notes"
    foreign.mkdir(parents=True)
    config = configured(
        backup_after=1, backup_after_unit="EPOCH", epochs=5, rolling_backup=True, rolling_backup_count=2, batch_size=6
    )
    _, recorder = train(config)
    made = [Path(event.path).name for event in recorder.of(BackupCreated)]
    left = sorted(path.name for path in foreign.parent.iterdir())
    assert len(made) == 4
    assert left == sorted([*made[-2:], foreign.name])


@pytest.mark.exhaustive
def test_what_others_put_into_a_backup_outlives_it(configured, train, tmp_path):
    """Rolling backups delete what the run wrote; notes that a person added stay."""

    def annotate(event) -> None:
        if isinstance(event, BackupCreated):
            (Path(event.path) / "lora" / "notes.txt").write_text("mine")
            (Path(event.path) / "empty").mkdir()

    config = configured(backup_after=1, backup_after_unit="EPOCH", epochs=3, rolling_backup=True, rolling_backup_count=1)
    _, recorder = train(config, Recorder(annotate))
    first, second = (Path(event.path) for event in recorder.of(BackupCreated))
    assert sorted(path.relative_to(first).as_posix() for path in first.rglob("*")) == ["empty", "lora", "lora/notes.txt"]
    assert (second / "meta.json").is_file()
    assert sorted(os.listdir(tmp_path / "workspace" / "backup")) == [first.name, second.name]
    assert not [path for path in (tmp_path / "workspace").iterdir() if "unfinished" in path.name]


@pytest.mark.exhaustive
def test_backups_may_be_on_another_disk(configured, train, tmp_path):
    """A link in the workspace leads there: backups are written and deleted through it, and no other file remains."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    with tempfile.TemporaryDirectory(dir=shared) as other:
        (tmp_path / "workspace").mkdir()
        (tmp_path / "workspace" / "backup").symlink_to(other)
        left = Path(other, ".unfinished-999999999-backup")
        left.mkdir()
        config = configured(backup_after=1, backup_after_unit="EPOCH", epochs=3, rolling_backup=True, rolling_backup_count=1)
        _, recorder = train(config)
        assert len(recorder.of(BackupCreated)) == 2
        assert os.listdir(other) == [Path(recorder.of(BackupCreated)[-1].path).name]


@pytest.mark.exhaustive
def test_runs_that_share_a_workspace_keep_their_own_backups(configured, train, tmp_path):
    """Rolling backups delete those of the run and of the runs it was resumed from; another run's and OneTrainer's stay."""
    config = configured(
        backup_after=1, backup_after_unit="EPOCH", epochs=4, rolling_backup=True, rolling_backup_count=1, batch_size=6
    )
    _, first = train(config, run_id="first")
    kept = Path(first.of(BackupCreated)[-1].path)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    foreign = kept.parent / "2020-01-01_00-00-00-backup-1-0-1"
    shutil.copytree(kept, foreign, ignore=shutil.ignore_patterns(MARKER))
    _, second = train(config, run_id="second")
    newest = Path(second.of(BackupCreated)[-1].path)
    assert {path.name for path in kept.parent.iterdir()} == {foreign.name, kept.name, newest.name}
    _, third = train(config.model_copy(update={"epochs": 6}), run_id="third", resume_from=str(newest))
    last = Path(third.of(BackupCreated)[-1].path)
    assert third.of(Resumed)[0].run == "second"
    assert {path.name for path in kept.parent.iterdir()} == {foreign.name, kept.name, last.name}
    assert [link.run for link in read_chain(last)] == ["second", "third"]


def test_two_backups_of_one_second_are_both_kept(tmp_path):
    """Names have a resolution of seconds; two runs of one workspace may back up at the same step in the same second."""
    one = tmp_path / "2026-11-28_00-00-00-backup-3-1-0"
    assert unused(one) == one
    one.mkdir()
    two = unused(one)
    assert two.name == f"{one.name}-2"
    two.symlink_to("nowhere")
    assert unused(one).name == f"{one.name}-3"
    assert unused(tmp_path / "a.safetensors") == tmp_path / "a.safetensors"


def test_an_unfinished_backup_of_a_killed_run_is_removed(configured, train, tmp_path):
    """A partial backup of a dead process is removed; one that a living process is writing stays."""
    workspace = tmp_path / "workspace"
    dead, alive = workspace / ".unfinished-999999999-x", workspace / ".unfinished-1-x"
    dead.mkdir(parents=True)
    alive.mkdir()
    train(configured(backup_before_save=True, epochs=1))
    assert (dead.exists(), alive.exists()) == (False, True)


@pytest.mark.exhaustive
def test_backups_and_saves_report_what_was_written(configured, train):
    """The event has path, numbers and bytes of each."""
    config = configured(backup_before_save=True, epochs=1)
    _, recorder = train(config)
    backup, saved = recorder.of(BackupCreated)[0], recorder.of(ModelSaved)[0]
    assert (backup.global_step, backup.epoch, backup.epoch_step) == (3, 1, 0)
    assert backup.bytes == sum(path.stat().st_size for path in Path(backup.path).rglob("*") if path.is_file())
    assert saved.bytes == Path(saved.path).stat().st_size
    assert all(path.stat().st_mode & 0o044 for path in Path(backup.path).rglob("*") if path.is_file())


def test_the_average_is_saved_and_resumed(configured, train, tmp_path):
    """With EMA the result is the average, the backup contains both, and a resume continues with both."""
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
    backup = Path(recorder.of(BackupCreated)[0].path)
    assert (backup / "ema" / "ema.pt").is_file()
    again = config.model_copy(update={"output_model_destination": str(tmp_path / "again.safetensors")})
    train(again, resume_from=str(backup))
    resumed = load_file(again.output_model_destination)
    assert all((resumed[name] == average[name]).all() for name in average)


@pytest.fixture
def whole(configured, tmp_path):
    """A short full fine-tune that saves a folder."""
    settings = {
        "training_method": "FINE_TUNE",
        "output_model_format": "DIFFUSERS",
        "layer_filter": "",
        "epochs": 1,
        "output_model_destination": str(tmp_path / "out" / "model"),
    }
    return lambda **changes: configured(**(settings | changes))


def test_a_model_folder_is_replaced_and_what_others_put_there_stays(whole, train, tmp_path):
    """The second run replaces what the first one wrote; a third run can use the folder as its base model."""
    target = tmp_path / "out" / "model"
    train(whole())
    (target / "README.md").write_text("mine")
    (target / "unet" / "notes.txt").write_text("mine, too")
    before = (target / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    train(whole(learning_rate=0.01))
    assert (target / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() != before
    assert ((target / "README.md").read_text(), (target / "unet" / "notes.txt").read_text()) == ("mine", "mine, too")
    assert os.listdir(target.parent) == ["model"]
    with pytest.raises(OutputProtectedError, match="base model"):
        train(whole(base_model_name=str(target)))


@pytest.mark.parametrize("name", ["images", "images/new", "workspace", "foreign", "."])
def test_a_run_rejects_what_it_would_destroy_before_it_writes(whole, train, tmp_path, few_images, name):
    """The engine applies the rule itself, whatever started it; nothing changes."""
    shutil.copytree(few_images, tmp_path / "images")
    for folder in ("workspace", "foreign"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "precious").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    config = whole(output_model_destination=str(tmp_path / name), images=tmp_path / "images")
    with pytest.raises(OutputProtectedError):
        train(config)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_comes_to_the_destination_during_the_run_stays(whole, train, tmp_path):
    """The rule is applied again when the result is saved: the result gets another name, which is reported."""
    target = tmp_path / "out" / "model"

    def interfere(event) -> None:
        if isinstance(event, StepDone) and event.update_step == 1:
            target.mkdir(parents=True)
            (target / "precious").write_text("mine")

    _, recorder = train(whole(), Recorder(interfere))
    (saved,) = recorder.of(ModelSaved)
    assert (Path(saved.path).name, Path(saved.path).parent) == ("model-2", target.parent)
    assert (Path(saved.path) / "model_index.json").is_file()
    assert os.listdir(target) == ["precious"]
    assert any(saved.path in event.message for event in recorder.of(WarningIssued))


def test_a_file_that_no_run_wrote_is_renamed(configured, train):
    """A run's result is replaced, any other file of its name is kept."""
    config = configured(epochs=1)
    target = Path(config.output_model_destination)
    target.parent.mkdir()
    target.write_text("downloaded")
    for _ in range(2):
        train(config)
    assert target.with_stem("lora-2").read_text() == "downloaded"
    assert sorted(os.listdir(target.parent)) == ["lora-2.safetensors", "lora.safetensors"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_a_file_is_renamed_and_the_file_stays(configured, train, tmp_path, there):
    """A single file is never written through a link, and a broken link is not deleted."""
    config = configured(epochs=1)
    target = Path(config.output_model_destination)
    target.parent.mkdir()
    precious = tmp_path / "precious.safetensors"
    if there:
        precious.write_text("mine")
    target.symlink_to(precious)
    for _ in range(2):
        train(config)
    assert precious.exists() == there
    assert not there or precious.read_text() == "mine"
    assert target.is_file()
    assert not target.is_symlink()
    assert os.readlink(target.with_stem("lora-2")) == str(precious)
    assert sorted(os.listdir(target.parent)) == ["lora-2.safetensors", "lora.safetensors"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["foreign", "link", "images", "workspace", "."])
def test_relative_paths_are_protected_where_the_run_writes(whole, train, tmp_path, few_images, monkeypatch, name):
    """Without a panel, relative paths start at the current directory, for the rule and for writing."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(few_images, "images")
    for folder in ("workspace", "foreign"):
        Path(folder).mkdir()
        Path(folder, "precious").write_text("mine")
    Path("link").symlink_to("images")
    before = sorted(tmp_path.rglob("*"))
    config = whole(output_model_destination=name, images="images", workspace_dir="workspace", cache_dir="cache")
    with pytest.raises(OutputProtectedError):
        train(config)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.exhaustive
def test_a_link_to_a_model_folder_stays_a_link(whole, train, tmp_path):
    """The folder that it leads to is replaced."""
    train(whole(output_model_destination=str(tmp_path / "real")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model").symlink_to(tmp_path / "real")
    _, recorder = train(whole())
    assert (tmp_path / "out" / "model").is_symlink()
    assert recorder.of(ModelSaved)[0].path == str(tmp_path / "real")
    assert os.listdir(tmp_path / "out") == ["model"]


def test_what_a_killed_run_left_next_to_the_result_is_removed(configured, train, tmp_path):
    """So are leftovers in the workspace's folders; other files stay."""
    places = ["out", "workspace", "workspace/save", "workspace/config", "workspace/samples/0 - a red cross", "cache/image"]
    for place in places:
        left = tmp_path / place / ".unfinished-999999999@1@000000@000000@1"
        left.mkdir(parents=True)
        (tmp_path / place / ".unfinished-999999999-lora.safetensors").mkdir()
        (tmp_path / place / ".tmp-of-mine").write_text("mine")
    train(configured(epochs=1))
    for place in places:
        assert not (tmp_path / place / ".unfinished-999999999-lora.safetensors").exists(), place
        assert (tmp_path / place / ".tmp-of-mine").exists()
        assert (tmp_path / place / ".unfinished-999999999@1@000000@000000@1").exists()


def test_the_disk_helper_really_rejects(tmp_path):
    """The stand-in for a full disk makes the system reject a large file."""
    with files_of_at_most(1000), pytest.raises(OSError, match="too large"):
        (tmp_path / "x").write_bytes(b"0" * 5000)
    shutil.rmtree(tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("prefix", ["../../outside/x-", "a/b", "\0", ".unfinished-1-"])
def test_a_prefix_that_leads_elsewhere_is_rejected_by_the_engine(configured, train, tmp_path, prefix):
    """Nothing is written, inside or outside of the workspace."""
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(ConfigInvalidError, match="Save filename prefix"):
        train(configured(save_filename_prefix=prefix))
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.exhaustive
def test_only_the_declared_names_become_parts_of_paths(configured, train, tmp_path):
    """Each text setting gets a unique word; only the prefix and, letter by letter, prompts appear in paths."""
    sample = {"prompt": "../wordprompt/..", "negative_prompt": "wordnegative", "width": 32, "height": 32, "diffusion_steps": 1}
    config = configured(
        save_filename_prefix="wordprefix",
        concept={"name": "wordconcept"},
        layer_filter_preset="wordpreset",
        embedding={"placeholder": "wordplaceholder", "initial_embedding_text": "wordinitial"},
        cloud={"run_id": "wordrun", "name": "wordmachine"},
        samples=[sample],
        sample_after=1,
        sample_after_unit="EPOCH",
        save_every=1,
        save_every_unit="EPOCH",
        backup_before_save=True,
    )
    train(config, name="wordname", tags=("wordtag",), started_by="wordperson")
    paths = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert set(re.findall("word[a-z]+", " ".join(paths))) == {"wordprefix", "wordprompt"}
    assert any(path.startswith("workspace/samples/0 - ..wordprompt..") for path in paths)
