"""Captions are converted to UTF-8 and images copied to trainable formats without losing anything."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from onetrainer_gradio.config.dataset.files import scan_folder
from onetrainer_gradio.config.dataset.images import read_size
from onetrainer_gradio.service.datasets.conversion import convert_captions, convert_images

WORDS = "a café, “red”\r\nsecond line"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-8-sig"])
def test_a_caption_becomes_utf_8_and_its_original_is_kept(tmp_path, encoding):
    """Line endings stay the same."""
    file = tmp_path / "a.txt"
    file.write_bytes(WORDS.encode(encoding))
    file.chmod(0o640)
    found = convert_captions([file])
    assert (found.made, found.failed, found.left) == ((file,), (), 0)
    assert file.read_bytes() == WORDS.encode()
    assert file.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "a.txt.bak").read_bytes() == WORDS.encode(encoding)
    assert convert_captions([file]).made == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "a.txt.bak"]


def test_an_earlier_original_is_not_replaced(tmp_path):
    """The next original gets another name."""
    (tmp_path / "a.txt").write_bytes("é".encode("cp1252"))
    (tmp_path / "a.txt.bak").write_text("mine")
    (tmp_path / "a.txt.bak2").symlink_to("nowhere")
    convert_captions([tmp_path / "a.txt"])
    assert (tmp_path / "a.txt.bak").read_text() == "mine"
    assert os.readlink(tmp_path / "a.txt.bak2") == "nowhere"
    assert (tmp_path / "a.txt.bak3").read_bytes() == "é".encode("cp1252")


def test_a_link_is_kept_and_what_it_leads_to_stays(tmp_path):
    """Other programs may use the file."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "x.txt").write_bytes("é".encode("cp1252"))
    (tmp_path / "a.txt").symlink_to("shared/x.txt")
    convert_captions([tmp_path / "a.txt"])
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é"
    assert (tmp_path / "shared" / "x.txt").read_bytes() == "é".encode("cp1252")
    assert (tmp_path / "a.txt.bak").is_symlink()


def test_what_cannot_be_converted_is_named_and_stays(tmp_path):
    """This covers binary data, a missing file, and a name too long for the original's."""
    (tmp_path / "a.txt").write_bytes(bytes(9))
    long = tmp_path / ("x" * 250 + ".txt")
    long.write_bytes("é".encode("cp1252"))
    found = convert_captions([tmp_path / "a.txt", tmp_path / "gone.txt", long])
    assert [path.name for path, _ in found.failed] == ["a.txt", "gone.txt", long.name]
    assert (tmp_path / "a.txt").read_bytes() == bytes(9)
    assert long.read_bytes() == "é".encode("cp1252")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_conversion_ends_in_time_and_reports_what_is_left(tmp_path):
    """The next conversion continues there."""
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file in files:
        file.write_bytes("é".encode("cp1252"))
    assert convert_captions(files, limit_s=-1).left == 3
    assert len(convert_captions(files).made) == 3


@pytest.mark.slow
def test_images_get_copies_that_are_trained(tmp_path, decoder):
    """JPEG files keep every byte; formats that need a package are reported; videos and existing files stay."""
    image = Image.new("RGB", (30, 20), (200, 0, 0))
    image.save(tmp_path / "a.jfif", "JPEG")
    image.save(tmp_path / "b.gif")
    image.save(tmp_path / "c.jp2")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "d.jpe", "JPEG", exif=exif)
    for name in ("e.heic", "f.jxl", "g.mp4", "h.gif"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.txt").write_text("a caption")
    found = convert_images(scan_folder(tmp_path, False).other_formats, decoder)
    assert [path.name for path in found.made] == ["a.jpg", "b.png", "c.png", "d.jpg"]
    assert {path.name for path, _ in found.failed} == {"e.heic", "f.jxl", "h.gif"}
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "a.jfif").read_bytes()
    assert read_size(tmp_path / "d.jpg") == (30, 20)
    folder = scan_folder(tmp_path, False)
    assert [item.name for item in folder.items] == ["a.jpg", "b.png", "c.png", "d.jpg"]
    assert folder.caption_of(folder.items[0]) == tmp_path / "a.txt"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_no_file_is_replaced_by_a_copy(tmp_path, decoder):
    """This includes a broken link."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.gif")
    (tmp_path / "a.png").symlink_to("nowhere")
    found = convert_images([tmp_path / "a.gif"], decoder)
    assert found.failed == ((tmp_path / "a.gif", "a.png already exists"),)
    assert os.readlink(tmp_path / "a.png") == "nowhere"
