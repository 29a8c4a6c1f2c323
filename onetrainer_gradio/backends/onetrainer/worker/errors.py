"""Describe errors as data, and take them where they are the answer."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

# What libraries say of a full disk where they do not pass on the error of the system.
FULL_WORDS = ("No space left", "os error 28", "os error 27", "os error 122", "Disk quota exceeded", "PytorchStreamWriter failed")
NO_SPACE = "Nothing was written. Is the disk full?"


def attempt(body: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Return what the body of a run or of an import gives, or what it raises.

    The one place where anything at all is taken, for those alone to whom an error is the answer: a run, and an import.
    """
    try:
        return body(), None
    except BaseException as error:  # noqa: BLE001 - the body of a run: whatever is raised is the cause of its end
        return None, error


class OutcomeProbe:
    """A context that reports how its block went (None, or the error) and lets the error pass."""

    def __init__(self, report_outcome: Callable[[BaseException | None], None]) -> None:
        self._report_outcome = report_outcome

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._report_outcome(error)
        finally:
            if error is not None and not isinstance(error, Exception):
                raise error  # an interrupt gets out, also where telling it failed


def cause_of(error: BaseException) -> dict[str, Any]:
    """Return an error as data: kind, sentence, the file and line of OneTrainer's where it arose, and what lay beneath it."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    here = os.path.dirname(os.path.abspath(__file__))
    trace = traceback.extract_tb(root.__traceback__)
    frames = [frame for frame in trace if os.path.dirname(os.path.abspath(frame.filename)) != here]
    own = [frame for frame in frames if os.sep + "modules" + os.sep in frame.filename]
    places = own or frames
    place = places[-1] if places else None
    return {
        "kind": type(error).__name__,
        "message": first_line(error),
        "root_kind": type(root).__name__,
        "root_message": first_line(root),
        "errno": getattr(root, "errno", None),
        "filename": str(getattr(root, "filename", "") or ""),
        "name": str(getattr(root, "name", "") or ""),
        "where": f"{os.path.relpath(place.filename)}:{place.lineno}" if place is not None else "",
    }


def first_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:600] if lines else ""


def problem_of(error: BaseException) -> str:
    """Return an error in one sentence."""
    text = first_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def storage_error(failure: str, path: str) -> dict[str, Any]:
    """Return the error of something that was not written."""
    full = failure == NO_SPACE or "No space left" in failure or "[Errno 28]" in failure
    suggestion = "Free up space, lower Rolling backup count, or choose another workspace folder."
    return {"type": "DiskFullError" if full else "StorageError", "message": failure, "path": path, "suggestion": suggestion}


def write_errors() -> tuple[type[BaseException], ...]:
    """Return what writing a model raises."""
    library = sys.modules.get("safetensors")
    kinds = (OSError, RuntimeError, getattr(library, "SafetensorError", OSError))
    return tuple(kind for kind in kinds if isinstance(kind, type))


def is_disk_full(error: BaseException) -> bool:
    """Return whether something could not be written because there is no space."""
    numbers = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    return any(word in str(error) for word in FULL_WORDS)
