"""List settings that this engine doesn't support, and combinations that would fail later. Nothing is silently ignored.

A setting that belongs to another model family (``transformer``, ``text_encoder_2`` ...) has no effect here, as in OneTrainer,
and is no error. This module needs no torch.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config import ConceptConfig, TrainConfig
from onetrainer_gradio.config.check.concepts import prior_prediction
from onetrainer_gradio.config.check.devices import attention, weight_formats
from onetrainer_gradio.config.check.formats import comfy_lora, original_lora
from onetrainer_gradio.config.check.losses import no_loss, noise_window, two_predictions
from onetrainer_gradio.config.check.optimizers import (
    adafactor_scheduler,
    custom_scheduler,
    custom_scheduler_parameters,
    fused_kernel,
    library_installed,
    muon_layers,
    one_learning_rate,
    rejected_parameters,
    schedule_free_wuerstchen,
)
from onetrainer_gradio.config.check.parts import (
    encoder_offload,
    gguf_without_file,
    nothing_trained,
    offload_without_checkpointing,
    offload_without_fused_back_pass,
    quantized_and_trained,
    svd_with_gguf,
)
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import CATALOGUE, pattern, title_of
from onetrainer_gradio.config.declarations.labels import name_of, names_of
from onetrainer_gradio.config.enums import AttentionMechanism, ModelFormat
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR, ModelFacts
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.errors import ConfigInvalidError, Finding

FLOATS = ("FLOAT_32", "FLOAT_16", "BFLOAT_16")
OTHER_ENGINE = "or train with OneTrainer"


@dataclass(frozen=True)
class Only:
    """A setting that supports only these values here."""

    path: str
    values: tuple[Any, ...]


ONLY: tuple[Only, ...] = (
    Only("model_type", tuple(facts.type for facts in MODELS.values() if facts.built_in)),
    Only("training_method", ("LORA", "FINE_TUNE", "EMBEDDING", "FINE_TUNE_VAE")),
    Only("train_dtype", ("FLOAT_32", "TFLOAT_32", "FLOAT_16", "BFLOAT_16")),
    Only("output_dtype", FLOATS),
    Only("lora_weight_dtype", FLOATS),
    Only("debug_mode", (False,)),
    Only("multi_gpu", (False,)),
    Only("cloud.enabled", (False,)),
)
"""Settings with fewer values than in OneTrainer."""

ONLY_IN_PARTS: tuple[Only, ...] = (
    Only("weight_dtype", (*FLOATS, "FLOAT_8", "INT_W8A8", "FLOAT_W8A8", "INT_8", "NFLOAT_4", "GGUF")),
)
"""The same for each component of the model type."""

ONLY_IN_SMALL_PARTS: tuple[Only, ...] = (
    Only("offload_fraction", (0, 0.0)),
    Only("activation_offloading", (False,)),
)
"""The same for each component whose blocks can't be offloaded."""

ONLY_IN_FIXED_PARTS: tuple[Only, ...] = (Only("model_name", ("",)),)
"""The same for each component that no other model can replace."""

LOSS_WEIGHTS = {
    True: Only("loss_weight_fn", ("CONSTANT", "SIGMA")),
    False: Only("loss_weight_fn", ("CONSTANT", "P2", "MIN_SNR_GAMMA", "DEBIASED_ESTIMATION")),
}
"""The loss weights of flow-matching models, and of those with a noise schedule."""

ONLY_IN_CONCEPTS: tuple[Only, ...] = (Only("text.prompt_source", ("sample", "concept", "filename")),)
"""The same for each enabled concept."""

CHECKED = (
    nothing_trained,
    no_loss,
    noise_window,
    two_predictions,
    prior_prediction,
    original_lora,
    comfy_lora,
    encoder_offload,
    offload_without_checkpointing,
    offload_without_fused_back_pass,
    quantized_and_trained,
    svd_with_gguf,
    gguf_without_file,
    weight_formats,
    attention,
    library_installed,
    fused_kernel,
    schedule_free_wuerstchen,
    custom_scheduler,
    custom_scheduler_parameters,
    adafactor_scheduler,
    rejected_parameters,
    one_learning_rate,
    muon_layers,
)
"""Rules of the pre-flight check about what no engine can train; a run may start without that check."""

Rule = Callable[[TrainConfig], Iterable[Finding]]


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def _outside(only: Iterable[Only], config: Any, prefix: str = "") -> Iterator[Finding]:
    for setting in only:
        value = _at(config, setting.path)
        if value not in setting.values:
            path = prefix + setting.path
            allowed = " or ".join(str(allowed) for allowed in setting.values)
            what, change = _worded(path, value, setting.values)
            message = f"The built-in engine doesn't support {what} yet."
            yield Finding("error", path, message, value, allowed, f"{change}, {OTHER_ENGINE}.")


def _worded(path: str, value: Any, allowed: tuple[Any, ...]) -> tuple[str, str]:
    """Return what isn't supported, and what to change, by the labels of the form."""
    title, entry = title_of(path), CATALOGUE[pattern(path)]
    if allowed == (False,):
        return title, f"Turn off {title}"
    if allowed == ("",):
        return title, f"Clear {title}"
    *most, last = dict.fromkeys(entry.choice_label(str(one)) for one in allowed)
    return f"{title} {entry.choice_label(str(value))}", f"Set {title} to {', '.join(most)}{' or ' if most else ''}{last}"


def _used_concepts(config: TrainConfig) -> Iterator[tuple[int, ConceptConfig]]:
    for number, concept in enumerate(config.concepts or ()):
        if concept.enabled:
            yield number, concept


def _facts(config: TrainConfig) -> ModelFacts:
    return MODELS.get(config.model_type, UNFAMILIAR)


def _parts(config: TrainConfig) -> Iterator[Finding]:
    for part in _facts(config).parts:
        yield from _outside(ONLY_IN_PARTS, _at(config, part), f"{part}.")
        if part not in _facts(config).offloaded:
            yield from _outside(ONLY_IN_SMALL_PARTS, _at(config, part), f"{part}.")
        if part not in _facts(config).replaceable:
            yield from _outside(ONLY_IN_FIXED_PARTS, _at(config, part), f"{part}.")


def _loss_weight(config: TrainConfig) -> Iterator[Finding]:
    yield from _outside((LOSS_WEIGHTS[_facts(config).flow],), config)


def _concepts(config: TrainConfig) -> Iterator[Finding]:
    for number, concept in _used_concepts(config):
        yield from _outside(ONLY_IN_CONCEPTS, concept, f"concepts.{number}.")


def _output_format(config: TrainConfig) -> Iterator[Finding]:
    allowed = _facts(config).formats.get(config.training_method)
    if allowed and config.output_model_format not in allowed:
        yield Finding(
            "error",
            "output_model_format",
            f"The built-in engine can't save {name_of(config.training_method)} as {name_of(config.output_model_format)}.",
            config.output_model_format,
            " or ".join(allowed),
            f"Set {title_of('output_model_format')} to {names_of(map(ModelFormat, allowed))}, {OTHER_ENGINE}.",
        )


def _precision(config: TrainConfig) -> Iterator[Finding]:
    if config.train_device.startswith("cuda") or config.train_dtype in ("FLOAT_16", "BFLOAT_16"):
        return
    for part in _facts(config).parts:
        dtype = _at(config, f"{part}.weight_dtype")
        if dtype != "FLOAT_32" and dtype in FLOATS:
            yield Finding(
                "error",
                f"{part}.weight_dtype",
                f"On {config.train_device}, training in float32 requires float32 weights, not {name_of(dtype)}.",
                dtype,
                "FLOAT_32",
                f"Set {title_of(f'{part}.weight_dtype')} to float32, or choose another {title_of('train_dtype')}.",
            )


LIBRARIES = {"INT_8": "bitsandbytes", "NFLOAT_4": "bitsandbytes", "GGUF": "gguf"}
"""Weight data types, and the libraries that they require."""


def _quantized(config: TrainConfig) -> Iterator[Finding]:
    """Report quantized weights that are trained, whose library is missing, or that don't fit the train data type."""
    for part in _facts(config).parts:
        path, dtype = f"{part}.weight_dtype", _at(config, f"{part}.weight_dtype")
        library = LIBRARIES.get(dtype)
        if library is not None and importlib.util.find_spec(library) is None:
            message = f"{title_of(path)} {name_of(dtype)} requires the package {library}, which isn't installed."
            suggestion = "Install it with: pip install onetrainer_gradio[gpu]. Or choose another weight data type."
            yield Finding("error", path, message, dtype, "an installed package", suggestion)
        trained = config.training_method != "LORA" and part in Plan(config, Path()).trained
        if dtype == "FLOAT_8" and trained:  # OneTrainer doesn't reject it; the check covers the other kinds
            message = f"{title_of(path)} must not be {name_of(dtype)}, because these weights are trained."
            suggestion = f"Set {title_of(path)} to bfloat16 or float32, or train a LoRA."
            yield Finding("error", path, message, dtype, "BFLOAT_16 or FLOAT_32", suggestion)
        if dtype == "GGUF" and config.train_device == "cpu" and config.train_dtype != "BFLOAT_16":
            message = f"On the CPU, {title_of(path)} {name_of(dtype)} requires {title_of('train_dtype')} bfloat16."
            suggestion = f"Set {title_of('train_dtype')} to bfloat16, or choose another weight data type."
            yield Finding("error", path, message, dtype, "BFLOAT_16", suggestion)


def _trained_half(config: TrainConfig) -> Iterator[Finding]:
    """Report float16 weights, which have too little range for an optimizer."""
    trained = {"LORA": ["lora_weight_dtype"]}.get(
        config.training_method, [f"{part}.weight_dtype" for part in Plan(config, Path()).trained]
    )
    for path in trained:
        if _at(config, path) == "FLOAT_16":
            message = f"{title_of(path)} must not be float16, because these weights are trained."
            yield Finding(
                "error", path, message, "FLOAT_16", "FLOAT_32 or BFLOAT_16", f"Set {title_of(path)} to float32 or bfloat16."
            )


def _optimizer(config: TrainConfig) -> Iterator[Finding]:
    settings = config.optimizer
    if settings.fused and settings.foreach:
        message = f"{title_of('optimizer.fused')} and {title_of('optimizer.foreach')} can't be combined."
        yield Finding("error", "optimizer.fused", message, True, "one of them", f"Turn off {title_of('optimizer.foreach')}.")
    used = OPTIMIZERS[settings.optimizer].defaults if settings.optimizer in OPTIMIZERS else {}
    names: tuple[str, ...] = ("fsdp_in_use", "differentiable")
    refused = [name for name in names if name in used and getattr(settings, name)]
    if settings.capturable and "capturable" in used and not config.train_device.startswith("cuda"):
        refused.append("capturable")
    for name in refused:
        title = title_of(f"optimizer.{name}")
        message = f"The built-in engine doesn't support {title} with {name_of(settings.optimizer)}."
        yield Finding("error", f"optimizer.{name}", message, True, "False", f"Turn off {title}, {OTHER_ENGINE}.")


def _as_checked(config: TrainConfig) -> Iterator[Finding]:
    """Yield what the rules of the pre-flight check find."""
    plan = Plan(config, Path())
    for rule in CHECKED:
        yield from rule(plan)


def _attention(config: TrainConfig) -> Iterator[Finding]:
    """Report an attention that the denoiser has no choice of, or that isn't installed."""
    chosen, title = config.attention_mechanism, title_of("attention_mechanism")
    if chosen == "SDP":
        return
    change = f"Set {title} to {name_of(AttentionMechanism.SDP)}"
    if "attention_backends" not in _facts(config).abilities:
        message = f"The denoiser of {_facts(config).label} has no other {title} than {name_of(AttentionMechanism.SDP)}."
        yield Finding("error", "attention_mechanism", message, chosen, "SDP", f"{change}.")
    elif chosen == "FLASH" and importlib.util.find_spec("flash_attn") is None:
        message = f"{title} {name_of(chosen)} requires the package flash-attn, which isn't installed."
        suggestion = f"Install it with: pip install flash-attn. Or {change[0].lower()}{change[1:]}."
        yield Finding("error", "attention_mechanism", message, chosen, "an installed package", suggestion)
    elif chosen == "FLEX" and not config.train_device.startswith("cuda"):
        message = f"{title} {name_of(chosen)} requires an NVIDIA GPU, because torch has no gradient for {config.train_device}."
        yield Finding("error", "attention_mechanism", message, chosen, "SDP", f"{change}.")


def _compiler(config: TrainConfig) -> Iterator[Finding]:
    """Report compilation without a compiler: torch writes Triton code for a GPU, and C++ code for a CPU."""
    if not config.compile:
        return
    if config.train_device.startswith("cuda"):
        missing = "" if importlib.util.find_spec("triton") else "the package triton"
    else:
        missing = "" if any(map(shutil.which, ("g++", "clang++", "cl"))) else "a C++ compiler"
    if missing:
        message = f"{title_of('compile')} requires {missing}, which isn't installed."
        yield Finding("error", "compile", message, True, "False", f"Install {missing}, or turn off {title_of('compile')}.")


RULES: tuple[Rule, ...] = (
    lambda config: _outside(ONLY, config),
    _as_checked,
    _parts,
    _loss_weight,
    _concepts,
    _output_format,
    _precision,
    _quantized,
    _trained_half,
    _optimizer,
    _compiler,
    _attention,
)


def findings(config: TrainConfig) -> tuple[Finding, ...]:
    """Yield everything in ``config`` that this engine doesn't support."""
    return tuple(finding for rule in RULES for finding in rule(config))


def raise_unsupported(config: TrainConfig) -> None:
    """Raise an error for a configuration that this engine doesn't support.

    :raises ConfigInvalidError: with one finding for each such setting.
    """
    found = findings(config)
    if found:
        raise ConfigInvalidError(found)
