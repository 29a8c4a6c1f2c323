"""Method LORA: train adapters over the layers of the denoiser and the text encoders, and leave the model as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.layers.filter import layers_to_train
from onetrainer_gradio.engine.families.family import Part
from onetrainer_gradio.engine.files import digest, write_tensors
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.keys.adapters import BUNDLE
from onetrainer_gradio.engine.keys.family_keys import Tensors
from onetrainer_gradio.engine.keys.lora_files import FUSED_FORMATS, LoraKeys, write_adapter
from onetrainer_gradio.engine.methods.adapters import ADAPTERS
from onetrainer_gradio.engine.methods.adapters.adapter import Adapter
from onetrainer_gradio.engine.methods.adapters.layer import FusedLayer, Layer
from onetrainer_gradio.engine.methods.fused_group import FusedGroup, selected_groups
from onetrainer_gradio.engine.methods.initial_adapter import BACKUP_FILE, load_initial, read_initial
from onetrainer_gradio.engine.methods.method import DenoiserMethod, ParameterGroup
from onetrainer_gradio.engine.methods.placeholders import Placeholders, in_order
from onetrainer_gradio.engine.model import Model

REGISTERED = "trained_adapters"
"""The name under which a component contains its adapters, so that they move with it."""


@dataclass(frozen=True)
class Lora(DenoiserMethod):
    """Adapters on the components of a model, by component.

    ``untrained`` are tensors of the initial LoRA whose layers have no adapter. They have no effect and are saved unchanged.
    """

    model: Model
    adapters: Mapping[str, tuple[Adapter, ...]]
    names: LoraKeys
    parts: tuple[Part, ...]
    trained: tuple[ParameterGroup, ...]
    untrained: Tensors
    placeholders: Placeholders

    @classmethod
    def base_model(cls, config: TrainConfig, backup: Path | None) -> str:
        """Return the base model, which never changes."""
        return config.base_model_name

    @classmethod
    def attach(
        cls,
        model: Model,
        config: TrainConfig,
        seed: int,
        backup: Path | None,
        fused: Sequence[FusedGroup] | None = None,
    ) -> Lora:
        """Add adapters to the denoiser, and to the text encoder if it is trained or the initial LoRA contains it.

        ``fused`` are the groups of Linears of the denoiser that share an adapter (None: those that the output format stores as
        one layer). Their adapters are created first.
        """
        parts = model.parts()
        paths = {part.name: _adaptable(part.module) for part in parts}
        names = LoraKeys(
            keys_of(config.model_type, getattr(parts[-1].module, "config", {})),
            {part.name: [part.path_prefix + path for path in paths[part.name]] for part in parts},
        )
        if fused is None:
            joined = names.fused_groups() if config.output_model_format in FUSED_FORMATS else ()
            fused = tuple(FusedGroup(name, members) for name, members in joined)
        start = read_initial(config, names, backup)
        adapters: dict[str, tuple[Adapter, ...]] = {}
        for part in parts:
            chosen: Sequence[str] = paths[part.name]
            wanted = not part.layer_filter and not _part(config, part).train
            if wanted and not any(key.startswith(f"{part.name}.") for key in start):
                continue
            if part.layer_filter:
                chosen = layers_to_train(chosen, config.layer_filter, config.layer_filter_regex, idle_allowed=False)
            layers = _layers(part, chosen, fused if part.layer_filter else ())
            adapters[part.name] = tuple(ADAPTERS[config.peft_type](layer, config) for layer in layers)
        generator = torch.Generator().manual_seed(seed)
        everything = [adapter for found in adapters.values() for adapter in found]
        for adapter in everything:
            adapter.initialize(generator)
        untrained = load_initial(start, everything, config, backup)
        groups = tuple(
            _group(part, adapters[part.name], config) for part in parts if part.name in adapters and _part(config, part).train
        )
        bundled = {key: tensor for key, tensor in start.items() if key.startswith(BUNDLE)}
        placeholders = Placeholders.attach(model, config, backup, bundled)
        method = cls(model, adapters, names, parts, groups, untrained, placeholders)
        for part in parts:
            if part.name in adapters:
                modules = nn.ModuleList(adapters[part.name]).train(part.module.training)
                modules.requires_grad_(_part(config, part).train)
                part.module.add_module(REGISTERED, modules)
        _put_in_place(everything)
        return method

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Compute what the model without adapters computes, within the block."""
        everything = [adapter for found in self.adapters.values() for adapter in found]
        for adapter in everything:
            for module, forward in adapter.layer.originals():
                module.forward = forward
        try:
            yield
        finally:
            _put_in_place(everything)

    def detach(self) -> None:
        """Remove the adapters from the model, which then is as before."""
        for part in self.parts:
            if part.name in self.adapters:
                delattr(part.module, REGISTERED)
        for adapter in (adapter for found in self.adapters.values() for adapter in found):
            for module, forward in adapter.layer.originals():
                module.forward = forward

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return one group per trained component, with the tensors of each adapter in turn, and one per embedding."""
        return in_order(self.trained, self.placeholders)

    def encoding_facts(self) -> dict[str, Any]:
        """Return the LoRA weights of components that are used but not trained."""
        trained = {group.part for group in self.trained}
        fixed = {name for name in self.adapters if name not in trained and name != self.parts[-1].name}
        tensors = {key: tensor for key, tensor in self.adapter().items() if key.split(".", 1)[0] in fixed}
        return self.placeholders.facts() | ({"adapter": digest(tensors)} if tensors else {})

    def trained_modules(self) -> tuple[nn.Module, ...]:
        """Return the components whose LoRA is trained."""
        names = {group.part for group in self.trained}
        return tuple(part.module for part in self.parts if part.name in names)

    def adapter(self) -> Tensors:
        """Return the weights with the names of a backup."""
        tensors = dict(self.untrained)
        for adapters in self.adapters.values():
            for adapter in adapters:
                tensors |= {f"{adapter.layer.name}.{name}": tensor for name, tensor in adapter.tensors().items()}
        return tensors

    def after_update(self) -> None:
        """Scale embeddings to their usual norms, if the setting asks for it."""
        self.placeholders.preserve_norms()

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the LoRA file, which contains the embeddings if the setting asks for it."""
        bundle = self.placeholders.bundle() if self.placeholders.config.bundle_additional_embeddings else {}
        tensors = write_adapter(_copied(self.adapter() | bundle, dtype), model_format, self.names.keys)
        write_tensors(destination, tensors, header(tensors))

    def save_additional_files(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write the embeddings to the folder ``<destination>_embeddings`` if the LoRA file doesn't contain them."""
        if not self.placeholders.config.bundle_additional_embeddings:
            self.placeholders.save_additional(destination, dtype, header)

    def back_up(self, folder: Path, header: Header) -> None:
        """Write ``lora/lora.safetensors``, and the embeddings to ``embeddings``."""
        tensors = _copied(self.adapter(), None)
        write_tensors(folder / BACKUP_FILE, tensors, header(tensors))
        self.placeholders.back_up(folder, header)


def _copied(tensors: Tensors, dtype: torch.dtype | None) -> Tensors:
    return {name: tensor.to("cpu", dtype if tensor.is_floating_point() else None) for name, tensor in tensors.items()}


def _part(config: TrainConfig, part: Part) -> Any:
    return getattr(config, part.name)


def _modules(module: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the modules that can have an adapter, by their paths."""
    return {name: child for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.Conv2d)}


def _adaptable(module: nn.Module) -> list[str]:
    return list(_modules(module))


def _layers(part: Part, paths: Sequence[str], fused: Sequence[FusedGroup]) -> list[Layer]:
    """Return the layers to adapt: first the fused ones, then the others in the order of the modules."""
    groups = selected_groups(fused, paths)
    taken = {member for group in groups for member in group.members}
    prefix = f"{part.name}.{part.path_prefix}"
    modules = _modules(part.module)
    return [
        *(FusedLayer(prefix + group.name, [_linear(modules[member]) for member in group.members]) for group in groups),
        *(Layer(prefix + path, modules[path]) for path in paths if path not in taken),
    ]


def _linear(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


def _put_in_place(adapters: Sequence[Adapter]) -> None:
    for adapter in adapters:
        for module, forward in adapter.forwards():
            module.forward = forward


def _group(part: Part, adapters: tuple[Adapter, ...], config: TrainConfig) -> ParameterGroup:
    named = {f"{adapter.layer.name}.{name}": parameter for adapter in adapters for name, parameter in adapter.named_parameters()}
    rate = _part(config, part).learning_rate
    return ParameterGroup(
        f"{part.name}_lora",
        part.name,
        tuple(named.values()),
        config.learning_rate if rate is None else rate,
        tuple(named),
    )
