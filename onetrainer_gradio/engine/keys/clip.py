"""The names of CLIP text encoders in single files: those of transformers, and those of OpenCLIP."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from onetrainer_gradio.engine.keys.family_keys import Tensors
from onetrainer_gradio.engine.keys.model_files import joined_by_rule, renamed
from onetrainer_gradio.engine.keys.rules import PathMap, Rule

_OPEN_CLIP_LEAVES = {
    "self_attn.in_proj_weight": "attn.in_proj_weight",
    "self_attn.in_proj_bias": "attn.in_proj_bias",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_OPEN_CLIP = PathMap(
    (
        Rule("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        Rule("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        Rule("text_model.final_layer_norm", "ln_final"),
        Rule("text_projection.weight", "text_projection"),
        *(
            Rule(f"text_model.encoder.layers.{{}}.{leaf}", f"transformer.resblocks.{{}}.{name}")
            for leaf, name in _OPEN_CLIP_LEAVES.items()
        ),
    )
)
_PROJECTIONS = tuple(f"self_attn.{name}_proj" for name in "qkv")
SD2_WIDTH = 1024
"""The projection of OpenCLIP ViT-H, which Stable Diffusion 2 has no use for."""


def clip_tensors(state: Mapping[str, Tensor]) -> Tensors:
    """Return a CLIP text encoder's tensors with the names of older transformers, which have the level ``text_model``."""
    own = ("text_model.", "text_projection.")
    return {name if name.startswith(own) else f"text_model.{name}": tensor for name, tensor in state.items()}


def open_clip_tensors(state: Mapping[str, Tensor]) -> Tensors:
    """Return a CLIP text encoder's tensors with the names of OpenCLIP.

    ``text_projection`` keeps the orientation that it has in transformers, as OneTrainer writes it, although OpenCLIP's is
    transposed. An encoder without projection gets one of ones.
    """
    tensors = clip_tensors(state)
    for part in ("weight", "bias"):
        joined_by_rule(
            tensors,
            "text_model.encoder.layers",
            tuple(f"{leaf}.{part}" for leaf in _PROJECTIONS),
            f"self_attn.in_proj_{part}",
        )
    named = renamed(tensors, _OPEN_CLIP)
    like = named["positional_embedding"]
    if "text_projection" not in named:
        named["text_projection"] = torch.ones((SD2_WIDTH, SD2_WIDTH), dtype=like.dtype)
    named["logit_scale"] = torch.tensor(1, dtype=like.dtype)
    return named


def t5_tensors(state: Mapping[str, Tensor]) -> Tensors:
    """Return a T5 encoder's tensors; its token embeddings are in the file twice, as in the published one."""
    embedding = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    assert embedding is not None
    return {**state, "shared.weight": embedding, "encoder.embed_tokens.weight": embedding.clone()}
