"""Evaluate regular expressions in a process that can be killed: ``patterns.py`` starts it and reads its output.

Python's ``re`` has no time limit and holds the interpreter lock while it matches, so a pattern that a user wrote could block the
whole program. This script needs only the standard library and runs without site-packages, so it starts in a few milliseconds.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from typing import Any

MEMORY_BYTES = 512 * 1024 * 1024

TOO_MUCH = "it repeats or nests too much"


def limit(seconds: float) -> None:
    """End this process after this many seconds of CPU time, and limit its memory, if the system supports it."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)  # without a handler the signal ends the process, even within a match
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    except (OSError, ValueError):  # macOS does not always allow it
        return


def fitting(pattern: str, texts: list[str], how: str) -> list[int] | str:
    """Return the positions of the texts that a pattern matches, or why it isn't a regular expression."""
    try:
        fits = getattr(re.compile(pattern), how)
    except re.error as error:
        return str(error)
    except (MemoryError, OverflowError, RecursionError):
        return TOO_MUCH
    return [index for index, text in enumerate(texts) if fits(text)]


def main() -> None:
    """Read a request from standard input, and print the matches of each pattern."""
    asked: dict[str, Any] = json.load(sys.stdin)
    limit(asked["seconds"])
    json.dump([fitting(pattern, asked["texts"], asked["how"]) for pattern in asked["patterns"]], sys.stdout)


if __name__ == "__main__":
    main()
