"""Run the denoiser on a noised batch: the same for all families."""

from __future__ import annotations

from torch import Generator

from onetrainer_gradio.engine.data.dataset import Batch
from onetrainer_gradio.engine.families.family import Draw, Prediction
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.engine.noise import draw_noise


def predict(model: Model, batch: Batch, draw: Draw, generator: Generator, step: int | None) -> Prediction:
    """Return the prediction for the noised latents of a batch, and its target.

    All randomness comes from ``generator`` (timesteps and noise, in the family's order) and ``step`` (dropped captions; None: as
    in validation). Losses are computed outside of autocast.
    """
    config, objective = model.config, model.objective
    with model.autocast:
        condition = model.conditions(batch.tensors, step)
        latents_BCHW = model.normalized(batch.tensors["latents"].to(model.device, non_blocking=True))
        shift = model.shift(latents_BCHW)
        size = latents_BCHW.shape[0]
        timestep_B = draw(generator, size, shift) if objective.timestep_first else None
        noise_BCHW = draw_noise(
            latents_BCHW,
            generator,
            offset_weight=config.offset_noise_weight,
            perturbation_weight=config.perturbation_noise_weight,
            psi_B=None if timestep_B is None else objective.psi(timestep_B),
        )
        if timestep_B is None:
            timestep_B = draw(generator, size, shift)
        noised_BCHW = objective.noised(latents_BCHW, noise_BCHW, timestep_B)
        with model.computing(model.spec.denoiser):
            predicted_BCHW = model.spec.denoise(model, noised_BCHW, timestep_B, condition)
        return Prediction(predicted_BCHW, objective.target(latents_BCHW, noise_BCHW, timestep_B), timestep_B)
