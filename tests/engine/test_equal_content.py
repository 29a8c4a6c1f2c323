"""Equal content gives an equal loss in any file format."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image

from tests.engine.first_loss import first_loss, first_step

pytestmark = pytest.mark.slow

CAPTION = "a café, “red” circle"
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def image():
    """Return an image of 64 pixels square, without symmetry."""
    x, y = numpy.meshgrid(numpy.arange(96), numpy.arange(64))
    return Image.fromarray(numpy.stack([x * 2, y * 3, (x + 2 * y) % 256], axis=2).astype(numpy.uint8))


@pytest.fixture(scope="module")
def loss(tmp_path_factory, recorded):
    """Create a folder with one image and one caption, and train one step on it."""

    def of(save, name="x.png", caption=CAPTION.encode(), suffix=".txt", **changes):
        place = tmp_path_factory.mktemp("loss")
        (place / "images").mkdir()
        save(place / "images" / name)
        (place / "images" / name).with_suffix(suffix).write_bytes(caption)
        return first_loss(place, recorded, place / "images", **changes)

    return of


@pytest.fixture(scope="module")
def plain(loss, image):
    """Return the loss of the PNG with a caption in UTF-8."""
    return loss(image.save)


@pytest.mark.exhaustive
def test_the_loss_depends_on_image_and_caption(loss, image, plain):
    """Otherwise the other tests would compare nothing."""
    assert loss(image.save) == plain
    assert loss(image.transpose(Image.Transpose.ROTATE_180).save) != plain
    assert loss(image.save, caption=b"a red circle") != plain


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "name"), [("TIFF", "x.tif"), ("PNG", "x.png"), ("WEBP", "x.webp")])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_image_is_trained_upright(loss, image, plain, kind, name, orientation):
    """A camera stores such images."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    assert loss(lambda path: image.transpose(back).save(path, kind, exif=exif, **options), name) == plain


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_train_like_eight(loss, image, kind):
    """Scanners write such gray images."""
    gray = numpy.asarray(image.convert("L"))
    wide = Image.fromarray(gray.astype(numpy.uint16) * 257)
    assert loss(lambda path: wide.save(path, kind)) == loss(Image.fromarray(gray).save)


@pytest.mark.exhaustive
def test_transparency_is_dropped(loss, image, plain):
    """The colors below it are trained, as in OneTrainer."""
    clear = image.convert("RGBA")
    clear.putalpha(0)
    assert loss(clear.save) == plain


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_a_caption_trains_the_same_in_every_encoding(loss, image, plain, encoding):
    """This holds with and without a byte order mark."""
    assert loss(image.save, caption=CAPTION.encode(encoding)) == plain


@pytest.mark.exhaustive
def test_a_caption_is_one_line_whatever_unicode_calls_a_line_break(loss, image):
    """With two lines, only one of them would be trained."""
    text = "a red\u2028circle\x0con a\x85blue\u2029table"
    whole = loss(image.save, caption=text.encode())
    assert loss(image.save, caption=f"{text}\r\n".encode(), suffix=".TXT") == whole
    assert loss(image.save, caption=b"a red") != whole
    assert loss(image.save, caption=b"a red\r") == loss(image.save, caption=b"a red")


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_trained(tmp_path, recorded, image):
    """This covers malformed metadata, hidden files and link cycles; the run continues."""
    folder = tmp_path / "images"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    image.save(folder / "x.png")
    (folder / "x.txt").write_bytes(CAPTION.encode())
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    broken = exif.tobytes()[:-6] + b"\xff" * 6
    image.save(folder / "y.jpg", exif=broken)
    for name in ("._x.png", ".ipynb_checkpoints/x.png"):
        (folder / name).write_bytes(b"x")
    (folder / "loop").symlink_to(folder)
    Image.new("F", (64, 64)).save(folder / "z.tif")
    found, codes = first_step(tmp_path, recorded, folder, concept={"include_subdirectories": True})
    assert found > 0
    assert "broken_picture" in codes


@pytest.mark.exhaustive
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("kind", ["empty", "truncated"])
def test_a_broken_image_changes_nothing_for_the_others(tmp_path, recorded, image, kind, cached):
    """This holds anywhere in the order, and if only its pixels show that it is broken."""
    losses = []
    for name in ("alone", "after", "before"):
        folder = tmp_path / name / "images"
        folder.mkdir(parents=True)
        image.save(folder / "m.png")
        (folder / "m.txt").write_bytes(CAPTION.encode())
        if name != "alone":
            broken = folder / ("z.jpg" if name == "after" else "a.jpg")
            image.save(broken, quality=95)
            broken.write_bytes(broken.read_bytes()[:-900] if kind == "truncated" else b"")
        losses.append(first_loss(tmp_path / name, recorded, folder, latent_caching=cached))
    assert losses[0] == losses[1] == losses[2]
