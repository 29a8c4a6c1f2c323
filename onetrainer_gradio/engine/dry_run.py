"""Run each phase of a training on the meta device, without weights, and return the memory that it would take on a GPU.

It is the engine's own code: the model of the published size, its method, prediction, loss and optimizer. So it also finds errors
of shapes and data types. CUDA's own memory, workspaces of libraries and fragmentation come on top.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from onetrainer_gradio.commands import Command
from onetrainer_gradio.config import RunOptions, SampleConfig, TrainConfig
from onetrainer_gradio.config.dataset import buckets
from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.families.configurations import Configurations, configurations_of
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.families.weight_sizes import BYTES_PER_WEIGHT
from onetrainer_gradio.config.memory_estimate import PHASES, MemoryEstimate, PhaseMemory
from onetrainer_gradio.config.paths.backup_chain import chain_of_run
from onetrainer_gradio.config.timesteps import TimestepSettings
from onetrainer_gradio.engine import optimizers, precision
from onetrainer_gradio.engine.blocks import blocks_of
from onetrainer_gradio.engine.component_weights import class_of
from onetrainer_gradio.engine.data.dataset import Batch
from onetrainer_gradio.engine.dry_run_optimizers import QUANTIZED_STATES, STATES
from onetrainer_gradio.engine.ema import EMA
from onetrainer_gradio.engine.families import spec_of
from onetrainer_gradio.engine.families.family import FamilySpec, Tensors
from onetrainer_gradio.engine.layer_offload import FEWEST_LOADED, offloaded_blocks
from onetrainer_gradio.engine.meta_device import META, AsOnGpu, MemoryCount, MetaAutocast, backward
from onetrainer_gradio.engine.methods import method_of
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.engine.optimizers.recipes import RECIPES
from onetrainer_gradio.engine.reporter import RunReporter
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.engine.timesteps import TimestepSampler
from onetrainer_gradio.engine.training import Training
from onetrainer_gradio.errors import UnsupportedError

_TOKENIZER_LENGTHS = {"T5TokenizerFast": 512, "T5Tokenizer": 512}
_CLIP_LENGTH = 77
_EXTRA_CHANNELS = {"mask_input": "mask", "depth": "depth"}
"""Traits of a model type -> a further tensor (1, h, w) of its items."""


def estimate(config: TrainConfig, *, efficient_attention: bool = True) -> MemoryEstimate:
    """Return the memory of a run with these settings, on one GPU.

    :raises UnsupportedError: if the built-in engine has no family or method for them, or no configuration of the model.
    """
    with torch.device(META):
        return DryRun(config, efficient_attention).estimate()


@dataclass
class DryRun:
    """A run on the meta device."""

    config: TrainConfig
    efficient_attention: bool = True
    assumptions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked = self.config
        configurations = configurations_of(asked.model_type, asked.base_model_name)
        spec = replace(spec_of(asked.model_type), more_of_image=None)
        self._method = method_of(asked.training_method)
        if spec.denoiser not in configurations:
            raise UnsupportedError(
                "The size of this base model isn't known.",
                path="base_model_name",
                value=asked.base_model_name,
                expected="a model in diffusers layout, or a published one",
                suggestion="Choose a model in diffusers layout.",
            )
        self._optimizer_name = str(asked.optimizer.optimizer)
        self._at_once = bool(asked.optimizer.foreach) and not asked.optimizer.fused_back_pass  # else one weight after the other
        self._runs = self._optimizer_name in RECIPES and self._optimizer_name not in QUANTIZED_STATES
        # one operation for all weights takes seconds less than one for each
        alone = dict.fromkeys(("fused", "fused_back_pass", "capturable", "stochastic_rounding"), False)
        stand_in = {} if self._runs else {"optimizer": Optimizer.SGD, "momentum": 0.0}
        optimizer = asked.optimizer.model_copy(update={**alone, "foreach": True, **stand_in})
        # nothing is loaded: neither weights nor a LoRA; what is offloaded is computed from the sizes of the blocks
        changes: dict[str, Any] = {
            "train_device": META,
            "temp_device": META,
            "lora_model_name": "",
            "optimizer": optimizer,
            "compile": False,
        }
        self._asked = asked
        self._hooks: list[RemovableHandle] = []
        for name in spec.components:
            part = getattr(asked, name, None)
            if part is not None:
                changes[name] = part.model_copy(update={"offload_fraction": 0.0, "activation_offloading": False})
                if part.activation_offloading:
                    self.assumptions.append("Activation offloading isn't computed.")
        self.config = asked.model_copy(update=changes)
        self._count = MemoryCount()
        self._size_px = _size_px(asked, spec)
        self.model = _model(self.config, spec, configurations)

    def estimate(self) -> MemoryEstimate:
        """Run all phases."""
        config, count, model = self.config, self._count, self.model
        with AsOnGpu(self.efficient_attention), count:
            # the phases say where these are, and add them
            count.hold(_weights(model), "weights", _nothing)
            method = self._method.attach(model, config, 0, None)
            model.set_checkpointing()
            training = self._training = self._load(method)
            averages = () if training.ema is None else training.ema.averages
            count.hold([*_weights(model), *training.parameters, *averages], "weights", _nothing)
            item = self._items()
            try:
                phases = _highest([*self._encode(item), self._train(item), *self._sample(), self._save()])
            finally:
                self._close()
        return MemoryEstimate(
            phases=phases,
            parameters=sum(tensor.numel() for module in model.components.values() for tensor in module.parameters()),
            trained=sum(parameter.numel() for parameter in training.parameters),
            assumptions=tuple(dict.fromkeys(self.assumptions)),
        )

    # -- contents --------------------------------------------------------------------------------------------------

    def _load(self, method: Any) -> Training:
        config = self.config
        parameters = [parameter for group in method.groups() for parameter in group.parameters]
        for parameter in parameters:
            parameter.requires_grad_(True)
        optimizer = optimizers.make_optimizer(config, method.groups())
        ema = None
        if config.ema != "OFF":
            ema = EMA(parameters, config.ema_decay, config.ema_update_step_interval, torch.device(META))
        return Training(
            config=config,
            options=RunOptions(),
            reporter=RunReporter(lambda event: None, _NoControl()),
            collections=(),
            model=self.model,
            method=method,
            optimizer=optimizer,
            parameters=parameters,
            ema=ema,
            scaler=torch.amp.GradScaler(enabled=False),
            state=TrainState(),
            chain=chain_of_run("dry-run", None),
        )

    def _placed(self, names: tuple[str, ...]) -> int:
        """Return the bytes of the weights of these components on the train device."""
        return sum(self._component_bytes(name) for name in names if name in self.model.components)

    def _component_bytes(self, name: str) -> int:
        module, settings = self.model.components[name], getattr(self._asked, name, None)
        trained = {id(parameter) for parameter in self._training.parameters}
        packed = BYTES_PER_WEIGHT.get(str(getattr(settings, "weight_dtype", "")), 4.0)
        fraction = getattr(settings, "offload_fraction", 0.0) if name in MODELS[self.config.model_type].offloaded else 0.0
        away = _offloaded(module, fraction)
        total = 0
        for tensor in (*module.parameters(), *module.buffers()):
            count = tensor.numel() * tensor.element_size()
            if tensor.dim() > 1 and id(tensor) not in trained and packed < tensor.element_size():
                count = int(tensor.numel() * packed)
            total += 0 if id(tensor) in away and id(tensor) not in trained else count
        # blocks in RAM take turns on the device
        return total + int(max(away.values(), default=0) * FEWEST_LOADED * min(1.0, packed / 2))

    # -- phases ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _phase(self, name: str, components: tuple[str, ...], found: list[PhaseMemory]) -> Iterator[None]:
        self._count.restart()
        yield
        peak = {"weights": self._placed(components), **self._fixed(), **self._count.peak()}
        found.append(PhaseMemory(name, {category: count for category, count in peak.items() if count}))

    def _fixed(self) -> dict[str, int]:
        training = self._training
        ema = training.ema
        on_gpu = ema is not None and self.config.ema == "GPU"
        return {"ema": sum(_bytes(average) for average in ema.averages) if ema is not None and on_gpu else 0}

    def _items(self) -> dict[str, Tensors]:
        """Return what the data layer reads of one image and its caption."""
        height, width = self._size_px
        traits = MODELS[self.config.model_type].traits
        image = {"image": torch.empty((3, height, width), dtype=self.model.dtype)}
        if "conditioning_image" in traits:
            image["conditioning"] = torch.empty_like(image["image"])
        return {"image": image, "tokens": self.model.tokenize("")}

    def _encode(self, item: dict[str, Tensors]) -> list[PhaseMemory]:
        config, model = self.config, self.model
        found: list[PhaseMemory] = []
        cached = config.latent_caching
        for name, tensors, encode in (
            ("caching_image", item["image"], model.encode_image),
            ("caching_text", item["tokens"], model.encode_text),
        ):
            components = model.encoders(name.removeprefix("caching_"))
            if not components:
                continue
            with self._phase(name, components if cached else model.needed(), found):
                item[name] = encode(tensors)
        return found if cached else [replace(one, phase="training") for one in found]

    def _item(self, tensors: Tensors, latents: Tensor, size_px: tuple[int, int]) -> Tensors:
        """Return all tensors of an item: sizes, and further channels of the denoiser's input."""
        traits = MODELS[self.config.model_type].traits
        size = {"original_size": size_px, "crop_offset": (0, 0), "crop_size": size_px}
        item = tensors | {name: torch.empty(len(pair)) for name, pair in size.items()}
        if "conditioning_image" in traits:
            item |= {"conditioning_latents": latents}
        channels = [name for trait, name in _EXTRA_CHANNELS.items() if trait in traits]
        space = self.model.spec.latents
        height, width = (side * space.factor // space.mask_factor for side in latents.shape[-2:])
        return item | {name: torch.empty((1, height, width), dtype=self.model.dtype) for name in channels}

    def _batch(self, item: dict[str, Tensors]) -> Batch:
        latents = item["caching_image"]
        tensors = item["tokens"] | item.get("caching_text", {}) | latents
        tensors = self._item(tensors, latents["latents"], self._size_px)
        count = self.config.batch_size
        return Batch(self.model.collate([tensors] * count), torch.ones(count), (), (), (False,) * count)

    def _train(self, item: dict[str, Tensors]) -> PhaseMemory:
        count, training, config = self._count, self._training, self.config
        training._set_training()
        batch = self._batch(item)
        item.clear()
        self._make_optimizer_state()
        self._watch_gradients()
        found: list[PhaseMemory] = []
        with self._phase("training", self.model.needed(), found):
            for _ in range(min(2, config.gradient_accumulation_steps)):
                self._step(batch)
            if config.clip_grad_norm is not None and not self._asked.optimizer.fused_back_pass:
                with count.within("temporary"):
                    nn.utils.clip_grad_norm_(training.parameters, config.clip_grad_norm)
            if self._runs and self._at_once:
                with count.within("temporary"):
                    training.optimizer.step()
        for parameter in training.parameters:
            parameter.grad = None
        return found[0]

    def _step(self, batch: Batch) -> None:
        training, model = self._training, self.model
        prediction = training.method.predict(batch, _draw(training), torch.Generator("cpu").manual_seed(0), 0)
        loss = training.loss(prediction, batch)
        # checkpoints compute again in the autocast of the forward pass; gradients themselves aren't cast
        dtype = model.dtype if isinstance(model.autocast, MetaAutocast) else None
        with MetaAutocast(dtype, cache=False), self._count.backward():
            backward(loss)

    def _watch_gradients(self) -> None:
        def accumulated(parameter: Tensor) -> None:
            if self._asked.optimizer.fused_back_pass:
                parameter.grad = None
            elif parameter.grad is not None:
                self._count.hold([parameter.grad], "gradients")

        for parameter in self._training.parameters:
            self._hooks.append(parameter.register_post_accumulate_grad_hook(accumulated))  # type: ignore[no-untyped-call]

    def _close(self) -> None:
        """Remove what the garbage collector can't: it doesn't see that a hook holds the run that holds the gradient."""
        for hook in self._hooks:
            hook.remove()
        self._training.close()

    def _make_optimizer_state(self) -> None:
        """Run one optimizer step, after which its state is there; or hold what it would take."""
        training, count, name = self._training, self._count, str(self._optimizer_name)
        with count.within("temporary"):
            if self._runs:
                for parameter in training.parameters:
                    parameter.grad = torch.empty_like(parameter)
                try:
                    training.optimizer.step()
                except (RuntimeError, NotImplementedError, TypeError):  # it needs values, or a GPU
                    self._runs = False
                for parameter in training.parameters:
                    parameter.grad = None
            if self._runs:
                self._state = [one for state in training.optimizer.state.values() for one in state.values() if _on_meta(one)]
            else:
                training.optimizer.state.clear()
                self._state = [torch.empty(self._state_bytes(name), dtype=torch.uint8)]
        count.hold(self._state, "optimizer")

    def _state_bytes(self, name: str) -> int:
        parameters = self._training.parameters
        if name in QUANTIZED_STATES:
            return int(sum(parameter.numel() for parameter in parameters) * QUANTIZED_STATES[name])
        self.assumptions.append(f"The state of the optimizer {label_of(Optimizer, name)} is computed from its number of states.")
        return sum(_bytes(parameter) for parameter in parameters) * STATES.get(name, 2)

    @torch.no_grad()
    def _sample(self) -> list[PhaseMemory]:
        """Predict once with guidance (or encode), and decode: the two largest parts of a sample."""
        model, config = self.model, self.config
        samples = [sample for sample in config.samples or () if sample.enabled]
        if config.sample_after_unit == "NEVER" or not samples:
            return []
        largest = max(samples, key=lambda sample: sample.width * sample.height)
        found: list[PhaseMemory] = []
        for module in model.components.values():
            module.eval()
        if model.vae_only:
            self._reconstruct(largest, found)
            return found
        text = tuple(encoder.name for encoder in model.text_encoders)
        with self._phase("sampling", text, found), self._averages(), model.autocast:
            latents_BCHW, condition = self._conditioned(largest)
        with self._phase("sampling", (model.spec.denoiser, "vae"), found), self._averages(), model.autocast:
            model.spec.denoise(model, latents_BCHW, torch.zeros(len(latents_BCHW), dtype=torch.int), condition)
            self._decode(latents_BCHW[:1])
        return [max(found, key=lambda phase: phase.total)]

    def _reconstruct(self, sample: SampleConfig, found: list[PhaseMemory]) -> None:
        """Encode and decode an image: a sample of a fine-tune of the VAE."""
        image = torch.empty((3, sample.height, sample.width), dtype=self.model.dtype)
        with self._phase("sampling", ("vae",), found), self._averages(), self.model.autocast:
            self._decode(self.model.encode_image({"image": image})["latents"][None])

    def _decode(self, latents_1CHW: Tensor) -> None:
        with self.model.computing("vae"):
            self.model.vae.decode(latents_1CHW.to(next(self.model.vae.parameters()).dtype))

    def _conditioned(self, sample: SampleConfig) -> tuple[Tensor, Tensors]:
        """Return noise and what the denoiser is conditioned on, for both prompts of a guided sample."""
        model, factor = self.model, self.model.spec.latents.factor
        multiple = getattr(model.spec.sample, "size_multiple_px", model.size_multiple_px)
        height, width = (max(1, round(side / multiple)) * multiple for side in (sample.height, sample.width))
        latents = torch.empty((model.vae.config["latent_channels"], height // factor, width // factor), dtype=model.dtype)
        guided = getattr(model.spec.sample, "negative", True) and sample.cfg_scale != 1.0
        item = self._item(model.tokenize(""), latents, (height, width))
        condition = model.conditions(model.collate([item] * (2 if guided else 1)), None)
        return torch.stack([latents] * (2 if guided else 1)), condition

    @contextmanager
    def _averages(self) -> Iterator[None]:
        """Keep a copy of the weights, as long as their average takes their place."""
        ema = self._training.ema
        with ema.applied() if ema is not None else nullcontext():
            yield

    @torch.no_grad()
    def _save(self) -> PhaseMemory:
        found: list[PhaseMemory] = []
        with self._phase("saving", self.model.needed(), found), self._averages():
            pass
        return found[0]


class _NoControl:
    """A control without commands."""

    def take(self) -> tuple[Command, ...]:
        return ()

    def stop_requested(self) -> bool:
        return False

    def wait(self, timeout_s: float) -> bool:
        return False


@dataclass(frozen=True)
class _Tokenizer:
    """Tokenize any text to padding, of the length that is asked for."""

    model_max_length: int

    def __len__(self) -> int:
        return 1

    def add_tokens(self, tokens: list[str]) -> None:
        """Ignore the tokens of placeholders, which don't change the size of anything."""

    def __call__(self, text: str, *, max_length: int = 1, padding: str = "max_length", **options: Any) -> Any:
        if padding == "do_not_pad":
            return SimpleNamespace(input_ids=[0] * max_length)
        return SimpleNamespace(
            input_ids=torch.zeros((1, max_length), dtype=torch.long), attention_mask=torch.ones((1, max_length), dtype=torch.long)
        )


def _model(config: TrainConfig, spec: FamilySpec, configurations: Configurations) -> Model:
    optional = MODELS[config.model_type].optional
    names = [name for name in spec.components if name in configurations]
    components = {
        name: _component(config, spec, name, configurations[name]) for name in names if _included(config, name, optional)
    }
    tokenizers = {
        encoder.tokenizer: _Tokenizer(_TOKENIZER_LENGTHS.get(encoder.tokenizer_class, _CLIP_LENGTH)) for encoder in spec.text
    }
    return Model(config, spec, components, tokenizers, configurations.get("scheduler", {}), {})


def _included(config: TrainConfig, name: str, optional: Collection[str]) -> bool:
    return name not in optional or bool(getattr(config, name).include)


def _component(config: TrainConfig, spec: FamilySpec, name: str, configuration: Mapping[str, Any]) -> nn.Module:
    """Return a component on the meta device, in its weight data type (that of the computation, if it is quantized)."""
    settings = getattr(config, name, None)
    dtype = precision.DTYPES.get(str(getattr(settings, "weight_dtype", "FLOAT_32")), precision.DTYPES[config.train_dtype])
    kind = class_of(spec.components[name].source)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if spec.components[name].library == "transformers":
            return cast(nn.Module, kind(kind.config_class(**configuration)))
        return cast(nn.Module, kind.from_config(dict(configuration)))
    finally:
        torch.set_default_dtype(before)


def _size_px(config: TrainConfig, spec: FamilySpec) -> tuple[int, int]:
    """Return height and width of the largest training image."""
    resolution = buckets.parse_resolution(config.resolution)
    multiple = spec.size_multiple_px
    sizes = [(side, side) for side in resolution.edges] if resolution else []
    height, width = max(sizes or [(512, 512)])
    return max(multiple, height // multiple * multiple), max(multiple, width // multiple * multiple)


def _weights(model: Model) -> Iterator[Tensor]:
    for module in model.components.values():
        yield from module.parameters()
        yield from module.buffers()


def _nothing(tensor: Tensor) -> int:
    return 0


def _offloaded(module: nn.Module, fraction: float) -> dict[int, int]:
    """Return the bytes of the block that each weight in RAM belongs to, by the identity of the weight."""
    blocks = blocks_of(module) if fraction > 0 else ()
    sizes = [sum(_bytes(tensor) for tensor in (*block.parameters(), *block.buffers())) for block in blocks]
    return {
        id(tensor): sizes[number]
        for number in offloaded_blocks(sizes, fraction)
        for tensor in (*blocks[number].parameters(), *blocks[number].buffers())
    }


def _draw(training: Training) -> Callable[[torch.Generator, int, float | None], Tensor]:
    sampler = TimestepSampler(training.model.objective.timesteps, TimestepSettings.of(training.config))

    def draw(generator: torch.Generator, batch: int, shift: float | None) -> Tensor:
        return sampler(generator, batch, shift).to(META)

    return draw


def _highest(phases: Iterable[PhaseMemory]) -> tuple[PhaseMemory, ...]:
    """Return one entry for each phase: the highest."""
    found: dict[str, PhaseMemory] = {}
    for one in phases:
        if one.phase not in found or one.total > found[one.phase].total:
            found[one.phase] = one
    return tuple(found[name] for name in PHASES if name in found)


def _on_meta(value: object) -> bool:
    return isinstance(value, Tensor) and value.device.type == META


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
