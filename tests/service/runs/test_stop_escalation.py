"""The stop escalation always ends."""

from __future__ import annotations

import pytest

from onetrainer_gradio.commands import Stop
from onetrainer_gradio.service.runs.stop_escalation import MAX_EXTENSIONS, StopEscalation, StopTimeouts

TIMES = StopTimeouts(finish_step_s=60, interrupt_s=15, terminate_s=10, kill_s=5)
ONE = (Stop(id="a"),)
TWO = (*ONE, Stop(id="b"))


def escalate(
    escalation: StopEscalation, times: list[float], phase: str = "training", stops: tuple[Stop, ...] = ONE
) -> list[tuple[float, str]]:
    """Return the stages that begin when the escalation is checked at these times."""
    looks = [(now, escalation.look(now, stops, phase)) for now in times]
    return [(now, event.stage) for now, event in looks if event is not None]


def test_without_a_stop_nothing_happens() -> None:
    """A run without a stop request is never interrupted."""
    escalation = StopEscalation(TIMES)
    assert escalate(escalation, [0, 100, 10_000], stops=()) == []
    assert escalation.stage is None


def test_each_stage_begins_at_the_deadline_of_the_one_before() -> None:
    """The stages are: finish the step, interrupt, terminate, kill, and kill again until the process has exited."""
    stages = escalate(StopEscalation(TIMES), [0, 59, 60, 74, 75, 84, 85, 89, 90])
    assert stages == [(0, "finish_step"), (60, "interrupt"), (75, "terminate"), (85, "kill"), (90, "kill")]


def test_every_stage_names_its_deadline() -> None:
    """The page can show a countdown."""
    event = StopEscalation(TIMES).look(1000, ONE, "training")
    assert event is not None
    assert event.deadline == 1060


def test_a_second_stop_escalates_at_once() -> None:
    """Pressing Stop again means not waiting."""
    escalation = StopEscalation(TIMES)
    assert escalate(escalation, [0]) == [(0, "finish_step")]
    assert escalate(escalation, [3], stops=TWO) == [(3, "interrupt")]
    assert escalate(escalation, [17, 18], stops=TWO) == [(18, "terminate")]


def test_a_double_click_is_one_stop() -> None:
    """Two presses within a second don't cost the backup; Stop now counts at any time."""
    escalation = StopEscalation(TIMES)
    assert escalate(escalation, [0]) == [(0, "finish_step")]
    assert escalate(escalation, [0.5], stops=TWO) == []
    assert escalate(escalation, [0.7], stops=(*TWO, Stop(now=True))) == [(0.7, "interrupt")]
    assert escalate(StopEscalation(TIMES), [0], stops=TWO) == [(0, "finish_step")]


def test_stop_now_begins_with_the_interrupt() -> None:
    """Stop now skips the first stage."""
    assert escalate(StopEscalation(TIMES), [0], stops=(Stop(now=True),)) == [(0, "interrupt")]


def test_the_clock_starts_again_while_a_backup_is_written() -> None:
    """A backup that takes minutes is not cut off, and the page shows the new deadline."""
    escalation = StopEscalation(TIMES)
    escalate(escalation, [0])
    assert escalate(escalation, [50, 55, 109], "backing_up") == [(50, "finish_step")]
    assert escalate(escalation, [110], "backing_up") == [(110, "finish_step")]
    assert escalate(escalation, [120], "saving") == [(120, "finish_step")]
    assert escalate(escalation, [179, 180], "stopping") == [(180, "interrupt")]


@pytest.mark.slow
def test_a_backup_that_hangs_is_given_up() -> None:
    """The clock restarts a limited number of times, so a stop ends whatever the disk does."""
    escalation = StopEscalation(TIMES)
    times = [float(second) for second in range(2000)]
    stages = escalate(escalation, times, "backing_up")
    assert [stage for _, stage in stages].count("finish_step") == MAX_EXTENSIONS + 1
    assert [stage for _, stage in stages][-1] == "kill"
    assert next(now for now, stage in stages if stage == "interrupt") == 60 * MAX_EXTENSIONS + 1


def test_an_escalation_of_one_stage_stays_there() -> None:
    """A thread can't be forced to end."""
    escalation = StopEscalation(TIMES, stages=("finish_step",))
    assert escalate(escalation, [0, 60, 1000]) == [(0, "finish_step")]
    assert escalation.deadline == 60
