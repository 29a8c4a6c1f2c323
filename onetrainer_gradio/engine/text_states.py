"""Encode tokens with the text encoders of transformers, and select the hidden states that a model is conditioned on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from onetrainer_gradio.engine.families.family import LoadedModel, Tensors


@dataclass(frozen=True)
class ClipStates:
    """States of a CLIP text encoder.

    ``layer`` counts from the end (1: the last) and moves down by the skipped layers. With ``norm`` the final layer norm is
    applied, which transformers applies to no hidden state.
    """

    layer: int | None = None
    norm: bool = False
    pooled: str = ""
    """The output with the pooled state: ``pooler_output``, or ``text_embeds`` of an encoder with a projection."""

    def __call__(self, module: Any, tokens: Tensors, skip: int) -> Tensors:
        """Return ``hidden`` (B, L, D) if there is a ``layer``, and ``pooled`` (B, P) if it is named."""
        output = module(tokens["tokens"], output_hidden_states=True, return_dict=True)
        states: Tensors = {}
        if self.layer is not None:
            hidden_BLD: Tensor = output.hidden_states[-self.layer - skip]
            if self.norm:
                hidden_BLD = getattr(module, "text_model", module).final_layer_norm(hidden_BLD)
            states["hidden"] = hidden_BLD
        if self.pooled:
            states["pooled"] = output[self.pooled]
        return states


@dataclass(frozen=True)
class T5States:
    """States of a T5 encoder: of the last layer that isn't skipped, normalized. No attention mask is given to it."""

    def __call__(self, module: Any, tokens: Tensors, skip: int) -> Tensors:
        """Return ``hidden`` (B, L, D)."""
        output = module(tokens["tokens"], output_hidden_states=True, return_dict=True)
        hidden_BLD: Tensor = output.hidden_states[-1 - skip]
        if skip > 0:  # the last of T5's hidden states is normalized, the others aren't
            hidden_BLD = module.encoder.final_layer_norm(hidden_BLD)
        return {"hidden": hidden_BLD}


def masked(model: LoadedModel, tensors: Tensors, suffix: str) -> Tensor:
    """Return the hidden states of an encoder, with those of padding set to zero if the denoiser's attention mask is on."""
    hidden_BLD = tensors[f"hidden{suffix}"]
    if not getattr(model.config, model.spec.denoiser).attention_mask:
        return hidden_BLD
    return hidden_BLD * tensors[f"tokens_mask{suffix}"].to(hidden_BLD.device)[..., None]
