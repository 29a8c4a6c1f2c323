"""A separate process with limits decodes images for the page.

Covers ``service/datasets/image_worker.py``.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import zlib

import psutil
import pytest
from PIL import Image

from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation
from onetrainer_gradio.errors import BusyError, DatasetError
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def decoder():
    decoder = ImageDecoder()
    yield decoder
    decoder.close()


def opened(content):
    return Image.open(io.BytesIO(content))


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bomb(path, side, kind=2):
    """Return a PNG of one color: 8 bits of gray (0) or RGB (2)."""
    packer, row = zlib.compressobj(1), bytes(1 + side * (3 if kind == 2 else 1))
    content = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, kind, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", content) + chunk(b"IEND", b""))
    return path


@pytest.mark.exhaustive
def test_thumbnails_and_previews(decoder, tmp_path):
    """They are upright and small, and one process decodes all of them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 200), (200, 30, 30)).save(tmp_path / "x.jpg", exif=exif)
    assert opened(decoder.thumbnail(tmp_path / "x.jpg", 96, 192)).size == (96, 192)
    augmentation = ImageAugmentation((512, 256), (256, 256), (100, 0), flipped=True, angle=3.0, hue=0.2, brightness=1.1)
    original, *drawn = decoder.preview(tmp_path / "x.jpg", [augmentation, augmentation], 128)
    assert opened(original).size == (128, 256)
    assert [opened(each).size for each in drawn] == [(128, 128)] * 2
    first = decoder._process
    decoder.thumbnail(tmp_path / "x.jpg", 96, 192)
    assert decoder._process is first


@pytest.mark.exhaustive
def test_a_process_that_exited_is_started_again(decoder, tmp_path):
    """It exits after a while without requests."""
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    decoder.thumbnail(tmp_path / "x.png", 96, 192)
    decoder._process.kill()
    decoder._process.wait()
    assert decoder.thumbnail(tmp_path / "x.png", 96, 192)


@pytest.mark.exhaustive
@pytest.mark.alone
def test_an_image_bomb_costs_neither_memory_nor_time(decoder, tmp_path):
    """For 13,300 pixels square, the header of a color image is rejected; a gray one fits into the limit."""
    color, gray = bomb(tmp_path / "color.png", 13300), bomb(tmp_path / "gray.png", 13300, kind=0)
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    decoder.thumbnail(tmp_path / "x.png", 96, 192)
    here, there = psutil.Process(), psutil.Process(decoder._process.pid)
    before, started = here.memory_info().rss, time.monotonic()
    with pytest.raises(DatasetError, match="13300 × 13300"):
        decoder.thumbnail(color, 96, 192)
    assert time.monotonic() - started < 1
    augmentations = [ImageAugmentation((512, 512), (512, 512), (0, 0))] * 6
    assert len(decoder.preview(gray, augmentations, 320)) == 7
    assert time.monotonic() - started < 10
    assert here.memory_info().rss - before < 20e6
    assert there.memory_info().rss < 900e6


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0" + bytes(100), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_cannot_be_shown_is_an_error_and_the_next_one_works(decoder, tmp_path, content):
    """The process survives the error."""
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.png"):
        decoder.thumbnail(tmp_path / "x.png", 96, 192)
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    assert decoder.thumbnail(tmp_path / "x.png", 96, 192)


@pytest.mark.exhaustive
def test_an_image_of_extreme_sides_ends_at_the_memory_limit(decoder, tmp_path):
    """Scaling an image one pixel high would give hundreds of millions of pixels."""
    Image.new("L", (60000, 1)).save(tmp_path / "x.png")
    with pytest.raises(DatasetError, match="memory"):
        decoder.preview(tmp_path / "x.png", [ImageAugmentation((256, 15_360_000), (256, 1024), (0, 0))], 320)
    assert decoder.thumbnail(tmp_path / "x.png", 96, 192)


@pytest.mark.exhaustive
@pytest.mark.alone
def test_decoding_ends_at_its_time_limit(tmp_path):
    """The process is killed, and the next image gets a new one."""
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    os.mkfifo(tmp_path / "pipe.png")  # opening it waits for a writer
    decoder = ImageDecoder(limit_s=1.0, starting_s=0.0)
    decoder.thumbnail(tmp_path / "x.png", 96, 192)
    started = time.monotonic()
    with pytest.raises(DatasetError, match="more than 1 s"):
        decoder.thumbnail(tmp_path / "pipe.png", 96, 192)
    assert time.monotonic() - started < 5
    decoder.close()


@pytest.mark.exhaustive
def test_too_many_at_a_time_are_asked_to_come_again(decoder, tmp_path):
    """Waiting requests don't accumulate."""
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    results = []

    def ask():
        try:
            results.append(decoder.thumbnail(tmp_path / "x.png", 96, 192))
        except BusyError as error:
            results.append(error)

    with decoder._turn:
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        until(lambda: len(results) >= 12)
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, BusyError) for result in results) == 12
