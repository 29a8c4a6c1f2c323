"""Make masks: what a text describes (CLIPSeg), or everything but the background (rembg)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.backends.annotation.pretrained import device_of, loading, pretrained
from onetrainer_gradio.config.dataset.images import decode
from onetrainer_gradio.errors import UnsupportedError

_MAX_GROWN_PX = 256


class TextMasker:
    """A loaded CLIPSeg model."""

    def __init__(self, model: str, device: str) -> None:
        from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

        self._device = device_of(device)
        self._processor = pretrained(CLIPSegProcessor.from_pretrained, model)
        self._model = pretrained(CLIPSegForImageSegmentation.from_pretrained, model, use_safetensors=True).to(self._device).eval()

    def run(self, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Write the mask of what ``prompts`` describe to ``to``; return ``coverage``, the share of white pixels.

        :raises BrokenImageError: if the image can't be read.
        """
        import torch
        from PIL import Image

        image = decode(path)
        prompts = [text for text in options.get("prompts") or () if text.strip()] or ["subject"]
        inputs = self._processor(text=prompts, images=[image] * len(prompts), padding=True, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        logits_PHW = logits if logits.ndim == 3 else logits[None]
        probability_HW = torch.sigmoid(logits_PHW.float()).amax(0)
        small = Image.fromarray((probability_HW * 255).round().to(torch.uint8).cpu().numpy())
        return _written(small.resize(image.size, Image.Resampling.BILINEAR), options)


class BackgroundMasker:
    """A loaded model of rembg."""

    def __init__(self, model: str, device: str) -> None:
        try:
            import rembg
        except ImportError as error:
            raise UnsupportedError(
                "Removing the background requires the Python package rembg",
                path="model",
                value=model,
                suggestion="Install rembg.",
            ) from error
        self._rembg = rembg
        with loading(model or "u2net"):
            self._session = rembg.new_session(model or "u2net")

    def run(self, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Write the mask of the foreground to ``to``; return ``coverage``, the share of white pixels.

        :raises BrokenImageError: if the image can't be read.
        """
        return _written(self._rembg.remove(decode(path), session=self._session, only_mask=True).convert("L"), options)


def _written(mask: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write a mask, black and white at a threshold, grown by some pixels, inverted on request."""
    import numpy as np
    from PIL import Image, ImageFilter

    limit = round(255 * float(options.get("threshold", 0.4)))
    made = Image.fromarray(np.where(np.asarray(mask) >= max(1, limit), np.uint8(255), np.uint8(0)))
    grown = min(_MAX_GROWN_PX, int(options.get("grow") or 0))
    if grown > 0:
        made = made.filter(ImageFilter.MaxFilter(2 * grown + 1))
    if options.get("invert"):
        made = made.point(lambda value: 255 - value)
    made.save(options["to"], "PNG")
    return {"coverage": round(float(np.asarray(made).mean()) / 255, 4)}
