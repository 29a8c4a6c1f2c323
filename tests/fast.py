"""Run the fast tests in two processes, each with its own folders: ``python -m tests.fast [options of pytest]``.

With pytest-xdist, every process collects all tests and so imports torch, diffusers and FastAPI. Here only the process that tests
the training libraries imports them, and neither imports Gradio: tests that need it are slow.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
TRAINING = ("backends", "engine", "gpu", "service")
NOT_TESTS = {"fakes", "fixtures", "js"}
CHOICE = "not slow and not browser"
ALL_SLOW = re.compile(r"^pytestmark = .*\bslow\b", re.MULTILINE)


def halves() -> tuple[list[Path], list[Path]]:
    """Return the folders and files that each process tests; a new one goes to the second process."""
    first = [TESTS / name for name in TRAINING]
    found = [path for path in sorted(TESTS.iterdir()) if path.is_dir() or path.match("test_*.py")]
    left_out = {*first, *(TESTS / name for name in NOT_TESTS)}
    return first, [path for path in found if path not in left_out and path.name[0] not in "._"]


def slow_files() -> list[Path]:
    """Return the files in which every test is slow: they aren't collected, so their libraries aren't imported."""
    return [path for path in sorted(TESTS.rglob("test_*.py")) if ALL_SLOW.search(path.read_text("utf-8"))]


def command(paths: list[Path], options: list[str]) -> list[str]:
    """Return the command line that tests the paths in one process."""
    ignored = [f"--ignore={path}" for path in slow_files()]
    plugins = ["-p", "no:schemathesis"]  # half a second; only slow tests need it
    report_slow = ["-q", "--durations=5", "--durations-min=0.5"]  # a test above this should be marked slow
    return [sys.executable, "-m", "pytest", "-n", "0", *report_slow, "-m", CHOICE, *plugins, *ignored, *options, *map(str, paths)]


def main(options: list[str]) -> int:
    """Run both halves at the same time and print one after the other. Return 1 if a test failed in either."""
    first, second = halves()
    other = subprocess.Popen(
        command(first, [*options, "-p", "no:cacheprovider"]), cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    here = subprocess.run(command(second, options), cwd=TESTS.parent, check=False)
    other_output, _ = other.communicate()
    sys.stdout.buffer.write(other_output)
    return int(here.returncode != 0 or other.returncode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
