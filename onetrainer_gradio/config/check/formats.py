"""Checks whether the output format suits the model type, the training method and the trained components."""

from __future__ import annotations

from collections.abc import Iterator

from onetrainer_gradio.config.check.backups import last_backup, lora_keys, setting_of
from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of, names_of
from onetrainer_gradio.config.enums import ModelFormat, ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import FOLDER_FORMATS, MODELS, UNFAMILIAR, output_formats
from onetrainer_gradio.errors import Finding

# Formats that store query, key and value of a fused layer as one.
FUSED_FORMATS = frozenset({ModelFormat.KOHYA_LORA, ModelFormat.ORIGINAL_LORA, ModelFormat.COMFY_LORA})


def default_format(model_type: ModelType, method: TrainingMethod, *, single_file: bool) -> ModelFormat:
    """Return the format that most programs read, as a file if ``single_file``."""
    allowed = output_formats(model_type, method)
    if method is TrainingMethod.LORA:
        kohya = model_type.value.startswith("STABLE_DIFFUSION") and not MODELS.get(model_type, UNFAMILIAR).fusions
        return ModelFormat.KOHYA_LORA if kohya else ModelFormat.DIFFUSERS_LORA
    wanted = [item for item in allowed if (item not in FOLDER_FORMATS) == single_file]
    return (wanted or list(allowed))[0]


def format_for_method(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the output format, or the training method, isn't available for the model type."""
    config = plan.config
    method, chosen = config.training_method, config.output_model_format
    allowed = output_formats(config.model_type, method)
    if not allowed:
        methods = plan.facts.methods
        better = default_format(config.model_type, TrainingMethod.LORA, single_file=True).value
        yield found(
            "method-for-type",
            "training_method",
            f"{title_of('training_method')} {name_of(method)} isn't supported for {plan.facts.label}",
            value=method.value,
            expected=names_of(methods),
            suggestion=f"Set {title_of('training_method')} to {name_of(TrainingMethod.LORA)}, or choose another model type.",
            fix={"training_method": TrainingMethod.LORA.value, "output_model_format": better},
        )
    elif chosen not in allowed:
        code = "legacy-lora" if chosen is ModelFormat.LEGACY_LORA and method is TrainingMethod.LORA else "format-for-method"
        file = config.output_model_destination.endswith(".safetensors")
        better = default_format(config.model_type, method, single_file=file)
        yield found(
            code,
            "output_model_format",
            f"{title_of('output_model_format')} {name_of(chosen)} isn't available for {name_of(method)} with {plan.facts.label}",
            value=chosen.value,
            expected=names_of(allowed),
            suggestion=f"Set {title_of('output_model_format')} to {name_of(better)}.",
            fix={"output_model_format": better.value},
        )


def original_lora(plan: Plan) -> Iterator[Finding]:
    """Yield an error if more than the denoiser is trained and the LoRA format stores only the denoiser."""
    if not _is_lora(plan, ModelFormat.ORIGINAL_LORA):
        return
    others = [f"the {plan.called(name)}" for name in plan.trained if name != plan.denoiser]
    if plan.config.bundle_additional_embeddings and plan.config.additional_embeddings:
        others.append("the bundled embeddings")
    if others:
        yield _other_format(
            plan,
            "original-lora-parts",
            f"{title_of('output_model_format')} {name_of(ModelFormat.ORIGINAL_LORA)} can't store {' and '.join(others)}",
        )


def comfy_lora(plan: Plan) -> Iterator[Finding]:
    """Yield an error if ComfyUI has no key names for a trained text encoder: it would drop it silently."""
    encoders = [name for name in plan.trained if name in plan.facts.encoders]
    if _is_lora(plan, ModelFormat.COMFY_LORA) and encoders and not plan.facts.comfy_encoders:
        message = (
            f"{title_of('output_model_format')} {name_of(ModelFormat.COMFY_LORA)} can't store the trained text "
            f"encoder of {plan.facts.label}"
        )
        yield _other_format(plan, "comfy-lora-encoder", message)


def _is_lora(plan: Plan, chosen: ModelFormat) -> bool:
    return plan.config.training_method is TrainingMethod.LORA and plan.config.output_model_format is chosen


def _other_format(plan: Plan, code: str, message: str) -> Finding:
    better = default_format(plan.config.model_type, TrainingMethod.LORA, single_file=True)
    return found(
        code,
        "output_model_format",
        message,
        value=plan.config.output_model_format.value,
        expected="a format that stores every trained component",
        suggestion=f"Set {title_of('output_model_format')} to {name_of(better)}, or train only the {plan.called(plan.denoiser)}.",
        fix={"output_model_format": better.value},
    )


def fused_resume(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the LoRA to continue from stores query, key and value fused and the format separately, or the reverse."""
    config = plan.config
    if config.training_method is not TrainingMethod.LORA or not plan.facts.fusions:
        return
    wanted = config.output_model_format in FUSED_FORMATS
    backup = last_backup(plan) if config.continue_last_backup else None
    place, name = ("the backup", "continue_last_backup") if backup else (config.lora_model_name, "lora_model_name")
    fused = _is_fused(plan, lora_keys(backup / "lora" / "lora.safetensors" if backup else plan.path(place or "-")))
    if fused is None or fused == wanted:
        return
    old = setting_of(backup, "output_model_format") if backup else None
    allowed = [item for item in output_formats(config.model_type, TrainingMethod.LORA) if (item in FUSED_FORMATS) == fused]
    better = next((item for item in allowed if item.value == old), allowed[0])
    kinds = ("fused", "separate") if fused else ("separate", "fused")
    yield found(
        "resume-fused",
        "output_model_format",
        f"The LoRA in {place} has {kinds[0]} query, key and value layers, but {title_of('output_model_format')} "
        f"{name_of(config.output_model_format)} requires {kinds[1]} ones",
        value=config.output_model_format.value,
        expected=names_of(allowed),
        suggestion=f"Set {title_of('output_model_format')} to {name_of(better)}, or "
        + (f"turn off {title_of(name)}." if backup else f"clear {title_of(name)}."),
        fix={"output_model_format": better.value},
    )


def _is_fused(plan: Plan, keys: tuple[str, ...]) -> bool | None:
    """Return whether the layers of a LoRA are fused; None if its keys don't show it."""
    fusions = plan.facts.fusions
    leaves = {leaf.replace(".", separator) for fusion in fusions for leaf in fusion.leaves for separator in "._"}
    if any(f"{leaf}." in key for key in keys for leaf in leaves if leaf != "proj_mlp"):
        return False
    if any(mark in key for key in keys for mark in ("qkv", "linear1", "kv_linear", ".kv.")):
        return True
    return None
