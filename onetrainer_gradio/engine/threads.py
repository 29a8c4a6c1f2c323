"""Choose the number of CPU threads of a run."""

from __future__ import annotations

import torch

from onetrainer_gradio.engine.model import Model

# Below this many parameters a kernel on the CPU finishes before a second thread wakes up. Measured with the demo's
# model (3 M parameters) on 2 cores: a step takes 0.32 s with two threads that sleep between kernels, 0.12 s with two that spin,
# 0.13 s with one; under other load 0.29 s, 0.25 to 1.8 s and 0.19 s (docs/findings.md).
TINY = 20_000_000


def fit_threads(model: Model) -> int:
    """Use one thread for a tiny model on the CPU. Return the previous number of threads.

    torch's number of threads applies to the complete process, so the caller must restore it at the end.
    """
    before = torch.get_num_threads()
    largest = max(sum(parameter.numel() for parameter in part.module.parameters()) for part in model.parts())
    if model.device.type == "cpu" and largest < TINY:
        torch.set_num_threads(1)
    return before
