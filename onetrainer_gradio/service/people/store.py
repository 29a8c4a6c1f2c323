"""Store accounts, sessions, tokens, links and the audit log in an SQLite file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from onetrainer_gradio.errors import DiskFullError, StorageError

T = TypeVar("T")

PEOPLE_FILE = "people.sqlite"
# Raise this when a column is added or means something else.
SCHEMA_VERSION = 1
# "OTGP": distinguishes the file from another program's database.
_APPLICATION_ID = 0x4F544750
_TABLES = (
    """
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    role TEXT NOT NULL,
    password TEXT NOT NULL,         -- Argon2 hash; empty: signs in elsewhere only
    totp TEXT NOT NULL,             -- secret of the authenticator app; empty: none
    totp_step INTEGER NOT NULL,     -- the last accepted time step, which is not accepted again
    recovery TEXT NOT NULL,         -- digests of unused recovery codes as a JSON list
    subject TEXT NOT NULL,          -- issuer and subject of an external sign-in; empty: none
    created REAL NOT NULL,
    last_seen REAL NOT NULL,
    disabled INTEGER NOT NULL,
    gpu_hours REAL,                 -- quota per 30 days; NULL: none
    disk_bytes INTEGER              -- quota; NULL: none
)
""",
    """
CREATE TABLE sessions (
    digest TEXT PRIMARY KEY, account TEXT NOT NULL, link TEXT NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL, address TEXT NOT NULL
)
""",
    """
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, account TEXT NOT NULL, name TEXT NOT NULL, scope TEXT NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL, last_used REAL NOT NULL
)
""",
    """
CREATE TABLE links (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, made_by TEXT NOT NULL, name TEXT NOT NULL, shows TEXT NOT NULL,
    run_id TEXT NOT NULL, role TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL, last_used REAL NOT NULL
)
""",
    """
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL, account TEXT NOT NULL, kind TEXT NOT NULL,
    via TEXT NOT NULL, address TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, status INTEGER NOT NULL
)
""",
    # append-only, for this program too
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END",
)
_BUSY_S = 10.0


class PeopleStore:
    """The file at ``path``, created with the first change. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None

    def read(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Return what ``work`` reads, or ``otherwise`` if there is no file yet.

        :raises StorageError: if the file can't be read.
        """
        with self._lock, _raising_storage_error("read"):
            return otherwise if self._open is None and not self._path.exists() else work(self._database())

    def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Change the file in one transaction and return what ``work`` returns.

        :raises DiskFullError: if there is no space.
        :raises StorageError: if the file can't be written for another reason.
        """
        with self._lock, _raising_storage_error("write"):
            database = self._database()
            with _transaction(database):
                return work(database)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            database, self._open = self._open, None
            if database is not None:
                database.close()

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # created here, so that it never exists with the rights that the process gives new files
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            database = sqlite3.connect(os.fspath(self._path), timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                database.execute("PRAGMA journal_mode = DELETE")
                database.execute("PRAGMA synchronous = FULL")
                with _transaction(database):
                    _prepare(database)
            except BaseException:
                database.close()
                raise
            self._open = database
        return self._open


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some errors roll back by themselves
            database.execute("ROLLBACK")
        raise


def _prepare(database: sqlite3.Connection) -> None:
    """Create the tables unless they exist.

    :raises StorageError: if the file is a database of another program or of a newer version.
    """
    if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for statement in _TABLES:
            database.execute(statement)
        return
    ours = database.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if not ours or version > SCHEMA_VERSION:
        why = f"a newer version ({version}) wrote it" if ours else "another program wrote it"
        raise StorageError(f"Can't use {PEOPLE_FILE}: {why}", suggestion="Move the file out of the data folder.")


@contextlib.contextmanager
def _raising_storage_error(verb: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # the caller reports a name that is taken
    except (sqlite3.Error, OSError) as error:
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        kind = DiskFullError if full else StorageError
        raise kind(f"Can't {verb} the accounts: {error}", suggestion="Check the disk of the data folder.") from error
