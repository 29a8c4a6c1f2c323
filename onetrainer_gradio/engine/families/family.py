"""Define what a model family is: data and small pure functions. What all families share is in model.py and prediction.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from onetrainer_gradio.config import SampleConfig, TrainConfig

Tensors = dict[str, Tensor]
"""Named tensors: of one item without a batch dimension, or of a batch with one.

The tensors of text encoder n are ``tokens``, ``tokens_mask``, ``hidden`` and ``pooled`` with ``_n`` behind (none for the first).
"""


@dataclass(frozen=True)
class Part:
    """A model component that can be trained.

    ``name`` is its name in configurations and LoRA files (``unet``); ``path_prefix`` precedes the module
    paths in LoRA files if the library's class has one level less; ``layer_filter``: whether the filter applies.
    """

    name: str
    module: nn.Module
    kohya_prefix: str
    path_prefix: str = ""
    layer_filter: bool = True


@dataclass(frozen=True)
class Prediction:
    """A prediction, its target, and the timesteps (None: there are none, so no loss depends on them).

    ``prior_BCHW`` is the prediction of the model without its adapter, where the loss needs it.
    """

    predicted_BCHW: Tensor
    target_BCHW: Tensor
    timestep_B: Tensor | None
    prior_BCHW: Tensor | None = None


@dataclass(frozen=True)
class SampleRequest:
    """The parameters of one sample."""

    sample: SampleConfig
    seed: int
    on_step: Callable[[int, int], bool]
    """Called with ``(done, total)`` after each step; returning False ends the sample."""
    images: Sequence[Path] = ()
    """The training images, for methods that reconstruct one."""


@dataclass(frozen=True)
class Component:
    """A model component: "library:Class", and the name of its folder in diffusers layout where it isn't the configuration's.

    ``fallback``: with float16 training it computes in the fallback data type, because it overflows in float16.
    """

    source: str
    fallback: bool = False

    @property
    def library(self) -> str:
        """Return the library of the class, which decides the names of the weight files."""
        return self.source.partition(":")[0]

    @property
    def class_name(self) -> str:
        """Return the name of the class."""
        return self.source.partition(":")[2]


class States(Protocol):
    """Encode tokens: ``(module, tokens of one encoder, skipped layers) -> {"hidden": (B, L, D), "pooled": (B, D)}``."""

    def __call__(self, module: Any, tokens: Tensors, skip: int) -> Tensors: ...


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder: its component, its tokenizer, and how its states are used."""

    name: str
    tokenizer: str
    tokenizer_class: str
    states: States
    kohya_prefix: str
    tokens: Callable[[Any, TrainConfig], int] = lambda tokenizer, config: int(tokenizer.model_max_length)
    """The length that prompts are padded and truncated to."""
    text_model_level: bool = False
    """In files, module paths begin with ``text_model.``, which the class of newer transformers omits."""

    @property
    def suffix(self) -> str:
        """Return what follows the names of its tensors: ``""``, ``"_2"`` …"""
        return self.name.removeprefix("text_encoder")


@dataclass(frozen=True)
class LatentSpace:
    """The latents of the VAE, and how they are normalized for the denoiser.

    ``factor`` is the width of an image divided by the width of its latents.
    """

    normalize: Callable[[Any, Tensor], Tensor]
    """``(configuration of the VAE, latents_BCHW) -> latents_BCHW``"""
    factor: int = 8
    mask_factor: int = 8
    """The width of an image divided by the width of its mask."""


class Objective(Protocol):
    """What the denoiser learns: how images are noised, what it is to predict, and the loss weights by timestep."""

    @property
    def timestep_first(self) -> bool:
        """Return whether the timestep is sampled before the noise."""
        ...

    @property
    def prediction(self) -> str:
        """Return what is predicted, in the words of scheduler configurations: "epsilon", "v_prediction" or "flow_prediction"."""
        ...

    @property
    def timesteps(self) -> int:
        """Return the number of train timesteps."""
        ...

    def psi(self, timestep_B: Tensor) -> Tensor | None:
        """Return the factor of generalized offset noise, if it is used."""
        ...

    def noised(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Return the noised latents, in the data type of the latents."""
        ...

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Return what the denoiser is to predict."""
        ...

    def loss_weight(self, name: str, timestep_B: Tensor, strength: float) -> Tensor:
        """Return the loss weight of each timestep, by the name of the setting."""
        ...


class LoadedModel(Protocol):
    """A loaded model, as the functions of its family see it (engine/model.py)."""

    config: TrainConfig
    components: dict[str, Any]
    tokenizers: dict[str, Any]
    scheduler_config: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    """The train data type."""
    autocast: AbstractContextManager[object]
    objective: Objective

    @property
    def spec(self) -> FamilySpec:
        """Return its family."""
        ...

    @property
    def denoiser(self) -> Any:
        """Return the component that predicts."""
        ...

    @property
    def vae(self) -> Any:
        """Return the VAE."""
        ...

    def place(self, *names: str) -> None:
        """Move these components to the train device and the others to the temp device."""
        ...

    def at_hand(self, name: str) -> AbstractContextManager[Any]:
        """Provide a component on the train device within the block."""
        ...

    def prompt(self, text: str) -> Tensors:
        """Return what the denoiser is conditioned on for a batch with one prompt."""
        ...

    def dynamic_shift(self, size_px: tuple[int, int]) -> float:
        """Return the timestep shift for a size (height, width) in pixels."""
        ...

    def normalized(self, latents_BCHW: Tensor) -> Tensor:
        """Return latents of the VAE as the denoiser takes them."""
        ...

    def state(self, name: str) -> Tensors:
        """Return the weights of a component with their names in files."""
        ...

    def pipeline(self, make: Callable[[], Any]) -> Any:
        """Return the diffusers pipeline with the current components, which ``make`` creates once."""
        ...


@dataclass(frozen=True)
class FamilySpec:
    """A model family.

    ``components``: name in the configuration -> class. The first is the denoiser. ``text``: the text encoders, in order.
    ``condition`` combines the states of all encoders into the tensors that ``denoise`` takes.
    """

    types: tuple[str, ...]
    title: str
    architecture: str
    """``modelspec.architecture`` of saved files (Stability AI's model specification)."""
    pipeline: str
    """Class of the diffusers pipeline, which loads single files and generates samples."""
    components: Mapping[str, Component]
    text: tuple[TextEncoder, ...]
    latents: LatentSpace
    objective: Callable[[Mapping[str, Any], TrainConfig, torch.device], Objective]
    """``(scheduler configuration, settings, device) -> Objective``"""
    condition: Callable[[LoadedModel, Tensors], Tensors]
    """``(model, states of the encoders and tensors of the batch) -> tensors for the denoiser``"""
    denoise: Callable[[LoadedModel, Tensor, Tensor, Tensors], Tensor]
    """``(model, noised_BCHW, timestep_B, condition) -> predicted_BCHW``"""
    sample: Callable[[LoadedModel, SampleRequest], Any]
    """Return a Pillow image, or None if it was ended early."""
    scheduler: Callable[[LoadedModel], tuple[str, Mapping[str, Any]]]
    """Class and configuration of the scheduler in saved models."""
    size_multiple_px: int
    """Sides of training images are multiples of this."""
    image_encoders: tuple[str, ...] = ("vae",)
    """The components that encode an image for the cache."""
    more_of_image: Callable[[LoadedModel, Tensors], Tensors] | None = None
    """Return further tensors of an image (3, H, W): ``(model, images of the item) -> tensors without a batch dimension``."""
    processors: Mapping[str, str] = field(default_factory=dict)
    """Further classes of transformers that are loaded like tokenizers, each from its folder."""
    dynamic_shift: bool = False
    """The timestep shift can depend on the size of the image."""
    other_index: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of model_index.json in saved models."""

    single_file: Callable[[LoadedModel], Tensors] | None = None
    """Return the complete model with the names of the original single file, if not the tables in ``engine/keys`` do."""

    @property
    def denoiser(self) -> str:
        """Return the name of the component that predicts."""
        return next(iter(self.components))


Draw = Callable[[Generator, int, float | None], Tensor]
"""Draws timesteps: ``(generator, batch size, dynamic shift) -> timestep_B``."""
