"""The run as a whole: its events, their order, and how it ends.

Covers ``engine/step_actions.py``, ``engine/tensorboard.py``, ``engine/validation.py``.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from onetrainer_gradio.commands import BackupNow, Pause, Resume, SampleCustom, SampleDefault, SaveNow, Stop
from onetrainer_gradio.errors import (
    ConfigInvalidError,
    DatasetError,
    ModelFormatError,
    ModelNotFoundError,
    NonFiniteLossError,
    OutputExistsError,
    UnsupportedError,
)
from onetrainer_gradio.events import (
    BackupCreated,
    ModelSaved,
    PhaseChanged,
    PhaseProgress,
    RunPlanned,
    SampleGenerated,
    StepDone,
    ValidationCompleted,
    WarningIssued,
)
from tests.engine.recording import FakeControl, Recorder, after_step

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel

SAMPLE = {"prompt": "a red cross", "width": 32, "height": 32, "diffusion_steps": 2, "noise_scheduler": "DDIM"}


@pytest.mark.exhaustive
def test_the_plan_comes_before_the_first_step(configured, train):
    """Total steps, images, parameters and names of the learning rates are known before training."""
    _, recorder = train(configured())
    kinds = [type(event) for event in recorder.events]
    assert kinds.index(RunPlanned) < kinds.index(StepDone)
    (plan,) = recorder.of(RunPlanned)
    assert (plan.total_steps, plan.steps_per_epoch, plan.total_updates, plan.epochs) == (6, 3, 6, 2)
    assert (plan.images, plan.first_step, plan.learning_rates) == (6, 0, ("unet_lora",))
    assert plan.trainable_parameters > 0


def test_phases_follow_the_run(configured, train):
    """Loading, caching, training and saving are each reported once; caching progress reaches its total."""
    _, recorder = train(configured(backup_before_save=True))
    phases = [phase for number, phase in enumerate(recorder.phases) if number == 0 or recorder.phases[number - 1] != phase]
    assert phases == ["loading", "caching", "training", "backing_up", "saving"]
    cached = [event for event in recorder.of(PhaseProgress) if event.phase == "caching"]
    assert cached[-1].done == cached[-1].total == 12  # six images, six captions


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_step_reports_its_position(configured, train):
    """Numbers are OneTrainer's progress after the step; with accumulation, there is one event per optimizer step."""
    _, recorder = train(configured(gradient_accumulation_steps=2, epochs=4))
    assert [(s.update_step, s.global_step, s.epoch, s.epoch_step, s.epoch_sample) for s in recorder.steps] == [
        (1, 2, 0, 2, 4),
        (2, 4, 1, 1, 2),
        (3, 6, 1, 3, 6),
        (4, 8, 2, 2, 4),
        (5, 10, 3, 1, 2),
        (6, 12, 3, 3, 6),
    ]
    assert all(step.images == 4 and step.seconds > 0 for step in recorder.steps)


@pytest.mark.slow
def test_accumulation_trains_as_the_large_batch_does(configured, train):
    """Two micro-batches of two give their mean loss, and clipping applies to the whole gradient."""
    _, split = train(configured(gradient_accumulation_steps=2, epochs=2))
    _, single = train(configured(epochs=2, learning_rate=1e-12))
    pairs = [(single.losses[2 * i] + single.losses[2 * i + 1]) / 2 for i in range(3)]
    assert split.losses[0] == pytest.approx(pairs[0], abs=1e-6)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_seed_of_the_options_decides_the_adapter(configured, train, plain):
    """The same seed gives the same run, another seed another adapter."""
    _, same = train(configured(), seed=42)
    _, other = train(configured(), seed=8)
    assert same.losses == plain.losses
    assert other.losses[0] == plain.losses[0]  # up starts at zero, so the first loss does not depend on it
    assert other.losses[-1] != plain.losses[-1]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_step_limit_ends_the_run(configured, train):
    """``max_steps`` counts micro-batches and completes the run with its result."""
    outcome, recorder = train(configured(), max_steps=4)
    assert (outcome, len(recorder.steps)) == ("completed", 4)
    assert recorder.of(ModelSaved)[-1].final
    assert recorder.of(RunPlanned)[0].total_steps == 4


def test_stop_finishes_backs_up_and_saves(configured, train):
    """The current step is finished, then the backup and the result are written, and the run ends as stopped."""
    recorder, control = Recorder(), FakeControl()
    stop = Stop()
    after_step(recorder, control, 2, stop)
    outcome, _ = train(configured(backup_before_save=True), recorder, control)
    assert (outcome, len(recorder.steps)) == ("stopped", 2)
    assert recorder.answer(stop).outcome == "done"
    assert recorder.phases[-3:] == ["stopping", "backing_up", "saving"]
    assert recorder.of(BackupCreated)[0].global_step == 2
    assert recorder.of(ModelSaved)[0].final


@pytest.mark.exhaustive
@pytest.mark.slow
def test_stop_waits_for_pending_gradients(configured, train):
    """With accumulation, a stop takes effect after an optimizer step, so no micro-batch is lost."""
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 1, Stop())
    train(configured(gradient_accumulation_steps=3, epochs=4, backup_before_save=True), recorder, control)
    assert recorder.of(BackupCreated)[0].global_step == 3


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["loading", "caching"])
def test_stop_while_loading_or_caching_ends_at_once(configured, train, tmp_path, phase):
    """Nothing was trained, so nothing is saved."""
    control = FakeControl()

    def on(event):
        if isinstance(event, PhaseChanged) and event.phase == phase:
            control.give(Stop())

    outcome, recorder = train(configured(), Recorder(on), control)
    assert outcome == "stopped"
    assert not recorder.steps
    assert not recorder.of(ModelSaved)
    assert not (tmp_path / "out").exists()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_stop_while_the_next_epoch_is_cached_saves_what_is_trained(configured, train, tmp_path):
    """Half of the images are encoded for the second epoch: a stop then ends the run after the first, with its result."""
    control, stop = FakeControl(), Stop()

    def on(event):
        if isinstance(event, PhaseProgress) and event.phase == "caching" and recorder.steps and not control.waiting:
            control.give(stop)

    recorder = Recorder(on)
    config = configured(concept={"balancing": 0.5}, batch_size=1)
    outcome, _ = train(config, recorder, control)
    assert (outcome, len(recorder.steps)) == ("stopped", 3)
    assert recorder.answer(stop).outcome == "done"
    assert recorder.of(ModelSaved)[-1].final


@pytest.mark.exhaustive
@pytest.mark.slow
def test_pause_keeps_the_model_and_still_handles_commands(configured, train, plain):
    """A paused run samples, backs up and saves on command, and then continues with the same numbers."""
    pause, sample, custom = Pause(), SampleDefault(), SampleCustom(params=SAMPLE)
    backup, save, resume, second = BackupNow(), SaveNow(), Resume(), Pause()
    control = FakeControl()

    def on(event):
        if isinstance(event, PhaseChanged) and event.phase == "paused" and not control.waiting and not done:
            done.append(True)
            control.give(second, sample, custom, backup, save, resume)

    done: list[bool] = []
    recorder = Recorder(on)
    after_step(recorder, control, 1, pause)
    outcome, _ = train(configured(samples=[SAMPLE]), recorder, control)
    assert outcome == "completed"
    for command in (pause, sample, custom, backup, save, resume):
        assert recorder.answer(command).outcome == "done", command
    assert recorder.answer(second).outcome == "refused"
    assert [made.kind for made in recorder.of(SampleGenerated)] == ["default", "custom"]
    assert recorder.answer(custom).result == recorder.of(SampleGenerated)[1].path
    assert recorder.answer(backup).result == recorder.of(BackupCreated)[0].path
    assert recorder.losses == plain.losses


@pytest.mark.exhaustive
@pytest.mark.slow
def test_commands_given_while_caching_are_served_by_what_is_due(configured, train):
    """One sampling, backup and save serve the interval and every request; each command is answered with its result."""
    samples, backups, saves = ([kind(), kind()] for kind in (SampleDefault, BackupNow, SaveNow))
    control, done = FakeControl(), []

    def on(event):
        if getattr(event, "phase", "") == "caching" and not done:
            done.append(True)
            control.give(*samples, *backups, *saves)

    every_step = {f"{name}_unit": "STEP" for name in ("sample_after", "backup_after", "save_every")}
    config = configured(samples=[SAMPLE], epochs=1, sample_after=1, backup_after=1, save_every=1, **every_step)
    _, recorder = train(config, Recorder(on), control)
    for commands, kind in ((samples, SampleGenerated), (backups, BackupCreated), (saves, ModelSaved)):
        steps = [made.global_step for made in recorder.of(kind) if not getattr(made, "final", False)]
        assert len(steps) == len(set(steps)), kind
        answers = [recorder.answer(command) for command in commands]
        assert [answer.outcome for answer in answers] == ["done", "done"]
        assert len({answer.result for answer in answers}) == 1
    assert recorder.of(SampleGenerated)[0].command_id == samples[0].id
    assert recorder.answer(backups[0]).result == recorder.of(BackupCreated)[0].path


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_sample_command_that_comes_during_a_due_sampling_is_answered_by_it(configured, train):
    """The weights are the same, so nothing is sampled twice."""
    control, asked = FakeControl(), SampleDefault()

    def on(event):
        if isinstance(event, SampleGenerated) and not asked_for:
            asked_for.append(True)
            control.give(asked)

    asked_for: list[bool] = []
    config = configured(samples=[SAMPLE], epochs=1, sample_after=1, sample_after_unit="STEP")
    _, recorder = train(config, Recorder(on), control)
    assert recorder.answer(asked).outcome == "done"
    steps = [made.global_step for made in recorder.of(SampleGenerated)]
    assert len(steps) == len(set(steps))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_backup_is_not_written_twice_at_one_step(configured, train):
    """A backup on command, a stop at the same step, and "backup before save" give one backup."""
    control, recorder, backup, stop = FakeControl(), Recorder(), BackupNow(), Stop()
    after_step(recorder, control, 1, backup, stop)
    train(configured(backup_before_save=True), recorder, control)
    (made,) = recorder.of(BackupCreated)
    assert recorder.answer(backup).result == made.path
    assert recorder.of(ModelSaved)[-1].final


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("paused", [False, True])
def test_equal_commands_that_wait_are_executed_once(configured, train, paused):
    """This holds during a pause too; other parameters, or a random seed, are another sample."""
    equal = [SampleCustom(params=SAMPLE), SampleCustom(params=dict(reversed(SAMPLE.items())))]
    others = [SampleCustom(params=SAMPLE | change) for change in ({"seed": 9}, {"random_seed": True}, {"random_seed": True})]
    commands = [*equal, *others, *(kind() for kind in (SampleDefault, BackupNow, SaveNow) for _ in "ab")]
    control, recorder = FakeControl(), Recorder()

    def on(event):
        if getattr(event, "phase", "") == "paused" and not recorder.of(SampleGenerated):
            control.give(*commands, Resume())

    recorder.on = on
    after_step(recorder, control, 1, *([Pause()] if paused else commands))
    train(configured(samples=[SAMPLE], epochs=1), recorder, control)
    assert [recorder.answer(command).outcome for command in commands] == ["done"] * len(commands)
    assert [made.kind for made in recorder.of(SampleGenerated)] == ["custom"] * 4 + ["default"]
    assert len({recorder.answer(command).result for command in commands[:2]}) == 1
    assert len(recorder.of(BackupCreated)) == 1
    assert len([saved for saved in recorder.of(ModelSaved) if not saved.final]) == 1


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_paused_run_can_be_stopped(configured, train):
    """A stop ends the pause."""
    control, stop = FakeControl(), Stop()
    recorder = Recorder(lambda event: control.give(stop) if getattr(event, "phase", "") == "paused" else None)
    after_step(recorder, control, 1, Pause())
    outcome, _ = train(configured(), recorder, control)
    assert (outcome, len(recorder.steps)) == ("stopped", 1)
    assert recorder.answer(stop).outcome == "done"


@pytest.mark.slow
def test_commands_that_cannot_be_executed_are_rejected_with_the_reason(configured, train):
    """This covers resume without pause, an image of 33 pixels, an unknown
    sampler, no enabled prompt, and samples after a stop.
    """
    resume, odd = Resume(), SampleCustom(params=SAMPLE | {"width": 33})
    unknown, none = SampleCustom(params=SAMPLE | {"noise_scheduler": "X"}), SampleDefault()
    recorder, control = Recorder(), FakeControl()
    late, stop = SampleDefault(), Stop()
    after_step(recorder, control, 1, resume, odd, unknown, none)
    after_step(recorder, control, 2, late, stop)
    train(configured(), recorder, control)
    assert recorder.answer(resume).reason == "the run is not paused"
    assert "multiple of 8" in recorder.answer(odd).reason
    assert "Sampler must be" in recorder.answer(unknown).reason
    assert "No sample prompt" in recorder.answer(none).reason
    assert recorder.answer(late).reason == "the run is stopping"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_only_caching_trains_and_saves_nothing(configured, train, tmp_path):
    """``only_cache`` fills the cache and completes."""
    outcome, recorder = train(configured(only_cache=True))
    assert outcome == "completed"
    assert not recorder.steps
    assert len(list((tmp_path / "cache" / "image").iterdir())) == 6


@pytest.mark.slow
def test_the_workspace_looks_as_onetrainer_leaves_it(configured, train, tmp_path):
    """Config, TensorBoard folder, samples, backups and saves have OneTrainer's names and locations."""
    config = configured(
        samples=[SAMPLE],
        sample_after=1,
        sample_after_unit="EPOCH",
        sample_image_format="PNG",
        backup_after=1,
        backup_after_unit="EPOCH",
        save_every=1,
        save_every_unit="EPOCH",
        backup_before_save=True,
    )
    train(config)
    workspace = tmp_path / "workspace"
    time = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
    found = sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file())
    patterns = [
        rf"backup/{time}-backup-3-1-0/lora/lora.safetensors",
        rf"backup/{time}-backup-3-1-0/meta.json",
        rf"backup/{time}-backup-3-1-0/onetrainer_gradio_run.json",  # whose backup it is; OneTrainer ignores it
        rf"backup/{time}-backup-3-1-0/onetrainer_config/(args|concepts|samples).json",
        rf"backup/{time}-backup-3-1-0/optimizer/optimizer.pt",
        rf"backup/{time}-backup-6-2-0/.*",
        rf"config/tiny-{time}.json",
        rf"samples/0 - a red cross/tiny-{time}-training-sample-0-0-0.png",
        rf"samples/0 - a red cross/tiny-{time}-training-sample-3-1-0.png",
        rf"samples/0 - a red cross/tiny-{time}-training-sample-6-2-0.png",  # of the result; OneTrainer writes none
        rf"save/tiny-{time}-save-3-1-0.safetensors",
        rf"tensorboard/tiny-{time}/events.out.tfevents.*",
    ]
    for name in found:
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in found), pattern
    meta = json.loads(next(workspace.glob("backup/*-3-1-0/meta.json")).read_text())
    assert meta["train_progress"] == {"epoch": 1, "epoch_step": 0, "epoch_sample": 0, "global_step": 3}
    concepts = json.loads(next(workspace.glob("backup/*-3-1-0/onetrainer_config/concepts.json")).read_text())
    assert concepts[0]["name"] == "tiny"
    args = json.loads(next(workspace.glob("backup/*-3-1-0/onetrainer_config/args.json")).read_text())
    assert (args["lora_rank"], args["concepts"], "secrets" in args) == (4, None, False)


@pytest.mark.slow
def test_charts_carry_onetrainers_tags(configured, train, tmp_path):
    """There are loss, smoothed loss and learning rate for each optimizer step, and the samples."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = configured(samples=[SAMPLE], sample_after=1, sample_after_unit="EPOCH", ema="CPU", learning_rate_scheduler="LINEAR")
    _, recorder = train(config)
    (folder,) = (tmp_path / "workspace" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["ema_decay", "loss/train_step", "lr/unet_lora", "smooth_loss/train_step"]
    assert events.Tags()["images"] == ["sample0 - a red cross"]
    losses = events.Scalars("loss/train_step")
    assert [scalar.step for scalar in losses] == [0, 1, 2, 3, 4, 5]
    assert [scalar.value for scalar in losses] == pytest.approx(recorder.losses)
    rates = [scalar.value for scalar in events.Scalars("lr/unet_lora")]
    assert rates == pytest.approx([1e-3 * (1 - step / 6) for step in range(6)], abs=1e-9)  # the ones that the update used
    assert [step.learning_rates[0] for step in recorder.steps] == pytest.approx([1e-3 * (1 - s / 6) for s in range(6)])


@pytest.mark.exhaustive
@pytest.mark.slow
def test_samples_that_cannot_be_written_are_a_warning_and_the_run_continues(configured, train, tmp_path, plain):
    """The error of a full disk is reported; a command for a sample is rejected with the reason."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "samples").write_text("a file is in the way")
    recorder, control = Recorder(), FakeControl()
    command = SampleDefault()
    after_step(recorder, control, 2, command)
    config = configured(samples=[SAMPLE], sample_after=1, sample_after_unit="EPOCH")
    outcome, recorder = train(config, recorder, control)
    assert (outcome, len(recorder.losses)) == ("completed", len(plain.losses))
    (warned,) = [event for event in recorder.of(WarningIssued) if event.code == "sampling_failed"]
    assert "Can't read or write a file" in warned.message
    assert recorder.answer(command).outcome == "refused"


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the writer's own thread meets it first
def test_charts_that_cannot_be_written_are_a_warning_and_the_run_continues(configured, train, tmp_path, plain):
    """Their folder disappears after the first step, as if a disk failed or filled up; the losses are the same."""
    folder = tmp_path / "workspace" / "tensorboard"

    def lose(event):
        if isinstance(event, StepDone) and event.update_step == 1:
            shutil.rmtree(folder)
            folder.write_text("a file is in the way")

    outcome, recorder = train(configured(), Recorder(lose))
    assert outcome == "completed"
    assert recorder.losses == pytest.approx(plain.losses)
    (warned,) = [event for event in recorder.of(WarningIssued) if event.code == "charts"]
    assert "training continues without them" in warned.message
    assert warned.path.startswith(str(folder))


@pytest.mark.slow
def test_validation_measures_what_is_not_trained(configured, train, tmp_path):
    """Concepts of type VALIDATION aren't trained on; without variations, their loss depends on the model only."""
    from onetrainer_gradio.config.files.documents import plain

    config = configured(validation=True, validate_after=1, validate_after_unit="EPOCH", learning_rate=1e-30)
    own = config.concepts[0]
    measured = own.model_copy(update={"type": "VALIDATION", "name": "held back", "seed": 2})
    config = config.model_copy(update={"concepts": (own, measured)})
    assert plain(config)["concepts"][1]["type"] == "VALIDATION"
    _, recorder = train(config)
    assert recorder.of(RunPlanned)[0].images == 6
    first, second = recorder.of(ValidationCompleted)
    assert (first.global_step, second.global_step) == (0, 3)
    assert list(first.losses) == ["held back"]
    assert first.total == pytest.approx(second.total, abs=1e-6)


@pytest.mark.slow
def test_a_part_stops_training_when_its_time_is_over(configured, train, tmp_path):
    """The text encoder's adapter is frozen after the first step of the second epoch, as in OneTrainer."""
    from safetensors.torch import load_file

    config = configured(
        text_encoder__train=True,
        text_encoder__stop_training_after=1,
        text_encoder__stop_training_after_unit="EPOCH",
        save_every=1,
        save_every_unit="STEP",
        epochs=2,
    )
    train(config)
    saves = {path.stem.split("-save-")[1]: load_file(path) for path in (tmp_path / "workspace" / "save").iterdir()}
    assert sorted(saves) == ["0-0-0", "1-0-1", "2-0-2", "3-1-0", "4-1-1", "5-1-2"]

    def changed(one, other):
        return {name.split("_")[1] for name in one if (one[name] != other[name]).any()}

    assert changed(saves["3-1-0"], saves["4-1-1"]) == {"te", "unet"}
    assert changed(saves["4-1-1"], load_file(config.output_model_destination)) == {"unet"}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_first_saves_are_skipped(configured, train, tmp_path):
    """With ``save_skip_first``, saving begins after this many steps."""
    config = configured(save_every=1, save_every_unit="STEP", epochs=2)
    saved = {}
    for skipped in (0, 3):
        folder = tmp_path / str(skipped)
        train(config.model_copy(update={"save_skip_first": skipped, "workspace_dir": str(folder)}))
        saved[skipped] = sorted(path.stem.split("-save-")[1] for path in (folder / "save").iterdir())
    assert saved[0] == ["0-0-0", "1-0-1", "2-0-2", "3-1-0", "4-1-1", "5-1-2"]
    assert saved[3] == ["3-1-0", "4-1-1", "5-1-2"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_nothing_left_to_train_ends_the_run(configured, train):
    """When every component is frozen (after more than the given steps), the run completes with its weights and the reason."""
    config = configured(unet__stop_training_after=2, unet__stop_training_after_unit="STEP", epochs=5)
    outcome, recorder = train(config)
    assert outcome == "completed"
    assert len(recorder.steps) == 3
    assert [warning.code for warning in recorder.of(WarningIssued)] == ["nothing_left_to_train"]


def test_a_missing_model_is_named(configured, train):
    """For a missing folder, file or Hugging Face Hub name, there is a ModelNotFoundError with the name."""
    with pytest.raises(ModelNotFoundError, match="no/such/model") as caught:
        train(configured(base_model_name="/no/such/model"))
    assert caught.value.path == "base_model_name"


def test_a_hub_model_that_is_not_here_is_named_when_offline(configured, train, tmp_path):
    """Offline, a repository that was never downloaded is a clear error."""
    with pytest.raises(ModelNotFoundError, match="Offline mode is on"):
        train(configured(base_model_name="nobody/nothing", huggingface_cache_dir=str(tmp_path / "hub")))


def test_a_folder_that_is_no_model_is_named(configured, train, tmp_path):
    """The error names the missing component of Stable Diffusion."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFormatError, match="text_encoder"):
        train(configured(base_model_name=str(tmp_path / "empty")))


def test_an_empty_folder_is_an_error(configured, train, tmp_path):
    """A concept without images is named before the model is loaded."""
    (tmp_path / "nothing").mkdir()
    recorder = Recorder()
    with pytest.raises(DatasetError, match="nothing"):
        train(configured(images=tmp_path / "nothing"), recorder)
    with pytest.raises(DatasetError, match="doesn't exist"):
        train(configured(images=tmp_path / "nowhere"), recorder)
    assert not recorder.of(PhaseProgress)


@pytest.mark.exhaustive
def test_a_batch_that_cannot_be_filled_is_an_error(configured, train):
    """If the batch size exceeds the images of one size, the error contains their number."""
    with pytest.raises(DatasetError, match="64x64: 6"):
        train(configured(batch_size=8))


@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, False])
def test_broken_images_are_named_and_left_out(configured, train, few_images, tmp_path, cached):
    """A file that is no image and a truncated one both give a warning; the rest is trained on."""
    import shutil

    folder = tmp_path / "images"
    shutil.copytree(few_images, folder)
    first, second, *_ = sorted(folder.glob("*.png"))
    first.write_bytes(b"this is no picture")
    second.write_bytes(second.read_bytes()[:-120])
    outcome, recorder = train(configured(images=folder, latent_caching=cached))
    assert outcome == "completed"
    warned = [warning for warning in recorder.of(WarningIssued) if warning.code == "broken_picture"]
    assert {Path(warning.path).name for warning in warned} == {first.name, second.name}
    assert recorder.of(RunPlanned)[0].images == 4


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run_with_its_step(configured, train):
    """A far too high learning rate ends in NonFiniteLossError with the step and a suggestion; nothing is saved."""
    with pytest.raises(NonFiniteLossError, match=r"at step \d+") as caught:
        train(configured(learning_rate=1e30, clip_grad_norm=None, epochs=20, optimizer__optimizer="SGD"))
    assert "learning rate" in caught.value.suggestion


def test_an_existing_result_is_protected(configured, train, tmp_path):
    """With ``prevent_overwrites``, a run fails at the start if its result would overwrite a file."""
    target = tmp_path / "out.safetensors"
    target.write_text("precious")
    with pytest.raises(OutputExistsError, match="exists"):
        train(configured(prevent_overwrites=True, output_model_destination=str(target)))
    assert target.read_text() == "precious"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_result_for_a_folder_is_named_by_the_time(configured, train, tmp_path):
    """An existing folder as output gets a file with prefix and time."""
    (tmp_path / "models").mkdir()
    _, recorder = train(configured(output_model_destination=str(tmp_path / "models")))
    (file,) = (tmp_path / "models").iterdir()
    assert re.fullmatch(r"tiny-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.safetensors", file.name)
    assert recorder.of(ModelSaved)[0].path == str(file)


def test_a_device_that_is_not_there_is_named(configured, train):
    """A GPU on a machine without one is an error of the setting."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a graphics card")
    with pytest.raises(UnsupportedError, match="cuda") as caught:
        train(configured(train_device="cuda"))
    assert caught.value.path == "train_device"


def test_settings_that_the_engine_does_not_have_are_rejected(configured, train):
    """The run doesn't start, and each setting is named."""
    with pytest.raises(ConfigInvalidError) as caught:
        train(configured(multi_gpu=True, attention_mechanism="FLASH"))
    assert {finding.path for finding in caught.value.all_findings} == {"multi_gpu", "attention_mechanism"}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["BFLOAT_16", "FLOAT_16"])
def test_half_precision_trains(configured, train, plain, dtype):
    """16-bit losses are close to 32-bit ones, in a process that ran a 32-bit run before."""
    _, half = train(configured(train_dtype=dtype, unet__weight_dtype=dtype, vae__weight_dtype=dtype))
    assert half.losses == pytest.approx(plain.losses, rel=0.05)
    assert half.losses != plain.losses
    if dtype == "FLOAT_16":
        _, again = train(configured())
        assert again.losses == plain.losses


@pytest.mark.exhaustive
@pytest.mark.slow
def test_checkpointing_changes_nothing_but_memory(configured, train):
    """The losses with gradient checkpointing are the same."""
    _, plain = train(configured(text_encoder__train=True))
    config = configured(text_encoder__train=True, unet__gradient_checkpointing=True, text_encoder__gradient_checkpointing=True)
    _, checkpointed = train(config)
    assert checkpointed.losses == pytest.approx(plain.losses, abs=1e-6)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_without_a_cache_the_images_are_encoded_in_every_epoch(configured, train, tmp_path):
    """With ``latent_caching`` off, training works and writes nothing to the cache folder."""
    outcome, recorder = train(configured(latent_caching=False))
    assert (outcome, len(recorder.steps)) == ("completed", 6)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ADAM", "SGD", "ADAFACTOR"])
def test_other_optimizers_train(configured, train, name):
    """Each optimizer of the table lowers the loss of a repeated image."""
    rate = {"SGD": 1.0}.get(name, 1e-2)
    config = configured(optimizer__optimizer=name, learning_rate=rate, epochs=4, layer_filter="attn", batch_size=3)
    _, recorder = train(config)
    third = len(recorder.losses) // 3
    assert sum(recorder.losses[-third:]) < sum(recorder.losses[:third])
