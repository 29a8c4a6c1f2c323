"""The process that estimates VRAM for the panel: ``python -P -m onetrainer_gradio.backends.memory_worker``.

It reads one configuration per line and answers with one line. It loads torch, and uses no GPU. It exits when nothing was asked
for a while, and when the panel ends.
"""

from __future__ import annotations

import sys
from typing import Any

from onetrainer_gradio.backends.answering import answer_requests
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import TrainerError

IDLE_S = 300.0


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the estimate for a configuration, or why there is none."""
    from onetrainer_gradio.engine.lean_imports import unused_omitted

    with unused_omitted():
        return _estimated(request)


def _estimated(request: dict[str, Any]) -> dict[str, Any]:
    from onetrainer_gradio.engine.dry_run import estimate

    try:
        return {"estimate": estimate(from_document(request["config"])[0]).to_json()}
    except TrainerError as error:
        return {"error": error.message, "suggestion": error.suggestion}
    except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        # an error of shapes or data types: a run with these settings would fail in its first step
        return {"error": f"The first step fails with these settings: {error}", "suggestion": ""}


if __name__ == "__main__":
    answer_requests(answer, IDLE_S)
    sys.exit(0)
