"""The index of the runs is a cache: whatever happens to its file, the list is correct, and no run is lost.

Covers ``service/runs/listing.py``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.events import RunEnded
from onetrainer_gradio.service.runs.index import SCHEMA_VERSION, SORTS, RunIndex, RunQuery
from onetrainer_gradio.service.runs.record import INDEX_FILE, RunStore, new_run_id
from tests.fakes.configs import small_config
from tests.service.runs.test_record import create

NAMES = ("cats on film", "Ärger", "dogs", "cats again", "")


def line(run_id: str, number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": run_id,
        "name": NAMES[number % len(NAMES)],
        "active": False,
        "end_reason": ("completed", "failed", "stopped", "lost")[number % 4],
        "global_step": number % 3,
        "smooth_loss": None if number % 3 == 0 else number / 7,
        "tags": ["red"] if number % 2 else [],
        "ended_at": float(number),
        "elapsed_s": None,
        "size_bytes": 10 * number,
    } | changed


@pytest.fixture
def index(tmp_path: Path) -> Iterator[RunIndex]:
    index = RunIndex(tmp_path / "index.sqlite")
    yield index
    index.close()


def filled(index: RunIndex, number: int = 20) -> list[str]:
    """Put some runs into an index and return their ids, newest first."""
    ids = [new_run_id(second) for second in range(number)]
    index.put({run_id: ("mark", line(run_id, second)) for second, run_id in enumerate(ids)})
    return ids[::-1]


def all_pages(index: RunIndex, query: RunQuery, limit: int = 3) -> list[str]:
    found: list[str] = []
    cursor = None
    for _ in range(1000):
        page = index.page(query, limit, cursor)
        found += [run_id for run_id, _, _ in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            assert page.matches == len(found)
            return found
    raise AssertionError("the pages don't end")


@pytest.mark.slow
@pytest.mark.parametrize("sort", SORTS)
def test_every_order_gives_each_run_once_over_all_pages(index: RunIndex, sort: str) -> None:
    """This includes equal and missing values; runs without a value come last in both directions."""
    ids = filled(index)
    found = all_pages(index, RunQuery(sort=sort))
    assert sorted(found, reverse=True) == ids
    if sort.endswith("loss"):
        without = {run_id for number, run_id in enumerate(ids[::-1]) if number % 3 == 0}
        assert set(found[-len(without) :]) == without
    if sort == "-size":
        assert found == ids


def test_a_search_finds_runs_by_all_words_in_any_case(index: RunIndex) -> None:
    """It covers name, id, tags and more; special characters of SQL have no meaning."""
    ids = filled(index)
    assert len(all_pages(index, RunQuery(search="CATS"))) == 8
    assert len(all_pages(index, RunQuery(search="again cats"))) == 4
    assert len(all_pages(index, RunQuery(search="ärger"))) == 4
    assert all_pages(index, RunQuery(search=ids[0])) == [ids[0]]
    for nothing in ("%", "_", "'", '"', "\\", "cats dogs", "\0", "x" * 500):
        assert all_pages(index, RunQuery(search=nothing)) in ([], ids if nothing == "_" else [])


def test_states_and_tags_filter(index: RunIndex) -> None:
    """Several states may be given; a tag has to match completely."""
    filled(index)
    assert len(all_pages(index, RunQuery(statuses=("failed",)))) == 5
    assert len(all_pages(index, RunQuery(statuses=("failed", "lost")))) == 10
    assert len(all_pages(index, RunQuery(tag="red"))) == 10
    assert all_pages(index, RunQuery(tag="re")) == []
    assert len(all_pages(index, RunQuery(search="cats", statuses=("failed",), tag="red"))) == 2


@pytest.mark.parametrize("cursor", ["", "x", "W10=", "é", "WyJzdGVwcyIsIDFlOTk5LCAieCJd", "bnVsbA==", "2026-11-28_00-00-00-0000"])
def test_a_cursor_of_another_order_is_an_error(index: RunIndex, cursor: str) -> None:
    """It is an error whatever a client sends."""
    filled(index)
    with pytest.raises(ConfigValueError):
        index.page(RunQuery(sort="-loss"), 3, cursor)


def test_a_page_continues_where_the_run_that_ended_the_last_one_was_deleted(index: RunIndex) -> None:
    """This works in any order, because the cursor contains the value."""
    ids = filled(index)
    for sort in ("-size", "-created", "name"):
        everything = all_pages(index, RunQuery(sort=sort))
        first = index.page(RunQuery(sort=sort), 5, None)
        index.follow(set(ids) - {everything[4]})
        rest = index.page(RunQuery(sort=sort), 100, first.next_cursor)
        assert [run_id for run_id, _, _ in rest.rows] == everything[5:]
        filled(index)


def test_values_that_a_database_does_not_take_are_kept_out(index: RunIndex) -> None:
    """A damaged record may contain half a character, or a huge number."""
    run_id = new_run_id(5)
    wild = line(run_id, 1, name="\ud800", global_step=10**400, tags=["\udfff"], smooth_loss=1e999, elapsed_s=[], ended_at="x")
    index.put({run_id: ("mark", wild)})
    assert index.page(RunQuery(sort="-steps"), 5, None).rows[0][2]["name"] == "\ud800"
    assert all_pages(index, RunQuery(search="\ud800", tag="\ud800")) in ([], [run_id])


# what may have happened to the file


def corrupt_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : len(data)] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def version(number: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as database:
            database.execute(f"PRAGMA user_version = {number}")
        database.close()

    return change


def no_table(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE lines")
    database.close()


def other_rows(path: Path) -> None:
    """Return invalid lines, lines of another run, and lines with values of wrong types."""
    with sqlite3.connect(path) as database:
        database.execute("UPDATE lines SET line = '[1]' WHERE rowid % 3 = 0")
        database.execute('UPDATE lines SET line = \'{"id": "x"}\' WHERE rowid % 3 = 1')
        database.execute("UPDATE lines SET line = x'ff' WHERE rowid % 3 = 2")
    database.close()


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (id TEXT)")
    database.close()


def link(target: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(path.with_name(target))

    return change


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(8 << 30)


def hot_journal(path: Path) -> None:
    path.with_name(f"{path.name}-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + os.urandom(5000))


def folder_as_journal(path: Path) -> None:
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    path.with_name(f"{path.name}-journal").mkdir()


def read_only(path: Path) -> None:
    path.chmod(0o444)


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


DAMAGES: dict[str, Callable[[Path], None]] = {
    "deleted": lambda path: path.unlink(),
    "empty": content(b""),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "one byte": content(b"S"),
    "garbage": content(os.urandom(9000)),
    "text": content(b'{"runs": []}'),
    "header only": lambda path: os.truncate(path, 100),
    "corrupt pages": corrupt_middle,
    "a folder": folder,
    "a link to itself": link("index.sqlite"),
    "a link to nothing": link("nothing"),
    "a pipe": pipe,
    "huge": huge,
    "read-only": read_only,
    "garbage as its journal": hot_journal,
    "a folder as its journal": folder_as_journal,
    "a pipe as its journal": lambda path: pipe(path.with_name(f"{path.name}-journal")),
    "a pipe as its write-ahead log": lambda path: pipe(path.with_name(f"{path.name}-wal")),
    "an older schema": version(SCHEMA_VERSION - 1),
    "a newer schema": version(SCHEMA_VERSION + 1),
    "a table is missing": no_table,
    "other rows": other_rows,
    "another program's database": foreign,
}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "runs")
    for second in range(6):
        run = create(store, new_run_id(1_700_000_000 + second), tags=("red",))
        run.journal.append(RunEnded(reason="completed", at=float(second + 1)))
    assert len(store.page()["runs"]) == 6
    store.listing.close()
    return RunStore(store.folder)


def index_of(store: RunStore) -> Path:
    return store.folder.parent / "cache" / INDEX_FILE


def seen(store: RunStore) -> list[str]:
    """Return the list as shown to a person, in three ways; each has to contain every run."""
    ids = store.ids()
    for query in (RunQuery(), RunQuery(search="name"), RunQuery(tag="red", statuses=("completed",))):
        for _ in range(100):
            if not (page := store.page(10, None, query))["unread"]:
                break
            store.listing.read(list(store.listing.outdated()))
        assert page["unread"] == 0
        assert [row["id"] for row in page["runs"]] == ids
        assert {row["end_reason"] for row in page["runs"]} == {"completed"}
        assert (page["total"], page["matches"]) == (len(ids), len(ids))
    return ids


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_became_of_the_file_the_list_is_whole(store: RunStore, tmp_path: Path, damage: str) -> None:
    """Files that aren't ours are left unchanged."""
    DAMAGES[damage](index_of(store))
    assert len(seen(store)) == 6
    store.listing.close()
    assert len(seen(RunStore(store.folder))) == 6
    if damage == "a folder":
        assert (index_of(store) / "inside").read_text() == "x"
    if damage == "a link to nothing":
        assert not (tmp_path / "cache" / "nothing").exists()
    if damage == "another program's database":
        with sqlite3.connect(index_of(store)) as database:
            assert database.execute("SELECT count(*) FROM mine").fetchone() == (0,)
        database.close()


@pytest.mark.slow
def test_damage_while_the_panel_is_on_costs_nothing(store: RunStore) -> None:
    """The file is overwritten, or deleted with its folder, while the index is open."""
    seen(store)
    index_of(store).write_bytes(os.urandom(30_000))
    seen(store)
    shutil.rmtree(index_of(store).parent)
    seen(store)
    create(store, new_run_id(), tags=("red",)).journal.append(RunEnded(reason="completed"))
    assert len(seen(store)) == 7


@pytest.mark.slow
def test_an_index_that_another_process_holds_is_left_alone(store: RunStore) -> None:
    """The list works from memory in the meantime."""
    code = textwrap.dedent(
        """
        import sqlite3, sys
        database = sqlite3.connect(sys.argv[1], isolation_level=None)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        print("held", flush=True)
        sys.stdin.read()
        """
    )
    command = [sys.executable, "-c", code, str(index_of(store))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None  # noqa: PT018
        assert other.stdout.readline() == "held\n"
        assert len(seen(store)) == 6
        other.stdin.close()
    with sqlite3.connect(index_of(store)) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (6,)
    database.close()


@pytest.mark.slow
def test_a_folder_that_takes_no_file_gives_an_index_in_memory(store: RunStore) -> None:
    """An example is a file in place of the cache folder."""
    shutil.rmtree(index_of(store).parent)
    index_of(store).parent.write_text("x")
    assert len(seen(store)) == 6


# runs that are added, removed and changed


@pytest.mark.slow
def test_folders_that_come_and_go_while_the_panel_is_off_or_on_are_followed(store: RunStore, tmp_path: Path) -> None:
    """A person adds, removes and renames them."""
    ids = seen(store)
    shutil.move(store.folder / ids[0], tmp_path / "away")
    assert seen(store) == ids[1:]
    shutil.move(tmp_path / "away", store.folder / ids[0])
    assert seen(store) == ids
    other = new_run_id(1_600_000_000)
    (store.folder / ids[1]).rename(store.folder / other)
    assert other in seen(store)
    store.listing.close()
    shutil.rmtree(store.folder / ids[0])
    shutil.copytree(store.folder / ids[2], store.folder / new_run_id(1_500_000_000))
    again = RunStore(store.folder)
    assert seen(again)[0] == ids[2]
    assert new_run_id(1_500_000_000) in again.ids()


@pytest.mark.slow
def test_a_run_that_was_replaced_or_written_to_is_read_again(store: RunStore) -> None:
    """Its row follows the folder: a new record, a removed line, another run under its name."""
    newest, older = seen(store)[:2]
    record = store.folder / newest / "run.json"
    record.write_text(record.read_text().replace('"name": "name"', '"name": "other"'))
    (store.folder / newest / "summary.json").unlink()
    again = RunStore(store.folder)
    store.listing.close()
    assert again.page(1)["runs"][0]["name"] == "other"
    assert [row["id"] for row in again.page(9, None, RunQuery(search="other"))["runs"]] == [newest]
    shutil.rmtree(store.folder / newest)
    shutil.copytree(store.folder / older, store.folder / newest)
    assert again.page(1)["runs"][0]["name"] == "name"


@pytest.mark.slow
def test_a_run_that_trains_is_found_by_what_it_is_now(store: RunStore) -> None:
    """An active run is read for each page; once it has ended, it isn't listed as active."""
    run = create(store, new_run_id(1_800_000_000))
    active = RunQuery(statuses=("active",))
    assert [row["id"] for row in store.page(9, None, active)["runs"]] == [run.id]
    run.journal.append(RunEnded(reason="failed"))
    assert store.page(9, None, active)["runs"] == []
    assert [row["id"] for row in store.page(9, None, RunQuery(statuses=("failed",)))["runs"]] == [run.id]


@pytest.mark.slow
def test_runs_are_created_and_deleted_while_others_list_them(store: RunStore) -> None:
    """Several threads do so; no call fails, and in the end exactly the existing runs are listed."""
    wrong: list[BaseException] = []
    over = threading.Event()

    def watch(query: RunQuery) -> None:
        try:
            while not over.is_set():
                page = store.page(20, None, query)
                assert len({row["id"] for row in page["runs"]}) == len(page["runs"])
        except BaseException as error:  # noqa: BLE001 - reported by the test
            wrong.append(error)

    def change(first: int) -> None:
        try:
            for second in range(first, first + 12):
                run = create(store, new_run_id(second))
                run.journal.append(RunEnded(reason="completed"))
                if second % 2:
                    store.delete(run.id)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            wrong.append(error)

    watchers = [threading.Thread(target=watch, args=(query,)) for query in (RunQuery(), RunQuery(sort="-size", search="n"))]
    changers = [threading.Thread(target=change, args=(first,)) for first in (1_800_000_000, 1_900_000_000)]
    for thread in (*watchers, *changers):
        thread.start()
    for thread in changers:
        thread.join()
    over.set()
    for thread in watchers:
        thread.join()
    assert wrong == []
    listed = [row["id"] for row in store.page(100)["runs"]]
    assert listed == store.ids()
    assert len(listed) == 6 + 12


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_kill_while_rows_are_written_leaves_a_usable_index(tmp_path: Path) -> None:
    """The kill comes at several moments; SQLite rolls back the rest."""
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from onetrainer_gradio.service.runs.index import RunIndex
        from onetrainer_gradio.service.runs.record import new_run_id
        from tests.service.runs.test_index import line
        index = RunIndex(Path(sys.argv[1]))
        ids = [new_run_id(second) for second in range(3000)]
        print("go", flush=True)
        while True:
            index.put({run_id: ("mark", line(run_id, number)) for number, run_id in enumerate(ids)})
        """
    )
    for wait_s in (0.05, 0.2, 0.3):
        path = tmp_path / "index.sqlite"
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            time.sleep(wait_s)
            other.kill()
        index = RunIndex(path)
        assert index.page(RunQuery(), 1, None).matches in (0, 3000)
        index.close()


@pytest.mark.slow
def test_the_line_names_what_was_trained(store: RunStore) -> None:
    """Model type, method, base model and size are in the list and can be searched."""
    config = small_config(store.folder.parent)
    row = store.page(1)["runs"][0]
    assert row["model_type"] == str(config.model_type)
    assert row["training_method"] == str(config.training_method)
    assert row["size_bytes"] > 100
    assert store.page(9, None, RunQuery(search=str(config.training_method)))["matches"] == 6


@pytest.mark.slow
def test_the_number_of_samples_of_ended_runs_is_known(store: RunStore) -> None:
    """Their folders aren't read; an active run isn't counted."""
    create(store, new_run_id(1_800_000_000))
    seen_ids = store.ids()
    store.page(20)
    assert store.listing.sample_counts() == dict.fromkeys(seen_ids[1:], 0)
