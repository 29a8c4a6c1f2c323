"""Open the SQLite files of the data folder that must survive a power cut, and change them in transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.errors import StorageError

# How long a transaction waits for one of another process.
BUSY_S = 10.0


@dataclass(frozen=True)
class Schema:
    """The tables of a file. ``application_id`` distinguishes it from another program's database.

    Raise ``version`` when a column is added or means something else.
    """

    file: str
    application_id: int
    version: int
    statements: tuple[str, ...]

    def prepare(self, database: sqlite3.Connection) -> None:
        """Create the tables unless they exist.

        :raises StorageError: if the file is a database of another program or of a newer version.
        """
        if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            database.execute(f"PRAGMA application_id = {self.application_id}")
            database.execute(f"PRAGMA user_version = {self.version}")
            for statement in self.statements:
                database.execute(statement)
            return
        ours = database.execute("PRAGMA application_id").fetchone()[0] == self.application_id
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if not ours or version > self.version:
            why = f"a newer version ({version}) wrote it" if ours else "another program wrote it"
            raise StorageError(f"Can't use {self.file}: {why}", suggestion="Move the file out of the data folder.")


def open_database(path: Path, schema: Schema, *, private: bool = False) -> sqlite3.Connection:
    """Open a file, creating it and its tables if needed; only its owner can read it if it is ``private``.

    :raises StorageError: if the file is a database of another program or of a newer version.
    :raises sqlite3.Error: if it is damaged, busy or can't be written.
    :raises OSError: if it can't be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if private:  # created here, so that it never exists with the rights that the process gives new files
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(os.fspath(path), timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        # No write-ahead log, which network drives don't support. A change survives a power cut.
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = FULL")
        with transaction(database):
            schema.prepare(database)
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit what happens within, or roll it back if it raises."""
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some errors roll back by themselves
            database.execute("ROLLBACK")
        raise
