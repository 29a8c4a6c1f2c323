"""Measure what people use: the time that their runs occupy devices, and the disk space of their runs and datasets."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import RunNotFoundError
from onetrainer_gradio.service.datasets.library import creator_of
from onetrainer_gradio.service.queue.items import devices_named
from onetrainer_gradio.service.runs.artifacts import run_files
from onetrainer_gradio.service.runs.record import Run, RunStore, read_record

DAY_S = 24 * 3600.0
# A measurement is reused for this long: the queue requests one twice per second.
TIME_KEPT_S = 2.0
DISK_KEPT_S = 20.0
# With 20,000 runs, reading the times of all folders takes a quarter of a second.
TOUCHED_KEPT_S = 60.0


@dataclass(frozen=True)
class RunUse:
    """Who started a run, and when it occupied which devices. Times are in seconds since the epoch; None: not (yet)."""

    account: str
    devices: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None

    def seconds(self, since: float, now: float, *, gpus_only: bool) -> float:
        """Return the seconds since a time, added up over its devices; pauses count, because the device isn't free."""
        if self.started is None:
            return 0.0
        span = max(0.0, min(now, now if self.ended is None else self.ended) - max(self.started, since))
        return span * sum(1 for device in self.devices if device != "cpu" or not gpus_only)


class Usage:
    """What each account uses; "" is everyone without an account. Deleted runs don't count. Safe from any thread.

    ``account_named`` returns the account of a name: runs of earlier versions recorded only the name of who started them.
    """

    def __init__(
        self,
        runs: RunStore,
        datasets: Path,
        uploading: Callable[[str], int],
        account_named: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._runs = runs
        self._datasets = datasets
        self._uploading = uploading
        self._account_named = account_named
        self._clock = clock
        self._lock = threading.RLock()
        self._ended: dict[str, RunUse] = {}
        self._starters: dict[str, str] = {}
        self._touched: dict[str, tuple[float, float]] = {}
        self._times: dict[tuple[float, bool], tuple[float, Mapping[str, float]]] = {}
        self._disks: dict[str, tuple[float, int]] = {}

    def device_seconds(self, days: float, *, gpus_only: bool = False) -> Mapping[str, float]:
        """Return for each account how many seconds its runs occupied devices in the last days, added up over all devices."""
        with self._lock:
            key, now = (days, gpus_only), self._clock()
            at, found = self._times.get(key, (-TIME_KEPT_S, {}))
            if not 0 <= now - at < TIME_KEPT_S:
                since = now - days * DAY_S
                sums: dict[str, float] = {}
                for use in self._uses(since):
                    if seconds := use.seconds(since, now, gpus_only=gpus_only):
                        sums[use.account] = sums.get(use.account, 0.0) + seconds
                self._times[key] = now, sums
                return sums
            return found

    def disk_bytes(self, account: str) -> int:
        """Return how many bytes an account's runs, their files in workspaces, its datasets and its open uploads take.

        A file that several of them name, or hard links of it, count once.
        """
        with self._lock:
            now = self._clock()
            at, found = self._disks.get(account, (-DISK_KEPT_S, 0))
            if not 0 <= now - at < DISK_KEPT_S:
                found = _bytes_of(self._places(account)) if account else 0
                self._disks[account] = now, found
        return found + self._uploading(account)

    def note_bytes(self, account: str, size: int) -> None:
        """Add what was written to an account's datasets since the last measurement."""
        with self._lock:
            if account in self._disks:
                at, before = self._disks[account]
                self._disks[account] = at, before + size

    def _uses(self, since: float) -> Iterator[RunUse]:
        ids = self._runs.ids()
        existing = set(ids)
        caches: tuple[dict[str, Any], ...] = (self._starters, self._ended, self._touched)
        for known in caches:
            for gone in known.keys() - existing:
                known.pop(gone)
        for run_id in ids:
            use = self._ended.get(run_id)
            if use is None and self._untouched(run_id, since):
                continue
            with contextlib.suppress(RunNotFoundError):
                yield use or self._use_of(self._runs.get(run_id))

    def _untouched(self, run_id: str, since: float) -> bool:
        """Return whether a run ended before a time. The end of a run is written into its folder."""
        looked_at, touched = self._touched.get(run_id, (-TOUCHED_KEPT_S, 0.0))
        now = self._clock()
        if not 0 <= now - looked_at < TOUCHED_KEPT_S:
            folder = self._runs.folder / run_id
            try:
                touched = max(folder.stat().st_mtime, (folder / "journal.jsonl").stat().st_mtime)
            except OSError:
                return False
            self._touched[run_id] = now, touched
        return touched < since

    def _use_of(self, run: Run) -> RunUse:
        summary, config = run.summary(), run.config()  # the three settings alone: checking all takes far longer
        indexes = str(config.get("device_indexes", "")) if config.get("multi_gpu") else None
        gpus = [name for name in run.record.hardware if name.startswith("gpu_")]
        named = devices_named(str(config.get("train_device", "")), indexes)
        devices = tuple(each for one in named for each in (gpus if one == "cuda:*" and gpus else [one]))
        use = RunUse(self._account_of(run.id), devices, summary["started_at"], summary["ended_at"])
        if not summary["active"]:
            self._ended[run.id] = use
        return use

    def _account_of(self, run_id: str) -> str:
        if run_id not in self._starters:
            record, _ = read_record(self._runs.folder / run_id)
            account = record.options.get("account")
            self._starters[run_id] = account if isinstance(account, str) else self._account_named(record.started_by)
        return self._starters[run_id]

    def _places(self, account: str) -> Iterator[Path]:
        for run_id in self._runs.ids():
            if self._account_of(run_id) != account:
                continue
            yield self._runs.folder / run_id
            with contextlib.suppress(RunNotFoundError):
                yield from (file.path for file in run_files(self._runs.get(run_id).journal))
        with contextlib.suppress(OSError), os.scandir(self._datasets) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False) and creator_of(Path(entry.path))["account"] == account:
                    yield Path(entry.path)


def _bytes_of(places: Iterable[Path]) -> int:
    """Return the bytes of all files, each once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for file in _files(places):
        with contextlib.suppress(OSError):
            status = file.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if not place.is_dir():
            yield place
            continue
        for folder, _, names in os.walk(place):
            yield from (Path(folder, name) for name in names)
