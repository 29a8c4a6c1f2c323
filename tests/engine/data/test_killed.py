"""A process killed while filling the cache loses at most the image or caption being encoded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image

from onetrainer_gradio.engine.staging import UNFINISHED
from tests.engine.data.test_dataset import Averages
from tests.engine.data.test_masks import opened
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

IMAGES = 40
ROOT = Path(__file__).parents[3]


class Slow(Averages):
    """A slow encoder, so that a kill interrupts it."""

    def encode_image(self, image):
        time.sleep(0.02)
        return super().encode_image(image)

    def encode_text(self, tokens):
        time.sleep(0.01)
        return super().encode_text(tokens)


def fill(folder: str) -> None:
    """Encode everything that isn't cached; runs in the process that is killed."""
    opened(Path(folder), Slow(), masked_training=True)


def files(folder: Path) -> set[Path]:
    """Return the complete files of the cache."""
    for _ in range(100):
        with suppress(FileNotFoundError):  # the process finished and renamed a folder in the meantime
            found = (folder.parent / "cache").rglob("*.safetensors")
            return {path for path in found if not path.parent.name.startswith(UNFINISHED)}
    raise AssertionError("the folders don't come to rest")


def test_a_killed_start_continues_where_it_was(tmp_path):
    """After three random kills, encoded data is kept, everything is encoded once, and no partial file remains."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(IMAGES):
        Image.new("RGB", (48, 32), (6 * number, 0, 0)).save(folder / f"{number:02d}.png")
        Image.new("L", (48, 32), 255).save(folder / f"{number:02d}-masklabel.png")
        (folder / f"{number:02d}.txt").write_text(f"caption {'x' * number}")
    code = f"from tests.engine.data.test_killed import fill; fill({str(folder)!r})"
    random, seen = Random(5), 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        try:
            target = seen + random.randint(5, 20)
            until(lambda: len(files(folder)) >= target or process.poll() is not None, 120, 0.005)  # noqa: B023 - called at once
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(files(folder)) >= target
        seen = len(files(folder))
    encoder = Averages()
    data = opened(folder, encoder, masked_training=True)
    assert len(encoder.images) + len(encoder.texts) == 2 * IMAGES - seen
    assert len(files(folder)) == 2 * IMAGES
    assert not list((folder.parent / "cache").rglob(f"{UNFINISHED}*"))
    left = [path for path in (folder.parent / "cache").rglob("*") if path.is_file() and path not in files(folder)]
    assert [path.name for path in left if path.suffix == ".tmp" or path.name.startswith(".tmp")] == []
    for batch in data.batches(0):
        number = int(batch.images[0].stem)
        assert batch.tensors["latents"][0, 0, 0, 0].item() == pytest.approx(6 * number / 255)
        assert torch.equal(batch.tensors["mask"], torch.ones(1, 1, 4, 6))
        assert batch.tensors["hidden"].flatten().tolist() == [len(batch.captions[0])]
    again = Averages()
    opened(folder, again, masked_training=True)
    assert not again.images
    assert not again.texts
