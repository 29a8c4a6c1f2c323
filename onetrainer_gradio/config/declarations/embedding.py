"""Declare the settings of a trained token embedding (textual inversion)."""

from __future__ import annotations

import uuid

from onetrainer_gradio.config.declarations.setting import FILE_NAME_PATTERN, OWN_GROUP, Settings, setting
from onetrainer_gradio.config.enums import TimeUnit


def new_uuid() -> str:
    """Return an identity that survives a resume."""
    return str(uuid.uuid4())


class TrainEmbeddingConfig(Settings):
    """A placeholder and the vectors that are trained for it."""

    uuid: str = setting(factory=new_uuid, fresh=True, file_name=True)
    model_name: str = setting(
        "",
        label="Base embedding",
        help="Embedding file to continue training from. Leave it empty to start from the initial embedding text.",
        group=OWN_GROUP,
        level="advanced",
        kind="path",
        path="file",
    )
    placeholder: str = setting(
        "<embedding>",
        label="Placeholder",
        help="Trigger word of the embedding (placeholder token). Write it in captions and prompts. Choose a text that isn't an ordinary word.",
        group=OWN_GROUP,
        level="basic",
        required=True,
        file_name=True,
        pattern=FILE_NAME_PATTERN,
    )
    train: bool = setting(
        True,
        label="Train",
        help="Train this embedding. If off, it is only used, for example while other embeddings are trained.",
        group=OWN_GROUP,
        level="advanced",
    )
    stop_training_after: int | None = setting(
        None,
        label="Stop training after",
        help="Freeze this embedding at this point of the run.",
        group=OWN_GROUP,
        level="advanced",
        unit_of=".stop_training_after_unit",
        ge=0,
    )
    stop_training_after_unit: TimeUnit = setting(
        TimeUnit.NEVER,
        label="Stop training after: unit",
        help="Unit of the point at which to freeze this embedding. “never” trains it until the end.",
        group=OWN_GROUP,
        level="advanced",
    )
    token_count: int | None = setting(
        1,
        label="Token count",
        help="Number of vectors (kohya: num_vectors_per_token). 1 to 4 for a simple subject, up to 16 for a style. More take up room in the prompt. Leave it empty for the length of the initial embedding text.",
        group=OWN_GROUP,
        level="basic",
        ge=1,
    )
    initial_embedding_text: str = setting(
        "*",
        label="Initial embedding text",
        help="Text that the embedding starts from (kohya: init_word), such as what it depicts: cat, watercolor.",
        group=OWN_GROUP,
        level="basic",
    )
    is_output_embedding: bool = setting(
        False,
        label="Output embedding",
        help="Train the output of the text encoder instead of its input. Faster and needs less VRAM, but few other programs support such embeddings.",
        group=OWN_GROUP,
        level="expert",
    )
