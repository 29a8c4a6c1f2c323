"""Follow a run back through the runs that it resumes, and join their metrics into one curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.errors import RunNotFoundError
from onetrainer_gradio.service.runs.record import Run, RunStore

_PER_COLUMN = ("min", "max")


@dataclass(frozen=True)
class Link:
    """One run of a chain. Steps after ``last_step`` aren't part of the chain: the next run repeated them (None: all count)."""

    run: Run
    last_step: int | None = None


def chain_of(runs: RunStore, run_id: str) -> list[Link]:
    """Return the run and the runs that it resumes, oldest first. A deleted run ends the chain.

    :raises RunNotFoundError: when there is no run of that id.
    """
    links = [Link(runs.get(run_id))]
    seen = {run_id}
    while (earlier := links[0].run.resumes_run()) and earlier not in seen:
        seen.add(earlier)
        try:
            found = runs.get(earlier)
        except RunNotFoundError:
            break
        links.insert(0, Link(found, links[0].run.resumed_step()))
    return _shortened(links)


def _shortened(links: list[Link]) -> list[Link]:
    """Return the links with limits that never grow backward: a run resumed at step 5 hides what any earlier run did after it."""
    limit: int | None = None
    result = []
    for link in reversed(links):
        if link.last_step is not None:
            limit = link.last_step if limit is None else min(limit, link.last_step)
        result.append(Link(link.run, limit))
    return result[::-1]


def chain_series(
    links: Sequence[Link],
    columns: Sequence[str] | None,
    buckets: int,
    first: int | None,
    last: int | None,
    digits: int | None = None,
) -> dict[str, Any]:
    """Return the metrics of a chain as one series, in the form of ``Run.metrics_series``.

    ``chain`` lists the runs with the steps that each contributes, and ``resumes`` the steps after which a later run continued.
    """
    limits = [_lower(last, link.last_step) for link in links]
    counts = [link.run.metrics.count_between(first, limit) for link, limit in zip(links, limits, strict=True)]
    parts = [
        link.run.metrics_series(columns, share, first, limit, digits)
        | {"rows": link.run.metrics.count_between(None, link.last_step)}
        for link, limit, share in zip(links, limits, shares(counts, buckets), strict=True)
    ]
    for link, part in zip(links, parts, strict=True):
        if link.last_step is not None and part["last_step"] is not None:
            part["last_step"] = min(part["last_step"], link.last_step)
    return _joined(parts) | {
        "run_id": links[-1].run.id,
        "digits": digits,
        "chain": [
            {
                "run_id": link.run.id,
                "name": link.run.name,
                "first_step": part["first_step"] if part["rows"] else None,
                "last_step": part["last_step"] if part["rows"] else None,
                "rows": part["rows"],
            }
            for link, part in zip(links, parts, strict=True)
        ],
        "resumes": [
            {"step": link.run.resumed_step(), "run_id": link.run.id} for link in links if link.run.resumed_step() is not None
        ],
    }


def _lower(*limits: int | None) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def shares(counts: Sequence[int], buckets: int) -> list[int]:
    """Return how many buckets each run gets: at least one, the rest by its number of rows."""
    total = max(1, sum(counts))
    rest = max(0, buckets - len(counts))
    return [1 + rest * count // total for count in counts]


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = list(dict.fromkeys(name for part in parts for name in part["columns"]))
    filled = [part for part in parts if part["rows"]]
    joined: dict[str, Any] = {
        "all_columns": list(dict.fromkeys(name for part in parts for name in part["all_columns"])),
        "rows": sum(part["rows"] for part in parts),
        "first_step": filled[0]["first_step"] if filled else None,
        "last_step": filled[-1]["last_step"] if filled else None,
        "columns": columns,
        "buckets": sum(part["buckets"] for part in parts),
        "x": [step for part in parts for step in part["x"]],
        "x_last": [step for part in parts for step in part["x_last"]],
        "not_finite": {name: [step for part in parts for step in part["not_finite"].get(name, ())] for name in columns},
    }
    for key in _PER_COLUMN:
        joined[key] = {
            name: [value for part in parts for value in part[key].get(name, [None] * part["buckets"])] for name in columns
        }
    return joined
