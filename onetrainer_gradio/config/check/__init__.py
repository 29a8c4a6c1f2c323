"""Check a configuration before a run: find everything that would fail later, before anything expensive starts.

It reads folders, file names, and the headers of images and model files. It loads no model and needs no torch. What a single
backend doesn't support isn't checked here; each backend reports it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from onetrainer_gradio.config.check import (
    bases,
    batches,
    concepts,
    devices,
    formats,
    intervals,
    layers,
    losses,
    optimizers,
    output,
    parts,
    paths,
    resolution,
    tags,
)
from onetrainer_gradio.config.check.codes import CODES, Code
from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.dataset.reader import ImageSizeReader
from onetrainer_gradio.config.declarations.bounds import out_of_bounds
from onetrainer_gradio.config.declarations.catalog import pattern, title_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import replaced
from onetrainer_gradio.config.files.newer import with_known_names
from onetrainer_gradio.config.files.resolve import LIST_FILES, pack
from onetrainer_gradio.config.machine import Machine
from onetrainer_gradio.errors import ConfigFileError, Finding

__all__ = ["CHECKS", "CODES", "Code", "Plan", "check", "first_per_path"]

_ORDER = {"error": 0, "warning": 1, "note": 2}


def _bounds(plan: Plan) -> Iterator[Finding]:
    for finding in out_of_bounds(plan.config):
        yield found(
            "value-out-of-bounds",
            finding.path,
            finding.message,
            value=finding.value,
            expected=finding.expected,
            suggestion=finding.suggestion,
        )


CHECKS: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
    paths.characters,
    parts.nothing_trained,
    formats.format_for_method,
    formats.original_lora,
    formats.comfy_lora,
    formats.fused_resume,
    output.destination,
    output.protected,
    output.resume,
    output.shared_backups,
    bases.single_file_base,
    bases.base_model,
    bases.pipeline,
    bases.checkpoint_type,
    bases.parts_from_elsewhere,
    bases.adapters,
    bases.embeddings,
    parts.encoder_offload,
    parts.offload_without_checkpointing,
    parts.offload_without_fused_back_pass,
    parts.quantized_and_trained,
    parts.svd_with_gguf,
    parts.gguf_without_file,
    parts.compressed_weights,
    parts.caption_dropout,
    optimizers.fused_kernel,
    optimizers.back_pass_on_several_gpus,
    optimizers.schedule_free_wuerstchen,
    optimizers.custom_scheduler,
    optimizers.custom_scheduler_parameters,
    optimizers.adafactor_scheduler,
    optimizers.rejected_parameters,
    optimizers.one_learning_rate,
    optimizers.muon_layers,
    optimizers.beta3_ema_ignored,
    optimizers.schedule_ignored,
    optimizers.learning_rate,
    layers.pattern_errors,
    layers.nothing_matches,
    layers.partly_fused,
    layers.preset_mismatch,
    losses.weighting,
    losses.no_loss,
    losses.noise_window,
    losses.two_predictions,
    losses.overflow,
    losses.noise_ignored,
    concepts.something_to_learn,
    concepts.folders,
    concepts.skipped_files,
    concepts.broken_images,
    concepts.other_formats,
    concepts.captions,
    concepts.caption_encodings,
    concepts.prior_prediction,
    concepts.validation,
    concepts.masks,
    concepts.conditions,
    concepts.frozen_variations,
    concepts.own_resolution,
    concepts.weightless,
    concepts.small_images,
    tags.slow_patterns,
    batches.too_few_images,
    batches.buckets,
    batches.unread_images,
    resolution.training,
    resolution.frames,
    resolution.samples,
    resolution.sample_files,
    resolution.no_samples,
    intervals.never_due,
    intervals.no_backup,
    intervals.warmup,
    intervals.averaging,
    intervals.accumulation,
    intervals.never_trained,
    devices.exists,
    devices.several,
    devices.training_format,
    devices.weight_formats,
    devices.attention,
    devices.memory,
    paths.misplaced,
    paths.writable,
    output.disk,
    _bounds,
)
"""One function per issue, the specific ones before the general ones."""

ANY_MODEL = frozenset(
    {
        paths.characters,
        concepts.something_to_learn,
        concepts.folders,
        concepts.broken_images,
        concepts.skipped_files,
        concepts.caption_encodings,
        concepts.weightless,
        intervals.never_due,
        intervals.no_backup,
        intervals.averaging,
        devices.exists,
        layers.pattern_errors,
        tags.slow_patterns,
        output.protected,
        paths.misplaced,
        paths.writable,
        _bounds,
    }
)
"""The checks that need no facts about the model. Only these run for a model type that only a newer OneTrainer supports."""


def check(
    config: TrainConfig,
    *,
    base_folder: Path,
    roots: Iterable[Path] = (),
    machine: Machine | None = None,
    reader: ImageSizeReader | None = None,
    backend: str = "",
    checkout: str = "",
) -> tuple[Finding, ...]:
    """Return everything that is wrong with a configuration, or worth knowing, errors first.

    Relative paths start at ``base_folder``. If ``roots`` is given, paths outside of it are errors. ``machine`` is the one to
    train on (None: this one). ``reader`` caches image sizes between checks and limits the time spent on them. ``backend``
    trains (empty: unknown), with the OneTrainer in ``checkout`` if that isn't empty.
    """
    allowed = tuple(Path(root).resolve() for root in roots)
    packed, unread = _packed(config, base_folder, allowed)
    reader = reader or ImageSizeReader()
    reader.rescan()
    plan = Plan(with_known_names(packed), base_folder, allowed, machine or Machine.here(), reader, backend, checkout)
    familiar = config.model_type.known and config.training_method.known and config.output_model_format.known
    wanted = [examine for examine in CHECKS if familiar or examine in ANY_MODEL]
    outside = tuple(paths.inside_roots(plan))
    if outside:
        plan = replace(plan, config=_without(plan.config, outside))
        hidden = any(pattern(finding.path) == "concepts[].path" for finding in outside)
        wanted = [examine for examine in wanted if not (hidden and examine.__module__ in _ABOUT_IMAGES)]
    findings = first_per_path([*unread, *outside, *(finding for examine in wanted for finding in examine(plan))])
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))


def _without(config: TrainConfig, outside: Iterable[Finding]) -> TrainConfig:
    """Return the configuration without the paths outside the allowed folders, so that no other check shows their contents."""
    return replaced(config, {finding.path: "" for finding in outside})


_ABOUT_IMAGES = frozenset(module.__name__ for module in (concepts, batches, intervals))
"""Checks that count images. Without the images of a concept, they would find too few."""


def _packed(config: TrainConfig, base_folder: Path, roots: tuple[Path, ...]) -> tuple[TrainConfig, list[Finding]]:
    """Return the configuration with its concepts and samples included, and findings for their files that can't be read."""
    problems = []
    for name, file_setting in LIST_FILES.items():
        if getattr(config, name) is not None:
            continue
        others = {other: () for other in LIST_FILES if other != name and getattr(config, other) is None}
        try:
            packed = pack(config.model_copy(update=others), base_folder, roots)
            config = config.model_copy(update={name: getattr(packed, name)})
        except ConfigFileError as error:
            value = getattr(config, file_setting)
            expected, suggestion = "a JSON file with a list", f"Choose another file for {title_of(file_setting)}."
            problems.append(
                found("list-file", file_setting, str(error.message), value=value, expected=expected, suggestion=suggestion)
            )
            config = config.model_copy(update={name: ()})
    return config, problems


def first_per_path(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without errors that repeat an earlier one for the same setting. Specific checks come first."""
    seen: set[str] = set()
    kept = []
    for finding in findings:
        if finding.severity != "error" or finding.path not in seen:
            kept.append(finding)
        if finding.severity == "error":
            seen.add(finding.path)
    return kept
