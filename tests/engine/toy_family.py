"""A model family of two layers: everything that the engine needs from a family, and nothing slow."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from onetrainer_gradio.engine.diffusion import Diffusion
from onetrainer_gradio.engine.families.family import (
    Component,
    FamilySpec,
    LatentSpace,
    LoadedModel,
    SampleRequest,
    Tensors,
    TextEncoder,
)

CHANNELS = 4
TOKENS = 8
WORDS = 32
WIDTH = 6
TIMESTEPS = 50


class Denoiser(ModelMixin, ConfigMixin):
    """Two layers: latents and text in, a prediction out."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.text = nn.Linear(WIDTH, CHANNELS)

    def forward(self, latents_BCHW: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        told_BC = self.text(text_BLD.mean(1)) * (timestep_B / TIMESTEPS)[:, None]
        return self.image(latents_BCHW) + told_BC[:, :, None, None]


class Encoder(ModelMixin, ConfigMixin):
    """An embedding and one layer."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return self.out(self.words(tokens_BL))


class Averages(ModelMixin, ConfigMixin):
    """A VAE whose latents are the average colors of 8 × 8 pixels, and whose decoder is one layer."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.ConvTranspose2d(CHANNELS, 3, 8, stride=8)

    def encode(self, image_BCHW: Tensor) -> Any:
        small = functional.avg_pool2d((image_BCHW + 1) / 2, 8)
        latents = torch.cat([small, small.mean(1, keepdim=True)], 1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, latents_BCHW: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        return (self.decoder(latents_BCHW),)


class Words:
    """A tokenizer that adds up the letters of each word."""

    model_max_length = TOKENS

    def __init__(self) -> None:
        self.added: list[str] = []

    def __len__(self) -> int:
        return WORDS + len(self.added)

    def add_tokens(self, tokens: list[str]) -> None:
        self.added += tokens

    @classmethod
    def from_pretrained(cls, folder: Path) -> Words:
        assert (folder / "words.json").is_file()
        return cls()

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "words.json").write_text("{}")

    def number(self, word: str) -> int:
        return WORDS + self.added.index(word) if word in self.added else sum(word.encode()) % WORDS

    def __call__(self, text: str, max_length: int = TOKENS, padding: Any = None, **options: Any) -> Any:
        for token in self.added:
            text = text.replace(token, f" {token} ")
        numbers = [self.number(word) for word in text.split()][:max_length]
        if padding == "do_not_pad":
            return SimpleNamespace(input_ids=numbers)
        padding = TOKENS - len(numbers)
        mask = [1] * len(numbers) + [0] * padding
        return SimpleNamespace(input_ids=torch.tensor([numbers + [0] * padding]), attention_mask=torch.tensor([mask]))


def states(module: Any, tokens: Tensors, skip: int) -> Tensors:
    return {"hidden": module(tokens["tokens"])}


def condition(model: LoadedModel, tensors: Tensors) -> Tensors:
    return {"text": tensors["hidden"]}


def denoise(model: LoadedModel, noised_BCHW: Tensor, timestep_B: Tensor, condition: Tensors) -> Tensor:
    predicted_BCHW: Tensor = model.denoiser(noised_BCHW, timestep_B, condition["text"])
    return predicted_BCHW


def sample(model: LoadedModel, request: SampleRequest) -> Any:
    asked = request.sample
    text = model.prompt(asked.prompt)
    generator = torch.Generator().manual_seed(request.seed)
    latents_BCHW = torch.randn((1, CHANNELS, asked.height // 8, asked.width // 8), generator=generator)
    for done in range(asked.diffusion_steps):
        timestep_B = torch.tensor([TIMESTEPS - 1 - done])
        latents_BCHW = latents_BCHW - 0.1 * denoise(model, latents_BCHW, timestep_B, text)
        if not request.on_step(done + 1, asked.diffusion_steps):
            return None
    red, green, blue = (latents_BCHW[0, :3].mean((1, 2)).sigmoid() * 255).int().tolist()
    return Image.new("RGB", (asked.width, asked.height), (red, green, blue))


def single_file(model: LoadedModel) -> Tensors:
    return {f"{name}.{key}": tensor for name in model.components for key, tensor in model.state(name).items()}


SCHEDULE = {"num_train_timesteps": TIMESTEPS, "trained_betas": torch.linspace(0.01, 0.1, TIMESTEPS).tolist()}

TOY = FamilySpec(
    types=("STABLE_DIFFUSION_15",),
    title="Toy",
    architecture="toy-v1",
    pipeline="diffusers:DiffusionPipeline",
    components={
        "unet": Component(f"{__name__}:Denoiser"),
        "text_encoder": Component(f"{__name__}:Encoder"),
        "vae": Component(f"{__name__}:Averages"),
    },
    text=(TextEncoder("text_encoder", "tokenizer", f"{__name__}:Words", states, "lora_te"),),
    latents=LatentSpace(lambda config, latents_BCHW: latents_BCHW),
    objective=Diffusion.of,
    condition=condition,
    denoise=denoise,
    sample=sample,
    scheduler=lambda model: ("DDIMScheduler", model.scheduler_config),
    size_multiple_px=8,
    single_file=single_file,
)
SPECS = (TOY,)


def write_model(folder: Path) -> Path:
    """Write an untrained model that a run can load."""
    torch.manual_seed(5)
    for name, module in {"text_encoder": Encoder(), "unet": Denoiser(), "vae": Averages()}.items():
        module.save_pretrained(folder / name)
    Words().save_pretrained(folder / "tokenizer")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULE))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Toy"}))
    return folder
