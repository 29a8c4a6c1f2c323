"""Read the LoRA that a run starts from, out of a backup or a file, and load it into the adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import PeftType
from onetrainer_gradio.config.model_files import LORA, unfit
from onetrainer_gradio.engine.keys.family_keys import Tensors
from onetrainer_gradio.engine.keys.lora_files import LoraKeys, arranged, read_adapter
from onetrainer_gradio.engine.methods.adapters.adapter import Adapter
from onetrainer_gradio.errors import BackupMismatchError, ModelFormatError, ModelNotFoundError

BACKUP_FILE = Path("lora") / "lora.safetensors"

_TYPES = {"lora_down.weight": "LORA", "hada_w1_a": "LOHA", "lokr_w1": "LOKR", "lokr_w1_a": "LOKR", "oft_R.weight": "OFT_2"}
_RANKED = ("lora_down.weight", "hada_w1_b")
"""Tensors whose first dimension is the rank."""


def read_initial(config: TrainConfig, names: LoraKeys, backup: Path | None) -> Tensors:
    """Return the tensors of the backup or of the LoRA file in the settings, with internal names; none without both.

    :raises BackupMismatchError, ModelNotFoundError, ModelFormatError: if the file is missing or isn't a LoRA for this model.
    """
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
        tensors: Tensors = load_file(file)
    except SafetensorError as error:
        raise ModelFormatError(
            f"Can't read the LoRA “{file}”: {error}", path="lora_model_name", expected="a .safetensors file"
        ) from error
    if backup is not None:
        return tensors
    return arranged(read_adapter(tensors, names, str(file)), config.output_model_format, names.keys)


def load_initial(start: Tensors, adapters: Sequence[Adapter], config: TrainConfig, backup: Path | None) -> Tensors:
    """Load ``start`` into the adapters. Return the tensors of layers that have no adapter, which saved files keep.

    :raises BackupMismatchError: if the tensors of an adapter are missing or have other shapes.
    """
    if not start:
        return {}
    source = str(backup / BACKUP_FILE) if backup else config.lora_model_name
    left = dict(start)
    for adapter in adapters:
        prefix = f"{adapter.layer.name}."
        found = {name.removeprefix(prefix): tensor for name, tensor in start.items() if name.startswith(prefix)}
        _require_fit(adapter, found, config, source)
        adapter.load(found)
        for name in found:
            del left[prefix + name]
    return left


def _require_fit(adapter: Adapter, found: Mapping[str, Tensor], config: TrainConfig, source: str) -> None:
    misfit = _misfit(adapter, found, config)
    if misfit is None:
        return
    path, what = misfit
    raise BackupMismatchError(
        f"The LoRA “{source}” doesn't fit the settings: {what}.",
        path=path,
        value=getattr(config, path),
        expected="the settings that the LoRA was trained with",
        suggestion=f"Change {title_of(path)}, or start from another LoRA.",
    )


def _misfit(adapter: Adapter, found: Mapping[str, Tensor], config: TrainConfig) -> tuple[str, str] | None:
    """Return the setting that has to change and what is different, or None if the tensors fit."""
    own = adapter.tensors()
    if not found:
        return "layer_filter", f"it has no weights for the layer “{adapter.layer.name}”"
    kind = next((_TYPES[name] for name in found if name in _TYPES), config.peft_type)
    if kind != config.peft_type:
        return "peft_type", f"its type is {label_of(PeftType, kind)}"
    for name in _RANKED:
        if name in own and name in found and found[name].shape[0] != own[name].shape[0]:
            return adapter.rank_setting, f"it has rank {found[name].shape[0]}"
    if ("dora_scale" in found) != ("dora_scale" in own):
        path = "lokr_weight_decompose" if kind == "LOKR" else "lora_decompose"
        return path, f"it {'has' if 'dora_scale' in found else 'has no'} DoRA magnitudes"
    if ("oft_R.scaled_oft" in found) != ("oft_R.scaled_oft" in own):
        return "oft_scaled", f"it {'is' if 'oft_R.scaled_oft' in found else 'is not'} scaled"
    for name in sorted(own.keys() | found.keys()):
        if name == "alpha" or (name in own and name in found and own[name].shape == found[name].shape):
            continue
        shapes = " instead of ".join(str(tuple(of[name].shape)) if name in of else "none" for of in (found, own))
        return adapter.rank_setting, f"the shape of “{adapter.layer.name}.{name}” is {shapes}"
    return None
