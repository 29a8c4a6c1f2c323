"""The loop of a process that answers requests of the panel: one JSON line each on standard input and output."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable
from typing import Any, BinaryIO

Request = dict[str, Any]


def answer_requests(answer: Callable[[Request], dict[str, Any]], idle_s: float) -> None:
    """Answer requests until standard input ends, which it does with the panel, or none has come for ``idle_s`` seconds."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of a library is not a response
    os.nice(5) if hasattr(os, "nice") else None
    while _is_asked(requests, idle_s):
        line = requests.readline()
        if not line:
            return
        answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def _is_asked(requests: BinaryIO, idle_s: float) -> bool:
    try:
        return bool(select.select([requests], [], [], idle_s)[0])
    except (OSError, ValueError):  # pipes can't be waited for on this system
        return True
