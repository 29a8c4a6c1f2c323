"""A process that responds like the image generator, without torch: it writes a PNG of one pixel for each request.

It takes ``sample.diffusion_steps`` hundredths of a second, fails for the prompt ``fail``, dies
for ``die``, and exits as after a long pause after the prompt ``leave``.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image

from onetrainer_gradio.backends.answering import answer_requests


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Write the pixel, unless the file ``stop`` appears first."""
    prompt = request["sample"]["prompt"]
    if prompt == "die":
        os._exit(3)
    if prompt == "fail":
        return {"error": "It failed", "suggestion": "Try another."}
    for _ in range(request["sample"]["diffusion_steps"]):
        if Path(request["stop"]).exists():
            return {"stopped": True, "seconds": 0.0}
        time.sleep(0.01)
    Image.new("RGB", (1, 1)).save(request["path"])
    if prompt == "leave":
        threading.Timer(0.3, os._exit, (0,)).start()
    return {"stopped": False, "seconds": 0.1}


if __name__ == "__main__":
    answer_requests(answer, 20)
