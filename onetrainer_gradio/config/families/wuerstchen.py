"""Wuerstchen v2 and Stable Cascade."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelFormat, ModelType
from onetrainer_gradio.config.families.facts import (
    CLIP_AND_UNET_BLOCKS,
    FULL,
    LORA_FILES,
    LORA_FILES_AND_LEGACY,
    WITH_EMBEDDING,
    BaseModel,
    LayerRows,
    ModelFacts,
    formats,
    layer_preset,
    sample_values,
)

_V2: LayerRows = (
    ("", "projection cond_mapper.0 cond_mapper.2 out.1"),
    ("blocks.0-93/3", "depthwise channelwise.0 channelwise.4"),
    ("blocks.1-94/3", "mapper"),
    ("blocks.2-95/3", "attention.to_q attention.to_k attention.to_v attention.to_out.0 kv_mapper.1"),
)
_CASCADE: LayerRows = (
    (
        "",
        "clip_txt_pooled_mapper clip_txt_mapper clip_img_mapper embedding.1 down_downscalers.1.1.blocks.0 "
        "up_upscalers.0.1.blocks.1 clf.1",
    ),
    ("down_blocks.0.0-21/3", "depthwise channelwise.0 channelwise.4"),
    ("down_blocks.1.0-69/3", "depthwise channelwise.0 channelwise.4"),
    ("down_blocks.0.1-22/3", "mapper mapper_sca mapper_crp"),
    ("down_blocks.1.1-70/3", "mapper mapper_sca mapper_crp"),
    ("down_blocks.0.2-23/3", "attention.to_q attention.to_k attention.to_v attention.to_out.0 kv_mapper.1"),
    ("down_blocks.1.2-71/3", "attention.to_q attention.to_k attention.to_v attention.to_out.0 kv_mapper.1"),
    ("up_blocks.0.0-69/3", "depthwise channelwise.0 channelwise.4"),
    ("up_blocks.1.0-21/3", "depthwise channelwise.0 channelwise.4"),
    ("up_blocks.0.1-70/3", "mapper mapper_sca mapper_crp"),
    ("up_blocks.1.1-22/3", "mapper mapper_sca mapper_crp"),
    ("up_blocks.0.2-71/3", "attention.to_q attention.to_k attention.to_v attention.to_out.0 kv_mapper.1"),
    ("up_blocks.1.2-23/3", "attention.to_q attention.to_k attention.to_v attention.to_out.0 kv_mapper.1"),
)

_PRESETS = {
    "attn-only": layer_preset("attention"),
    "down-blocks": layer_preset("down_blocks"),
    "up-blocks": layer_preset("up_blocks"),
    "mapper-only": layer_preset("mapper"),
    **FULL,
}


def _facts(
    model_type: ModelType,
    label: str,
    parts: tuple[str, ...],
    full: tuple[ModelFormat, ...],
    lora: tuple[ModelFormat, ...],
    replaceable: tuple[str, ...],
    base: BaseModel,
    layers: LayerRows,
    pipeline: str,
) -> ModelFacts:
    return ModelFacts(
        model_type,
        label,
        parts=parts,
        methods=WITH_EMBEDDING,
        formats=formats(WITH_EMBEDDING, full, lora),
        layer_presets=_PRESETS,
        base=base,
        sample=sample_values((1024, 1024), 25, 4.0),
        layers=layers,
        hidden_layers=CLIP_AND_UNET_BLOCKS,
        pipelines=(pipeline,),
        pixel_multiple=128,
        flow=False,
        abilities=frozenset({"layer_skip"}),
        trained=("prior", "text_encoder"),
        replaceable=replaceable,
        apart=("effnet_encoder", "decoder"),
        comfy_encoders=False,
        continuous=True,
    )


MODELS = (
    _facts(
        ModelType.WUERSTCHEN_2,
        "Wuerstchen v2",
        ("prior", "text_encoder", "effnet_encoder", "decoder", "decoder_text_encoder", "decoder_vqgan"),
        (ModelFormat.DIFFUSERS,),
        LORA_FILES,
        ("effnet_encoder", "decoder"),
        BaseModel("warp-ai/wuerstchen-prior", 0.99, 1.14),
        _V2,
        "Wuerstchen",
    ),
    _facts(
        ModelType.STABLE_CASCADE_1,
        "Stable Cascade",
        ("prior", "text_encoder", "effnet_encoder", "decoder", "decoder_vqgan"),
        (ModelFormat.DIFFUSERS, ModelFormat.LEGACY_SAFETENSORS),
        LORA_FILES_AND_LEGACY,
        ("prior", "effnet_encoder", "decoder"),
        BaseModel("stabilityai/stable-cascade-prior", 3.59, 3.59),
        _CASCADE,
        "StableCascade",
    ),
)
