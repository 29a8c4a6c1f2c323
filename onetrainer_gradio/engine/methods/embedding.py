"""Method EMBEDDING (textual inversion, arXiv 2208.01618): train the vectors of a placeholder, and leave the model as it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.methods.method import DenoiserMethod, ParameterGroup
from onetrainer_gradio.engine.methods.placeholders import FOLDER, Placeholders
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.errors import BackupMismatchError, UnsupportedError


@dataclass(frozen=True)
class Embedding(DenoiserMethod):
    """The embedding of the settings, and additional ones next to it."""

    model: Model
    placeholders: Placeholders

    @classmethod
    def base_model(cls, config: TrainConfig, backup: Path | None) -> str:
        """Return the base model, which never changes.

        :raises BackupMismatchError: if the backup has no embedding.
        """
        file = backup and backup / FOLDER / f"{config.embedding.uuid}.safetensors"
        if file is not None and not file.is_file():
            raise BackupMismatchError(
                f"The backup “{backup}” doesn't contain the embedding “{config.embedding.placeholder}”.",
                path="training_method",
                value=config.training_method,
                expected=str(Path(FOLDER) / file.name),
                suggestion="Resume from a backup of this embedding, or choose the training method of the backup.",
            )
        return config.base_model_name

    @classmethod
    def attach(cls, model: Model, config: TrainConfig, seed: int, backup: Path | None) -> Embedding:
        """Give the text encoders the vectors of the embeddings, which depend on no seed."""
        return cls(model, Placeholders.attach(model, config, backup))

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return one group for each trained embedding in each text encoder."""
        return self.placeholders.groups()

    def encoding_facts(self) -> dict[str, Any]:
        """Return what the embeddings add to cached text."""
        return self.placeholders.facts()

    def trained_modules(self) -> tuple[nn.Module, ...]:
        """Return nothing: every component stays in evaluation mode."""
        return ()

    def without_adapter(self) -> AbstractContextManager[None]:
        """Raise an error: OneTrainer predicts without embeddings for no method.

        :raises UnsupportedError: always.
        """
        raise UnsupportedError(
            "Prior prediction needs a LoRA, which an embedding isn't.",
            path="training_method",
            value="EMBEDDING",
            expected="LORA",
            suggestion="Train a LoRA, or set the type of the concepts to Standard.",
        )

    def after_update(self) -> None:
        """Scale the vectors to their usual norms, if the setting asks for it."""
        self.placeholders.preserve_norms()

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the file of the embedding."""
        self.placeholders.save_main(destination, dtype, header)

    def save_additional_files(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write the additional embeddings to the folder ``<destination>_embeddings``."""
        self.placeholders.save_additional(destination, dtype, header)

    def back_up(self, folder: Path, header: Header) -> None:
        """Write ``embeddings/<uuid>.safetensors`` of each embedding."""
        self.placeholders.back_up(folder, header)
