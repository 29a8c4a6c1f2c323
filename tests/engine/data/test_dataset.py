"""What is encoded and cached, and what a batch contains."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation
from onetrainer_gradio.engine.data.augmentation import moved
from onetrainer_gradio.engine.data.dataset import Collection, Dataset, Reports
from onetrainer_gradio.engine.data.seeds import Loader
from onetrainer_gradio.engine.data.transforms import to_tensor
from onetrainer_gradio.engine.reporter import StopRequested


@dataclass
class Averages:
    """An encoder that records what it encoded: latents are the image, text is the tokens."""

    size_multiple_px: ClassVar[int] = 8
    latent_factor: ClassVar[int] = 8
    model: str = "one"
    layer_skip: int = 0
    takes: dict[str, bool] = field(default_factory=dict)
    images: list[Any] = field(default_factory=list)
    texts: list[Any] = field(default_factory=list)

    def loader(self):
        return Loader(**self.takes)

    def image_facts(self):
        return {"model": self.model}

    def text_facts(self):
        return {"model": self.model, "layer_skip": self.layer_skip}

    def encode_image(self, image):
        self.images.append(image)
        names = {"image": "latents", "conditioning": "conditioning_latents"}
        return {names[name]: tensor.clone() for name, tensor in image.items()}

    def tokenize(self, caption):
        return {"tokens": torch.tensor([len(caption)])}

    def encode_text(self, tokens):
        self.texts.append(tokens["tokens"])
        return {"hidden": tokens["tokens"][..., None].float()}

    def collate(self, items):
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text(f"caption {'x' * number}")
    return images


def opened(folder, encoder, *, reports=None, text_fixed=True, concept=None, **changes):
    config = TrainConfig.model_validate(
        {
            "cache_dir": str(folder.parent / "cache"),
            "resolution": "32",
            "batch_size": 2,
            "concepts": [{"path": str(folder), **(concept or {})}],
            **changes,
        }
    )
    reports = reports or Reports(lambda warning: None, lambda done, total: None, lambda: None)
    collection = Collection.of(config, reports, validation=False)
    data = Dataset.open(config, encoder, reports, collection=collection, text_fixed=text_fixed, dtype=torch.float32, facts={})
    data.prepare(0)
    return data


@pytest.mark.slow
def test_everything_is_encoded_once(folder):
    """A second start with the same data encodes nothing."""
    encoder = Averages()
    opened(folder, encoder)
    assert (len(encoder.images), len(encoder.texts)) == (4, 4)
    again = Averages()
    data = opened(folder, again)
    assert (len(again.images), len(again.texts)) == (0, 0)
    assert len(list(data.batches(0))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "images", "texts"),
    [
        ({"encoder": {"model": "two"}}, 4, 4),
        ({"encoder": {"layer_skip": 1}}, 0, 4),
        ({"resolution": "64"}, 4, 0),
        ({"resolution": "64x32"}, 4, 0),
        ({"concept": {"image": {"enable_fixed_flip": True}}}, 4, 0),
        ({"batch_size": 1, "epochs": 7, "concept": {"balancing": 2}}, 0, 0),
        ({"text_fixed": False}, 0, 0),
    ],
)
def test_only_what_changed_is_encoded_again(folder, change, images, texts):
    """Model, text encoder settings, resolution and crop count; batch size and epochs don't."""
    opened(folder, Averages())
    encoder = Averages(**change.pop("encoder", {}))
    opened(folder, encoder, **change)
    assert (len(encoder.images), len(encoder.texts)) == (images, texts)


@pytest.mark.slow
def test_only_the_changed_image_or_caption_is_encoded_again(folder):
    """One image is new, one changed, one caption edited, one image removed."""
    opened(folder, Averages())
    Image.new("RGB", (32, 32), (0, 99, 0)).save(folder / "1.png")
    Image.new("RGB", (32, 32), (0, 0, 99)).save(folder / "9.png")
    (folder / "9.txt").write_text("caption x")  # the caption of another image: it is already encoded
    (folder / "2.txt").write_text("something else")
    (folder / "3.png").unlink()
    encoder = Averages()
    opened(folder, encoder)
    assert (len(encoder.images), len(encoder.texts)) == (2, 1)


@pytest.mark.slow
def test_a_damaged_or_vanished_entry_is_encoded_again(folder):
    """Clearing the cache during a run only costs time."""
    encoder = Averages()
    data = opened(folder, encoder)
    shutil.rmtree(folder.parent / "cache")
    data._images._held.clear()
    data._texts._held.clear()
    assert len(list(data.batches(0))) == 2
    assert len(encoder.images) == 8
    fresh = opened(folder, Averages())
    for file in (folder.parent / "cache").rglob("*.safetensors"):
        file.write_bytes(b"\0" * 10)
    fresh._images._held.clear()
    assert len(list(fresh.batches(0))) == 2


@pytest.mark.slow
def test_a_batch_holds_what_belongs_together(folder):
    """Latents, tokens, text, weight, path and caption of each image have the same index."""
    data = opened(folder, Averages(), concept={"loss_weight": 0.5})
    for batch in data.batches(0):
        for place, path in enumerate(batch.images):
            number = int(path.stem)
            assert batch.captions[place] == f"caption {'x' * number}".strip()
            assert batch.tensors["latents"][place, 0, 0, 0].item() == pytest.approx(60 * number / 255)
            assert batch.tensors["tokens"][place].item() == len(batch.captions[place])
            assert batch.tensors["hidden"][place].item() == len(batch.captions[place])
        assert batch.loss_weight_B.tolist() == [0.5, 0.5]


@pytest.mark.slow
def test_a_trained_text_encoder_gets_tokens_only(folder):
    """Its output changes with every step, so nothing is cached."""
    encoder = Averages()
    data = opened(folder, encoder, text_fixed=False)
    assert not encoder.texts
    assert "hidden" not in next(data.batches(0)).tensors


@pytest.mark.slow
def test_captions_vary_with_the_variation(folder):
    """For each variation, one of several lines is chosen, always the same one."""
    for number in range(4):
        (folder / f"{number}.txt").write_text("\n".join("abcdefgh"))
    data = opened(folder, Averages(), concept={"text_variations": 5})
    drawn = {data.caption(item) for epoch in range(5) for item in data.items(epoch)}
    assert len(drawn) > 3
    again = opened(folder, Averages(), concept={"text_variations": 5})
    for epoch in range(5):
        assert [again.caption(item) for item in again.items(epoch)] == [data.caption(item) for item in data.items(epoch)]


@pytest.mark.slow
def test_random_flips_are_decided_by_image_and_variation(folder):
    """About half of many variations are flipped, always the same ones."""
    concept = {"image": {"enable_random_flip": True}, "image_variations": 20}
    data = opened(folder, Averages(), concept=concept)
    flips = [data.transform(item).augmentation.flipped for epoch in range(20) for item in data.items(epoch)]
    assert 20 < sum(flips) < 60
    again = opened(folder, Averages(), concept=concept)
    assert [again.transform(item).augmentation.flipped for epoch in range(20) for item in again.items(epoch)] == flips


@pytest.mark.slow
def test_a_concept_can_have_a_resolution_of_its_own(folder):
    """The setting is ``enable_resolution_override``."""
    image = {"enable_resolution_override": True, "resolution_override": "64"}
    data = opened(folder, Averages(), concept={"image": image})
    assert next(data.batches(0)).tensors["latents"].shape == (2, 3, 64, 64)


@pytest.mark.slow
def test_a_stop_ends_the_encoding(folder):
    """The stop check is called after each image."""
    asked = []

    def check():
        asked.append(None)
        if len(asked) > 6:
            raise StopRequested

    with pytest.raises(StopRequested):
        opened(folder, Averages(), reports=Reports(lambda warning: None, lambda done, total: None, check))
    assert len(list((folder.parent / "cache").rglob("*.safetensors"))) < 8


def test_images_are_scaled_cropped_and_flipped():
    """Scaling is bilinear with antialiasing, values are 0 to 1, and the transform sets the crop."""
    image = torch.arange(64, dtype=torch.uint8).reshape(8, 8, 1).expand(8, 8, 3).numpy()
    image = to_tensor(image, torch.float32)
    assert image.shape == (3, 8, 8)
    cut = moved(image, ImageAugmentation((8, 8), (4, 2), (2, 3)))
    assert torch.equal(cut, image[:, 2:6, 3:5])
    mirrored = moved(image, ImageAugmentation((8, 8), (4, 2), (2, 3), flipped=True))
    assert torch.equal(mirrored, cut.flip(2))
    half = moved(image, ImageAugmentation((4, 4), (4, 4), (0, 0)))
    assert half.shape == (3, 4, 4)
    assert half.mean().item() == pytest.approx(image.mean().item(), abs=1e-3)
