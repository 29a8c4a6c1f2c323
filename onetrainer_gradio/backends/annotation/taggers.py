"""Tag images with a WD tagger: an ONNX model whose outputs are the probabilities of the tags in ``selected_tags.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onetrainer_gradio.backends.annotation.pretrained import hub_file, loading
from onetrainer_gradio.config.dataset.images import decode
from onetrainer_gradio.errors import UnsupportedError

_GENERAL, _CHARACTER, _RATING = "0", "4", "9"
# emoticons whose underscores aren't spaces
_SHORTEST_SPACED = 4


class Tagger:
    """A loaded tagger."""

    def __init__(self, model: str, device: str, session: Any = None, tags: Path | None = None) -> None:
        self._session = session or _session(model, device)
        with loading(model), open(tags or hub_file(model, "selected_tags.csv"), encoding="utf-8", newline="") as file:
            self._tags = [(row["name"], row["category"]) for row in csv.DictReader(file)]
        self._input = self._session.get_inputs()[0]

    def run(self, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``text``: the tags above the thresholds, most probable first, and ``tags`` with their probabilities.

        :raises BrokenImageError: if the image can't be read.
        """
        probabilities = self._session.run(None, {self._input.name: self._pixels(path)})[0][0].tolist()
        thresholds = {
            _GENERAL: float(options.get("threshold", 0.35)),
            _CHARACTER: float(options.get("character_threshold", 0.85)),
        }
        return _chosen(self._tags, probabilities, thresholds, set(options.get("without") or ()))

    def _pixels(self, path: str) -> Any:
        """Return the image on a white square, in BGR: (1, height, width, 3) float32, 0 to 255."""
        import numpy as np
        from PIL import Image

        side = int(self._input.shape[1])
        image = decode(path)
        longest = max(image.size)
        square = Image.new("RGB", (longest, longest), "white")
        square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
        pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        return np.ascontiguousarray(pixels[None, :, :, ::-1])


def _chosen(
    tags: Sequence[tuple[str, str]], probabilities: Sequence[float], thresholds: Mapping[str, float], without: set[str]
) -> dict[str, Any]:
    found = [
        (name if len(name) < _SHORTEST_SPACED else name.replace("_", " "), probability)
        for (name, category), probability in zip(tags, probabilities, strict=True)
        if category in thresholds and probability >= thresholds[category]
    ]
    found = sorted((each for each in found if each[0] not in without), key=lambda each: -each[1])
    return {"text": ", ".join(name for name, _ in found), "tags": [[name, round(value, 4)] for name, value in found]}


def _session(model: str, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError(
            "Taggers require the Python package onnxruntime", path="model", value=model, suggestion="Install onnxruntime."
        ) from error
    available = onnxruntime.get_available_providers()
    wanted = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    with loading(model):
        return onnxruntime.InferenceSession(
            str(hub_file(model, "model.onnx")), providers=[name for name in wanted if name in available]
        )
