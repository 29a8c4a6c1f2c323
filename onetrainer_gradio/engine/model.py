"""A loaded model of any family: load, place, encode, generate samples, save. What differs between families is in its ``spec``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.families.facts import LineShift
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.engine import blocks, model_loading, precision, quantization
from onetrainer_gradio.engine.component_weights import class_of
from onetrainer_gradio.engine.data.seeds import Loader
from onetrainer_gradio.engine.families import spec_of
from onetrainer_gradio.engine.families.family import FamilySpec, Objective, Part, SampleRequest, Tensors, TextEncoder
from onetrainer_gradio.engine.files import write_tensors
from onetrainer_gradio.engine.layer_offload import LayerOffload
from onetrainer_gradio.engine.text_embeddings import TextEmbeddings

DENOISER_PREFIX = "lora_unet"
"""Kohya's prefix of the denoiser, in every family."""


@dataclass
class Model:
    """A loaded model: modules and tokenizers by their names in the configuration."""

    config: TrainConfig
    spec: FamilySpec
    components: dict[str, Any]
    tokenizers: dict[str, Any]
    scheduler_config: dict[str, Any]
    identities: dict[str, Any]
    """For each component and tokenizer, the files that it was loaded from: cached encodings depend on them."""
    embeddings: dict[str, TextEmbeddings] = field(default_factory=dict)
    """The placeholders of each text encoder that has some."""
    device: torch.device = field(init=False)
    objective: Objective = field(init=False)

    @classmethod
    def load(cls, config: TrainConfig, source: str, progress: Callable[[int, int, str], None]) -> Model:
        """Load the model at ``source`` (folder, file, Hugging Face model ID), each component with its configured data type.

        :raises ModelNotFoundError: if it isn't found.
        :raises ModelFormatError: if it isn't a model of the configured type.
        """
        spec = spec_of(config.model_type)
        loaded = model_loading.load(config, spec, source, progress)
        return cls(config, spec, loaded.components, loaded.tokenizers, loaded.scheduler_config, loaded.identities)

    def __post_init__(self) -> None:
        config = self.config
        self.device = torch.device(config.train_device)
        self._exact_device = torch.empty(0, device=self.device).device  # "cuda" is "cuda:0" to its tensors
        self._temp_device = precision.device_of(config.temp_device, "temp_device")
        self.dtype = precision.DTYPES[config.train_dtype]
        self.autocast: AbstractContextManager[object] = nullcontext()
        if precision.mixed(config, self.components):
            self.autocast = precision.autocast(self.device, self.dtype, cache=config.enable_autocast_cache)
        for module in self.components.values():
            module.requires_grad_(False)
            module.eval()
        self.objective = self.spec.objective(self.scheduler_config, config, self.device)
        self._pipeline: Any = None
        self._offloads: dict[str, LayerOffload] = {}

    # -- components -----------------------------------------------------------------------------------------------------

    @property
    def denoiser(self) -> Any:
        """Return the component that predicts."""
        return self.components[self.spec.denoiser]

    @property
    def vae(self) -> Any:
        """Return the VAE."""
        return self.components["vae"]

    @property
    def text_encoders(self) -> tuple[TextEncoder, ...]:
        """Return the text encoders that the model has; the settings may omit optional ones."""
        return tuple(encoder for encoder in self.spec.text if encoder.name in self.components)

    @property
    def vae_only(self) -> bool:
        """Return whether the VAE is trained, which needs no other component: no captions, no denoiser."""
        return self.config.training_method == "FINE_TUNE_VAE"

    def live(self, encoder: TextEncoder) -> bool:
        """Return whether a text encoder runs in every step, because it or an embedding in its input is trained."""
        config = self.config
        if config.training_method == "EMBEDDING":
            embedded = not config.embedding.is_output_embedding
        else:
            if getattr(config, encoder.name).train:
                return True
            embedded = False
        embedded = embedded or any(one.train and not one.is_output_embedding for one in config.additional_embeddings)
        return embedded and (getattr(config, encoder.name).train_embedding or len(self.text_encoders) == 1)

    @property
    def text_fixed(self) -> bool:
        """Return whether the states of at least one text encoder can be computed before the training."""
        return not self.vae_only and any(not self.live(encoder) for encoder in self.text_encoders)

    def parts(self) -> tuple[Part, ...]:
        """Return text encoders and denoiser, in the order of their parameter groups."""
        parts = []
        for encoder in self.text_encoders:
            module = self.components[encoder.name]
            parts.append(Part(encoder.name, module, encoder.kohya_prefix, _text_prefix(encoder, module), layer_filter=False))
        return (*parts, Part(self.spec.denoiser, self.denoiser, DENOISER_PREFIX))

    def needed(self) -> tuple[str, ...]:
        """Return the components that must be on the train device during the loop."""
        if self.vae_only:
            return ("vae",)
        cached = self.config.latent_caching
        text = [encoder.name for encoder in self.text_encoders if self.live(encoder) or not cached]
        return (self.spec.denoiser, *text, *(() if cached else self.spec.image_encoders))

    def encoders(self, kind: str) -> tuple[str, ...]:
        """Return the components that encode "image" or "text" for the cache."""
        if self.vae_only:
            return ("vae",) if kind == "image" else ()
        if kind == "image":
            return self.spec.image_encoders
        return tuple(encoder.name for encoder in self.text_encoders if not self.live(encoder))

    def place(self, *names: str) -> None:
        """Move these components to the train device and the others to the temp device."""
        # away first, so that there is space; also if both devices are the same: the model was loaded into RAM
        for name in self.components:
            if name not in names:
                self._move(name, self._temp_device)
        for name in names:
            if name in self.components:
                self._move(name, self.device)

    def _move(self, name: str, device: torch.device) -> None:
        module, offload = self.components[name], self._offloads.get(name)
        module.to(device) if offload is None else offload.move(module, device)

    @contextmanager
    def at_hand(self, name: str) -> Iterator[Any]:
        """Move a component to the train device within the block; a cleared cache needs it during training."""
        module = self.components[name]
        resting = next(module.parameters()).device
        away = resting != self._exact_device
        if away:
            self._move(name, self.device)
        try:
            yield module
        finally:
            if away:
                self._move(name, resting)

    def set_checkpointing(self) -> None:
        """Checkpoint, offload and compile the blocks of the components as configured; the method is attached already.

        Also set the attention of the denoiser, and the padding of convolutions.
        """
        config = self.config
        if hasattr(self.denoiser, "set_attention_backend"):
            self.denoiser.set_attention_backend(blocks.ATTENTION_BACKENDS[config.attention_mechanism])
        if self._circular:
            blocks.set_circular_padding(self.denoiser)
            blocks.set_circular_padding(self.vae)
        trained = frozenset(part.name for part in self.parts() if getattr(config, part.name).train)
        adapters = [] if config.training_method == "FINE_TUNE" else self._parameters_with_gradients()
        facts = MODELS[config.model_type]
        for part in self.parts():
            settings, own = getattr(config, part.name), blocks.blocks_of(part.module)
            if part.name in facts.offloaded and settings.offload_fraction > 0:
                offload = LayerOffload(
                    own,
                    settings.offload_fraction,
                    self.device,
                    self._temp_device,
                    ahead=config.async_offloading,
                    adapters=adapters,
                )
                self._offloads[part.name] = offload
            if settings.gradient_checkpointing and (part.name == self.spec.denoiser or part.name in trained):
                kept = part.name in facts.activations_offloaded and settings.activation_offloading
                saving = partial(blocks.saving_to, self._temp_device, self.device) if kept else nullcontext
                blocks.set_checkpointing(part.module, own, saving, self._offloads.get(part.name))
        if config.compile:
            blocks.compile_blocks(blocks.blocks_of(self.denoiser))

    @property
    def _circular(self) -> bool:
        """Return whether convolutions wrap around the edges; transformers have none."""
        return self.config.force_circular_padding and self.spec.denoiser == "unet"

    def _parameters_with_gradients(self) -> list[nn.Parameter]:
        return [one for part in self.parts() for one in part.module.parameters() if one.requires_grad]

    def computing(self, name: str) -> AbstractContextManager[object]:
        """Return the autocast of a component: of the train data type, or the fallback for one that overflows in float16."""
        if self.spec.components[name].fallback and self.dtype == torch.float16:
            fallback = precision.DTYPES[self.config.fallback_train_dtype]
            if fallback == torch.float32:
                return precision.without_autocast(self.device)
            return precision.autocast(self.device, fallback, cache=self.config.enable_autocast_cache)
        return nullcontext()

    # -- encoding -------------------------------------------------------------------------------------------------------

    @property
    def size_multiple_px(self) -> int:
        """Return what the sides of training images are multiples of."""
        return self.spec.size_multiple_px

    @property
    def latent_factor(self) -> float:
        """Return the width of an image divided by that of its mask."""
        return 1 if self.vae_only else self.spec.latents.mask_factor

    def loader(self) -> Loader:
        """Return the facts of the model that decide which stages OneTrainer's loader has."""
        config, traits = self.config, MODELS[self.config.model_type].traits
        if self.vae_only:
            return Loader(config.latent_caching, masked_training=config.masked_training, vae_only=True)
        return Loader(
            latent_caching=config.latent_caching,
            text_stages=2 * len(self.text_encoders),
            precomputed=sum(not self.live(encoder) for encoder in self.text_encoders),
            masked_training=config.masked_training,
            custom_conditioning=config.custom_conditioning_image,
            mask_input="mask_input" in traits,
            conditioning_input="conditioning_image" in traits,
            depth_input="depth" in traits,
        )

    def _facts(self, *names: str) -> dict[str, Any]:
        return {
            "family": self.spec.architecture,
            "model": {name: self.identities[name] for name in names},
            "weights": [str(next(self.components[name].parameters()).dtype) for name in names if name in self.components],
            "train_dtype": str(self.config.train_dtype),
            "device": self.device.type,
        }

    def image_facts(self) -> dict[str, Any]:
        """Return VAE, its data type, and that of the computation; and that the image is kept next to its latents."""
        facts = self._facts(*self.encoders("image")) | ({"circular": True} if self._circular else {})
        return facts | ({"image": True} if self.vae_only else {})

    def text_facts(self) -> dict[str, Any]:
        """Return text encoders, tokenizers, their data types, lengths and skipped layers."""
        fixed = [encoder for encoder in self.text_encoders if not self.live(encoder)]
        names = [name for encoder in fixed for name in (encoder.name, encoder.tokenizer)]
        lengths = [encoder.tokens(self.tokenizers[encoder.tokenizer], self.config) for encoder in fixed]
        return self._facts(*names) | {"layer_skip": [self._skip(encoder) for encoder in fixed], "lengths": lengths}

    @torch.no_grad()
    def encode_image(self, image: Tensors) -> Tensors:
        """Return ``latents`` (C, h, w) of ``image`` (3, H, W), 0 to 1: the mean of the VAE's posterior, not normalized.

        ``conditioning`` becomes ``conditioning_latents`` in the same way. If the VAE is trained, ``image`` (3, H, W), -1 to 1, is
        returned with its latents.
        """
        found: Tensors = {}
        with self.at_hand("vae") as vae, self.autocast, self.computing("vae"):
            for name, latents in (("image", "latents"), ("conditioning", "conditioning_latents")):
                if name in image:
                    image_BCHW = (image[name] * 2 - 1)[None].to(self.device)
                    found[latents] = vae.encode(image_BCHW).latent_dist.mode()[0]
        if self.vae_only:
            return found | {"image": image["image"] * 2 - 1}
        return found | (self.spec.more_of_image(self, image) if self.spec.more_of_image else {})

    def tokenize(self, caption: str) -> Tensors:
        """Return ``tokens`` and ``tokens_mask`` of each text encoder, each (L)."""
        found: Tensors = {}
        for encoder in () if self.vae_only else self.text_encoders:
            embeddings = self.embeddings.get(encoder.name)
            tokenizer = embeddings.tokenizer if embeddings else self.tokenizers[encoder.tokenizer]
            text = embeddings.expanded(caption) if embeddings else caption
            length = encoder.tokens(tokenizer, self.config)
            encoded = tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
            found[f"tokens{encoder.suffix}"] = encoded.input_ids[0]
            found[f"tokens_mask{encoder.suffix}"] = encoded.attention_mask[0]
        return found

    @torch.no_grad()
    def encode_text(self, tokens: Tensors) -> Tensors:
        """Return the states of the text encoders that aren't trained, of the tokens of one caption."""
        states: Tensors = {}
        for encoder in self.text_encoders:
            if not self.live(encoder):
                with self.at_hand(encoder.name), self.autocast:
                    states |= self.states(encoder, {name: tensor[None] for name, tensor in tokens.items()})
        return {name: tensor[0] for name, tensor in states.items()}

    def states(self, encoder: TextEncoder, tokens: Tensors) -> Tensors:
        """Return the states of one text encoder for a batch of tokens, with the names of its tensors."""
        suffix = encoder.suffix
        own = {name: tokens[f"{name}{suffix}"].to(self.device) for name in ("tokens", "tokens_mask")}
        with self.computing(encoder.name):
            found = encoder.states(self.components[encoder.name], own, self._skip(encoder))
        return {f"{name}{suffix}": tensor for name, tensor in found.items()}

    def _skip(self, encoder: TextEncoder) -> int:
        return int(getattr(self.config, f"{encoder.name}_layer_skip", 0))

    def conditions(self, batch: Tensors, step: int | None) -> Tensors:
        """Return the tensors that the denoiser is conditioned on.

        Captions are dropped by the generator of ``step`` (None: not at all, as in validation and samples).
        """
        tensors = dict(batch)
        random = None if step is None else Random(step)
        for encoder in self.text_encoders:
            names = [f"{name}{encoder.suffix}" for name in ("hidden", "pooled")]
            if not any(name in tensors for name in names):
                tensors |= self.states(encoder, tensors)
            chance = getattr(self.config, encoder.name).dropout_probability
            found = [name for name in names if name in tensors]
            for name in found:
                tensors[name] = tensors[name].to(self.device, non_blocking=True)
            if encoder.name in self.embeddings and names[0] in tensors:
                tokens_BL = tensors[f"tokens{encoder.suffix}"]
                tensors[names[0]] = self.embeddings[encoder.name].with_outputs(tokens_BL, tensors[names[0]])
            if random is not None and chance > 0:
                kept = [random.random() > chance for _ in range(tensors[found[0]].shape[0])]
                kept_B = torch.tensor(kept, device=self.device).float()
                for name in found:
                    tensors[name] = tensors[name] * kept_B.view(-1, *(1 for _ in tensors[name].shape[1:]))
        return self.spec.condition(self, tensors)

    def prompt(self, text: str) -> Tensors:
        """Return what the denoiser is conditioned on for a batch with one prompt."""
        return self.conditions(self.collate([self.tokenize(text)]), None)

    def collate(self, items: Sequence[Tensors]) -> Tensors:
        """Return the batch of some items."""
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}

    def normalized(self, latents_BCHW: Tensor) -> Tensor:
        """Return latents of the VAE as the denoiser takes them."""
        return self.spec.latents.normalize(self.vae.config, latents_BCHW)

    def shift(self, latents_BCHW: Tensor) -> float | None:
        """Return the timestep shift for the size of the latents, if the setting asks for it."""
        if not (self.spec.dynamic_shift and self.config.dynamic_timestep_shifting):
            return None
        return self.dynamic_shift((latents_BCHW.shape[-2] * 8, latents_BCHW.shape[-1] * 8))

    def dynamic_shift(self, size_px: tuple[int, int]) -> float:
        """Return the timestep shift for a size (height, width) in pixels, by the values of the model's scheduler."""
        known, standard = self.scheduler_config, LineShift()
        tokens = known.get("base_image_seq_len", standard.tokens[0]), known.get("max_image_seq_len", standard.tokens[1])
        mu = known.get("base_shift", standard.mu[0]), known.get("max_shift", standard.mu[1])
        return LineShift(tokens, mu)(size_px)

    # -- samples --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> Any:
        """Return a sample as a Pillow image, or None if it was ended early."""
        return self.spec.sample(self, request)

    def pipeline(self, make: Callable[[], Any]) -> Any:
        """Return the diffusers pipeline with the current components, which ``make`` creates once."""
        if self._pipeline is None:
            self._pipeline = make()
            self._pipeline.set_progress_bar_config(disable=True)
        return self._pipeline

    # -- saving ---------------------------------------------------------------------------------------------------------

    def state(self, name: str) -> Tensors:
        """Return the weights of a component with their names in files."""
        module = self.components[name]
        state = quantization.full_state(module)
        for encoder in self.text_encoders:
            if encoder.name == name:
                prefix = _text_prefix(encoder, module)
                state = {f"{prefix}{key}": tensor for key, tensor in state.items()}
        return _with_copies(state)

    def write_folder(self, folder: Path, dtype: torch.dtype | None) -> None:
        """Fill an existing folder with the complete model in diffusers layout; with ``dtype`` None, weights keep their type."""
        index: dict[str, Any] = {"_class_name": self.spec.pipeline.partition(":")[2]}
        index |= self.spec.other_index
        for name, component in self.spec.components.items():
            index[name] = [None, None]
            if name not in self.components:
                continue
            index[name] = [component.library, component.class_name]
            state = {key: tensor.to("cpu", dtype) for key, tensor in self.state(name).items()}
            if component.library == "transformers":
                (folder / name).mkdir(parents=True)
                self.components[name].config.to_json_file(folder / name / "config.json")
                write_tensors(folder / name / "model.safetensors", state, {"format": "pt"}, durable=False)
            else:
                self.components[name].save_config(folder / name)
                target = folder / name / "diffusion_pytorch_model.safetensors"
                write_tensors(target, state, {"format": "pt"}, durable=False)
        classes = {one.tokenizer: one.tokenizer_class for one in self.spec.text} | dict(self.spec.processors)
        for name, class_name in classes.items():
            index[name] = [None, None]
            if name in self.tokenizers:
                index[name] = ["transformers", class_name]
                self.tokenizers[name].save_pretrained(folder / name)
        class_name, settings = self.spec.scheduler(self)
        class_of(f"diffusers:{class_name}").from_config(dict(settings)).save_pretrained(folder / "scheduler")
        index["scheduler"] = ["diffusers", class_name]
        (folder / "model_index.json").write_text(json.dumps(dict(sorted(index.items())), indent=2), encoding="utf-8")


def _text_prefix(encoder: TextEncoder, module: nn.Module) -> str:
    # newer transformers left a level of the text encoder out; files keep it
    return "text_model." if encoder.text_model_level and not hasattr(module, "text_model") else ""


def _with_copies(state: Mapping[str, Tensor]) -> Tensors:
    """Return tied weights under each of their names, as copies: OneTrainer writes them so, and one file can't share memory."""
    seen: set[tuple[int, int]] = set()
    found: Tensors = {}
    for name, tensor in state.items():
        place = tensor.data_ptr(), tensor.numel()
        tied = tensor.numel() > 0 and tensor.device.type != "meta" and place in seen
        seen.add(place)
        found[name] = tensor.clone() if tied else tensor
    return found
