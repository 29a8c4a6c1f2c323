"""The machine that carries out a run, as far as it is known without torch."""

from __future__ import annotations

import os
import platform

from onetrainer_gradio.config.declarations.train import TrainConfig


def hardware(config: TrainConfig) -> dict[str, str]:
    """The device that the settings name, and the machine, its system and its number of processors."""
    return {
        "device": config.train_device,
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": str(os.cpu_count()),
    }
