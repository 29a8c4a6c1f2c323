"""Declare the settings of a model component (denoiser, text encoder, VAE…)."""

from __future__ import annotations

from onetrainer_gradio.config.declarations.setting import OWN_GROUP, Settings, setting
from onetrainer_gradio.config.declarations.visibility import MODEL_TYPE, in_model, part_is
from onetrainer_gradio.config.enums import DataType, TimeUnit

_PLAIN = ("FLOAT_32", "BFLOAT_16", "FLOAT_16", "FLOAT_8", "NFLOAT_4")
_COMPRESSED = ("FLOAT_W8A8", "FLOAT_W8A8_COMPRESSED", "INT_W8A8", "INT_W8A8_COMPRESSED")

# component -> data types of its weights; every other component has the plain ones
WEIGHT_DTYPES: dict[str, tuple[str, ...]] = {
    "unet": (*_PLAIN, "FLOAT_W8A8", "INT_W8A8"),
    "transformer": (*_PLAIN, *_COMPRESSED, "GGUF", "GGUF_A8_FLOAT", "GGUF_A8_INT"),
    "unconditional_transformer": (*_PLAIN, *_COMPRESSED),
}


def weight_dtypes(part: str, _name: str) -> tuple[str, ...]:
    """Return the data types that a component supports for its weights."""
    return WEIGHT_DTYPES.get(part, _PLAIN)


class TrainModelPartConfig(Settings):
    """Whether and how a model component is loaded and trained."""

    model_name: str = setting(
        "",
        label="Model override",
        help="Load this component from another folder, file or Hugging Face Hub repository. Leave it empty to use the one in the base model.",
        group="weights",
        level="advanced",
        named=True,
        kind="path",
        path="model",
        shown={MODEL_TYPE: part_is("replaceable", "can be replaced")},
    )
    include: bool = setting(
        True,
        label="Include",
        help="Load and use this component. If off, it needs no memory, but the model works without it, which suits only models trained that way.",
        group=OWN_GROUP,
        level="advanced",
        shown={MODEL_TYPE: part_is("optional", "is optional")},
    )
    train: bool = setting(
        True,
        label="Train",
        help="Train this component. If off, it stays frozen, which saves VRAM and preserves what it has learned.",
        group=OWN_GROUP,
        level="basic",
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    stop_training_after: int | None = setting(
        None,
        label="Stop training after",
        help="Freeze this component at this point of the run and keep training the others (kohya: stop_text_encoder_training). Text encoders are often stopped early, before they overfit.",
        group=OWN_GROUP,
        level="advanced",
        unit_of=".stop_training_after_unit",
        ge=0,
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    stop_training_after_unit: TimeUnit = setting(
        TimeUnit.NEVER,
        label="Stop training after: unit",
        help="Unit of the point at which to freeze this component. “never” trains it until the end.",
        group=OWN_GROUP,
        level="advanced",
        choices=("EPOCH", "STEP", "NEVER", "ALWAYS"),
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    learning_rate: float | None = setting(
        None,
        label="Learning rate",
        help="Learning rate of this component. Leave it empty to use the general one. Text encoders usually need a lower one.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Weight data type",
        help="Data type of this component's weights in memory. Use float32 or bfloat16 for a full fine-tune. With LoRA, 8-bit and 4-bit types save a lot of VRAM (quantization) and cost little quality.",
        group="weights",
        level="advanced",
        named=True,
        choices=weight_dtypes,
        shown={MODEL_TYPE: in_model},
    )
    dropout_probability: float = setting(
        0.0,
        label="Caption dropout",
        help="Probability that this encoder gets an empty caption in a step, which preserves sampling without a prompt. 0 turns it off, 0.05 to 0.1 is typical, 1 drops every caption.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        le=1,
        shown={MODEL_TYPE: part_is("caption_dropout", "supports caption dropout")},
    )
    train_embedding: bool = setting(
        True,
        label="Train embeddings",
        help="Train the vectors that embeddings have in this text encoder. If off, they stay at the initial embedding text.",
        group=OWN_GROUP,
        level="advanced",
        shown={MODEL_TYPE: part_is("embedding_encoders", "is one of several")},
    )
    attention_mask: bool = setting(
        False,
        label="Force attention mask",
        help="Mask the padding of short prompts. Leave it off unless the base model was trained this way.",
        group=OWN_GROUP,
        level="expert",
        shown={MODEL_TYPE: part_is("masked", "supports an attention mask")},
    )
    guidance_scale: float = setting(
        1.0,
        label="Guidance scale",
        help="Guidance scale that distilled models get as an input during training. 1 is right for nearly all training. Higher values train for that guidance scale only.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: part_is("guided", "takes the guidance scale as an input")},
    )
    gradient_checkpointing: bool = setting(
        True,
        label="Gradient checkpointing",
        help="Save a lot of VRAM by recomputing activations in the backward pass. About 25% slower. Required for layer offloading.",
        group=OWN_GROUP,
        level="basic",
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    offload_fraction: float = setting(
        0.0,
        label="Layer offload fraction",
        help="Share of the layers to keep in system RAM until needed (kohya: blocks_to_swap). 0 is off and fastest, 0.5 halves the VRAM of the weights, 1 keeps almost none on the GPU.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        le=1,
        shown={MODEL_TYPE: part_is("offloaded", "supports layer offloading")},
    )
    activation_offloading: bool = setting(
        False,
        label="Offload activations",
        help="Also keep activations in system RAM until the backward pass. Saves VRAM at high resolutions but is slower.",
        group=OWN_GROUP,
        level="advanced",
        shown={MODEL_TYPE: part_is("activations_offloaded", "supports activation offloading")},
    )
