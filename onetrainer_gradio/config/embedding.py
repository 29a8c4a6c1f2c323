"""Settings of a trained token embedding."""

from __future__ import annotations

import uuid

from onetrainer_gradio.config.enums import TimeUnit
from onetrainer_gradio.config.setting import Settings, setting


def new_uuid() -> str:
    """An identity that survives a resume."""
    return str(uuid.uuid4())


class TrainEmbeddingConfig(Settings):
    """A new word and the vectors that are trained for it."""

    uuid: str = setting(factory=new_uuid)
    model_name: str = setting("")
    placeholder: str = setting("<embedding>")
    train: bool = setting(True)
    stop_training_after: int | None = setting(None)
    stop_training_after_unit: TimeUnit = setting(TimeUnit.NEVER)
    token_count: int | None = setting(1)
    initial_embedding_text: str = setting("*")
    is_output_embedding: bool = setting(False)
