"""Sizes read without Pillow equal those that Pillow reads."""

from __future__ import annotations

import io
from random import Random

import pytest
from PIL import Image, PngImagePlugin

from onetrainer_gradio.config.dataset.headers import plain_size
from onetrainer_gradio.config.dataset.images import BrokenImageError, pillow_size, read_size


def encoded(kind, mode="RGB", size=(37, 21), **options):
    out = io.BytesIO()
    Image.effect_noise(size, 40).convert(mode).save(out, kind, **options)
    return out.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def texts(**content):
    info = PngImagePlugin.PngInfo()
    for name, text in content.items():
        info.add_text(name.replace("_", " "), text)
    return info


PLAIN = {
    "png": encoded("PNG"),
    "png with transparency": encoded("PNG", "RGBA"),
    "png with a palette": encoded("PNG", "P", size=(200, 100)),
    "gray png": encoded("PNG", "LA"),
    "png with parameters": encoded("PNG", pnginfo=texts(parameters="steps: 20"), dpi=(72, 72)),
    "large png": encoded("PNG", size=(900, 700), compress_level=0),
    "jpeg": encoded("JPEG", size=(400, 300)),
    "gray jpeg": encoded("JPEG", "L"),
    "progressive jpeg": encoded("JPEG", progressive=True, quality=95, subsampling=0),
    "jpeg with comment and density": encoded("JPEG", comment=b"hello", dpi=(72, 72)),
}
OTHERS = {
    "turned jpeg": encoded("JPEG", exif=turned(6)),
    "turned png": encoded("PNG", exif=turned(8)),
    "cmyk": encoded("JPEG", "CMYK"),
    "png with xmp": encoded("PNG", pnginfo=texts(XML_com="x")),
    "apng": encoded("PNG", save_all=True, append_images=[Image.new("RGB", (37, 21))]),
    "webp": encoded("WEBP"),
    "bmp": encoded("BMP"),
    "gif": encoded("GIF", "P"),
    "text": b"hello",
    "nothing": b"",
}


def by_pillow(path):
    try:
        return pillow_size(path)
    except BrokenImageError:
        return None


@pytest.mark.parametrize("name", [*PLAIN, *OTHERS])
def test_the_size_is_that_of_pillow(tmp_path, name):
    """Plain files are read without Pillow, others with it."""
    path = tmp_path / "file"
    path.write_bytes((PLAIN | OTHERS)[name])
    found = plain_size(path, path.stat().st_size)
    if name in PLAIN and name != "png with a palette":
        assert found is not None
    if found is not None:
        assert found == by_pillow(path)
    if by_pillow(path) is not None:
        assert read_size(path) == by_pillow(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_damaged_files_are_left_to_pillow(tmp_path, name):
    """A file cut off anywhere, or with a wrong byte in the header, never gives a size that Pillow doesn't read."""
    content, random = PLAIN[name], Random(name)
    path = tmp_path / "file"
    places = [random.randrange(len(content)) for _ in range(12)]
    damaged = [content[:at] for at in places]
    for _ in range(40):
        changed = bytearray(content)
        changed[random.randrange(min(len(content), 700))] = random.randrange(256)
        damaged.append(bytes(changed))
    for data in damaged:
        path.write_bytes(data)
        if (found := plain_size(path, len(data))) is not None:
            assert found == by_pillow(path), data[:64]
