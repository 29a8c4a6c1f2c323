"""Choose the few cases of a large table that every change is tested with; the others are marked ``exhaustive``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import pytest

Case = TypeVar("Case")
Kinds = Callable[[Case], frozenset[Hashable]]


def core(cases: Sequence[Case], kinds: Kinds[Case], group: Callable[[Case], str] = lambda case: "") -> list[Case]:
    """Return cases that together have every kind that any case has.

    The next case is always the one with the most missing kinds; of several, the one of the least chosen group, then the first.
    """
    of = [(case, kinds(case)) for case in cases]
    missing = frozenset[Hashable]().union(*(found for _, found in of))
    chosen: list[Case] = []
    taken: Counter[str] = Counter()
    while missing:
        case, found = max(of, key=lambda pair: (len(pair[1] & missing), -taken[group(pair[0])]))
        chosen.append(case)
        taken[group(case)] += 1
        missing -= found
    return chosen


def exhaustive_unless(wanted: bool) -> list[pytest.MarkDecorator]:
    """Return the mark of a case that isn't in the core."""
    return [] if wanted else [pytest.mark.exhaustive]


def left(parameters: Sequence[object]) -> list[tuple[object, ...]]:
    """Return the values of the parameter sets that aren't marked ``exhaustive``: what ``.ci/run`` tests."""
    sets = [one for one in parameters if hasattr(one, "marks")]
    assert len(sets) == len(parameters)
    return [one.values for one in sets if not any(mark.name == "exhaustive" for mark in one.marks)]
