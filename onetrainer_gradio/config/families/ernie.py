"""ERNIE-Image."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
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
        "x_embedder.proj text_proj time_embedding.linear_1 time_embedding.linear_2 adaLN_modulation.1 "
        "final_norm.linear final_linear",
    ),
    (
        "layers.0-23",
        "self_attention.to_q self_attention.to_k self_attention.to_v self_attention.to_out.0 mlp.gate_proj "
        "mlp.up_proj mlp.linear_fc2",
    ),
)

_PRESETS = {
    "attn-mlp": layer_preset("self_attention", "mlp"),
    "attn-only": layer_preset("self_attention"),
    **PLAIN_LAYERS,
}

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.ERNIE,
        "Ernie Image",
        _PRESETS,
        base=BaseModel("baidu/ERNIE-Image", 8.0, 2.9),
        sample=sample_values((1024, 1024), 25, 4.0),
        layers=_LAYERS,
        hidden_layers=LAYERS_AND_REFINER,
        abilities=SHIFT,
        train_encoders=False,
        replaceable=("transformer",),
        dynamic_shift=LineShift(),
        pipelines=("ErnieImage",),
        exact=False,
        folder_only=True,
        drops_captions=False,
    ),
)
