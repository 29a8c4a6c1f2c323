"""What is true of each model type, without torch: parts, methods, formats, layer presets, sizes.

OneTrainer's 29 types. Which of them a backend can train is the backend's to say; this table says what the words mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onetrainer_gradio.config.enums import ModelFormat, ModelType, NoiseScheduler, TrainingMethod

_F = ModelFormat
_M = TrainingMethod
_T = ModelType

# Formats that are folders; every other one is a single .safetensors file.
FOLDER_FORMATS = frozenset({ModelFormat.DIFFUSERS})

# Samplers for models that predict noise; flow models have their own. DPMPP and DPMPP_SDE are in OneTrainer's code, not in its UI.
SAMPLERS = tuple(NoiseScheduler)


@dataclass(frozen=True)
class LayerPreset:
    """A named choice of layers: patterns that a layer's name has to contain (or match, with ``regex``); none means all."""

    patterns: tuple[str, ...] = ()
    regex: bool = False


@dataclass(frozen=True)
class ModelFacts:
    """Facts of one model type.

    ``pixel_multiple`` is what both sides of a training picture are rounded to. The tuples of parts say which parts can be
    ``trained``, which may be left out (``optional``), which can come from a file of their own (``replaceable``), whose layers
    can wait in main memory (``offloaded``) and whose prompts have a length to choose (``token_limited``). ``traits`` are
    OneTrainer's own, ``abilities`` what else the training of the type can be told.
    """

    label: str
    parts: tuple[str, ...]
    methods: tuple[TrainingMethod, ...]
    formats: dict[TrainingMethod, tuple[ModelFormat, ...]]
    layer_presets: dict[str, LayerPreset]
    pixel_multiple: int = 64
    flow: bool = True
    traits: frozenset[str] = field(default_factory=frozenset)
    abilities: frozenset[str] = field(default_factory=frozenset)
    trained: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    replaceable: tuple[str, ...] = ()
    offloaded: tuple[str, ...] = ()
    token_limited: tuple[str, ...] = ()

    @property
    def denoiser(self) -> str:
        """The part that predicts."""
        return self.parts[0]

    @property
    def encoders(self) -> tuple[str, ...]:
        """The parts that read the prompt, in order."""
        return tuple(part for part in self.parts if part.startswith("text_encoder"))

    @property
    def trained_encoders(self) -> tuple[str, ...]:
        """The encoders that can be trained."""
        return tuple(part for part in self.encoders if part in self.trained)

    @property
    def embedding_encoders(self) -> tuple[str, ...]:
        """The encoders whose share of a new word can be switched: those of models with more than one."""
        return self.encoders if len(self.encoders) > 1 else ()

    @property
    def caption_dropout(self) -> tuple[str, ...]:
        """The encoders whose caption can be left out at times; pointless where the model knows no empty prompt."""
        return () if "no_negative_prompt" in self.traits else self.encoders

    @property
    def activations_offloaded(self) -> tuple[str, ...]:
        """The offloaded parts that gradients flow through."""
        return tuple(part for part in self.offloaded if part in self.trained)

    @property
    def masked(self) -> tuple[str, ...]:
        """The parts that can be told to ignore the padding of a prompt."""
        return (self.denoiser,) if "attention_mask" in self.abilities else ()

    @property
    def guided(self) -> tuple[str, ...]:
        """The parts that take the guidance as an input."""
        return (self.denoiser,) if "guidance" in self.abilities else ()


def _preset(*patterns: str, regex: bool = False) -> LayerPreset:
    return LayerPreset(patterns, regex)


_FULL = {"full": LayerPreset()}
_ATTENTIONS = {"attn-mlp": _preset("attentions"), "attn-only": _preset("attn"), **_FULL}
_JOINT = {"attn-only": _preset("attn"), "blocks": _preset("transformer_block"), **_FULL}
_FLUX = {"attn-mlp": _preset("attn", "ff.net", "proj_mlp"), **_JOINT}
_BLOCKS = {"blocks": _preset("transformer_block"), **_FULL}
_PIXART = {"attn-mlp": _preset("attn1", "attn2", "ff.net"), "attn-only": _preset("attn1", "attn2"), **_BLOCKS}
_SANA = {"attn-mlp": _preset("attn1", "attn2", "ff."), "attn-only": _preset("attn1", "attn2"), **_BLOCKS}
_ANIMA = {"attn-mlp": _preset("attn1", "attn2", "ff"), "attn-only": _preset("attn1", "attn2"), **_BLOCKS}
_HI_DREAM = {"attn-mlp": _preset("attn1", "ff_i"), "attn-only": _preset("attn1"), "blocks": _preset("stream_block"), **_FULL}
_QWEN = {"attn-mlp": _preset("attn", "img_mlp", "txt_mlp"), **_JOINT}
_KREA = {"attn-mlp": _preset("attn", "ff"), "attn-only": _preset("attn"), "blocks": _preset("transformer_blocks"), **_FULL}
_LAYERS = {"blocks": _preset("layers"), **_FULL}
_ERNIE = {"attn-mlp": _preset("self_attention", "mlp"), "attn-only": _preset("self_attention"), **_LAYERS}
_IDEOGRAM = {"attn-mlp": _preset("attention", "feed_forward"), "attn-only": _preset("attention"), **_LAYERS}
# Z-Image's refiner layers carry the same names as its main ones; they are left out.
_NO_REFINER_ATTENTION, _NO_REFINER_MLP = r"^(?!.*refiner).*attention", r"^(?!.*refiner).*feed_forward"
_Z_IMAGE = {
    "attn-mlp": _preset(_NO_REFINER_ATTENTION, _NO_REFINER_MLP, regex=True),
    "attn-only": _preset(_NO_REFINER_ATTENTION, regex=True),
    **_LAYERS,
}
_WUERSTCHEN = {
    "attn-only": _preset("attention"),
    "down-blocks": _preset("down_blocks"),
    "up-blocks": _preset("up_blocks"),
    "mapper-only": _preset("mapper"),
    **_FULL,
}

_WHOLE = (_F.DIFFUSERS, _F.ORIGINAL_SINGLE_FILE, _F.LEGACY_SAFETENSORS)
_DENOISER = (_F.DIFFUSERS, _F.ORIGINAL_TRANSFORMER, _F.LEGACY_SAFETENSORS)
_DENOISER_NEW = (_F.DIFFUSERS, _F.ORIGINAL_TRANSFORMER)
_LORA_NEW = (_F.DIFFUSERS_LORA, _F.KOHYA_LORA, _F.ORIGINAL_LORA, _F.COMFY_LORA)
_LORA = (*_LORA_NEW, _F.LEGACY_LORA)

_ALL = (_M.FINE_TUNE, _M.LORA, _M.EMBEDDING, _M.FINE_TUNE_VAE)
_WITH_EMBEDDING = _ALL[:3]
_PLAIN = _ALL[:2]


def _formats(
    methods: tuple[TrainingMethod, ...], full: tuple[ModelFormat, ...], lora: tuple[ModelFormat, ...] = _LORA
) -> dict[TrainingMethod, tuple[ModelFormat, ...]]:
    known = {_M.FINE_TUNE: full, _M.LORA: lora, _M.EMBEDDING: (_F.SAFETENSORS,), _M.FINE_TUNE_VAE: full}
    return {method: known[method] for method in methods}


def _stable_diffusion(label: str, *traits: str) -> ModelFacts:
    return ModelFacts(
        label,
        parts=("unet", "text_encoder", "vae"),
        methods=_ALL,
        formats=_formats(_ALL, _WHOLE),
        layer_presets=_ATTENTIONS,
        pixel_multiple=8,
        flow=False,
        traits=frozenset(traits),
        abilities=frozenset({"layer_skip"}),
        trained=("unet", "text_encoder"),
        replaceable=("vae",),
    )


def _xl(label: str, *traits: str) -> ModelFacts:
    return ModelFacts(
        label,
        parts=("unet", "text_encoder", "text_encoder_2", "vae"),
        methods=_WITH_EMBEDDING,
        formats=_formats(_WITH_EMBEDDING, _WHOLE),
        layer_presets=_ATTENTIONS,
        flow=False,
        traits=frozenset(traits),
        abilities=frozenset({"layer_skip"}),
        trained=("unet", "text_encoder", "text_encoder_2"),
        replaceable=("vae",),
    )


def _wuerstchen(
    label: str,
    parts: tuple[str, ...],
    full: tuple[ModelFormat, ...],
    lora: tuple[ModelFormat, ...],
    replaceable: tuple[str, ...],
) -> ModelFacts:
    return ModelFacts(
        label,
        parts=parts,
        methods=_WITH_EMBEDDING,
        formats=_formats(_WITH_EMBEDDING, full, lora),
        layer_presets=_WUERSTCHEN,
        pixel_multiple=128,
        flow=False,
        abilities=frozenset({"layer_skip"}),
        trained=("prior", "text_encoder"),
        replaceable=replaceable,
    )


def _transformer(
    label: str,
    presets: dict[str, LayerPreset],
    *traits: str,
    abilities: tuple[str, ...] = (),
    encoders: int = 1,
    large: tuple[str, ...] = ("text_encoder",),
    train_encoders: bool = True,
    replaceable: tuple[str, ...] = (),
    token_limited: tuple[str, ...] = (),
    methods: tuple[TrainingMethod, ...] = _PLAIN,
    full: tuple[ModelFormat, ...] = _DENOISER,
    lora: tuple[ModelFormat, ...] = _LORA,
    multiple: int = 64,
    flow: bool = True,
    between: tuple[str, ...] = (),
) -> ModelFacts:
    """``large`` are the encoders that are worth parking, ``between`` the parts that lie between encoders and VAE."""
    names = tuple(f"text_encoder_{number}" if number > 1 else "text_encoder" for number in range(1, encoders + 1))
    return ModelFacts(
        label,
        parts=("transformer", *names, *between, "vae"),
        methods=methods,
        formats=_formats(methods, full, lora),
        layer_presets=presets,
        pixel_multiple=multiple,
        flow=flow,
        traits=frozenset({"compression", *traits}),
        abilities=frozenset(abilities),
        trained=("transformer", *(names if train_encoders else ())),
        optional=(*(names if encoders > 1 else ()), *between),
        replaceable=("vae", *replaceable),
        offloaded=("transformer", *large, *between),
        token_limited=token_limited,
    )


_INPAINTING = ("mask_input", "conditioning_image")
_MASK = ("attention_mask", "layer_skip")
_SHIFT = ("dynamic_shift",)
_FLUX_ABILITIES = (*_MASK, *_SHIFT, "guidance")

MODELS: dict[ModelType, ModelFacts] = {
    _T.STABLE_DIFFUSION_15: _stable_diffusion("SD1.5"),
    _T.STABLE_DIFFUSION_15_INPAINTING: _stable_diffusion("SD1.5 Inpainting", *_INPAINTING),
    _T.STABLE_DIFFUSION_20: _stable_diffusion("SD2.0"),
    _T.STABLE_DIFFUSION_20_BASE: _stable_diffusion("SD2.0 Base"),
    _T.STABLE_DIFFUSION_20_INPAINTING: _stable_diffusion("SD2.0 Inpainting", *_INPAINTING),
    _T.STABLE_DIFFUSION_20_DEPTH: _stable_diffusion("SD2.0 Depth", "depth"),
    _T.STABLE_DIFFUSION_21: _stable_diffusion("SD2.1"),
    _T.STABLE_DIFFUSION_21_BASE: _stable_diffusion("SD2.1 Base"),
    _T.STABLE_DIFFUSION_3: _transformer(
        "SD3", _JOINT, abilities=_MASK, encoders=3, large=("text_encoder_3",), methods=_WITH_EMBEDDING, full=_WHOLE
    ),
    _T.STABLE_DIFFUSION_35: _transformer(
        "SD3.5", _JOINT, abilities=_MASK, encoders=3, large=("text_encoder_3",), methods=_WITH_EMBEDDING, full=_WHOLE
    ),
    _T.STABLE_DIFFUSION_XL_10_BASE: _xl("SDXL"),
    _T.STABLE_DIFFUSION_XL_10_BASE_INPAINTING: _xl("SDXL Inpainting", *_INPAINTING),
    _T.WUERSTCHEN_2: _wuerstchen(
        "Wuerstchen v2",
        ("prior", "text_encoder", "effnet_encoder", "decoder", "decoder_text_encoder", "decoder_vqgan"),
        (_F.DIFFUSERS,),
        _LORA_NEW,
        ("effnet_encoder", "decoder"),
    ),
    _T.STABLE_CASCADE_1: _wuerstchen(
        "Stable Cascade",
        ("prior", "text_encoder", "effnet_encoder", "decoder", "decoder_vqgan"),
        (_F.DIFFUSERS, _F.LEGACY_SAFETENSORS),
        _LORA,
        ("prior", "effnet_encoder", "decoder"),
    ),
    _T.PIXART_ALPHA: _transformer(
        "PixArt Alpha", _PIXART, abilities=(*_MASK, "vb_loss"), methods=_WITH_EMBEDDING, multiple=16, flow=False
    ),
    _T.PIXART_SIGMA: _transformer(
        "PixArt Sigma", _PIXART, abilities=(*_MASK, "vb_loss"), methods=_WITH_EMBEDDING, multiple=16, flow=False
    ),
    _T.FLUX_DEV_1: _transformer(
        "Flux Dev.1",
        _FLUX,
        abilities=_FLUX_ABILITIES,
        encoders=2,
        large=("text_encoder_2",),
        replaceable=("transformer",),
        token_limited=("text_encoder_2",),
        methods=_WITH_EMBEDDING,
    ),
    _T.FLUX_FILL_DEV_1: _transformer(
        "Flux Fill Dev",
        _FLUX,
        *_INPAINTING,
        abilities=_FLUX_ABILITIES,
        encoders=2,
        large=("text_encoder_2",),
        replaceable=("transformer",),
        token_limited=("text_encoder_2",),
        methods=_WITH_EMBEDDING,
    ),
    _T.FLUX_2: _transformer(
        "Flux 2 [Dev, Klein]",
        _BLOCKS,
        abilities=(*_SHIFT, "guidance"),
        train_encoders=False,
        replaceable=("transformer",),
        token_limited=("text_encoder",),
    ),
    _T.SANA: _transformer(
        "Sana", _SANA, abilities=_MASK, methods=_WITH_EMBEDDING, full=(_F.DIFFUSERS,), lora=_LORA_NEW, multiple=32
    ),
    _T.HUNYUAN_VIDEO: _transformer(
        "Hunyuan Video",
        _FLUX,
        "video",
        abilities=(*_MASK, "guidance", "frames"),
        encoders=2,
        large=("text_encoder",),
        replaceable=("transformer",),
        methods=_WITH_EMBEDDING,
    ),
    # HiDream paints no videos, yet OneTrainer offers the number of frames for it; so do we
    _T.HI_DREAM_FULL: _transformer(
        "HiDream Full",
        _HI_DREAM,
        abilities=(*_MASK, "frames"),
        encoders=4,
        large=("text_encoder_3", "text_encoder_4"),
        replaceable=("text_encoder_4",),
        methods=_WITH_EMBEDDING,
        lora=_LORA_NEW,
    ),
    _T.CHROMA_1: _transformer("Chroma1", _FLUX, abilities=("layer_skip",), replaceable=("transformer",), methods=_WITH_EMBEDDING),
    _T.QWEN: _transformer("QwenImage", _QWEN, abilities=_SHIFT, replaceable=("transformer",)),
    _T.ANIMA: _transformer(
        "Anima",
        _ANIMA,
        abilities=_SHIFT,
        train_encoders=False,
        replaceable=("transformer",),
        full=_DENOISER_NEW,
        lora=_LORA_NEW,
    ),
    _T.KREA_2: _transformer("Krea 2", _KREA, abilities=_SHIFT, train_encoders=False, full=_DENOISER_NEW, lora=_LORA_NEW),
    _T.Z_IMAGE: _transformer(
        "Z-Image",
        _Z_IMAGE,
        abilities=_SHIFT,
        train_encoders=False,
        replaceable=("transformer",),
        full=(_F.DIFFUSERS, _F.ORIGINAL_TRANSFORMER, _F.COMFY_TRANSFORMER, _F.LEGACY_SAFETENSORS),
    ),
    _T.ERNIE: _transformer("Ernie Image", _ERNIE, abilities=_SHIFT, train_encoders=False, replaceable=("transformer",)),
    _T.IDEOGRAM_4: _transformer(
        "Ideogram 4",
        _IDEOGRAM,
        "no_negative_prompt",
        abilities=_SHIFT,
        train_encoders=False,
        full=_DENOISER_NEW,
        lora=_LORA_NEW,
        between=("unconditional_transformer",),
    ),
}

# What can be said of a model type that only a newer OneTrainer knows.
UNFAMILIAR = ModelFacts("", parts=("transformer", "vae"), methods=(), formats={}, layer_presets={})


def output_formats(model_type: ModelType, method: TrainingMethod) -> tuple[ModelFormat, ...]:
    """The formats that a trained model of the type can be saved in; empty when type and method do not go together."""
    return MODELS.get(model_type, UNFAMILIAR).formats.get(method, ())
