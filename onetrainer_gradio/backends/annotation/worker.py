"""The process that captions and masks images: ``python -P -m onetrainer_gradio.backends.annotation.worker``.

It reads one request per line and answers with one line. ``load`` loads a model and keeps it until another one is asked for, and
``run`` applies it to an image. It exits when nothing was asked for a while, and when the panel ends, so the GPU's memory is free.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from onetrainer_gradio.backends.annotation.captioners import TransformersCaptioner
from onetrainer_gradio.backends.annotation.maskers import BackgroundMasker, TextMasker
from onetrainer_gradio.backends.annotation.taggers import Tagger
from onetrainer_gradio.backends.answering import answer_requests
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


if __name__ == "__main__":
    answer_requests(Loaded().answer, IDLE_S)
    sys.exit(0)
