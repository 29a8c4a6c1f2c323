"""LoRA (arXiv 2106.09685): two small matrices for each selected Linear and Conv2d. The layers are peft's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.layers.filter import layers_to_train
from onetrainer_gradio.config.model_files import LORA, unfit
from onetrainer_gradio.engine import precision
from onetrainer_gradio.engine.adapter_files import LORA_FORMATS, Layout, Tensors, read_adapter
from onetrainer_gradio.engine.families.family import Part
from onetrainer_gradio.engine.files import digest, write_tensors
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.methods.lora_forward import lora_forward
from onetrainer_gradio.engine.methods.method import ParameterGroup
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.errors import BackupMismatchError, ModelFormatError, ModelNotFoundError

ADAPTER = "default"
BACKUP_FILE = Path("lora") / "lora.safetensors"


@dataclass(frozen=True)
class Layer:
    """An adapted layer: ``name`` as in LoRA files, and peft's module."""

    name: str
    module: Any

    @property
    def down(self) -> nn.Module:
        """Return the matrix that projects down to the rank."""
        return self.module.lora_A[ADAPTER]  # type: ignore[no-any-return]

    @property
    def up(self) -> nn.Module:
        """Return the matrix that projects up again."""
        return self.module.lora_B[ADAPTER]  # type: ignore[no-any-return]

    @property
    def alpha(self) -> Tensor:
        """Return alpha as in files: a float32 number."""
        return torch.tensor(float(self.module.lora_alpha[ADAPTER]))


@dataclass(frozen=True)
class Lora:
    """LoRA layers on the components of a model."""

    layers: Mapping[str, tuple[Layer, ...]]
    layout: Layout
    parts: tuple[Part, ...]
    trained: tuple[ParameterGroup, ...]

    @classmethod
    def base_model(cls, config: TrainConfig, backup: Path | None) -> str:
        """Return the base model, which never changes."""
        return config.base_model_name

    @classmethod
    def attach(cls, model: Model, config: TrainConfig, seed: int, backup: Path | None) -> Lora:
        """Add LoRA layers to the denoiser, and to the text encoder if it is trained or the initial LoRA file contains it."""
        parts = model.parts()
        paths = {part.name: _adaptable(part.module) for part in parts}
        layout = Layout.of(parts, paths)
        start = _starting_weights(config, layout, backup)
        layers: dict[str, tuple[Layer, ...]] = {}
        for part in parts:
            chosen: Sequence[str] = paths[part.name]
            wanted = not part.layer_filter and not _part(config, part).train
            if wanted and not any(key.startswith(f"{part.name}.") for key in start):
                continue
            if part.layer_filter:
                chosen = layers_to_train(chosen, config.layer_filter, config.layer_filter_regex, idle_allowed=False)
            layers[part.name] = _inject(part, chosen, config)
        generator = torch.Generator().manual_seed(seed)
        everything = [layer for found in layers.values() for layer in found]
        # peft makes adapters in the precision of the layer below: theirs comes first, or what is loaded would be rounded to that
        dtype = precision.DTYPES[config.lora_weight_dtype]
        for layer in everything:
            layer.down.to(dtype)
            layer.up.to(dtype)
        for layer in everything:
            _initialize(layer, generator)
        _load(start, everything, config, backup)
        groups = tuple(
            _group(part, layers[part.name], config) for part in parts if part.name in layers and _part(config, part).train
        )
        method = cls(layers, layout, parts, groups)
        for part in parts:
            if part.name in layers and not _part(config, part).train:
                for layer in layers[part.name]:
                    layer.down.requires_grad_(False)
                    layer.up.requires_grad_(False)
        return method

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return one group per trained component, with down and up matrix of each layer in turn."""
        return self.trained

    def encoding_facts(self) -> dict[str, Any]:
        """Return the LoRA weights of components that are used but not trained."""
        trained = {group.part for group in self.trained}
        fixed = {name for name in self.layers if name not in trained and name != self.parts[-1].name}
        tensors = {key: tensor for key, tensor in self.adapter().items() if key.split(".", 1)[0] in fixed}
        return {"adapter": digest(tensors)} if tensors else {}

    def trained_modules(self) -> tuple[nn.Module, ...]:
        """Return the components whose LoRA is trained."""
        names = {group.part for group in self.trained}
        return tuple(part.module for part in self.parts if part.name in names)

    def adapter(self) -> Tensors:
        """Return the weights with the names of a backup."""
        tensors: Tensors = {}
        for layers in self.layers.values():
            for layer in layers:
                tensors[f"{layer.name}.alpha"] = layer.alpha
                tensors[f"{layer.name}.lora_down.weight"] = layer.down.weight.detach()  # type: ignore[operator]
                tensors[f"{layer.name}.lora_up.weight"] = layer.up.weight.detach()  # type: ignore[operator]
        return tensors

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the LoRA file."""
        weights = {name: tensor.to("cpu", dtype) for name, tensor in self.adapter().items()}
        tensors = LORA_FORMATS[model_format](weights, self.layout)
        write_tensors(destination, tensors, header(tensors))

    def back_up(self, folder: Path, header: Header) -> None:
        """Write ``lora/lora.safetensors``."""
        self.save(folder / BACKUP_FILE, "INTERNAL", None, header)


def _part(config: TrainConfig, part: Part) -> Any:
    return getattr(config, part.name)


def _adaptable(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.Conv2d)]


def _inject(part: Part, names: Sequence[str], config: TrainConfig) -> tuple[Layer, ...]:
    settings = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=list(names), lora_dropout=0.0, init_lora_weights=False
    )
    inject_adapter_in_model(settings, part.module, adapter_name=ADAPTER)
    layers = tuple(Layer(f"{part.name}.{part.path_prefix}{name}", part.module.get_submodule(name)) for name in names)
    for layer in layers:
        layer.module.forward = lora_forward(layer.module, ADAPTER, config.dropout_probability)
    return layers


@torch.no_grad()
def _initialize(layer: Layer, generator: Generator) -> None:
    """Initialize down uniformly, as torch does for a Linear (Kaiming with a = sqrt 5), and up with zeros."""
    down: Tensor = layer.down.weight  # type: ignore[assignment]
    drawn = torch.empty(down.shape, dtype=torch.float32)
    nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
    down.copy_(drawn)
    nn.init.zeros_(layer.up.weight)  # type: ignore[arg-type]


def _starting_weights(config: TrainConfig, layout: Layout, backup: Path | None) -> Tensors:
    file = backup / BACKUP_FILE if backup else Path(config.lora_model_name) if config.lora_model_name else None
    if file is None:
        return {}
    if backup is None and file.is_dir():
        file = file / BACKUP_FILE
    if not file.is_file():
        if backup is not None:
            raise BackupMismatchError(
                f"The backup “{backup}” contains no LoRA.",
                path="training_method",
                value=config.training_method,
                expected=str(BACKUP_FILE),
                suggestion="Resume from a backup of a LoRA run, or choose the training method of the backup.",
            )
        raise ModelNotFoundError(
            f"The LoRA “{file}” doesn't exist.",
            path="lora_model_name",
            value=config.lora_model_name,
            expected="a .safetensors file",
            suggestion="Correct LoRA base model, or clear it.",
        )
    problem = unfit(file, LORA)
    if problem is not None:
        if backup is not None:
            raise BackupMismatchError(
                f"The backup is damaged: “{file}” {problem.what}.", suggestion="Resume from another backup."
            )
        raise ModelFormatError(
            f"The LoRA “{file}” {problem.what}.",
            path="lora_model_name",
            value=config.lora_model_name,
            expected="a LoRA file or backup",
            suggestion=problem.suggestion,
        )
    try:
        return read_adapter(load_file(file), layout, str(file))
    except SafetensorError as error:
        raise ModelFormatError(
            f"Can't read the LoRA “{file}”: {error}", path="lora_model_name", expected="a .safetensors file"
        ) from error


@torch.no_grad()
def _load(start: Tensors, layers: list[Layer], config: TrainConfig, backup: Path | None) -> None:
    if not start:
        return
    source = str(backup) if backup else config.lora_model_name
    rank = next(tensor.shape[0] for name, tensor in start.items() if name.endswith("lora_down.weight"))
    known = {layer.name for layer in layers}
    extra = next((name for name in start if name.rsplit(".lora_", 1)[0].removesuffix(".alpha") not in known), "")
    missing = next((layer.name for layer in layers if f"{layer.name}.lora_down.weight" not in start), "")
    if rank != config.lora_rank or extra or missing:
        what = f"it has rank {rank}" if rank != config.lora_rank else f"the layer '{(extra or missing)}' is in only one of them"
        raise BackupMismatchError(
            f"The LoRA “{source}” doesn't fit the settings: {what}.",
            path="lora_rank" if rank != config.lora_rank else "layer_filter",
            value=config.lora_rank if rank != config.lora_rank else config.layer_filter,
            expected=f"rank {rank} and the same layers",
            suggestion="Change LoRA rank, Layer filter or Train of the text encoder, or start from another LoRA.",
        )
    for layer in layers:
        layer.down.weight.copy_(start[f"{layer.name}.lora_down.weight"])  # type: ignore[operator]
        layer.up.weight.copy_(start[f"{layer.name}.lora_up.weight"])  # type: ignore[operator]
        alpha = float(start[f"{layer.name}.alpha"])
        layer.module.lora_alpha[ADAPTER] = alpha
        layer.module.scaling[ADAPTER] = alpha / rank


def _group(part: Part, layers: tuple[Layer, ...], config: TrainConfig) -> ParameterGroup:
    parameters = [matrix.weight for layer in layers for matrix in (layer.down, layer.up)]
    rate = _part(config, part).learning_rate
    return ParameterGroup(
        f"{part.name}_lora",
        part.name,
        tuple(parameters),  # type: ignore[arg-type]
        config.learning_rate if rate is None else rate,
    )
