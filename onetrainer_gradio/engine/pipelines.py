"""Generate samples through the diffusers pipeline of a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine.component_weights import class_of
from onetrainer_gradio.engine.families.family import LoadedModel, SampleRequest, Tensors


def guided(pipeline: Any) -> Any:
    """Return the pipeline class with guidance at every scale: diffusers skips it up to 1 (at 1 it is the same)."""

    class Guided(pipeline):  # type: ignore[misc]
        @property
        def do_classifier_free_guidance(self) -> bool:
            return bool(self._guidance_scale != 1.0)

    Guided.__name__ = pipeline.__name__
    return Guided


@dataclass(frozen=True)
class Prompts:
    """What a sample is conditioned on: each a batch of one. ``negative`` is empty for models without a negative prompt."""

    positive: Tensors
    negative: Tensors


@dataclass(frozen=True)
class PipelineSampler:
    """Generates samples with the pipeline of the family.

    ``scheduler`` returns the scheduler for a sample, ``latents`` the noise that it starts from (in the pipeline's layout), and
    ``arguments`` the arguments of the pipeline that differ between families.
    """

    scheduler: Callable[[LoadedModel, SampleConfig], Any]
    latents: Callable[[LoadedModel, SampleConfig, Generator], Tensor]
    arguments: Callable[[LoadedModel, SampleConfig, Prompts], dict[str, Any]]
    negative: bool = True
    size_multiple_px: int = 8
    from_image: bool = False
    """The pipeline takes size and noise from the image among the arguments."""

    def __call__(self, model: LoadedModel, request: SampleRequest) -> Any:
        """Return a Pillow image, or None if the sample was ended early."""
        sample = self._rounded(request.sample)
        pipeline = model.pipeline(lambda: self._pipeline(model))
        pipeline.scheduler = self.scheduler(model, sample)
        generator = torch.Generator(model.device).manual_seed(request.seed)
        with model.autocast:
            # one after the other: text encoders can be larger than the denoiser
            model.place(*(encoder.name for encoder in model.spec.text))
            prompts = Prompts(model.prompt(sample.prompt), model.prompt(sample.negative_prompt) if self.negative else {})

            def on_step(pipe: Any, done: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
                if not request.on_step(done + 1, pipe.num_timesteps):
                    pipe._interrupt = True  # diffusers' documented way to end early
                return values

            model.place(model.spec.denoiser, *model.spec.image_encoders)
            arguments = self.arguments(model, sample, prompts)
            if not self.from_image:
                arguments |= {"height": sample.height, "width": sample.width, "latents": self.latents(model, sample, generator)}
            images = pipeline(
                num_inference_steps=sample.diffusion_steps, generator=generator, callback_on_step_end=on_step, **arguments
            ).images
        return None if getattr(pipeline, "interrupt", False) else images[0]

    def _rounded(self, sample: SampleConfig) -> SampleConfig:
        multiple = self.size_multiple_px
        size = {name: max(1, round(getattr(sample, name) / multiple)) * multiple for name in ("width", "height")}
        return sample.model_copy(update=size)

    def _pipeline(self, model: LoadedModel) -> Any:
        spec = model.spec
        missing = dict.fromkeys([*spec.components, *(encoder.tokenizer for encoder in spec.text)])
        kind = class_of(spec.pipeline)
        options = {name: None for name in ("safety_checker", "feature_extractor") if name in spec.other_index}
        if "requires_safety_checker" in spec.other_index:
            options["requires_safety_checker"] = False  # type: ignore[assignment]
        class_name, settings = spec.scheduler(model)
        scheduler = class_of(f"diffusers:{class_name}").from_config(dict(settings))
        kind = guided(kind) if self.negative else kind
        return kind(**{**missing, **model.components, **model.tokenizers, **options, "scheduler": scheduler})


def flow_sampler(model: LoadedModel, sample: SampleConfig) -> Any:
    """Return the scheduler of a flow-matching model, which has no choice of samplers."""
    class_name, settings = unchanged_scheduler(model)
    return class_of(f"diffusers:{class_name}").from_config(dict(settings))


def unchanged_scheduler(model: LoadedModel) -> tuple[str, Mapping[str, Any]]:
    """Return the scheduler of a flow-matching model, which is saved as it was loaded."""
    return model.scheduler_config.get("_class_name", "FlowMatchEulerDiscreteScheduler"), model.scheduler_config


def flow_noise(model: LoadedModel, sample: SampleConfig, generator: Generator) -> Tensor:
    """Return noise (1, C, H/8, W/8) in float32."""
    size = (1, model.vae.config["latent_channels"], sample.height // 8, sample.width // 8)
    return torch.randn(size, generator=generator, device=model.device, dtype=torch.float32)
