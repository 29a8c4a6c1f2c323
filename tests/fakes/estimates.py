"""A memory estimator without a process and without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.memory_estimate import MemoryEstimate, PhaseMemory
from onetrainer_gradio.service.engines.memory import MemoryEstimator

GIB = 1 << 30


class Computed(MemoryEstimator):
    """Computes VRAM from the settings: 1 GiB per image of the batch, and half of it with checkpointing."""

    def __init__(self, base_folder: Path = Path(), roots: tuple[Path, ...] = ()) -> None:
        super().__init__(base_folder, roots)
        self.asked = 0

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked += 1
        config = from_document(request["config"])[0]
        size = config.batch_size * GIB // (2 if config.unet.gradient_checkpointing else 1)
        return {"estimate": MemoryEstimate((PhaseMemory("training", {"activations": size}),), 10, 1).to_json()}
