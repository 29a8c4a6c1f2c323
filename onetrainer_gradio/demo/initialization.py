"""Initialize the demo model so that training from scratch takes minutes instead of hours."""

from __future__ import annotations

import torch
from torch import nn

RESIDUAL_ENDS = ("conv2", "to_out.0", "proj_out", "ff.net.2")
"""Last layers of residual branches, by the end of their names in diffusers."""


def zero_residuals(part: nn.Module) -> None:
    """Initialize residual branches with zero, and other convolutions so that they keep the variance of their input.

    With PyTorch's initialization, each convolution outside a branch shrinks its input by sqrt(3), while the normalized
    branches add noise of fixed size. The color of a uniform image is lost in it, and so are the first hundreds of
    steps. Source of the zero initialization: Zhang, Dauphin and Ma, "Fixup initialization", 2019.
    """
    with torch.no_grad():
        for name, layer in part.named_modules():
            if not isinstance(layer, (nn.Conv2d, nn.Linear)):
                continue
            if name.endswith(RESIDUAL_ENDS):
                layer.weight.zero_()
                if layer.bias is not None:
                    layer.bias.zero_()
            elif isinstance(layer, nn.Conv2d):
                layer.weight.normal_(0.0, layer.weight[0].numel() ** -0.5)
                if layer.bias is not None:
                    layer.bias.normal_(0.0, 0.1)
