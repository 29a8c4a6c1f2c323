"""Crops, rotations and masks are written losslessly, and the original is kept.

Covers ``service/datasets/pixels.py``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onetrainer_gradio.errors import ConfigValueError, DatasetError, PathExistsError
from onetrainer_gradio.service.datasets.datasets import Datasets
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from tests.service.datasets.test_captions import datasets_in

pytestmark = pytest.mark.slow

CATS = "cats"
ORIENTATION = 0x0112


@pytest.fixture
def datasets(tmp_path: Path, decoder: ImageDecoder) -> Iterator[Datasets]:
    folder = tmp_path / CATS
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    (folder / "a.txt").write_text("a cat")
    Image.fromarray(noise[..., 0]).save(folder / "a-masklabel.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(noise).save(folder / "b.jpg", exif=exif, quality=95)
    (folder / "broken.png").write_bytes(b"no image")
    found = datasets_in(tmp_path, decoder)
    yield found
    found.close()


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_crop_and_a_rotation_keep_every_pixel(datasets: Datasets, tmp_path: Path) -> None:
    """The mask changes in the same way, the caption stays, and the original can be restored."""
    before, mask = pixels(tmp_path / CATS / "a.png"), pixels(tmp_path / CATS / "a-masklabel.png")
    edited = datasets.edits.edit(CATS, "a.png", rotate=90, crop=(10, 5, 30, 20))
    assert edited["path"] == "a.png"
    assert (pixels(tmp_path / CATS / "a.png") == np.rot90(before[5:25, 10:40], -1)).all()
    assert (pixels(tmp_path / CATS / "a-masklabel.png") == np.rot90(mask[5:25, 10:40], -1)).all()
    assert datasets.captions.read(CATS, "a.png")["text"] == "a cat"
    kept = tmp_path / CATS / ".trash" / edited["entry"] / "files" / "a.png"
    assert (pixels(kept) == before).all()
    assert not list((tmp_path / CATS).glob(".*.tmp"))


def test_the_orientation_in_the_metadata_becomes_pixels(datasets: Datasets, tmp_path: Path) -> None:
    """Then every program shows the image upright; a JPEG becomes a PNG with the same pixels."""
    upright = np.rot90(pixels(tmp_path / CATS / "b.jpg"), -1)
    assert datasets.edits.edit(CATS, "b.jpg")["path"] == "b.png"
    assert (pixels(tmp_path / CATS / "b.png") == upright).all()
    assert Image.open(tmp_path / CATS / "b.png").getexif().get(ORIENTATION, 1) == 1
    assert not (tmp_path / CATS / "b.jpg").exists()


def test_a_change_that_is_not_possible_leaves_everything(datasets: Datasets, tmp_path: Path) -> None:
    """This covers a crop beyond the image, an unsupported angle, a broken image and an existing name."""
    for rotate, crop in ((45, None), (0, (0, 0, 61, 10)), (0, (-1, 0, 5, 5)), (0, (0, 0, 0, 5))):
        with pytest.raises(ConfigValueError):
            datasets.edits.edit(CATS, "a.png", rotate=rotate, crop=crop)
    with pytest.raises(DatasetError):
        datasets.edits.edit(CATS, "broken.png", rotate=90)
    (tmp_path / CATS / "b.png").write_bytes(b"taken")
    with pytest.raises(PathExistsError):
        datasets.edits.edit(CATS, "b.jpg", rotate=90)
    assert not (tmp_path / CATS / ".trash").exists()


def test_a_drawn_mask_is_written_in_the_size_of_the_image(datasets: Datasets, tmp_path: Path) -> None:
    """It is grayscale, under OneTrainer's name; the earlier mask is in the trash; transparent pixels are black."""
    painted = np.zeros((20, 30, 4), np.uint8)
    painted[:, :15] = 255
    painted[:, 15:] = (255, 255, 255, 0)
    out = io.BytesIO()
    Image.fromarray(painted).save(out, "PNG")
    assert datasets.edits.put_mask(CATS, "a.png", out.getvalue()) == {"mask": "a-masklabel.png"}
    written = pixels(tmp_path / CATS / "a-masklabel.png")
    assert (written.shape, written[0, 0], written[0, -1]) == ((40, 60), 255, 0)
    assert len(datasets.moves.trash_entries(CATS)) == 1
    datasets.edits.remove_mask(CATS, "a.png")
    assert not (tmp_path / CATS / "a-masklabel.png").exists()
    with pytest.raises(DatasetError):
        datasets.edits.put_mask(CATS, "a.png", b"no image")
    assert not list((tmp_path / CATS).glob(".*.tmp"))
