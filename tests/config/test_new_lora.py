"""The New LoRA page turns a few answers into ordinary settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.families.base_models import PUBLISHED
from onetrainer_gradio.config.files.presets import presets
from onetrainer_gradio.config.new_lora import (
    STEP_RULES,
    WORDINGS,
    Answers,
    CaptionSource,
    Quality,
    Subject,
    caption_of,
    file_name,
    plan,
    preset_for,
    trigger_word_of,
)
from onetrainer_gradio.errors import ConfigNotFoundError, ConfigValueError

ANSWERS = Answers("My cat", "datasets/cat", 20, "SD 1.5/LoRA 8 GB", trigger_word="ohwx", caption_file="captions/my-cat.txt")


@pytest.mark.slow
def test_the_answers_become_settings_over_the_preset() -> None:
    """Names, images, captions and samples with the trigger word are set; the rest is the preset's."""
    made = plan(ANSWERS)
    config = made.config
    assert config.output_model_destination == "models/my-cat.safetensors"
    assert [concept.path for concept in config.concepts or ()] == ["datasets/cat"]
    assert (config.concepts or [])[0].text.prompt_path == "captions/my-cat.txt"
    assert all("ohwx" in sample.prompt for sample in config.samples or ())
    assert (config.lora_rank, config.learning_rate, config.train_device) == (16, 1e-4, TrainConfig().train_device)
    assert made.steps == made.epochs * 10
    assert set(made.changes) >= {"epochs", "concepts", "samples"}


@pytest.mark.slow
@pytest.mark.parametrize("subject", Subject)
@pytest.mark.parametrize("captions", CaptionSource)
def test_each_kind_of_subject_and_caption_gives_valid_settings(subject: Subject, captions: CaptionSource) -> None:
    made = plan(replace(ANSWERS, subject=subject, captions=captions))
    assert len(made.prompts) == len(WORDINGS[subject].prompts)
    source = (made.config.concepts or [])[0].text.prompt_source
    assert source == ("sample" if captions is CaptionSource.FILES else "concept")
    assert [finding.code for finding in made.findings] == (["no_captions"] if captions is CaptionSource.NONE else [])


@pytest.mark.slow
@pytest.mark.parametrize("preset", [preset.name for preset in presets() if preset.method == "LORA"])
def test_every_lora_preset_can_be_chosen(preset: str) -> None:
    """The result has separate images, and samples at the model's size."""
    made = plan(replace(ANSWERS, preset=preset))
    assert len(made.config.concepts or ()) == 1
    assert all(sample.enabled for sample in made.config.samples or ())


@pytest.mark.slow
def test_more_images_take_more_steps_and_a_higher_quality_too() -> None:
    """There are limits: 4 images don't stop after a minute, 5000 don't take a month."""
    steps = [plan(replace(ANSWERS, images=images)).steps for images in (4, 20, 40, 5000)]
    assert steps == sorted(steps)
    assert [plan(replace(ANSWERS, quality=quality)).steps for quality in Quality] == [500, 1000, 2000]
    assert all(rule.presentations(1) == rule.least for rule in STEP_RULES.values())
    assert plan(replace(ANSWERS, images=5000, quality=Quality.QUICK)).epochs == 1


@pytest.mark.slow
def test_a_few_images_are_mentioned_and_fit_the_batch() -> None:
    made = plan(replace(ANSWERS, images=1))
    assert made.config.batch_size == 1
    assert [finding.code for finding in made.findings] == ["few_images"]


@pytest.mark.slow
def test_without_a_gpu_it_trains_on_the_cpu() -> None:
    config = plan(replace(ANSWERS, gpu=False)).config
    assert (config.train_device, config.temp_device, config.train_dtype) == ("cpu", "cpu", "FLOAT_32")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": " "}, "name"),
        ({"folder": ""}, "folder"),
        ({"images": 0}, "folder"),
        ({"trigger_word": ""}, "trigger_word"),
        ({"trigger_word": "two words"}, "trigger_word"),
        ({"preset": "SD 1.5/fine-tune 24 GB"}, "preset"),
    ],
)
def test_a_wrong_answer_is_named(changes: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigValueError) as raised:
        plan(replace(ANSWERS, **changes))
    assert raised.value.path == path


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ConfigNotFoundError):
        plan(replace(ANSWERS, preset="no such preset"))


@pytest.mark.parametrize(
    ("gib", "name"),
    [
        (None, "SDXL/LoRA 8 GB"),
        (6, "SDXL/LoRA 8 GB"),
        (7.8, "SDXL/LoRA 8 GB"),
        (11.9, "SDXL/LoRA 12 GB"),
        (80, "SDXL/LoRA 24 GB"),
    ],
)
def test_the_preset_follows_the_memory_of_the_gpu(gib: float | None, name: str) -> None:
    """A GPU sold with 12 GB reports 11.9; below the smallest preset, the smallest one is used."""
    found = tuple(
        preset for preset in presets() if preset.method == "LORA" and preset.model_type == "STABLE_DIFFUSION_XL_10_BASE"
    )
    chosen = preset_for(found, gib)
    assert chosen is not None
    assert chosen.name == name
    assert preset_for((), gib) is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("My cat", "my-cat"),
        ("../../etc/passwd", "etc-passwd"),
        ("con: a*b?", "con-a-b"),
        ("Zoë", "zoë"),
        ("…", "lora"),
        ("x" * 200, "x" * 80),
    ],
)
def test_a_name_becomes_a_safe_file_name(name: str, file: str) -> None:
    assert file_name(name) == file


def test_a_caption_is_the_trigger_word_in_a_phrase() -> None:
    assert caption_of(Subject.PERSON, "ohwx") == "a photo of ohwx"
    assert caption_of(Subject.STYLE, "") == ""


@pytest.mark.slow
@pytest.mark.parametrize("subject", Subject)
def test_the_trigger_word_is_read_from_the_sample_prompts(subject: Subject) -> None:
    """Edited prompts have none."""
    prompts = plan(replace(ANSWERS, subject=subject, captions=CaptionSource.FILES)).prompts
    assert trigger_word_of(prompts) == "ohwx"
    assert trigger_word_of((*prompts[:-1], "a red cat")) == ""
    assert trigger_word_of(prompts[:-1]) == trigger_word_of(()) == ""
    unnamed = plan(replace(ANSWERS, subject=subject, captions=CaptionSource.NONE, trigger_word=""))
    assert trigger_word_of(unnamed.prompts) == ""


@pytest.mark.slow
def test_a_download_before_the_run_is_a_note() -> None:
    """It has the size, if that is known."""
    assert "model_download" not in [each.code for each in plan(ANSWERS).findings]
    (found,) = plan(replace(ANSWERS, download="a/b", download_gb=13.9)).findings
    assert (found.severity, found.path, found.value) == ("note", "preset", "a/b")
    assert found.message == "The base model a/b isn't on this machine. The run downloads it first: about 13.9 GB"
    (found,) = plan(replace(ANSWERS, download="a/b")).findings
    assert found.message.endswith("The run downloads it first")


def test_the_base_models_of_the_table_are_those_of_presets() -> None:
    """An entry for a repository that no preset uses would be dead."""
    assert set(PUBLISHED) <= {preset.document["base_model_name"] for preset in presets()} | {
        "stabilityai/stable-diffusion-3.5-medium"
    }
