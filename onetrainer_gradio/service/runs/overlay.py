"""Put the curves of several runs into one answer of bounded size: by step, epoch or time, with the extremes of each stretch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from onetrainer_gradio.errors import ConfigValueError, RunNotFoundError
from onetrainer_gradio.events import ValidationCompleted, tag
from onetrainer_gradio.service.runs.lineage import Link, chain_of, shares
from onetrainer_gradio.service.runs.metric_blocks import (
    BLOCK_ROWS,
    COUNT,
    FIRST,
    HIGH,
    LOW,
    SPEED,
    TOTAL,
    Blocks,
    MetricBlocks,
    Summary,
    as_units,
    merged,
    with_speed,
)
from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS
from onetrainer_gradio.service.runs.record import RunStore

Axis = Literal["step", "epoch", "time"]
AXES: tuple[Axis, ...] = get_args(Axis)
MAX_RUNS = 30
MAX_METRICS = 24
MAX_CURVES = 150
MAX_POINTS = 2000
MAX_BYTES = 96_000
"""The maximum size of an answer as JSON, however long the runs are."""
ALL = "all"
LEARNING_RATE, VALIDATION = "lr", "validation"
_PLAIN = ("loss", "smooth_loss", "grad_norm", SPEED)
# Up to this number of rows, they are read one by one, so that a zoom shows each step; more of them in blocks.
_RAW_ROWS = 1 << 15
_MIN_POINTS = 8
_BYTES_OF_X, _BYTES_OF_VALUE, _BYTES_OF_RUN = 9, 8, 300
_DIGITS, _X_DIGITS = 4, 7
_POSITION = {name: index for index, name in enumerate(FIXED_COLUMNS)}
_VALIDATED = tag(ValidationCompleted)

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """What a chart shows: the metrics, the horizontal axis, the visible part of it, and the number of points per curve."""

    metrics: tuple[str, ...] = ("loss",)
    axis: Axis = "step"
    points: int = 1000
    first: float | None = None
    last: float | None = None
    chain: bool = True


@dataclass(frozen=True)
class _Stretch:
    """The rows of one run of a chain, and how its rows are placed on the axis."""

    link: Link
    summary: Summary
    rows: int
    axis: Axis
    epoch_steps: int
    began: float
    offset: float
    validations: tuple[tuple[float, float, dict[str, float]], ...] = ()

    def x(self, first: Values) -> Values:
        """Return the positions on the axis of units, from the values of their first rows (shape: units, columns)."""
        if self.axis == "epoch":
            within = first[:, _POSITION["epoch_step"]] / self.epoch_steps if self.epoch_steps else 0.0
            return first[:, _POSITION["epoch"]] + within
        if self.axis == "time":
            return np.maximum.accumulate(self.offset + first[:, _POSITION["at"]] - self.began)
        return first[:, _POSITION["global_step"]]

    def units(self, first: float | None, last: float | None) -> Blocks:
        """Return the rows between two positions: each as a separate unit if there are few, else in blocks."""
        blocks = self.summary.blocks[: self.rows // BLOCK_ROWS]
        x = self.x(blocks[:, FIRST]) if len(blocks) else np.empty(0)
        low = 0 if first is None else max(0, int(np.searchsorted(x, first, side="right")) - 1)
        high = len(x) if last is None else int(np.searchsorted(x, last, side="right"))
        begin, end = low * BLOCK_ROWS, self.rows if high == len(x) else high * BLOCK_ROWS
        reader = self.link.run.metrics
        if end - begin > _RAW_ROWS:
            rest = len(blocks) * BLOCK_ROWS
            parts = [blocks[low:high]]
            if end > rest:
                tail = as_units(with_speed(reader.rows(rest, end)))
                parts.append(merged(tail, np.array([0, len(tail)])))
            return np.concatenate(parts)
        units = as_units(with_speed(reader.rows(begin, end)))
        x = self.x(units[:, FIRST]) if len(units) else np.empty(0)
        inside = np.ones(len(x), dtype=bool)
        inside &= True if first is None else x >= first
        inside &= True if last is None else x <= last
        return units[inside]

    def place(self, step: float, at: float) -> float:
        """Return the position of an event on the axis."""
        if self.axis == "epoch":
            return step / self.epoch_steps if self.epoch_steps else 0.0
        return self.offset + at - self.began if self.axis == "time" else step


class Overlay:
    """Curves of several runs of a store."""

    def __init__(self, runs: RunStore, blocks: MetricBlocks) -> None:
        self._runs = runs
        self._blocks = blocks

    def series(self, ids: Sequence[str], view: View) -> dict[str, Any]:
        """Return the curves of some runs, in at most ``MAX_BYTES`` as JSON. Runs that don't exist are listed as ``missing``.

        Each run has ``x`` and for each metric ``min``, ``max`` and ``mean`` of the stretch that begins there.

        :raises ConfigValueError: if there are too many runs or metrics for one answer.
        """
        chosen = list(dict.fromkeys(ids))
        found, missing = {}, []
        for run_id in chosen[:MAX_RUNS]:
            try:
                found[run_id] = self._stretches(run_id, view)
            except RunNotFoundError:
                missing.append(run_id)
        available = list(dict.fromkeys(name for stretches in found.values() for name in metrics_of(stretches)))
        metrics = available[:MAX_METRICS] if view.metrics == (ALL,) else list(dict.fromkeys(view.metrics))
        if len(chosen) > MAX_RUNS or len(metrics) > MAX_METRICS or len(found) * len(metrics) > MAX_CURVES:
            raise ConfigValueError(
                f"A chart shows at most {MAX_RUNS} runs and {MAX_CURVES} curves.",
                path="ids",
                value=len(chosen),
                suggestion="Choose fewer runs or metrics.",
            )
        points = _points(len(found), len(metrics), view.points)
        while True:
            answer = {
                "axis": view.axis,
                "metrics": metrics,
                "available": available,
                "missing": missing,
                "runs": [_curves(run_id, stretches, metrics, view, points) for run_id, stretches in found.items()],
            }
            size = len(json.dumps(answer, separators=(",", ":")))
            if size <= MAX_BYTES or points <= 1:
                return answer
            points = max(1, int(points * MAX_BYTES / size * 0.95))

    def forget(self, run_id: str) -> None:
        """Remove what is cached of a deleted run."""
        self._blocks.forget(run_id)

    def _stretches(self, run_id: str, view: View) -> list[_Stretch]:
        links = chain_of(self._runs, run_id) if view.chain else [Link(self._runs.get(run_id))]
        stretches: list[_Stretch] = []
        offset = 0.0
        for link in links:
            summary = self._blocks.read(link.run.id, link.run.metrics)
            rows = link.run.metrics.count_between(None, link.last_step) if link.last_step is not None else summary.rows
            rows = min(rows, summary.rows)
            if not rows:
                continue
            first, last = link.run.metrics.rows(0, 1)[0], link.run.metrics.rows(rows - 1, rows)[0]
            seconds = first[_POSITION["seconds"]]
            began = float(first[_POSITION["at"]] - (seconds if math.isfinite(seconds) else 0.0))
            epoch_steps = int(link.run.state()["max_step"])
            validations = tuple(_validations(link))
            stretches.append(_Stretch(link, summary, rows, view.axis, epoch_steps, began, offset, validations))
            offset += max(0.0, float(last[_POSITION["at"]]) - began)
        return stretches


def metrics_of(stretches: Sequence[_Stretch]) -> list[str]:
    """Return the metrics that a run has values for."""
    columns = dict.fromkeys(name for stretch in stretches for name in stretch.summary.columns)
    names = [name for name in (*_PLAIN, *columns) if name in columns and (name in _PLAIN or name.startswith("lr/"))]
    validated = dict.fromkeys(name for stretch in stretches for point in stretch.validations for name in point[2])
    return [*dict.fromkeys(names), *validated]


def _validations(link: Link) -> Iterator[tuple[float, float, dict[str, float]]]:
    """Yield step, time and values of each validation: the mean as ``validation``, and one per concept if there are several."""
    journal = link.run.journal
    for entry in journal.since(0, journal.length(), only=(_VALIDATED,)):
        body = entry.body
        step, limit = body["global_step"], link.last_step
        if limit is not None and step > limit:
            continue
        values = {VALIDATION: body.get("total")}
        if len(body["losses"]) > 1:
            values |= {f"{VALIDATION}/{name}": value for name, value in body["losses"].items()}
        finite = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        yield float(step), float(body["at"]), finite


def _points(runs: int, metrics: int, wanted: int) -> int:
    """Return how many points each run may have so that the answer stays below its size."""
    each = (MAX_BYTES - 2000) / max(1, runs) - _BYTES_OF_RUN - 120 * metrics
    return max(_MIN_POINTS, min(wanted, MAX_POINTS, int(each / (_BYTES_OF_X + 3 * metrics * _BYTES_OF_VALUE))))


def _curves(run_id: str, stretches: Sequence[_Stretch], metrics: Sequence[str], view: View, points: int) -> dict[str, Any]:
    units = [stretch.units(view.first, view.last) for stretch in stretches]
    parts = []
    for stretch, each, share in zip(stretches, units, shares([len(each) for each in units], points), strict=True):
        if len(each):
            edges = np.unique(np.linspace(0, len(each), min(share, len(each)) + 1).astype(np.int64))
            buckets = merged(each, edges)
            parts.append((stretch, buckets, stretch.x(buckets[:, FIRST])))
    name = stretches[-1].link.run.name if stretches else ""
    x = np.concatenate([part[2] for part in parts]) if parts else np.empty(0)
    rows = sum(float(part[1][:, COUNT, _POSITION["global_step"]].sum()) for part in parts)
    return {
        "run_id": run_id,
        "name": name,
        "x": _rounded(np.maximum.accumulate(x) if len(x) else x, _X_DIGITS),
        "rows_per_point": round(rows / max(1, len(x)), 2),
        "series": {metric: _values(parts, metric) for metric in metrics if not metric.startswith(VALIDATION)},
        "validation": {metric: _thinned(stretches, metric, view, points) for metric in metrics if metric.startswith(VALIDATION)},
        "resumes": [
            {"x": float(f"{_resumed_at(before, later):.{_X_DIGITS}g}"), "run_id": later.link.run.id}
            for before, later in pairwise(stretches)
        ],
        "last": _last_values(stretches[-1], metrics) if stretches else {},
    }


def _resumed_at(before: _Stretch, later: _Stretch) -> float:
    step = later.link.run.resumed_step()
    return later.offset if later.axis == "time" else before.place(float(step or 0), 0.0)


def _column(stretch: _Stretch, metric: str) -> int | None:
    columns = stretch.summary.columns
    if metric == LEARNING_RATE:
        metric = next((name for name in columns if name.startswith("lr/")), "")
    return columns.index(metric) if metric in columns else None


def _values(parts: Iterable[tuple[_Stretch, Blocks, Values]], metric: str) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {"min": [], "max": [], "mean": []}
    for stretch, buckets, _ in parts:
        column = _column(stretch, metric)
        if column is None:
            for values in found.values():
                values += [None] * len(buckets)
            continue
        count = buckets[:, COUNT, column]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(count > 0, buckets[:, TOTAL, column] / count, np.nan)
        for name, array in (("min", buckets[:, LOW, column]), ("max", buckets[:, HIGH, column]), ("mean", mean)):
            found[name] += _rounded(array, _DIGITS)
    if found["min"] == found["max"]:  # each point is one step: one list is enough
        return {"mean": found["mean"]}
    return found


def _thinned(stretches: Sequence[_Stretch], metric: str, view: View, points: int) -> dict[str, list[float | None]]:
    """Return the validation losses with their positions: all, or the lowest and the highest of each stretch."""
    found = [
        (stretch.place(step, at), values[metric])
        for stretch in stretches
        for step, at, values in stretch.validations
        if metric in values
    ]
    first, last = (-math.inf if view.first is None else view.first), (math.inf if view.last is None else view.last)
    found = [(x, value) for x, value in found if first <= x <= last]
    if len(found) > points:
        edges = np.unique(np.linspace(0, len(found), max(1, points // 2) + 1).astype(np.int64))
        values = np.array([value for _, value in found])
        keep = {low + int(pick(values[low:high])) for low, high in pairwise(edges) for pick in (np.argmin, np.argmax)}
        found = [found[at] for at in sorted(keep)]
    x = np.array([x for x, _ in found])
    return {"x": _rounded(x, _X_DIGITS), "y": _rounded(np.array([value for _, value in found]), _DIGITS)}


def _last_values(stretch: _Stretch, metrics: Sequence[str]) -> dict[str, float | None]:
    row = with_speed(stretch.link.run.metrics.rows(stretch.rows - 1, stretch.rows))[0]
    columns = {metric: _column(stretch, metric) for metric in metrics}
    return {metric: _rounded(row[at : at + 1], _DIGITS)[0] for metric, at in columns.items() if at is not None}


def _rounded(values: Values, digits: int) -> list[float | None]:
    return [_short(float(f"{value:.{digits}g}")) if math.isfinite(value) else None for value in values.tolist()]


def _short(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
