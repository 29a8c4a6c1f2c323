"""Number formats: the names of the settings, automatic casting, and the loss scaler of fp16."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn import Parameter

from onetrainer_gradio.errors import UnsupportedError

DTYPES: Mapping[str, torch.dtype] = {
    "FLOAT_32": torch.float32,
    "TFLOAT_32": torch.float32,
    "FLOAT_16": torch.float16,
    "BFLOAT_16": torch.bfloat16,
}
HALF = (torch.float16, torch.bfloat16)


def autocast(device: torch.device, dtype: torch.dtype, *, cache: bool) -> AbstractContextManager[object]:
    """Casting of the heavy operations to ``dtype``; on CUDA also upwards, to float32."""
    if dtype in HALF or device.type == "cuda":
        return torch.autocast(device.type, dtype=dtype, cache_enabled=cache)
    return nullcontext()


def loss_scaler(device: torch.device, train_dtype: str, parameters: Iterable[Parameter]) -> torch.amp.GradScaler:
    """Scales fp16 losses out of the range where they vanish; does nothing unless fp32 weights are trained in fp16."""
    needed = train_dtype == "FLOAT_16" and all(parameter.dtype == torch.float32 for parameter in parameters)
    return torch.amp.GradScaler(device.type, enabled=needed)


def allow_tf32(train_dtype: str) -> None:
    """TFLOAT_32 lets CUDA multiply float32 with ten bits of mantissa."""
    if train_dtype == "TFLOAT_32":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


def device_of(name: str) -> torch.device:
    """The device of the setting ``train_device``.

    :raises UnsupportedError: when this machine has none of that name.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch says both for a build without the device
        raise UnsupportedError(
            f"The device '{name}' cannot be used on this machine: {str(error).splitlines()[0]}",
            path="train_device",
            value=name,
            expected="cpu" + (" or cuda" if torch.cuda.is_available() else ""),
            change="train_device, or install a torch that supports the device",
        ) from error
    return device
