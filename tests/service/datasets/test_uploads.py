"""Files arrive in pieces, completely or not at all, and inside the dataset.

Covers ``service/datasets/library.py``, ``service/datasets/incoming.py``,
``service/datasets/archives.py`` and ``service/datasets/file_names.py``.
"""

from __future__ import annotations

import hashlib
import io
import os
import resource
import stat
import time
import zipfile
from contextvars import copy_context
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from onetrainer_gradio.errors import (
    ConfigValueError,
    DatasetError,
    DiskFullError,
    ForbiddenPathError,
    PathExistsError,
    PathNotFoundError,
    UploadConflictError,
)
from onetrainer_gradio.service.datasets.archives import ArchiveLimits
from onetrainer_gradio.service.datasets.file_names import safe_path
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.datasets.uploads import PIECE_BYTES, UploadLimits, Uploads
from onetrainer_gradio.service.people.roles import Identity, Kind, Role, act_as

PLENTY = 10**12


class Place:
    """A library with the dataset ``cats`` and its uploads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.free = PLENTY
        self.library = DatasetLibrary(folder)
        self.library.create("cats")
        self.uploads = self.opened()

    def opened(self, **limits: Any) -> Uploads:
        archive = ArchiveLimits(**{key: limits.pop(key) for key in ("entries", "ratio", "small_bytes") if key in limits})
        return Uploads(self.library, self.folder / "uploads", UploadLimits(**limits), archive, lambda folder: self.free)

    def send(self, name: str, content: bytes, batch: str = "", uploads: Uploads | None = None) -> dict[str, Any]:
        uploads = uploads or self.uploads
        state = uploads.begin("cats", name, len(content), batch=batch)
        while state["state"] == "receiving":
            at = state["offset"]
            state = uploads.write(state["id"], at, content[at : at + 1000])
            assert state["offset"] > at or state["state"] != "receiving"
        until = time.monotonic() + 20
        while state["state"] == "unpacking" and time.monotonic() < until:
            time.sleep(0.01)
            state = uploads.get(state["id"])
        return state

    def files(self) -> dict[str, bytes]:
        own = self.folder / "datasets" / "cats"
        return {path.relative_to(own).as_posix(): path.read_bytes() for path in sorted(own.rglob("*")) if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def zipped(files: dict[str, bytes], **attributes: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = attributes.get(name.partition(".")[0], 0o100644) << 16
            archive.writestr(info, content)
    return out.getvalue()


def test_a_file_in_pieces_arrives_whole(place: Place) -> None:
    """Subfolders work too, and nothing of the upload remains."""
    content = os.urandom(4500)
    state = place.send("kittens/a.PNG", content)
    assert (state["state"], state["added"], state["names"]) == ("done", 1, ["kittens/a.png"])
    assert place.files() == {"kittens/a.png": content}
    assert list((place.folder / "uploads").iterdir()) == []


def test_two_requests_that_begin_the_same_file_share_one_upload(place: Place) -> None:
    """The quota is measured outside the lock, so another request for the same file may arrive in between."""
    ids: list[str] = []

    def meanwhile(account: str, size: int) -> None:
        if not ids:
            ids.append("")
            ids[0] = uploads.begin("cats", "a.png", 10)["id"]

    uploads = Uploads(place.library, place.folder / "uploads", free_bytes=lambda folder: place.free, admit=meanwhile)

    def begin() -> str:
        act_as(Identity(Role.OPERATOR, Kind.ACCOUNT, "Ada", "ada"))
        return str(uploads.begin("cats", "a.png", 10)["id"])

    assert [copy_context().run(begin)] == ids
    assert uploads.pending_bytes("ada") == 10


def test_a_broken_upload_continues_after_a_restart(place: Place) -> None:
    """The offset is what is on the disk; starting the same file again continues the same upload."""
    content = os.urandom(5000)
    state = place.uploads.begin("cats", "a.png", 5000)
    place.uploads.write(state["id"], 0, content[:3000])
    again = place.opened()
    resumed = again.begin("cats", "a.png", 5000)
    assert (resumed["id"], resumed["offset"]) == (state["id"], 3000)
    assert again.write(state["id"], 3000, content[3000:])["state"] == "done"
    assert place.files() == {"a.png": content}


def test_a_piece_at_another_place_is_rejected_with_the_offset(place: Place) -> None:
    """A repeated or skipped piece changes nothing."""
    state = place.uploads.begin("cats", "a.png", 10)
    place.uploads.write(state["id"], 0, b"12345")
    for wrong in (0, 7):
        with pytest.raises(UploadConflictError) as error:
            place.uploads.write(state["id"], wrong, b"xx")
        assert error.value.value == 5
    with pytest.raises(ConfigValueError, match="ends after"):
        place.uploads.write(state["id"], 5, b"678901")
    assert place.uploads.write(state["id"], 5, b"67890")["state"] == "done"
    assert place.files() == {"a.png": b"1234567890"}


def test_checksums_of_a_piece_and_of_the_file_are_checked(place: Place) -> None:
    """A wrong piece can be sent again; a wrong file is not added."""
    content = b"0123456789"
    state = place.uploads.begin("cats", "a.png", 10, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ConfigValueError, match="checksum"):
        place.uploads.write(state["id"], 0, content, sha256="0" * 64)
    assert place.uploads.write(state["id"], 0, content, sha256=hashlib.sha256(content).hexdigest())["state"] == "done"
    wrong = place.uploads.begin("cats", "b.png", 10, sha256="1" * 64)
    with pytest.raises(DatasetError, match="checksum"):
        place.uploads.write(wrong["id"], 0, content)
    assert place.uploads.get(wrong["id"])["state"] == "failed"
    assert list(place.files()) == ["a.png"]


def test_the_disk_and_the_limits_are_respected(place: Place) -> None:
    """This is checked before the first byte and while the disk fills."""
    with pytest.raises(ConfigValueError, match="maximum"):
        place.opened(file_bytes=100).begin("cats", "a.png", 101)
    with pytest.raises(ConfigValueError, match="aren't used"):
        place.uploads.begin("cats", "a.exe", 10)
    with pytest.raises(PathNotFoundError):
        place.uploads.begin("dogs", "a.png", 10)
    state = place.uploads.begin("cats", "a.png", 1000)
    place.free = 2**29 + 100
    with pytest.raises(DiskFullError):
        place.uploads.begin("cats", "b.png", 1000)
    with pytest.raises(DiskFullError):
        place.uploads.write(state["id"], 0, b"x" * 1000)
    place.uploads.cancel(state["id"])
    assert list((place.folder / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.png", "a.png"),
        ("cats\\a.png", "cats/a.png"),
        ("CON.png", "_CON.png"),
        ("aux.txt", "_aux.txt"),
        ('a<b>"c?.png', "a_b__c_.png"),
        ("trailing. .png", "trailing.png"),
        ("..hidden.png", "hidden.png"),
        ("Cafe\u0301.png", "Café.png"),
        ("a\u202egnp.exe.png", "agnp.exe.png"),
        ("\ud83d.png", "_.png"),
        ("x" * 400 + ".png", "x" * 196 + ".png"),
        ("猫" * 100 + ".png", "猫" * 65 + ".png"),
    ],
)
def test_names_are_valid_on_every_system(name: str, safe: str) -> None:
    """This covers Windows' reserved names and characters, Unicode normalization, invisible characters, and length."""
    assert safe_path(name) == PurePosixPath(safe)


@pytest.mark.parametrize(
    "name",
    ["", "  ", "../a.png", "a/../../b.png", "/etc/a.png", "C:\\a.png", "C:a.png", "a\0.png", "a//b.png", "/".join("a" * 20)],
)
def test_names_that_lead_elsewhere_are_rejected(name: str) -> None:
    """This covers absolute paths, parent folders, and very deep folders."""
    with pytest.raises(ConfigValueError):
        safe_path(name)


@pytest.mark.slow
def test_a_caption_follows_its_image_to_another_name(place: Place) -> None:
    """No file is replaced; identical files are not added twice."""
    place.send("a.png", b"one")
    place.send("a.txt", b"first")
    assert place.send("a.png", b"one")["skipped"] == [["a.png", "it is already in the dataset"]]
    place.send("a.png", b"two", batch="drop")
    place.send("a.txt", b"second", batch="drop")
    place.send("a-masklabel.png", b"mask", batch="drop")
    assert place.files() == {
        "a.png": b"one",
        "a.txt": b"first",
        "a (2).png": b"two",
        "a (2).txt": b"second",
        "a (2)-masklabel.png": b"mask",
    }


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_upload_is_known_at_every_moment_of_its_end(place: Place) -> None:
    """A client that polls without a pause never gets the response that it doesn't exist."""
    for number in range(20):
        content = zipped({f"{number}.png": b"image"})
        state = place.uploads.begin("cats", f"{number}.zip", len(content))
        state = place.uploads.write(state["id"], 0, content)
        give_up_at = time.monotonic() + 20
        while state["state"] in ("placing", "unpacking") and time.monotonic() < give_up_at:
            state = place.uploads.get(state["id"])
        assert state["state"] == "done"


@pytest.mark.slow
def test_an_archive_is_unpacked_without_its_outer_folder(place: Place) -> None:
    """It has images and captions; files that don't belong in a dataset are listed with a reason."""
    content = zipped(
        {"set/a.txt": b"cat", "set/a.png": b"image", "set/b/c.jpg": b"other", "set/run.exe": b"x", "__MACOSX/._a.png": b"x"}
    )
    state = place.send("set.zip", content)
    assert (state["state"], state["added"]) == ("done", 3)
    assert state["skipped"] == [["set/run.exe", "files of this type aren't used"]]
    assert place.files() == {"a.png": b"image", "a.txt": b"cat", "b/c.jpg": b"other"}


@pytest.mark.slow
def test_an_archive_never_writes_elsewhere(place: Place) -> None:
    """Parent folders, absolute paths and links are skipped."""
    content = zipped(
        {"../up.png": b"x", "/abs.png": b"x", "link.png": b"/etc/passwd", "good.png": b"y"}, link=stat.S_IFLNK | 0o777
    )
    state = place.send("set.zip", content)
    assert place.files() == {"good.png": b"y"}
    assert len(state["skipped"]) == 3
    assert not (place.folder / "datasets" / "up.png").exists()


@pytest.mark.slow
def test_archives_made_to_fill_the_disk_or_memory_are_rejected(place: Place) -> None:
    """This covers too many files, too high a compression ratio, a file that is no zip, and a wrong declared size."""
    few = place.opened(entries=3)
    with pytest.raises(DatasetError, match="more than 3 files"):
        place.send("a.zip", zipped({f"{number}.png": b"" for number in range(5)}), uploads=few)
    strict = place.opened(ratio=10, small_bytes=1000)
    with pytest.raises(DatasetError, match="times as large"):
        place.send("b.zip", zipped({"zeros.png": bytes(1_000_000)}), uploads=strict)
    with pytest.raises(DatasetError, match="isn't a readable zip"):
        place.send("c.zip", b"no archive" * 10)
    lying = bytearray(zipped({"zeros.png": bytes(100_000)}))
    at = lying.rfind(b"PK\x01\x02") + 24
    lying[at : at + 4] = (10).to_bytes(4, "little")
    state = place.send("d.zip", bytes(lying))
    assert state["state"] == "failed"
    assert place.files() == {}


def test_a_link_in_a_dataset_does_not_lead_an_upload_out(place: Place, tmp_path: Path) -> None:
    """The link is a folder that leads elsewhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (place.folder / "datasets" / "cats" / "sub").symlink_to(outside)
    with pytest.raises(ForbiddenPathError):
        place.send("sub/a.png", b"x")
    assert list(outside.iterdir()) == []


def test_a_dataset_is_created_renamed_and_moved_to_the_trash(place: Place) -> None:
    """Its files are never deleted."""
    place.send("a.png", b"x")
    with pytest.raises(PathExistsError):
        place.library.create("CATS")
    for wrong in ("", "..", "a/b", ".hidden", "CON"):
        with pytest.raises(ConfigValueError):
            place.library.create(wrong)
    assert place.library.rename("cats", "kittens")["images"] == 1
    trash = place.library.delete("kittens")
    assert (trash / "a.png").read_bytes() == b"x"
    assert place.library.list() == []


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_large_file_needs_little_memory(place: Place) -> None:
    """For 300 MB in pieces, interrupted halfway, the process grows by less than 30 MB."""
    piece, pieces = os.urandom(PIECE_BYTES), 75
    state = place.uploads.begin("cats", "film.mp4", pieces * PIECE_BYTES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    uploads = place.uploads
    for number in range(pieces):
        if number == pieces // 2:
            uploads = place.opened()
            assert uploads.begin("cats", "film.mp4", pieces * PIECE_BYTES)["offset"] == number * PIECE_BYTES
        state = uploads.write(state["id"], number * PIECE_BYTES, piece)
    assert state["state"] == "done"
    assert (place.folder / "datasets" / "cats" / "film.mp4").stat().st_size == pieces * PIECE_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
