"""Reading images and captions from disk."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image

from onetrainer_gradio.config import ConceptConfig
from onetrainer_gradio.engine.data.images import collect, measured, pixels
from onetrainer_gradio.errors import DatasetError


def image(path, size=(16, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (255, 0, 0)).save(path)
    return path


def concept(folder, **values):
    return ConceptConfig.model_validate({"path": str(folder), **values})


def gathered(folder, **values):
    warnings = []
    return collect([(0, concept(folder, **values))], warnings.append, 2), warnings


def test_captions_come_from_the_file_next_to_the_image(tmp_path):
    """Each nonempty line is a caption; a missing file gives an empty one, with a warning."""
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("one\n\n  two  \n", encoding="utf-8")
    found, warnings = gathered(tmp_path)
    assert [p.captions for p in found] == [("one", "two"), ("",)]
    assert [(w.code, w.path) for w in warnings] == [("missing_caption", str(tmp_path / "b.png"))]


def test_captions_come_from_one_file_or_the_name(tmp_path):
    """These are the other two caption sources."""
    image(tmp_path / "images" / "a red_cross.png")
    (tmp_path / "all.txt").write_text("x\ny", encoding="utf-8")
    text = {"prompt_source": "concept", "prompt_path": str(tmp_path / "all.txt")}
    assert gathered(tmp_path / "images", text=text)[0][0].captions == ("x", "y")
    assert gathered(tmp_path / "images", text={"prompt_source": "filename"})[0][0].captions == ("a red_cross",)


def test_captions_that_are_no_text_are_all_named_in_one_error(tmp_path):
    """One start finds all of them."""
    for name in "abc":
        image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_bytes(b"\xff\xfe\x00" if name != "b" else b"fine")
    with pytest.raises(DatasetError, match=r"a\.txt.*c\.txt") as caught:
        gathered(tmp_path)
    assert "b.txt" not in caught.value.message


def test_captions_in_other_encodings_are_trained_and_named(tmp_path):
    """They are decoded as the check shows them."""
    image(tmp_path / "a.png")
    (tmp_path / "a.TXT").write_bytes("a café\u2028here".encode("utf-16"))
    found, warnings = gathered(tmp_path)
    assert found[0].captions == ("a café\u2028here",)
    assert [w.code for w in warnings] == ["caption_encoding"]


@pytest.mark.slow
def test_what_cannot_be_used_is_named_and_the_rest_is_trained(tmp_path):
    """This covers broken links, cycles, hidden files, other formats, and any broken images."""
    for name in ("a.png", "sub/b.png", ".hidden/c.png", "._a.png"):
        image(tmp_path / name)
        (tmp_path / name).with_suffix(".txt").write_text("x")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "d.jfif").write_bytes(b"x")
    Image.new("F", (8, 8)).save(tmp_path / "e.tif")
    found, warnings = gathered(tmp_path, include_subdirectories=True)
    assert [p.path.name for p in found] == ["a.png", "b.png"]
    named = {w.code: w.message for w in warnings}
    assert "e.tif" in named["broken_picture"]
    assert "loop" in named["skipped_files"]
    assert "gone.jpg" in named["skipped_files"]
    assert "d.jfif" in named["skipped_formats"]


@pytest.mark.slow
def test_nothing_outside_the_allowed_folders_is_trained(tmp_path):
    """This covers images, captions, concept folders, and the file with all captions."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    image(inside / "a.png")
    image(outside / "b.png")
    (outside / "b.txt").write_text("secret")
    (inside / "b.png").symlink_to(outside / "b.png")
    (inside / "a.txt").symlink_to(outside / "b.txt")
    warnings = []
    found = collect([(0, concept(inside))], warnings.append, 1, roots=[inside.resolve()])
    assert [(p.path.name, p.captions) for p in found] == [("a.png", ("",))]
    assert "b.png" in warnings[0].message
    with pytest.raises(DatasetError, match="outside the allowed"):
        collect([(0, concept(outside))], warnings.append, 1, roots=[inside.resolve()])
    elsewhere = concept(inside, text={"prompt_source": "concept", "prompt_path": str(outside / "b.txt")})
    with pytest.raises(DatasetError, match="outside the allowed"):
        collect([(0, elsewhere)], warnings.append, 1, roots=[inside.resolve()])


def test_images_are_turned_upright(tmp_path):
    """A camera's orientation applies to size and pixels."""
    image = Image.new("RGB", (16, 8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert measured(tmp_path / "a.jpg")[0] == (16, 8)
    assert pixels(tmp_path / "a.jpg").shape == (16, 8, 3)


def test_transparent_and_gray_images_become_rgb(tmp_path):
    """They get three channels of bytes."""
    Image.new("LA", (4, 4), (128, 0)).save(tmp_path / "a.png")
    found = pixels(tmp_path / "a.png")
    assert (found.shape, found.dtype) == ((4, 4, 3), numpy.uint8)


def test_numbers_count_images_that_can_be_read(tmp_path):
    """An image has the same number, and so the same randomness, as without the broken file."""
    image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    image(tmp_path / "c.png")
    found, warnings = gathered(tmp_path)
    assert [p.index for p in found] == [0, 1]
    assert [w.code for w in warnings if w.code != "missing_caption"] == ["broken_picture"]


def test_one_empty_concept_next_to_a_full_one_is_a_warning(tmp_path):
    """It is an error only if there are no images at all."""
    (tmp_path / "empty").mkdir()
    image(tmp_path / "full" / "a.png")
    warnings = []
    found = collect([(0, concept(tmp_path / "empty")), (1, concept(tmp_path / "full"))], warnings.append, 1)
    assert [p.concept for p in found] == [1]
    assert warnings[0].code == "empty_concept"
    with pytest.raises(DatasetError, match="no images"):
        collect([(0, concept(tmp_path / "empty"))], warnings.append, 1)
