"""What holds for all tests."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.alone import turn

# The machines that run this are shared and slow by turns: a deadline per example would only measure the neighbours.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# No test reaches the real hub: tests/fakes/hub.py stands in for it.
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What the imports leave stays for good: the collector need not walk through torch and gradio again and again.

    A third of the time of the collection went into that.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


# Folders whose files take minutes come first, so that no process is left with one at the end. Beside the demo's training,
# which is held to a time, a second process has tests that use one core.
LONGEST_FIRST = ("demo", "engine", "golden", "chaos", "browser", "gpu", "backends", "api", "service", "ui")


def _place(item, with_alone):
    """Where a test's file stands. Files with a test that runs alone are last: a long one would make all wait."""
    if item.path in with_alone:
        return len(LONGEST_FIRST) + 2, 0
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    quick = len(LONGEST_FIRST) + (folder == "config")
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else quick, item.path.name != "test_end_to_end.py"


def pytest_collection_modifyitems(items):
    """Put the longest files first. Where it is asked for, repeat failed tests that depend on how busy the machine is."""
    with_alone = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: _place(item, with_alone))
    if os.environ.get("ONETRAINER_GRADIO_REPEAT") != "1":
        return
    for item in items:
        if any(item.get_closest_marker(name) for name in ("browser", "alone", "timed")):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Of several processes, none runs a test beside one that is marked ``alone``."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with turn(item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(autouse=True)
def _back_where_it_was():
    """A panel or run started in this process goes to its data folder; the next test, in whatever order, begins here again."""
    before = os.getcwd()
    yield
    os.chdir(before)
