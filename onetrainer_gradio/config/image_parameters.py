"""Describe how an image was generated as text that other image programs read: the “parameters” of AUTOMATIC1111."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.enums import NoiseScheduler

KARRAS = "_KARRAS"
SAMPLERS: Mapping[str, str] = {
    NoiseScheduler.DDIM: "DDIM",
    NoiseScheduler.EULER: "Euler",
    NoiseScheduler.EULER_A: "Euler a",
    NoiseScheduler.DPMPP: "DPM++ 2M",
    NoiseScheduler.DPMPP_SDE: "DPM++ 2M SDE",
    NoiseScheduler.UNIPC: "UniPC",
}
"""The names of the samplers in those programs; the ones with Karras sigmas have them as a separate schedule type."""


def parameters_text(facts: Mapping[str, Any]) -> str:
    """Return the parameters of an image as text.

    ``facts`` are the fields of a sample and its ``seed``. ``lora``, if it is there, has ``name`` and ``strength``. ``model`` is
    the name of the base model.
    """
    lora = facts.get("lora")
    prompt = f"{facts['prompt']} <lora:{lora['name']}:{lora['strength']:g}>" if lora else facts["prompt"]
    scheduler = str(facts["noise_scheduler"])
    sampler = scheduler.removesuffix(KARRAS)
    values = {
        "Steps": facts["diffusion_steps"],
        "Sampler": SAMPLERS.get(sampler, sampler),
        "Schedule type": "Karras" if scheduler.endswith(KARRAS) else "",
        "CFG scale": facts["cfg_scale"],
        "Seed": facts["seed"],
        "Size": f"{facts['width']}x{facts['height']}",
        "Model": facts.get("model", ""),
    }
    line = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in values.items() if value != "")
    return f"{prompt}\nNegative prompt: {facts['negative_prompt']}\n{line}"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if set(value) & {",", ":", "\n"} else value
