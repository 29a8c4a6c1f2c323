"""Z-Image."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelFormat, ModelType
from onetrainer_gradio.config.families.facts import (
    LAYERS_AND_REFINER,
    PLAIN_LAYERS,
    SHIFT,
    BaseModel,
    LayerRows,
    LineShift,
    ModelFacts,
    layer_preset,
    sample_values,
    transformer,
)

_LAYERS: LayerRows = (
    (
        "",
        "all_x_embedder.2-1 all_final_layer.2-1.linear all_final_layer.2-1.adaLN_modulation.1 t_embedder.mlp.0 "
        "t_embedder.mlp.2 cap_embedder.1",
    ),
    (
        "noise_refiner.0-1",
        "attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1 feed_forward.w2 "
        "feed_forward.w3 adaLN_modulation.0",
    ),
    (
        "context_refiner.0-1",
        "attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1 feed_forward.w2 feed_forward.w3",
    ),
    (
        "layers.0-29",
        "attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1 feed_forward.w2 "
        "feed_forward.w3 adaLN_modulation.0",
    ),
)

# the refiner layers have the same names as the main ones; the presets omit them
_ATTENTION, _FEED_FORWARD = r"^(?!.*refiner).*attention", r"^(?!.*refiner).*feed_forward"
_PRESETS = {
    "attn-mlp": layer_preset(_ATTENTION, _FEED_FORWARD, regex=True),
    "attn-only": layer_preset(_ATTENTION, regex=True),
    **PLAIN_LAYERS,
}

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.Z_IMAGE,
        "Z-Image",
        _PRESETS,
        base=BaseModel("Tongyi-MAI/Z-Image", 6.15, 3.00),
        sample=sample_values((1024, 1024), 28, 4.0),
        layers=_LAYERS,
        hidden_layers=LAYERS_AND_REFINER,
        abilities=SHIFT,
        train_encoders=False,
        replaceable=("transformer",),
        full=(
            ModelFormat.DIFFUSERS,
            ModelFormat.ORIGINAL_TRANSFORMER,
            ModelFormat.COMFY_TRANSFORMER,
            ModelFormat.LEGACY_SAFETENSORS,
        ),
        dynamic_shift=LineShift(),
        pipelines=("ZImage",),
        folder_only=True,
        drops_captions=False,
    ),
)
