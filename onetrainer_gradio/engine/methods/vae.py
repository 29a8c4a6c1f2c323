"""Fine-tuning the VAE: train its decoder to reconstruct images from their latents, and leave the rest of the model as it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy
import torch
from PIL import Image
from torch import Generator, Tensor, nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.dataset.files import shown
from onetrainer_gradio.config.dataset.images import BrokenImageError, decode
from onetrainer_gradio.engine.data.dataset import Batch
from onetrainer_gradio.engine.data.transforms import to_tensor
from onetrainer_gradio.engine.families.family import Draw, Prediction, SampleRequest
from onetrainer_gradio.engine.full_model_files import save_model
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.methods.full import FineTune
from onetrainer_gradio.engine.methods.method import ParameterGroup
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.errors import SamplingError, UnsupportedError


@dataclass(frozen=True)
class FineTuneVae:
    """The decoder of the VAE, with the general learning rate."""

    uses_captions: ClassVar[bool] = False
    model: Model
    trained: ParameterGroup

    @classmethod
    def base_model(cls, config: TrainConfig, backup: Path | None) -> str:
        """Return the folder of the model in a backup, which is that of a full fine-tune.

        :raises BackupMismatchError: if the backup has none.
        """
        return FineTune.base_model(config, backup)

    @classmethod
    def attach(cls, model: Model, config: TrainConfig, seed: int, backup: Path | None) -> FineTuneVae:
        """Make the parameters of the decoder trainable; ``seed`` has no effect."""
        named = dict(model.vae.decoder.named_parameters())
        for parameter in named.values():
            parameter.requires_grad_(True)
        always = config.vae.model_copy(update={"stop_training_after": None})  # hidden with this method, so without effect
        names = tuple(f"vae.decoder.{name}" for name in named)
        return cls(model, ParameterGroup("vae", "vae", tuple(named.values()), config.learning_rate, names, always))

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return one group."""
        return (self.trained,)

    def predict(self, batch: Batch, draw: Draw, generator: Generator, step: int | None) -> Prediction:
        """Return the decoded latents and, as their target, the images they were encoded from: -1 to 1. Nothing is random."""
        device = self.model.device
        predicted_BCHW = self._decoded(batch.tensors["latents"].to(device, non_blocking=True))
        return Prediction(predicted_BCHW, batch.tensors["image"].to(device, non_blocking=True), None)

    def _decoded(self, latents_BCHW: Tensor) -> Tensor:
        with self.model.autocast, self.model.computing("vae"):
            decoded_BCHW: Tensor = self.model.vae.decode(latents_BCHW, return_dict=False)[0]
        return decoded_BCHW

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> Any:
        """Return the reconstruction of a training image: that whose path is the prompt, else an image that the seed selects.

        :raises SamplingError: if it can't be read.
        """
        self.model.place("vae")
        sample = request.sample
        pixels = fitted(_read(_chosen(request)), sample.width, sample.height)
        image_CHW = to_tensor(numpy.asarray(pixels), self.model.dtype)
        latents_CHW = self.model.encode_image({"image": image_CHW})["latents"]
        decoded_CHW = self._decoded(latents_CHW[None])[0].float().cpu()
        if not request.on_step(1, 1):
            return None
        levels_HWC = ((decoded_CHW + 1) / 2).clamp(0, 1).mul(255).byte().permute(1, 2, 0)
        return Image.fromarray(levels_HWC.numpy())

    def encoding_facts(self) -> dict[str, Any]:
        """Return nothing: only the decoder is trained, which encodes nothing."""
        return {}

    def trained_modules(self) -> tuple[nn.Module, ...]:
        """Return the decoder."""
        return (self.model.vae.decoder,)

    def without_adapter(self) -> AbstractContextManager[None]:
        """Raise an error: the original weights are gone.

        :raises UnsupportedError: always.
        """
        raise UnsupportedError(
            "Prior prediction needs a LoRA, which a fine-tuned VAE isn't.",
            path="training_method",
            value="FINE_TUNE_VAE",
            expected="LORA",
            suggestion="Train a LoRA, or set the type of the concepts to Standard.",
        )

    def after_update(self) -> None:
        """Do nothing: an optimizer step may change every weight."""

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the complete model."""
        save_model(self.model, destination, model_format, dtype, header)

    def save_additional_files(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write nothing: the model is the whole result."""

    def back_up(self, folder: Path, header: Header) -> None:
        """Write the complete model in diffusers layout to the backup."""
        self.model.write_folder(folder, None)


def _chosen(request: SampleRequest) -> Path:
    named = next((path for path in request.images if str(path) == request.sample.prompt), None)
    return named or request.images[request.seed % len(request.images)]


def _read(path: Path) -> Image.Image:
    try:
        return decode(path)
    except BrokenImageError as error:
        raise SamplingError(f"Can't read the image “{shown(path)}”: {error}.", path="concepts", value=shown(path)) from error


def fitted(image: Image.Image, width_px: int, height_px: int) -> Image.Image:
    """Return the middle of an image whose shorter side is scaled to the longer side of the result."""
    scale = max(width_px, height_px) / min(image.size)
    width, height = (int(side * scale) for side in image.size)
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - width_px) / 2), round((height - height_px) / 2)
    return scaled.crop((left, top, left + width_px, top + height_px))
