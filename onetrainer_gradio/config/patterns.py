"""Evaluate regular expressions from users as Python's ``re`` does, with limits on time and memory.

Layer filters, quantization filters and special tags use this module, in the pre-flight check and in the engine.
OneTrainer evaluates them with ``re``, and another library differs from it in details, so ``re`` itself runs in a process that
is ended when it takes too long. Patterns that can't backtrack are evaluated directly.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from onetrainer_gradio.errors import PatternError

How = Literal["search", "fullmatch"]

CHECK_S = 0.5
"""CPU time for all patterns of one filter, in the check and on the page."""

RUN_S = 10.0
"""The same in a run. It is longer, so that patterns that passed the check don't fail there because the machine is busy."""

MAX_CHARACTERS = 20_000
"""Length of all patterns of a filter together. Compiling takes time, too."""

_WORKER = Path(__file__).with_name("pattern_worker.py")

# Time to start the process and to wait for a CPU on a busy machine, in addition to the CPU time of the patterns.
_STARTING_S = 5.0

# This many evaluations run at the same time. Others wait for a limited time.
_SLOTS = threading.BoundedSemaphore(2)
_WAITING_S = 10.0

# Only characters and positions: a match has no choice at any step.
_FORCED = re.compile(r"(?:[\w ,:/^$.-]|\\[.:/-])*")


def fits(patterns: Iterable[str], texts: Sequence[str], how: How, *, seconds: float = CHECK_S) -> list[frozenset[int] | str]:
    """Return for each pattern the positions of the texts that it matches, or why it isn't a regular expression.

    :raises PatternError: if they take too long together, or can't be evaluated.
    """
    wanted = tuple(patterns)
    if sum(map(len, wanted)) > MAX_CHARACTERS:
        raise PatternError(
            f"The regular expressions must have at most {MAX_CHARACTERS} characters, not {sum(map(len, wanted))}",
            expected=f"at most {MAX_CHARACTERS} characters",
            suggestion="Shorten the regular expressions.",
        )
    slow = tuple(dict.fromkeys(pattern for pattern in wanted if not _forced(pattern)))
    found = dict(zip(slow, _evaluated(slow, tuple(texts), how, seconds), strict=True)) if slow else {}
    return [found[pattern] if pattern in found else _direct(pattern, texts, how) for pattern in wanted]


def _forced(pattern: str) -> bool:
    return _FORCED.fullmatch(pattern) is not None


def _direct(pattern: str, texts: Sequence[str], how: How) -> frozenset[int]:
    fit = getattr(re.compile(pattern), how)
    return frozenset(index for index, text in enumerate(texts) if fit(text))


def _evaluated(patterns: tuple[str, ...], texts: tuple[str, ...], how: How, seconds: float) -> tuple[frozenset[int] | str, ...]:
    answer = _asked(patterns, texts, how, seconds)
    if isinstance(answer, str):
        shown = ", ".join(f"“{_short(pattern)}”" for pattern in patterns[:3]) + (" …" if len(patterns) > 3 else "")
        raise PatternError(
            f"The regular expression {shown} {answer}" if len(patterns) == 1 else f"The regular expressions {shown} {answer}",
            expected="a pattern without nested repeats such as (a+)+",
            suggestion="Remove nested repeats such as (a+)+.",
        )
    return answer


@lru_cache(maxsize=128)
def _asked(patterns: tuple[str, ...], texts: tuple[str, ...], how: How, seconds: float) -> tuple[frozenset[int] | str, ...] | str:
    """Return the output or the error of the process; cached, because the form evaluates the same filter repeatedly."""
    if not _SLOTS.acquire(timeout=_WAITING_S):
        raise PatternError("Other regular expressions are being evaluated", suggestion="Try again in a moment.")
    try:
        done = subprocess.run(
            [sys.executable or "python", "-I", "-S", "-B", "-W", "ignore", str(_WORKER)],
            input=json.dumps({"patterns": patterns, "texts": texts, "how": how, "seconds": seconds}).encode(),
            capture_output=True,
            timeout=seconds + _STARTING_S,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired as error:
        raise PatternError(
            "The regular expressions took too long", suggestion="Simplify them, or try again in a moment."
        ) from error
    except OSError as error:
        raise PatternError(f"Can't evaluate regular expressions, because no process can be started: {error}") from error
    finally:
        _SLOTS.release()
    if done.returncode and done.returncode == -getattr(signal, "SIGPROF", 0):
        return "took too long"
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        if reason == "MemoryError":
            return "requires too much memory"
        raise PatternError(f"Can't evaluate regular expressions: {reason}")
    return tuple(each if isinstance(each, str) else frozenset(each) for each in json.loads(done.stdout))


def _short(pattern: str) -> str:
    return pattern if len(pattern) <= 60 else f"{pattern[:57]}..."
