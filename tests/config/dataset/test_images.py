"""The size from the header equals that of the decoded image, and equal content gives equal pixels."""

import io
import struct
import zlib

import numpy
import pytest
from PIL import Image, PngImagePlugin, features

from onetrainer_gradio.config.dataset.images import BrokenImageError, decode, read_size

FORMATS = ["JPEG", "TIFF", "PNG", "WEBP"] + (["AVIF"] if features.check("avif") else [])
ORIENTATION = 0x0112
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pattern(width=48, height=32):
    """Return an image without symmetry."""
    x, y = numpy.meshgrid(numpy.arange(width), numpy.arange(height))
    return Image.fromarray(numpy.stack([x * 5, y * 7, (x + y) * 3], axis=2).astype(numpy.uint8))


def oriented(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def check(path):
    """Return the decoded image after comparing its size with the header's."""
    image = decode(path)
    assert image.mode == "RGB"
    assert read_size(path) == (image.height, image.width)
    return numpy.asarray(image)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_images_are_upright_in_every_format(tmp_path, kind, orientation):
    """This covers all eight orientations; lossy formats match up to their loss."""
    image, path = pattern(), tmp_path / "x.png"  # the content counts, not the extension
    image.save(path, kind, exif=oriented(orientation), **({"lossless": True} if kind == "WEBP" else {}))
    turn = TURNS[orientation]
    upright = numpy.asarray(image.transpose(turn) if turn is not None else image)
    found = check(path)
    assert found.shape == upright.shape
    assert numpy.abs(found.astype(int) - upright).mean() < (0.01 if kind in ("PNG", "TIFF", "WEBP") else 12)


@pytest.mark.parametrize("place", ["after", "xmp", "raw profile"])
def test_the_orientation_of_a_png_counts_wherever_it_is(tmp_path, place):
    """It may be in a chunk after the pixels, in XMP, or in the text that ImageMagick writes."""
    info = PngImagePlugin.PngInfo()
    exif = oriented(6).tobytes().removeprefix(b"Exif\0\0")
    if place == "xmp":
        info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    elif place == "raw profile":
        body = (b"Exif\0\0" + exif).hex()
        info.add_text("Raw profile type exif", f"\nexif\n{len(body) // 2}\n{body}\n")
    out = io.BytesIO()
    pattern().save(out, "PNG", pnginfo=info)
    data = out.getvalue()
    if place == "after":
        data = data[:-12] + chunk(b"eXIf", exif) + data[-12:]
    (tmp_path / "x.png").write_bytes(data)
    assert check(tmp_path / "x.png").shape == (48, 32, 3)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("scale", [257, 256])
def test_sixteen_bits_of_gray_are_scaled_to_eight(tmp_path, kind, scale):
    """This holds however the eight bits were widened."""
    gray = numpy.arange(256, dtype=numpy.uint16).reshape(8, 32)
    Image.fromarray(gray * scale).save(tmp_path / "x.png", kind)
    assert (check(tmp_path / "x.png") == gray[:, :, None]).all()


def test_the_order_of_the_bytes_does_not_matter(tmp_path):
    """Big-endian files are decoded equally."""
    gray = numpy.arange(256, dtype=numpy.uint16).reshape(8, 32) * 257
    (tmp_path / "big.tif").write_bytes(tiff(gray.astype(">u2"), photometric=1))
    assert (check(tmp_path / "big.tif")[:, :, 0] == gray // 257).all()


def test_twelve_bits_of_gray_and_a_white_zero(tmp_path):
    """The tags define the range of values and which end is white."""
    twelve = bytes(value for first in range(0, 4096, 32) for value in (first >> 4, (first & 15) << 4, 16))  # each before a 16
    packed = numpy.frombuffer(twelve, numpy.uint8).reshape(8, 48)
    (tmp_path / "12.tif").write_bytes(tiff(packed, photometric=1, bits=12, width=32, order="<"))
    assert (check(tmp_path / "12.tif")[:, ::2, 0].ravel() == numpy.arange(0, 256, 2)).all()
    gray = numpy.arange(256, dtype="<u2").reshape(8, 32) * 257
    (tmp_path / "white.tif").write_bytes(tiff(gray, photometric=0, order="<"))
    assert (check(tmp_path / "white.tif")[:, :, 0] == 255 - gray // 257).all()


def tiff(pixels, photometric, bits=16, sample_format=1, tags=(), width=None, order=">"):
    """Return a TIFF with one strip."""
    height, columns = pixels.shape
    width = width or columns
    data = pixels.tobytes()
    short = {258: bits, 259: 1, 262: photometric, 277: 1, 339: sample_format}
    long = {256: width, 257: height, 273: 8, 278: height, 279: len(data)}
    entries = [(tag, 3, 1, value << 16 if order == ">" else value) for tag, value in short.items()]
    entries = sorted([*entries, *((tag, 4, 1, value) for tag, value in long.items()), *tags])
    packed = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    directory = struct.pack(order + "H", len(entries)) + packed + bytes(4)
    return (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", 8 + len(data)) + data + directory


@pytest.mark.parametrize("name", ["x.jpg", "x.tif", "x.bmp", "x.png", "x.webp", "x.avif"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_short_is_broken_for_header_and_pixels(tmp_path, name, share):
    """The pre-flight check counts exactly the images that the run trains on."""
    noise = numpy.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=numpy.uint8)
    path = tmp_path / name
    Image.fromarray(noise).save(path)
    assert read_size(path) == (64, 96)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for read in (read_size, decode):
        with pytest.raises(BrokenImageError):
            read(path)


def test_a_jpeg_without_its_end_is_trained_where_its_pixels_are_whole(tmp_path):
    """Some cameras and programs write such files."""
    path = tmp_path / "x.jpg"
    Image.new("RGB", (96, 64), "red").save(path)
    path.write_bytes(path.read_bytes()[:-2] + bytes(100))
    assert read_size(path) == (64, 96) == decode(path).size[::-1]


@pytest.mark.parametrize(("bits", "order"), [(8, "<"), (16, "<"), (16, ">")])
def test_channels_in_planes_are_right_or_left_out(tmp_path, bits, order):
    """Pillow reads uncompressed 16-bit planes as noise."""
    planes = numpy.arange(3 * 8 * 8).reshape(3, 8, 8)
    data = (planes * (257 if bits == 16 else 1)).astype(f"{order}u{bits // 8}").tobytes()
    at = 8 + len(data)
    more = [bits] * 3, [8, 8 + len(data) // 3, 8 + 2 * len(data) // 3], [len(data) // 3] * 3
    lists = struct.pack(order + "3H2x3I3I", *more[0], *more[1], *more[2])
    tags = {256: 8, 257: 8, 259: 1, 262: 2, 277: 3, 278: 8, 284: 2}
    entries = [(tag, 4, 1, value) for tag, value in tags.items()]
    entries = sorted([*entries, (258, 3, 3, at), (273, 4, 3, at + 8), (279, 4, 3, at + 20)])
    directory = struct.pack(order + "H", len(entries)) + b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at + len(lists))
    (tmp_path / "x.tif").write_bytes(head + data + lists + directory + bytes(4))
    if bits == 8:
        assert (numpy.asarray(decode(tmp_path / "x.tif")) == planes.transpose(1, 2, 0)).all()
        return
    for read in (read_size, decode):
        with pytest.raises(BrokenImageError, match="interleaved channels"):
            read(tmp_path / "x.tif")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_range_are_left_out(tmp_path, mode):
    """The header alone shows it."""
    Image.new(mode, (8, 8), 1).save(tmp_path / "x.tif")
    for read in (read_size, decode):
        with pytest.raises(BrokenImageError, match="no fixed range"):
            read(tmp_path / "x.tif")


@pytest.mark.parametrize(
    ("mode", "color", "rgb"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 0), (77, 77, 77)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("P", 5, None),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ],
)
def test_other_modes_become_rgb(tmp_path, mode, color, rgb):
    """Transparency is dropped, as in OneTrainer."""
    image = Image.new(mode, (8, 8), color)
    if mode == "P":
        image.putpalette([value for at in range(256) for value in (at, 2 * at % 256, 3 * at % 256)])
        rgb = (5, 10, 15)
    image.save(tmp_path / "x.png", "TIFF" if mode == "CMYK" else "PNG")
    assert tuple(check(tmp_path / "x.png")[0, 0]) == rgb


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_trained(tmp_path, kind):
    """Ten thousand further frames are not decoded."""
    frames = [Image.new("RGB", (16, 8), (200, 0, 0)), Image.new("RGB", (16, 8), (0, 0, 200))]
    frames[0].save(tmp_path / "x.webp", kind, save_all=True, append_images=frames[1:])
    found = check(tmp_path / "x.webp")
    assert found[..., 0].mean() > 190
    assert found[..., 2].mean() < 10


def malformed_exif():
    """Return EXIF data with an orientation next to an out-of-range rational."""
    entries = [(ORIENTATION, 3, 1, 6 << 16), (0x011A, 10, 1, 38)]
    body = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4)
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + body + struct.pack(">iI", -(2**31), 1)


BROKEN = {
    "empty": lambda good: b"",
    "text": lambda good: b"no image",
    "no pixels": lambda good: b"P6 0 0 255\n",
    "half a header": lambda good: good[:20],
    "postscript": lambda good: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "tiff without directory": lambda good: b"II*\0\xff\xff\xff\x7f",
    "tiff of many tags": lambda good: b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
    "tiff of large tags": lambda good: tiff(numpy.zeros((4, 4), ">u2"), 1, tags=[(65000, 7, 2**31, 8)] * 3),
    "chunk larger than the file": lambda good: good[:33] + struct.pack(">I4s", 2**31 - 1, b"eXIf") + good[33:],
    "text bomb": lambda good: good[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 1)) + good[33:],
    "truncated": lambda good: good[: len(good) // 2],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_file_is_broken_for_header_and_pixels(tmp_path, name):
    """This holds whatever Pillow raises."""
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "PNG")
    (tmp_path / "x.png").write_bytes(BROKEN[name](out.getvalue()))
    for read in (read_size, decode):
        with pytest.raises(BrokenImageError):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_malformed_metadata_make_a_broken_image(tmp_path, kind):
    """Header and pixels agree, so that the check names what the run would skip."""
    pattern().save(tmp_path / "x.jpg", kind, exif=malformed_exif())
    for read in (read_size, decode):
        with pytest.raises(BrokenImageError):
            read(tmp_path / "x.jpg")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_bomb_is_measured_without_being_decoded(tmp_path):
    """Only the header of 13,300 pixels square in half a megabyte is read."""
    import tracemalloc

    row = zlib.compressobj(9)
    content = b"".join(row.compress(bytes(1 + 3 * 13300)) for _ in range(13300)) + row.flush()
    header = struct.pack(">IIBBBBB", 13300, 13300, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(data)
    tracemalloc.start()
    assert read_size(tmp_path / "x.png") == (13300, 13300)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(("exception", "path"), [("missing", "nowhere.png"), ("folder", "."), ("long", "x" * 300 + ".png")])
def test_a_path_that_cannot_be_opened_is_a_broken_image(tmp_path, exception, path):
    """The reason is the system's."""
    with pytest.raises(BrokenImageError):
        read_size(tmp_path / path)
