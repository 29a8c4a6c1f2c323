"""Errors in the checkout's Python outside of training are reported, the run ends, and the next one can start.

Covers ``backends/onetrainer/worker/``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from onetrainer_gradio.backends.onetrainer.bridge import Bridge
from onetrainer_gradio.backends.onetrainer.checkout import inspect
from onetrainer_gradio.backends.onetrainer.resolve import headless
from onetrainer_gradio.backends.onetrainer.worker.errors import OutcomeProbe
from onetrainer_gradio.backends.onetrainer.worker.facts import defaults_of
from onetrainer_gradio.backends.onetrainer.worker.files import delete_backup
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.paths.backup_chain import chain_of_run, write_chain
from tests.backends.onetrainer.standin import behave, set_up
from tests.fakes.configs import small_config

pytestmark = pytest.mark.slow

needs_interrupt = pytest.mark.skipif(sys.platform == "win32", reason="an interrupt is another thing there")

PATIENCE_S, POLL_S = 30.0, 0.02
Body = dict[str, Any]
EVERY_2 = {"sample_after": 2, "sample_after_unit": "STEP"}


class Line:
    """The bridge on a stand-in checkout, without our other layers: its input and output."""

    def __init__(self, folder: Path, behavior: dict[str, object], code: str = "") -> None:
        self.folder = folder
        self.checkout = set_up(folder / "OneTrainer", **behavior)
        if code:
            self.insert(code)
        found = inspect(self.checkout)
        assert found.python is not None
        self.bridge = Bridge(found.python, found.folder)

    def insert(self, code: str) -> None:
        """Return code that the stand-in's trainer runs in addition when it starts."""
        path = self.checkout / "modules" / "trainer" / "GenericTrainer.py"
        body = "\n".join(f"    {line}" for line in code.splitlines())
        more = f"\n\ndef more(self):\n{body}\n    started(self)\n\n\nstarted, GenericTrainer.start = GenericTrainer.start, more\n"
        path.write_text(path.read_text() + more)

    def run(self, on: Callable[[Body], None] = lambda body: None, **settings: object) -> list[Body]:
        """Run once and return all messages until it is done; ``on`` is called with each one immediately."""
        config = small_config(self.folder, **({"epochs": 1, "tensorboard": False} | settings))
        self.bridge.send({"type": "run", "config": headless(config, RunOptions()).document})
        received: list[Body] = []
        while not received or received[-1]["type"] != "run_done":
            body = self.bridge.next(PATIENCE_S)
            assert body is not None, f"it ended: {received[-3:]}"
            received.append(body)
            on(body)
        return received

    def at(self, phase: str, action: Callable[[], None]) -> Callable[[Body], None]:
        """Act when the run enters a phase for the first time."""
        seen = threading.Event()

        def on(body: Body) -> None:
            if body["type"] == "phase_changed" and body["phase"] == phase and not seen.is_set():
                seen.set()
                action()

        return on

    def interrupt_there(self, before: Callable[[], object] = lambda: None) -> None:
        """Send Ctrl-C once the stand-in is in its slow section."""

        def interrupt() -> None:
            until = time.monotonic() + PATIENCE_S
            while not (self.checkout / "arrived").exists() and time.monotonic() < until:
                time.sleep(POLL_S)
            before()
            self.bridge.interrupt()

        threading.Thread(target=interrupt, daemon=True).start()

    def ask(self, kind: str, **values: object) -> None:
        """Return a command, with its kind as its number."""
        self.bridge.send({"type": kind, "id": kind, **values})


@pytest.fixture
def line(tmp_path) -> Iterator[Callable[..., Line]]:
    lines: list[Line] = []

    def begin(code: str = "", **behavior: object) -> Line:
        lines.append(Line(tmp_path, behavior, code))
        return lines[-1]

    yield begin
    for one in lines:
        one.bridge.close()


def of(kind: str, received: list[Body]) -> list[Body]:
    return [body for body in received if body["type"] == kind]


def warnings(received: list[Body]) -> list[str]:
    return [body["code"] for body in of("warning_issued", received)]


def answer(command: str, received: list[Body]) -> Body:
    found = [body for body in of("command_completed", received) if body["command_id"] == command]
    assert len(found) == 1, f"{command} was answered {len(found)} times"
    return found[0]


def child_of(one: Line) -> int:
    return int((one.checkout / "child.pid").read_text())


# ------------------------------------------------------------------------------------------------------------- the end of a run


def test_charts_that_cannot_be_closed_keep_nothing_from_being_cleaned_up(line):
    """The run's own cause is reported, its chart server ends, failed cleanup is reported, and the next run trains."""
    one = line(crash_at=2, close_fails=True, child=True)
    received = one.run()
    assert (received[-1]["outcome"], received[-1]["error"]["message"]) == ("failed", "the tensors do not match")
    assert warnings(received) == ["clean_up"]
    assert "the charts are in disorder" in of("warning_issued", received)[0]["message"]
    assert not psutil.pid_exists(child_of(one))
    behave(one.checkout)
    assert one.run()[-1]["outcome"] == "completed"


KEEPS_TRACK = """
import builtins, gc, weakref
gc.disable()
before = getattr(builtins, "before", lambda: None)
with open("left.txt", "a") as file:
    file.write(f"{before() is not None} ")
builtins.before = weakref.ref(self)
def step(number):
    try:
        raise KeyError("prompt_embeds")
    except KeyError as error:
        raise ValueError("the tensors do not match") from error
if behavior("chain"):
    self._step = step
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "behavior", [{"chain": True}, {"chain": True, "close_fails": True}, {}], ids=["failed", "twice", "completed"]
)
def test_a_run_leaves_no_trainer_in_memory(line, behavior):
    """Neither an error nor its cause keeps the trainer or its model after the run."""
    one = line(KEEPS_TRACK.strip(), **behavior)
    for _ in range(3):
        one.run()
    assert (one.checkout / "left.txt").read_text().split() == ["False"] * 3


@needs_interrupt
def test_an_interrupt_while_it_is_cleaned_up_hides_no_outcome(line):
    """Charts that never close are abandoned; the run ends with its own cause,
    its chart server is gone, and the next run trains.
    """
    one = line(crash_at=2, close_hangs=True, child=True)
    one.interrupt_there()
    received = one.run()
    assert (received[-1]["outcome"], received[-1]["error"]["kind"]) == ("failed", "ValueError")
    assert not psutil.pid_exists(child_of(one))
    behave(one.checkout)
    assert one.run()[-1]["outcome"] == "completed"


@pytest.mark.exhaustive
@needs_interrupt
def test_what_was_asked_for_is_answered_whatever_fails(line):
    """An unfinished command is rejected, even if the run's end fails."""
    one = line(hang_at=2, close_fails=True)
    commands = ("sample_custom", "sample_default", "backup_now", "save_now", "pause")

    def ask() -> None:
        for command in commands:
            one.ask(command)
        time.sleep(1.0)  # until it has read them: the supervisor answers what is still in the pipe

    one.interrupt_there(ask)
    received = one.run()
    assert (received[-1]["outcome"], warnings(received)) == ("interrupted", ["clean_up"])
    assert {answer(command, received)["outcome"] for command in commands} == {"refused"}


@needs_interrupt
@pytest.mark.parametrize(
    ("behavior", "settings"),
    [
        ({"sample_s": 6000}, EVERY_2),
        ({"write_s": 60}, {"save_every": 2, "save_every_unit": "STEP"}),
        ({"write_s": 60}, {"backup_after": 2, "backup_after_unit": "STEP"}),
        ({"hang_at": 2}, {}),
    ],
    ids=["sampling", "saving", "backing up", "a step"],
)
def test_an_interrupt_gets_out_of_everything(line, behavior, settings):
    """None of our listeners catches it; no partial file remains, and the next run trains."""
    one = line(**behavior, child=True)
    one.interrupt_there()
    received = one.run(**settings)
    assert (received[-1]["outcome"], received[-1]["error"]) == ("interrupted", None)
    assert warnings(received) == []
    written = [path for name in ("backup", "save") for path in (one.folder / "workspace" / name).rglob("*")]
    assert written == []
    assert not psutil.pid_exists(child_of(one))
    behave(one.checkout)
    assert one.run()[-1]["outcome"] == "completed"


@needs_interrupt
def test_an_interrupt_between_two_runs_ends_it_with_what_it_started(line):
    """Whatever exception leaves the script, it exits, and no process of its group remains."""
    one = line(child=True, epoch_steps=1)
    received = one.run()
    assert received[-1]["outcome"] == "completed"
    one.bridge.interrupt()
    assert one.bridge.status(PATIENCE_S) not in (None, 0)
    assert not psutil.pid_exists(child_of(one))


# --------------------------------------------------------------------------------------------------------------- small places


def test_a_chart_value_that_is_no_number_is_reported_once(line):
    """OneTrainer's charts get it unchanged, and training continues."""
    one = line("for step in range(3):\n    self.tensorboard.add_scalar('kourkoutas/beta2', [1, 2], step)")
    received = one.run()
    assert warnings(received) == ["bridge_scalar"]
    assert "kourkoutas/beta2" in of("warning_issued", received)[0]["message"]
    assert (received[-1]["outcome"], len(of("step_done", received))) == ("completed", 5)


def test_an_image_that_was_not_written_is_reported(line):
    """OneTrainer doesn't report it; this includes samples that nobody requested."""
    one = line(sample_lost=True)
    received = one.run(**EVERY_2)
    assert received[-1]["outcome"] == "completed"
    assert [(body["code"], body["message"]) for body in of("warning_issued", received)] == [
        ("sampling_failed", "Sampling failed: OneTrainer wrote no image")
    ]


@pytest.mark.exhaustive
def test_an_image_of_which_nothing_can_be_reported_is_reported(line):
    """OneTrainer would only print the missing value; the request is answered."""
    one = line(no_scale=True, step_s=0.05)
    received = one.run(one.at("training", lambda: one.ask("sample_custom", params={"prompt": "x", "width": 8, "height": 8})))
    assert (received[-1]["outcome"], warnings(received)) == ("completed", ["bridge_callback"])
    assert "cfg_scale" in of("warning_issued", received)[0]["message"]
    assert answer("sample_custom", received)["outcome"] == "refused"


@pytest.mark.exhaustive
@pytest.mark.parametrize("params", [5, ["a prompt"], "a prompt", None])
def test_parameters_of_another_shape_are_rejected(line, params):
    """The sample is rejected with the reason; training continues."""
    one = line(step_s=0.05)
    received = one.run(one.at("training", lambda: one.ask("sample_custom", params=params)))
    assert answer("sample_custom", received)["outcome"] == "refused"
    assert "these are not sampling parameters" in answer("sample_custom", received)["reason"]
    assert received[-1]["outcome"] == "completed"


@pytest.mark.exhaustive
def test_half_a_file_that_cannot_be_removed_is_reported(line):
    """It could be mistaken for a complete one."""
    one = line("def refuse(path):\n    raise PermissionError(13, 'Permission denied', path)\nos.unlink = refuse", save_fails=True)
    received = one.run(save_every=2, save_every_unit="STEP")
    half = Path(of("save_failed", received)[0]["path"])
    assert half.is_file()
    outcome_of = [body["message"] for body in of("warning_issued", received) if body["code"] == "half_written"]
    assert any(str(half) in message and "Permission denied" in message for message in outcome_of)


def test_nothing_written_is_nothing_half_written(line):
    """If a file is in place of the models folder, only this save is rejected."""
    one = line()
    workspace = one.folder / "workspace"
    workspace.mkdir()
    (workspace / "save").touch()
    received = one.run(save_every=2, save_every_unit="STEP")
    assert (received[-1]["outcome"], warnings(received)) == ("completed", [])
    assert "FileExistsError" in of("save_failed", received)[0]["error"]["message"]


def test_while_paused_a_failure_is_the_commands_own(line):
    """If there isn't enough memory to move the model, the backup is rejected with the reason, and the run stays paused."""
    one = line(step_s=0.05)
    pause = one.at("training", lambda: one.ask("pause"))
    backup = one.at("paused", lambda: one.ask("backup_now"))

    def on(body: Body) -> None:
        pause(body)
        if body["type"] == "phase_changed" and body["phase"] == "paused":
            behave(one.checkout, evict_fails=True)
        backup(body)
        if body["type"] == "command_completed" and body["command"] == "backup_now":
            behave(one.checkout)
            one.ask("stop")

    received = one.run(on, epochs=200)
    assert answer("backup_now", received)["outcome"] == "refused"
    assert "no memory to move it to" in answer("backup_now", received)["reason"]
    assert received[-1]["outcome"] == "stopped"
    phases = [body["phase"] for body in of("phase_changed", received)]
    assert "training" not in phases[phases.index("paused") :]


@pytest.mark.exhaustive
def test_an_older_revision_backs_up_while_paused_too(line):
    """Its models have another method for leaving the GPU memory."""
    one = line(before_evict=True, step_s=0.05)
    pause = one.at("training", lambda: one.ask("pause"))
    backup = one.at("paused", lambda: one.ask("backup_now"))

    def on(body: Body) -> None:
        pause(body)
        backup(body)
        if body["type"] == "command_completed" and body["command"] == "backup_now":
            one.ask("resume")

    received = one.run(on)
    assert answer("backup_now", received)["outcome"] == "done"
    assert (one.checkout / "moved.txt").read_text() == "cpu"
    assert received[-1]["outcome"] == "completed"


def test_lines_that_are_no_documents_are_ignored(line):
    """Later lines are processed."""
    one = line()
    stdin = one.bridge._process.stdin
    assert stdin is not None
    stdin.write(b'{"type": "run"\n[1]\n\n7\n')
    stdin.flush()
    assert one.run()[-1]["outcome"] == "completed"


# ------------------------------------------------------------------------------------------------------------------- its parts


def test_a_witness_reports_and_lets_everything_pass():
    """It is also called without an error."""
    seen: list[BaseException | None] = []
    with OutcomeProbe(seen.append):
        pass
    for error in (ValueError("a"), KeyboardInterrupt()):
        with pytest.raises(type(error)), OutcomeProbe(seen.append):
            raise error
    assert [type(error) for error in seen] == [type(None), ValueError, KeyboardInterrupt]


def test_an_interrupt_gets_past_a_witness_that_fails():
    """This holds if reporting fails, too; of an ordinary error, both are reported."""

    def fail(error: BaseException | None) -> None:
        raise TypeError("cannot tell")

    with pytest.raises(KeyboardInterrupt), OutcomeProbe(fail):
        raise KeyboardInterrupt
    with pytest.raises(TypeError, match="cannot tell") as caught, OutcomeProbe(fail):
        raise ValueError("the cause")
    assert isinstance(caught.value.__context__, ValueError)


def test_a_class_that_needs_arguments_has_no_defaults_to_report():
    """Any other error there is unexpected."""

    class Asks:
        @staticmethod
        def default_values(model_type: str) -> str:
            return model_type

    class Fails:
        @staticmethod
        def default_values() -> str:
            raise LookupError("its file is gone")

    assert defaults_of(Asks) is None
    with pytest.raises(LookupError):
        defaults_of(Fails)


def test_what_others_put_into_a_backup_outlives_it(tmp_path):
    """Only files in the backup's list are deleted; a backup without added files is removed."""
    for name in ("plain", "noted"):
        (tmp_path / name / "lora").mkdir(parents=True)
        for file in ("meta.json", "lora/lora.safetensors"):
            (tmp_path / name / file).write_text("ours")
        write_chain(tmp_path / name, chain_of_run("a", None))
    (tmp_path / "noted" / "lora" / "notes.txt").write_text("mine")
    for name in ("plain", "noted"):
        delete_backup(str(tmp_path / name))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "noted",
        "noted/lora",
        "noted/lora/notes.txt",
    ]
