"""Define the kinds of notifications, and the notification itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["finished", "stopped", "failed", "loss_not_finite", "stalled", "waiting", "disk_low", "quota", "push_failed"]
Level = Literal["info", "success", "warning", "failure"]


@dataclass(frozen=True)
class KindFacts:
    """What a kind is called, how serious it is, and whether it is on unless someone turns it off."""

    label: str
    level: Level
    on: bool = True


KINDS: Mapping[Kind, KindFacts] = {
    "finished": KindFacts("A run finished", "success"),
    "stopped": KindFacts("A run was stopped", "info", on=False),
    "failed": KindFacts("A run failed or crashed", "failure"),
    "loss_not_finite": KindFacts("The loss is NaN or infinite", "failure"),
    "stalled": KindFacts("A run makes no progress", "warning"),
    "waiting": KindFacts("A run or the queue waits for you", "warning"),
    "disk_low": KindFacts("The disk is nearly full", "warning"),
    "quota": KindFacts("A quota is used up", "warning"),
    "push_failed": KindFacts("The data folder can't be pushed to the Hugging Face Hub", "warning"),
}


@dataclass(frozen=True, kw_only=True)
class Notification:
    """Something that people want to learn of without looking at the page. There is one per ``key``, also after a restart.

    ``at`` is in seconds since the epoch. ``sample_id`` and ``sample_file`` are the newest sample of the run, if it has one.
    """

    key: str
    kind: Kind
    at: float
    title: str
    text: str = ""
    run_id: str = ""
    sample_id: str = ""
    sample_file: str = ""

    def public(self) -> dict[str, Any]:
        """Return the notification as in the API, without paths."""
        sample = f"/api/samples/{self.sample_id}" if self.sample_id else ""
        return {
            "kind": self.kind,
            "level": KINDS[self.kind].level,
            "at": self.at,
            "title": self.title,
            "text": self.text,
            "run_id": self.run_id,
            "thumbnail": f"{sample}/thumbnail" if sample else "",
        }
