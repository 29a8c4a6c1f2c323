"""Create samplers: OneTrainer's names, diffusers' classes, and their differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers

from onetrainer_gradio.engine.families.family import LoadedModel


@dataclass(frozen=True)
class Sampler:
    """A scheduler class of diffusers and its settings in addition to the noise schedule."""

    name: str
    steps_offset: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)


_SDE = {"algorithm_type": "sde-dpmsolver++"}
_ODE = {"algorithm_type": "dpmsolver++"}
_KARRAS = {"use_karras_sigmas": True}

SAMPLERS: Mapping[str, Sampler] = {
    "DDIM": Sampler("DDIMScheduler", 1, {"clip_sample": False, "set_alpha_to_one": False}),
    "EULER": Sampler("EulerDiscreteScheduler"),
    "EULER_A": Sampler("EulerAncestralDiscreteScheduler"),
    "DPMPP": Sampler("DPMSolverMultistepScheduler", 0, _ODE),
    "DPMPP_SDE": Sampler("DPMSolverMultistepScheduler", 0, _SDE),
    "UNIPC": Sampler("UniPCMultistepScheduler"),
    "EULER_KARRAS": Sampler("EulerDiscreteScheduler", 1, _KARRAS),
    "DPMPP_KARRAS": Sampler("DPMSolverMultistepScheduler", 1, _ODE | _KARRAS),
    "DPMPP_SDE_KARRAS": Sampler("DPMSolverMultistepScheduler", 1, _SDE | _KARRAS),
    "UNIPC_KARRAS": Sampler("UniPCMultistepScheduler", 1, _KARRAS),
}
NOISE_SCHEDULE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")


def training_scheduler(model: LoadedModel) -> tuple[str, Mapping[str, Any]]:
    """Return class and configuration of the scheduler that a trained epsilon- or v-prediction model is saved with."""
    # latents are no images: clipping them to -1..1 is a default of the class that no such model wants
    settings = {**model.scheduler_config, "prediction_type": model.objective.prediction, "clip_sample": False}
    if model.config.rescale_noise_scheduler_to_zero_terminal_snr:
        settings["rescale_betas_zero_snr"] = True
    return "DDIMScheduler", settings


def scheduler_of(name: str, noise_schedule: Mapping[str, Any], prediction: str, *, zero_snr: bool) -> Any:
    """Return a diffusers scheduler for the sampler ``name`` on the noise schedule of a model."""
    sampler = SAMPLERS[name]
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if zero_snr else {}
    known = {key: noise_schedule[key] for key in NOISE_SCHEDULE if key in noise_schedule}
    settings = {**known, "prediction_type": prediction, "steps_offset": sampler.steps_offset, **sampler.more, **zero}
    return getattr(diffusers, sampler.name)(**settings)
