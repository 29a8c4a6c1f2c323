"""Recognize a run that makes no progress, by time in which the panel itself ran: a machine that slept is no stalled run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from onetrainer_gradio.service.notifications.preferences import Preferences

# Steps that determine the typical time of a step.
USUAL_STEPS = 50
# No single check counts for more: between two checks that are further apart, the machine was suspended or the panel stopped.
MAX_AT_ONCE_S = 15.0

Trouble = Literal["", "stalled", "waiting"]


@dataclass
class StallWatch:
    """How long a run has been without progress, or paused. ``mark`` is the last progress, which names one stall."""

    silent_s: float = 0.0
    paused_s: float = 0.0
    mark: tuple[Any, ...] = ()

    def look(self, state: Mapping[str, Any], typical_s: float | None, passed_s: float, preferences: Preferences) -> Trouble:
        """Return what is wrong with a run in ``state``, ``passed_s`` after the last look; its steps take ``typical_s``."""
        passed_s = min(max(0.0, passed_s), MAX_AT_ONCE_S)
        mark = (state["row"], state["seq"], state["phase"], state["phase_done"])
        if mark != self.mark or state["phase"] == "queued":
            self.mark, self.silent_s = mark, 0.0
        else:
            self.silent_s += passed_s
        self.paused_s = self.paused_s + passed_s if state["paused"] else 0.0
        if state["paused"]:
            self.silent_s = 0.0
            return "waiting" if self.paused_s >= preferences.paused_s else ""
        return "stalled" if self.silent_s >= self.limit_s(state, typical_s, preferences) else ""

    @staticmethod
    def limit_s(state: Mapping[str, Any], typical_s: float | None, preferences: Preferences) -> float:
        """Return after how many seconds without progress a run counts as stalled."""
        if state["phase"] != "training" or typical_s is None:
            return preferences.quiet_s
        return max(preferences.stalled_min_s, preferences.stalled_factor * typical_s)
