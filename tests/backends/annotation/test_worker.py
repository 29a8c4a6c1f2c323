"""Models caption and mask images; missing parts are named.

Covers ``backends/annotation/captioners.py``, ``backends/annotation/maskers.py``,
``backends/annotation/taggers.py`` and ``backends/annotation/pretrained.py``.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onetrainer_gradio.backends.annotation.taggers import Tagger
from onetrainer_gradio.backends.annotation.worker import Loaded
from tests.models.annotators import BLIP_WORDS, write_blip, write_clipseg

pytestmark = pytest.mark.slow


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("blip"))


def asked(kind: str, model: object, path: object = "", **options: Any) -> dict[str, Any]:
    what = "run" if path else "load"
    return {"what": what, "kind": kind, "model": str(model), "device": "cpu", "path": str(path), "options": options}


@pytest.mark.exhaustive
def test_a_captioner_of_transformers_writes_words_of_its_vocabulary(blip: Path, image: Path) -> None:
    """The caption is reproducible, and no longer than requested."""
    loaded = Loaded()
    assert loaded.answer(asked("transformers", blip)) == {"ok": True}
    text = loaded.answer(asked("transformers", blip, image, max_tokens=5))["text"]
    assert text
    assert set(text.split()) <= set(BLIP_WORDS)
    assert len(text.split()) <= 5
    assert loaded.answer(asked("transformers", blip, image, max_tokens=5))["text"] == text
    begun = loaded.answer(asked("transformers", blip, image, max_tokens=3, prompt="a photo of"))["text"]
    assert begun.startswith("a photo of ")  # BLIP continues its prompt


@pytest.mark.exhaustive
def test_a_mask_is_written_for_what_a_text_describes(tmp_path: Path, image: Path) -> None:
    """The mask is black and white, in the size of the image; inverted and grown on request."""
    model, made = write_clipseg(tmp_path / "clipseg"), tmp_path / "mask.png"
    loaded = Loaded()
    answer = loaded.answer(asked("text", model, image, to=str(made), prompts=["red circle", "square"], threshold=0.5))
    mask = np.asarray(Image.open(made))
    assert (mask.shape, set(np.unique(mask)) <= {0, 255}) == ((48, 64), True)
    assert answer["coverage"] == pytest.approx(mask.mean() / 255, abs=1e-3)
    loaded.answer(asked("text", model, image, to=str(made), prompts=["red circle", "square"], threshold=0.5, invert=True))
    assert (np.asarray(Image.open(made)) == 255 - mask).all()
    grown = loaded.answer(asked("text", model, image, to=str(made), prompts=["red circle", "square"], threshold=0.5, grow=3))
    assert grown["coverage"] >= answer["coverage"]


def test_a_tagger_lists_the_tags_above_its_thresholds(tmp_path: Path, image: Path) -> None:
    """The most probable tags come first; ratings and unwanted tags are omitted; pixels are BGR on a white square."""
    (tmp_path / "tags.csv").write_text(
        "tag_id,name,category,count\n1,general,9,1\n2,red_hair,0,1\n3,^_^,0,1\n4,dog,0,1\n5,miku,4,1\n"
    )
    seen: list[np.ndarray] = []

    class Session:
        """Responds like a model of onnxruntime."""

        def get_inputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(name="input", shape=[1, 32, 32, 3])]

        def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(inputs["input"])
            return [np.array([[0.9, 0.5, 0.8, 0.2, 0.86]], np.float32)]

    tagger = Tagger("tagger", "cpu", Session(), tmp_path / "tags.csv")
    assert tagger.run(str(image), {})["text"] == "miku, ^_^, red hair"
    assert tagger.run(str(image), {"threshold": 0.1, "character_threshold": 0.9, "without": ["dog"]})["text"] == "^_^, red hair"
    Image.new("RGB", (32, 16), (255, 0, 0)).save(image)
    tagger.run(str(image), {})
    assert (seen[-1].shape, seen[-1].dtype) == ((1, 32, 32, 3), np.float32)
    assert seen[-1][0, 16, 16].tolist() == [0, 0, 255]
    assert seen[-1][0, 0, 0].tolist() == [255, 255, 255]


def test_a_model_that_is_not_there_is_named(tmp_path: Path, image: Path, blip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This covers offline mode, an empty folder, a missing package, and an unreadable image."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the library reads the variable when it is imported
    loaded = Loaded()
    offline = loaded.answer(asked("transformers", "nobody/nothing"))
    assert (offline["model"], "nobody/nothing" in offline["error"]) == (True, True)
    assert "Hugging Face Hub" in offline["error"]
    empty = loaded.answer(asked("text", tmp_path))
    assert (empty["model"], "folder" in empty["error"]) == (True, True)
    assert "rembg" in loaded.answer(asked("background", "u2net"))["error"]
    assert "onnxruntime" in loaded.answer(asked("tagger", "nobody/tagger"))["error"]
    (tmp_path / "broken.png").write_bytes(b"x")
    assert "can't be read" in loaded.answer(asked("transformers", blip, tmp_path / "broken.png"))["error"]
