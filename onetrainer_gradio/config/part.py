"""Settings of one part of a model (denoiser, text encoder, VAE ...)."""

from __future__ import annotations

from onetrainer_gradio.config.enums import DataType, TimeUnit
from onetrainer_gradio.config.setting import Settings, setting


class TrainModelPartConfig(Settings):
    """Whether and how one part of the model is loaded and trained."""

    model_name: str = setting("")
    include: bool = setting(True)
    train: bool = setting(True, label="Train", help="Train this part. Off: it is used as it is.", group="part", level="basic")
    stop_training_after: int | None = setting(
        None,
        label="Stop training after",
        help="Freeze this part after so many units.",
        group="part",
        level="advanced",
        unit_of="stop_training_after_unit",
        ge=0,
    )
    stop_training_after_unit: TimeUnit = setting(
        TimeUnit.NEVER,
        label="Stop unit",
        help="Unit of the point at which this part is frozen; NEVER trains it to the end.",
        group="part",
        level="advanced",
    )
    learning_rate: float | None = setting(
        None,
        label="Learning rate",
        help="A learning rate of its own for this part. Empty uses the general one.",
        group="part",
        level="advanced",
        ge=0,
    )
    weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Weight precision",
        help="Number format in which this part lies in memory. For a full fine-tune FLOAT_32 or BFLOAT_16; FLOAT_16 saves memory when the part itself is not trained.",
        group="part",
        level="advanced",
        choices=("FLOAT_32", "FLOAT_16", "BFLOAT_16"),
    )
    dropout_probability: float = setting(
        0.0,
        label="Caption dropout",
        help="Chance that a caption is left out for a step, which keeps the model able to paint without a prompt.",
        group="part",
        level="advanced",
        ge=0,
        le=1,
    )
    train_embedding: bool = setting(True)
    attention_mask: bool = setting(False)
    guidance_scale: float = setting(1.0)
    gradient_checkpointing: bool = setting(
        True,
        label="Gradient checkpointing",
        help="Save graphics memory by computing some things twice. About a quarter slower.",
        group="part",
        level="basic",
    )
    offload_fraction: float = setting(0.0)
    activation_offloading: bool = setting(False)
