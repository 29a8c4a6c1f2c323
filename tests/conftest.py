"""Fixtures and hooks for all tests."""

import gc
import itertools
import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from onetrainer_gradio.ui.gradio_import import shorten_import
from tests.alone import turn
from tests.log_records import recorded_log

# The machines that run this are shared and at times slow: a deadline per example would only measure the load.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# No test reaches the real Hugging Face Hub: tests/fakes/hub.py replaces it.
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")

# No test loses the power supply, and the disk takes milliseconds each time. Processes that tests start do write through.
os.fsync = lambda descriptor: None


# As the panel imports it: each process that collects tests would otherwise write Gradio's stub files.
shorten_import()

# Python's 700 are for small programs: syntax trees, schemas and models are made of millions of objects that all stay.
gc.set_threshold(50_000, 20, 20)


MARKS_OF_FILE = re.compile(r"^pytestmark = (\[$.*?^\]|.*?$)", re.MULTILINE | re.DOTALL)
WITHOUT_MARKS = re.compile(r"not \w+( and not \w+)*")


@cache
def _omitted(path, marks):
    """Return whether the file, or each file of tests in the folder, has one of the marks as a whole."""
    if path.is_dir():
        files = list(path.rglob("test_*.py"))
        return bool(files) and all(_omitted(file, marks) for file in files)
    found = " ".join(MARKS_OF_FILE.findall(path.read_text("utf-8")))
    return any(re.search(rf"\bmark\.{mark}\b", found) for mark in marks)


def _deselected(config):
    """Return the marks that ``-m`` omits, if it does nothing else."""
    expression = config.option.markexpr
    return tuple(re.findall(r"not (\w+)", expression)) if WITHOUT_MARKS.fullmatch(expression) else ()


def pytest_ignore_collect(collection_path, config):
    """Don't import what ``-m`` deselects as a whole."""
    marks = _deselected(config)
    if not marks or collection_path == Path(__file__).parent:
        return None
    if collection_path.is_dir() or collection_path.match("test_*.py"):
        return True if _omitted(collection_path, marks) else None
    return None


def pytest_pycollect_makeitem(collector, name, obj):
    """Don't make the cases of a test that ``-m`` deselects."""
    marks = _deselected(collector.config)
    if marks and name.startswith("test") and any(mark.name in marks for mark in getattr(obj, "pytestmark", ())):
        return []
    return None


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


# Files that share something costly, which each process would make again: a Chromium and a panel, or the parsed sources.
TOGETHER = (re.compile(r"tests/browser/"), re.compile(r"tests/test_(architecture|covered|docs|language|suggestions)\.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give files of `TOGETHER` to the same process."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return next((each.pattern for each in TOGETHER if each.match(file)), file)

    return Together(config, log) if config.getvalue("dist") == "loadfile" else None


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


@pytest.fixture(autouse=True)
def _frozen_imports():
    """Freeze what a test imports: each run ends with a garbage collection, which would walk through it."""
    before = len(sys.modules)
    yield
    if len(sys.modules) > before + 100:
        gc.collect()
        gc.freeze()


FOLDERS = itertools.count()


@pytest.fixture
def tmp_path(request, tmp_path_factory):
    """Return an empty folder. Pytest's own fixture looks through those of all tests before for a free number: 4 ms per test."""
    path = tmp_path_factory.getbasetemp() / f"{re.sub(r'[^a-zA-Z0-9_]', '_', request.node.name)[:30]}-{next(FOLDERS)}"
    path.mkdir()
    return path


@pytest.fixture
def log_records():
    """Return what the test logs."""
    with recorded_log() as records:
        yield records
