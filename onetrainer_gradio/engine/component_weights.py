"""Load the weights of one component in its data type: from its folder, or from a model that replaces it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.model_files import COMPONENT, unfit
from onetrainer_gradio.config.repository_files import DIFFUSERS, TRANSFORMERS
from onetrainer_gradio.engine import precision, quantization
from onetrainer_gradio.engine.data.cache import file_identity
from onetrainer_gradio.engine.families.family import Component
from onetrainer_gradio.engine.hub import Hub
from onetrainer_gradio.errors import ModelFormatError, ModelNotFoundError

Identity = list[tuple[str, int, int]]

FAILURES = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, SafetensorError)
"""What diffusers and transformers raise for a file that isn't what they expect."""

_HALF = {"BF16": torch.bfloat16, "F16": torch.float16}


def class_of(source: str) -> Any:
    """Return the class that "library:Class" names."""
    library, _, name = source.partition(":")
    return getattr(import_module(library), name)


def weight_names(component: Component) -> tuple[str, ...]:
    """Return the names that the weight file of a component can have."""
    return TRANSFORMERS if component.library == "transformers" else DIFFUSERS


def identities(folder: Path) -> Identity:
    """Return the identities of the files in a folder."""
    return [file_identity(file) for file in sorted(folder.iterdir()) if file.is_file()]


@dataclass(frozen=True)
class ComponentWeights:
    """A component of a model, and the data types that the settings give it."""

    config: TrainConfig
    name: str
    component: Component
    replaceable: bool = True
    """Another model may replace it."""

    @property
    def weight_dtype(self) -> str:
        """Return the configured data type; what has no settings is never trained, and is float32."""
        settings = getattr(self.config, self.name, None)
        return "FLOAT_32" if settings is None else str(settings.weight_dtype)

    @property
    def quantized(self) -> bool:
        """Return whether the Linears are quantized."""
        return quantization.is_quantized(self.weight_dtype)

    @property
    def compute_dtype(self) -> torch.dtype:
        """Return the data type in which quantized Linears multiply."""
        return precision.compute_dtype(self.config, fallback=self.component.fallback)

    @property
    def replacement(self) -> str:
        """Return the model that replaces the one in the base model, or ``""``."""
        if not self.replaceable or self.name not in MODELS[self.config.model_type].replaceable:
            return ""
        return str(getattr(self.config, self.name).model_name)

    def from_folder(self, folder: Path) -> nn.Module:
        """Load the component from its folder."""
        present = next(file for file in weight_names(self.component) if (folder / file).is_file())
        options: dict[str, Any] = {"use_safetensors": ".safetensors" in present}
        options |= {"variant": "fp16"} if ".fp16." in present else {}
        dtype = stored_dtype(folder) if self.quantized else precision.DTYPES[self.weight_dtype]
        options["dtype" if self.component.library == "transformers" else "torch_dtype"] = dtype
        return self.finished(class_of(self.component.source).from_pretrained(folder, **options))

    def replaced(self, hub: Hub, layout: Path) -> tuple[nn.Module, Identity]:
        """Load the component from the model that replaces it. ``layout`` is the folder of its configuration in the base model.

        :raises ModelNotFoundError: if it isn't found.
        :raises ModelFormatError: if it can't be loaded.
        """
        from diffusers.loaders.single_file_utils import SingleFileComponentError

        setting = f"{self.name}.model_name"
        place = self._located(replace(hub, setting=setting))
        problem = unfit(place, COMPONENT)
        if problem is not None:
            raise self._unusable(f"“{self.replacement}” {problem.what}.", problem.suggestion)
        try:
            if place.is_dir():
                return self.from_folder(place), identities(place)
            return self.finished(self._from_file(place, layout)), [file_identity(place), *identities(layout)]
        except (*FAILURES, SingleFileComponentError) as error:
            message = f"Can't load the component “{self.name}” from “{self.replacement}”: {error}"
            raise self._unusable(message, "Choose another model, or clear the setting.") from error

    def _located(self, hub: Hub) -> Path:
        names = weight_names(self.component)
        place = hub.locate(self.replacement, ("config.json", names[0]))
        for name in names[1:]:  # repositories differ in the weight files that they hold
            if place.is_file() or any((place / known).is_file() for known in names):
                return place
            shards = (f"{name.partition('.')[0]}*-of-*",) if "index" in name else ()
            place = hub.locate(self.replacement, ("config.json", name, *shards))
        if place.is_dir() and not any((place / known).is_file() for known in names):
            raise ModelNotFoundError(
                f"“{self.replacement}” contains no weights of the component “{self.name}”.",
                path=f"{self.name}.model_name",
                value=self.replacement,
                expected=f"config.json and {names[0]}, or a single file",
                suggestion="Choose another model, or clear the setting.",
            )
        return place

    def _from_file(self, file: Path, layout: Path) -> nn.Module:
        dtype = torch.bfloat16 if self.quantized else precision.DTYPES[self.weight_dtype]
        options: dict[str, Any] = {"config": str(layout), "local_files_only": True, "torch_dtype": dtype}
        if self.weight_dtype == "GGUF":
            from diffusers import GGUFQuantizationConfig

            options["quantization_config"] = GGUFQuantizationConfig(compute_dtype=torch.bfloat16)
        found: nn.Module = class_of(self.component.source).from_single_file(str(file), **options)
        missing = [name for name, tensor in found.state_dict().items() if tensor.is_meta]
        if missing:
            raise ValueError(f"{missing[0]} is missing.")
        return found

    def finished(self, module: nn.Module) -> nn.Module:
        """Return a loaded component in its data types: quantized, or all of it in the weight data type."""
        config, denoiser = self.config, self.name == MODELS[self.config.model_type].denoiser
        if self.weight_dtype == "GGUF":
            quantization.cast_others(module, self.compute_dtype)
        elif self.quantized:
            chosen = config.quantization
            quantization.quantize(
                module,
                self.weight_dtype,
                self.compute_dtype,
                layer_filter=(chosen.layer_filter, chosen.layer_filter_regex) if denoiser else ("", False),
                corrections=quantization.Corrections.of(config) if denoiser else None,
            )
        else:
            self._cast(module, precision.DTYPES[self.weight_dtype])
        return module

    def _cast(self, module: nn.Module, dtype: torch.dtype) -> None:
        """Cast the weights; what a library keeps in float32 next to float16 is computed in the compute data type anyway."""
        kept = getattr(module, "_keep_in_fp32_modules", None) or ()
        if dtype in precision.HALF:
            for name, child in module.named_modules():
                if not kept or set(name.split(".")).isdisjoint(kept):
                    continue
                child.to(self.compute_dtype)
        else:
            module.to(dtype)

    def _unusable(self, message: str, suggestion: str) -> ModelFormatError:
        return ModelFormatError(
            message,
            path=f"{self.name}.model_name",
            value=self.replacement,
            expected=f"a model of the class {self.component.class_name}",
            suggestion=suggestion,
        )


def stored_dtype(folder: Path) -> torch.dtype:
    """Return the data type of the weights in the .safetensors files of a folder, or float32 if they have several."""
    found: set[torch.dtype] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            found |= {_HALF.get(opened.get_slice(name).get_dtype(), torch.float32) for name in opened.keys()}  # noqa: SIM118
    return found.pop() if len(found) == 1 else torch.float32


def weights_of(
    config: TrainConfig, components: Mapping[str, Component], *, replaceable: bool = True
) -> dict[str, ComponentWeights]:
    """Return how each component is loaded."""
    return {name: ComponentWeights(config, name, component, replaceable) for name, component in components.items()}
