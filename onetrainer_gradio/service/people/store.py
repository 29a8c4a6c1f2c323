"""Store accounts, sessions, tokens, links and the audit log in an SQLite file that only its owner can read."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from onetrainer_gradio.errors import DiskFullError, StorageError
from onetrainer_gradio.service.sqlite_file import Schema, open_database, transaction

T = TypeVar("T")

PEOPLE_FILE = "people.sqlite"
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
_SCHEMA = Schema(PEOPLE_FILE, application_id=0x4F544750, version=1, statements=_TABLES)  # "OTGP"


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
            with transaction(database):
                return work(database)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            database, self._open = self._open, None
            if database is not None:
                database.close()

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = open_database(self._path, _SCHEMA, private=True)
        return self._open


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
