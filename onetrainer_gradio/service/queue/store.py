"""Store the queue in an SQLite file: every change is one transaction, so it is there whole or not at all.

Several processes may use the file, such as a panel and the command line. SQLite orders their transactions.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from onetrainer_gradio.errors import DiskFullError, QueueItemNotFoundError, StorageError
from onetrainer_gradio.service.queue.items import ENDED, QueueItem, in_order, item_from_json
from onetrainer_gradio.service.sqlite_file import Schema, open_database, transaction

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
QUEUE_FILE = "queue.sqlite"
_TABLES = (
    """
CREATE TABLE items (
    id TEXT PRIMARY KEY,
    ended INTEGER NOT NULL,     -- 0: waits or has a run; otherwise the order in which items ended
    body TEXT NOT NULL,         -- the item as JSON
    config TEXT NOT NULL,       -- its frozen settings with concepts and samples; empty once it has ended
    options TEXT NOT NULL       -- its frozen run options
)
""",
    "CREATE INDEX items_ended ON items (ended)",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
SCHEMA = Schema(QUEUE_FILE, application_id=0x4F544751, version=1, statements=_TABLES)  # "OTGQ"
# Ended items that are kept, for the list and for items that start after them.
ENDED_KEPT = 500
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Transaction:
    """The queue within one transaction. ``items`` are those that haven't ended."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.items: dict[str, QueueItem] = {item.id: item for item in _items(database, "ended = 0 ORDER BY rowid")}
        self.changed = False

    def item(self, item_id: str) -> QueueItem:
        """Return an item that hasn't ended.

        :raises QueueItemNotFoundError: if there is none with this ID.
        """
        if item_id not in self.items:
            raise QueueItemNotFoundError(f"The queue has no run {item_id!r}", value=item_id)
        return self.items[item_id]

    def add(self, item: QueueItem, config: str, options: str) -> None:
        """Add an item."""
        self._database.execute("INSERT INTO items VALUES (?, 0, ?, ?, ?)", (item.id, item.to_json(), config, options))
        self.items[item.id] = item
        self.changed = True

    def put(self, item: QueueItem, *, config: str | None = None, options: str | None = None) -> QueueItem:
        """Replace an item, and its settings and options if they are given. Return it with its new revision."""
        item = replace(item, revision=item.revision + 1)
        self._database.execute(
            "UPDATE items SET body = ?, config = coalesce(?, config), options = coalesce(?, options) WHERE id = ?",
            (item.to_json(), config, options, item.id),
        )
        self.items[item.id] = item
        self.changed = True
        if item.state in ENDED:
            self._end(item)
        return item

    def _end(self, item: QueueItem) -> None:
        del self.items[item.id]
        (last,) = self._database.execute("SELECT max(ended) FROM items").fetchone()
        self._database.execute("UPDATE items SET ended = ?, config = '' WHERE id = ?", ((last or 0) + 1, item.id))
        self._database.execute("DELETE FROM items WHERE ended > 0 AND ended <= ?", ((last or 0) + 1 - ENDED_KEPT,))

    def remove(self, item: QueueItem) -> None:
        """Remove an item."""
        self._database.execute("DELETE FROM items WHERE id = ?", (item.id,))
        self.items.pop(item.id, None)
        self.changed = True

    def arrange(self, ordered: Iterable[QueueItem]) -> None:
        """Give the items the positions of their order."""
        for position, item in enumerate(ordered):
            if item != self.items[item.id] or item.position != position:
                self.put(replace(item, position=position))

    def next_position(self) -> int:
        """Return a position behind all others."""
        return 1 + max((item.position for item in self.items.values()), default=-1)

    def texts(self, item_id: str) -> tuple[str, str]:
        """Return the settings and the options of an item as JSON texts."""
        row = self._database.execute("SELECT config, options FROM items WHERE id = ?", (item_id,)).fetchone()
        if row is None:
            raise QueueItemNotFoundError(f"The queue has no run {item_id!r}", value=item_id)
        return str(row[0]), str(row[1])

    def ended_item(self, key: str) -> QueueItem | None:
        """Return the ended item with this ID, or the newest one that became the run with this ID."""
        found = _items(self._database, "id = ? AND ended > 0", key)
        if found:
            return found[0]
        return next((item for item in self.ended_items(ENDED_KEPT) if item.run_id == key), None)

    def ended_items(self, limit: int) -> list[QueueItem]:
        """Return the newest ended items, newest first."""
        return _items(self._database, "ended > 0 ORDER BY ended DESC LIMIT ?", limit)

    def ended_count(self) -> int:
        """Return the number of ended items."""
        return int(self._database.execute("SELECT count(*) FROM items WHERE ended > 0").fetchone()[0])

    def fact(self, name: str) -> str:
        """Return a fact about the queue; empty if it isn't set."""
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_fact(self, name: str, value: str) -> None:
        """Set a fact about the queue."""
        if self.fact(name) != value:
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
            self.changed = True

    def waiting(self) -> list[QueueItem]:
        """Return the waiting items in the order in which they start."""
        return in_order(self.items.values())


class QueueStore:
    """The queue in the file at ``path``. Safe from any thread and process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Return what ``work`` reads of the queue. It changes nothing.

        :raises StorageError: if the file can't be read.
        """
        with self._lock, _raising_storage_error("read"):
            if not self._path.exists() and self._open is None:
                return work(Transaction(_empty()))
            return self._whole(lambda: _within(self._database(), "BEGIN", work))

    def change(self, work: Callable[[Transaction], T]) -> T:
        """Change the queue in one transaction: all of it is stored when this returns, or nothing if it raises.

        :raises DiskFullError: if there is no space.
        :raises StorageError: if the file can't be written for another reason.
        """

        def counted(transaction: Transaction) -> T:
            result = work(transaction)
            if transaction.changed:
                transaction.set_fact("revision", str(int(transaction.fact("revision") or 0) + 1))
            return result

        with self._lock, _raising_storage_error("write"):
            return self._whole(lambda: _within(self._database(), "BEGIN IMMEDIATE", counted))

    def revision(self) -> int:
        """Return a number that increases with each change, by whichever process."""
        with self._lock, _raising_storage_error("read"):
            if not self._path.exists() and self._open is None:
                return 0
            row = self._whole(lambda: self._database().execute("SELECT value FROM facts WHERE name = 'revision'").fetchone())
            return int(row[0]) if row else 0

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            database, self._open = self._open, None
            if database is not None:
                with contextlib.suppress(sqlite3.Error):
                    database.close()

    def _whole(self, work: Callable[[], T]) -> T:
        """Do something with the database. A damaged file is renamed, and the queue is empty and paused then."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGED:
                if _code(error) == sqlite3.SQLITE_IOERR:
                    self.close()
                raise
            self.close()
            aside = self._path.with_name(f"{self._path.name}.damaged-{uuid.uuid4().hex[:8]}")
            self._path.rename(aside)
            _LOG.error("The queue file was damaged: %s. It is renamed to %s, and the queue is paused.", error, aside.name)
            database = self._database()
            with transaction(database):
                queue = Transaction(database)
                queue.set_fact("paused", f"The queue file was damaged. It was renamed to {aside.name}.")
                # readers that saw the former file see a change
                queue.set_fact("revision", str(int(time.time())))
            return work()

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = open_database(self._path, SCHEMA)
        return self._open


def _within(database: sqlite3.Connection, begin: str, work: Callable[[Transaction], T]) -> T:
    with transaction(database, begin):
        return work(Transaction(database))


def _empty() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    SCHEMA.prepare(database)
    return database


def _items(database: sqlite3.Connection, where: str, *values: Any) -> list[QueueItem]:
    found = []
    for item_id, body in database.execute(f"SELECT id, body FROM items WHERE {where}", values):
        try:
            found.append(item_from_json(body))
        except (ValueError, TypeError) as error:
            _LOG.warning("Can't read the queued run %s: %s", item_id, error)
    return found


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


@contextlib.contextmanager
def _raising_storage_error(verb: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_FULL:
            raise DiskFullError(
                "Can't write the queue: no space left on device", suggestion="Free up space on the disk of the data folder."
            ) from error
        raise StorageError(f"Can't {verb} the queue: {error}", suggestion="Check the disk of the data folder.") from error
    except OSError as error:
        raise StorageError(f"Can't {verb} the queue: {error}", suggestion="Check the disk of the data folder.") from error
