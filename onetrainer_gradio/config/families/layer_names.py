"""Names of the layers of each denoiser that an adapter can take hold of, without torch.

They answer what a layer filter matches before the model is loaded. The names are those of the diffusers library's classes in
their published sizes; where a family comes in several sizes (FLUX.2, ERNIE-Image), the number of blocks may differ from a given
model's, the names do not. ``docs/preflight.md`` says how the table was made; a test compares it with diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from onetrainer_gradio.config.enums import ModelType

_T = ModelType
_INDEX = re.compile(r"(\d+)-(\d+)(?:/(\d+))?")

# family -> rows of (block, leaves): "3-5" in a block stands for 3, 4 and 5, "0-6/3" for every third.
_ROWS: dict[str, tuple[tuple[str, str], ...]] = {
    "sd": (
        ("", "conv_in time_embedding.linear_1 time_embedding.linear_2 conv_out"),
        ("down_blocks.0-2.attentions.0-1", "proj_in proj_out"),
        (
            "down_blocks.0-2.attentions.0-1.transformer_blocks.0",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        ("down_blocks.0.resnets.0-1", "conv1 time_emb_proj conv2"),
        ("down_blocks.3.resnets.0-1", "conv1 time_emb_proj conv2"),
        ("down_blocks.1-2.resnets.1", "conv1 time_emb_proj conv2"),
        ("down_blocks.0-2.downsamplers.0", "conv"),
        ("down_blocks.1-2.resnets.0", "conv1 time_emb_proj conv2 conv_shortcut"),
        ("up_blocks.0-3.resnets.0-2", "conv1 time_emb_proj conv2 conv_shortcut"),
        ("up_blocks.0-2.upsamplers.0", "conv"),
        ("up_blocks.1-3.attentions.0-2", "proj_in proj_out"),
        (
            "up_blocks.1-3.attentions.0-2.transformer_blocks.0",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        ("mid_block.attentions.0", "proj_in proj_out"),
        (
            "mid_block.attentions.0.transformer_blocks.0",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        ("mid_block.resnets.0-1", "conv1 time_emb_proj conv2"),
    ),
    "sdxl": (
        ("", "conv_in time_embedding.linear_1 time_embedding.linear_2 add_embedding.linear_1 add_embedding.linear_2 conv_out"),
        ("down_blocks.0.resnets.0-1", "conv1 time_emb_proj conv2"),
        ("down_blocks.1-2.resnets.1", "conv1 time_emb_proj conv2"),
        ("down_blocks.0-1.downsamplers.0", "conv"),
        ("down_blocks.1-2.attentions.0-1", "proj_in proj_out"),
        (
            "down_blocks.1.attentions.0-1.transformer_blocks.0-1",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        (
            "down_blocks.2.attentions.0-1.transformer_blocks.0-9",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        ("down_blocks.1-2.resnets.0", "conv1 time_emb_proj conv2 conv_shortcut"),
        ("up_blocks.0-1.attentions.0-2", "proj_in proj_out"),
        (
            "up_blocks.0.attentions.0-2.transformer_blocks.0-9",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        (
            "up_blocks.1.attentions.0-2.transformer_blocks.0-1",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        ("up_blocks.0-2.resnets.0-2", "conv1 time_emb_proj conv2 conv_shortcut"),
        ("up_blocks.0-1.upsamplers.0", "conv"),
        ("mid_block.attentions.0", "proj_in proj_out"),
        (
            "mid_block.attentions.0.transformer_blocks.0-9",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
        ("mid_block.resnets.0-1", "conv1 time_emb_proj conv2"),
    ),
    "sd3": (
        (
            "",
            "pos_embed.proj time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
            "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 context_embedder "
            "norm_out.linear proj_out",
        ),
        (
            "transformer_blocks.0-22",
            "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
            "attn.add_q_proj attn.to_out.0 attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
        ),
        (
            "transformer_blocks.23",
            "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
            "attn.add_q_proj attn.to_out.0 ff.net.0.proj ff.net.2",
        ),
    ),
    "sd35": (
        (
            "",
            "pos_embed.proj time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
            "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 context_embedder "
            "norm_out.linear proj_out",
        ),
        (
            "transformer_blocks.0-36",
            "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
            "attn.add_q_proj attn.to_out.0 attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
        ),
        (
            "transformer_blocks.37",
            "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
            "attn.add_q_proj attn.to_out.0 ff.net.0.proj ff.net.2",
        ),
    ),
    "pixart_alpha": (
        (
            "",
            "pos_embed.proj proj_out adaln_single.emb.timestep_embedder.linear_1 "
            "adaln_single.emb.timestep_embedder.linear_2 adaln_single.emb.resolution_embedder.linear_1 "
            "adaln_single.emb.resolution_embedder.linear_2 adaln_single.emb.aspect_ratio_embedder.linear_1 "
            "adaln_single.emb.aspect_ratio_embedder.linear_2 adaln_single.linear caption_projection.linear_1 "
            "caption_projection.linear_2",
        ),
        (
            "transformer_blocks.0-27",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
    ),
    "pixart_sigma": (
        (
            "",
            "pos_embed.proj proj_out adaln_single.emb.timestep_embedder.linear_1 "
            "adaln_single.emb.timestep_embedder.linear_2 adaln_single.linear caption_projection.linear_1 "
            "caption_projection.linear_2",
        ),
        (
            "transformer_blocks.0-27",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.net.0.proj ff.net.2",
        ),
    ),
    "flux": (
        (
            "",
            "time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
            "time_text_embed.guidance_embedder.linear_1 time_text_embed.guidance_embedder.linear_2 "
            "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 context_embedder x_embedder "
            "norm_out.linear proj_out",
        ),
        (
            "transformer_blocks.0-18",
            "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj "
            "attn.add_k_proj attn.add_v_proj attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj "
            "ff_context.net.2",
        ),
        ("single_transformer_blocks.0-37", "norm.linear proj_mlp proj_out attn.to_q attn.to_k attn.to_v"),
    ),
    "flux2": (
        (
            "",
            "time_guidance_embed.timestep_embedder.linear_1 time_guidance_embed.timestep_embedder.linear_2 "
            "double_stream_modulation_img.linear double_stream_modulation_txt.linear single_stream_modulation.linear "
            "x_embedder context_embedder norm_out.linear proj_out",
        ),
        (
            "transformer_blocks.0-7",
            "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
            "ff.linear_in ff.linear_out ff_context.linear_in ff_context.linear_out",
        ),
        ("single_transformer_blocks.0-23", "attn.to_qkv_mlp_proj attn.to_out"),
    ),
    "flux2dev": (
        (
            "",
            "time_guidance_embed.timestep_embedder.linear_1 time_guidance_embed.timestep_embedder.linear_2 "
            "time_guidance_embed.guidance_embedder.linear_1 time_guidance_embed.guidance_embedder.linear_2 "
            "double_stream_modulation_img.linear double_stream_modulation_txt.linear single_stream_modulation.linear "
            "x_embedder context_embedder norm_out.linear proj_out",
        ),
        (
            "transformer_blocks.0-7",
            "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
            "ff.linear_in ff.linear_out ff_context.linear_in ff_context.linear_out",
        ),
        ("single_transformer_blocks.0-47", "attn.to_qkv_mlp_proj attn.to_out"),
    ),
    "sana": (
        (
            "",
            "patch_embed.proj time_embed.emb.timestep_embedder.linear_1 time_embed.emb.timestep_embedder.linear_2 "
            "time_embed.linear caption_projection.linear_1 caption_projection.linear_2 proj_out",
        ),
        (
            "transformer_blocks.0-19",
            "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
            "ff.conv_inverted ff.conv_depth ff.conv_point",
        ),
    ),
    "hunyuan": (
        (
            "",
            "context_embedder.time_text_embed.timestep_embedder.linear_1 "
            "context_embedder.time_text_embed.timestep_embedder.linear_2 "
            "context_embedder.time_text_embed.text_embedder.linear_1 "
            "context_embedder.time_text_embed.text_embedder.linear_2 context_embedder.proj_in "
            "time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
            "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 "
            "time_text_embed.guidance_embedder.linear_1 time_text_embed.guidance_embedder.linear_2 norm_out.linear "
            "proj_out",
        ),
        (
            "context_embedder.token_refiner.refiner_blocks.0-1",
            "attn.to_q attn.to_k attn.to_v attn.to_out.0 ff.net.0.proj ff.net.2 norm_out.linear",
        ),
        (
            "transformer_blocks.0-19",
            "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
            "attn.add_q_proj attn.to_out.0 attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
        ),
        ("single_transformer_blocks.0-39", "attn.to_q attn.to_k attn.to_v norm.linear proj_mlp proj_out"),
    ),
    "hidream": (
        (
            "",
            "t_embedder.timestep_embedder.linear_1 t_embedder.timestep_embedder.linear_2 "
            "p_embedder.pooled_embedder.linear_1 p_embedder.pooled_embedder.linear_2 x_embedder.proj final_layer.linear "
            "final_layer.adaLN_modulation.1",
        ),
        (
            "double_stream_blocks.0-15",
            "block.adaLN_modulation.1 block.attn1.to_q block.attn1.to_k block.attn1.to_v block.attn1.to_out "
            "block.attn1.to_q_t block.attn1.to_k_t block.attn1.to_v_t block.attn1.to_out_t block.ff_i.shared_experts.w1 "
            "block.ff_i.shared_experts.w2 block.ff_i.shared_experts.w3 block.ff_t.w1 block.ff_t.w2 block.ff_t.w3",
        ),
        ("double_stream_blocks.0-15.block.ff_i.experts.0-3", "w1 w2 w3"),
        (
            "single_stream_blocks.0-31",
            "block.adaLN_modulation.1 block.attn1.to_q block.attn1.to_k block.attn1.to_v block.attn1.to_out "
            "block.ff_i.shared_experts.w1 block.ff_i.shared_experts.w2 block.ff_i.shared_experts.w3",
        ),
        ("single_stream_blocks.0-31.block.ff_i.experts.0-3", "w1 w2 w3"),
        ("caption_projection.0-48", "linear"),
    ),
    "chroma": (
        ("", "distilled_guidance_layer.in_proj distilled_guidance_layer.out_proj context_embedder x_embedder proj_out"),
        ("distilled_guidance_layer.layers.0-4", "linear_1 linear_2"),
        (
            "transformer_blocks.0-18",
            "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
            "ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
        ),
        ("single_transformer_blocks.0-37", "proj_mlp proj_out attn.to_q attn.to_k attn.to_v"),
    ),
    "qwen": (
        (
            "",
            "time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 img_in txt_in "
            "norm_out.linear proj_out",
        ),
        (
            "transformer_blocks.0-59",
            "img_mod.1 attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj attn.add_q_proj attn.to_out.0 "
            "attn.to_add_out img_mlp.net.0.proj img_mlp.net.2 txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2",
        ),
    ),
    "anima": (
        (
            "",
            "patch_embed.proj time_embed.t_embedder.linear_1 time_embed.t_embedder.linear_2 norm_out.linear_1 "
            "norm_out.linear_2 proj_out",
        ),
        (
            "transformer_blocks.0-27",
            "norm1.linear_1 norm1.linear_2 attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 norm2.linear_1 norm2.linear_2 "
            "attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 norm3.linear_1 norm3.linear_2 ff.net.0.proj ff.net.2",
        ),
    ),
    "krea2": (
        (
            "",
            "img_in time_embed.linear_1 time_embed.linear_2 time_mod_proj text_fusion.projector txt_in.linear_1 "
            "txt_in.linear_2 final_layer.linear",
        ),
        ("text_fusion.layerwise_blocks.0-1", "attn.to_q attn.to_k attn.to_v attn.to_gate attn.to_out.0 ff.gate ff.up ff.down"),
        ("text_fusion.refiner_blocks.0-1", "attn.to_q attn.to_k attn.to_v attn.to_gate attn.to_out.0 ff.gate ff.up ff.down"),
        ("transformer_blocks.0-27", "attn.to_q attn.to_k attn.to_v attn.to_gate attn.to_out.0 ff.gate ff.up ff.down"),
    ),
    "z_image": (
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
    ),
    "ernie": (
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
    ),
    "ideogram": (
        (
            "",
            "input_proj llm_cond_proj t_embedding.mlp_in t_embedding.mlp_out adaln_proj final_layer.linear "
            "final_layer.adaln_modulation",
        ),
        (
            "layers.0-33",
            "attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1 feed_forward.w2 "
            "feed_forward.w3 adaln_modulation",
        ),
    ),
    "cascade": (
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
    ),
    "wuerstchen": (
        ("", "projection cond_mapper.0 cond_mapper.2 out.1"),
        ("blocks.0-93/3", "depthwise channelwise.0 channelwise.4"),
        ("blocks.1-94/3", "mapper"),
        ("blocks.2-95/3", "attention.to_q attention.to_k attention.to_v attention.to_out.0 kv_mapper.1"),
    ),
}

_FAMILY: dict[ModelType, str] = {
    _T.STABLE_DIFFUSION_15: "sd",
    _T.STABLE_DIFFUSION_15_INPAINTING: "sd",
    _T.STABLE_DIFFUSION_20: "sd",
    _T.STABLE_DIFFUSION_20_BASE: "sd",
    _T.STABLE_DIFFUSION_20_INPAINTING: "sd",
    _T.STABLE_DIFFUSION_20_DEPTH: "sd",
    _T.STABLE_DIFFUSION_21: "sd",
    _T.STABLE_DIFFUSION_21_BASE: "sd",
    _T.STABLE_DIFFUSION_3: "sd3",
    _T.STABLE_DIFFUSION_35: "sd35",
    _T.STABLE_DIFFUSION_XL_10_BASE: "sdxl",
    _T.STABLE_DIFFUSION_XL_10_BASE_INPAINTING: "sdxl",
    _T.WUERSTCHEN_2: "wuerstchen",
    _T.STABLE_CASCADE_1: "cascade",
    _T.PIXART_ALPHA: "pixart_alpha",
    _T.PIXART_SIGMA: "pixart_sigma",
    _T.FLUX_DEV_1: "flux",
    _T.FLUX_FILL_DEV_1: "flux",
    _T.FLUX_2: "flux2",
    _T.SANA: "sana",
    _T.HUNYUAN_VIDEO: "hunyuan",
    _T.HI_DREAM_FULL: "hidream",
    _T.CHROMA_1: "chroma",
    _T.QWEN: "qwen",
    _T.ANIMA: "anima",
    _T.KREA_2: "krea2",
    _T.Z_IMAGE: "z_image",
    _T.ERNIE: "ernie",
    _T.IDEOGRAM_4: "ideogram",
}


@dataclass(frozen=True)
class Fusion:
    """Projections of one block that some adapter formats store as one: all of them are trained, or none."""

    block: str
    leaves: tuple[str, ...]


_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_ADDED_QKV = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_JOINT = (Fusion("transformer_blocks", _QKV), Fusion("transformer_blocks", _ADDED_QKV))
_FLUX = (*_JOINT, Fusion("single_transformer_blocks", (*_QKV, "proj_mlp")))
_SD3 = (*_JOINT, Fusion("transformer_blocks", ("attn2.to_q", "attn2.to_k", "attn2.to_v")))
_PIXART = (
    Fusion("transformer_blocks", ("attn1.to_q", "attn1.to_k", "attn1.to_v")),
    Fusion("transformer_blocks", ("attn2.to_k", "attn2.to_v")),
)
_HUNYUAN = (Fusion("context_embedder.token_refiner.refiner_blocks", _QKV), *_FLUX)

FUSIONS: dict[ModelType, tuple[Fusion, ...]] = {
    _T.STABLE_DIFFUSION_3: _SD3,
    _T.STABLE_DIFFUSION_35: _SD3,
    _T.PIXART_ALPHA: _PIXART,
    _T.PIXART_SIGMA: _PIXART,
    _T.FLUX_DEV_1: _FLUX,
    _T.FLUX_FILL_DEV_1: _FLUX,
    _T.FLUX_2: _JOINT,
    _T.HUNYUAN_VIDEO: _HUNYUAN,
    _T.CHROMA_1: _FLUX,
    _T.IDEOGRAM_4: (Fusion("layers", ("attention.to_q", "attention.to_k", "attention.to_v")),),
}
"""What the formats with fused projections (KOHYA, ORIGINAL, COMFY) put together; a type that is missing keeps them apart."""


@lru_cache(maxsize=len(_ROWS))
def _names(family: str) -> tuple[str, ...]:
    return tuple(name for block, leaves in _ROWS[family] for name in _expanded(block, leaves.split()))


def _expanded(block: str, leaves: Sequence[str]) -> Iterator[str]:
    parts = [_numbers(part) for part in block.split(".")] if block else []
    for places in product(*parts):
        for leaf in leaves:
            yield ".".join((*places, leaf))


def _numbers(part: str) -> tuple[str, ...]:
    found = _INDEX.fullmatch(part)
    if not found:
        return (part,)
    first, last, step = found.groups()
    return tuple(str(number) for number in range(int(first), int(last) + 1, int(step or 1)))


def layer_names(model_type: ModelType) -> tuple[str, ...]:
    """The linear and convolution layers of the type's denoiser, in the order of the model."""
    return _names(_FAMILY[model_type])
