"""Folders of pictures are looked at without decoding a picture."""

import pytest
from PIL import Image

from onetrainer_gradio.config.dataset import PictureReader, look_into, size_of
from tests.config.preflight import add_picture


@pytest.fixture
def folder(tmp_path):
    """Two captioned pictures, one without, a mask, a clip, and a folder inside with one more."""
    add_picture(tmp_path / "a.png")
    add_picture(tmp_path / "b.JPG", caption="")
    add_picture(tmp_path / "c.webp", caption=None)
    add_picture(tmp_path / "a-masklabel.png", caption=None)
    add_picture(tmp_path / "a-condlabel.png", caption=None)
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "inside").mkdir()
    add_picture(tmp_path / "inside" / "d.png")
    return tmp_path


def test_pictures_captions_and_masks_are_told_apart(folder):
    """Masks and conditioning pictures are no pictures of their own."""
    found = look_into(folder, False)
    assert [item.name for item in found.items] == ["a.png", "b.JPG", "c.webp"]
    assert [item.name for item in found.without_caption] == ["c.webp"]
    assert [item.name for item in found.empty_captions] == ["b.txt"]
    assert (found.masks, found.conditions) == (1, 1)


def test_subfolders_and_videos_count_when_asked_for(folder):
    """A clip is an item, but no picture."""
    found = look_into(folder, True, videos=True)
    assert [item.name for item in found.items] == ["a.png", "b.JPG", "c.webp", "clip.mp4", "d.png"]
    assert "clip.mp4" not in [item.name for item in found.pictures]


def test_linked_folders_are_entered_once(folder):
    """A circle of links ends."""
    (folder / "inside" / "back").symlink_to(folder)
    (folder / "broken").symlink_to(folder / "nowhere")
    assert len(look_into(folder, True).items) == 4


def test_a_look_ends_when_there_is_no_time(folder):
    """What was seen so far is told, and that it is not all."""
    found = look_into(folder, True, time_left=lambda: False)
    assert (found.items, found.complete) == ((), False)


def test_a_folder_that_is_none_is_empty(tmp_path):
    """That it is missing is for others to say."""
    assert look_into(tmp_path / "nowhere", True).items == ()


def test_sizes_are_as_the_camera_held_the_picture(tmp_path):
    """A turned photograph is trained upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "plain.jpg")
    assert size_of(tmp_path / "turned.jpg") == (30, 20)
    assert size_of(tmp_path / "plain.jpg") == (20, 30)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_a_broken_file_has_a_reason_instead_of_a_size(tmp_path, content):
    """Whatever is in it, there is no crash."""
    (tmp_path / "x.png").write_bytes(content)
    assert isinstance(size_of(tmp_path / "x.png"), str)


def test_a_reader_remembers_until_the_file_changes(tmp_path):
    """The second look costs nothing and still sees a new picture of the same name."""
    path = tmp_path / "a.png"
    add_picture(path, (30, 20))
    reader = PictureReader(limit_s=60)
    assert reader.read([path]).sizes == ((20, 30),)
    add_picture(path, (40, 20))
    assert reader.read([path]).sizes == ((20, 40),)
    path.unlink()
    assert [name for name, _ in reader.read([path]).broken] == [path]


def test_a_reader_stops_when_its_time_is_up_and_goes_on_when_renewed(tmp_path):
    """A later look begins where nothing is known yet."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        add_picture(path, (30, 20))
    now = iter(range(1000))
    reader = PictureReader(limit_s=3, clock=lambda: next(now))
    first = reader.read(paths)
    assert not first.complete
    assert 0 < len(first.sizes) < 4
    assert not reader.read(paths).sizes
    reader.limit_s = 1000
    reader.renew()
    assert reader.read(paths).complete
