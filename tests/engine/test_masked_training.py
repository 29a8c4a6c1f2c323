"""Masks and prior predictions in a run (engine/training.py)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine import families
from onetrainer_gradio.errors import ConfigInvalidError
from tests.engine import toy_family

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _registered(monkeypatch) -> None:
    monkeypatch.setitem(families.FAMILIES, "STABLE_DIFFUSION_15", "tests.engine.toy_family")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return toy_family.write_model(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def masked(tmp_path, few_images) -> Path:
    """The images, each with a mask of its left half."""
    folder = tmp_path / "masked"
    shutil.copytree(few_images, folder)
    for image in sorted(folder.glob("*.png")):
        with Image.open(image) as opened:
            mask = Image.new("L", opened.size, 0)
            mask.paste(255, (0, 0, opened.size[0] // 2, opened.size[1]))
        mask.save(image.with_name(f"{image.stem}-masklabel.png"))
    return folder


@pytest.fixture
def toy(configured, model) -> Callable[..., TrainConfig]:
    return lambda **changes: configured(**{"base_model_name": str(model), "layer_filter": "", "lora_rank": 2, **changes})


def test_what_is_masked_decides_the_loss(toy, train, masked):
    """With a full unmasked weight, masks have no effect; with none, half the loss remains; normalized, it doubles."""
    _, full = train(toy(images=masked, masked_training=True, unmasked_weight=1.0))
    _, half = train(toy(images=masked, masked_training=True, unmasked_weight=0.0))
    _, even = train(toy(images=masked, masked_training=True, unmasked_weight=0.0, normalize_masked_area_loss=True))
    assert 0.3 * full.losses[0] < half.losses[0] < 0.7 * full.losses[0]
    assert even.losses[0] == pytest.approx(2 * half.losses[0], rel=0.01)


def test_prior_preservation_counts_once_the_adapter_has_an_effect(toy, train, masked):
    """At first the adapter has no effect, so there is nothing to preserve; later there is."""
    settings = {"images": masked, "masked_training": True, "unmasked_weight": 0.0, "learning_rate": 0.05}
    _, without = train(toy(**settings))
    _, kept = train(toy(**settings, masked_prior_preservation_weight=1.0))
    assert kept.losses[0] == pytest.approx(without.losses[0], rel=1e-6)
    assert kept.losses[-1] != pytest.approx(without.losses[-1], rel=1e-6)


def test_prior_prediction_trains_toward_the_model_itself(toy, train, few_images):
    """The first loss is zero, because the adapter has no effect yet; a full fine-tune has no such model."""
    _, recorder = train(toy(concept={"type": "PRIOR_PREDICTION"}))
    assert recorder.losses[0] == 0
    fine = {"training_method": "FINE_TUNE", "output_model_format": "LEGACY_SAFETENSORS"}
    with pytest.raises(ConfigInvalidError) as caught:
        train(toy(concept={"type": "PRIOR_PREDICTION"}, **fine))
    assert caught.value.path == "concepts.0.type"
