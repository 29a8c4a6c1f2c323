"""What is true of a model type, as data: the family modules fill it in, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.config.enums import ModelFormat, ModelType, NoiseScheduler, TrainingMethod

_F = ModelFormat
_M = TrainingMethod

Size = tuple[int, int]
"""Height and width of an image in pixels."""

LayerRows = tuple[tuple[str, str], ...]
"""Rows of a block and the layers in it; "3-5" in a block means 3, 4 and 5, "0-6/3" every third."""

_LATENT_FACTOR, _PATCH = 8, 2


@dataclass(frozen=True)
class LayerPreset:
    """A named choice of layers: patterns that a layer's name has to contain (or match, with ``regex``); none means all."""

    patterns: tuple[str, ...] = ()
    regex: bool = False


@dataclass(frozen=True)
class BaseModel:
    """The usual base model of a type.

    ``hub`` is its name on the Hugging Face Hub. ``billions`` are the parameters of the denoiser, ``adapter`` the parameters that
    one rank of a LoRA over all its layers adds, in millions: both for estimates only.
    """

    hub: str
    billions: float
    adapter: float


@dataclass(frozen=True)
class Fusion:
    """Projections of one block that native files store as one layer: adapters in such files train all of them, or none.

    ``fused`` is OneTrainer's name of the joined layer in the block, in the order of ``leaves``; ``sizes`` are their outputs
    relative to each other, all equal if there are none.
    """

    block: str
    leaves: tuple[str, ...]
    fused: str
    sizes: tuple[int, ...] = ()

    @property
    def shares(self) -> tuple[int, ...]:
        """The relative output size of each leaf."""
        return self.sizes or (1,) * len(self.leaves)


@dataclass(frozen=True)
class LineShift:
    """A timestep shift of exp(mu), where mu is linear in the number of tokens, as FLUX.1 has it.

    ``tokens`` and ``mu`` are the two ends of the line. The values are those in the scheduler configuration of the published
    models, or the diffusers library's defaults where a model's has none.
    """

    tokens: tuple[int, int] = (256, 4096)
    mu: tuple[float, float] = (0.5, 1.15)

    def __call__(self, size: Size) -> float:
        """Return the shift for images of ``size`` (height, width) in pixels."""
        height, width = (side // _LATENT_FACTOR // _PATCH for side in size)
        slope = (self.mu[1] - self.mu[0]) / (self.tokens[1] - self.tokens[0])
        return math.exp(self.mu[0] + slope * (height * width - self.tokens[0]))


@dataclass(frozen=True)
class ModelFacts:
    """Facts of one model type.

    ``pixel_multiple`` is what both sides of a training image are rounded to. The tuples of parts name the model components that
    can be ``trained``, may be omitted (``optional``), can come from a separate file (``replaceable``), whose layers can be
    offloaded to system RAM (``offloaded``), whose prompts have a maximum length to choose (``token_limited``), and that the
    base model doesn't contain although the type needs them (``apart``). ``traits`` are OneTrainer's, ``abilities`` what else
    the training of the type supports. ``layers`` are the linear and convolution layers of the denoiser, with ``exact`` False if
    the number of blocks differs between published sizes; ``fusions`` what the formats with fused projections (KOHYA, ORIGINAL,
    COMFY) join. ``pipelines`` are the beginnings of the names of diffusers pipelines that the type is loaded from.
    """

    type: ModelType
    label: str
    parts: tuple[str, ...]
    methods: tuple[TrainingMethod, ...]
    formats: Mapping[TrainingMethod, tuple[ModelFormat, ...]]
    layer_presets: Mapping[str, LayerPreset]
    base: BaseModel
    sample: Mapping[str, Any]
    layers: LayerRows
    pipelines: tuple[str, ...] = ()
    pixel_multiple: int = 64
    flow: bool = True
    traits: frozenset[str] = field(default_factory=frozenset)
    abilities: frozenset[str] = field(default_factory=frozenset)
    trained: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    replaceable: tuple[str, ...] = ()
    offloaded: tuple[str, ...] = ()
    token_limited: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    exact: bool = True
    fusions: tuple[Fusion, ...] = ()
    dynamic_shift: Callable[[Size], float] | None = None
    folder_only: bool = False
    """The base model is read as a folder in diffusers layout only."""
    drops_captions: bool = True
    """The text encoding supports empty captions, so caption dropout has an effect."""
    comfy_encoders: bool = True
    """ComfyUI has key names for the LoRA of a text encoder."""
    hidden_layers: tuple[str, ...] = ()
    """Parts of the names of the weights that Muon trains by default; without any, Muon requires patterns."""
    continuous: bool = False
    """The model has no discrete timesteps."""
    float16_vae: bool = True
    """The VAE doesn't overflow in float16."""
    built_in: bool = False
    """The built-in engine trains the type."""

    @property
    def denoiser(self) -> str:
        """The component that predicts."""
        return self.parts[0]

    @property
    def encoders(self) -> tuple[str, ...]:
        """The text encoders, in order."""
        return tuple(part for part in self.parts if part.startswith("text_encoder"))

    @property
    def trained_encoders(self) -> tuple[str, ...]:
        """The text encoders that can be trained."""
        return tuple(part for part in self.encoders if part in self.trained)

    @property
    def embedding_encoders(self) -> tuple[str, ...]:
        """The text encoders whose share of an embedding can be switched: those of models with more than one."""
        return self.encoders if len(self.encoders) > 1 else ()

    @property
    def caption_dropout(self) -> tuple[str, ...]:
        """The text encoders with a caption dropout setting; none where the model has no empty prompt."""
        return () if "no_negative_prompt" in self.traits else self.encoders

    @property
    def activations_offloaded(self) -> tuple[str, ...]:
        """The offloaded components that gradients flow through."""
        return tuple(part for part in self.offloaded if part in self.trained)

    @property
    def masked(self) -> tuple[str, ...]:
        """The components that can ignore the padding of a prompt."""
        return (self.denoiser,) if "attention_mask" in self.abilities else ()

    @property
    def guided(self) -> tuple[str, ...]:
        """The components that take the guidance as an input."""
        return (self.denoiser,) if "guidance" in self.abilities else ()


def layer_preset(*patterns: str, regex: bool = False) -> LayerPreset:
    """Return a choice of the layers whose names contain one of the patterns."""
    return LayerPreset(patterns, regex)


def sample_values(
    size: Size, steps: int, cfg_scale: float, noise_scheduler: NoiseScheduler = NoiseScheduler.DDIM
) -> Mapping[str, Any]:
    """Return the values of a new sample; ``size`` is width and height in pixels. Flow-matching models ignore the sampler."""
    width, height = size
    values = {"width": width, "height": height, "diffusion_steps": steps, "cfg_scale": cfg_scale}
    return MappingProxyType({**values, "noise_scheduler": noise_scheduler.value})


FULL = {"full": LayerPreset()}
JOINT_BLOCKS = {"attn-only": layer_preset("attn"), "blocks": layer_preset("transformer_block"), **FULL}
FLUX_BLOCKS = {"attn-mlp": layer_preset("attn", "ff.net", "proj_mlp"), **JOINT_BLOCKS}
TRANSFORMER_BLOCKS = {"blocks": layer_preset("transformer_block"), **FULL}
PLAIN_LAYERS = {"blocks": layer_preset("layers"), **FULL}
UNET_ATTENTIONS = {"attn-mlp": layer_preset("attentions"), "attn-only": layer_preset("attn"), **FULL}

_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_ADDED_QKV = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
JOINT_FUSIONS = (Fusion("transformer_blocks", _QKV, "attn.qkv"), Fusion("transformer_blocks", _ADDED_QKV, "attn.added_qkv"))
FLUX_FUSIONS = (*JOINT_FUSIONS, Fusion("single_transformer_blocks", (*_QKV, "proj_mlp"), "qkv_mlp", (1, 1, 1, 4)))

WHOLE_MODEL = (_F.DIFFUSERS, _F.ORIGINAL_SINGLE_FILE, _F.LEGACY_SAFETENSORS)
DENOISER_FILES = (_F.DIFFUSERS, _F.ORIGINAL_TRANSFORMER)
DENOISER_FILES_AND_LEGACY = (*DENOISER_FILES, _F.LEGACY_SAFETENSORS)
LORA_FILES = (_F.DIFFUSERS_LORA, _F.KOHYA_LORA, _F.ORIGINAL_LORA, _F.COMFY_LORA)
LORA_FILES_AND_LEGACY = (*LORA_FILES, _F.LEGACY_LORA)

ALL_METHODS = (_M.FINE_TUNE, _M.LORA, _M.EMBEDDING, _M.FINE_TUNE_VAE)
WITH_EMBEDDING = ALL_METHODS[:3]
WITHOUT_EMBEDDING = ALL_METHODS[:2]

CLIP_AND_UNET_BLOCKS = ("block", "text_model.encoder.layers")
T5_AND_TRANSFORMER_BLOCKS = ("transformer_blocks", "encoder.block")
LAYERS_AND_REFINER = ("layers", "refiner")

INPAINTING = ("mask_input", "conditioning_image")
ATTENTION_MASK = ("attention_mask", "layer_skip")
SHIFT = ("dynamic_shift",)


def formats(
    methods: tuple[TrainingMethod, ...],
    full: tuple[ModelFormat, ...],
    lora: tuple[ModelFormat, ...] = LORA_FILES_AND_LEGACY,
) -> dict[TrainingMethod, tuple[ModelFormat, ...]]:
    """Return the output formats of each method: ``full`` for whole models, ``lora`` for LoRA files."""
    known = {_M.FINE_TUNE: full, _M.LORA: lora, _M.EMBEDDING: (_F.SAFETENSORS,), _M.FINE_TUNE_VAE: full}
    return {method: known[method] for method in methods}


def transformer(
    model_type: ModelType,
    label: str,
    presets: Mapping[str, LayerPreset],
    *traits: str,
    base: BaseModel,
    sample: Mapping[str, Any],
    layers: LayerRows,
    abilities: tuple[str, ...] = (),
    encoders: int = 1,
    large: tuple[str, ...] = ("text_encoder",),
    train_encoders: bool = True,
    replaceable: tuple[str, ...] = (),
    methods: tuple[TrainingMethod, ...] = WITHOUT_EMBEDDING,
    full: tuple[ModelFormat, ...] = DENOISER_FILES_AND_LEGACY,
    lora: tuple[ModelFormat, ...] = LORA_FILES_AND_LEGACY,
    between: tuple[str, ...] = (),
    **more: Any,
) -> ModelFacts:
    """Return the facts of a type with a transformer as its denoiser.

    ``large`` are the text encoders that are worth offloading, ``between`` the components between text encoders and VAE; ``more``
    are fields of :class:`ModelFacts`.
    """
    names = tuple(f"text_encoder_{number}" if number > 1 else "text_encoder" for number in range(1, encoders + 1))
    return ModelFacts(
        model_type,
        label,
        parts=("transformer", *names, *between, "vae"),
        methods=methods,
        formats=formats(methods, full, lora),
        layer_presets=presets,
        base=base,
        sample=sample,
        layers=layers,
        traits=frozenset({"compression", *traits}),
        abilities=frozenset(abilities),
        trained=("transformer", *(names if train_encoders else ())),
        optional=(*(names if encoders > 1 else ()), *between),
        replaceable=("vae", *replaceable),
        offloaded=("transformer", *large, *between),
        **more,
    )
