"""Fixtures and hooks for all tests."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.alone import turn

# The machines that run this are shared and at times slow: a deadline per example would only measure the load.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# No test reaches the real Hugging Face Hub: tests/fakes/hub.py replaces it.
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")

# No test loses the power supply, and the disk takes milliseconds each time. Processes that tests start do write through.
os.fsync = lambda descriptor: None


# Python's 700 are for small programs: syntax trees, schemas and models are made of millions of objects that all stay.
gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Freeze what the imports leave, so that the garbage collector doesn't walk through torch and gradio again and again.

    That took a third of the collection time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


# Folders whose files take minutes come first, so that no process is left with one at the end. While the demo trains,
# which is held to a time limit, a second process has tests that use one core.
LONGEST_FIRST = ("demo", "engine", "golden", "chaos", "browser", "gpu", "backends", "api", "service", "ui")


def _place(item, with_alone):
    """Return the sort key of a test's file.

    Files with a test that runs alone come last, since a long one makes the others wait.
    """
    if item.path in with_alone:
        return len(LONGEST_FIRST) + 2, 0
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    quick = len(LONGEST_FIRST) + (folder == "config")
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else quick, item.path.name != "test_end_to_end.py"


def pytest_collection_modifyitems(items):
    """Put the longest files first. If requested, repeat failed tests that depend on the load of the machine."""
    with_alone = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: _place(item, with_alone))
    if os.environ.get("ONETRAINER_GRADIO_REPEAT") != "1":
        return
    for item in items:
        if any(item.get_closest_marker(name) for name in ("browser", "alone", "timed")):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Keep other processes from testing while a test marked ``alone`` runs."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with turn(item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(autouse=True)
def _back_where_it_was():
    """Restore the current folder: a panel or run in this process changes to its data folder, and tests run in any order."""
    before = os.getcwd()
    yield
    os.chdir(before)
