"""The original names of a UNet and of the VAE of Stable Diffusion, which all its versions share.

They are facts of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from onetrainer_gradio.engine.keys.family_keys import Tensors
from onetrainer_gradio.engine.keys.model_files import renamed
from onetrainer_gradio.engine.keys.rules import PathMap, Rule

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
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_RESNET = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "conv_shortcut": "nin_shortcut",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_rules(down_attends: Sequence[bool], layers: int = 2) -> tuple[Rule, ...]:
    """Return the rules of a UNet: which down blocks have attention, and the ResNet layers of each."""
    return tuple(_unet_rules(tuple(down_attends), layers))


def attends(block_types: Sequence[str]) -> tuple[bool, ...]:
    """Return which blocks of a UNet's configuration have attention."""
    return tuple("CrossAttn" in block for block in block_types)


def _unet_rules(down_attends: tuple[bool, ...], layers: int) -> Iterator[Rule]:
    count, each = len(down_attends), layers + 1
    for block, attention in enumerate(down_attends):
        for layer in range(layers):
            place = f"input_blocks.{each * block + layer + 1}"
            yield from _leaves(f"down_blocks.{block}.resnets.{layer}", f"{place}.0", _UNET_RESNET)
            if attention:
                yield Rule(f"down_blocks.{block}.attentions.{layer}", f"{place}.1")
        if block < count - 1:
            yield Rule(f"down_blocks.{block}.downsamplers.0.conv", f"input_blocks.{each * (block + 1)}.0.op")
    yield from _leaves("mid_block.resnets.0", "middle_block.0", _UNET_RESNET)
    yield Rule("mid_block.attentions.0", "middle_block.1")
    yield from _leaves("mid_block.resnets.1", "middle_block.2", _UNET_RESNET)
    for block, attention in enumerate(reversed(down_attends)):
        for layer in range(each):
            place = f"output_blocks.{each * block + layer}"
            yield from _leaves(f"up_blocks.{block}.resnets.{layer}", f"{place}.0", _UNET_RESNET)
            if attention:
                yield Rule(f"up_blocks.{block}.attentions.{layer}", f"{place}.1")
        if block < count - 1:
            # behind the last ResNet of the block, and its attention if it has one
            place = f"output_blocks.{each * block + layers}.{2 if attention else 1}"
            yield Rule(f"up_blocks.{block}.upsamplers.0.conv", f"{place}.conv")
    yield from (Rule(path, native) for path, native in _UNET_ENDS.items())


def vae_rules(levels: int = 4) -> tuple[Rule, ...]:
    """Return the rules of a VAE with this number of resolutions."""
    return tuple(_vae_rules(levels))


def _vae_rules(levels: int) -> Iterator[Rule]:
    for side in ("encoder", "decoder"):
        for end in ("conv_in", "conv_out"):
            yield Rule(f"{side}.{end}", f"{side}.{end}")
        yield Rule(f"{side}.conv_norm_out", f"{side}.norm_out")
        for layer in (0, 1):
            yield from _leaves(f"{side}.mid_block.resnets.{layer}", f"{side}.mid.block_{layer + 1}", _VAE_RESNET)
        yield from _leaves(f"{side}.mid_block.attentions.0", f"{side}.mid.attn_1", _VAE_ATTENTION)
    for level in range(levels):
        yield from _leaves(f"encoder.down_blocks.{level}.resnets.{{}}", f"encoder.down.{level}.block.{{}}", _VAE_RESNET)
        yield Rule(f"encoder.down_blocks.{level}.downsamplers.0.conv", f"encoder.down.{level}.downsample.conv")
        # the original counts the decoder's levels from the image down
        native = f"decoder.up.{levels - 1 - level}"
        yield from _leaves(f"decoder.up_blocks.{level}.resnets.{{}}", f"{native}.block.{{}}", _VAE_RESNET)
        yield Rule(f"decoder.up_blocks.{level}.upsamplers.0.conv", f"{native}.upsample.conv")
    yield Rule("quant_conv", "quant_conv")
    yield Rule("post_quant_conv", "post_quant_conv")


def _leaves(path: str, native: str, leaves: Mapping[str, str]) -> Iterator[Rule]:
    yield from (Rule(f"{path}.{leaf}", f"{native}.{name}") for leaf, name in leaves.items())


def vae_tensors(state: Mapping[str, Tensor]) -> Tensors:
    """Return a VAE's tensors with the original names, whose attention consists of convolutions of one pixel."""
    levels = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("decoder.up_blocks."))
    tensors = renamed(state, PathMap(vae_rules(levels)))
    for name, tensor in tensors.items():
        if ".attn_1." in name and tensor.ndim == 2:
            tensors[name] = tensor[:, :, None, None]
    return tensors
