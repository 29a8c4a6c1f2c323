"""Full fine-tuning: train the weights of the model itself."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.layers.filter import layers_to_train
from onetrainer_gradio.engine.full_model_files import save_model
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.methods.method import DenoiserMethod, ParameterGroup
from onetrainer_gradio.engine.methods.placeholders import Placeholders, in_order
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.errors import BackupMismatchError, UnsupportedError


@dataclass(frozen=True)
class FineTune(DenoiserMethod):
    """The trained components of a model; a layer filter freezes the rest of the denoiser."""

    model: Model
    trained: tuple[ParameterGroup, ...]
    modules: tuple[nn.Module, ...]
    placeholders: Placeholders

    @classmethod
    def base_model(cls, config: TrainConfig, backup: Path | None) -> str:
        """Return the folder of the model in a backup, in diffusers layout.

        :raises BackupMismatchError: if the backup has none.
        """
        if backup is None:
            return config.base_model_name
        if not (backup / "model_index.json").is_file():
            raise BackupMismatchError(
                f"The backup “{backup}” contains no full model.",
                path="training_method",
                value=config.training_method,
                expected="model_index.json",
                suggestion="Resume from a backup of a full fine-tune, or choose the training method of the backup.",
            )
        return str(backup)

    @classmethod
    def attach(cls, model: Model, config: TrainConfig, seed: int, backup: Path | None) -> FineTune:
        """Make the parameters of the trained components trainable."""
        groups, modules = [], []
        placeholders = Placeholders.attach(model, config, backup)
        for part in model.parts():
            settings = getattr(config, part.name)
            if not settings.train:
                continue
            named = dict(part.module.named_parameters())
            chosen = tuple(named)
            if part.layer_filter:
                chosen = layers_to_train(named, config.layer_filter, config.layer_filter_regex, idle_allowed=True)
            for name in chosen:
                named[name].requires_grad_(True)
            rate = config.learning_rate if settings.learning_rate is None else settings.learning_rate
            names = tuple(f"{part.name}.{part.path_prefix}{name}" for name in chosen)
            groups.append(ParameterGroup(part.name, part.name, tuple(named[name] for name in chosen), rate, names))
            modules.append(part.module)
        return cls(model, in_order(groups, placeholders), tuple(modules), placeholders)

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return one group per trained component and embedding."""
        return self.trained

    def encoding_facts(self) -> dict[str, Any]:
        """Return what embeddings add to cached text."""
        return self.placeholders.facts()

    def trained_modules(self) -> tuple[nn.Module, ...]:
        """Return the trained components."""
        return self.modules

    def without_adapter(self) -> AbstractContextManager[None]:
        """Raise an error: the original weights are gone.

        :raises UnsupportedError: always.
        """
        raise UnsupportedError(
            "Prior prediction needs the model as it was, which a full fine-tune changes.",
            path="training_method",
            value="FINE_TUNE",
            expected="LORA",
            suggestion="Train a LoRA, or set the type of the concepts to Standard.",
        )

    def after_update(self) -> None:
        """Scale embeddings to their usual norms, if the setting asks for it."""
        self.placeholders.preserve_norms()

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the complete model."""
        save_model(self.model, destination, model_format, dtype, header)

    def save_additional_files(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write the embeddings to the folder ``<destination>_embeddings``."""
        self.placeholders.save_additional(destination, dtype, header)

    def back_up(self, folder: Path, header: Header) -> None:
        """Write the complete model in diffusers layout to the backup, and the embeddings."""
        self.model.write_folder(folder, None)
        self.placeholders.back_up(folder, header)
