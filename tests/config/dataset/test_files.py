"""Image folders are scanned without decoding an image."""

import os

import pytest
from PIL import Image

from onetrainer_gradio.config.dataset.files import scan_folder
from onetrainer_gradio.config.dataset.images import size_of
from onetrainer_gradio.config.dataset.reader import ImageSizeReader
from tests.config.preflight import add_image


@pytest.fixture
def folder(tmp_path):
    """Two captioned images, an uncaptioned one, a mask, a clip, and a subfolder with one more image."""
    add_image(tmp_path / "a.png")
    add_image(tmp_path / "b.JPG", caption="")
    add_image(tmp_path / "c.webp", caption=None)
    add_image(tmp_path / "a-masklabel.png", caption=None)
    add_image(tmp_path / "a-condlabel.png", caption=None)
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "inside").mkdir()
    add_image(tmp_path / "inside" / "d.png")
    return tmp_path


@pytest.mark.slow
def test_images_captions_and_masks_are_distinguished(folder):
    """Masks and conditioning images don't count as images."""
    found = scan_folder(folder, False)
    assert [item.name for item in found.items] == ["a.png", "b.JPG", "c.webp"]
    assert [item.name for item in found.without_caption] == ["c.webp"]
    assert [item.name for item in ImageSizeReader(limit_s=60).read_captions(found.caption_files).empty] == ["b.txt"]
    assert (found.masks, found.conditions) == (1, 1)


@pytest.mark.slow
def test_subfolders_and_videos_count_when_asked_for(folder):
    """A clip is an item, but not an image."""
    found = scan_folder(folder, True, videos=True)
    assert [item.name for item in found.items] == ["a.png", "b.JPG", "c.webp", "clip.mp4", "d.png"]
    assert "clip.mp4" not in [item.name for item in found.images]


@pytest.mark.slow
def test_linked_folders_are_entered_once(folder):
    """A cycle of links doesn't loop forever."""
    (folder / "inside" / "back").symlink_to(folder)
    (folder / "broken").symlink_to(folder / "nowhere")
    assert len(scan_folder(folder, True).items) == 4


@pytest.mark.slow
def test_a_look_ends_when_there_is_no_time(folder):
    """The result has what was found so far, marked as incomplete."""
    found = scan_folder(folder, True, time_left=lambda: False)
    assert (found.items, found.complete) == ((), False)


def test_a_folder_that_is_none_is_empty(tmp_path):
    """Reporting that it is missing is left to others."""
    assert scan_folder(tmp_path / "nowhere", True).items == ()


def test_sizes_are_as_the_camera_held_the_image(tmp_path):
    """A photo is trained upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "plain.jpg")
    assert size_of(tmp_path / "turned.jpg") == (30, 20)
    assert size_of(tmp_path / "plain.jpg") == (20, 30)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_a_broken_file_has_a_reason_instead_of_a_size(tmp_path, content):
    """Any content gives a reason instead of a crash."""
    (tmp_path / "x.png").write_bytes(content)
    assert isinstance(size_of(tmp_path / "x.png"), str)


def test_a_reader_remembers_until_the_file_changes(tmp_path):
    """A second read is free, and a changed image of the same name is still detected."""
    path = tmp_path / "a.png"
    add_image(path, (30, 20))
    reader = ImageSizeReader(limit_s=60)
    assert reader.read([path]).sizes == ((20, 30),)
    add_image(path, (40, 20))
    assert reader.read([path]).sizes == ((20, 40),)
    path.unlink()
    assert [name for name, _ in reader.read([path]).broken] == [path]


def test_a_reader_stops_when_its_time_is_up_and_continues_when_renewed(tmp_path):
    """A later scan continues with the unread files."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        add_image(path, (30, 20))
    now = iter(range(1000))
    reader = ImageSizeReader(limit_s=3, clock=lambda: next(now))
    first = reader.read(paths)
    assert not first.complete
    assert 0 < len(first.sizes) < 4
    assert not reader.read(paths).sizes
    reader.limit_s = 1000
    reader.renew()
    assert reader.read(paths).complete


def names(found):
    return [item.name for item in found.items]


def reasons(found):
    return {skipped.path.name: skipped.reason for skipped in found.skipped}


@pytest.mark.slow
def test_names_that_begin_with_a_dot_are_ignored(folder):
    """Notebook checkpoints, files of other systems and hidden captions aren't data."""
    (folder / ".ipynb_checkpoints").mkdir()
    add_image(folder / ".ipynb_checkpoints" / "a-checkpoint.png")
    add_image(folder / "._a.png")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / ".c.txt").write_text("hidden")
    found = scan_folder(folder, True)
    assert names(found) == ["a.png", "b.JPG", "c.webp", "d.png"]
    assert not found.skipped
    assert [item.name for item in found.without_caption] == ["c.webp"]


def test_the_chosen_folder_itself_may_be_hidden(tmp_path):
    """Only what is inside is judged by its name."""
    (tmp_path / ".cats").mkdir()
    add_image(tmp_path / ".cats" / "a.png")
    assert names(scan_folder(tmp_path / ".cats", True)) == ["a.png"]


def test_a_folder_is_entered_by_its_own_path_before_any_link(tmp_path):
    """The items don't depend on the name of a link to their folder."""
    (tmp_path / "real").mkdir()
    add_image(tmp_path / "real" / "x.png")
    (tmp_path / "a_link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    assert scan_folder(tmp_path, True).items == (tmp_path / "real" / "x.png",)


def test_links_that_lead_nowhere_are_skipped_by_name(tmp_path):
    """This includes a link to itself, and a link in place of a caption."""
    add_image(tmp_path / "a.png", caption=None)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "a.txt").symlink_to("a.txt")
    found = scan_folder(tmp_path, True)
    assert names(found) == ["a.png"]
    assert set(reasons(found)) == {"gone.png", "loop.png", "circle", "a.txt"}
    assert all("link can't be followed" in reason for reason in reasons(found).values())


def test_names_that_are_no_text_are_skipped_by_name(tmp_path):
    """They can be neither a caption nor stored in a journal."""
    add_image(tmp_path / "a.png")
    bad = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(bad, "wb") as file:
        file.write((tmp_path / "a.png").read_bytes())
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    found = scan_folder(tmp_path, True)
    assert names(found) == ["a.png"]
    assert len(found.skipped) == 2
    assert all("UTF-8" in skipped.reason for skipped in found.skipped)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_subfolder_that_cannot_be_read_is_skipped_by_name(folder):
    """The other files are found."""
    (folder / "inside").chmod(0)
    try:
        found = scan_folder(folder, True)
    finally:
        (folder / "inside").chmod(0o700)
    assert "d.png" not in names(found)
    assert "can't be read" in reasons(found)["inside"]


def test_pipes_and_folders_with_an_image_name_are_no_images(tmp_path):
    """Opening a pipe would block."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    (tmp_path / "b.txt").mkdir()
    assert not scan_folder(tmp_path, False).items


def test_items_are_sorted_by_their_whole_path(tmp_path):
    """As in OneTrainer, a slash sorts like any other character."""
    for name in ("a b.png", "a/z.png", "a.png", "B.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        add_image(tmp_path / name)
    found = [str(item.relative_to(tmp_path)) for item in scan_folder(tmp_path, True).items]
    assert found == ["B.png", "a b.png", "a.png", "a/z.png"]


@pytest.mark.parametrize("suffix", [".txt", ".TXT", ".Txt"])
def test_captions_are_found_whatever_the_case_of_their_suffix(tmp_path, suffix):
    """Case-insensitive systems write the extension in any case."""
    Image.new("L", (8, 8)).save(tmp_path / "a.v2.png")
    (tmp_path / f"a.v2{suffix}").write_text("a cat")
    found = scan_folder(tmp_path, False)
    assert found.caption_of(found.items[0]) == tmp_path / f"a.v2{suffix}"
    assert not found.without_caption


def test_the_usual_spelling_comes_first_and_two_images_may_share_a_caption(tmp_path):
    """``a.png`` and ``a.jpg`` both have ``a.txt``."""
    for name in ("a.png", "a.jpg"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    for suffix in (".TXT", ".txt", ".Txt"):
        (tmp_path / f"a{suffix}").write_text(suffix)
    found = scan_folder(tmp_path, False)
    assert {found.caption_of(item) for item in found.items} == {tmp_path / "a.txt"}
    assert found.caption_files == (tmp_path / "a.txt",)


def test_other_formats_are_counted_until_a_copy_is_there(tmp_path):
    """Videos count if no video is trained; other files don't."""
    for name in ("a.jfif", "b.GIF", "c.heic", "d.jxl", "e.mp4", "notes.md", "README"):
        (tmp_path / name).write_bytes(b"x")
    found = scan_folder(tmp_path, False)
    assert [file.name for file in found.other_formats] == ["a.jfif", "b.GIF", "c.heic", "d.jxl", "e.mp4"]
    assert [file.name for file in scan_folder(tmp_path, False, videos=True).other_formats] == [
        "a.jfif",
        "b.GIF",
        "c.heic",
        "d.jxl",
    ]
    add_image(tmp_path / "a.png")
    assert "a.jfif" not in [file.name for file in scan_folder(tmp_path, False).other_formats]


def test_links_out_of_the_allowed_folders_are_skipped(tmp_path):
    """This covers images, captions, masks and folders; links inside are followed."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "shared").mkdir(parents=True)
    (outside / "more").mkdir(parents=True)
    add_image(outside / "x.png")
    add_image(outside / "more" / "y.png")
    add_image(inside / "shared" / "z.png", caption=None)
    for name in ("x.png", "x.txt", "x-masklabel.png"):
        (inside / name).symlink_to(outside / "x.png")
    (inside / "more").symlink_to(outside / "more")
    (inside / "z.png").symlink_to(inside / "shared" / "z.png")
    found = scan_folder(inside, True, roots=(inside.resolve(),))
    assert names(found) == ["z.png", "z.png"]
    assert sorted(skipped.path.name for skipped in found.skipped if skipped.outside) == [
        "more",
        "x-masklabel.png",
        "x.png",
        "x.txt",
    ]
    assert found.masks == 0
    assert len(scan_folder(inside, True).items) == 4


@pytest.mark.slow
def test_a_folder_is_scanned_once_for_many_concepts(folder):
    """The second scan returns the same object, until the reader is renewed."""
    reader = ImageSizeReader(limit_s=60)
    first = reader.scan_folder(folder, True)
    assert reader.scan_folder(folder, True) is first
    assert reader.read(first.images) is reader.read(first.images)
    reader.renew()
    assert reader.scan_folder(folder, True) is not first
