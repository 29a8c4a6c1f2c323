"""Keep the rows of a small table in memory, and write each change first."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Generic, TypeVar

from onetrainer_gradio.service.people.store import PeopleStore

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class Rows(Generic[T]):
    """The rows of a table, by a unique column. Each is a dataclass with the table's columns. Safe from any thread.

    A change replaces ``now`` instead of changing it. So the guard reads it at each request without a lock or a file, also while
    another thread writes. Code that decides by ``now`` what to change holds ``lock``.
    """

    def __init__(self, store: PeopleStore, table: str, kind: type[T], key: str) -> None:
        self.lock = threading.RLock()
        self._store = store
        self._table = table
        self._kind = kind
        self._key = key
        self._columns = tuple(column.name for column in fields(kind))
        self._now: Mapping[str, T] | None = None

    @property
    def now(self) -> Mapping[str, T]:
        """Return all rows by their key. The first call reads the file.

        :raises StorageError: if it can't be read.
        """
        known = self._now
        if known is None:
            with self.lock:
                known = self._now = self._read() if self._now is None else self._now
        return known

    def put(self, row: T, *, without: Collection[str] = ()) -> None:
        """Add or replace a row, and remove those with the keys ``without``, in one transaction.

        :raises StorageError: if the file can't be written.
        """
        columns, marks = ", ".join(self._columns), ", ".join(f":{name}" for name in self._columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in self._columns)
        insert = f"INSERT INTO {self._table} ({columns}) VALUES ({marks}) ON CONFLICT ({self._key}) DO UPDATE SET {changes}"
        values = asdict(row)

        def write(database: sqlite3.Connection) -> None:
            self._delete(database, without)
            database.execute(insert, values)

        with self.lock:
            before = self.now
            self._store.change(write)
            self._now = {**{key: each for key, each in before.items() if key not in without}, values[self._key]: row}

    def remove(self, keys: Collection[str]) -> None:
        """Remove the rows with these keys in one transaction.

        :raises StorageError: if the file can't be written.
        """
        with self.lock:
            before = self.now
            self._store.change(lambda database: self._delete(database, keys))
            self._now = {key: each for key, each in before.items() if key not in keys}

    def _delete(self, database: sqlite3.Connection, keys: Collection[str]) -> None:
        database.executemany(f"DELETE FROM {self._table} WHERE {self._key} = ?", [(key,) for key in keys])

    def _read(self) -> Mapping[str, T]:
        def rows(database: sqlite3.Connection) -> list[T]:
            return [self._kind(*row) for row in database.execute(f"SELECT {', '.join(self._columns)} FROM {self._table}")]

        none: list[T] = []
        return {str(getattr(row, self._key)): row for row in self._store.read(rows, none)}
