"""Images after a run, with the result at a given strength and with the base model (engine/generation.py)."""

from __future__ import annotations

import errno
import json
import os

import pytest

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.errors import ConfigValueError, ModelNotFoundError, SamplingError, UnsupportedError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_in_runs")]

SAMPLE = SampleConfig(prompt="a red cross", width=32, height=32, diffusion_steps=3, cfg_scale=3.0)


def go(generator, result: str, strength: float = 1.0, **changes: object) -> bytes:
    image = generator.generate(result, strength, SAMPLE.model_copy(update=changes), 7, lambda done, total: True)
    return image.tobytes()


@pytest.mark.exhaustive
@pytest.mark.parametrize("peft_type", ["LORA", "LOHA", "OFT_2"])
def test_strength_goes_from_the_base_model_to_the_lora(configured, train, peft_type):
    """0 is the base model, 1 the result as trained, and nothing of a LoRA remains afterwards."""
    from onetrainer_gradio.engine.generation import ImageGenerator

    config = configured(peft_type=peft_type, learning_rate=0.003 if peft_type == "OFT_2" else 0.3)
    train(config)
    generator = ImageGenerator(config)
    result = config.output_model_destination
    base = go(generator, "")
    images = {strength: go(generator, result, strength) for strength in (0.0, 0.5, 1.0)}
    assert images[0.0] == base
    assert len(set(images.values())) == 3
    assert go(generator, result) == images[1.0]
    assert go(generator, "") == base


@pytest.mark.exhaustive
def test_an_interpolated_lora_equals_one_with_that_alpha(configured, train):
    """Other programs scale a LoRA's alpha: at the same strength, the outputs are equal up to rounding."""
    import torch
    from safetensors.torch import load_file, save_file

    from onetrainer_gradio.engine.generation import ImageGenerator

    config = configured(learning_rate=0.3)
    train(config)
    half = {
        name: tensor / 2 if name.endswith("alpha") else tensor
        for name, tensor in load_file(config.output_model_destination).items()
    }
    other = config.output_model_destination.replace(".safetensors", "-half.safetensors")
    save_file(half, other)
    generator = ImageGenerator(config)
    there, here = (
        torch.frombuffer(bytearray(image), dtype=torch.uint8).int()
        for image in (go(generator, other), go(generator, config.output_model_destination, 0.5))
    )
    assert (there - here).abs().max() <= 1


@pytest.mark.exhaustive
def test_a_fine_tuned_model_is_loaded_instead_of_the_base(configured, train):
    from onetrainer_gradio.engine.generation import ImageGenerator

    config = configured(training_method="FINE_TUNE", output_model_format="DIFFUSERS", learning_rate=0.1)
    destination = config.output_model_destination.removesuffix(".safetensors")
    config = config.model_copy(update={"output_model_destination": destination})
    train(config)
    generator = ImageGenerator(config)
    base, tuned = go(generator, ""), go(generator, destination)
    assert base != tuned
    assert go(generator, "") == base


def test_what_is_wrong_is_named(configured, train):
    """This covers a wrong size, a missing file, and a method without a usable file."""
    from onetrainer_gradio.engine.generation import ImageGenerator

    config = configured()
    generator = ImageGenerator(config)
    with pytest.raises(ConfigValueError):
        go(generator, "", width=33)
    with pytest.raises(ModelNotFoundError):
        go(generator, "missing.safetensors")
    with pytest.raises(UnsupportedError):
        ImageGenerator(config.model_copy(update={"training_method": "EMBEDDING"}))
    assert generator.generate("", 0, SAMPLE, 7, lambda done, total: False) is None


@pytest.mark.exhaustive
def test_an_image_that_is_not_finite_is_an_error(configured, train):
    """The error replaces a black image."""
    from safetensors.torch import load_file, save_file

    from onetrainer_gradio.engine.generation import ImageGenerator

    config = configured()
    train(config)
    broken = {name: tensor * float("nan") for name, tensor in load_file(config.output_model_destination).items()}
    save_file(broken, config.output_model_destination)
    with pytest.raises(SamplingError, match="NaN"):
        go(ImageGenerator(config), config.output_model_destination)


@pytest.mark.exhaustive
def test_a_backup_is_generated_with_like_a_save(configured, train):
    """Both have the same LoRA at the same step."""
    from pathlib import Path

    from onetrainer_gradio.engine.generation import ImageGenerator

    config = configured(learning_rate=0.3, backup_before_save=True)
    train(config)
    backup = max((Path(config.workspace_dir) / "backup").iterdir())
    generator = ImageGenerator(config)
    assert go(generator, str(backup)) == go(generator, config.output_model_destination) != go(generator, "")


class OnFullDisk:
    """Generates images on a full disk."""

    def generate(self, *given: object) -> OnFullDisk:
        return self

    def save(self, path: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.exhaustive
def test_a_worker_answers_what_goes_wrong(configured, train, tmp_path):
    """This covers a missing base model, a deleted LoRA, an image too large for
    memory, and a full disk, each with a suggestion.
    """
    from onetrainer_gradio.backends.generation_worker import Loaded
    from onetrainer_gradio.config.files.documents import to_document

    config = configured()
    train(config)

    def asked(worker: Loaded, **changes: object) -> dict:
        request = {
            "config": to_document(config, packed=True),
            "result": config.output_model_destination,
            "strength": 1.0,
            "sample": SAMPLE.model_dump(mode="json"),
            "seed": 7,
            "path": str(tmp_path / "000.png"),
            "stop": str(tmp_path / "stop"),
            "facts": {**SAMPLE.model_dump(mode="json"), "seed": 7},
        }
        return worker.answer(request | changes)

    worker = Loaded()
    gone = to_document(config.model_copy(update={"base_model_name": str(tmp_path / "gone")}), packed=True)
    assert "gone" in asked(worker, config=gone)["error"]
    assert "doesn't exist" in asked(worker, result=str(tmp_path / "deleted.safetensors"))["error"]
    huge = {**SAMPLE.model_dump(mode="json"), "width": 2**20, "height": 2**20}
    answer = asked(worker, sample=huge)
    assert answer["error"].startswith("Out of memory"), answer
    assert answer["suggestion"] == "Choose a smaller image, or the CPU."
    full = asked(Loaded(lambda config: OnFullDisk()))
    assert full["error"].startswith("No space left on disk"), full
    assert full["suggestion"] == "Free up space on the disk of the data folder."
    assert asked(worker)["stopped"] is False  # and it continues afterwards


def test_a_worker_writes_the_image_with_its_parameters(configured, train, tmp_path):
    """Other programs can read them; a stop ends an image, and an error is reported."""
    from PIL import Image

    from onetrainer_gradio.backends.generation_worker import Loaded
    from onetrainer_gradio.config.files.documents import to_document

    config = configured()
    train(config)
    request = {
        "config": to_document(config, packed=True),
        "result": config.output_model_destination,
        "strength": 0.8,
        "sample": SAMPLE.model_dump(mode="json"),
        "seed": 7,
        "path": str(tmp_path / "000.png"),
        "stop": str(tmp_path / "stop"),
        "facts": {**SAMPLE.model_dump(mode="json"), "seed": 7, "lora": {"name": "cat", "strength": 0.8}},
    }
    worker = Loaded()
    answer = worker.answer(request)
    assert answer["stopped"] is False
    text = Image.open(tmp_path / "000.png").text
    assert text["parameters"].startswith("a red cross <lora:cat:0.8>\nNegative prompt: ")
    assert json.loads(text["onetrainer_gradio"])["seed"] == 7
    assert worker.answer({**request, "result": "missing.safetensors"})["error"]
    (tmp_path / "stop").touch()
    assert worker.answer({**request, "path": str(tmp_path / "001.png")})["stopped"] is True
    assert not (tmp_path / "001.png").exists()
