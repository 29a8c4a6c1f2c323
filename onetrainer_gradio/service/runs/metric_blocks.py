"""Summarize the metrics of a run in blocks of 256 steps, so that a chart of a million steps reads only 2 MB.

The file is a cache: one line of JSON that names the columns, then little-endian float64 values, five for each column of each
block (first value, lowest, highest, sum and number of finite values). It is extended while the run grows and built again if it is
missing, damaged, or belongs to other metrics.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS, STEP_COLUMN, MetricsReader, Rows

BLOCK_ROWS = 256
SPEED = "speed"
"""Images per second of each step, computed from its images and seconds."""
_FORMAT = "onetrainer_gradio.metric_blocks"
_DTYPE = np.dtype("<f8")
_BLOCKS_AT_ONCE = 128
FIRST, LOW, HIGH, TOTAL, COUNT = range(5)

Blocks = npt.NDArray[np.float64]
"""Shape (blocks, 5, columns)."""


@dataclass(frozen=True)
class Summary:
    """The blocks of a run, its columns (those of the metrics, and ``speed``), and the number of its rows."""

    columns: tuple[str, ...]
    blocks: Blocks
    rows: int


class MetricBlocks:
    """The summaries of runs, stored in ``folder``. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def read(self, run_id: str, reader: MetricsReader) -> Summary:
        """Return the summary of a run, extended by the rows that were written since it was last read."""
        with self._lock:
            columns, rows = reader.columns(), reader.count()
            if not columns or not rows:
                return Summary((), np.empty((0, 5, 0)), 0)
            named = (*columns, SPEED)
            path = self._path(run_id)
            blocks = _stored(path, named)
            wanted = rows // BLOCK_ROWS
            if len(blocks) > wanted or not _belong(blocks, reader):
                blocks = blocks[:0]
            if len(blocks) < wanted:
                new = _summarized(reader, len(blocks), wanted)
                _store(path, named, new, after=len(blocks))
                blocks = np.concatenate([blocks, new])
            return Summary(named, blocks, rows)

    def forget(self, run_id: str) -> None:
        """Remove the summary of a run."""
        with self._lock, contextlib.suppress(OSError):
            self._path(run_id).unlink(missing_ok=True)

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.blocks"


def with_speed(rows: Rows) -> Rows:
    """Return the rows with another column: images per second."""
    seconds, images = rows[:, FIXED_COLUMNS.index("seconds")], rows[:, FIXED_COLUMNS.index("images")]
    with np.errstate(divide="ignore", invalid="ignore"):
        speed = np.where(seconds > 0, images / seconds, np.nan)
    return np.concatenate([rows, speed[:, None]], axis=1)


def as_units(rows: Rows) -> Blocks:
    """Return rows as blocks of one row each."""
    finite = np.isfinite(rows)
    return np.stack(
        [
            rows,
            np.where(finite, rows, np.inf),
            np.where(finite, rows, -np.inf),
            np.where(finite, rows, 0.0),
            finite.astype(_DTYPE),
        ],
        axis=1,
    )


def merged(units: Blocks, edges: npt.NDArray[np.int64]) -> Blocks:
    """Return the units between two neighboring ``edges`` as one block each."""
    starts = edges[:-1]
    return np.stack(
        [
            units[starts, FIRST],
            np.minimum.reduceat(units[:, LOW], starts, axis=0),
            np.maximum.reduceat(units[:, HIGH], starts, axis=0),
            np.add.reduceat(units[:, TOTAL], starts, axis=0),
            np.add.reduceat(units[:, COUNT], starts, axis=0),
        ],
        axis=1,
    )


def _summarized(reader: MetricsReader, first: int, last: int) -> Blocks:
    parts = []
    for begin in range(first, last, _BLOCKS_AT_ONCE):
        end = min(begin + _BLOCKS_AT_ONCE, last)
        rows = with_speed(reader.rows(begin * BLOCK_ROWS, end * BLOCK_ROWS))
        parts.append(_reduced(rows.reshape(-1, BLOCK_ROWS, rows.shape[1])))
    return np.concatenate(parts)


def _reduced(blocks: npt.NDArray[np.float64]) -> Blocks:
    """Return the five values of each block of rows (shape: blocks, rows, columns)."""
    finite = np.isfinite(blocks)
    low = high = total = blocks
    if not finite.all():
        low, high, total = (np.where(finite, blocks, other) for other in (np.inf, -np.inf, 0.0))
    parts = (blocks[:, 0], low.min(axis=1), high.max(axis=1), total.sum(axis=1), finite.sum(axis=1).astype(_DTYPE))
    return np.stack(parts, axis=1)


def _header(columns: tuple[str, ...]) -> bytes:
    return json.dumps({"format": _FORMAT, "version": 1, "rows": BLOCK_ROWS, "columns": columns}).encode() + b"\n"


def _stored(path: Path, columns: tuple[str, ...]) -> Blocks:
    header, width = _header(columns), 5 * len(columns)
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if not data.startswith(header):
        return np.empty((0, 5, len(columns)))
    values = np.frombuffer(
        data, dtype=_DTYPE, offset=len(header), count=(len(data) - len(header)) // _DTYPE.itemsize // width * width
    )
    return values.reshape(-1, 5, len(columns))


def _belong(blocks: Blocks, reader: MetricsReader) -> bool:
    """Return whether the first rows of the first and the last block are in the metrics, where they should be."""
    step = FIXED_COLUMNS.index(STEP_COLUMN)
    at = FIXED_COLUMNS.index("at")
    for number in {0, len(blocks) - 1} if len(blocks) else ():
        row = reader.rows(number * BLOCK_ROWS, number * BLOCK_ROWS + 1)
        if not len(row) or not np.array_equal(row[0, [step, at]], blocks[number, FIRST, [step, at]], equal_nan=True):
            return False
    return True


def _store(path: Path, columns: tuple[str, ...], new: Blocks, *, after: int) -> None:
    """Append blocks, or begin the file again if none come before them. Without room on the disk, they are computed each time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        header = _header(columns)
        if not after:
            path.write_bytes(header)
        with path.open("r+b") as file:
            file.truncate(len(header) + after * 5 * len(columns) * _DTYPE.itemsize)
            file.seek(0, 2)
            file.write(new.astype(_DTYPE).tobytes())
