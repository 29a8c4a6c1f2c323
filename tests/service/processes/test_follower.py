"""What viewers receive of a run's console and metrics."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from onetrainer_gradio.service.processes.follower import ConsoleTail, console_line, finite_rows


def test_new_lines_are_sent_once_and_complete(tmp_path: Path) -> None:
    """A line is sent when it is complete; the offset is behind it."""
    path = tmp_path / "console.log"
    tail = ConsoleTail(path, from_start=True)
    assert tail.read() == (0, [])
    path.write_bytes(b"one\ntw")
    assert tail.read() == (6, ["one"])
    assert tail.read() == (6, [])
    path.write_bytes(b"one\ntwo\n\nthree\n")
    assert tail.read() == (15, ["two", "", "three"])


def test_a_late_viewer_receives_what_comes_after(tmp_path: Path) -> None:
    """The snapshot already contains the beginning."""
    path = tmp_path / "console.log"
    path.write_bytes(b"old\n")
    tail = ConsoleTail(path, from_start=False)
    path.write_bytes(b"old\nnew\n")
    assert tail.read()[1] == ["new"]


def test_a_flood_is_cut(tmp_path: Path) -> None:
    """A console that grows by megabytes doesn't flood the viewers."""
    path = tmp_path / "console.log"
    tail = ConsoleTail(path, from_start=True)
    path.write_bytes(b"x" * 99 + b"\n" + b"y" * 200 * 1024 + b"\nlast\n")
    offset, lines = tail.read()
    assert offset == path.stat().st_size
    assert sum(map(len, lines)) < 40_000
    assert lines[-1] == "last"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [(b"plain", "plain"), (b"10%\r20%\r30%", "30%"), (b"50%\r60%\r", "60%"), (b"windows\r", "windows"), (b"\xff!", "\ufffd!")],
)
def test_a_progress_bar_shows_its_last_state(raw: bytes, shown: str) -> None:
    """As in a terminal, overwritten text is not shown."""
    assert console_line(raw) == shown


def test_rows_become_short_json_numbers() -> None:
    """Integers have no decimal point, other numbers are short, and non-finite ones are null."""
    rows = np.array([[1.0, 0.123456789123, math.nan, math.inf, 1795447567.8515737, -0.0]])
    assert finite_rows(rows) == [[1, 0.12345679, None, None, 1795447567.8515737, 0]]
