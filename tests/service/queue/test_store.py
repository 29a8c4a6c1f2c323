"""The queue's file is complete after every interruption, shared by processes, and never silently empty."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onetrainer_gradio.errors import DiskFullError, StorageError
from onetrainer_gradio.service.queue.items import QueueItem
from onetrainer_gradio.service.queue.store import ENDED_KEPT, QueueStore, Transaction


def put(store: QueueStore, *names: str) -> None:
    def work(queue: Transaction) -> None:
        for name in names:
            queue.add(QueueItem(id=f"q-{name}", name=name, position=queue.next_position()), "{}", "{}")

    store.change(work)


def names(store: QueueStore) -> list[str]:
    return store.read(lambda queue: [item.name for item in queue.waiting()])


@pytest.fixture
def store(tmp_path):
    made = QueueStore(tmp_path / "queue.sqlite")
    yield made
    made.close()


def test_reading_makes_no_file(store, tmp_path):
    assert names(store) == []
    assert store.revision() == 0
    assert not (tmp_path / "queue.sqlite").exists()


def test_items_are_there_after_a_restart(store, tmp_path):
    put(store, "a", "b")
    store.close()
    assert names(QueueStore(tmp_path / "queue.sqlite")) == ["a", "b"]


def test_a_change_that_raises_changes_nothing(store):
    put(store, "a")
    revision = store.revision()

    def work(queue: Transaction) -> None:
        queue.remove(queue.items["q-a"])
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        store.change(work)
    assert names(store) == ["a"]
    assert store.revision() == revision


def test_every_change_has_a_new_revision_for_all_processes(store, tmp_path):
    other = QueueStore(tmp_path / "queue.sqlite")
    put(store, "a")
    before = other.revision()
    put(store, "b")
    assert other.revision() > before
    store.change(lambda queue: queue.set_fact("paused", ""))
    assert other.revision() == store.revision()
    other.close()


@pytest.mark.slow
def test_a_damaged_file_is_kept_and_pauses_the_queue(store, tmp_path):
    put(store, "a")
    store.close()
    (tmp_path / "queue.sqlite").write_bytes(b"no database" * 1000)
    assert names(store) == []
    assert "damaged" in store.read(lambda queue: queue.fact("paused"))
    (aside,) = tmp_path.glob("queue.sqlite.damaged-*")
    assert aside.read_bytes().startswith(b"no database")
    put(store, "b")
    assert names(store) == ["b"]


def test_the_file_of_another_program_or_version_is_left_alone(tmp_path):
    path = tmp_path / "queue.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE things (a)")
    store = QueueStore(path)
    with pytest.raises(StorageError, match="another program"):
        put(store, "a")
    database = sqlite3.connect(path)
    assert [name for (name,) in database.execute("SELECT name FROM sqlite_master")] == ["things"]
    database.close()


def test_a_full_disk_is_reported_and_loses_nothing(store):
    put(store, "a")
    store._database().execute("PRAGMA max_page_count = 1")
    big = "x" * 1_000_000
    with pytest.raises(DiskFullError):
        store.change(lambda queue: queue.add(QueueItem(id="q-b", name="b"), big, "{}"))
    assert names(store) == ["a"]


@pytest.mark.slow
def test_ended_items_are_limited(store):
    def work(queue: Transaction) -> None:
        for number in range(ENDED_KEPT + 20):
            item = QueueItem(id=f"q-{number}")
            queue.add(item, "settings", "{}")
            queue.put(QueueItem(id=f"q-{number}", state="completed"))

    store.change(work)
    kept = store.read(lambda queue: queue.ended_items(10_000))
    assert len(kept) == ENDED_KEPT
    assert kept[0].id == f"q-{ENDED_KEPT + 19}"
    assert store.read(lambda queue: queue.texts(kept[0].id)) == ("", "{}")


WRITER = """
import sys
from pathlib import Path
from onetrainer_gradio.service.queue.items import QueueItem
from onetrainer_gradio.service.queue.store import QueueStore

store = QueueStore(Path(sys.argv[1]))
for number in range(100_000):
    def work(queue):
        ids = [f"q-{number}-{part}" for part in "ab"]  # both or none
        for item_id in ids:
            queue.add(QueueItem(id=item_id, name=item_id, position=queue.next_position()), "{}" * 500, "{}")
        if number >= 5:
            for part in "ab":
                queue.remove(queue.items[f"q-{number - 5}-{part}"])
    store.change(work)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_whole_changes(tmp_path):
    """Every confirmed change is stored; the change during the kill is stored completely or not at all."""
    path = tmp_path / "queue.sqlite"
    for turn in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.1 + 0.17 * turn)
            process.kill()
            reported = [line for line in process.stdout.read().split() if line]
        store = QueueStore(path)
        left = names(store)
        numbers = [int(name.split("-")[1]) for name in left]
        assert len(left) % 2 == 0
        assert sorted(numbers)[::2] == sorted(numbers)[1::2]
        assert not reported or max(numbers) >= int(reported[-1])
        store.close()
        path.unlink()
