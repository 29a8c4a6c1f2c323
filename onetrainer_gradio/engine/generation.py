"""Generate images after a run: with a saved result at any strength, and with the base model.

A LoRA's strength interpolates the output of each adapted layer between the base model (0) and the trained one (1), which for
plain LoRA equals the multiplier of other programs, and has the same meaning for DoRA and OFT.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from onetrainer_gradio.config import SampleConfig, TrainConfig
from onetrainer_gradio.config.enums import TrainingMethod
from onetrainer_gradio.engine.families import spec_of
from onetrainer_gradio.engine.families.family import SampleRequest
from onetrainer_gradio.engine.methods.adapters.layer import Forward
from onetrainer_gradio.engine.methods.lora import Lora
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.engine.sampling import check
from onetrainer_gradio.errors import SamplingError, UnsupportedError

Progress = Callable[[int, int, str], None]

METHODS = (TrainingMethod.LORA, TrainingMethod.FINE_TUNE)
"""Methods whose results can be generated with."""


@dataclass
class ImageGenerator:
    """The base model of a run, and the result that was last generated with. Both stay loaded.

    :raises UnsupportedError: if the built-in engine can't load the model, or results of the method.
    """

    config: TrainConfig
    """The configuration of the run, with absolute paths."""
    progress: Progress = lambda done, total, what: None
    _base: Model | None = field(init=False, default=None)
    _trained: tuple[str, Model] | None = field(init=False, default=None)
    _lora: tuple[str, Lora] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.config.training_method not in METHODS:
            raise UnsupportedError(
                "Only results of LoRA and fine-tune runs can be generated with.",
                path="training_method",
                value=self.config.training_method,
                suggestion="Load the file in the program that you generate images with.",
            )
        spec_of(self.config.model_type)

    def generate(self, result: str, strength: float, sample: SampleConfig, seed: int, on_step: Callable[[int, int], bool]) -> Any:
        """Return a Pillow image, or None if ``on_step`` ended it.

        ``result`` is the path of a LoRA or model that the run saved, empty for the base model. The strength of a fine-tuned
        model is always 1.

        :raises ConfigValueError: if a parameter of the sample is invalid.
        :raises ModelNotFoundError, ModelFormatError: if the base model or the result can't be loaded.
        :raises SamplingError: if the image has values that aren't finite.
        """
        check(sample)
        request = SampleRequest(sample, seed, on_step)
        if self.config.training_method != TrainingMethod.LORA:
            return _finite(self._model(result), request)
        model = self._model("")
        if not result or not strength:
            self._detach()
            return _finite(model, request)
        with at_strength(self._attached(model, result), strength):
            return _finite(model, request)

    def _model(self, result: str) -> Model:
        if not result:
            if self._base is None:
                self._trained = None  # one model at a time: two may not fit
                self._base = self._load(self.config.base_model_name)
            return self._base
        if self._trained is None or self._trained[0] != result:
            self._base = self._trained = None
            self._trained = result, self._load(result)
        return self._trained[1]

    def _load(self, source: str) -> Model:
        model = Model.load(self.config.model_copy(update={"base_model_name": source}), source, self.progress)
        for module in model.components.values():
            module.requires_grad_(False).eval()
        return model

    def _attached(self, model: Model, result: str) -> Lora:
        if self._lora is not None and self._lora[0] == result:
            return self._lora[1]
        self._detach()
        lora = Lora.attach(model, self.config.model_copy(update={"lora_model_name": result}), 0, None)
        for part in lora.parts:
            part.module.requires_grad_(False).eval()
        self._lora = result, lora
        return lora

    def _detach(self) -> None:
        lora, self._lora = self._lora, None
        if lora is not None:
            lora[1].detach()


def _finite(model: Model, request: SampleRequest) -> Any:
    """Return the sample of the model. NumPy warns where a pipeline turns values that aren't finite into pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "invalid value encountered in cast", RuntimeWarning)
        try:
            return model.sample(request)
        except RuntimeWarning as warning:
            raise SamplingError(
                "The image contains NaN or infinite values.",
                suggestion="Choose a lower strength, or a run that trained in bfloat16 or float32.",
            ) from warning


@contextmanager
def at_strength(lora: Lora, strength: float) -> Iterator[None]:
    """Interpolate between base model and LoRA within the block."""
    if strength == 1:
        yield
        return
    adapters = [adapter for found in lora.adapters.values() for adapter in found]
    kept = [(module, module.forward) for adapter in adapters for module, _ in adapter.forwards()]
    originals = [(module, forward) for adapter in adapters for module, forward in adapter.layer.originals()]
    for (module, adapted), (_, original) in zip(kept, originals, strict=True):
        module.forward = partial(_between, original, adapted, strength)
    try:
        yield
    finally:
        for module, forward in kept:
            module.forward = forward


def _between(original: Forward, adapted: Forward, strength: float, x: Tensor) -> Tensor:
    base = original(x)
    return base + strength * (adapted(x) - base)
