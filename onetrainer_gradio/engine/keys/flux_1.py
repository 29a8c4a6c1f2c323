"""Names of FLUX.1 dev and FLUX.1 Fill dev in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.engine.keys.family_keys import CLIP_LAYERS, T5_LAYERS, EncoderKeys, FamilyKeys, Specification
from onetrainer_gradio.engine.keys.rules import Rule, Swap

_TOP = {
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "proj_out": "final_layer.linear",
    **{
        f"time_text_embed.{ours}_embedder.linear_{number}": f"{native}_in.{layer}_layer"
        for ours, native in (("timestep", "time"), ("text", "vector"), ("guidance", "guidance"))
        for number, layer in ((1, "in"), (2, "out"))
    },
}
_DOUBLE = {
    "attn.qkv": "img_attn.qkv",
    "attn.added_qkv": "txt_attn.qkv",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
}
_SINGLE = {
    "qkv_mlp": "linear1",
    "proj_out": "linear2",
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
    "norm.linear": "modulation.lin",
}
RULES = (
    *(Rule(path, native) for path, native in _TOP.items()),
    Rule("norm_out.linear", "final_layer.adaLN_modulation.1", Swap.ALWAYS),
    *(Rule(f"transformer_blocks.{{}}.{leaf}", f"double_blocks.{{}}.{native}") for leaf, native in _DOUBLE.items()),
    *(Rule(f"single_transformer_blocks.{{}}.{leaf}", f"single_blocks.{{}}.{native}") for leaf, native in _SINGLE.items()),
)
_SPECIFICATIONS = {
    ModelType.FLUX_DEV_1: Specification("Flux.1-dev", "FluxDev 1.0"),
    ModelType.FLUX_FILL_DEV_1: Specification("Flux.1-fill-dev", "FluxDev Fill 1.0"),
}


def family_keys(model_type: ModelType, denoiser: Mapping[str, Any]) -> FamilyKeys:
    """Return the names of a type."""
    return FamilyKeys(
        _SPECIFICATIONS[model_type],
        "transformer",
        RULES,
        {
            "text_encoder": EncoderKeys("lora_te1", "clip_l", "clip_l", CLIP_LAYERS, 768),
            "text_encoder_2": EncoderKeys("lora_te2", "t5xxl", "t5", T5_LAYERS, 4096),
        },
        MODELS[model_type].fusions,
    )
