"""Checks of the devices of this machine and of the data types that they support."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import AttentionMechanism, DataType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.families.weight_sizes import BYTES_PER_WEIGHT
from onetrainer_gradio.config.machine import GIGABYTE, Gpu
from onetrainer_gradio.errors import Finding

_DEVICE = re.compile(r"^(cpu|cuda|mps|xpu|hpu|npu|mtia|privateuseone|xla)(?::(\d+))?$")
# Compute capabilities: below them, a GPU emulates a data type or doesn't support it.
_AMPERE, _ADA = (8, 0), (8, 9)


@dataclass(frozen=True)
class Need:
    """The compute capability that a data type requires, and the data type to use instead."""

    capability: tuple[int, int]
    instead: DataType


_TRAINING = {DataType.BFLOAT_16: Need(_AMPERE, DataType.FLOAT_16), DataType.TFLOAT_32: Need(_AMPERE, DataType.FLOAT_16)}
_WEIGHTS = {
    DataType.FLOAT_W8A8: Need(_ADA, DataType.INT_W8A8),
    DataType.FLOAT_W8A8_COMPRESSED: Need(_ADA, DataType.INT_W8A8_COMPRESSED),
    DataType.GGUF_A8_FLOAT: Need(_ADA, DataType.GGUF_A8_INT),
    DataType.INT_W8A8: Need((7, 5), DataType.FLOAT_8),
    DataType.INT_W8A8_COMPRESSED: Need((7, 5), DataType.FLOAT_8),
    DataType.GGUF_A8_INT: Need((7, 5), DataType.GGUF),
}
_CUDA_ONLY = frozenset(_WEIGHTS)
_ATTENTION = {AttentionMechanism.FLASH: _AMPERE, AttentionMechanism.CUDNN: _AMPERE}


def exists(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a device that this machine doesn't have."""
    for name in ("train_device", "temp_device"):
        value = plan.at(name)
        named = _DEVICE.match(value.strip().lower())
        best = plan.machine.device if name == "train_device" else "cpu"
        set_to_best = f"Set {title_of(name)} to {best}."
        if named is None:
            message = f"{title_of(name)} “{value}” isn't a device"
            expected = "cuda, cuda:1, mps or cpu"
            fix = {name: best}
            yield found("device-unknown", name, message, value=value, expected=expected, suggestion=set_to_best, fix=fix)
            continue
        kind, index = named.group(1), int(named.group(2) or 0)
        gpus = plan.machine.gpus
        if kind == "cuda" and plan.machine.device != "cuda":
            message = f"{title_of(name)} is {value}, but this machine has no GPU with a working driver"
            expected, fix = "a device of this machine", {name: best}
            yield found("device-missing", name, message, value=value, expected=expected, suggestion=set_to_best, fix=fix)
        elif kind == "mps" and plan.machine.device != "mps":
            message = f"{title_of(name)} is {value}, but this isn't an Apple machine"
            expected, fix = "a device of this machine", {name: best}
            yield found("device-missing", name, message, value=value, expected=expected, suggestion=set_to_best, fix=fix)
        elif kind == "cuda" and gpus and index >= len(gpus):
            message = f"{title_of(name)} {value} doesn't exist: this machine has {len(gpus)} GPU{'s' * (len(gpus) > 1)}"
            expected, fix = f"cuda:0 to cuda:{len(gpus) - 1}" if len(gpus) > 1 else "cuda", {name: "cuda"}
            yield found(
                "device-missing",
                name,
                message,
                value=value,
                expected=expected,
                suggestion=f"Set {title_of(name)} to cuda.",
                fix=fix,
            )


def several(plan: Plan) -> Iterator[Finding]:
    """Yield a finding if the GPUs for multi-GPU training don't exist."""
    config, gpus = plan.config, plan.machine.gpus
    if not config.multi_gpu:
        return
    text = config.device_indexes.strip()
    numbers = [part.strip() for part in text.split(",")] if text else []
    suggestion = f"Clear {title_of('device_indexes')} to use all GPUs."
    if not all(is_whole(number) for number in numbers) or len(set(numbers)) < len(numbers):
        message = f"{title_of('device_indexes')} “{text}” isn't a list of different numbers"
        expected = "numbers such as 0,1, or nothing for all GPUs"
        fix = {"device_indexes": ""}
        yield found("device-indexes", "device_indexes", message, value=text, expected=expected, suggestion=suggestion, fix=fix)
    elif gpus and any(int(number) >= len(gpus) for number in numbers):
        message = (
            f"GPU {max(numbers, key=int)} doesn't exist: this machine has {len(gpus)} GPU{'s' * (len(gpus) > 1)}, counted from 0"
        )
        expected, fix = f"numbers from 0 to {len(gpus) - 1}", {"device_indexes": ""}
        yield found("device-indexes", "device_indexes", message, value=text, expected=expected, suggestion=suggestion, fix=fix)
    elif gpus is not None and (len(numbers) or len(gpus)) < 2:
        yield found(
            "multi-gpu-alone",
            "multi_gpu",
            f"{title_of('multi_gpu')} is on, but " + ("only one GPU is selected" if numbers else "this machine has only one GPU"),
            value=True,
            expected="off with one GPU",
            suggestion=f"Turn off {title_of('multi_gpu')}.",
            fix={"multi_gpu": False},
        )


def _gpu(plan: Plan) -> Gpu | None:
    """Return the NVIDIA GPU that trains; None if it is another device or unknown."""
    named = _DEVICE.match(plan.config.train_device.strip().lower())
    gpus = plan.machine.gpus or ()
    if named is None or named.group(1) != "cuda":
        return None
    index = int(named.group(2) or 0)
    return gpus[index] if index < len(gpus) else None


def _kind(plan: Plan) -> str:
    return plan.config.train_device.strip().lower().split(":")[0]


def training_format(plan: Plan) -> Iterator[Finding]:
    """Yield a finding if the train device is slow in, or doesn't support, the train data type."""
    config, kind, gpu = plan.config, _kind(plan), _gpu(plan)
    dtype, name = config.train_dtype, "train_dtype"
    if kind == "cpu" and dtype is DataType.FLOAT_16:
        yield _data_type("dtype-slow", name, dtype, "is slow and inaccurate on a CPU", DataType.FLOAT_32)
    if kind != "cuda" and dtype is DataType.TFLOAT_32:
        yield _data_type("dtype-slow", name, dtype, f"is the same as {name_of(DataType.FLOAT_32)} on {kind}", DataType.FLOAT_32)
    need = _TRAINING.get(dtype)
    if need and gpu and gpu.capability and gpu.capability < need.capability:
        reason = f"is slow on {gpu.name}, which doesn't support it natively"
        yield _data_type("dtype-slow", name, dtype, reason, need.instead)
    if kind != "cuda" and dtype is DataType.FLOAT_16 and config.fallback_train_dtype is DataType.FLOAT_32:
        yield _data_type(
            "fallback-dtype",
            "fallback_train_dtype",
            DataType.FLOAT_32,
            f"can't replace {name_of(DataType.FLOAT_16)} on {kind}",
            DataType.BFLOAT_16,
        )


def weight_formats(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the train device doesn't support the data type of the weights."""
    kind, gpu = _kind(plan), _gpu(plan)
    for name in plan.loaded:
        path, dtype = f"{name}.weight_dtype", plan.at(f"{name}.weight_dtype")
        if dtype in _CUDA_ONLY and kind in ("cpu", "mps"):
            instead = DataType.FLOAT_32 if kind == "cpu" else DataType.BFLOAT_16
            yield _data_type("dtype-unsupported", path, dtype, f"requires an NVIDIA GPU and isn't supported on {kind}", instead)
            continue
        need = _WEIGHTS.get(dtype)
        if need and gpu and gpu.capability and gpu.capability < need.capability:
            major, minor = gpu.capability
            reason = f"requires compute capability {need.capability[0]}.{need.capability[1]}, but {gpu.name} has {major}.{minor}"
            yield _data_type("dtype-unsupported", path, dtype, reason, need.instead)


def _data_type(code: str, path: str, dtype: DataType, reason: str, instead: DataType) -> Finding:
    return found(
        code,
        path,
        f"{title_of(path)} {name_of(dtype)} {reason}",
        value=dtype.value,
        expected=name_of(instead),
        suggestion=f"Set {title_of(path)} to {name_of(instead)}.",
        fix={path: instead.value},
    )


def attention(plan: Plan) -> Iterator[Finding]:
    """Yield an error for an attention backend that the device doesn't support."""
    chosen, gpu = plan.config.attention_mechanism, _gpu(plan)
    least = _ATTENTION.get(chosen)
    if least is None:
        return
    if _kind(plan) != "cuda":
        reason = f"{name_of(chosen)} requires an NVIDIA GPU and isn't supported on {_kind(plan)}"
    elif gpu and gpu.capability and gpu.capability < least:
        reason = f"{name_of(chosen)} requires a newer GPU than {gpu.name}"
    else:
        return
    yield found(
        "attention-unsupported",
        "attention_mechanism",
        reason,
        value=chosen.value,
        expected=f"{name_of(AttentionMechanism.SDP)}, which every device supports",
        suggestion=f"Set {title_of('attention_mechanism')} to {name_of(AttentionMechanism.SDP)}.",
        fix={"attention_mechanism": "SDP"},
    )


def memory(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if the weights of the denoiser alone are larger than the GPU's memory."""
    gpu, config = _gpu(plan), plan.config
    if gpu is None or not gpu.memory_bytes:
        return
    part = plan.at(plan.denoiser)
    stays = 1 - min(1.0, part.offload_fraction)
    per_weight = BYTES_PER_WEIGHT.get(part.weight_dtype, 4)
    weights = MODELS[config.model_type].base.billions * 1e9 * per_weight * stays
    if (
        config.training_method is TrainingMethod.FINE_TUNE
        and plan.denoiser in plan.trained
        and not config.optimizer.fused_back_pass
    ):
        weights *= 2  # their gradients
    if weights > gpu.memory_bytes:
        offload = plan.denoiser in plan.facts.offloaded
        what = "Offload a larger fraction of it, choose" if offload else "Choose"
        yield found(
            "weights-exceed-memory",
            f"{plan.denoiser}.weight_dtype",
            f"The {plan.called(plan.denoiser)} alone takes about {weights / GIGABYTE:.0f} GB in {name_of(part.weight_dtype)}, "
            f"but {gpu.name} has {gpu.memory_bytes / GIGABYTE:.0f} GB",
            value=part.weight_dtype.value,
            expected=f"less than {gpu.memory_bytes / GIGABYTE:.0f} GB",
            suggestion=f"{what} a smaller weight data type, or use a preset for this amount of VRAM.",
        )
