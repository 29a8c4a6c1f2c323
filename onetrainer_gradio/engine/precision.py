"""Handle data types: the names of the settings, autocast, and the loss scaler of fp16."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.engine.failures import translate
from onetrainer_gradio.engine.meta_device import META, MetaAutocast
from onetrainer_gradio.errors import OutOfMemoryError, UnsupportedError

DTYPES: Mapping[str, torch.dtype] = {
    "FLOAT_32": torch.float32,
    "TFLOAT_32": torch.float32,
    "FLOAT_16": torch.float16,
    "BFLOAT_16": torch.bfloat16,
}
HALF = (torch.float16, torch.bfloat16)


def compute_dtype(config: TrainConfig, *, fallback: bool) -> torch.dtype:
    """Return the data type of a component's computation: with ``fallback`` it overflows in float16 and has another one."""
    return DTYPES[config.fallback_train_dtype if fallback and config.train_dtype == "FLOAT_16" else config.train_dtype]


def mixed(config: TrainConfig, components: Iterable[str]) -> bool:
    """Return whether a used weight has another data type than the train data type. Otherwise OneTrainer has no autocast."""
    dtypes = {str(part.weight_dtype) for name in components if (part := getattr(config, name, None)) is not None}
    trained = {"LORA": "lora_weight_dtype", "EMBEDDING": "embedding_weight_dtype"}.get(config.training_method)
    if trained is not None:
        dtypes.add(str(getattr(config, trained)))
    return dtypes != {str(config.train_dtype)}


def autocast(device: torch.device, dtype: torch.dtype, *, cache: bool) -> AbstractContextManager[object]:
    """Return autocast to ``dtype``; on CUDA, some operations also cast to float32."""
    if device.type == META:
        return MetaAutocast(dtype, cache)
    if dtype in HALF or device.type == "cuda":
        return torch.autocast(device.type, dtype=dtype, cache_enabled=cache)
    return nullcontext()


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return what turns autocast off within the block."""
    return MetaAutocast(None) if device.type == META else torch.autocast(device.type, enabled=False)


def generator(device: torch.device) -> torch.Generator:
    """Return a random generator of a device; the meta device has none, and uses the CPU's."""
    return torch.Generator("cpu" if device.type == META else device)


def loss_scaler(device: torch.device, train_dtype: str, parameters: Iterable[Parameter]) -> torch.amp.GradScaler:
    """Return the scaler that keeps fp16 gradients from underflowing; disabled unless fp32 weights are trained in fp16."""
    needed = train_dtype == "FLOAT_16" and all(parameter.dtype == torch.float32 for parameter in parameters)
    return torch.amp.GradScaler(device.type, enabled=needed)


def allow_tf32(train_dtype: str) -> None:
    """Set whether CUDA multiplies float32 with ten bits of mantissa (TFLOAT_32); an earlier run in the process may have."""
    torch.backends.cuda.matmul.allow_tf32 = train_dtype == "TFLOAT_32"
    if train_dtype == "TFLOAT_32":  # convolutions may do so by torch's default, as in OneTrainer
        torch.backends.cudnn.allow_tf32 = True


def device_of(name: str, path: str = "train_device") -> torch.device:
    """Return the device of the setting ``path``.

    :raises UnsupportedError: if this machine doesn't have it.
    :raises OutOfMemoryError: if other processes have left no memory on it.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises all three for a build without the device
        known = translate(error)
        if isinstance(known, OutOfMemoryError):
            raise known from error
        raise UnsupportedError(
            f"The device “{name}” can't be used on this machine: {str(error).splitlines()[0]}",
            path=path,
            value=name,
            expected="cpu" + (" or cuda" if torch.cuda.is_available() else ""),
            suggestion=f"Change {title_of(path)}, or install a PyTorch version that supports the device.",
        ) from error
    return device
