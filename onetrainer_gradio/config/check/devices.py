"""The devices of this machine, and what they can calculate with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import AttentionMechanism, DataType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.families.weight_sizes import BYTES_PER_WEIGHT
from onetrainer_gradio.config.machine import GIGABYTE, Gpu
from onetrainer_gradio.errors import Finding

_DEVICE = re.compile(r"^(cpu|cuda|mps|xpu|hpu|npu|mtia|privateuseone|xla)(?::(\d+))?$")
# Compute capabilities: below them, a card calculates in a format in software or not at all.
_AMPERE, _ADA = (8, 0), (8, 9)


@dataclass(frozen=True)
class Need:
    """What a number format asks of an NVIDIA card, and what to take instead."""

    capability: tuple[int, int]
    instead: str


_TRAINING = {DataType.BFLOAT_16: Need(_AMPERE, "FLOAT_16"), DataType.TFLOAT_32: Need(_AMPERE, "FLOAT_16")}
_WEIGHTS = {
    DataType.FLOAT_W8A8: Need(_ADA, "INT_W8A8"),
    DataType.FLOAT_W8A8_COMPRESSED: Need(_ADA, "INT_W8A8_COMPRESSED"),
    DataType.GGUF_A8_FLOAT: Need(_ADA, "GGUF_A8_INT"),
    DataType.INT_W8A8: Need((7, 5), "FLOAT_8"),
    DataType.INT_W8A8_COMPRESSED: Need((7, 5), "FLOAT_8"),
    DataType.GGUF_A8_INT: Need((7, 5), "GGUF"),
}
_CUDA_ONLY = frozenset(_WEIGHTS)
_ATTENTION = {AttentionMechanism.FLASH: _AMPERE, AttentionMechanism.CUDNN: _AMPERE}


def exists(plan: Plan) -> Iterator[Finding]:
    """The devices that are named are there."""
    for name in ("train_device", "temp_device"):
        value = plan.at(name)
        named = _DEVICE.match(value.strip().lower())
        best = plan.machine.device if name == "train_device" else "cpu"
        if named is None:
            message = f"{value!r} is no device"
            expected = "cuda, cuda:1, mps or cpu"
            fix = {name: best}
            yield found("device-unknown", name, message, value=value, expected=expected, suggestion=f"Write {best}.", fix=fix)
            continue
        kind, index = named.group(1), int(named.group(2) or 0)
        cards = plan.machine.gpus
        if kind == "cuda" and plan.machine.device != "cuda":
            message = f"The device is {value}, but this machine shows no graphics card with a driver"
            expected, fix = "a device of this machine", {name: best}
            yield found("device-missing", name, message, value=value, expected=expected, suggestion=f"Write {best}.", fix=fix)
        elif kind == "mps" and plan.machine.device != "mps":
            message = f"The device is {value}, and this is no Apple machine"
            expected, fix = "a device of this machine", {name: best}
            yield found("device-missing", name, message, value=value, expected=expected, suggestion=f"Write {best}.", fix=fix)
        elif kind == "cuda" and cards and index >= len(cards):
            message = f"There is no {value}: this machine has {len(cards)} graphics card{'s' * (len(cards) > 1)}"
            expected, fix = f"cuda:0 to cuda:{len(cards) - 1}" if len(cards) > 1 else "cuda", {name: "cuda"}
            yield found("device-missing", name, message, value=value, expected=expected, suggestion="Write cuda.", fix=fix)


def several(plan: Plan) -> Iterator[Finding]:
    """Several cards, if they are to be used, by their numbers."""
    config, cards = plan.config, plan.machine.gpus
    if not config.multi_gpu:
        return
    text = config.device_indexes.strip()
    numbers = [part.strip() for part in text.split(",")] if text else []
    if not all(is_whole(number) for number in numbers) or len(set(numbers)) < len(numbers):
        message = f"Device indexes is {text!r}"
        expected, suggestion = "numbers such as 0,1, or nothing for all", "Leave it empty to use all."
        fix = {"device_indexes": ""}
        yield found("device-indexes", "device_indexes", message, value=text, expected=expected, suggestion=suggestion, fix=fix)
    elif cards and any(int(number) >= len(cards) for number in numbers):
        message = f"There is no card {max(numbers, key=int)}: this machine has {len(cards)}"
        expected, fix = f"numbers from 0 to {len(cards) - 1}", {"device_indexes": ""}
        suggestion = "Leave it empty to use all."
        yield found("device-indexes", "device_indexes", message, value=text, expected=expected, suggestion=suggestion, fix=fix)
    elif cards is not None and (len(numbers) or len(cards)) < 2:
        yield found(
            "multi-gpu-alone",
            "multi_gpu",
            "Several graphics cards are to be used, and there is one",
            value=True,
            expected="off with one card",
            suggestion="Turn it off.",
            fix={"multi_gpu": False},
        )


def _card(plan: Plan) -> Gpu | None:
    """The card that trains, where it is one of NVIDIA's and can be told."""
    named = _DEVICE.match(plan.config.train_device.strip().lower())
    cards = plan.machine.gpus or ()
    if named is None or named.group(1) != "cuda":
        return None
    index = int(named.group(2) or 0)
    return cards[index] if index < len(cards) else None


def _kind(plan: Plan) -> str:
    return plan.config.train_device.strip().lower().split(":")[0]


def training_format(plan: Plan) -> Iterator[Finding]:
    """The format of the calculation on the device that calculates."""
    config, kind, card = plan.config, _kind(plan), _card(plan)
    dtype, name = config.train_dtype, "train_dtype"
    if kind == "cpu" and dtype is DataType.FLOAT_16:
        yield _format("dtype-slow", name, dtype, "is slow and inexact on a CPU", "FLOAT_32", "FLOAT_32 or BFLOAT_16")
    if kind != "cuda" and dtype is DataType.TFLOAT_32:
        yield _format("dtype-slow", name, dtype, f"is the same as FLOAT_32 on {kind}", "FLOAT_32", "FLOAT_32")
    need = _TRAINING.get(dtype)
    if need and card and card.capability and card.capability < need.capability:
        reason = f"is not built into {card.name} and slow there"
        yield _format("dtype-slow", name, dtype, reason, need.instead, f"{need.instead} or FLOAT_32 on this card")
    if kind != "cuda" and dtype is DataType.FLOAT_16 and config.fallback_train_dtype is DataType.FLOAT_32:
        yield _format(
            "fallback-dtype",
            "fallback_train_dtype",
            DataType.FLOAT_32,
            f"cannot take the place of FLOAT_16 on {kind}",
            "BFLOAT_16",
            "BFLOAT_16",
        )


def weight_formats(plan: Plan) -> Iterator[Finding]:
    """The formats of the weights on the device that holds them."""
    kind, card = _kind(plan), _card(plan)
    for name in plan.loaded:
        path, dtype = f"{name}.weight_dtype", plan.at(f"{name}.weight_dtype")
        if dtype in _CUDA_ONLY and kind in ("cpu", "mps"):
            instead = "FLOAT_32" if kind == "cpu" else "BFLOAT_16"
            yield _format("dtype-unsupported", path, dtype, f"needs a graphics card and cannot run on {kind}", instead, instead)
            continue
        need = _WEIGHTS.get(dtype)
        if need and card and card.capability and card.capability < need.capability:
            major, minor = card.capability
            reason = f"needs compute capability {need.capability[0]}.{need.capability[1]}, and {card.name} has {major}.{minor}"
            yield _format("dtype-unsupported", path, dtype, reason, need.instead, need.instead)


def _format(code: str, path: str, dtype: DataType, reason: str, instead: str, expected: str) -> Finding:
    return found(
        code,
        path,
        f"{dtype.value} {reason}",
        value=dtype.value,
        expected=expected,
        suggestion=f"Write {instead}.",
        fix={path: instead},
    )


def attention(plan: Plan) -> Iterator[Finding]:
    """Fast attention kernels are made for certain cards."""
    chosen, card = plan.config.attention_mechanism, _card(plan)
    least = _ATTENTION.get(chosen)
    if least is None:
        return
    if _kind(plan) != "cuda":
        reason = f"{chosen.value} attention needs a graphics card and cannot run on {_kind(plan)}"
    elif card and card.capability and card.capability < least:
        reason = f"{chosen.value} attention needs a newer card than {card.name}"
    else:
        return
    yield found(
        "attention-unsupported",
        "attention_mechanism",
        reason,
        value=chosen.value,
        expected="SDP, which runs everywhere",
        suggestion="Choose SDP.",
        fix={"attention_mechanism": "SDP"},
    )


def memory(plan: Plan) -> Iterator[Finding]:
    """Weights that are larger than the card's memory, before anything else is in it."""
    card, config = _card(plan), plan.config
    if card is None or not card.memory_bytes:
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
    if weights > card.memory_bytes:
        offload = plan.denoiser in plan.facts.offloaded
        what = "offload a larger fraction of it, " if offload else ""
        yield found(
            "weights-exceed-memory",
            f"{plan.denoiser}.weight_dtype",
            f"The {plan.called(plan.denoiser)} alone takes about {weights / GIGABYTE:.0f} GB in {part.weight_dtype.value}, "
            f"and {card.name} has {card.memory_bytes / GIGABYTE:.0f} GB",
            value=part.weight_dtype.value,
            expected=f"less than {card.memory_bytes / GIGABYTE:.0f} GB",
            suggestion=f"{what}choose a smaller number format, or a preset for this memory size.",
        )
