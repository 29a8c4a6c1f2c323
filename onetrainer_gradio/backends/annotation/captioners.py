"""Caption images with a model of transformers: Florence-2, BLIP, BLIP-2, or a vision language model with a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onetrainer_gradio.backends.annotation.pretrained import device_of, pretrained
from onetrainer_gradio.config.dataset.images import decode

DEFAULT_PROMPT = "Describe this image in one sentence for training an image model. Answer with the description only."
FLORENCE_TASKS = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")
_MAX_TOKENS = 1024


class TransformersCaptioner:
    """A loaded model. The type in its configuration decides how the prompt is written and how the answer is read."""

    def __init__(self, model: str, device: str) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        self._device = device_of(device)
        config = pretrained(AutoConfig.from_pretrained, model)
        self._processor = pretrained(AutoProcessor.from_pretrained, model)
        self._dtype = torch.float32 if self._device == "cpu" else torch.bfloat16
        loaded = pretrained(AutoModelForImageTextToText.from_pretrained, model, dtype=self._dtype, use_safetensors=True)
        self._model = loaded.to(self._device).eval()
        chats = getattr(self._processor, "chat_template", None)
        self._inputs: Callable[[Any, str], Any] = _STYLES.get(config.model_type, _chat if chats else _plain)
        self._type = config.model_type

    def run(self, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``text``: the caption of an image, on one line.

        :raises BrokenImageError: if the image can't be read.
        """
        import torch

        image = decode(path)
        prompt = str(options.get("prompt") or "")
        inputs = self._inputs(self._processor, prompt)(image).to(self._device, self._dtype)
        most = min(_MAX_TOKENS, int(options.get("max_tokens") or 128))
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs, max_new_tokens=most, do_sample=False, num_beams=int(options.get("beams") or 1)
            )
        given = inputs.get("input_ids")
        if given is not None and tokens.shape[1] > given.shape[1] and bool((tokens[:, : given.shape[1]] == given).all()):
            tokens = tokens[:, given.shape[1] :]  # decoders repeat the prompt
        text = self._processor.batch_decode(tokens, skip_special_tokens=self._type != "florence2")[0]
        if self._type == "florence2":
            task = _florence_task(prompt)
            text = str(self._processor.post_process_generation(text, task=task, image_size=image.size)[task])
        return {"text": " ".join(text.split())}


def _plain(processor: Any, prompt: str) -> Callable[[Any], Any]:
    return lambda image: processor(images=image, text=prompt or None, return_tensors="pt")


def _florence(processor: Any, prompt: str) -> Callable[[Any], Any]:
    return lambda image: processor(images=image, text=_florence_task(prompt), return_tensors="pt")


def _chat(processor: Any, prompt: str) -> Callable[[Any], Any]:
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt or DEFAULT_PROMPT}]}
    text = processor.apply_chat_template([message], add_generation_prompt=True)
    return lambda image: processor(images=[image], text=[text], return_tensors="pt")


def _florence_task(prompt: str) -> str:
    return prompt if prompt in FLORENCE_TASKS else FLORENCE_TASKS[1]


_STYLES: Mapping[str, Callable[[Any, str], Callable[[Any], Any]]] = {
    "florence2": _florence,
    "blip": _plain,
    "blip-2": _plain,
    "git": _plain,
}
"""Model type -> how it receives image and prompt; other types use their chat template."""
