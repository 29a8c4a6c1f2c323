"""A test that is held to a time limit runs alone."""

import threading

import pytest

from tests import alone

pytestmark = pytest.mark.slow


@pytest.mark.skipif(alone.fcntl is None, reason="there are no locks on files of this kind here")
def test_one_that_runs_alone_waits_for_the_others_and_they_for_it(tmp_path, monkeypatch):
    """Two tests may run at the same time; one that wants to run alone comes next, and later ones wait for it."""
    for name in ("DOOR", "ROOM"):
        (tmp_path / name).touch()
        monkeypatch.setattr(alone, name, tmp_path / name)
    order = []
    came = {name: threading.Event() for name in ("one", "other", "timed", "late")}
    leave = {name: threading.Event() for name in came}

    def test(name):
        with alone.turn(name == "timed"):
            order.append(f"{name} begins")
            came[name].set()
            leave[name].wait(10)
            order.append(f"{name} ends")

    threads = {name: threading.Thread(target=test, args=(name,)) for name in came}
    for name in ("one", "other"):
        threads[name].start()
        assert came[name].wait(10)
    threads["timed"].start()
    assert not came["timed"].wait(0.1)
    threads["late"].start()
    assert not came["late"].wait(0.1)
    leave["one"].set()
    leave["other"].set()
    assert came["timed"].wait(10)
    assert not came["late"].wait(0.1)
    leave["timed"].set()
    assert came["late"].wait(10)
    leave["late"].set()
    for thread in threads.values():
        thread.join(10)
    assert set(order[2:4]) == {"one ends", "other ends"}
    assert order[4:] == ["timed begins", "timed ends", "late begins", "late ends"]
