"""SQLite files of the data folder are checked when they are opened, and rejected if they aren't ours."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from onetrainer_gradio.errors import StorageError
from onetrainer_gradio.service.sqlite_file import Schema, open_database, transaction

SCHEMA = Schema("things.sqlite", 0x4F544799, 2, ("CREATE TABLE things (name TEXT)",))


def test_a_file_is_created_with_its_tables_and_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        database = open_database(tmp_path / "new" / SCHEMA.file, SCHEMA, private=True)
        with transaction(database):
            database.execute("INSERT INTO things VALUES ('one')")
        count = database.execute("SELECT count(*) FROM things").fetchone()[0]
        database.close()
    assert count == 2
    assert stat.S_IMODE((tmp_path / "new" / SCHEMA.file).stat().st_mode) == 0o600


def test_what_raises_within_a_transaction_changes_nothing(tmp_path: Path) -> None:
    database = open_database(tmp_path / SCHEMA.file, SCHEMA)
    with pytest.raises(ZeroDivisionError), transaction(database):
        database.execute("INSERT INTO things VALUES (?)", (database.execute("INSERT INTO things VALUES ('one')").rowcount // 0,))
    assert database.execute("SELECT count(*) FROM things").fetchone()[0] == 0
    database.close()


@pytest.mark.parametrize(
    ("application_id", "version", "reason"), [(SCHEMA.application_id, 3, "newer version"), (1, 2, "another program")]
)
def test_a_file_that_is_not_ours_stays_as_it_is(tmp_path: Path, application_id: int, version: int, reason: str) -> None:
    path = tmp_path / SCHEMA.file
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA application_id = {application_id}")
    database.execute(f"PRAGMA user_version = {version}")
    database.execute("CREATE TABLE others (name TEXT)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=reason):
        open_database(path, SCHEMA)
    assert path.read_bytes() == before
