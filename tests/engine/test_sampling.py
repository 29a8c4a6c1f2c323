"""Samples: which ones, where, with which metadata, and that they don't affect training (engine/pipelines.py)."""

from __future__ import annotations

import json

import numpy
import pytest
from PIL import Image

from onetrainer_gradio.commands import SampleCustom, SampleDefault, Stop
from onetrainer_gradio.events import PhaseProgress, SampleGenerated, WarningIssued
from tests.engine.recording import FakeControl, Recorder, after_step

pytestmark = pytest.mark.slow

SAMPLE = {"prompt": "a red cross", "width": 32, "height": 40, "seed": 3, "diffusion_steps": 3, "cfg_scale": 5.0}


@pytest.mark.exhaustive
def test_every_sampler_generates_an_image(configured, train):
    """All ten noise schedulers give an image of the requested size, and the SDE ones a reproducible one."""
    from onetrainer_gradio.engine.samplers import SAMPLERS

    assert len(SAMPLERS) == 10
    samples = [{**SAMPLE, "noise_scheduler": name} for name in SAMPLERS for _ in range(2)]
    config = configured(samples=samples, sample_after=1, sample_after_unit="EPOCH", sample_image_format="PNG")
    _, recorder = train(config, max_steps=1)
    made = recorder.of(SampleGenerated)
    images = [Image.open(event.path) for event in made]
    assert {image.size for image in images} == {(32, 40)}
    for first, second in zip(images[::2], images[1::2], strict=True):
        assert first.tobytes() == second.tobytes()
    assert len({image.tobytes() for image in images}) >= 7  # with few steps, some of them are equal


def test_sampling_leaves_the_training_alone(configured, train):
    """Losses and weights are the same with and without samples, including random seeds."""
    from safetensors.torch import load_file

    config = configured(dropout_probability=0.2)
    _, without = train(config)
    one = load_file(config.output_model_destination)
    often = config.model_copy(
        update={"samples": configured(samples=[{**SAMPLE, "random_seed": True}]).samples, "sample_after_unit": "STEP"}
    )
    _, painted = train(often)
    other = load_file(config.output_model_destination)
    assert [event.global_step for event in painted.of(SampleGenerated)] == [0, 1, 2, 3, 4, 5, 6]  # the result, too
    assert painted.losses == without.losses
    assert all((one[name] == other[name]).all() for name in one)


def test_the_event_and_the_file_say_how_it_was_made(configured, train):
    """The event and the PNG have the parameters; for a random seed, the actual one."""
    config = configured(
        samples=[{**SAMPLE, "random_seed": True, "negative_prompt": "blue"}],
        sample_after=1,
        sample_after_unit="EPOCH",
        sample_image_format="PNG",
    )
    _, recorder = train(config, max_steps=1)
    (made,) = recorder.of(SampleGenerated)
    image = Image.open(made.path)
    parameters = json.loads(image.text["onetrainer_gradio"])
    assert parameters == {name: getattr(made, name) for name in parameters}
    assert (made.prompt, made.negative_prompt, made.width, made.height) == ("a red cross", "blue", 32, 40)
    assert (made.diffusion_steps, made.cfg_scale, made.noise_scheduler) == (3, 5.0, "DDIM")
    assert made.seed != 3
    assert f"Seed: {made.seed}" in image.text["parameters"]
    assert (made.kind, made.index, made.global_step) == ("default", 0, 0)
    assert [(event.done, event.total) for event in recorder.of(PhaseProgress) if event.phase == "sampling"][-1] == (3, 3)


@pytest.mark.exhaustive
def test_the_seed_of_a_prompt_decides_its_image(configured, train):
    """Equal seeds give equal pixels, another seed gives others."""
    prompts = [{**SAMPLE, "seed": seed} for seed in (3, 3, 4)]
    _, recorder = train(configured(samples=prompts, sample_after=1, sample_after_unit="EPOCH"), max_steps=1)
    first, again, other = (Image.open(made.path).tobytes() for made in recorder.of(SampleGenerated))
    assert first == again
    assert first != other


@pytest.mark.exhaustive
def test_jpeg_is_written_too(configured, train):
    """The setting is ``sample_image_format`` JPG."""
    config = configured(samples=[SAMPLE], sample_after=1, sample_after_unit="EPOCH", sample_image_format="JPG")
    _, recorder = train(config, max_steps=1)
    (made,) = recorder.of(SampleGenerated)
    assert made.path.endswith(".jpg")
    assert Image.open(made.path).format == "JPEG"


def test_only_enabled_prompts_are_generated_and_skip_first_waits(configured, train):
    """Disabled prompts keep their number; ``sample_skip_first`` skips the first epochs."""
    config = configured(
        samples=[{**SAMPLE, "enabled": False}, {**SAMPLE, "prompt": "a blue circle"}],
        sample_after=1,
        sample_after_unit="EPOCH",
        sample_skip_first=2,
        epochs=3,
    )
    _, recorder = train(config)
    made = [(event.index, event.epoch, event.prompt) for event in recorder.of(SampleGenerated)]
    assert made == [(1, 2, "a blue circle"), (1, 3, "a blue circle")]


@pytest.mark.exhaustive
def test_with_an_average_images_come_twice(configured, train):
    """With EMA, there is one image with the average and one without, in the twin folder."""
    config = configured(
        samples=[SAMPLE], sample_after=3, sample_after_unit="STEP", ema="CPU", ema_update_step_interval=1, learning_rate=0.05
    )
    _, recorder = train(config)
    made = [event for event in recorder.of(SampleGenerated) if event.global_step == 3]
    assert [(event.ema, " - no-ema" in event.path) for event in made] == [(True, False), (False, True)]


@pytest.mark.exhaustive
def test_stop_ends_an_image_between_two_sampler_steps(configured, train):
    """A slow image doesn't delay the stop; the command that requested it is rejected with the reason."""
    control, asked, stop = FakeControl(), SampleCustom(params={**SAMPLE, "diffusion_steps": 900}), Stop()

    def on(event):
        if isinstance(event, PhaseProgress) and event.phase == "sampling" and event.done > 1 and not given:
            given.append(event)
            control.give(stop)

    given: list[PhaseProgress] = []
    recorder = Recorder(on)
    after_step(recorder, control, 1, asked)
    outcome, _ = train(configured(), recorder, control)
    assert outcome == "stopped"
    assert recorder.answer(asked).reason == "the run is stopping"
    assert not recorder.of(SampleGenerated)
    assert given[0].done < 800


@pytest.mark.exhaustive
def test_a_due_image_that_cannot_be_generated_is_a_warning(configured, train):
    """A wrong size in the prompts doesn't end the run."""
    config = configured(samples=[{**SAMPLE, "width": 33}], sample_after=1, sample_after_unit="EPOCH")
    outcome, recorder = train(config)
    assert outcome == "completed"
    assert {warning.code for warning in recorder.of(WarningIssued)} == {"sampling_failed"}


@pytest.mark.exhaustive
def test_clip_skip_changes_the_image(configured, train):
    """``text_encoder_layer_skip`` applies to training and samples."""
    config = configured(samples=[SAMPLE], sample_after=1, sample_after_unit="EPOCH", sample_image_format="PNG")
    _, one = train(config, max_steps=1)
    _, other = train(config.model_copy(update={"text_encoder_layer_skip": 1}), max_steps=1)
    assert one.losses != other.losses
    first, second = (Image.open(recorder.of(SampleGenerated)[0].path).tobytes() for recorder in (one, other))
    assert first != second


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["BFLOAT_16"])
def test_half_precision_generates_an_image(configured, train, dtype):
    """A 16-bit model with a 32-bit adapter generates samples."""
    config = configured(
        samples=[SAMPLE],
        sample_after=1,
        sample_after_unit="EPOCH",
        train_dtype=dtype,
        unet__weight_dtype=dtype,
        text_encoder__weight_dtype=dtype,
        vae__weight_dtype=dtype,
    )
    _, recorder = train(config, max_steps=1)
    assert len(recorder.of(SampleGenerated)) == 1


@pytest.mark.exhaustive
def test_default_samples_are_generated_on_command(configured, train):
    """SampleDefault generates the configured prompts, which carry its id."""
    recorder, control, asked = Recorder(), FakeControl(), SampleDefault()
    after_step(recorder, control, 2, asked)
    train(configured(samples=[SAMPLE, SAMPLE]), recorder, control)
    made = recorder.of(SampleGenerated)
    assert [event.command_id for event in made] == [asked.id] * 2
    assert {event.global_step for event in made} == {2}
    assert recorder.answer(asked).outcome == "done"


@pytest.mark.exhaustive
def test_guidance_below_one_follows_the_negative_prompt(configured, train):
    """At 0 only the negative prompt counts, at 1 only the prompt; swapping the two prompts swaps the images."""
    prompts = {"prompt": "a red cross", "negative_prompt": "a blue circle on a black background"}
    swapped = {"prompt": prompts["negative_prompt"], "negative_prompt": prompts["prompt"]}
    samples = [
        SAMPLE | prompts | {"cfg_scale": 0.0},
        SAMPLE | swapped | {"cfg_scale": 1.0},
        SAMPLE | prompts | {"cfg_scale": 1.0},
    ]
    config = configured(samples=samples, sample_after=1, sample_after_unit="EPOCH", sample_image_format="PNG")
    _, recorder = train(config, max_steps=1)
    zero, other, one = (numpy.asarray(Image.open(made.path)).astype(int) for made in recorder.of(SampleGenerated))
    assert abs(zero - other).mean() < abs(zero - one).mean()
