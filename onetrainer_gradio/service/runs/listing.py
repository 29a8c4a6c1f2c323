"""List all runs in pages, searched, filtered and sorted by the index; read again what has changed since."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from onetrainer_gradio.errors import RunNotFoundError
from onetrainer_gradio.service.runs.index import NEWEST_FIRST, IndexPage, RunIndex, RunQuery

# Runs that haven't ended are read for every page, so that search and order follow them. More than a few never are active.
_MAX_ACTIVE = 100
# New runs are read at once, so that a search finds them. More than a few are read in the background.
_MAX_NEW = 20
_MAX_FACETS = 200
# Between two runs that are read in the background, so that requests are answered meanwhile.
_PAUSE_S = 0.002
# The page is loaded first after a start.
_FIRST_PAUSE_S = 1.0
_ENDS_IN_S = 2.0


class ListedRun(Protocol):
    """What the list needs of a run."""

    def line(self) -> dict[str, Any]:
        """Return the run's line in the list."""


class RunListing:
    """The list of the runs below ``folder``."""

    def __init__(self, folder: Path, index: RunIndex, ids: Callable[[], list[str]], get: Callable[[str], ListedRun]) -> None:
        self._folder = folder
        self._index = index
        self._ids = ids
        self._get = get
        self._prepare: Callable[[str], None] = lambda run_id: None
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._reader: threading.Thread | None = None

    def page(self, limit: int, cursor: str | None, query: RunQuery) -> dict[str, Any]:
        """Return a page of the runs that a query selects; see ``RunStore.page``."""
        ids = self._ids()
        new = self._index.follow(ids)
        self.read([*self._index.active(_MAX_ACTIVE), *new[:_MAX_NEW]])
        page = self._index.page(query, limit, cursor)
        lines = self.read(self._changed(page))
        if lines and (query.selects or query.sort != NEWEST_FIRST):  # they may belong elsewhere now
            page = self._index.page(query, limit, cursor)
            lines = self.read(self._changed(page))
        unread = self._index.unread()
        if unread:
            self.catch_up()
        rows = (lines.get(run_id, line) for run_id, _, line in page.rows)
        return {
            "runs": [row for row in rows if row],
            "next_cursor": page.next_cursor,
            "total": len(ids),
            "matches": page.matches,
            "unread": unread,
        }

    def catch_up(self, prepare: Callable[[str], None] | None = None) -> None:
        """Read in the background what the index lacks, each run after ``prepare``; nothing if it does so already."""
        with self._starting:
            if self._reader is None or not self._reader.is_alive():
                self._prepare = prepare or self._prepare
                self._reader = threading.Thread(target=self._read_rest, name="read-runs", daemon=True)
                self._reader.start()

    def _read_rest(self) -> None:
        if self._closing.wait(_FIRST_PAUSE_S):
            return
        for run_id in self.outdated():
            if self._closing.wait(_PAUSE_S):
                return
            with contextlib.suppress(RunNotFoundError):
                self._prepare(run_id)
                self.read([run_id])

    def facets(self, limit: int = _MAX_FACETS) -> dict[str, list[tuple[str, int]]]:
        """Return what the runs can be filtered by, with the number of runs of each value, the most frequent ones first."""
        self._index.follow(self._ids())
        return self._index.facets(limit)

    def counts_by_status(self) -> dict[str, int]:
        """Return the number of runs of each status. Runs that were never read are missing until they are, in the background."""
        new = self._index.follow(self._ids())
        self.read([*self._index.active(_MAX_ACTIVE), *new[:_MAX_NEW]])
        if self._index.unread():
            self.catch_up()
        return dict(self._index.facets(_MAX_FACETS)["statuses"])

    def in_workspace(self, workspace: str) -> list[dict[str, Any]]:
        """Return the lines of the runs that write into a workspace."""
        self.read(self._index.follow(self._ids()))
        return self._index.in_workspace(workspace)

    def sample_counts(self) -> dict[str, int]:
        """Return how many samples each run has that has ended, as far as the index knows."""
        return self._index.sample_counts()

    def outdated(self) -> Iterator[str]:
        """Yield the runs, newest first, whose folders have changed since they were read, or were never read."""
        ids = self._ids()
        self._index.follow(ids)
        marks = self._index.marks()
        return (run_id for run_id in ids if not marks.get(run_id) or marks[run_id] != self._mark(run_id))

    def read(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Read the folders of some runs, store their lines in the index, and return them; deleted ones are omitted."""
        read: dict[str, tuple[str, dict[str, Any]]] = {}
        for run_id in ids:
            with contextlib.suppress(RunNotFoundError):
                mark = self._mark(run_id)  # read first: changes during the reading count as changes
                line = self._get(run_id).line()
                read[run_id] = "" if line["active"] else mark, line
        self._index.put(read)
        return {run_id: line for run_id, (_, line) in read.items()}

    def close(self) -> None:
        """End the reading in the background and close the index."""
        self._closing.set()
        if self._reader is not None:
            self._reader.join(timeout=_ENDS_IN_S)
        self._closing.clear()
        self._index.close()

    def _changed(self, page: IndexPage) -> list[str]:
        return [
            run_id
            for run_id, mark, line in page.rows
            if not line or (not line.get("active") and (not mark or mark != self._mark(run_id)))
        ]

    def _mark(self, run_id: str) -> str:
        """Return what changes when a run's folder or record is replaced or written to; empty if there is no folder."""
        folder = self._folder / run_id
        try:
            status = folder.stat()
        except OSError:
            return ""
        parts = [status.st_ino, status.st_mtime_ns]
        with contextlib.suppress(OSError):
            record = (folder / "run.json").stat()
            parts += [record.st_ino, record.st_mtime_ns, record.st_size]
        return ".".join(map(str, parts))
