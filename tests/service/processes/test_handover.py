"""What happens to a training process that waits after its run is decided once, by the first process to decide."""

from __future__ import annotations

import os
import time
from pathlib import Path

from onetrainer_gradio.service.processes.handover import Decision, HandOver


def test_nothing_waits_and_nothing_is_decided_at_first(tmp_path: Path) -> None:
    """An active run has neither."""
    after = HandOver(tmp_path)
    assert after.parked_until() is None
    assert after.decision() is None


def test_who_waits_reports_until_when(tmp_path: Path) -> None:
    """The time is wall-clock time, so that every process reads the same."""
    HandOver(tmp_path).park(60.0)
    until = HandOver(tmp_path).parked_until()
    assert until is not None
    assert 55.0 < until - time.time() <= 60.0


def test_the_first_decision_holds(tmp_path: Path) -> None:
    """A process that was handed over is not ended, and an ended one gets no run."""
    given, ended = HandOver(tmp_path / "one"), HandOver(tmp_path / "two")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    assert given.give(tmp_path / "next")
    assert not given.end()
    assert given.decision() == Decision(tmp_path / "next")
    assert ended.end()
    assert not ended.give(tmp_path / "next")
    assert ended.decision() == Decision(None)


def test_a_decision_that_is_being_written_is_none_yet(tmp_path: Path) -> None:
    """The file's name appears before its contents."""
    os.close(os.open(tmp_path / "next.json", os.O_WRONLY | os.O_CREAT))
    assert HandOver(tmp_path).decision() is None
    assert not HandOver(tmp_path).end()
