"""Reading rows from memory never waits for writers."""

from __future__ import annotations

import threading

import pytest

from onetrainer_gradio.errors import StorageError
from onetrainer_gradio.service.people.rows import Rows
from onetrainer_gradio.service.people.sessions import Session
from onetrainer_gradio.service.people.store import PeopleStore


def session(digest: str, address: str = "a") -> Session:
    return Session(digest, "ada", "", 1.0, 2.0, address)


@pytest.fixture
def store(tmp_path):
    store = PeopleStore(tmp_path / "people.sqlite")
    yield store
    store.close()


def rows_of(store: PeopleStore) -> Rows[Session]:
    return Rows(store, "sessions", Session, key="digest")


def test_what_is_put_and_removed_is_in_the_file(store):
    rows = rows_of(store)
    rows.put(session("a"))
    rows.put(session("b"))
    rows.put(session("a", "other"))
    rows.put(session("c"), without={"b"})
    assert rows.now == rows_of(store).now == {"a": session("a", "other"), "c": session("c")}
    rows.remove({"a", "unknown"})
    assert rows.now == rows_of(store).now == {"c": session("c")}


def test_a_reader_waits_for_no_writer(store):
    """The guard reads on the thread that answers all requests, while a transaction may wait for a disk."""
    rows = rows_of(store)
    rows.put(session("a"))
    found: list[object] = []
    with rows.lock:
        reader = threading.Thread(target=lambda: found.append(rows.now.get("a")))
        reader.start()
        reader.join(10)
        assert found == [session("a")]


def test_what_a_reader_goes_through_does_not_change(store):
    rows = rows_of(store)
    rows.put(session("a"))
    going = iter(rows.now.values())
    rows.put(session("b"))
    rows.remove({"a"})
    assert list(going) == [session("a")]


def test_what_cannot_be_written_is_not_in_memory_either(store):
    rows = rows_of(store)
    rows.put(session("a"))
    store.change(lambda database: database.execute("DROP TABLE sessions"))
    for change in (lambda: rows.put(session("b")), lambda: rows.remove({"a"})):
        with pytest.raises(StorageError):
            change()
    assert rows.now == {"a": session("a")}
