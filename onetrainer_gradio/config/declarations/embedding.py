"""Settings of a trained token embedding."""

from __future__ import annotations

import uuid

from onetrainer_gradio.config.declarations.setting import FILE_NAME_PATTERN, OWN_GROUP, Settings, setting
from onetrainer_gradio.config.enums import TimeUnit


def new_uuid() -> str:
    """An identity that survives a resume."""
    return str(uuid.uuid4())


class TrainEmbeddingConfig(Settings):
    """A new word and the vectors that are trained for it."""

    uuid: str = setting(factory=new_uuid, fresh=True, file_name=True)
    model_name: str = setting(
        "",
        label="Base embedding",
        help="An embedding file to go on from. Empty starts from the initial text.",
        group=OWN_GROUP,
        level="advanced",
        kind="path",
        path="file",
    )
    placeholder: str = setting(
        "<embedding>",
        label="Placeholder",
        help="The new word: write it in captions and prompts where the learned thing is meant. Choose one that is no ordinary word.",
        group=OWN_GROUP,
        level="basic",
        required=True,
        file_name=True,
        pattern=FILE_NAME_PATTERN,
    )
    train: bool = setting(
        True,
        label="Train",
        help="Train this word. Off only uses it, for instance to train other words beside it.",
        group=OWN_GROUP,
        level="advanced",
    )
    stop_training_after: int | None = setting(
        None,
        label="Stop training after",
        help="Freeze this word once so much of the run has passed.",
        group=OWN_GROUP,
        level="advanced",
        unit_of=".stop_training_after_unit",
        ge=0,
    )
    stop_training_after_unit: TimeUnit = setting(
        TimeUnit.NEVER,
        label="Stop training after: unit",
        help="Unit of the point at which this word is frozen; NEVER trains it to the end.",
        group=OWN_GROUP,
        level="advanced",
    )
    token_count: int | None = setting(
        1,
        label="Token count",
        help="How many vectors the word has. 1 to 4 for a simple subject, up to 16 for a style; more take up room in the prompt. Empty counts those of the initial text.",
        group=OWN_GROUP,
        level="basic",
        ge=1,
    )
    initial_embedding_text: str = setting(
        "*",
        label="Initial embedding text",
        help="Words whose meaning the new word starts with, for instance the kind of thing it is: cat, watercolor painting.",
        group=OWN_GROUP,
        level="basic",
    )
    is_output_embedding: bool = setting(
        False,
        label="Output embedding",
        help="Learn what comes out of the text encoder instead of what goes in. Faster and lighter, but few other programs can read it.",
        group=OWN_GROUP,
        level="expert",
    )
