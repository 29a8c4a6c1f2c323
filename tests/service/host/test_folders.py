"""Browsing the machine's files and folders."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from onetrainer_gradio.config.files.presets import PLACEHOLDERS
from onetrainer_gradio.errors import ConfigValueError, DiskFullError, ForbiddenPathError, PathExistsError, PathNotFoundError
from onetrainer_gradio.service.host.folders import FolderBrowser


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("run 10", "run 2", ".hidden", "Pictures"):
        (folder / name).mkdir(parents=True)
    for name in ("b.safetensors", "a.json", "c.PNG", "d.txt"):
        (folder / name).write_text("x" * 5)
    return folder


def names(browser: FolderBrowser, *given: str, **more: bool) -> list[str]:
    return [entry.name for entry in browser.list(*given, **more).entries]


def test_folders_come_first_in_natural_order(data: Path) -> None:
    """Names that begin with a dot are hidden unless requested; a file has its size."""
    browser = FolderBrowser(data)
    assert names(browser) == ["Pictures", "run 2", "run 10", "a.json", "b.safetensors", "c.PNG", "d.txt"]
    assert ".hidden" in names(browser, hidden=True)
    assert {entry.name: entry.bytes for entry in browser.list().entries}["a.json"] == 5


@pytest.mark.parametrize(
    ("kind", "files"),
    [("folder", []), ("model", ["b.safetensors"]), ("image", ["c.PNG"]), ("json", ["a.json"]), ("text", ["d.txt"])],
)
def test_only_what_fits_is_shown(data: Path, kind: str, files: list[str]) -> None:
    """Folders are always shown; files are filtered by kind and by part of the name."""
    browser = FolderBrowser(data)
    assert names(browser, "", kind) == ["Pictures", "run 2", "run 10", *files]
    assert names(browser, "", kind, "RUN 1") == ["run 10"]
    with pytest.raises(ConfigValueError):
        browser.list("", "movies")


def test_a_path_leads_to_its_folder(data: Path) -> None:
    """Relative paths start at the data folder; a file's path lists its folder;
    a missing path leads to its parent if requested.
    """
    browser = FolderBrowser(data)
    assert browser.list("run 2").path == str(data / "run 2")
    assert browser.list("run 2").parent == str(data)
    found = browser.list(str(data / "a.json"))
    assert (found.path, found.file) == (str(data), "a.json")
    assert browser.list("run 2/not/there/yet.safetensors", nearest=True).path == str(data / "run 2")
    assert browser.list("owner/name", nearest=True).path == str(data)
    for path in ("nowhere", str(data / "nowhere")):
        with pytest.raises(PathNotFoundError, match="nowhere"):
            browser.list(path)


def test_nothing_outside_the_allowed_folders_is_seen(data: Path, tmp_path: Path) -> None:
    """Neither a path, nor the parent folder, nor a link leads out."""
    (tmp_path / "secret").mkdir()
    os.symlink(tmp_path / "secret", data / "way out")
    os.symlink(data / "Pictures", data / "inside")
    other = tmp_path / "other"
    other.mkdir()
    browser = FolderBrowser(data, [data, other])
    assert "way out" not in names(browser)
    assert "inside" in names(browser)
    assert browser.list().parent == ""
    for path in (tmp_path, tmp_path / "secret", data / "way out", data / ".." / "secret", "../secret", "a\0b"):
        with pytest.raises(ForbiddenPathError):
            browser.list(str(path))
    assert browser.list("../secret", nearest=True).path == str(data)
    assert browser.list("~nobody/x", nearest=True).path == str(data)
    assert browser.places() == [{"title": "Data folder", "path": str(data)}, {"title": "other", "path": str(other)}]


def test_what_the_system_fails_to_look_at_is_named(data: Path) -> None:
    """A name that no disk can hold is an error about that path, or leads to its parent folder."""
    browser, name = FolderBrowser(data), "a" * 5000
    with pytest.raises(PathNotFoundError, match="Can't read"):
        browser.list(name)
    assert browser.list(f"Pictures/{name}", nearest=True).path == str(data / "Pictures")


@pytest.mark.slow
def test_a_huge_folder_is_cut_and_reports_it(tmp_path: Path) -> None:
    """The first thousand entries are listed, the rest counted; a search finds the others."""
    for number in range(1010):
        (tmp_path / f"{number}.txt").touch()
    browser = FolderBrowser(tmp_path)
    listing = browser.list()
    assert (len(listing.entries), listing.left_out) == (1000, 10)
    assert names(browser, "", "any", "1009") == ["1009.txt"]


def test_a_folder_of_images_does_not_look_empty(tmp_path: Path) -> None:
    """While a folder is chosen, its files are not listed, but images and other files are counted, without links that lead out."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name in ("2.png", "10.JPG", "1.webp", "1.txt", "._1.webp", ".DS_Store"):
        (folder / name).touch()
    (tmp_path / "outside.png").touch()
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    listing = FolderBrowser(folder, [folder]).list(str(folder), "folder")
    assert (listing.entries, listing.images, listing.other_files) == ((), 3, 1)
    assert [Path(path).name for path in listing.first_images] == ["1.webp", "2.png", "10.JPG"]


def test_places_to_begin_are_there_without_limits(tmp_path: Path) -> None:
    """They are the data folder, the home folder and the root."""
    assert [place["title"] for place in FolderBrowser(tmp_path).places()] == ["Data folder", "Home", "This machine"]


def test_a_folder_is_made_in_the_folder_of_the_picker(data: Path) -> None:
    """Relative paths start at the data folder; spaces around the name are removed; the new folder is empty and listed."""
    browser = FolderBrowser(data)
    assert browser.make("run 2", "  my run ") == data / "run 2" / "my run"
    assert names(browser, "run 2") == ["my run"]
    assert browser.make(str(data / "run 2" / "my run"), "Größe 2").is_dir()
    assert names(browser, "run 2/my run/Größe 2") == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        ".",
        "..",
        "../out",
        "a/b",
        "/tmp/x",
        "a\\b",
        "C:",
        "C:evil",
        "a\0b",
        "a\nb",
        ".hidden",
        "dot.",
        "x" * 256,
        "ü" * 128,
        "\ud800",
    ],
)
def test_a_name_is_one_part_of_a_path(data: Path, name: str) -> None:
    """Names that are paths, reserved on some system or hidden are rejected, and nothing is created."""
    before = sorted(data.rglob("*"))
    with pytest.raises(ConfigValueError) as caught:
        FolderBrowser(data).make("", name)
    assert (caught.value.path, bool(caught.value.expected)) == ("name", True)
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("run 2", "A folder 'run 2' already"), ("a.json", "A file 'a.json' already"), ("link", "A file 'link' already")],
)
def test_nothing_is_made_over_what_is_there(data: Path, name: str, words: str) -> None:
    """Folders, files and broken links are never replaced, and their contents stay."""
    (data / "run 2" / "kept").write_text("x")
    (data / "link").symlink_to(data / "nowhere")
    with pytest.raises(PathExistsError, match=words):
        FolderBrowser(data).make("", name)
    assert (data / "run 2" / "kept").exists()
    assert not (data / "nowhere").exists()


def test_folders_are_made_inside_the_allowed_ones_only(data: Path, tmp_path: Path) -> None:
    """Paths that lead out, including links, are rejected; so is the panel's own folder."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (allowed / "out").symlink_to(outside)
    browser = FolderBrowser(data, (data, allowed))
    assert browser.make(str(allowed), "run") == allowed / "run"
    for path in (str(outside), str(allowed / "out"), "..", str(allowed / ".." / "outside"), "~", "/", "a\0b"):
        with pytest.raises(ForbiddenPathError):
            browser.make(path, "run")
    assert list(outside.iterdir()) == []
    for own in PLACEHOLDERS.values():
        with pytest.raises(ForbiddenPathError, match="reserved for the panel"):
            FolderBrowser(data).make(str(own), "run")


def test_a_folder_to_make_one_in_has_to_be_there(data: Path) -> None:
    """Only the last part is created; a file is not a parent folder."""
    for path in ("nowhere", "run 2/not/there", "a.json"):
        with pytest.raises(PathNotFoundError):
            FolderBrowser(data).make(path, "run")
    assert not (data / "nowhere").exists()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, ForbiddenPathError), (errno.EROFS, ForbiddenPathError), (errno.ENOSPC, DiskFullError)]
)
def test_a_folder_that_cannot_be_made_reports_why(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    """Missing permissions, a read-only disk and a full disk each have their own error."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)  # a full or read-only disk can't be set up in a test
    with pytest.raises(kind):
        FolderBrowser(data).make("", "run")
