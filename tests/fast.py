"""Run the fast tests in two processes, each with folders of its own: ``python -m tests.fast [options of pytest]``.

With pytest-xdist, every process collects all tests and so imports torch, diffusers, Gradio and FastAPI. Here the libraries for
training and for the page are only imported by the process that tests them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
TRAINING_AND_PAGE = ("engine", "demo", "ui", "backends", "service")
ALL_SLOW = {"browser", "chaos", "gpu"}
"""Folders in which each test is slow: they aren't even collected."""
NOT_TESTS = {"fakes", "fixtures", "js"}
CHOICE = "not slow and not browser"


def halves() -> tuple[list[Path], list[Path]]:
    """Return what each process tests; a new folder or file goes to the second one."""
    first = [TESTS / name for name in TRAINING_AND_PAGE]
    left_out = {TESTS / name for name in ALL_SLOW | NOT_TESTS} | set(first)
    found = [path for path in sorted(TESTS.iterdir()) if path.is_dir() or path.match("test_*.py")]
    return first, [path for path in found if path not in left_out and path.name[0] not in "._"]


def command(paths: list[Path], options: list[str]) -> list[str]:
    """Return the command line that tests the paths in one process."""
    return [sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", CHOICE, *options, *map(str, paths)]


def main(options: list[str]) -> int:
    """Run both halves at the same time and print one after the other. Return 1 if a test failed in either."""
    first, second = halves()
    beside = subprocess.Popen(
        command(first, [*options, "-p", "no:cacheprovider"]), cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    here = subprocess.run(command(second, options), cwd=TESTS.parent, check=False)
    told, _ = beside.communicate()
    sys.stdout.buffer.write(told)
    return int(here.returncode != 0 or beside.returncode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
