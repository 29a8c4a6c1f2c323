"""Image parameters are text that other image programs can read."""

from __future__ import annotations

from onetrainer_gradio.config.image_parameters import parameters_text

FACTS = {
    "prompt": "a red\ncross",
    "negative_prompt": "blurry",
    "diffusion_steps": 20,
    "noise_scheduler": "DPMPP_SDE_KARRAS",
    "cfg_scale": 7.0,
    "seed": 5,
    "width": 512,
    "height": 768,
}


def test_sampler_and_schedule_have_the_names_of_those_programs() -> None:
    """There, Karras sigmas are a schedule type; an unknown sampler keeps its name."""
    lines = parameters_text(FACTS).splitlines()
    assert lines[:3] == ["a red", "cross", "Negative prompt: blurry"]
    wanted = "Steps: 20, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 7.0, Seed: 5, Size: 512x768"
    assert lines[3] == wanted
    assert "Sampler: Euler a, CFG" in parameters_text({**FACTS, "noise_scheduler": "EULER_A"})
    assert "Sampler: NEWER, CFG" in parameters_text({**FACTS, "noise_scheduler": "NEWER"})


def test_a_lora_is_in_the_prompt_and_a_model_in_the_parameters() -> None:
    """A name with a comma is quoted."""
    text = parameters_text({**FACTS, "lora": {"name": "cat", "strength": 0.8}, "model": "a, b"})
    assert "cross <lora:cat:0.8>\nNegative" in text
    assert text.endswith('Size: 512x768, Model: "a, b"')
