"""Which file formats a trained model can be saved in, by model type and method."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelFormat, ModelType, TrainingMethod

_F = ModelFormat

OUTPUT_FORMATS: dict[tuple[ModelType, TrainingMethod], tuple[ModelFormat, ...]] = {
    (ModelType.STABLE_DIFFUSION_15, TrainingMethod.LORA): (_F.KOHYA_LORA, _F.DIFFUSERS_LORA, _F.LEGACY_LORA),
    (ModelType.STABLE_DIFFUSION_15, TrainingMethod.FINE_TUNE): (_F.DIFFUSERS, _F.ORIGINAL_SINGLE_FILE, _F.LEGACY_SAFETENSORS),
}

# formats that are folders; all others are one .safetensors file
FOLDER_FORMATS = frozenset({ModelFormat.DIFFUSERS})


def output_formats(model_type: ModelType, method: TrainingMethod) -> tuple[ModelFormat, ...]:
    """The formats for a model type and method; empty when they cannot be trained together."""
    return OUTPUT_FORMATS.get((model_type, method), ())
