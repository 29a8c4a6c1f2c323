"""The state that a journal leads to."""

from __future__ import annotations

import json
import math

import pytest

from onetrainer_gradio.events import (
    CommandCompleted,
    CommandReceived,
    ErrorInfo,
    Event,
    PhaseChanged,
    PhaseProgress,
    RunEnded,
    RunPlanned,
    RunStarted,
    StopEscalated,
    WarningIssued,
)
from onetrainer_gradio.service.runs.metrics import column_names, row_of
from onetrainer_gradio.service.runs.view import RunView, idle_state, permissions
from tests.service.runs.test_metrics import step

PLAN = RunPlanned(
    total_steps=200,
    steps_per_epoch=20,
    total_updates=100,
    epochs=10,
    first_step=0,
    images=20,
    trainable_parameters=5,
    learning_rates=("unet",),
)


def folded(*events: Event) -> RunView:
    view = RunView("id", "name", "rehearsal")
    for seq, event in enumerate(events, start=1):
        view.apply(event, seq)
    return view


@pytest.mark.parametrize(
    ("events", "status", "training"),
    [
        ((), "starting", True),
        ((PhaseChanged(phase="queued"),), "starting", True),
        ((PhaseChanged(phase="loading"),), "starting", True),
        ((PhaseChanged(phase="caching"),), "starting", True),
        ((PhaseChanged(phase="training"),), "running", True),
        ((PhaseChanged(phase="sampling"),), "running", True),
        ((PhaseChanged(phase="paused"),), "running", True),
        ((PhaseChanged(phase="training"), StopEscalated(stage="finish_step", deadline=1.0)), "stopping", True),
        ((RunEnded(reason="completed"),), "completed", False),
        ((RunEnded(reason="stopped"),), "completed", False),
        ((RunEnded(reason="failed"),), "error", False),
        ((RunEnded(reason="lost"),), "error", False),
    ],
)
def test_phases_and_ends_are_projected_on_the_seven_words(events: tuple[Event, ...], status: str, training: bool) -> None:
    """Clients of the first API use seven status words."""
    state = folded(*events).state()
    assert (state["status"], state["is_training"]) == (status, training)


def test_the_error_of_a_failed_run_is_one_sentence_and_an_object() -> None:
    """A client shows the sentence, the page the whole error."""
    info = ErrorInfo(type="OutOfMemoryError", message="No memory is left.", path="batch_size", suggestion="Lower it.")
    state = folded(
        RunStarted(backend="b", pid=1, at=10.0), RunEnded(reason="failed", error=info, signal="SIGKILL", at=15.0)
    ).state()
    assert (state["error"], state["error_info"]["path"], state["end_signal"]) == ("No memory is left.", "batch_size", "SIGKILL")
    assert (state["elapsed_s"], state["phase"]) == (5.0, None)


def test_speed_and_time_left_count_micro_batches() -> None:
    """Speed has the unit of the step counter: two micro-batches an update at a tenth of a second are twenty a second."""
    view = folded(PLAN, PhaseChanged(phase="training"))
    view.apply_rows(column_names(("unet",)), [row_of(step(number)) for number in range(1, 81)], 0)
    state = view.state()
    assert state["progress"] == {"epoch": 0, "epoch_step": 80, "epoch_sample": 80, "global_step": 160}
    assert (state["max_step"], state["max_epoch"], state["total_steps"], state["update_step"]) == (20, 10, 200, 80)
    assert state["speed"] == pytest.approx(20.0)
    assert state["samples_per_second"] == pytest.approx(40.0)
    assert state["eta_s"] == pytest.approx(2.0)
    assert (state["loss"], state["learning_rates"]) == (0.5, {"unet": 1e-4})


def test_rows_that_were_skipped_do_not_look_like_speed() -> None:
    """A view that reads again after a long time measures only over the rows it reads."""
    view = folded(PLAN)
    names = column_names(("unet",))
    view.apply_rows(names, [row_of(step(number)) for number in range(1, 11)], 0)
    view.apply_rows(names, [row_of(step(number)) for number in range(5000, 5011)], 4999)
    assert view.state()["speed"] == pytest.approx(20.0)


def test_a_loss_that_is_no_number_is_null() -> None:
    """The state is valid JSON whatever the loss is."""
    view = folded(PLAN)
    view.apply_rows(column_names(("unet",)), [row_of(step(1, math.nan, (math.inf,), None))], 0)
    state = view.state()
    assert (state["loss"], state["grad_norm"], state["learning_rates"]) == (None, None, {"unet": None})
    json.dumps(state, allow_nan=False)


def test_a_pause_lasts_while_a_sample_is_generated() -> None:
    """Sampling during a pause doesn't end it."""
    view = folded(PhaseChanged(phase="training"), PhaseChanged(phase="paused"), PhaseChanged(phase="sampling"))
    assert view.state()["paused"]
    view.apply(PhaseChanged(phase="training"), 4)
    assert not view.state()["paused"]


def test_progress_belongs_to_its_phase() -> None:
    """A new phase begins without the progress of the old one."""
    view = folded(PhaseChanged(phase="caching"), PhaseProgress(phase="caching", done=40, total=200))
    assert (view.state()["phase_done"], view.state()["phase_total"]) == (40, 200)
    view.apply(PhaseChanged(phase="training"), 3)
    assert (view.state()["phase_done"], view.state()["phase_total"]) == (0, 0)


def test_answers_and_warnings_are_kept() -> None:
    """A later query returns the answer."""
    answer = CommandCompleted(command_id="x", command="pause", outcome="done")
    view = folded(answer, WarningIssued(code="a", message="one"), WarningIssued(code="b", message="two"))
    assert view.answers == {"x": answer}
    assert (view.state()["warnings_count"], view.state()["warning"], view.state()["seq"]) == (2, "two", 3)


def allowed(state: dict[str, object], *, queue_full: bool = False) -> set[str]:
    can, why = permissions(state, queue_full=queue_full)
    assert all((why[action] is None) == possible for action, possible in can.items())
    return {action for action, possible in can.items() if possible}


def test_what_can_be_asked_for_depends_on_the_state() -> None:
    """A button is enabled if its call would succeed; otherwise a sentence explains why not."""
    everything = {"stop", "pause", "sample", "backup", "save"}
    assert allowed(idle_state(initialized=False)) == {"start"}
    assert allowed(folded(PhaseChanged(phase="queued")).state()) == {"stop"}
    assert allowed(folded(PhaseChanged(phase="loading")).state()) == everything
    assert allowed(folded(PhaseChanged(phase="training")).state()) == everything
    assert allowed(folded(PhaseChanged(phase="paused")).state()) == everything - {"pause"} | {"resume"}
    assert allowed(folded(StopEscalated(stage="finish_step", deadline=0.0)).state()) == {"start", "stop"}
    assert allowed(folded(StopEscalated(stage="finish_step", deadline=0.0)).state(), queue_full=True) == {"stop"}
    assert allowed(folded(RunEnded(reason="lost")).state()) == {"start"}


def test_without_a_run_the_state_has_the_same_keys() -> None:
    """A client doesn't have to check whether a key exists."""
    idle = idle_state(initialized=True)
    assert idle.keys() == folded().state().keys()
    assert (idle["status"], idle["is_training"], idle["run_id"], idle["error"]) == ("initialized", False, None, None)


def test_a_command_waits_from_its_receipt_to_its_answer() -> None:
    """This holds if the answer is read first; an ended run has no pending commands."""
    received = (CommandReceived(command_id="x", command="sample_default"), CommandReceived(command_id="y", command="backup_now"))
    view = folded(*received)
    assert [command["command_id"] for command in view.state()["waiting_commands"]] == ["x", "y"]
    view.apply(CommandCompleted(command_id="x", command="sample_default", outcome="done"), 3)
    view.apply(CommandReceived(command_id="x", command="sample_default"), 4)
    assert [command["command"] for command in view.state()["waiting_commands"]] == ["backup_now"]
    view.apply(RunEnded(reason="stopped"), 5)
    assert view.state()["waiting_commands"] == []
