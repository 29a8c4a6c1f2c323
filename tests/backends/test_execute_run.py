"""The body of a training thread: whatever a backend does, the run ends with exactly one RunEnded."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest

from onetrainer_gradio.backends import BACKENDS, Backend, execute_run, find_backend
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.errors import DiskFullError, OutOfMemoryError, UnsupportedError
from onetrainer_gradio.events import Event, RunEnded
from onetrainer_gradio.service.runs.control import QueueControl
from tests.fakes.configs import small_config

HERE = "tests.backends.test_execute_run"
RAISED: dict[str, BaseException] = {
    "trainer": OutOfMemoryError("No memory is left", path="batch_size", expected="less", suggestion="Lower it."),
    "unknown": ValueError("odd"),
    "silent": KeyError(),
    "memory": MemoryError(),
    "disk": OSError(errno.ENOSPC, "No space left on device"),
    "exit": SystemExit(4),
    "text": SystemExit("bye"),
    "interrupt": KeyboardInterrupt(),
}


def completes(*_: object) -> str:
    return "completed"


def stops(*_: object) -> str:
    return "stopped"


def raises(config: TrainConfig, emit: object, control: object, options: RunOptions) -> str:
    raise RAISED[options.name]


TABLE = {"completes": f"{HERE}:completes", "stops": f"{HERE}:stops", "raises": f"{HERE}:raises"}


def carry(name: str, kind: str = "") -> tuple[object, RunEnded, str]:
    events: list[Event] = []
    console = io.StringIO()
    options = RunOptions(name=kind)
    outcome = execute_run(name, TrainConfig(), events.append, QueueControl(), options, table=TABLE, console=console)
    assert [type(event) for event in events] == [RunEnded]
    assert isinstance(events[0], RunEnded)
    return outcome, events[0], console.getvalue()


@pytest.mark.parametrize(
    ("name", "reason", "line"), [("completes", "completed", "Run finished."), ("stops", "stopped", "Run stopped.")]
)
def test_an_outcome_becomes_the_end(name: str, reason: str, line: str) -> None:
    """The backend's return value is the run's ending."""
    outcome, end, console = carry(name)
    assert (outcome, end.reason, end.error) == (reason, reason, None)
    assert [each.split(" ", 2)[2] for each in console.splitlines()] == [line]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("trainer", "OutOfMemoryError", "No memory is left"),
        ("unknown", "ValueError", "ValueError: odd"),
        ("silent", "KeyError", "KeyError"),
        ("memory", "OutOfMemoryError", "memory"),
        ("disk", "DiskFullError", "No space left"),
    ],
)
def test_what_a_backend_raises_is_the_cause(kind: str, error: str, words: str) -> None:
    """The cause is in the end event, the traceback on the console."""
    outcome, end, console = carry("raises", kind)
    assert end.error is not None
    assert (outcome, end.reason, end.error.type) == (None, "failed", error)
    assert words in end.error.message
    assert "Traceback" in console


def test_an_error_keeps_its_place_and_remedy() -> None:
    """The page can link to the field."""
    _, end, _ = carry("raises", "trainer")
    assert end.error is not None
    assert (end.error.path, end.error.expected, end.error.suggestion) == ("batch_size", "less", "Lower it.")


@pytest.mark.parametrize(("kind", "code"), [("exit", 4), ("text", 1)])
def test_a_backend_that_exits_the_process_failed(kind: str, code: int) -> None:
    """If a library calls exit, the cause is kept."""
    outcome, end, _ = carry("raises", kind)
    assert (outcome, end.reason, end.exit_code) == (None, "failed", code)


def test_an_interrupt_is_a_stop() -> None:
    """The second stage of the stop escalation ends the run as stopped."""
    outcome, end, _ = carry("raises", "interrupt")
    assert (outcome, end.reason, end.signal) == ("stopped", "stopped", "SIGINT")


@pytest.mark.parametrize("name", ["unheard-of", "no.such.module:run", f"{HERE}:nothing"])
def test_a_backend_that_is_not_there_fails_the_run(name: str) -> None:
    """A wrong name is the cause of the end, not a crash of the panel."""
    _, end, _ = carry(name)
    assert end.error is not None
    assert (end.error.type, name in end.error.message) == ("UnsupportedError", True)


def test_a_backend_is_named_by_the_table_or_by_its_place() -> None:
    """Tests and other packages provide their own."""
    found: Backend = find_backend("tests.fakes.rehearsal:run")
    assert (found.title, found.refusals(TrainConfig())) == ("tests.fakes.rehearsal:run", ())
    with pytest.raises(UnsupportedError, match="builtin"):
        find_backend("unheard-of")
    assert find_backend("builtin").title == "the built-in engine"


def test_what_is_neither_a_backend_nor_a_function_is_rejected() -> None:
    """The error contains the import path."""
    with pytest.raises(UnsupportedError, match="isn't a backend"):
        find_backend("onetrainer_gradio.backends:BACKENDS")


def test_the_backends_of_the_table_can_be_loaded_and_say_what_they_cannot_train() -> None:
    """Title and unsupported settings are available without torch; the built-in engine names a setting it doesn't support."""
    for name in BACKENDS:
        assert isinstance(find_backend(name), Backend)
    config = TrainConfig(multi_gpu=True)
    assert all("multi_gpu" in [finding.path for finding in find_backend(name).refusals(config)] for name in BACKENDS)


def test_the_rehearsal_has_the_shape_of_a_run(tmp_path: Path) -> None:
    """The stand-in emits events like a real backend: a plan before the first step, one end."""
    events: list[Event] = []
    options = RunOptions(tags=("steps=3",))
    execute_run("tests.fakes.rehearsal:run", small_config(tmp_path), events.append, QueueControl(), options)
    names = [type(event).__name__ for event in events]
    assert names.index("RunPlanned") < names.index("StepDone")
    assert names.count("StepDone") == 3
    assert (names[0], names[-1], names.count("RunEnded")) == ("RunStarted", "RunEnded", 1)


def test_what_fails_before_the_backend_ends_the_run() -> None:
    """If an earlier result can't be kept, the new run fails before training."""
    events: list[Event] = []

    def before() -> None:
        raise DiskFullError("No room for the earlier model", path="output_model_destination")

    execute_run(
        "raises", TrainConfig(), events.append, QueueControl(), RunOptions(), table=TABLE, console=io.StringIO(), before=before
    )
    (end,) = events
    assert isinstance(end, RunEnded)
    assert end.error is not None
    assert (end.reason, end.error.type, end.error.path) == ("failed", "DiskFullError", "output_model_destination")
