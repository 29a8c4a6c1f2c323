"""Choosing a file or folder of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onetrainer_gradio.errors import ConfigValueError, ForbiddenPathError, PathNotFoundError
from onetrainer_gradio.service.folders import FolderBrowser


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
    """Names that begin with a dot are left out unless asked for; a file has its size."""
    browser = FolderBrowser(data)
    assert names(browser) == ["Pictures", "run 2", "run 10", "a.json", "b.safetensors", "c.PNG", "d.txt"]
    assert ".hidden" in names(browser, hidden=True)
    assert {entry.name: entry.bytes for entry in browser.list().entries}["a.json"] == 5


@pytest.mark.parametrize(
    ("kind", "files"),
    [("folder", []), ("model", ["b.safetensors"]), ("picture", ["c.PNG"]), ("json", ["a.json"]), ("text", ["d.txt"])],
)
def test_only_what_fits_is_shown(data: Path, kind: str, files: list[str]) -> None:
    """Folders are always there to go through; files by the kind that is looked for, and by a part of the name."""
    browser = FolderBrowser(data)
    assert names(browser, "", kind) == ["Pictures", "run 2", "run 10", *files]
    assert names(browser, "", kind, "RUN 1") == ["run 10"]
    with pytest.raises(ConfigValueError):
        browser.list("", "movies")


def test_a_path_leads_to_its_folder(data: Path) -> None:
    """Relative ones lie in the data folder; that of a file lists its folder; a missing one leads upwards if that is wanted."""
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
    """Neither by a path, nor by going up, nor by a link that leads out."""
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


def test_what_the_system_refuses_to_look_at_is_named(data: Path) -> None:
    """A name that no disk can hold is an error about that path, or leads to the folder above it."""
    browser, name = FolderBrowser(data), "a" * 5000
    with pytest.raises(PathNotFoundError, match="cannot be read"):
        browser.list(name)
    assert browser.list(f"Pictures/{name}", nearest=True).path == str(data / "Pictures")


def test_a_huge_folder_is_cut_and_says_so(tmp_path: Path) -> None:
    """The first thousand are listed, the rest counted; a search finds what was left out."""
    for number in range(1010):
        (tmp_path / f"{number}.txt").touch()
    browser = FolderBrowser(tmp_path)
    listing = browser.list()
    assert (len(listing.entries), listing.left_out) == (1000, 10)
    assert names(browser, "", "any", "1009") == ["1009.txt"]


def test_places_to_begin_are_there_without_limits(tmp_path: Path) -> None:
    """The data folder, the home folder and the whole machine."""
    assert [place["title"] for place in FolderBrowser(tmp_path).places()] == ["Data folder", "Home", "This machine"]
