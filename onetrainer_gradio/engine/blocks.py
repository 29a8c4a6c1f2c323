"""The repeated blocks of a component: gradient checkpointing, offloading, compilation. None of them changes a number.

Compiled blocks are the exception: their operations are merged, so that the last bits differ.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from onetrainer_gradio.engine.layer_offload import LayerOffload

Run = Callable[..., Any]


def blocks_of(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return the repeated blocks of a denoiser (diffusers) or the layers of a text encoder (transformers), in order."""
    names = getattr(module, "_repeated_blocks", None) or getattr(module, "_no_split_modules", None) or ()
    stacks = [stack for stack in module.modules() if isinstance(stack, nn.ModuleList)]
    return tuple(block for stack in stacks for block in stack if type(block).__name__ in names)


def set_checkpointing(
    module: Any, blocks: tuple[nn.Module, ...], saving: Callable[[], AbstractContextManager[object]], offload: LayerOffload | None
) -> None:
    """Recompute the blocks in the backward pass instead of keeping their activations.

    ``saving`` decides where the inputs of the blocks are kept. diffusers' own checkpointing includes the layers between the
    transformer blocks of a UNet. transformers' works only in training mode, and gradients also go through frozen text encoders.
    """

    def checkpointed(run: Run, *args: Any, **options: Any) -> Any:
        def computed(*args: Any, **options: Any) -> Any:
            if offload is not None and isinstance(block := getattr(run, "__self__", run), nn.Module):
                offload.load(block)
            return run(*args, **options)

        if not torch.is_grad_enabled():
            return run(*args, **options)
        with saving():
            return checkpoint(computed, *args, use_reentrant=False, **options)

    if hasattr(module, "enable_gradient_checkpointing"):
        module.enable_gradient_checkpointing(checkpointed)
        return
    for block in blocks:
        block.forward = _wrapped(block.forward, checkpointed)


def _wrapped(forward: Run, checkpointed: Run) -> Run:
    return lambda *args, **options: checkpointed(forward, *args, **options)


def saving_to(temp_device: torch.device, device: torch.device) -> AbstractContextManager[object]:
    """Keep the tensors that autograd saves on the temp device."""
    if temp_device.type == "cpu":
        return save_on_cpu(pin_memory=device.type == "cuda")

    def pack(tensor: Tensor) -> tuple[torch.device, Tensor]:
        return tensor.device, tensor.to(temp_device)

    def unpack(packed: tuple[torch.device, Tensor]) -> Tensor:
        return packed[1].to(packed[0])

    return saved_tensors_hooks(pack, unpack)


def compile_blocks(blocks: tuple[nn.Module, ...]) -> None:
    """Compile each block as one graph."""
    for block in blocks:
        block.compile(fullgraph=True)


ATTENTION_BACKENDS = {"SDP": "native", "FLASH": "flash", "CUDNN": "_native_cudnn", "FLEX": "flex"}
"""Setting -> diffusers' name of the attention backend."""


def set_circular_padding(module: nn.Module) -> None:
    """Let all convolutions wrap around the edges of the image; adapters over them don't, as in OneTrainer."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            child.padding_mode = "circular"
