"""The process that converts a LoRA for the panel: ``python -P -m onetrainer_gradio.backends.convert_worker``.

It reads one request, a JSON object on one line, and answers with one line. It loads torch, and uses no GPU.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import TrainerError


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Convert ``source`` to ``destination`` in ``format`` and ``dtype``. Return what was done, or the error."""
    from onetrainer_gradio.engine.keys.convert import convert_lora

    try:
        done = convert_lora(
            Path(request["source"]),
            Path(request["destination"]),
            request["format"],
            overwrite=True,
            dtype=request.get("dtype", ""),
        )
    except TrainerError as error:
        return {"error": error.message, "suggestion": error.suggestion}
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        return {"error": f"Can't convert the LoRA: {error}", "suggestion": ""}
    return {"model_type": done.model_type.value, "tensors": done.tensors, "warning": done.warning}


def main() -> None:
    """Answer one request from standard input."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of a library is not a response
    os.nice(5) if hasattr(os, "nice") else None
    line = sys.stdin.buffer.readline()
    if line:
        answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
    sys.exit(0)
