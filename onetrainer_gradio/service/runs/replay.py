"""Return the state of a run at any of its steps: values, position, events until then, and the samples that existed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.events import (
    BackupCreated,
    CommandReceived,
    ModelSaved,
    PhaseChanged,
    PhaseProgress,
    Resumed,
    RunEnded,
    RunPlanned,
    SampleGenerated,
    ValidationCompleted,
    WarningIssued,
    tag,
)
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.lineage import Link, chain_of
from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS
from onetrainer_gradio.service.runs.record import Run, RunStore
from onetrainer_gradio.service.runs.samples import SampleStore

MAX_EVENTS = 50
MAX_SAMPLES = 24
_LOOKED_BACK = 2000
_SHOWN = tuple(
    tag(kind)
    for kind in (
        *(RunPlanned, PhaseChanged, SampleGenerated, BackupCreated, ModelSaved),
        *(ValidationCompleted, WarningIssued, Resumed, CommandReceived, RunEnded),
    )
)
_PHASE = tag(PhaseChanged)
_HAS_STEP = "global_step"


@dataclass(frozen=True)
class _Moment:
    """A step of a chain: the run that made it, the number of its row, and when that was."""

    link: Link
    row: int
    values: dict[str, float]


class Replay:
    """The past of the runs of a store."""

    def __init__(self, runs: RunStore, samples: SampleStore) -> None:
        self._runs = runs
        self._samples = samples

    def at(self, run_id: str, step: int | None = None) -> dict[str, Any]:
        """Return the state of a run and of those that it resumes after global step ``step`` (None: its last one).

        ``run_id`` in the answer is the run of the chain that trained the step, whose settings applied.

        :raises RunNotFoundError: if there is no run with this ID.
        """
        links = chain_of(self._runs, run_id)
        moment = _moment(links, step)
        link = moment.link if moment else links[-1]
        at = moment.values["at"] if moment else math.inf
        upto = int(moment.values["global_step"]) if moment else 0
        first, last = _range(links)
        events = _events(link.run.journal, at, upto)
        state = link.run.state()
        return {
            "run_id": link.run.id,
            "name": link.run.name,
            "step": upto,
            "first_step": first,
            "last_step": last,
            "total_steps": state["total_steps"],
            "epoch": int(moment.values["epoch"]) if moment else 0,
            "at": at if math.isfinite(at) else None,
            "elapsed_s": _elapsed(link.run, at),
            "phase": next((event["phase"] for event in reversed(events) if event["type"] == _PHASE), None),
            "values": {name: value for name, value in (moment.values if moment else {}).items() if math.isfinite(value)},
            "events": events[-MAX_EVENTS:],
            "samples": self._samples_until(links, link, upto),
        }

    def _samples_until(self, links: Sequence[Link], link: Link, step: int) -> list[dict[str, Any]]:
        """Return the newest sample of each prompt until a step, at most some dozens."""
        newest: dict[tuple[Any, ...], dict[str, Any]] = {}
        earlier = links[: links.index(link) + 1]
        for each in reversed(earlier):
            limit = step if each.last_step is None else min(step, each.last_step)
            for sample in self._samples.of_run(each.run.id):
                if sample["step"] <= limit:
                    newest.setdefault((sample.get("kind"), sample.get("index"), sample.get("prompt"), sample.get("ema")), sample)
        ordered = sorted(newest.values(), key=lambda sample: (sample.get("kind") == "custom", sample.get("index") or 0))
        return ordered[:MAX_SAMPLES]


def _moment(links: Sequence[Link], step: int | None) -> _Moment | None:
    for link in reversed(links):
        limit = link.last_step if step is None else step if link.last_step is None else min(step, link.last_step)
        row = link.run.metrics.count_between(None, limit) - 1
        if row >= 0:
            columns = link.run.metrics.columns()
            values = link.run.metrics.rows(row, row + 1)[0]
            return _Moment(link, row, dict(zip(columns, map(float, values), strict=True)))
    return None


def _range(links: Sequence[Link]) -> tuple[int | None, int | None]:
    steps = []
    for link in links:
        rows = link.run.metrics.count_between(None, link.last_step)
        for row in (0, rows - 1) if rows else ():
            steps.append(int(link.run.metrics.rows(row, row + 1)[0][FIXED_COLUMNS.index("global_step")]))
    return (steps[0], steps[-1]) if steps else (None, None)


def _elapsed(run: Run, at: float) -> float | None:
    started = run.state()["started_at"]
    return max(0.0, at - started) if started is not None and math.isfinite(at) else None


def _events(journal: Journal, at: float, step: int) -> list[dict[str, Any]]:
    """Return the events until a time, oldest first; of a long journal only those of its last part before that."""
    length = journal.length()
    end = length if math.isinf(at) else _position(journal, length, at)
    entries = journal.since(max(0, end - _LOOKED_BACK), _LOOKED_BACK, without=(tag(PhaseProgress),))
    return [
        {"seq": entry.seq, **entry.body}
        for entry in entries
        # a sample or backup of this step is written after it, and belongs to it
        if entry.body["type"] in _SHOWN and (entry.seq <= end or entry.body.get(_HAS_STEP) == step > 0)
    ]


def _position(journal: Journal, length: int, at: float) -> int:
    """Return the number of the last event until a time, found by halving."""
    low, high = 0, length
    while low < high:
        middle = (low + high) // 2
        entry = next(iter(journal.since(middle, 1)), None)
        if entry is not None and float(entry.body["at"]) <= at:
            low = middle + 1
        else:
            high = middle
    return low
