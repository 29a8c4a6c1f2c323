"""The process that generates images after a run: ``python -P -m onetrainer_gradio.backends.generation_worker``.

Each request is one image: the ``config`` of the run, the ``result`` (path, empty for the base model) and its ``strength``, the
``sample``, its ``seed``, the ``path`` to write to, and ``stop``, a file whose existence ends the image. The model stays loaded
until a request for another run. The process exits when nothing was asked for a while, so the GPU's memory is free.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from onetrainer_gradio.backends.answering import answer_requests
from onetrainer_gradio.config import SampleConfig, TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import DiskFullError, OutOfMemoryError, TrainerError

IDLE_S = 120.0

_SUGGESTIONS: Mapping[type[TrainerError], str] = {
    OutOfMemoryError: "Choose a smaller image, or the CPU.",
    DiskFullError: "Free up space on the disk of the data folder.",
}
"""What to do, where the suggestion for a run doesn't apply to a single image."""


class Generator(Protocol):
    """What generates images for one run."""

    def generate(self, result: str, strength: float, sample: SampleConfig, seed: int, on_step: Callable[[int, int], bool]) -> Any:
        """Return a Pillow image, or None if it was ended early."""
        ...


def _generator(config: TrainConfig) -> Generator:
    from onetrainer_gradio.engine.generation import ImageGenerator

    return ImageGenerator(config)


class Loaded:
    """The generator of the run that was asked for last."""

    def __init__(self, load: Callable[[TrainConfig], Generator] = _generator) -> None:
        self._load = load
        self._config: Mapping[str, Any] = {}
        self._generator: Generator | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write the image, and return the ``seconds`` it took; ``stopped`` if it was ended, or why there is none."""
        from onetrainer_gradio.engine.lean_imports import unused_omitted

        with unused_omitted():
            return self._answer(request)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        started = time.monotonic()
        try:
            if self._generator is None or self._config != request["config"]:
                self._generator = None  # the memory of one model has to be free before the next is loaded
                self._generator, self._config = self._load(from_document(request["config"])[0]), request["config"]
            return self._written(self._generator, request) | {"seconds": time.monotonic() - started}
        except TrainerError as error:
            return _answer(error)
        except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError, OSError, MemoryError) as error:
            return _answer(_translated(error)) or {"error": f"The image can't be generated: {error}", "suggestion": ""}

    def _written(self, generator: Generator, request: Mapping[str, Any]) -> dict[str, Any]:
        from onetrainer_gradio.engine.sampling import write_sample

        sample = SampleConfig.model_validate(request["sample"])
        stop = Path(request["stop"])
        panel = os.getppid()

        def wanted(done: int, total: int) -> bool:
            return not stop.exists() and os.getppid() == panel  # without the panel, nobody would end a long image

        image = generator.generate(request["result"], request["strength"], sample, request["seed"], wanted)
        if image is None:
            return {"stopped": True}
        write_sample(Path(request["path"]), image, "PNG", request["facts"])
        return {"stopped": False}


def _translated(error: BaseException) -> TrainerError | None:
    from onetrainer_gradio.engine.failures import translate

    return translate(error)


def _answer(error: TrainerError | None) -> dict[str, Any]:
    return {"error": error.message, "suggestion": _SUGGESTIONS.get(type(error), error.suggestion)} if error else {}


if __name__ == "__main__":
    answer_requests(Loaded().answer, IDLE_S)
    sys.exit(0)
