"""Stable Diffusion 1.5: a UNet on the latents of a VAE, conditioned by a CLIP text encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar, cast

import torch
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors import SafetensorError
from torch import Generator, Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.model_files import BASE, Unfit, family_of, unfit, weights_unfit
from onetrainer_gradio.engine import precision
from onetrainer_gradio.engine.data.cache import file_identity
from onetrainer_gradio.engine.data.dataset import Batch
from onetrainer_gradio.engine.diffusion import DiffusionProcess, zero_terminal_snr
from onetrainer_gradio.engine.families.family import Part, Prediction, SampleRequest
from onetrainer_gradio.engine.families.original_layout import to_original
from onetrainer_gradio.engine.files import whole_folder, write_tensors
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.hub import Hub
from onetrainer_gradio.engine.noise import draw_noise, generalized_offset_psi
from onetrainer_gradio.engine.samplers import scheduler_of
from onetrainer_gradio.errors import ModelFormatError, ModelNotFoundError

ZERO_SNR_GUIDANCE_RESCALE = 0.7
"""Guidance rescale of samples (arXiv 2305.08891, section 3.4) with zero terminal SNR; OneTrainer rescales for no other model."""

CONFIGS_OF_SINGLE_FILES = "stable-diffusion-v1-5/stable-diffusion-v1-5"
"""A single file contains only weights; tokenizer and layout come from here."""
_CHECKPOINTS = (".ckpt", ".pt", ".pth", ".bin")

_SMALL = ("model_index.json", "scheduler/*.json", "tokenizer/*", "*/config.json")
_WEIGHTS = {
    "text_encoder": ("model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"),
    "vae": (
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.bin",
    ),
    "unet": (
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.bin",
    ),
}
_SHARDS = "*/diffusion_pytorch_model-*-of-*.safetensors"


@dataclass
class StableDiffusion:
    """A loaded Stable Diffusion 1.5."""

    size_multiple_px: ClassVar[int] = 8
    title: ClassVar[str] = "Stable Diffusion 1.5"
    architecture: ClassVar[str] = "stable-diffusion-v1"

    config: TrainConfig
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    noise_schedule: dict[str, Any]
    identities: dict[str, Any]
    device: torch.device = field(init=False)
    process: DiffusionProcess = field(init=False)

    # -- loading --------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: TrainConfig, source: str, progress: Callable[[int, int, str], None]) -> StableDiffusion:
        """Load the model at ``source``: a diffusers folder, a single file, or a Hugging Face model ID.

        :raises ModelNotFoundError: if it isn't found.
        :raises ModelFormatError: if it isn't Stable Diffusion 1.5.
        """
        hub = Hub.of(config, progress)
        place = hub.locate(source, (*_SMALL, *(f"{part}/{names[0]}" for part, names in _WEIGHTS.items())))
        loaded = (
            _from_folder(config, source, place, hub, progress) if place.is_dir() else _from_file(config, place, hub, progress)
        )
        model = cls(config=config, **loaded)
        model._prepare()
        return model

    def _prepare(self) -> None:
        config = self.config
        self.device = torch.device(config.train_device)
        self._exact_device = torch.empty(0, device=self.device).device  # "cuda" is "cuda:0" to its tensors
        self._temp_device = precision.device_of(config.temp_device, "temp_device")
        self.dtype = precision.DTYPES[config.train_dtype]
        self.autocast = precision.autocast(self.device, self.dtype, cache=config.enable_autocast_cache)
        self._modules: dict[str, nn.Module] = {"text_encoder": self.text_encoder, "unet": self.unet, "vae": self.vae}
        for module in self._modules.values():
            module.requires_grad_(False)
            module.eval()
        betas = DDIMScheduler.from_config(self.noise_schedule).betas
        self._zero_snr = config.rescale_noise_scheduler_to_zero_terminal_snr
        prediction = self.noise_schedule.get("prediction_type", "epsilon")
        if config.force_epsilon_prediction:
            prediction = "epsilon"
        if config.force_v_prediction or self._zero_snr:
            prediction = "v_prediction"
        betas = zero_terminal_snr(betas) if self._zero_snr else betas
        self.process = DiffusionProcess.from_betas(betas, prediction, self.device)
        wants_psi = config.offset_noise_weight > 0 and config.generalized_offset_noise
        self._psi_T = generalized_offset_psi(self.process.betas_T) if wants_psi else None
        self._pipeline: Any = None

    # -- parts ----------------------------------------------------------------------------------------------------------

    def parts(self) -> tuple[Part, ...]:
        """Return text encoder and UNet, in the order of their parameter groups."""
        # newer transformers left a level of the text encoder out; adapter files keep it
        prefix = "" if hasattr(self.text_encoder, "text_model") else "text_model."
        return (
            Part("text_encoder", self.text_encoder, "lora_te", prefix, layer_filter=False),
            Part("unet", self.unet, "lora_unet"),
        )

    def place(self, *names: str) -> None:
        """Move these components to the train device and the others to the temp device."""
        # away first, so that there is room; also where both devices are one: the model was loaded into main memory
        for name, module in self._modules.items():
            if name not in names:
                module.to(self._temp_device)
        for name in names:
            self._modules[name].to(self.device)

    @contextmanager
    def _at_hand(self, name: str) -> Iterator[None]:
        """Move a component to the train device within the block; a cleared cache needs it during training."""
        module = self._modules[name]
        resting = next(module.parameters()).device
        away = resting != self._exact_device
        if away:
            module.to(self.device)
        try:
            yield
        finally:
            if away:
                module.to(resting)

    def set_checkpointing(self) -> None:
        """Turn on gradient checkpointing of the trained components as configured."""
        if self.config.unet.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        if self.config.text_encoder.train and self.config.text_encoder.gradient_checkpointing:
            self.text_encoder.gradient_checkpointing_enable()

    # -- encoding -------------------------------------------------------------------------------------------------------

    def _facts(self, part: str, weights: str) -> dict[str, Any]:
        return {
            "family": "stable_diffusion",
            "model": self.identities[part],
            "weights": weights,
            "train_dtype": str(self.config.train_dtype),
            "device": self.device.type,
        }

    def image_facts(self) -> dict[str, Any]:
        """Return VAE, its data type, and that of the computation."""
        return self._facts("vae", str(self.config.vae.weight_dtype))

    def text_facts(self) -> dict[str, Any]:
        """Return text encoder, tokenizer, their data type, and the skipped layers."""
        skip = self.config.text_encoder_layer_skip
        facts = self._facts("text_encoder", str(self.config.text_encoder.weight_dtype))
        return facts | {"tokenizer": self.identities["tokenizer"], "layer_skip": skip}

    @torch.no_grad()
    def encode_image(self, image_CHW: Tensor) -> Tensor:
        """Return the mean of the VAE's posterior, unscaled: latents (4, H/8, W/8)."""
        with self._at_hand("vae"), self.autocast:
            image = (image_CHW * 2 - 1)[None].to(self.device)
            latents_CHW: Tensor = self.vae.encode(image).latent_dist.mode()[0]
            return latents_CHW

    def tokenize(self, caption: str) -> Tensor:
        """Return 77 token IDs."""
        limit = self.tokenizer.model_max_length
        encoded = self.tokenizer(caption, padding="max_length", truncation=True, max_length=limit, return_tensors="pt")
        tokens_L: Tensor = encoded.input_ids[0]
        return tokens_L

    @torch.no_grad()
    def encode_text(self, tokens_BL: Tensor) -> Tensor:
        """Return the hidden states (B, 77, D) of the last layer that is not skipped, normalized."""
        with self._at_hand("text_encoder"), self.autocast:
            return self._hidden(tokens_BL, self.config.text_encoder_layer_skip)

    def _hidden(self, tokens_BL: Tensor, layer_skip: int) -> Tensor:
        output = self.text_encoder(tokens_BL.to(self.device), output_hidden_states=True, return_dict=True)
        norm = getattr(self.text_encoder, "text_model", self.text_encoder).final_layer_norm
        hidden_BLD: Tensor = norm(output.hidden_states[-1 - layer_skip])
        return hidden_BLD

    # -- training -------------------------------------------------------------------------------------------------------

    def predict(
        self, batch: Batch, sample_timesteps: Callable[[Generator, int], Tensor], generator: Generator, step: int | None
    ) -> Prediction:
        """Return the UNet's prediction for the noised latents; samples first the timesteps, then the noise."""
        config = self.config
        with self.autocast:
            if batch.text_BLD is None:
                text_BLD = self._hidden(batch.tokens_BL, config.text_encoder_layer_skip)
            else:
                text_BLD = batch.text_BLD.to(self.device, non_blocking=True)
            text_BLD = self._with_dropout(text_BLD, step)
            latents_BCHW = batch.latents_BCHW.to(self.device, non_blocking=True) * self.vae.config["scaling_factor"]
            timestep_B = sample_timesteps(generator, latents_BCHW.shape[0])
            noise_BCHW = draw_noise(
                latents_BCHW,
                generator,
                offset_weight=config.offset_noise_weight,
                perturbation_weight=config.perturbation_noise_weight,
                psi_B=None if self._psi_T is None else self._psi_T[timestep_B.long()],
            )
            noised_BCHW = self.process.noised(latents_BCHW, noise_BCHW, timestep_B)
            predicted_BCHW = self.unet(noised_BCHW.to(self.dtype), timestep_B, text_BLD.to(self.dtype), return_dict=False)[0]
            return Prediction(predicted_BCHW, self.process.target(latents_BCHW, noise_BCHW, timestep_B), timestep_B)

    def _with_dropout(self, text_BLD: Tensor, step: int | None) -> Tensor:
        chance = self.config.text_encoder.dropout_probability
        if step is None or chance <= 0:
            return text_BLD
        random = Random(step)
        kept = [random.random() > chance for _ in range(text_BLD.shape[0])]
        return text_BLD * torch.tensor(kept, device=text_BLD.device).float()[:, None, None]

    # -- sampling -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> Any:
        """Generate a sample with diffusers' pipeline and the current weights; return None if it was ended early."""
        sample = request.sample
        pipeline = self.pipeline()
        pipeline.scheduler = scheduler_of(
            sample.noise_scheduler, self.noise_schedule, self.process.prediction, zero_snr=self._zero_snr
        )
        generator = torch.Generator(self.device).manual_seed(request.seed)
        with self.autocast:
            prompt, negative = (
                self._hidden(self.tokenize(text)[None], request.clip_skip).to(self.dtype)
                for text in (sample.prompt, sample.negative_prompt)
            )
            size = (1, self.unet.config["in_channels"], sample.height // 8, sample.width // 8)
            latents = torch.randn(size, generator=generator, device=self.device, dtype=self.dtype)

            def on_step(pipe: Any, done: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
                if not request.on_step(done + 1, pipe.num_timesteps):
                    pipe._interrupt = True  # diffusers' documented way to end early
                return values

            images = pipeline(
                prompt_embeds=prompt,
                negative_prompt_embeds=negative,
                height=sample.height,
                width=sample.width,
                num_inference_steps=sample.diffusion_steps,
                guidance_scale=sample.cfg_scale,
                guidance_rescale=ZERO_SNR_GUIDANCE_RESCALE if self._zero_snr else 0.0,
                generator=generator,
                latents=latents,
                callback_on_step_end=on_step,
            ).images
        return None if pipeline.interrupt else images[0]

    def pipeline(self) -> Any:
        """Return diffusers' pipeline with the current components."""
        if self._pipeline is None:
            from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

            class Guided(StableDiffusionPipeline):  # type: ignore[misc]
                """diffusers skips guidance up to a scale of 1; OneTrainer uses guidance at every scale (at 1 it is the same)."""

                @property
                def do_classifier_free_guidance(self) -> bool:
                    return bool(self._guidance_scale != 1.0)

            self._pipeline = Guided(
                vae=self.vae,
                text_encoder=self.text_encoder,
                tokenizer=self.tokenizer,
                unet=self.unet,
                scheduler=scheduler_of("DDIM", self.noise_schedule, self.process.prediction, zero_snr=self._zero_snr),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
            self._pipeline.set_progress_bar_config(disable=True)
        return self._pipeline

    # -- saving ---------------------------------------------------------------------------------------------------------

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the complete model as a diffusers folder or as one file with the original names."""
        if model_format == "DIFFUSERS":
            with whole_folder(destination) as folder:
                self.write_folder(folder, dtype)
            return
        tensors = to_original(self.unet.state_dict(), self.vae.state_dict(), self._text_state(), self.unet.config)
        tensors = {name: tensor.to("cpu", dtype) for name, tensor in tensors.items()}
        write_tensors(destination, tensors, header(tensors))

    def write_folder(self, folder: Path, dtype: torch.dtype | None) -> None:
        """Fill ``folder`` with the model in diffusers layout."""
        for name, module in self._modules.items():
            state = {key: tensor.to("cpu", dtype) for key, tensor in module.state_dict().items()}
            if name == "text_encoder":
                (folder / name).mkdir(parents=True)
                self.text_encoder.config.to_json_file(folder / name / "config.json")
                write_tensors(folder / name / "model.safetensors", self._named(state), {"format": "pt"}, durable=False)
            else:
                cast(Any, module).save_config(folder / name)
                target = folder / name / "diffusion_pytorch_model.safetensors"
                write_tensors(target, state, {"format": "pt"}, durable=False)
        self.tokenizer.save_pretrained(folder / "tokenizer")
        # latents are no images: clipping them to -1..1 is a default of the class that no such model wants
        scheduler = {**self.noise_schedule, "prediction_type": self.process.prediction, "clip_sample": False}
        if self._zero_snr:
            scheduler["rescale_betas_zero_snr"] = True
        DDIMScheduler.from_config(scheduler).save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")

    def _text_state(self) -> dict[str, Tensor]:
        return self._named(self.text_encoder.state_dict())

    def _named(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        prefix = self.parts()[0].path_prefix
        return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def _from_folder(
    config: TrainConfig, source: str, folder: Path, hub: Hub, progress: Callable[[int, int, str], None]
) -> dict[str, Any]:
    if not Path(source).exists():  # fetched from the hub: repositories differ in the weight files that they hold
        for part, names in _WEIGHTS.items():
            for name in names:
                if any((folder / part / known).exists() for known in names):
                    break
                folder = hub.locate(source, (*_SMALL, f"{part}/{name}", _SHARDS))
    for part, names in _WEIGHTS.items():
        if not (folder / part / "config.json").is_file() or not any((folder / part / name).is_file() for name in names):
            raise ModelFormatError(
                f"“{source}” isn't a Stable Diffusion 1.5 model in diffusers layout: “{part}” is missing or has no weights.",
                path="base_model_name",
                value=source,
                expected=f"{part}/config.json and {part}/{names[0]}",
                suggestion="Choose another base model or model type.",
            )
        problem = weights_unfit(folder / part)
        if problem is not None:
            raise _not_fitting(
                f"The base model “{source}” has the component {part}, which {problem.what}.", source, problem.suggestion
            )
    loaders: dict[str, Callable[[], Any]] = {
        "tokenizer": lambda: CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        "text_encoder": lambda: CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=_dtype(config, "text_encoder"), **_variant(folder, "text_encoder")
        ),
        "vae": lambda: AutoencoderKL.from_pretrained(
            folder / "vae", torch_dtype=_dtype(config, "vae"), **_variant(folder, "vae")
        ),
        "unet": lambda: UNet2DConditionModel.from_pretrained(
            folder / "unet", torch_dtype=_dtype(config, "unet"), **_variant(folder, "unet")
        ),
    }
    loaded: dict[str, Any] = {}
    for done, (name, load) in enumerate(loaders.items()):
        progress(done, len(loaders), name)
        try:
            loaded[name] = load()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelFormatError(
                f"Can't load the component “{name}” of the base model “{source}”: {error}",
                path="base_model_name",
                value=source,
                expected="a Stable Diffusion 1.5 model",
                suggestion="Choose another base model or model type.",
            ) from error
    progress(len(loaders), len(loaders), "")
    loaded["noise_schedule"] = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    loaded["identities"] = {
        name: [file_identity(file) for file in sorted((folder / name).iterdir()) if file.is_file()]
        for name in ("vae", "text_encoder", "tokenizer")
    }
    return loaded


def _from_file(config: TrainConfig, file: Path, hub: Hub, progress: Callable[[int, int, str], None]) -> dict[str, Any]:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    _look_into(file)
    try:
        layout = _layout_of_single_files(file, hub)
        progress(0, 1, file.name)
        pipeline = StableDiffusionPipeline.from_single_file(
            str(file), config=str(layout), local_files_only=True, safety_checker=None, torch_dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, SingleFileComponentError) as error:
        raise ModelFormatError(
            f"Can't load the file “{file}” as Stable Diffusion 1.5: {error}",
            path="base_model_name",
            value=str(file),
            expected="a Stable Diffusion 1.5 checkpoint",
            suggestion="Choose another base model or model type.",
        ) from error
    progress(1, 1, "")
    parts = {name: getattr(pipeline, name) for name in ("unet", "vae", "text_encoder")}
    identity = [file_identity(file)]
    return {
        **{name: module.to(_dtype(config, name)) for name, module in parts.items()},
        "tokenizer": pipeline.tokenizer,
        "noise_schedule": dict(pipeline.scheduler.config),
        "identities": {
            "vae": identity,
            "text_encoder": identity,
            "tokenizer": [file_identity(found) for found in sorted((layout / "tokenizer").iterdir())],
        },
    }


def _look_into(file: Path) -> None:
    """Check the file before anything is downloaded for it.

    :raises ModelFormatError: if it isn't Stable Diffusion 1.5.
    """
    problem = unfit(file, BASE)
    if problem is None and file.suffix not in (".safetensors", *_CHECKPOINTS):
        problem = Unfit("is not a model file", f"choose a file that ends in {', '.join(('.safetensors', *_CHECKPOINTS))}")
    if problem is None and not "STABLE_DIFFUSION_15".startswith(family_of(file)):
        problem = Unfit("is a checkpoint of another model type", "choose a Stable Diffusion 1.5, or another model type")
    if problem is not None:
        raise _not_fitting(f"The base model “{file}” {problem.what}.", str(file), problem.suggestion)


def _not_fitting(message: str, source: str, suggestion: str) -> ModelFormatError:
    return ModelFormatError(
        message, path="base_model_name", value=source, expected="a full Stable Diffusion 1.5 model", suggestion=suggestion
    )


def _layout_of_single_files(file: Path, hub: Hub) -> Path:
    """Return the local folder with the tokenizer and layout of single files.

    :raises ModelNotFoundError: if it isn't on this machine and can't be downloaded.
    """
    try:
        return hub.locate(CONFIGS_OF_SINGLE_FILES, _SMALL)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"The file “{file}” contains only weights, and their tokenizer and layout are not on this machine: {error.message}",
            path="base_model_name",
            value=str(file),
            expected=f"a model in diffusers layout, or access to '{CONFIGS_OF_SINGLE_FILES}' once",
            suggestion="Turn off Offline mode, check the connection, or choose a model in diffusers layout.",
        ) from error


def _dtype(config: TrainConfig, part: str) -> torch.dtype:
    return precision.DTYPES[getattr(config, part).weight_dtype]


def _variant(folder: Path, part: str) -> dict[str, Any]:
    present = next(name for name in _WEIGHTS[part] if (folder / part / name).is_file())
    options: dict[str, Any] = {"use_safetensors": ".safetensors" in present}
    return options | ({"variant": "fp16"} if ".fp16." in present else {})
