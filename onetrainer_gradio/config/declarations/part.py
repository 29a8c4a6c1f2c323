"""Settings of one part of a model (denoiser, text encoder, VAE ...)."""

from __future__ import annotations

from onetrainer_gradio.config.declarations.setting import OWN_GROUP, Settings, setting
from onetrainer_gradio.config.declarations.visibility import MODEL_TYPE, in_model, part_is
from onetrainer_gradio.config.enums import DataType, TimeUnit

_PLAIN = ("FLOAT_32", "BFLOAT_16", "FLOAT_16", "FLOAT_8", "NFLOAT_4")
_COMPRESSED = ("FLOAT_W8A8", "FLOAT_W8A8_COMPRESSED", "INT_W8A8", "INT_W8A8_COMPRESSED")

# part -> number formats its weights can lie in; every other part has the plain ones
WEIGHT_DTYPES: dict[str, tuple[str, ...]] = {
    "unet": (*_PLAIN, "FLOAT_W8A8", "INT_W8A8"),
    "transformer": (*_PLAIN, *_COMPRESSED, "GGUF", "GGUF_A8_FLOAT", "GGUF_A8_INT"),
    "unconditional_transformer": (*_PLAIN, *_COMPRESSED),
}


def weight_dtypes(part: str, _name: str) -> tuple[str, ...]:
    """The number formats that the weights of a part can lie in."""
    return WEIGHT_DTYPES.get(part, _PLAIN)


class TrainModelPartConfig(Settings):
    """Whether and how one part of the model is loaded and trained."""

    model_name: str = setting(
        "",
        label="Model override",
        help="Take this part from another folder, file or hub repository. Empty takes it from the base model.",
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
        help="Load and use this part. Off saves its memory, but the model then works without it, which it has to be made for.",
        group=OWN_GROUP,
        level="advanced",
        shown={MODEL_TYPE: part_is("optional", "is optional")},
    )
    train: bool = setting(
        True,
        label="Train",
        help="Train this part. Off: it is used as it is, which saves memory and keeps what it knows.",
        group=OWN_GROUP,
        level="basic",
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    stop_training_after: int | None = setting(
        None,
        label="Stop training after",
        help="Freeze this part once so much of the run has passed, and go on with the others. Text encoders are often stopped early, before they overfit.",
        group=OWN_GROUP,
        level="advanced",
        unit_of=".stop_training_after_unit",
        ge=0,
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    stop_training_after_unit: TimeUnit = setting(
        TimeUnit.NEVER,
        label="Stop training after: unit",
        help="Unit of the point at which this part is frozen; NEVER trains it to the end.",
        group=OWN_GROUP,
        level="advanced",
        choices=("EPOCH", "STEP", "NEVER", "ALWAYS"),
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    learning_rate: float | None = setting(
        None,
        label="Learning rate",
        help="A learning rate of its own for this part. Empty uses the general one; text encoders usually want a lower one.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Weight data type",
        help="Number format in which this part lies in memory. FLOAT_32 or BFLOAT_16 for what is fully trained; formats of 8 or 4 bits save much memory under an adapter and cost a little quality.",
        group="weights",
        level="advanced",
        named=True,
        choices=weight_dtypes,
        shown={MODEL_TYPE: in_model},
    )
    dropout_probability: float = setting(
        0.0,
        label="Caption dropout",
        help="Chance that this encoder hears no caption in a step, which keeps the model able to paint without a prompt. 0 is off, 0.05 to 0.1 is usual, 1 never hears one.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        le=1,
        shown={MODEL_TYPE: part_is("caption_dropout", "supports caption dropout")},
    )
    train_embedding: bool = setting(
        True,
        label="Train embeddings",
        help="Train this encoder's share of the new words. Off leaves its share at the initial text.",
        group=OWN_GROUP,
        level="advanced",
        shown={MODEL_TYPE: part_is("embedding_encoders", "is one of several")},
    )
    attention_mask: bool = setting(
        False,
        label="Force attention mask",
        help="Make the model ignore the empty end of short prompts. Leave it off unless the base model was trained that way.",
        group=OWN_GROUP,
        level="expert",
        shown={MODEL_TYPE: part_is("masked", "supports an attention mask")},
    )
    guidance_scale: float = setting(
        1.0,
        label="Guidance scale",
        help="The guidance that distilled models are told while they train. 1 is right for nearly all training; a higher value trains for that one strength.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: part_is("guided", "takes the guidance scale as an input")},
    )
    gradient_checkpointing: bool = setting(
        True,
        label="Gradient checkpointing",
        help="Save much graphics memory by computing some things twice. About a quarter slower; needed for offloading.",
        group=OWN_GROUP,
        level="basic",
        shown={MODEL_TYPE: part_is("trained", "can be trained")},
    )
    offload_fraction: float = setting(
        0.0,
        label="Layer offload fraction",
        help="Share of the layers that waits in main memory and is fetched when its turn comes. 0 is off and fastest, 0.5 halves the memory of the weights, 1 keeps almost nothing on the card.",
        group=OWN_GROUP,
        level="advanced",
        ge=0,
        le=1,
        shown={MODEL_TYPE: part_is("offloaded", "supports layer offloading")},
    )
    activation_offloading: bool = setting(
        False,
        label="Offload activations",
        help="Also park intermediate results in main memory until the backward pass. Saves graphics memory for large pictures and costs speed.",
        group=OWN_GROUP,
        level="advanced",
        shown={MODEL_TYPE: part_is("activations_offloaded", "supports activation offloading")},
    )
