"""The process that captions and masks images: ``python -P -m onetrainer_gradio.backends.annotation.worker``.

It reads one request per line and answers with one line. ``load`` loads a model and keeps it until another one is asked for, and
``run`` applies it to an image. It exits when nothing was asked for a while, and when the panel ends, so the GPU's memory is free.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Protocol

from onetrainer_gradio.backends.annotation.captioners import TransformersCaptioner
from onetrainer_gradio.backends.annotation.maskers import BackgroundMasker, TextMasker
from onetrainer_gradio.backends.annotation.taggers import Tagger
from onetrainer_gradio.config.dataset.images import BrokenImageError
from onetrainer_gradio.errors import ModelNotFoundError, TrainerError

IDLE_S = 120.0


class Annotator(Protocol):
    """A loaded model."""

    def run(self, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result for an image."""
        ...


KINDS: Mapping[str, Callable[[str, str], Annotator]] = {
    "transformers": TransformersCaptioner,
    "tagger": Tagger,
    "text": TextMasker,
    "background": BackgroundMasker,
}
"""Kind of a request -> what loads a model (name or folder) on a device."""


class Loaded:
    """The model that was loaded last."""

    def __init__(self) -> None:
        self._key: tuple[str, ...] = ()
        self._model: Annotator | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, or why there is none."""
        try:
            key = (request["kind"], request["model"], request["device"])
            if self._model is None or key != self._key:
                self._model, self._key = None, ()
                self._model, self._key = KINDS[request["kind"]](request["model"], request["device"]), key
            if request["what"] == "load":
                return {"ok": True}
            return self._model.run(request["path"], request["options"])
        except TrainerError as error:
            return {"error": error.message, "suggestion": error.suggestion, "model": isinstance(error, ModelNotFoundError)}
        except BrokenImageError as error:
            return {"error": f"The image can't be read: {error}.", "suggestion": ""}
        except (
            RuntimeError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            IndexError,
            NotImplementedError,
            MemoryError,
        ) as error:
            # an error of a model's own code: out of memory, or files that don't fit together
            return {"error": f"The model failed: {error}", "suggestion": "Choose another model."}


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
    loaded = Loaded()
    while _is_asked(requests):
        line = requests.readline()
        if not line:
            return
        answers.write(json.dumps(loaded.answer(json.loads(line))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
    sys.exit(0)
