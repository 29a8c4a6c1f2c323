"""Fixtures of the chaos tests: seeded randomness, a bounded number of rounds, and the table of failures.

``ONETRAINER_GRADIO_CHAOS_ROUNDS`` sets the rounds of each scenario (2), ``ONETRAINER_GRADIO_CHAOS_SEED`` the seed (8).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

import pytest

ROUNDS = int(os.environ.get("ONETRAINER_GRADIO_CHAOS_ROUNDS") or 2)
SEED = int(os.environ.get("ONETRAINER_GRADIO_CHAOS_SEED") or 8)

KINDS = ("lost", "mislabelled", "unreachable", "unstopped", "torn", "stray")


@dataclass
class Tally:
    """The failures in the rounds of one scenario."""

    scenario: str
    rounds: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    all: ClassVar[list[Tally]] = []

    def round(self, number: int) -> Random:
        """Return the random numbers of a round; the same for the same seed."""
        self.rounds += 1
        return Random(f"{SEED} {self.scenario} {number}")

    def count(self, kind: str, note: str) -> None:
        """Record a failure."""
        assert kind in KINDS
        self.wrong[kind] += 1
        self.notes.append(f"{kind}: {note}")

    def check(self, kind: str, fine: object, note: object) -> None:
        """Record a failure unless the check passes."""
        if not fine:
            self.count(kind, str(note))

    def row(self) -> str:
        return f"{self.scenario:<44} {self.rounds:>6} " + " ".join(f"{self.wrong[kind]:>12}" for kind in KINDS)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Return the tally of this test; every count has to be 0 in the end."""
    tally = Tally(request.node.name.removeprefix("test_").replace("_", " "))
    Tally.all.append(tally)
    return tally


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    result = yield
    tally = pyfuncitem.funcargs.get("tally")
    assert tally is None or not tally.notes, "\n".join(tally.notes)
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if Tally.all:
        kinds = " ".join(f"{kind:>12}" for kind in KINDS)
        terminalreporter.write_line(f"{f'chaos, seed {SEED}':<44} {'rounds':>6} {kinds}")
        for tally in Tally.all:
            terminalreporter.write_line(tally.row())
