"""A model family of two layers: everything that the engine asks of a family, and nothing that takes time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from torch.nn import functional

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.data.dataset import Batch
from onetrainer_gradio.engine.diffusion import DiffusionProcess
from onetrainer_gradio.engine.families.family import Part, Prediction, SampleRequest
from onetrainer_gradio.engine.files import whole_folder, write_tensors
from onetrainer_gradio.engine.header import Header

CHANNELS = 4
TOKENS = 8
WORDS = 32
WIDTH = 6
TIMESTEPS = 50


class Denoiser(nn.Module):
    """Two layers: latents and text in, a prediction out."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.text = nn.Linear(WIDTH, CHANNELS)

    def forward(self, latents_BCHW: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        told_BC = self.text(text_BLD.mean(1)) * (timestep_B / TIMESTEPS)[:, None]
        return self.image(latents_BCHW) + told_BC[:, :, None, None]


class TextEncoder(nn.Module):
    """An embedding and one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return self.out(self.words(tokens_BL))


def untrained() -> dict[str, nn.Module]:
    torch.manual_seed(5)
    return {"text_encoder": TextEncoder(), "unet": Denoiser()}


def write_model(folder: Path) -> Path:
    """Write an untrained model, from which a run can load."""
    for name, module in untrained().items():
        write_tensors(folder / f"{name}.safetensors", module.state_dict(), {}, durable=False)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Toy"}))
    return folder


@dataclass
class Toy:
    """A loaded toy model."""

    size_multiple_px: ClassVar[int] = 8
    full_formats: ClassVar[frozenset[str]] = frozenset({"DIFFUSERS", "LEGACY_SAFETENSORS"})
    title: ClassVar[str] = "Toy"
    architecture: ClassVar[str] = "toy-v1"

    config: TrainConfig
    source: str
    modules: dict[str, nn.Module]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    placed: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = DiffusionProcess.from_betas(torch.linspace(0.01, 0.1, TIMESTEPS), "epsilon", self.device)

    @classmethod
    def load(cls, config: TrainConfig, source: str, progress: Callable[[int, int, str], None]) -> Toy:
        modules = untrained()
        for done, (name, module) in enumerate(modules.items()):
            progress(done, len(modules), name)
            module.load_state_dict(load_file(Path(source) / f"{name}.safetensors"))
            module.requires_grad_(False)
        return cls(config, source, modules)

    def parts(self) -> tuple[Part, ...]:
        return (
            Part("text_encoder", self.modules["text_encoder"], "lora_te", layer_filter=False),
            Part("unet", self.modules["unet"], "lora_unet"),
        )

    def frozen_modules(self) -> Mapping[str, nn.Module]:
        return {}

    def place(self, *names: str) -> None:
        self.placed.append(names)

    def set_checkpointing(self) -> None: ...

    def image_facts(self) -> dict[str, Any]:
        return {"family": "toy"}

    def text_facts(self) -> dict[str, Any]:
        return {"family": "toy", "model": self.source}

    def encode_image(self, image_CHW: Tensor) -> Tensor:
        small = functional.avg_pool2d(image_CHW, 8)
        return torch.cat([small, small.mean(0, keepdim=True)])

    def tokenize(self, caption: str) -> Tensor:
        numbers = [sum(word.encode()) % WORDS for word in caption.split()][:TOKENS]
        return torch.tensor(numbers + [0] * (TOKENS - len(numbers)))

    @torch.no_grad()
    def encode_text(self, tokens_BL: Tensor) -> Tensor:
        encoded: Tensor = self.modules["text_encoder"](tokens_BL)
        return encoded

    def predict(
        self, batch: Batch, sample_timesteps: Callable[[Generator, int], Tensor], generator: Generator, step: int | None
    ) -> Prediction:
        text_BLD = self.modules["text_encoder"](batch.tokens_BL) if batch.text_BLD is None else batch.text_BLD
        timestep_B = sample_timesteps(generator, batch.latents_BCHW.shape[0])
        noise_BCHW = torch.randn(batch.latents_BCHW.shape, generator=generator)
        noised_BCHW = self.process.noised(batch.latents_BCHW, noise_BCHW, timestep_B)
        predicted_BCHW = self.modules["unet"](noised_BCHW, timestep_B, text_BLD)
        return Prediction(predicted_BCHW, self.process.target(batch.latents_BCHW, noise_BCHW, timestep_B), timestep_B)

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> Any:
        sample = request.sample
        text_BLD = self.encode_text(self.tokenize(sample.prompt)[None])
        generator = torch.Generator().manual_seed(request.seed)
        latents_BCHW = torch.randn((1, CHANNELS, sample.height // 8, sample.width // 8), generator=generator)
        for done in range(sample.diffusion_steps):
            timestep_B = torch.tensor([TIMESTEPS - 1 - done])
            latents_BCHW = latents_BCHW - 0.1 * self.modules["unet"](latents_BCHW, timestep_B, text_BLD)
            if not request.on_step(done + 1, sample.diffusion_steps):
                return None
        red, green, blue = (latents_BCHW[0, :3].mean((1, 2)).sigmoid() * 255).int().tolist()
        return Image.new("RGB", (sample.width, sample.height), (red, green, blue))

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        if model_format == "DIFFUSERS":
            with whole_folder(destination) as folder:
                self.write_folder(folder, dtype)
            return
        tensors = {
            f"{name}.{key}": tensor.to(dtype)
            for name, module in self.modules.items()
            for key, tensor in module.state_dict().items()
        }
        write_tensors(destination, tensors, header(tensors))

    def write_folder(self, folder: Path, dtype: torch.dtype | None) -> None:
        for name, module in self.modules.items():
            state = {key: tensor.to(dtype) for key, tensor in module.state_dict().items()}
            write_tensors(folder / f"{name}.safetensors", state, {}, durable=False)
        (folder / "model_index.json").write_text(json.dumps({"_class_name": "Toy"}))
