"""Pictures and captions as they lie on disk."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image

from onetrainer_gradio.config import ConceptConfig
from onetrainer_gradio.engine.data.pictures import caption_lines, collect, files_of, measured, pixels
from onetrainer_gradio.errors import DatasetError


def picture(path, size=(16, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (255, 0, 0)).save(path)
    return path


def concept(folder, **values):
    return ConceptConfig.model_validate({"path": str(folder), **values})


def gathered(folder, **values):
    warnings = []
    return collect([(0, concept(folder, **values))], warnings.append, 2), warnings


def test_files_come_sorted_by_their_whole_path(tmp_path):
    """Subfolders only when wanted, hidden ones never; masks and foreign files are left out."""
    for name in ("b.png", "a.JPG", "sub/c.webp", ".hidden/d.png", "a-masklabel.png", "b-condlabel.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    found = [name.removeprefix(str(tmp_path) + "/") for name in files_of(str(tmp_path), True)]
    assert found == ["a.JPG", "b.png", "sub/c.webp"]
    assert len(files_of(str(tmp_path), False)) == 2


def test_captions_come_from_the_file_beside(tmp_path):
    """Each line that is not empty is a caption; none leaves an empty one, with a warning."""
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("one\n\n  two  \n", encoding="utf-8")
    found, warnings = gathered(tmp_path)
    assert [p.captions for p in found] == [("one", "two"), ("",)]
    assert [(w.code, w.path) for w in warnings] == [("missing_caption", str(tmp_path / "b.png"))]


def test_captions_come_from_one_file_or_the_name(tmp_path):
    """The other two sources."""
    picture(tmp_path / "pictures" / "a red_cross.png")
    (tmp_path / "all.txt").write_text("x\ny", encoding="utf-8")
    text = {"prompt_source": "concept", "prompt_path": str(tmp_path / "all.txt")}
    assert gathered(tmp_path / "pictures", text=text)[0][0].captions == ("x", "y")
    assert gathered(tmp_path / "pictures", text={"prompt_source": "filename"})[0][0].captions == ("a red_cross",)


def test_a_caption_that_is_no_text_is_an_error(tmp_path):
    """Its file is named."""
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"a\.txt"):
        caption_lines(tmp_path / "a.txt")


def test_pictures_are_turned_upright(tmp_path):
    """The orientation of a camera counts for size and pixels."""
    image = Image.new("RGB", (16, 8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert measured(str(tmp_path / "a.jpg"))[0] == (16, 8)
    assert pixels(tmp_path / "a.jpg").shape == (16, 8, 3)


def test_transparent_and_grey_pictures_become_rgb(tmp_path):
    """Three channels of bytes."""
    Image.new("LA", (4, 4), (128, 0)).save(tmp_path / "a.png")
    found = pixels(tmp_path / "a.png")
    assert (found.shape, found.dtype) == ((4, 4, 3), numpy.uint8)


def test_numbers_count_broken_files_too(tmp_path):
    """A picture keeps its number, and with it its randomness, when another one is repaired."""
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    picture(tmp_path / "c.png")
    found, warnings = gathered(tmp_path)
    assert [p.index for p in found] == [0, 2]
    assert [w.code for w in warnings if w.code != "missing_caption"] == ["broken_picture"]


def test_one_empty_concept_beside_a_full_one_is_a_warning(tmp_path):
    """Only when there is nothing at all is it an error."""
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "full" / "a.png")
    warnings = []
    found = collect([(0, concept(tmp_path / "empty")), (1, concept(tmp_path / "full"))], warnings.append, 1)
    assert [p.concept for p in found] == [1]
    assert warnings[0].code == "empty_concept"
    with pytest.raises(DatasetError, match="no pictures"):
        collect([(0, concept(tmp_path / "empty"))], warnings.append, 1)
