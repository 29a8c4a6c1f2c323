"""Format of the finished file: does it go with the model type, the method and what is trained."""

from __future__ import annotations

from collections.abc import Iterator

from onetrainer_gradio.config.check.backups import last_backup, lora_keys, setting_of
from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.enums import ModelFormat, ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import FOLDER_FORMATS, MODELS, UNFAMILIAR, output_formats
from onetrainer_gradio.errors import Finding

# Formats that store query, key and value of a fused layer as one.
FUSED_FORMATS = frozenset({ModelFormat.KOHYA_LORA, ModelFormat.ORIGINAL_LORA, ModelFormat.COMFY_LORA})


def usual_format(model_type: ModelType, method: TrainingMethod, *, single_file: bool) -> ModelFormat:
    """The format that most people want: what most programs read, as a file where a file is asked for."""
    allowed = output_formats(model_type, method)
    if method is TrainingMethod.LORA:
        kohya = model_type.value.startswith("STABLE_DIFFUSION") and not MODELS.get(model_type, UNFAMILIAR).fusions
        return ModelFormat.KOHYA_LORA if kohya else ModelFormat.DIFFUSERS_LORA
    wanted = [item for item in allowed if (item not in FOLDER_FORMATS) == single_file]
    return (wanted or list(allowed))[0]


def format_for_method(plan: Plan) -> Iterator[Finding]:
    """Every method of every type has its own formats."""
    config = plan.config
    method, chosen = config.training_method, config.output_model_format
    allowed = output_formats(config.model_type, method)
    if not allowed:
        methods = plan.facts.methods
        better = usual_format(config.model_type, TrainingMethod.LORA, single_file=True).value
        yield found(
            "method-for-type",
            "training_method",
            f"{plan.facts.label} cannot be trained with {method.value}",
            value=method.value,
            expected="one of " + ", ".join(item.value for item in methods),
            suggestion="Choose LORA, or another model type.",
            fix={"training_method": TrainingMethod.LORA.value, "output_model_format": better},
        )
    elif chosen not in allowed:
        code = "legacy-lora" if chosen is ModelFormat.LEGACY_LORA and method is TrainingMethod.LORA else "format-for-method"
        file = config.output_model_destination.endswith(".safetensors")
        better = usual_format(config.model_type, method, single_file=file).value
        yield found(
            code,
            "output_model_format",
            f"{chosen.value} is no format for {method.value} with {plan.facts.label}",
            value=chosen.value,
            expected="one of " + ", ".join(item.value for item in allowed),
            suggestion=f"Choose {better}.",
            fix={"output_model_format": better},
        )


def original_lora(plan: Plan) -> Iterator[Finding]:
    """The ORIGINAL layout of an adapter has room for the denoiser only."""
    if not _is_lora(plan, ModelFormat.ORIGINAL_LORA):
        return
    others = [f"the {plan.called(name)}" for name in plan.trained if name != plan.denoiser]
    if plan.config.bundle_additional_embeddings and plan.config.additional_embeddings:
        others.append("the bundled embeddings")
    if others:
        yield _other_format(plan, "original-lora-parts", f"ORIGINAL_LORA has no room for {' and '.join(others)}")


def comfy_lora(plan: Plan) -> Iterator[Finding]:
    """What ComfyUI cannot name it would drop without a word."""
    encoders = [name for name in plan.trained if name in plan.facts.encoders]
    if _is_lora(plan, ModelFormat.COMFY_LORA) and encoders and not plan.facts.comfy_encoders:
        message = f"COMFY_LORA has no name for the trained text encoder of {plan.facts.label}"
        yield _other_format(plan, "comfy-lora-encoder", message)


def _is_lora(plan: Plan, chosen: ModelFormat) -> bool:
    return plan.config.training_method is TrainingMethod.LORA and plan.config.output_model_format is chosen


def _other_format(plan: Plan, code: str, message: str) -> Finding:
    better = usual_format(plan.config.model_type, TrainingMethod.LORA, single_file=True).value
    return found(
        code,
        "output_model_format",
        message,
        value=plan.config.output_model_format.value,
        expected="a format with room for every part that is trained",
        suggestion=f"Choose {better}, or train the {plan.called(plan.denoiser)} alone.",
        fix={"output_model_format": better},
    )


def fused_resume(plan: Plan) -> Iterator[Finding]:
    """An adapter with query, key and value apart cannot go on as a fused one, nor the reverse."""
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
    better = str(old) if old in [item.value for item in allowed] else allowed[0].value
    kinds = ("fused", "apart") if fused else ("apart", "fused")
    yield found(
        "resume-fused",
        "output_model_format",
        f"The adapter in {place} keeps query, key and value {kinds[0]}; {config.output_model_format.value} needs them {kinds[1]}",
        value=config.output_model_format.value,
        expected="one of " + ", ".join(item.value for item in allowed),
        suggestion=f"Choose {better}, or start anew without {name}.",
        fix={"output_model_format": better},
    )


def _is_fused(plan: Plan, keys: tuple[str, ...]) -> bool | None:
    """Whether an adapter's layers are fused; None when nothing in it tells."""
    fusions = plan.facts.fusions
    leaves = {leaf.replace(".", separator) for fusion in fusions for leaf in fusion.leaves for separator in "._"}
    if any(f"{leaf}." in key for key in keys for leaf in leaves if leaf != "proj_mlp"):
        return False
    if any(mark in key for key in keys for mark in ("qkv", "linear1", "kv_linear", ".kv.")):
        return True
    return None
