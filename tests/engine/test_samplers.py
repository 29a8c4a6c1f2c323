"""CFG rescale and first timestep of samples depend on whether the noise schedule ends in pure noise."""

from __future__ import annotations

import numpy
import pytest

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine.samplers import SAMPLERS, scheduler_of
from tests.engine.conftest import GOLDEN

pytestmark = pytest.mark.slow

SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SAMPLE = {"prompt": "a red cross", "width": 64, "height": 64, "seed": 3, "diffusion_steps": 4, "noise_scheduler": "DDIM"}


@pytest.mark.exhaustive
@pytest.mark.parametrize(("zero_snr", "rescale"), [(False, 0.0), (True, 0.7)])
def test_guidance_is_rescaled_with_zero_terminal_snr_only(configured, zero_snr, rescale):
    """A sample equals that of diffusers' own pipeline, without guidance rescale unless the schedule ends in pure noise."""
    import torch
    from diffusers import StableDiffusionPipeline

    from onetrainer_gradio.engine.families.family import SampleRequest
    from onetrainer_gradio.engine.model import Model

    config = configured(rescale_noise_scheduler_to_zero_terminal_snr=zero_snr)
    model = Model.load(config, config.base_model_name, lambda *_: None)
    sample = SampleConfig.model_validate(SAMPLE)
    shown = model.sample(SampleRequest(sample, 3, lambda done, total: True))

    pipeline = StableDiffusionPipeline.from_pretrained(GOLDEN / "model", safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    prediction = "v_prediction" if zero_snr else "epsilon"
    pipeline.scheduler = scheduler_of("DDIM", pipeline.scheduler.config, prediction, zero_snr=zero_snr)

    def generated(rescale: float) -> numpy.ndarray:
        latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
        options = {"num_inference_steps": 4, "guidance_scale": sample.cfg_scale, "guidance_rescale": rescale}
        return numpy.asarray(pipeline("a red cross", negative_prompt="", latents=latents, **options).images[0]).astype(int)

    assert abs(generated(rescale) - numpy.asarray(shown).astype(int)).max() <= 2
    assert abs(generated(0.7 - rescale) - numpy.asarray(shown).astype(int)).max() > 2


@pytest.mark.parametrize("name", [name for name in SAMPLERS if not name.endswith("KARRAS")])
def test_every_sampler_begins_at_the_last_timestep_with_zero_terminal_snr(name):
    """The model starts from pure noise; without the option, the first timestep is the sampler's own."""
    zero = scheduler_of(name, SCHEDULE, "v_prediction", zero_snr=True)
    zero.set_timesteps(20)
    assert float(zero.timesteps[0]) == 999
    assert float(zero.alphas_cumprod[-1]) < 1e-6
