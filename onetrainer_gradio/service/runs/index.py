"""Keep one row per run in an SQLite file, so that a long list of runs is searched and sorted without reading their folders.

The folders of the runs stay the only source: the file can be deleted or damaged at any time and is then built again. One
process at a time uses it. A second one, and a folder in which SQLite can't work, get an index in memory.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.service.sqlite_file import transaction

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
# Raise this when a column is added or means something else: an index of any other version is built again.
SCHEMA_VERSION = 3
# "OTGR": distinguishes our index from another program's database.
_APPLICATION_ID = 0x4F544752
# SQLite opens these next to the file.
_SQLITE_SUFFIXES = ("-journal", "-wal", "-shm")
_MAX_BYTES = 4 << 30
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

# What each name of ``sort`` orders by; a leading "-" reverses it. Runs without such a value come last.
SORT_COLUMNS: dict[str, str] = {
    "created": "id",
    "name": "name",
    "status": "status",
    "model": "model",
    "method": "method",
    "steps": "steps",
    "loss": "loss",
    "best": "best",
    "ended": "ended_at",
    "duration": "elapsed_s",
    "size": "size_bytes",
}
# fmt: off
Sort = Literal[
    "created", "-created", "name", "-name", "status", "-status", "model", "-model", "method", "-method", "steps", "-steps",
    "loss", "-loss", "best", "-best", "ended", "-ended", "duration", "-duration", "size", "-size",
]
# fmt: on
SORTS: tuple[Sort, ...] = get_args(Sort)
NEWEST_FIRST: Sort = "-created"
STATUSES = ("active", "completed", "stopped", "failed", "lost")

_TABLES = (
    """
CREATE TABLE runs (         -- narrow, because searching and sorting read all of it

    id TEXT PRIMARY KEY,
    mark TEXT NOT NULL,     -- state of the folder when it was read; empty: not read yet, or the run is active
    status TEXT NOT NULL,   -- one of STATUSES; empty: not read yet
    name TEXT,
    model TEXT,             -- model type
    method TEXT,            -- training method
    steps REAL,
    loss REAL,
    best REAL,              -- lowest smoothed loss
    ended_at REAL,
    elapsed_s REAL,
    size_bytes REAL,
    samples REAL,           -- of a run that has ended
    resumes_run TEXT,
    archived INTEGER NOT NULL,
    tags TEXT NOT NULL,     -- each with a line break before and after it
    words TEXT NOT NULL     -- what a search looks through, case-folded
) WITHOUT ROWID
""",
    """
CREATE TABLE lines (
    id TEXT PRIMARY KEY,
    line TEXT NOT NULL      -- the run's line in the list, as JSON
)
""",
)
_COLUMNS = (
    *("id", "mark", "status", "name", "model", "method", "steps", "loss", "best", "ended_at", "elapsed_s", "size_bytes"),
    *("samples", "resumes_run", "archived", "tags", "words"),
)
_PUT = f"INSERT OR REPLACE INTO runs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_PUT_LINE = "INSERT OR REPLACE INTO lines (id, line) VALUES (?, ?)"
_MAX_SEARCHED = 1000
_SEARCHED = ("id", "name", "model_type", "training_method", "base_model", "backend", "checkout", "started_by", "error", "note")


@dataclass(frozen=True)
class RunQuery:
    """Which runs are listed, and in which order; see ``SORTS`` and ``STATUSES``."""

    search: str = ""
    statuses: tuple[str, ...] = ()
    tag: str = ""
    model: str = ""
    method: str = ""
    resumes: str = ""
    archived: bool | None = None
    sort: Sort = NEWEST_FIRST

    @property
    def selects(self) -> bool:
        """Return whether the query excludes any run."""
        chosen = (self.search.split(), self.statuses, self.tag, self.model, self.method, self.resumes)
        return any(chosen) or self.archived is not None


@dataclass(frozen=True)
class IndexPage:
    """Rows of the list in order: the run's id, the mark that it was read under, and its line (empty: not read yet)."""

    rows: list[tuple[str, str, dict[str, Any]]]
    next_cursor: str | None
    matches: int


class _ForeignFileError(Exception):
    """The file isn't an index of ours, and may not be replaced."""


class RunIndex:
    """The index at ``path``. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._ids: set[str] = set()
        self._in_memory = False

    def follow(self, ids: Iterable[str]) -> list[str]:
        """Add an empty row for each new run among ``ids``, and remove the rows of all other runs; return the new ones."""

        wanted = set(ids)

        def work(database: sqlite3.Connection) -> list[str]:
            new, gone = wanted - self._ids, self._ids - wanted
            if new or gone:
                with transaction(database, "BEGIN EXCLUSIVE"):
                    for table in ("runs", "lines"):
                        database.executemany(f"DELETE FROM {table} WHERE id = ?", ((run_id,) for run_id in gone))
                    database.executemany(_PUT, (_row(run_id, "", {}) for run_id in new))
                self._ids = wanted
            return sorted(new, reverse=True)

        return self._with_database(work)

    def put(self, lines: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
        """Store the mark and the line of each run."""

        def work(database: sqlite3.Connection) -> None:
            with transaction(database, "BEGIN EXCLUSIVE"):
                database.executemany(_PUT, (_row(run_id, mark, line) for run_id, (mark, line) in lines.items()))
                database.executemany(_PUT_LINE, ((run_id, json.dumps(line)) for run_id, (_, line) in lines.items()))
            self._ids |= lines.keys()

        if lines:
            self._with_database(work)

    def marks(self) -> dict[str, str]:
        """Return the mark of every run."""
        return self._with_database(lambda database: dict(database.execute("SELECT id, mark FROM runs")))

    def active(self, limit: int) -> list[str]:
        """Return the newest runs that had not ended when they were read."""
        query = "SELECT id FROM runs WHERE status = 'active' ORDER BY id DESC LIMIT ?"
        return self._with_database(lambda database: [run_id for (run_id,) in database.execute(query, (limit,))])

    def unread(self) -> int:
        """Return how many runs were not read yet."""
        query = "SELECT count(*) FROM runs WHERE status = ''"
        return self._with_database(lambda database: int(database.execute(query).fetchone()[0]))

    def sample_counts(self) -> dict[str, int]:
        """Return how many samples each run has that has ended and was read."""
        query = "SELECT id, samples FROM runs WHERE samples >= 0"
        return self._with_database(lambda database: {run_id: int(count) for run_id, count in database.execute(query)})

    def facets(self, limit: int) -> dict[str, list[tuple[str, int]]]:
        """Return the most frequent models, methods, states and tags of the runs with their numbers, at most ``limit`` of each."""

        def work(database: sqlite3.Connection) -> dict[str, list[tuple[str, int]]]:
            found = {
                name: database.execute(
                    f"SELECT {column}, count(*) FROM runs WHERE {column} > '' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?", [limit]
                ).fetchall()
                for name, column in (("models", "model"), ("methods", "method"), ("statuses", "status"))
            }
            tags: Counter[str] = Counter()
            for lines, count in database.execute("SELECT tags, count(*) FROM runs WHERE tags > '' GROUP BY 1"):
                tags.update(dict.fromkeys(lines.strip("\n").split("\n"), count))
            by_count = sorted(tags.items(), key=lambda item: (-item[1], item[0]))
            return {**found, "tags": by_count[:limit]}

        return self._with_database(work)

    def in_workspace(self, workspace: str) -> list[dict[str, Any]]:
        """Return the lines of the runs that were read and that write into a workspace."""
        part = f'"workspace": {json.dumps(workspace)}'

        def work(database: sqlite3.Connection) -> list[dict[str, Any]]:
            found = database.execute("SELECT id FROM lines WHERE instr(line, ?) > 0 ORDER BY id", [part]).fetchall()
            return [line for (run_id,) in found if (line := _line(database, run_id)).get("workspace") == workspace]

        return self._with_database(work)

    def page(self, query: RunQuery, limit: int, cursor: str | None) -> IndexPage:
        """Return the first ``limit`` runs of a query, or the next ones after ``cursor``.

        :raises ConfigValueError: if the cursor isn't one of this order.
        """
        where, values = _conditions(query)
        name = query.sort.removeprefix("-")
        column, down = SORT_COLUMNS[name], query.sort.startswith("-")
        after, after_values = _after(cursor, column, down) if cursor is not None else ("1", [])
        direction = "DESC" if down else "ASC"
        order = f"id {direction}" if column == "id" else f"{column} IS NULL, {column} {direction}, id DESC"

        def work(database: sqlite3.Connection) -> IndexPage:
            matches = database.execute(f"SELECT count(*) FROM runs WHERE {where}", values).fetchone()[0]
            rows = database.execute(
                f"SELECT id, mark, {column} FROM runs WHERE {where} AND {after} ORDER BY {order} LIMIT ?",
                [*values, *after_values, limit + 1],
            ).fetchall()
            shown = rows[:limit]
            following = _cursor(column, shown[-1][2], shown[-1][0]) if len(rows) > limit else None
            return IndexPage([(run_id, mark, _line(database, run_id)) for run_id, mark, _ in shown], following, matches)

        return self._with_database(work)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            database, self._open = self._open, None
            self._ids = set()
            if database is not None:
                with suppress(sqlite3.Error):
                    database.close()

    def _with_database(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the database. A damaged file is replaced by an empty one; if this fails too, by one in memory."""
        with self._lock:
            for give_up in (self._replace_file, self._leave_file):
                try:
                    return work(self._database())
                except (sqlite3.Error, OSError, _ForeignFileError) as error:
                    self.close()
                    give_up(error)
            return work(self._database())

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = _memory() if self._in_memory else _opened(self._path)
            self._ids = {run_id for (run_id,) in self._open.execute("SELECT id FROM runs")}
        return self._open

    def _replace_file(self, error: Exception) -> None:
        """Remove a damaged file. One that another process uses, and one that isn't ours, stay."""
        in_use = isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY
        if in_use or isinstance(error, _ForeignFileError) or self._in_memory or not _removed(self._path):
            self._leave_file(error)
        else:
            _LOG.info("The index of the runs is built again: %s", error)

    def _leave_file(self, error: Exception) -> None:
        _LOG.warning("The index of the runs is kept in memory: %s", error)
        self._in_memory = True


def _removed(path: Path) -> bool:
    """Remove a damaged index and its journal; return whether an empty one can take its place."""
    try:
        for name in (path, *(path.with_name(path.name + end) for end in _SQLITE_SUFFIXES)):
            name.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _opened(path: Path) -> sqlite3.Connection:
    """Open the index, or make an empty one.

    :raises sqlite3.Error: if it is damaged, or another process uses it.
    :raises OSError: if there can't be a file.
    :raises _ForeignFileError: if something else is in its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in (path, *(path.with_name(path.name + end) for end in _SQLITE_SUFFIXES)):
        with suppress(FileNotFoundError):
            status = name.lstat()
            if not stat.S_ISREG(status.st_mode):  # also a pipe, on which SQLite would wait, and a link that leads elsewhere
                raise _ForeignFileError(f"{name} isn't a regular file")
            if status.st_size > _MAX_BYTES:
                raise OSError(f"{name} is too large")
    database = _connected(os.fspath(path))
    try:
        # No write-ahead log and no shared memory, which network drives don't have. After a power cut the file may be damaged.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = TRUNCATE")
        database.execute("PRAGMA synchronous = OFF")
        with transaction(database, "BEGIN EXCLUSIVE"):
            _prepared(database)
        if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the file is damaged")
    except BaseException:
        database.close()
        raise
    return database


def _prepared(database: sqlite3.Connection) -> None:
    """Make the table, unless it is there in this version.

    :raises _ForeignFileError: if the file is a database of something else.
    """
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    ours = database.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID
    if tables and not ours:
        raise _ForeignFileError("the file is another program's database")
    if tables and database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it was written by another version")
    if tables:
        database.execute(f"SELECT {', '.join(_COLUMNS)} FROM runs LIMIT 1")
        database.execute("SELECT id, line FROM lines LIMIT 1")
        return
    database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for statement in _TABLES:
        database.execute(statement)


def _memory() -> sqlite3.Connection:
    database = _connected(":memory:")
    _prepared(database)
    return database


def _connected(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=0, isolation_level=None, check_same_thread=False)


def _row(run_id: str, mark: str, line: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of ``_COLUMNS``; those of a run that wasn't read yet if its ``line`` is empty."""
    tags = [_text(tag) for tag in line.get("tags", ())]
    lines_of_tags = "".join(f"{tag}\n" for tag in tags)
    words = [run_id, *tags, *(_text(line.get(name)) for name in _SEARCHED[1:])]
    loss = line.get("smooth_loss")
    values = {
        "id": run_id,
        "mark": mark,
        "status": _status(line) if line else "",
        "name": _text(line.get("name")).casefold() or None,
        "model": _text(line.get("model_type")) or None,
        "method": _text(line.get("training_method")) or None,
        "steps": _number(line.get("global_step")),
        "loss": _number(line.get("loss") if loss is None else loss),
        "best": _number(line.get("best_loss")),
        "ended_at": _number(line.get("ended_at")),
        "elapsed_s": _number(line.get("elapsed_s")),
        "size_bytes": _number(line.get("size_bytes")),
        "samples": None if line.get("active") else _number(line.get("samples")),
        "resumes_run": _text(line.get("resumes_run")),
        "archived": int(line.get("archived") is True),
        "tags": f"\n{lines_of_tags}" if tags else "",
        "words": "\n".join(words).casefold()[:_MAX_SEARCHED],
    }
    return tuple(values[name] for name in _COLUMNS)


def _status(line: Mapping[str, Any]) -> str:
    if line.get("active"):
        return "active"
    return line["end_reason"] if line.get("end_reason") in STATUSES else "lost"


def _text(value: Any) -> str:
    """Return a text that SQLite takes: a damaged name may hold half a character."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, str) else float(value)
    except (TypeError, OverflowError):
        return None


def _line(database: sqlite3.Connection, run_id: str) -> dict[str, Any]:
    """Return the line of a run; an empty one, so that its folder is read, if there is none or a damaged one."""
    found = database.execute("SELECT line FROM lines WHERE id = ?", (run_id,)).fetchone()
    try:
        line = json.loads(found[0]) if found else {}
    except (ValueError, TypeError, RecursionError):
        return {}
    return line if isinstance(line, dict) and line.get("id") == run_id else {}


def _conditions(query: RunQuery) -> tuple[str, list[Any]]:
    """Return the SQL condition of a query and its values."""
    words = _text(query.search).casefold().split()
    parts = ["1", *(["instr(words, ?) > 0"] * len(words))]
    values: list[Any] = [*words]
    if query.statuses:
        parts.append(f"status IN ({', '.join('?' * len(query.statuses))})")
        values += query.statuses
    if query.tag:
        parts.append("instr(tags, ?) > 0")
        values.append(f"\n{_text(query.tag)}\n")
    for column, wanted in (("model", query.model), ("method", query.method), ("resumes_run", query.resumes)):
        if wanted:
            parts.append(f"{column} = ?")
            values.append(_text(wanted))
    if query.archived is not None:
        parts.append("archived = ?")
        values.append(int(query.archived))
    return " AND ".join(parts), values


def _cursor(column: str, value: Any, run_id: str) -> str:
    """Return the cursor of the page after a row: its id, and in another order also the value that it is sorted by."""
    if column == "id":
        return run_id
    return base64.urlsafe_b64encode(json.dumps([column, value, run_id]).encode()).decode()


def _after(cursor: str, column: str, down: bool) -> tuple[str, list[Any]]:
    """Return the SQL condition for what comes after a cursor, and its values.

    :raises ConfigValueError: if it isn't a cursor of this order.
    """
    sign = "<" if down else ">"
    if column == "id":
        return f"id {sign} ?", [_text(cursor)]
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    if not (isinstance(found, list) and len(found) == 3 and found[0] == column and isinstance(found[2], str)):
        raise ConfigValueError(
            f"The cursor {cursor!r} doesn't belong to this sort order", path="cursor", suggestion="Request the first page again."
        )
    run_id = _text(found[2])
    value = _text(found[1]) if isinstance(found[1], str) else _number(found[1])
    if value is None:
        return f"{column} IS NULL AND id < ?", [run_id]
    return f"({column} {sign} ? OR ({column} = ? AND id < ?) OR {column} IS NULL)", [value, value, run_id]
