"""Map the tensor names of diffusers to those of the original Stable Diffusion checkpoint.

The names are facts of the published checkpoints; the tables below map one to the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer."

_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def unet_blocks(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the module prefixes of diffusers' UNet -> those of the original, longest first."""
    layers = config["layers_per_block"]
    count = len(config["block_out_channels"])
    table: dict[str, str] = {}
    for block in range(count):
        for layer in range(layers):
            place = (layers + 1) * block + layer + 1
            table[f"down_blocks.{block}.resnets.{layer}"] = f"input_blocks.{place}.0"
            table[f"down_blocks.{block}.attentions.{layer}"] = f"input_blocks.{place}.1"
        table[f"down_blocks.{block}.downsamplers.0.conv"] = f"input_blocks.{(layers + 1) * (block + 1)}.0.op"
        attends = "CrossAttn" in config["up_block_types"][block]
        for layer in range(layers + 1):
            place = (layers + 1) * block + layer
            table[f"up_blocks.{block}.resnets.{layer}"] = f"output_blocks.{place}.0"
            table[f"up_blocks.{block}.attentions.{layer}"] = f"output_blocks.{place}.1"
        last = (layers + 1) * block + layers
        table[f"up_blocks.{block}.upsamplers.0.conv"] = f"output_blocks.{last}.{2 if attends else 1}.conv"
    table |= {
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    return table | _UNET_ENDS


def unet_name(name: str, blocks: Mapping[str, str]) -> str:
    """Return the original name of a module or tensor of the UNet (without the prefix of the checkpoint)."""
    for ours, original in blocks.items():
        if name == ours or name.startswith(ours + "."):
            rest = name[len(ours) :]
            return original + (_renamed(rest, _UNET_RESNET) if ".resnets." in ours else rest)
    raise KeyError(name)


def vae_name(name: str, blocks: int) -> str:
    """Return the original name of a tensor of the VAE (without the prefix of the checkpoint)."""
    side, _, rest = name.partition(".")
    if side not in ("encoder", "decoder"):
        return name  # quant_conv and post_quant_conv
    words = rest.split(".")
    if words[0] == "down_blocks":
        level, kind, place = words[1], words[2], words[3]
        rest = f"down.{level}.block.{place}." if kind == "resnets" else f"down.{level}.downsample."
        rest += ".".join(words[4:])
    elif words[0] == "up_blocks":
        # the original counts the decoder's levels from the image down
        level, kind, place = str(blocks - 1 - int(words[1])), words[2], words[3]
        rest = f"up.{level}.block.{place}." if kind == "resnets" else f"up.{level}.upsample."
        rest += ".".join(words[4:])
    elif words[0] == "mid_block":
        if words[1] == "attentions":
            rest = "mid.attn_1" + _renamed("." + ".".join(words[3:]), _VAE_ATTENTION)
        else:
            rest = f"mid.block_{int(words[2]) + 1}." + ".".join(words[3:])
    rest = rest.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    return f"{side}.{rest}"


def _renamed(rest: str, leaves: Mapping[str, str]) -> str:
    for ours, original in leaves.items():
        if rest.startswith(f".{ours}.") or rest == f".{ours}":
            return f".{original}{rest[len(ours) + 1 :]}"
    return rest


def to_original(
    unet: Mapping[str, Tensor], vae: Mapping[str, Tensor], text: Mapping[str, Tensor], unet_config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return all tensors of a model with the names of the original checkpoint."""
    blocks = unet_blocks(unet_config)
    levels = 1 + max(int(name.split(".")[2]) for name in vae if name.startswith("decoder.up_blocks."))
    tensors = {UNET + unet_name(name, blocks): tensor for name, tensor in unet.items()}
    for name, tensor in vae.items():
        original = vae_name(name, levels)
        # the original VAE attends by convolutions of one pixel
        convolution = ".attn_1." in original and original.endswith(".weight") and ".norm." not in original
        tensors[VAE + original] = tensor[:, :, None, None] if convolution and tensor.ndim == 2 else tensor
    tensors |= {TEXT + name: tensor for name, tensor in text.items()}
    return tensors
