"""A run in a checkout, through the interface of every backend: its events, its commands, its endings.

Covers ``backends/onetrainer/folder_locks.py``.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.backends.onetrainer import driver
from onetrainer_gradio.backends.onetrainer.bridge import WORKER, Bridge
from onetrainer_gradio.backends.onetrainer.checkout import inspect
from onetrainer_gradio.commands import (
    BackupNow,
    Command,
    Pause,
    Resume,
    SampleCustom,
    SampleDefault,
    SaveNow,
    Stop,
)
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.paths.backup_chain import run_of
from onetrainer_gradio.errors import (
    CheckoutError,
    ConfigInvalidError,
    DiskFullError,
    ModelNotFoundError,
    NonFiniteLossError,
    OutOfMemoryError,
    RunConflictError,
    TrainingError,
    WorkerDiedError,
)
from onetrainer_gradio.events import (
    BackupCreated,
    BackupFailed,
    ChildProcessStarted,
    Event,
    ModelSaved,
    PhaseChanged,
    PhaseProgress,
    Resumed,
    RunPlanned,
    RunStarted,
    SampleGenerated,
    SaveFailed,
    StepDone,
    ValidationCompleted,
    WarningIssued,
    decode,
)
from onetrainer_gradio.service.host.process import group_alive
from tests.backends.onetrainer.standin import FIXTURES, behave, set_up
from tests.engine.recording import FakeControl, Recorder
from tests.fakes.configs import small_config, write_result
from tests.golden.cases import Case, _lora, write_data

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Ride:
    """A stand-in checkout, a configuration, and the reported events."""

    def __init__(self, folder: Path, checkout: Path | None = None, **behavior: object) -> None:
        self.folder = folder
        self.checkout = checkout or set_up(folder / "OneTrainer", **behavior)
        self.recorder, self.control = Recorder(), FakeControl()
        self.options: dict[str, Any] = {}

    def config(self, **settings: object) -> TrainConfig:
        return small_config(self.folder, **({"epochs": 2, "tensorboard": False} | settings))

    def run(self, config: TrainConfig | None = None, **settings: object) -> str:
        options = RunOptions(backend="onetrainer", checkout=str(self.checkout), **self.options)
        return driver.run(config or self.config(**settings), self.recorder, self.control, options)

    def when(self, kind: type[Event], action: Callable[[Any], None]) -> None:
        """Act on each event of a kind."""
        before = self.recorder.on

        def act_on(event: Event) -> None:
            before(event)
            if isinstance(event, kind):
                action(event)

        self.recorder.on = act_on

    def give_after_step(self, step: int, *commands: Command) -> None:
        self.when(StepDone, lambda event: self.control.give(*commands) if event.global_step == step else None)

    @property
    def go(self) -> Path:
        return self.folder / "workspace" / "go"

    def group(self) -> int:
        return self.recorder.of(ChildProcessStarted)[0].pid


@pytest.fixture
def ride(tmp_path) -> Callable[..., Ride]:
    rides: list[Ride] = []

    def begin(**behavior: object) -> Ride:
        rides.append(Ride(tmp_path, **behavior))
        return rides[-1]

    return begin


def test_the_learning_rate_of_a_step_is_the_one_that_its_update_used(ride):
    """OneTrainer charts the next update's rate; our runs have each step's own, including the first one's."""
    one = ride(decay=0.5)
    one.run()
    rates = [step.learning_rates[0] for step in one.recorder.steps]
    assert rates == [pytest.approx(3e-6 * 0.5**step) for step in range(len(rates))]


def test_a_run_reports_everything_that_our_runs_report(ride):
    """State, phases, plan, steps with loss and rates, and result are reported;
    the epoch's length isn't mistaken for the run's.
    """
    one = ride()
    assert one.run(batch_size=2) == "completed"
    started, planned = one.recorder.of(RunStarted)[0], one.recorder.of(RunPlanned)[0]
    assert (started.backend, started.pid) == ("onetrainer", os.getpid())
    assert str(one.checkout) in started.versions["onetrainer"]
    assert "python" in started.versions
    assert (planned.steps_per_epoch, planned.total_steps, planned.epochs, planned.images) == (5, 10, 2, 10)
    assert (planned.learning_rates, planned.trainable_parameters) == (("unet_lora",), 642)
    steps = one.recorder.steps
    assert [step.global_step for step in steps] == list(range(1, 11))
    assert (steps[6].epoch, steps[6].epoch_step, steps[6].epoch_sample) == (1, 2, 4)
    assert steps[1].loss == pytest.approx(0.5)
    assert steps[1].smooth_loss == pytest.approx(0.25)
    assert steps[0].learning_rates == (pytest.approx(3e-6),)
    assert [phase for phase in one.recorder.phases if phase != "caching"][:3] == ["starting", "loading", "training"]
    saved = one.recorder.of(ModelSaved)[-1]
    assert saved.final
    assert Path(saved.path).read_text() == "weights of step 10"
    assert saved.bytes == Path(saved.path).stat().st_size
    made = one.recorder.of(BackupCreated)[-1]
    assert (Path(made.path) / "onetrainer_config" / "args.json").is_file()
    assert (made.global_step, made.epoch, made.epoch_step) == (10, 2, 0)
    assert one.recorder.of(WarningIssued) == []
    order = [type(event) for event in one.recorder.events]
    assert order.index(RunPlanned) < order.index(StepDone)
    assert not group_alive(one.group())


def test_steps_are_reported_per_optimizer_step(ride):
    """With gradient accumulation, OneTrainer reports a loss on update steps only."""
    one = ride()
    assert one.run(gradient_accumulation_steps=2) == "completed"
    assert [(step.update_step, step.global_step) for step in one.recorder.steps] == [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]
    assert one.recorder.steps[0].images == 2


def test_a_step_limit_ends_it_as_completed(ride):
    """The limit counts micro-batches, as everywhere."""
    one = ride()
    one.options["max_steps"] = 3
    assert one.run() == "completed"
    assert one.recorder.steps[-1].global_step == 3
    assert one.recorder.of(RunPlanned)[0].total_steps == 3
    assert one.recorder.of(ModelSaved)[-1].final


def test_samples_backups_saves_and_validation_are_reported_with_their_paths(ride):
    """Each has its path and parameters, once it is complete."""
    one = ride()
    settings = {f"{name}_unit": "STEP" for name in ("sample_after", "backup_after", "save_every", "validate_after")}
    one.run(sample_after=4, backup_after=4, save_every=4, validate_after=4, validation=True, **settings)
    sample = one.recorder.of(SampleGenerated)[0]
    assert Path(sample.path).read_bytes().startswith(b"\x89PNG")
    assert Path(sample.path).parent.name == "0 - a red square"
    assert (sample.kind, sample.index, sample.prompt, sample.width, sample.global_step) == ("default", 0, "a red square", 32, 3)
    assert sample.noise_scheduler == "DDIM"
    progress = [event for event in one.recorder.of(PhaseProgress) if event.phase == "sampling"]
    assert (progress[-1].done, progress[-1].total) == (30, 30)
    assert [made.global_step for made in one.recorder.of(BackupCreated)] == [3, 7, 10]
    assert [(saved.final, saved.global_step) for saved in one.recorder.of(ModelSaved)] == [(False, 3), (False, 7), (True, 10)]
    validated = one.recorder.of(ValidationCompleted)[0]
    assert (validated.losses, validated.total) == ({"faces": 0.25, "hands": 0.75}, 0.5)
    assert {"sampling", "backing_up", "saving", "validating"} <= set(one.recorder.phases)


def test_a_random_seed_is_drawn_where_it_can_be_reported(ride):
    """The image can be generated again with the event's parameters."""
    one = ride()
    one.run(sample_after=2, sample_after_unit="STEP", samples=[{"prompt": "x", "random_seed": True, "seed": 7}])
    seeds = {sample.seed for sample in one.recorder.of(SampleGenerated)}
    assert len(seeds) > 1


def test_each_command_is_executed_and_answered_once(ride):
    """Default and custom samples, backup and save are done, with the path if there is one."""
    one = ride(step_s=0.02)
    commands = (SampleDefault(), SampleCustom(params={"prompt": "blue", "width": 16, "height": 8}), BackupNow(), SaveNow())
    one.give_after_step(1, *commands)
    assert one.run(epochs=8) == "completed"
    answers = [one.recorder.answer(command) for command in commands]
    assert [answer.outcome for answer in answers] == ["done"] * 4
    custom = next(sample for sample in one.recorder.of(SampleGenerated) if sample.kind == "custom")
    assert (custom.command_id, custom.path, custom.prompt, custom.width) == (commands[1].id, answers[1].result, "blue", 16)
    default = next(sample for sample in one.recorder.of(SampleGenerated) if sample.kind == "default")
    assert default.command_id == commands[0].id
    assert Path(answers[2].result).is_dir()
    assert Path(answers[3].result).is_file()


def test_a_stop_finishes_the_step_backs_up_and_saves(ride):
    """It behaves like OneTrainer's own stop."""
    one = ride(step_s=0.02)
    stop = Stop()
    one.give_after_step(3, stop)
    assert one.run(epochs=200) == "stopped"
    assert one.recorder.answer(stop).outcome == "done"
    assert 3 <= one.recorder.steps[-1].global_step < 20
    assert one.recorder.of(BackupCreated)
    assert one.recorder.of(ModelSaved)[-1].final
    assert one.recorder.phases.index("stopping") < one.recorder.phases.index("saving")


@pytest.mark.parametrize("behavior", [{"load_s": 60}, {"cache_s": 60}], ids=["loading", "caching"])
def test_a_stop_while_nothing_can_be_asked_of_onetrainer_interrupts_it(ride, behavior):
    """Loading and caching can't be stopped; nothing was trained, so nothing is written."""
    one = ride(**behavior)
    stop = Stop()
    phase = "loading" if "load_s" in behavior else "caching"
    one.when(PhaseChanged, lambda event: one.control.give(stop) if event.phase == phase and not one.control.waiting else None)
    began = time.monotonic()
    assert one.run() == "stopped"
    assert time.monotonic() - began < PATIENCE_S
    assert one.recorder.answer(stop).outcome == "done"
    assert one.recorder.of(ModelSaved) == []


def test_a_stop_ends_the_sampling_too(ride):
    """It ends within one sampler step, however many prompts wait."""
    one = ride(sample_s=9)
    stop, custom = Stop(), SampleCustom(params={"prompt": "never", "width": 8, "height": 8})
    one.give_after_step(1, custom)
    one.when(PhaseChanged, lambda event: one.control.give(stop) if event.phase == "sampling" else None)
    assert one.run(epochs=1000) == "stopped"
    assert one.recorder.answer(custom).outcome == "refused"
    assert "stopping" in one.recorder.answer(custom).reason
    assert one.recorder.of(SampleGenerated) == []


def test_a_pause_holds_the_training_and_serves_meanwhile(ride):
    """The step is finished and the model stays loaded; samples, backups and saves still work; resume continues."""
    one = ride(step_s=0.02)
    pause, again, backup, save = Pause(), Pause(), BackupNow(), SaveNow()
    sample, custom, resume = SampleDefault(), SampleCustom(params={"prompt": "b", "width": 8, "height": 8}), Resume()
    early = Resume()
    one.give_after_step(1, early)
    one.give_after_step(3, pause)
    paused = {"at": 0}

    def on_pause(event: PhaseChanged) -> None:
        if event.phase == "paused" and not paused["at"]:
            paused["at"] = one.recorder.steps[-1].global_step
            one.control.give(again, backup, save, sample, custom)

    one.when(PhaseChanged, on_pause)

    def on_sample(event: SampleGenerated) -> None:
        if event.kind == "custom":
            assert one.recorder.steps[-1].global_step == paused["at"]
            one.control.give(resume)

    one.when(SampleGenerated, on_sample)
    assert one.run(epochs=20) == "completed"
    assert [one.recorder.answer(one_).outcome for one_ in (pause, backup, save, sample, custom, resume)] == ["done"] * 6
    assert [one.recorder.answer(one_).outcome for one_ in (early, again)] == ["refused"] * 2
    assert one.recorder.steps[-1].global_step == 100
    assert {made.global_step for made in one.recorder.of(BackupCreated)} >= {paused["at"]}


@pytest.mark.exhaustive
def test_commands_that_wait_are_executed_once_for_everyone(ride):
    """Sent while OneTrainer loads, and also due at the first step: one sampling, backup and save answer all of them."""
    one = ride()
    custom = {"prompt": "b", "width": 8, "height": 8}
    kinds = (SampleDefault, BackupNow, SaveNow)
    commands = [kind() for kind in kinds for _ in "ab"] + [SampleCustom(params=custom), SampleCustom(params=custom)]
    done: list[bool] = []

    def on_phase(event):
        if event.phase == "loading" and not done:
            done.append(True)
            one.control.give(*commands)

    one.when(PhaseChanged, on_phase)
    every = {f"{name}_unit": "STEP" for name in ("sample_after", "backup_after", "save_every")}
    assert one.run(epochs=1, sample_after=1, backup_after=1, save_every=1, **every) == "completed"
    assert [one.recorder.answer(command).outcome for command in commands] == ["done"] * 8
    samples = one.recorder.of(SampleGenerated)
    assert [sample.global_step for sample in samples if sample.kind == "default"] == [0, 1, 2, 3, 4]
    assert samples[0].command_id == commands[0].id
    assert len([sample for sample in samples if sample.kind == "custom"]) == 1
    assert len({one.recorder.answer(command).result for command in commands[6:]}) == 1
    saved = [saved.global_step for saved in one.recorder.of(ModelSaved) if not saved.final]
    assert saved == [0, 1, 2, 3, 4]
    assert [made.global_step for made in one.recorder.of(BackupCreated)] == [0, 1, 2, 3, 4, 5]


def test_a_stop_ends_a_pause(ride):
    """The run ends as stopped."""
    one = ride(step_s=0.02)
    pause, stop = Pause(), Stop()
    one.give_after_step(2, pause)
    one.when(PhaseChanged, lambda event: one.control.give(stop) if event.phase == "paused" else None)
    assert one.run(epochs=200) == "stopped"
    assert [one.recorder.answer(one_).outcome for one_ in (pause, stop)] == ["done", "done"]


@pytest.mark.exhaustive
def test_a_run_resumes_from_a_chosen_backup(ride):
    """OneTrainer's setting alone only supports the newest one."""
    one = ride()
    one.run(backup_after=4, backup_after_unit="STEP")
    older = one.recorder.of(BackupCreated)[0]
    second = Ride(one.folder / "second")
    second.options["resume_from"] = older.path
    assert second.run(one.config()) == "completed"
    assert second.recorder.of(Resumed) == [pytest.approx(second.recorder.of(Resumed)[0])]
    assert (second.recorder.of(Resumed)[0].path, second.recorder.of(Resumed)[0].global_step) == (older.path, 3)
    assert [step.global_step for step in second.recorder.steps] == [4, 5, 6, 7, 8, 9, 10]
    assert second.recorder.of(RunPlanned)[0].first_step == 3


@pytest.mark.exhaustive
def test_a_backup_of_the_built_in_engine_is_continued(ride, tmp_path):
    """A checkout finds progress, adapter and optimizer where it expects them, and continues with the next step."""
    from onetrainer_gradio import engine
    from onetrainer_gradio.config.files.documents import from_document

    case = Case("STABLE_DIFFUSION_15", "plain", _lora("STABLE_DIFFUSION_15"))
    document = case.document(FIXTURES / "golden" / "model", write_data(tmp_path / "data"), tmp_path / "built-in")
    trained = Recorder()
    backups = {"backup_after": 2, "backup_after_unit": "STEP"}
    engine.run(from_document(document | backups)[0], trained, FakeControl(), RunOptions(max_steps=3))
    made = trained.of(BackupCreated)[0]
    one = ride()
    one.options["resume_from"] = made.path
    assert one.run() == "completed"
    assert [(resumed.path, resumed.global_step) for resumed in one.recorder.of(Resumed)] == [(made.path, made.global_step)]
    assert one.recorder.steps[0].global_step == made.global_step + 1
    assert one.recorder.steps[-1].global_step == 10
    assert [warned.code for warned in one.recorder.of(WarningIssued)] in ([], ["images_changed"])


@pytest.mark.exhaustive
@pytest.mark.parametrize(("now", "total"), [(8, 5 + 8 * 2), (4, 5 + 4 * 2)])
def test_the_plan_of_a_resumed_run_counts_the_images_of_now(ride, now, total):
    """If images were added or removed since the backup, the run ends at the step that it announced, with a warning."""
    one = ride()
    one.run(epochs=1)
    second = Ride(one.folder / "second", epoch_steps=now)
    second.options["resume_from"] = one.recorder.of(BackupCreated)[-1].path
    assert second.run(one.config(epochs=3)) == "completed"
    planned = second.recorder.of(RunPlanned)[0]
    assert (planned.first_step, planned.total_steps, planned.total_updates) == (5, total, total)
    assert second.recorder.steps[-1].global_step == total
    assert [warned.code for warned in second.recorder.of(WarningIssued)] == ["images_changed"]


@pytest.mark.exhaustive
def test_a_backup_after_which_nothing_is_left_is_rejected(ride):
    """OneTrainer would complete without training; the epoch, the step limit and the current images are checked."""
    one = ride()
    one.run(backup_after=4, backup_after_unit="STEP")
    early, late = one.recorder.of(BackupCreated)[0].path, one.recorder.of(BackupCreated)[-1].path
    write_result(one.folder / "lora.safetensors")
    for settings, options in (
        ({}, {"resume_from": late}),
        ({"continue_last_backup": True}, {}),
        ({}, {"resume_from": early, "max_steps": 3}),
    ):
        again = Ride(one.folder, one.checkout)
        again.options = options
        with pytest.raises(ConfigInvalidError, match="nothing left to train"):
            again.run(**settings)
    few = Ride(one.folder / "few", epoch_steps=3)
    few.options["resume_from"] = early
    with pytest.raises(ConfigInvalidError, match="nothing left to train"):
        few.run(one.config(epochs=1))


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", ["epochs", "step limit", "images", "torn", "unfinished"])
def test_a_run_killed_in_its_last_save_is_resumed_to_save_its_result(ride, case):
    """OneTrainer saves only what it trained itself: the bridge lets it save, without a step and without another backup."""
    one = ride()
    limit = 3 if case == "step limit" else None
    one.options["max_steps"] = limit
    one.run(epochs=1)
    made = one.recorder.of(BackupCreated)[-1]
    result = one.folder / "lora.safetensors"
    if case == "unfinished":  # it was killed after writing the file, and nothing records that it is the result
        write_result(result)
    elif case != "torn":
        result.unlink()
    again = Ride(one.folder, one.checkout)
    again.options |= {"resume_from": made.path, "max_steps": limit, "unfinished": case == "unfinished"}
    if case == "images":  # the last epoch was interrupted at its last step, and there are fewer images now
        meta = {"train_progress": {"epoch": 0, "epoch_step": 5, "epoch_sample": 5, "global_step": 5}}
        (Path(made.path) / "meta.json").write_text(json.dumps(meta))
    assert again.run(one.config(epochs=1)) == "completed"
    assert again.recorder.steps == []
    assert "only-saves-result" in [warned.code for warned in again.recorder.of(WarningIssued)]
    (saved,) = again.recorder.of(ModelSaved)
    assert (saved.path, saved.final, saved.global_step) == (str(result), True, made.global_step)
    assert result.read_text() == f"weights of step {made.global_step}"
    assert again.recorder.of(BackupCreated) == []


@pytest.mark.exhaustive
def test_nothing_to_resume_from_is_reported(ride):
    """OneTrainer silently starts again."""
    one = ride()
    one.run(continue_last_backup=True)
    assert [warned.code for warned in one.recorder.of(WarningIssued)] == ["no_backup"]


def test_what_onetrainer_uses_otherwise_is_reported(ride):
    """A setting that OneTrainer lacks has no effect there."""
    one = ride(newer=True)
    one.run(force_circular_padding=True)
    warned = {event.path: event for event in one.recorder.of(WarningIssued)}
    assert warned["force_circular_padding"].code == "config_read_back"
    assert "doesn't support “Force circular padding”" in warned["force_circular_padding"].message


def test_settings_that_only_the_checkout_knows_reach_it(ride):
    """They are kept in the configuration, or merged into it if this release doesn't support them."""
    one = ride(newer=True)
    assert one.run(sharpness=0.75, model_type="NEW_MODEL_9", output_model_format="DIFFUSERS_LORA") == "completed"
    assert one.recorder.of(WarningIssued) == []
    used = json.loads(next((one.folder / "workspace" / "config").glob("*.json")).read_text())
    assert (used["sharpness"], used["model_type"]) == (0.75, "NEW_MODEL_9")


def test_the_token_reaches_onetrainer_and_no_file(ride):
    """It is in the process's environment only: OneTrainer would log in and store it on disk."""
    one = ride()
    config = one.config()
    config = config.model_copy(update={"secrets": config.secrets.model_copy(update={"huggingface_token": "hf_very_secret"})})
    watch = one.checkout / "modules" / "util" / "config" / "SampleConfig.py"
    watch.write_text(watch.read_text() + "\nimport os\nassert os.environ['HF_TOKEN'] == 'hf_very_secret'\n")
    assert one.run(config) == "completed"
    for path in one.folder.rglob("*"):
        if path.is_file() and path != watch and not path.is_symlink() and "__pycache__" not in path.parts:
            assert b"hf_very_secret" not in path.read_bytes(), path


@pytest.mark.exhaustive
def test_bars_and_lines_of_the_console(ride, capfd):
    """Of a progress bar the last state is kept, ordinary lines are kept completely, and caching is reported as progress."""
    one = ride(chatty=True, cache_s=0.3)
    one.run(epochs=1)
    lines = capfd.readouterr().err.splitlines()
    assert "an ordinary line" in lines
    bars = [line for line in lines if line.startswith("caching:")]
    assert 1 <= len(bars) <= 2
    assert "20/20" in bars[-1]
    cached = [event for event in one.recorder.of(PhaseProgress) if event.phase == "caching"]
    assert (cached[-1].done, cached[-1].total) == (20, 20)


def insert(one: Ride, code: str) -> None:
    """Return code that the stand-in's trainer runs in addition when it starts."""
    path = one.checkout / "modules" / "trainer" / "GenericTrainer.py"
    body = "\n".join(f"    {line}" for line in code.splitlines())
    path.write_text(f"{path.read_text()}\n\ndef more(self):\n{body}\n    started(self)\n\n\n")
    path.write_text(path.read_text() + "started, GenericTrainer.start = GenericTrainer.start, more\n")


def test_how_it_runs_in_the_checkouts_python(ride):
    """It runs in the checkout's folder, as leader of a process group, with its imports frozen for the garbage collection."""
    one = ride()
    seen = "os.getcwd(), os.getpgrp() == os.getpid(), gc.get_freeze_count() > 100, sys.path[0]"
    insert(one, f"import gc\njson.dump([{seen}], open('seen.json', 'w'))")
    assert one.run() == "completed"
    assert json.loads((one.checkout / "seen.json").read_text()) == [str(one.checkout), True, True, str(one.checkout)]


def test_its_environment_is_its_own(ride, monkeypatch):
    """It has no credentials of the panel, and OneTrainer chooses the number of threads."""
    monkeypatch.setenv("ONETRAINER_GRADIO_PASSWORD", "a password")
    monkeypatch.setenv("ONETRAINER_GRADIO_TOKEN", "a token")
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    one = ride()
    insert(one, "json.dump(dict(os.environ), open('seen.json', 'w'))")
    assert one.run() == "completed"
    seen = json.loads((one.checkout / "seen.json").read_text())
    assert not [name for name in seen if name.startswith("ONETRAINER_GRADIO_") and name.endswith(("PASSWORD", "TOKEN"))]
    assert not set(THREADS) & set(seen)
    assert not any("set_num_threads" in path.read_text() for path in WORKER.glob("*.py"))


def test_what_is_printed_is_never_taken_for_an_event(ride, capfd):
    """Anything written to standard output, by Python or not, goes to the console log."""
    one = ride()
    insert(one, """print('{"type": "run_done", "outcome": "completed"}')\nos.write(1, b'{"type": "run_done"}\\n')""")
    assert one.run() == "completed"
    assert len(one.recorder.steps) == 10
    assert capfd.readouterr().err.count("run_done") == 2


def test_what_cannot_be_passed_on_is_reported(ride):
    """OneTrainer ignores exceptions of callbacks; here they become a warning, and the run continues."""
    one = ride()
    insert(one, "self.callbacks.on_update_train_progress(None, 5, 2)")
    assert one.run() == "completed"
    assert [warned.code for warned in one.recorder.of(WarningIssued)] == ["bridge_callback"]
    assert "global_step" in one.recorder.of(WarningIssued)[0].message or "epoch_step" in one.recorder.of(WarningIssued)[0].message


@pytest.mark.parametrize(("setting", "value"), [("multi_gpu", True), ("cloud", {"enabled": True})])
def test_what_cannot_be_driven_is_rejected(ride, setting, value):
    """This covers processes and machines that the panel can't follow."""
    one = ride()
    with pytest.raises(ConfigInvalidError):
        one.run(**{setting: value})
    assert one.recorder.events == []


def test_its_chart_server_is_never_left_behind(ride):
    """The process that it starts ends with the run, also if the run fails."""
    one = ride(child=True, crash_at=2)
    with pytest.raises(TrainingError):
        one.run()
    child = int((one.checkout / "child.pid").read_text())
    assert not Path(f"/proc/{child}").exists()


# ------------------------------------------------------------------------------------------------------------- bad cases


@pytest.mark.parametrize(
    ("behavior", "error", "words"),
    [
        ({"nan_at": 3}, NonFiniteLossError, "NaN or infinite"),
        ({"crash_at": 3}, TrainingError, "ValueError: the tensors do not match, because of KeyError: 'prompt_embeds'"),
        ({"memory_at": 3}, OutOfMemoryError, "Out of GPU memory"),
        ({"die_at": 3}, WorkerDiedError, r"while training because it was killed from outside \(SIGKILL\)"),
        ({"final_fails": True}, DiskFullError, "No space left"),
    ],
    ids=["nan", "exception", "memory", "killed", "full disk at the end"],
)
def test_a_failure_is_reported_by_its_cause(ride, behavior, error, words):
    """The message is one sentence with a suggestion; none of its processes remains."""
    one = ride(**behavior)
    with pytest.raises(error, match=words) as caught:
        one.run()
    assert caught.value.suggestion
    assert len(one.recorder.steps) >= 3
    assert not group_alive(one.group())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("error", r"failed to import: OSError: libcudart.so.12"),
        ("library", r"lacks the library “a_library_that_nobody_has”"),
        ("moved", r"doesn't support the module layout of this OneTrainer revision: No module named 'modules.util.elsewhere'"),
    ],
)
def test_an_import_that_fails_reports_why(ride, what, words):
    """A driver library, a missing package, and a moved module each have their own message."""
    with pytest.raises(CheckoutError, match=words):
        ride(**{"import": what}).run()


@pytest.mark.exhaustive
def test_an_import_that_hangs_is_ended_in_time(ride, monkeypatch):
    """The message has the checkout and the seconds."""
    one = ride(**{"import": "hang"})
    monkeypatch.setattr(driver, "Timeouts", lambda **known: driver_timeouts(1.0))
    with pytest.raises(CheckoutError, match="took longer than 1 seconds"):
        one.run()
    assert not group_alive(one.group())


def driver_timeouts(import_s: float) -> object:
    return TIMEOUTS(import_s=import_s)


TIMEOUTS = driver.Timeouts


def test_a_stop_works_while_it_is_imported(ride):
    """There is nothing to finish then; other commands are rejected."""
    one = ride(**{"import": "hang"})
    stop, sample = Stop(), SampleDefault()
    one.when(RunStarted, lambda event: one.control.give(sample, stop))
    assert one.run() == "stopped"
    assert [one.recorder.answer(command).outcome for command in (stop, sample)] == ["done", "refused"]
    assert not group_alive(one.group())


def test_no_checkout_or_no_environment_is_reported_before_anything_starts(tmp_path):
    """The message is that of the inspection."""
    with pytest.raises(CheckoutError, match="doesn't exist"):
        driver.run(small_config(tmp_path), Recorder(), FakeControl(), RunOptions(checkout=str(tmp_path / "nowhere")))
    folder = set_up(tmp_path / "OneTrainer", python=False)
    with pytest.raises(CheckoutError, match="no Python environment"):
        driver.run(small_config(tmp_path), Recorder(), FakeControl(), RunOptions(checkout=str(folder)))


def test_too_old_a_python_reports_it_itself(ride):
    """If the environment's files don't contain its version, the script checks it before using newer features."""
    one = ride()
    python = one.checkout / "venv" / "bin" / "python"
    real = python.resolve()
    python.unlink()
    old = 'import sys; sys.version_info = (3, 8, 1); sys.argv = sys.argv[1:]; exec(open(sys.argv[0] + "/__main__.py").read())'
    python.write_text(f"#!/bin/sh\nexec {real} -c '{old}' \"$@\"\n")
    python.chmod(0o755)
    with pytest.raises(CheckoutError, match=r"This is Python 3\.8") as caught:
        one.run()
    assert "3.10" in caught.value.expected


def test_a_python_that_is_no_python_is_reported(ride):
    """Its environment may contain anything."""
    one = ride()
    python = one.checkout / "venv" / "bin" / "python"
    python.unlink()
    python.write_text("no program at all")
    python.chmod(0o755)
    with pytest.raises(CheckoutError, match="Can't start"):
        one.run()


@pytest.mark.exhaustive
def test_sampling_that_fails_is_reported_and_the_training_continues(ride):
    """OneTrainer only prints it."""
    one = ride(sample_fails=True, step_s=0.02)
    default, custom = SampleDefault(), SampleCustom(params={"prompt": "x", "width": 8, "height": 8})
    one.give_after_step(1, default, custom)
    assert one.run(epochs=8) == "completed"
    for command in (default, custom):
        answer = one.recorder.answer(command)
        assert answer.outcome == "refused"
        assert "the decoder does not fit" in answer.reason
    assert [warned.code for warned in one.recorder.of(WarningIssued)] == ["sampling_failed"]


@pytest.mark.exhaustive
def test_no_prompt_to_sample_is_reported(ride):
    """This is the response to a sample command if no prompt is configured."""
    one = ride(step_s=0.02)
    default = SampleDefault()
    one.give_after_step(1, default)
    one.run(epochs=8, samples=[])
    assert one.recorder.answer(default).reason == "no sample prompt is enabled"


def test_a_full_disk_at_a_backup_or_save_is_reported_and_survived(ride):
    """OneTrainer prints it and continues; no partial file remains."""
    one = ride(backup_fails=True, save_fails=True, step_s=0.02)
    backup, save = BackupNow(), SaveNow()
    one.give_after_step(1, backup, save)
    assert one.run(epochs=8, backup_before_save=False) == "completed"
    assert [one.recorder.answer(command).outcome for command in (backup, save)] == ["refused"] * 2
    failed = [*one.recorder.of(BackupFailed), *one.recorder.of(SaveFailed)]
    assert [event.error.type for event in failed] == ["DiskFullError"] * 2
    assert one.recorder.of(BackupCreated) == []
    assert [saved.final for saved in one.recorder.of(ModelSaved)] == [True]
    for event in failed:
        assert not Path(event.path).exists()


def test_charts_that_cannot_be_written_are_reported_and_survived(ride):
    """The failed charts are reported, training continues, and loss and end are recorded."""
    one = ride(charts_fail=True)
    assert one.run(epochs=1) == "completed"
    assert [event.path for event in one.recorder.of(WarningIssued) if event.code == "charts"] == ["workspace_dir"]
    assert len(one.recorder.of(StepDone)) == 5


@pytest.mark.exhaustive
def test_a_save_that_leaves_no_file_is_no_save(ride):
    """The file's existence is checked."""
    one = ride(save_lost=True, step_s=0.02)
    save = SaveNow()
    one.give_after_step(1, save)
    one.run(epochs=8)
    assert one.recorder.answer(save).outcome == "refused"
    assert len(one.recorder.of(SaveFailed)) == 1


@pytest.mark.exhaustive
def test_two_trainings_do_not_share_their_folders(ride):
    """A second panel may train with the same checkout, but not into the same workspace or cache."""
    one = ride(hold=2)
    other = Ride(one.folder / "second")
    thread = threading.Thread(target=one.run, daemon=True)
    running = threading.Event()
    one.when(StepDone, lambda event: running.set())
    thread.start()
    try:
        assert running.wait(PATIENCE_S)
        with pytest.raises(RunConflictError, match="in use by another run") as caught:
            other.run(one.config())
        assert caught.value.path == "workspace_dir"
        with pytest.raises(RunConflictError) as caught:
            other.run(one.config(workspace_dir=str(one.folder / "workspace 2")))
        assert caught.value.path == "cache_dir"
        other.checkout = one.checkout
        behave(one.checkout)
        assert other.run() == "completed"
    finally:
        one.go.parent.mkdir(parents=True, exist_ok=True)
        one.go.touch()
        thread.join(PATIENCE_S)
    assert other.run(one.config()) == "completed"


@pytest.mark.parametrize("deaf", [False, True])
def test_where_nobody_else_escalates_a_stop_the_backend_does(ride, deaf):
    """For a run on a thread of the panel, an unanswered stop interrupts, terminates and kills OneTrainer's process."""
    one = ride(**{"deaf_at" if deaf else "hang_at": 2})
    one.options |= {"in_process": True, "finish_step_s": 0.2, "interrupt_s": 0.2, "terminate_s": 0.2}
    one.give_after_step(2, Stop())
    assert one.run() == "stopped"
    assert not group_alive(one.group())


# -------------------------------------------------------------------------------------------------------- one bridge alone


def talk(bridge: Bridge, until: str) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    while True:
        body = bridge.next(PATIENCE_S)
        assert body is not None, f"it ended before {until}: {heard[-3:]}"
        heard.append(body)
        if body["type"] == until:
            return heard


@pytest.mark.exhaustive
def test_a_warm_bridge_carries_out_one_run_after_another(ride):
    """A wrong model path fails only its own run; the next one starts without another import."""
    one = ride()
    found = inspect(one.checkout)
    assert found.python is not None
    bridge = Bridge(found.python, found.folder)
    session = driver.Session(bridge, found, one.recorder, one.control)
    try:
        assert session.begin(one.config())
        with pytest.raises(
            ModelNotFoundError, match=r"could not load model: wrong \(.*No such file or directory: .wrong/model_index.json"
        ) as caught:
            session.execute_run(one.config(base_model_name="wrong"), RunOptions())
        assert caught.value.path == "base_model_name"
        for _ in range(2):
            assert session.execute_run(one.config(), RunOptions()) == "completed"
        behave(one.checkout, load_s=60)
        one.when(PhaseChanged, lambda event: one.control.give(Stop()) if event.phase == "loading" else None)
        assert session.execute_run(one.config(), RunOptions()) == "stopped"
        one.recorder.on = lambda event: None
        behave(one.checkout)
        assert session.execute_run(one.config(), RunOptions()) == "completed"
    finally:
        bridge.close()
    assert [type(event) for event in one.recorder.events].count(RunStarted) == 1
    assert not group_alive(bridge.pid)


def test_when_its_parent_is_dead_it_finishes_the_step_backs_up_saves_and_goes(ride):
    """End of file on its standard input is enough."""
    from onetrainer_gradio.backends.onetrainer.resolve import headless

    one = ride(step_s=0.02, child=True)
    found = inspect(one.checkout)
    assert found.python is not None
    bridge = Bridge(found.python, found.folder)
    try:
        talk(bridge, "imported")
        config = one.config(epochs=1000, backup_before_save=False)
        bridge.send({"type": "run", "config": headless(config, RunOptions()).document})
        talk(bridge, "step_done")
        assert bridge._process.stdin is not None
        bridge._process.stdin.close()
        assert bridge.status(PATIENCE_S) == 0
        assert not group_alive(bridge.pid)
    finally:
        bridge.close(0.0)
    assert Path(config.output_model_destination).is_file()
    assert len(list((one.folder / "workspace" / "backup").iterdir())) == 1


def test_its_lines_are_events_of_ours(ride):
    """It writes the journal's format."""
    from onetrainer_gradio.backends.onetrainer.resolve import headless

    one = ride()
    found = inspect(one.checkout)
    assert found.python is not None
    bridge = Bridge(found.python, found.folder)
    try:
        first = talk(bridge, "imported")
        assert [body["type"] for body in first] == ["hello", "imported"]
        bridge.send({"type": "run", "config": headless(one.config(), RunOptions()).document})
        bodies = talk(bridge, "run_done")
    finally:
        bridge.close()
    assert bodies[-1]["outcome"] == "completed"
    events = [decode(body) for body in bodies if body["type"] not in ("config", "run_done")]
    assert {type(event) for event in events} >= {PhaseChanged, RunPlanned, StepDone, BackupCreated, ModelSaved}


@pytest.mark.exhaustive
def test_backups_of_other_runs_stay_in_a_shared_workspace(tmp_path: Path) -> None:
    """With rolling backups OneTrainer deletes by name; the bridge leaves it
    only the run's own backups and those it resumes from.
    """
    settings = {"backup_after": 4, "backup_after_unit": "STEP", "rolling_backup": True, "rolling_backup_count": 1}
    first = Ride(tmp_path)
    first.options["run_id"] = "first"
    first.run(first.config(**settings))
    made = [Path(event.path) for event in first.recorder.of(BackupCreated)]
    assert len(made) > 2
    folder = made[0].parent
    assert [path.name for path in folder.iterdir()] == [made[-1].name]
    foreign = folder / "2020-01-01_00-00-00-backup-1-0-1"
    foreign.mkdir()
    second = Ride(tmp_path, first.checkout)
    second.options = {"run_id": "second"}
    second.run(second.config(**settings))
    newest = Path(second.recorder.of(BackupCreated)[-1].path)
    assert {path.name for path in folder.iterdir()} == {foreign.name, made[-1].name, newest.name}
    assert (run_of(made[-1]), run_of(newest), run_of(foreign)) == ("first", "second", "")
    third = Ride(tmp_path, first.checkout)
    third.options = {"run_id": "third", "resume_from": str(newest)}
    third.run(third.config(**{**settings, "epochs": 4}))
    assert third.recorder.of(Resumed)[0].run == "second"
    last = Path(third.recorder.of(BackupCreated)[-1].path)
    assert {path.name for path in folder.iterdir()} == {foreign.name, made[-1].name, last.name}


@pytest.mark.parametrize("fails", [False, True])
def test_a_linked_output_file_is_not_written_into(tmp_path: Path, fails: bool) -> None:
    """OneTrainer's savers write into the existing file; a run's own link to it must keep its bytes."""
    ride = Ride(tmp_path, **({"final_fails": 1} if fails else {}))
    config = ride.config()
    target = Path(config.output_model_destination)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"an earlier result")
    kept = tmp_path / "kept.safetensors"
    os.link(target, kept)
    if fails:
        with pytest.raises(DiskFullError):
            ride.run(config)
        assert target.read_bytes() == b"an earlier result"
    else:
        ride.run(config)
        assert target.read_bytes().startswith(b"weights of step")
    assert kept.read_bytes() == b"an earlier result"
    assert [path.name for path in target.parent.iterdir() if path.name.startswith(".unfinished")] == []


def test_what_a_killed_onetrainer_had_moved_aside_goes_back(tmp_path: Path) -> None:
    """The earlier result is restored, and nothing remains next to a newer one."""
    target = tmp_path / "models" / "lora.safetensors"
    target.parent.mkdir()
    dead, alive = target.parent / f".unfinished-999999999-old-{target.name}", target.parent / ".unfinished-1-old-x"
    for path in (dead, alive, target.parent / ".unfinished-old-y"):
        path.write_bytes(b"earlier")
    driver.put_back_replaced(target)
    assert target.read_bytes() == b"earlier"
    dead.write_bytes(b"earlier still")
    driver.put_back_replaced(target)
    assert target.read_bytes() == b"earlier"
    assert sorted(path.name for path in target.parent.iterdir()) == [alive.name, ".unfinished-old-y", target.name]
    driver.put_back_replaced(tmp_path / "nowhere" / "model")
