"""When a run counts as stalled, and when as waiting for a person."""

from __future__ import annotations

from typing import Any

from onetrainer_gradio.service.notifications.preferences import Preferences
from onetrainer_gradio.service.notifications.stall import MAX_AT_ONCE_S, StallWatch

PREFERENCES = Preferences(stalled_factor=10, stalled_min_s=60, quiet_s=600, paused_s=300)


def state(**values: Any) -> dict[str, Any]:
    return {"row": 5, "seq": 9, "phase": "training", "phase_done": 0, "paused": False} | values


def seconds_until(watch: StallWatch, trouble: str, typical_s: float | None, **values: Any) -> float:
    """Return the seconds after which the watch, checking the same state every 5 seconds, reports the problem."""
    watch.look(state(**values), typical_s, 5.0, PREFERENCES)
    for number in range(1, 1000):
        if watch.look(state(**values), typical_s, 5.0, PREFERENCES) == trouble:
            return number * 5.0
    return float("inf")


def test_a_run_stalls_after_this_many_times_its_usual_step() -> None:
    assert seconds_until(StallWatch(), "stalled", 20.0) == 200
    assert seconds_until(StallWatch(), "stalled", 0.1) == 60  # not before the minimum time
    assert seconds_until(StallWatch(), "stalled", None) == 600  # no step yet
    assert seconds_until(StallWatch(), "stalled", 20.0, phase="sampling") == 600


def test_each_step_and_each_event_counts_as_progress() -> None:
    watch = StallWatch()
    for number in range(200):
        changed = {"row": 5 + number // 3, "phase_done": number % 3}
        assert watch.look(state(**changed), 1.0, 15.0, PREFERENCES) == ""


def test_time_in_which_the_panel_did_not_run_does_not_count() -> None:
    """A suspended laptop and a clock that was set back don't make a run stalled."""
    watch = StallWatch()
    watch.look(state(), 1.0, 5.0, PREFERENCES)
    assert watch.look(state(), 1.0, 8 * 3600.0, PREFERENCES) == ""
    assert watch.silent_s == MAX_AT_ONCE_S
    assert watch.look(state(), 1.0, -100.0, PREFERENCES) == ""
    assert watch.silent_s == MAX_AT_ONCE_S


def test_a_paused_run_waits_for_someone_and_is_not_stalled() -> None:
    watch = StallWatch()
    assert seconds_until(watch, "waiting", 1.0, paused=True, phase="paused") == 295  # the first check counts as well
    assert watch.look(state(), 1.0, 5.0, PREFERENCES) == ""
    assert watch.paused_s == 0


def test_a_queued_run_waits_for_nobody() -> None:
    assert seconds_until(StallWatch(), "stalled", None, phase="queued") == float("inf")
