"""Store the metrics of each optimizer step as fixed-width rows in a file, and read ranges as minimum and maximum.

The file starts with one line of JSON that names the columns, padded with spaces to 64 bytes; rows of little-endian float64
follow. Readers ignore an incomplete row after a power cut, and the next writer removes it. A chart requests a range of
rows in a limited number of buckets and gets minimum and maximum of each, so a spike is visible at any zoom.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onetrainer_gradio.events import StepDone
from onetrainer_gradio.service.host.atomic import open_file

FIXED_COLUMNS = (
    "update_step",
    "global_step",
    "epoch",
    "epoch_step",
    "epoch_sample",
    "at",
    "loss",
    "smooth_loss",
    "grad_norm",
    "seconds",
    "images",
)
_FORMER_COLUMNS = {"pictures": "images"}  # as earlier versions named them
STEP_COLUMN = "global_step"
_FORMAT = "onetrainer_gradio.metrics"
_DTYPE = np.dtype("<f8")
_ALIGN = 64
_ROWS_AT_ONCE = 1 << 15
_SHOWN_NOT_FINITE = 100
_SETTLING_ROWS = 100

Rows = npt.NDArray[np.float64]


def column_names(groups: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a run with the parameter groups ``groups``."""
    return (*FIXED_COLUMNS, *(f"lr/{group}" for group in groups))


def row_of(event: StepDone) -> tuple[float, ...]:
    """Return the row of a step, in the order of the columns."""
    return (
        event.update_step,
        event.global_step,
        event.epoch,
        event.epoch_step,
        event.epoch_sample,
        event.at,
        event.loss,
        event.smooth_loss,
        float("nan") if event.grad_norm is None else event.grad_norm,
        event.seconds,
        event.images,
        *event.learning_rates,
    )


class MetricsWriter:
    """Collect rows and append them on ``flush``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: tuple[str, ...] = ()
        self._rows: list[tuple[float, ...]] = []
        self._descriptor: int | None = None

    def plan(self, groups: Sequence[str]) -> None:
        """Fix the names of the learning-rate columns; has no effect once rows are written."""
        if self._descriptor is None:
            self._columns = column_names(groups)

    def add(self, event: StepDone) -> None:
        """Keep the row of a step until the next ``flush``."""
        if not self._columns:
            self._columns = column_names([str(number) for number in range(len(event.learning_rates))])
        row, width = row_of(event), len(self._columns)
        if len(row) != width:
            row = (*row[:width], *(float("nan"),) * (width - len(row)))
        self._rows.append(row)

    def waiting(self) -> int:
        """Return the number of rows that aren't written yet."""
        return len(self._rows)

    def drop_oldest(self, keep: int) -> int:
        """Drop all but the newest ``keep`` rows. Return the number of dropped rows."""
        lost = max(0, len(self._rows) - keep)
        del self._rows[:lost]
        return lost

    def flush(self) -> None:
        """Append the waiting rows.

        :raises OSError: if they can't be written; they keep waiting.
        """
        if not self._rows:
            return
        if self._descriptor is None:
            self._descriptor = self._open()
        data = np.asarray(self._rows, dtype=_DTYPE).tobytes()
        size = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            written = 0
        if written != len(data):
            os.ftruncate(self._descriptor, size)
            raise OSError(f"{len(self._rows)} steps could not be written to {self.path}")
        self._rows.clear()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags, 0o644)
        header = _read_header(descriptor)
        if header is None:
            line = json.dumps({"format": _FORMAT, "version": 1, "dtype": _DTYPE.str, "columns": self._columns}).encode()
            line += b" " * (-(len(line) + 1) % _ALIGN) + b"\n"
            os.ftruncate(descriptor, 0)
            if os.write(descriptor, line) != len(line):
                os.close(descriptor)
                raise OSError(f"the header could not be written to {self.path}")
        else:
            columns, offset = header
            width = len(columns) * _DTYPE.itemsize
            size = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, size - (size - offset) % width)
        return descriptor

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read_header(descriptor: int) -> tuple[tuple[str, ...], int] | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    line, newline, _ = os.read(descriptor, 1 << 16).partition(b"\n")
    if not newline:
        return None
    try:
        header = json.loads(line)
        columns = tuple(_FORMER_COLUMNS.get(name, str(name)) for name in header["columns"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (columns, len(line) + 1) if columns[: len(FIXED_COLUMNS)] == FIXED_COLUMNS else None


class MetricsReader:
    """Read the rows of a file that may still grow; safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._header: tuple[tuple[str, ...], int] | None = None

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns; empty until something is written."""
        with self._open():
            return self._header[0] if self._header else ()

    def count(self) -> int:
        """Return the number of complete rows."""
        with self._open() as file:
            return self._count(file)

    def rows(self, first: int = 0, last: int | None = None) -> Rows:
        """Return the rows from ``first`` to before ``last``."""
        with self._open() as file:
            count = self._count(file)
            last = count if last is None else min(last, count)
            if file is None or first >= last:
                return np.empty((0, len(self._header[0]) if self._header else 0))
            return self._read(file, first, last)

    def count_between(self, first: int | None = None, last: int | None = None) -> int:
        """Return the number of rows for the steps ``first`` to ``last`` (global steps, both included)."""
        with self._open() as file:
            count = self._count(file)
            if file is None or not count or self._header is None:
                return 0
            step = self._header[0].index(STEP_COLUMN)
            start = 0 if first is None else self._search(file, count, step, first, after=False)
            stop = count if last is None else self._search(file, count, step, last, after=True)
            return max(0, stop - start)

    def series(
        self,
        columns: Sequence[str] | None = None,
        buckets: int = 1000,
        first: int | None = None,
        last: int | None = None,
        digits: int | None = None,
    ) -> dict[str, Any]:
        """Return minimum and maximum of ``columns`` for the steps ``first`` to ``last`` (global steps, both included).

        Values are as the engine measured them, or rounded to ``digits`` significant ones.

        Values that aren't finite are omitted from minimum and maximum (None if nothing is left) and their steps are
        listed under ``not_finite``.
        """
        with self._open() as file:
            count = self._count(file)
            names = self._header[0] if self._header else ()
            chosen = [name for name in (columns or ("loss", "smooth_loss")) if name in names]
            if file is None or not count:
                return _series(0, None, None, chosen, [], digits)
            step = names.index(STEP_COLUMN)
            start = 0 if first is None else self._search(file, count, step, first, after=False)
            stop = count if last is None else self._search(file, count, step, last, after=True)
            edges = np.unique(np.linspace(start, stop, max(1, min(buckets, stop - start)) + 1).astype(np.int64))
            parts = list(self._bucketed(file, edges, step, [names.index(name) for name in chosen])) if stop > start else []
            first_step = _steps(self._read(file, 0, 1)[:, step])[0]
            last_step = _steps(self._read(file, count - 1, count)[:, step])[0]
        return _series(count, first_step, last_step, chosen, parts, digits)

    def _bucketed(self, file: int, edges: npt.NDArray[np.int64], step: int, columns: list[int]) -> Iterator[_Part]:
        buckets = len(edges) - 1
        position = 0
        while position < buckets:
            # as many whole buckets as fit a block, but at least one: memory stays small however long the run was
            upto = int(np.searchsorted(edges, edges[position] + _ROWS_AT_ONCE, side="right")) - 1
            upto = min(max(upto, position + 1), buckets)
            low, high = int(edges[position]), int(edges[upto])
            block = self._read(file, low, high)
            starts = edges[position:upto] - low
            ends = edges[position + 1 : upto + 1] - low - 1
            values = block[:, columns]
            finite = np.isfinite(values)
            yield _Part(
                block[starts, step],
                block[ends, step],
                np.minimum.reduceat(np.where(finite, values, np.inf), starts, axis=0),
                np.maximum.reduceat(np.where(finite, values, -np.inf), starts, axis=0),
                [block[~finite[:, index], step][:_SHOWN_NOT_FINITE] for index in range(len(columns))],
            )
            position = upto

    def _search(self, file: int, count: int, column: int, step: float, *, after: bool) -> int:
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            value = self._read(file, middle, middle + 1)[0, column]
            if value < step or (after and value == step):
                low = middle + 1
            else:
                high = middle
        return low

    @contextlib.contextmanager
    def _open(self) -> Iterator[int | None]:
        with self._lock:
            descriptor = open_file(self.path)
            if descriptor is None:
                yield None
                return
            try:
                if self._header is None:
                    self._header = _read_header(descriptor)
                yield descriptor
            finally:
                os.close(descriptor)

    def _count(self, file: int | None) -> int:
        if file is None or self._header is None:
            return 0
        columns, offset = self._header
        return max(0, (os.fstat(file).st_size - offset) // (len(columns) * _DTYPE.itemsize))

    def _read(self, file: int, first: int, last: int) -> Rows:
        assert self._header is not None
        columns, offset = self._header
        width = len(columns) * _DTYPE.itemsize
        os.lseek(file, offset + first * width, os.SEEK_SET)
        wanted = (last - first) * width
        data = b""
        while len(data) < wanted and (more := os.read(file, wanted - len(data))):
            data += more
        whole = len(data) - len(data) % width
        return np.frombuffer(data[:whole], dtype=_DTYPE).reshape(-1, len(columns))


class LowestLoss:
    """Find the lowest smoothed loss of a run that may still grow; safe from any thread.

    The average of the first steps is over too few values to mean anything. They don't count once there are more of them.
    """

    def __init__(self, reader: MetricsReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._row = 0
        self._best: tuple[float | None, int | None] = (None, None)

    def read(self) -> tuple[float | None, int | None]:
        """Return the lowest value and its global step; None without one."""
        with self._lock:
            count = self._reader.count()
            if self._row < _SETTLING_ROWS < count or count < self._row:
                self._row, self._best = (_SETTLING_ROWS if count > _SETTLING_ROWS else 0), (None, None)
            while self._row < count:
                rows = self._reader.rows(self._row, min(self._row + _ROWS_AT_ONCE, count))
                if not len(rows):
                    break
                self._take(rows)
                self._row += len(rows)
            return self._best

    def _take(self, rows: Rows) -> None:
        losses = rows[:, FIXED_COLUMNS.index("smooth_loss")]
        losses = np.where(np.isfinite(losses), losses, np.inf)
        at = int(np.argmin(losses))
        if np.isfinite(losses[at]) and (self._best[0] is None or losses[at] < self._best[0]):
            self._best = float(losses[at]), _steps(rows[at : at + 1, FIXED_COLUMNS.index(STEP_COLUMN)])[0]


class _Part:
    """The buckets of one block: first and last step, minimum and maximum by column, steps with values that are not finite."""

    def __init__(self, x: Rows, x_last: Rows, low: Rows, high: Rows, not_finite: list[Rows]) -> None:
        self.x = x
        self.x_last = x_last
        self.low = low
        self.high = high
        self.not_finite = not_finite


def _series(
    rows: int, first: int | None, last: int | None, columns: list[str], parts: list[_Part], digits: int | None
) -> dict[str, Any]:
    lows = np.concatenate([part.low for part in parts]) if parts else np.empty((0, len(columns)))
    highs = np.concatenate([part.high for part in parts]) if parts else np.empty((0, len(columns)))
    return {
        "rows": rows,
        "first_step": first,
        "last_step": last,
        "columns": columns,
        "digits": digits,
        "buckets": len(lows),
        "x": [step for part in parts for step in _steps(part.x)],
        "x_last": [step for part in parts for step in _steps(part.x_last)],
        "min": {name: _plain(lows[:, index], digits) for index, name in enumerate(columns)},
        "max": {name: _plain(highs[:, index], digits) for index, name in enumerate(columns)},
        "not_finite": {
            name: [step for part in parts for step in _steps(part.not_finite[index])][:_SHOWN_NOT_FINITE]
            for index, name in enumerate(columns)
        },
    }


def _steps(values: Rows) -> list[int]:
    """Return step numbers; an invalid one in a damaged file counts as 0."""
    return [int(value) if np.isfinite(value) else 0 for value in values]


def _plain(values: Rows, digits: int | None) -> list[float | None]:
    if digits is None:
        return [float(value) if np.isfinite(value) else None for value in values]
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values]
