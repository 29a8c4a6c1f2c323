"""The process that estimates VRAM for the panel: ``python -P -m onetrainer_gradio.backends.memory_worker``.

It reads one configuration per line and answers with one line. It loads torch, and uses no GPU. It exits when nothing was asked
for a while, and when the panel ends.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any, BinaryIO

from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import TrainerError

IDLE_S = 300.0


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the estimate for a configuration, or why there is none."""
    from onetrainer_gradio.engine.dry_run import estimate

    try:
        return {"estimate": estimate(from_document(request["config"])[0]).to_json()}
    except TrainerError as error:
        return {"error": error.message, "suggestion": error.suggestion}
    except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        # an error of shapes or data types: a run with these settings would fail in its first step
        return {"error": f"The first step fails with these settings: {error}", "suggestion": ""}


def _is_asked(requests: BinaryIO) -> bool:
    try:
        return bool(select.select([requests], [], [], IDLE_S)[0])
    except (OSError, ValueError):  # pipes can't be waited for on this system
        return True


def main() -> None:
    """Answer requests from standard input until it ends."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    os.nice(5) if hasattr(os, "nice") else None
    while _is_asked(requests):
        line = requests.readline()
        if not line:
            return
        answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
    sys.exit(0)
