"""Read images for training: the size from the file header alone, and the pixels upright in 8-bit RGB.

An image that Pillow can't read completely is broken, regardless of the exception. Pillow is imported when an image is read.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onetrainer_gradio.config.dataset.headers import plain_size

if TYPE_CHECKING:
    from PIL import Image

Size = tuple[int, int]

FORMATS = ("BMP", "DIB", "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "GIF")
"""The allowed formats of a file, regardless of its suffix; other decoders, such as PostScript, never run."""
_OTHER_FORMATS = ("JPEG2000", "TGA", "PPM", "ICO", "PCX", "QOI", "PSD", "HEIF", "JXL")
_PLUGINS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), ("pillow_heif", "register_heif_opener", "pillow-heif")),
    ".jxl": ("pillow_jxl", "", "pillow-jxl-plugin"),
}
"""Suffix -> module that reads it, its function that makes Pillow use it, and the package to install."""
MODES = frozenset(["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"])
MAX_SHOWN_BYTES = 320 * 1024 * 1024
# bytes per pixel while it is decoded, where that isn't 4
_SHOWN_BYTES = {"L": 1, "1": 2, "P": 5, "I;16": 8, "I;16B": 8, "I;16L": 8}
MAX_METADATA_BYTES = 64 * 1024 * 1024
MAX_JPEG_HEADER_BYTES = 32 * 1024 * 1024
_MAX_FILE_BYTES = 512 * 1024 * 1024  # of a format that is read into memory as a whole
_MAX_CHUNKS = 200_000
# decoded where only a header is needed: 150 MB at most, as the panel reads sizes in its own process
_MAX_VERIFIED_PIXELS = 16_000_000
_TAILS_BYTES = (512, 64 * 1024)
_END_OF_JPEG = b"\xff\xd9"
_ROW_BITS = {"1": 1, "RGB": 24, "RGBA": 32}
_EMPTY_CHUNK_BYTES = 12
_TIFF_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_ORIENTATION, _BITS, _PHOTOMETRIC, _PLANES = 0x0112, 258, 262, 284
_WHITE_IS_ZERO, _SEPARATE = 0, 2
DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""The exceptions of Pillow's parsers for damaged files and metadata, in addition to system errors."""


class BrokenImageError(ValueError):
    """A file that can't be trained as an image; the message is the reason, for people."""


def read_size(path: str | Path) -> Size:
    """Return height and width of the upright image, from the header; decode a file that looks truncated.

    :raises BrokenImageError: when it can't be trained.
    """
    try:
        size = plain_size(path, os.stat(path).st_size)
    except OSError as error:
        raise BrokenImageError(error.strerror or str(error)) from error
    return pillow_size(path) if size is None else size


def pillow_size(path: str | Path) -> Size:
    """Return the same by Pillow, which reads every format and takes longer.

    :raises BrokenImageError: when it can't be trained.
    """
    with _opened(path) as image:
        width, height = image.size
        turned = _is_turned(image)
        if width * height <= _MAX_VERIFIED_PIXELS and _seems_cut_short(image, os.path.getsize(path)):
            image.load()
        return (width, height) if turned else (height, width)


def decode(path: str | Path) -> Image.Image:
    """Return the first frame, upright and in RGB.

    :raises BrokenImageError: when it can't be trained.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        to_rgb = _conversion(image)
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))


def decode_upright(path: str | Path) -> Image.Image:
    """Return the first frame upright, with the bits and channels that it has.

    :raises BrokenImageError: when it can't be trained, or takes more than ``MAX_SHOWN_BYTES`` to decode.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        if image.width * image.height * _SHOWN_BYTES.get(image.mode, 4) > MAX_SHOWN_BYTES:
            raise BrokenImageError(f"its {image.width} × {image.height} pixels take too much memory")
        image.load()
        upright: Image.Image = ImageOps.exif_transpose(image)
        return upright


def is_rotated(path: str | Path) -> bool:
    """Return whether the metadata rotate or flip the stored pixels; programs that ignore it show them differently.

    :raises BrokenImageError: when it can't be trained.
    """
    with _opened(path) as image:
        return int(image.getexif().get(_ORIENTATION, 1) or 1) in range(2, 9)


def decode_small(path: str | Path, min_px: int) -> Image.Image:
    """Return the image for display: both sides at least ``min_px`` if the image is that large, in limited memory.

    :raises BrokenImageError: when it can't be trained, or takes more than ``MAX_SHOWN_BYTES`` to decode.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        full = image.size
        image.draft("RGB", (min_px, min_px))
        if image.width * image.height * _SHOWN_BYTES.get(image.mode, 4) > MAX_SHOWN_BYTES:
            raise BrokenImageError(f"its {full[0]} × {full[1]} pixels take too much memory to be shown; it can be trained")
        to_rgb = _conversion(image)
        image.load()
        small: Image.Image = image.convert("L") if image.mode == "1" else image
        factor = min(small.width, small.height) // max(1, min_px)
        if factor > 1 and small.mode in ("L", "RGB", "RGBA", "CMYK"):
            small = small.reduce(factor)
        return to_rgb(ImageOps.exif_transpose(small))


def decode_other(path: str | Path) -> Image.Image:
    """Return the image of a file in a format that isn't trained, to convert it.

    :raises BrokenImageError: when it can't be read, takes too much memory, or needs a package that isn't installed.
    """
    from PIL import ImageOps

    suffix = os.path.splitext(path)[1].lower()
    package, register, name = _PLUGINS.get(suffix, ("", "", ""))
    if package:
        try:
            plugin = import_module(package)
        except ImportError as error:
            raise BrokenImageError(f"reading {suffix} requires the Python package {name}") from error
        if register:
            getattr(plugin, register)()
    with _opened(path, (*FORMATS, *_OTHER_FORMATS)) as image:
        if image.width * image.height * _SHOWN_BYTES.get(image.mode, 4) > MAX_SHOWN_BYTES:
            raise BrokenImageError(f"its {image.width} × {image.height} pixels take too much memory")
        to_rgb = _conversion(image)
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))


def is_jpeg(path: str | Path) -> bool:
    """Return whether a file is a JPEG, regardless of its suffix.

    :raises BrokenImageError: when it can't be trained.
    """
    with _opened(path) as image:
        return image.format in ("JPEG", "MPO")


def size_of(path: Path) -> Size | str:
    """Return height and width of an image for training, or the problem with the file."""
    try:
        return read_size(path)
    except BrokenImageError as error:
        return str(error)


@contextmanager
def _opened(path: str | Path, formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    # the decoders that Pillow doesn't load by itself when formats are named
    from PIL import AvifImagePlugin, Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401

    try:
        with open(path, "rb") as file:
            _refuse_bombs(file, os.path.getsize(path))
            file.seek(0)
            Image.preinit()
            with Image.open(file, formats=[name for name in formats if name in Image.OPEN]) as image:
                if not all(image.size):
                    raise BrokenImageError("it has no pixels")
                if image.mode not in MODES and not image.mode.startswith("I;16"):
                    raise BrokenImageError(
                        f"its pixels have the format {image.mode} (32-bit or floating-point numbers have no fixed range); "
                        "save it with 8 or 16 bits per channel"
                    )
                if _is_misread(image):
                    raise BrokenImageError(
                        "its 16-bit channels are stored one after another without compression; save it with interleaved channels"
                    )
                yield image
    except BrokenImageError:
        raise
    except UnidentifiedImageError as error:
        raise BrokenImageError("it isn't a readable image") from error
    except Image.DecompressionBombError as error:
        raise BrokenImageError("it is too large to be opened safely") from error
    except OSError as error:
        raise BrokenImageError(error.strerror or str(error)) from error
    except MemoryError as error:
        raise BrokenImageError("out of memory while decoding it") from error
    except DAMAGED as error:
        raise BrokenImageError(f"it is damaged ({type(error).__name__}: {error})") from error


def _is_misread(image: Image.Image) -> bool:
    """Return whether Pillow misreads the 16-bit planes of a TIFF as 8 bits; it reads compressed ones correctly."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (1,))
    wide = len(bits) > 1 and max(bits) > 8 if isinstance(bits, tuple) else False
    return wide and tags.get(_PLANES) == _SEPARATE and any(tile[0] == "raw" for tile in getattr(image, "tile", ()))


# -- orientation --------------------------------------------------------------------------------------------------------


def _is_turned(image: Image.Image) -> bool:
    """Return whether decoding swaps the sides in the header; uses the code that rotates pixels, on two pixels."""
    from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

    info: Mapping[Any, Any] = image.info
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _ORIENTATION in image.tag_v2:
        return False  # its size is that of the upright image already
    if isinstance(image, PngImagePlugin.PngImageFile):
        _read_png_tail(image)
    metadata: dict[Any, Any] = {
        key: info[key] for key in ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp") if key in info
    }
    if not metadata:
        return False
    probe = Image.new("1", (2, 1))
    probe.info = metadata
    return ImageOps.exif_transpose(probe).size == (1, 2)


def _read_png_tail(image: Any) -> None:
    """Read the chunks after the pixels, which may contain metadata; Pillow would decode all pixels first."""
    file, stream = image.fp, image.png
    file_bytes = os.fstat(file.fileno()).st_size
    after_pixels = False
    for at, length, cid in list(_chunks(file)):
        if at + length + _EMPTY_CHUNK_BYTES > file_bytes:
            raise BrokenImageError("the file is truncated")
        after_pixels = after_pixels or cid == b"IDAT"
        if after_pixels and cid in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            file.seek(at)
            stream.call(*stream.read())


def _chunks(file: Any) -> Iterator[tuple[int, int, bytes]]:
    """Yield position, length and name of each chunk of a PNG."""
    at = 8
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return  # Pillow reports the error
        length, cid = struct.unpack(">I4s", head)
        yield at, length, cid
        if cid == b"IEND":
            return
        at += length + _EMPTY_CHUNK_BYTES
    raise BrokenImageError("it has too many chunks")


def _seems_cut_short(image: Any, file_bytes: int) -> bool:
    """Return whether the end of the pixels is missing in the file; Pillow reads some of these files anyway."""
    if image.format in ("JPEG", "MPO"):
        # most files end with their pixels, some with other data
        return not any(_END_OF_JPEG in _tail(image.fp, file_bytes, length) for length in _TAILS_BYTES)
    if image.format in ("TIFF", "BMP", "DIB"):
        tags = getattr(image, "tag_v2", {})
        parts = [
            *zip(tags.get(273, ()), tags.get(279, ()), strict=False),
            *zip(tags.get(324, ()), tags.get(325, ()), strict=False),
        ]
        stored = max((at + length for at, length in parts), default=0)
        row_bytes = (image.width * _ROW_BITS.get(image.mode, 8) + 7) // 8
        return stored > file_bytes or (not tags and row_bytes * image.height > file_bytes)
    return False


def _tail(file: Any, file_bytes: int, length: int) -> bytes:
    before = file.tell()
    file.seek(max(0, file_bytes - length))
    content: bytes = file.read(length)
    file.seek(before)
    return content


# -- pixels -------------------------------------------------------------------------------------------------------------


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return how to convert the decoded image to RGB; called before decoding, which discards the tags of a TIFF."""
    if not image.mode.startswith("I;16"):
        return lambda decoded: decoded.convert("RGB")
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (16,))
    shift = max(0, (bits[0] if isinstance(bits, tuple) else int(bits)) - 8)
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO

    def to_rgb(decoded: Image.Image) -> Image.Image:
        import numpy
        from PIL import Image

        gray = (numpy.asarray(decoded) >> shift).clip(0, 255).astype(numpy.uint8)
        return Image.fromarray(255 - gray if inverted else gray).convert("RGB")

    return to_rgb


# -- files made to exhaust memory ---------------------------------------------------------------------------------------


def _refuse_bombs(file: Any, size: int) -> None:
    """Raise an error for a file that would exhaust memory while Pillow reads the header."""
    head = file.read(16)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        _refuse_png_chunks(file)
    elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _refuse_tiff_tags(file, head)
    elif head.startswith(b"\xff\xd8"):
        _refuse_jpeg_segments(file)
    elif (head[:4] == b"RIFF" or head[4:8] == b"ftyp") and size > _MAX_FILE_BYTES:
        raise BrokenImageError(f"the file is larger than {_MAX_FILE_BYTES // 2**20} MB")


def _refuse_png_chunks(file: Any) -> None:
    metadata = 0
    for _, length, cid in _chunks(file):
        metadata += 0 if cid in (b"IDAT", b"fdAT") else length
        if metadata > MAX_METADATA_BYTES:
            raise BrokenImageError(f"its metadata are larger than {MAX_METADATA_BYTES // 2**20} MB")


def _refuse_jpeg_segments(file: Any) -> None:
    """Raise an error for too many header segments, which Pillow joins one by one."""
    at = 2
    while True:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0xDA, 0xD9):
            return
        length = 0 if head[1] == 0xFF else int.from_bytes(head[2:])
        at += 1 if head[1] == 0xFF else 2 + length
        if at > MAX_JPEG_HEADER_BYTES:
            raise BrokenImageError(f"its metadata are larger than {MAX_JPEG_HEADER_BYTES // 2**20} MB")


def _refuse_tiff_tags(file: Any, head: bytes) -> None:
    order, big = ("<" if head[:2] == b"II" else ">"), head[2:4] in (b"+\0", b"\0+")
    count_format, entry_format, offset_format = ("Q", "HHQ8x", "Q") if big else ("H", "HHI4x", "I")
    offset_at = 8 if big else 4
    (offset,) = struct.unpack_from(order + offset_format, head, offset_at)
    file.seek(offset)
    (entries,) = struct.unpack(order + count_format, file.read(struct.calcsize(order + count_format)))
    if entries > 4096:
        raise BrokenImageError("it has too many tags")
    size = struct.calcsize(order + entry_format)
    total = 0
    for _ in range(entries):
        _, kind, count = struct.unpack(order + entry_format, file.read(size))
        total += count * _TIFF_UNITS.get(kind, 1)
    if total > MAX_METADATA_BYTES:
        raise BrokenImageError(f"its metadata are larger than {MAX_METADATA_BYTES // 2**20} MB")
