"""Checks for settings that OneTrainer's code fails on or ignores.

They don't affect other engines, so they aren't in ``check.CHECKS``; the backend that drives OneTrainer runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.check.bases import is_single_file
from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.formats import default_format
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of, names_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import ModelFormat, ModelType, Optimizer, TrainingMethod
from onetrainer_gradio.errors import Finding

_T = ModelType
_WUERSTCHEN = (_T.WUERSTCHEN_2, _T.STABLE_CASCADE_1)
_MUON = (Optimizer.MUON, Optimizer.MUON_ADV, Optimizer.ADAMUON_ADV)
_ENCODER_MUST_REST = {"text_encoder.train": False}


@dataclass(frozen=True)
class Crash:
    """Settings that OneTrainer's code fails on: for which model types, under which condition, which setting, why, what to do."""

    types: tuple[ModelType, ...]
    when: Callable[[TrainConfig], bool]
    path: str
    message: str
    expected: str
    suggestion: str
    fix: dict[str, Any] = field(default_factory=dict)


def _method(method: TrainingMethod) -> Callable[[TrainConfig], bool]:
    return lambda config: config.training_method is method


def _trained_encoder(config: TrainConfig) -> bool:
    return config.text_encoder.train


CRASHES: tuple[Crash, ...] = (
    Crash(
        (_T.STABLE_DIFFUSION_20_DEPTH,),
        lambda config: True,
        "model_type",
        "OneTrainer can't train {label}, because its data pipeline doesn't create the depth maps that the model requires",
        "another model type",
        f"Set {title_of('model_type')} and {title_of('base_model_name')} to SD2.0 or SD2.1.",
    ),
    Crash(
        (_T.HI_DREAM_FULL,),
        _method(TrainingMethod.FINE_TUNE),
        "training_method",
        f"OneTrainer can't train {{label}} with the method {name_of(TrainingMethod.FINE_TUNE)}; its code fails",
        names_of((TrainingMethod.LORA, TrainingMethod.EMBEDDING)),
        f"Set {title_of('training_method')} to {name_of(TrainingMethod.LORA)}.",
        {
            "training_method": "LORA",
            "output_model_format": default_format(_T.HI_DREAM_FULL, TrainingMethod.LORA, single_file=True).value,
        },
    ),
    Crash(
        (_T.HI_DREAM_FULL,),
        lambda config: is_single_file(config.base_model_name),
        "base_model_name",
        "OneTrainer can't load {label} from a single file",
        "a folder in diffusers layout or a model on the Hugging Face Hub",
        f"Set {title_of('base_model_name')} to the model in diffusers layout.",
    ),
    Crash(
        (_T.ANIMA,),
        lambda config: config.training_method is TrainingMethod.FINE_TUNE and config.output_model_format is ModelFormat.DIFFUSERS,
        "output_model_format",
        f"OneTrainer can't save a full fine-tune of {{label}} as {name_of(ModelFormat.DIFFUSERS)}; the run fails when it saves",
        name_of(ModelFormat.ORIGINAL_TRANSFORMER),
        f"Set {title_of('output_model_format')} to {name_of(ModelFormat.ORIGINAL_TRANSFORMER)}.",
        {"output_model_format": "ORIGINAL_TRANSFORMER"},
    ),
    Crash(
        (_T.ANIMA,),
        _trained_encoder,
        "text_encoder.train",
        "OneTrainer can't train the text encoder of {label}; the run fails at its first step",
        "off: the text encoder of {label} is never trained",
        "Turn off Train for the text encoder.",
        _ENCODER_MUST_REST,
    ),
    Crash(
        (_T.KREA_2,),
        lambda config: config.text_encoder.train and config.temp_device != config.train_device,
        "text_encoder.train",
        "OneTrainer can't train the text encoder of {label}; it stays on the temp device and the run fails",
        "off: the text encoder of {label} is never trained",
        "Turn off Train for the text encoder.",
        _ENCODER_MUST_REST,
    ),
    Crash(
        _WUERSTCHEN,
        lambda config: any(embedding.train for embedding in config.additional_embeddings),
        "additional_embeddings",
        "OneTrainer can't train additional embeddings with {label}; its code fails",
        "no trained additional embeddings",
        f"Remove the additional embeddings, or train one with the method {name_of(TrainingMethod.EMBEDDING)}.",
        {"additional_embeddings": []},
    ),
    Crash(
        (_T.HUNYUAN_VIDEO, _T.FLUX_FILL_DEV_1),
        lambda config: config.optimizer.optimizer in _MUON and not config.optimizer.muon_hidden_layers,
        "optimizer.muon_hidden_layers",
        "OneTrainer has no default Muon hidden layers for {label}; the run fails when it creates the optimizer",
        "parts of layer names, separated by commas",
        f"Set {title_of('optimizer.muon_hidden_layers')} to transformer_blocks, or choose another optimizer.",
        {"optimizer.muon_hidden_layers": "transformer_blocks"},
    ),
)

FORCED = ("force_v_prediction", "force_epsilon_prediction")
"""Settings that OneTrainer applies to full fine-tunes only. The built-in engine applies them to every method."""


def onetrainer_findings(config: TrainConfig) -> Iterator[Finding]:
    """Yield errors for settings that OneTrainer fails on, and warnings for settings that it ignores."""
    plan = Plan(config, Path())
    label = plan.facts.label
    for crash in CRASHES:
        if config.model_type in crash.types and crash.when(config):
            value = plan.at(crash.path)
            yield found(
                "onetrainer-crash",
                crash.path,
                crash.message.format(label=label),
                value=len(value) if isinstance(value, tuple) else value,
                expected=crash.expected.format(label=label),
                suggestion=crash.suggestion,
                fix=crash.fix,
            )
    if config.training_method is TrainingMethod.FINE_TUNE:
        return
    for path in FORCED:
        if getattr(config, path):
            yield found(
                "onetrainer-ignores",
                path,
                f"OneTrainer ignores {title_of(path)} unless the method is {name_of(TrainingMethod.FINE_TUNE)}. It "
                "trains with the "
                "prediction type of the model files",
                value=True,
                expected="off with this training method",
                suggestion=f"Turn off {title_of(path)}, or train with the built-in engine, which applies it to every method.",
                fix={path: False},
            )
