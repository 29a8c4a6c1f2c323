"""What holds for all tests."""

import gc
import os

import pytest
from hypothesis import settings

from tests.alone import turn

# The machines that run this are shared and slow by turns: a deadline per example would only measure the neighbours.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_collection_finish():
    """What the imports left stays for good: the collector need not walk through torch and gradio again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Where it is asked for, a test that depends on how busy the machine is runs once more before it counts as failed."""
    if os.environ.get("ONETRAINER_GRADIO_REPEAT") != "1":
        return
    for item in items:
        if any(item.get_closest_marker(name) for name in ("browser", "alone")):
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
