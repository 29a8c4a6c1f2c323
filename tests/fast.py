"""Run the fast tests in two processes, each with its own folders: ``python -m tests.fast [options of pytest]``.

With pytest-xdist, every process collects all tests and so imports torch, diffusers and FastAPI. Here only the process that tests
the training libraries imports them, and neither imports Gradio: tests that need it are slow.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
TRAINING = ("backends", "engine", "gpu")
CHOICE = "not slow and not browser and not exhaustive"


def halves() -> tuple[list[str], list[str]]:
    """Return the paths and options that choose what each process tests; a new folder goes to the second process."""
    first = [str(TESTS / name) for name in TRAINING]
    return first, [str(TESTS), *(f"--ignore={path}" for path in first)]


def command(chosen: list[str], options: list[str]) -> list[str]:
    """Return the command line that tests the chosen paths in one process."""
    plugins = ["-p", "no:schemathesis"]  # half a second; only slow tests need it
    report_slow = ["-q", "--durations=5", "--durations-min=0.1"]  # a test above this should be marked slow
    return [sys.executable, "-m", "pytest", "-n", "0", *report_slow, "-m", CHOICE, *plugins, *options, *chosen]


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
