"""What the key tables of a family consist of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from onetrainer_gradio.config.families.facts import Fusion
from onetrainer_gradio.engine.keys.rules import PathMap, Rule

Tensors = dict[str, Tensor]

DIFFUSERS = "https://github.com/huggingface/diffusers"

CLIP_LAYERS = tuple(
    f"text_model.encoder.layers.{{}}.{leaf}"
    for leaf in (*(f"self_attn.{name}_proj" for name in ("k", "v", "q", "out")), "mlp.fc1", "mlp.fc2")
)
"""The linear layers of transformers' CLIPTextModel, with the names in files: newer versions omit ``text_model.``."""

CLIP_PROJECTED_LAYERS = (*CLIP_LAYERS, "text_projection")
"""The same for CLIPTextModelWithProjection."""

T5_LAYERS = (
    *(f"encoder.block.{{}}.layer.0.SelfAttention.{name}" for name in "qkvo"),
    *(f"encoder.block.{{}}.layer.1.DenseReluDense.{name}" for name in ("wi_0", "wi_1", "wo")),
)
"""The linear layers of transformers' T5EncoderModel in version 1.1."""


@dataclass(frozen=True)
class EncoderKeys:
    """The names of a text encoder in files.

    ``kohya`` is its prefix in KOHYA and LEGACY files, ``comfy`` its name in ComfyUI (empty: ComfyUI has none), ``embedding`` the
    key of its vectors in bundled embeddings, ``alone`` the same in the file of an embedding. ``layers`` are the templates of its
    linear layers, ``width`` the inputs of its attention. ``others`` are prefixes that other programs use.
    """

    kohya: str
    comfy: str
    embedding: str
    layers: tuple[str, ...]
    width: int
    alone: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A component in a single file: ``tensors`` returns its tensors with native names, without ``prefix``.

    The denoiser has none: the family's rules name its tensors.
    """

    component: str
    prefix: str
    tensors: Callable[[Mapping[str, Tensor]], Tensors] | None = None


@dataclass(frozen=True)
class Specification:
    """What the header of a file names a model: entries of Stability AI's model specification."""

    architecture: str
    title: str
    implementation: str = DIFFUSERS


@dataclass(frozen=True)
class FamilyKeys:
    """The names of a model type in files.

    ``optional_layers`` are templates of the denoiser's layers that ``config/families`` doesn't list, because only some sizes have
    them. ``rules`` rename the denoiser's paths to the native ones, with fused layers by their internal names. ``flat_native`` is
    False if KOHYA files of the family keep the denoiser's names in diffusers. ``single_file`` are the sections of a full model,
    ``with_schedule`` whether it contains the buffers of the noise schedule, ``v_prediction_key`` the name of an empty tensor
    that marks v-prediction.
    """

    specification: Specification
    denoiser: str
    rules: tuple[Rule, ...]
    encoders: Mapping[str, EncoderKeys]
    fusions: tuple[Fusion, ...] = ()
    optional_layers: tuple[str, ...] = ()
    flat_native: bool = True
    single_file: tuple[Section, ...] = ()
    with_schedule: bool = False
    v_prediction_key: str = ""
    header: Mapping[str, str] = field(default_factory=dict)
    """What A1111 reads of a file to recognize its version."""

    @cached_property
    def paths(self) -> PathMap:
        """The rules of the denoiser."""
        return PathMap(self.rules)
