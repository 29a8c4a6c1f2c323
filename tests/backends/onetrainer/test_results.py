"""How OneTrainer's final save treats existing files at its output path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from onetrainer_gradio.backends.console import CONSOLE
from onetrainer_gradio.backends.onetrainer.results import Results
from onetrainer_gradio.commands import Stop
from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.errors import ConfigInvalidError, DiskFullError, OutputProtectedError
from onetrainer_gradio.events import ModelSaved, PhaseChanged, WarningIssued
from tests.backends.onetrainer.standin import behave
from tests.backends.onetrainer.test_driver import Ride
from tests.fakes.configs import small_config


@pytest.fixture(autouse=True)
def console():
    """A console of an earlier run in this process isn't used here."""
    token = CONSOLE.set(None)
    yield
    CONSOLE.reset(token)


def saved(path: Path) -> ModelSaved:
    return ModelSaved(path=str(path), final=True, global_step=1, bytes=1)


def test_a_model_folder_is_marked_without_what_others_put_there(tmp_path):
    """The next run may replace what OneTrainer wrote; notes next to it stay foreign."""
    target = tmp_path / "model"
    config = small_config(tmp_path, output_model_format="DIFFUSERS", output_model_destination=str(target))
    for round_number in range(2):
        results = Results(config)
        target.mkdir(exist_ok=True)
        (target / "model_index.json").write_text(str(round_number))
        seen, event = [], saved(target)
        results.marking(seen.append)(event)
        assert seen == [event]
        (target / "notes").write_text("mine")
    found = marker.contents(target, marker.read(target))
    assert (sorted(found.ours), found.changed, found.others) == ([marker.MARKER, "model_index.json"], (), ("notes",))


def test_a_single_file_is_known_again_until_someone_changes_it(tmp_path):
    """OneTrainer writes no header of ours, so a marker next to the file records its origin."""
    config = small_config(tmp_path)
    target = Path(config.output_model_destination)
    target.write_text("weights")
    assert Results(config).foreign_file() == str(target)
    Results(config).marking(lambda event: None)(saved(target))
    assert Results(config).foreign_file() == ""
    target.write_text("other weights")
    assert Results(config).foreign_file() == str(target)


@pytest.mark.slow
def test_a_file_that_no_run_wrote_is_renamed_and_results_are_replaced(tmp_path):
    """The first run renames it, the second replaces the first one's result."""
    one = Ride(tmp_path)
    config = one.config()
    target = Path(config.output_model_destination)
    target.write_text("downloaded")
    for _ in range(2):
        one.run(config)
    assert target.read_text().startswith("weights of step")
    assert [path.read_text() for path in tmp_path.glob("lora-*.safetensors")] == ["downloaded"]
    assert [event.code for event in one.recorder.of(WarningIssued) if event.code == "output_kept"] == ["output_kept"]


@pytest.mark.slow
def test_a_file_that_no_run_wrote_is_back_when_the_save_fails(tmp_path):
    """It is restored completely, under its own name."""
    one = Ride(tmp_path, final_fails=True)
    config = one.config()
    Path(config.output_model_destination).write_text("downloaded")
    with pytest.raises(DiskFullError):
        one.run(config)
    assert Path(config.output_model_destination).read_text() == "downloaded"
    assert list(tmp_path.glob("lora-*.safetensors")) == []


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_final_save_waits_for_space(tmp_path):
    """Without a backup of the last step the weights are in memory only; the run shows that it waits, then completes."""
    one = Ride(tmp_path, final_fails=True)
    one.when(WarningIssued, lambda event: behave(one.checkout) if event.code == "waiting_for_space" else None)
    config = one.config(backup_before_save=False)
    assert one.run(config) == "completed"
    assert any("Waiting for space" in event.detail for event in one.recorder.of(PhaseChanged))
    assert Path(config.output_model_destination).read_text().startswith("weights of step")


@pytest.mark.slow
def test_a_stop_ends_the_wait_for_space(tmp_path):
    """The cause is reported, and no partial file remains."""
    one = Ride(tmp_path, final_fails=True)
    stop = Stop()
    one.when(WarningIssued, lambda event: one.control.give(stop) if event.code == "waiting_for_space" else None)
    config = one.config(backup_before_save=False)
    with pytest.raises(DiskFullError):
        one.run(config)
    assert one.recorder.answer(stop).outcome == "done"
    assert not Path(config.output_model_destination).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", "images/new", "foreign", "."])
def test_a_run_rejects_what_it_would_destroy_before_onetrainer_starts(tmp_path, name):
    """The rule is the same as for the built-in engine; no process is started."""
    one = Ride(tmp_path)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "precious").write_text("mine")
    destination = {"output_model_format": "DIFFUSERS", "output_model_destination": str(tmp_path / name)}
    with pytest.raises(OutputProtectedError):
        one.run(training_method="FINE_TUNE", **destination)
    assert one.recorder.events == []
    assert not (tmp_path / "workspace").exists()


@pytest.mark.slow
def test_a_cache_with_other_files_is_rejected(tmp_path):
    """OneTrainer would delete them by the name of their folder."""
    one = Ride(tmp_path)
    (tmp_path / "cache" / "image").mkdir(parents=True)
    (tmp_path / "cache" / "image" / "photo.png").write_text("mine")
    with pytest.raises(ConfigInvalidError, match="isn't a cache file"):
        one.run()
    shutil.rmtree(tmp_path / "cache")
    link = tmp_path / "link.safetensors"
    link.symlink_to(tmp_path / "precious.safetensors")
    with pytest.raises(OutputProtectedError, match="is a link"):
        one.run(output_model_destination=str(link))
