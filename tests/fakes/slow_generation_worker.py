"""The process that generates images, with a generator that takes a minute in steps of a hundredth of a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onetrainer_gradio.backends.answering import answer_requests
from onetrainer_gradio.backends.generation_worker import Loaded
from onetrainer_gradio.config import SampleConfig, TrainConfig


class Slow:
    """Writes its process ID next to the result when it starts."""

    def generate(self, result: str, strength: float, sample: SampleConfig, seed: int, on_step: Callable[[int, int], bool]) -> Any:
        """Return None when it is stopped."""
        Path(result).write_text(str(os.getpid()))
        for step in range(6000):
            if not on_step(step, 6000):
                return None
            time.sleep(0.01)
        return None


def _slow(config: TrainConfig) -> Slow:
    return Slow()


if __name__ == "__main__":
    answer_requests(Loaded(_slow).answer, 60)
