"""The output files of a run stay available, byte for byte."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from onetrainer_gradio.errors import DiskFullError, RunNotFoundError, StorageError
from onetrainer_gradio.events import BackupCreated, Event, ModelSaved, SampleGenerated
from onetrainer_gradio.service.runs.artifacts import MissingFile, all_files, find_file, kept_or_original
from onetrainer_gradio.service.runs.file_preserver import FilePreserver, freed_bytes, keep_before_replacing, keep_copy
from onetrainer_gradio.service.runs.file_records import FileRecord, kept_path, read_records
from onetrainer_gradio.service.runs.journal import Journal
from tests.fakes.configs import small_config

PATIENCE_S = 10.0


def no_links(source: Path, target: Path) -> None:
    """Act like a file system without hard links, or like another one."""
    raise OSError(errno.EXDEV, "Invalid cross-device link")


class Runs:
    """Run folders whose runs write models, with the steps that many tests perform."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.destination = folder / "models" / "demo.safetensors"

    def run(self, number: int) -> Path:
        folder = self.folder / "runs" / f"2026-11-28_00-00-0{number}-0000"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def saved(self, number: int, content: bytes, **seams: Any) -> None:
        """Write the output file as the engine does, and report it to the run's recorder."""
        self.destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.destination.with_suffix(".new")
        temporary.write_bytes(content)
        temporary.replace(self.destination)
        event = ModelSaved(path=str(self.destination), final=True, global_step=9, bytes=len(content))
        self.recorded(number, event, **seams)

    def recorded(self, number: int, event: Event, **seams: Any) -> None:
        preserver = FilePreserver(self.run(number), **seams)
        preserver.take(event)
        journal = self.journal(number)
        journal.append(event)
        journal.close()
        assert preserver.settle(PATIENCE_S)
        preserver.close()

    def journal(self, number: int) -> Journal:
        return Journal(self.run(number) / "journal.jsonl")

    def content(self, number: int) -> bytes:
        return find_file(self.journal(number), "1").path.read_bytes()

    def config(self):
        return small_config(self.folder).model_copy(update={"output_model_destination": str(self.destination)})


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.mark.slow
def test_each_of_three_runs_keeps_its_own_result(runs: Runs) -> None:
    """The output path has the newest result, and every run still has its own."""
    for number, content in ((1, b"first"), (2, b"other"), (3, b"third")):
        runs.saved(number, content)
    assert [runs.content(number) for number in (1, 2, 3)] == [b"first", b"other", b"third"]
    assert runs.destination.read_bytes() == b"third"


@pytest.mark.slow
def test_a_file_is_recorded_with_size_place_time_and_hash(runs: Runs) -> None:
    """The record in the run's folder shows which run a file's bytes belong to."""
    runs.saved(1, b"weights")
    (record,) = read_records(runs.run(1)).values()
    assert (record.path, record.kind, record.final, record.bytes, record.global_step) == (
        str(runs.destination),
        "model",
        True,
        7,
        9,
    )
    assert record.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert (runs.run(1) / record.kept).read_bytes() == b"weights"
    shown = find_file(runs.journal(1), "1").as_dict()
    assert (shown["sha256"], shown["written_to"], shown["kept"]) == (record.sha256, str(runs.destination), True)


@pytest.mark.parametrize("small", [1 << 30, 0], ids=["small", "large"])
@pytest.mark.parametrize("deed", ["moved", "deleted", "replaced", "folder deleted", "replaced by a folder"])
def test_what_someone_does_to_the_output_file_costs_the_run_nothing(runs: Runs, deed: str, small: int) -> None:
    """If a person or a program moves, deletes or replaces it, the run's own copy stays."""
    runs.saved(1, b"weights", small_bytes=small)
    if deed == "moved":
        runs.destination.rename(runs.destination.with_name("mine.safetensors"))
    elif deed == "folder deleted":
        shutil.rmtree(runs.destination.parent)
    else:
        runs.destination.unlink()
    if deed == "replaced":
        runs.destination.write_bytes(b"foreign")
    elif deed == "replaced by a folder":
        runs.destination.mkdir()
    assert runs.content(1) == b"weights"


def test_a_small_model_survives_a_program_that_writes_into_it_in_place(runs: Runs) -> None:
    """A hard link would share the bytes, so a small model is copied."""
    runs.saved(1, b"weights")
    with runs.destination.open("r+b") as file:
        file.write(b"WEIGHTS")
    assert runs.content(1) == b"weights"


def test_a_large_model_that_was_changed_in_place_is_not_given_out_as_the_runs_own(runs: Runs) -> None:
    """A link can't prevent the change, but nobody gets other bytes than the run wrote."""
    runs.saved(1, b"weights", small_bytes=0)
    (record,) = read_records(runs.run(1)).values()
    if record.separate:
        pytest.skip("this file system clones files")
    with runs.destination.open("r+b") as file:
        file.write(b"WEIGHTS")
    os.utime(runs.destination, (1, 1))
    with pytest.raises(RunNotFoundError, match="changed or replaced"):
        runs.content(1)
    (missing,) = all_files(runs.journal(1))
    assert isinstance(missing, MissingFile)


def test_a_touched_file_is_recognized_by_its_hash(runs: Runs) -> None:
    """A different time alone doesn't make it another file."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)
    os.utime(runs.destination, (1, 1))
    assert runs.content(1) == b"weights"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts what the process reads")
def test_a_touched_file_is_read_once_however_often_its_run_is_shown(runs: Runs) -> None:
    """Each state of a run includes the location of its model."""
    runs.saved(1, bytes(8 << 20), link=no_links, small_bytes=0)
    os.utime(runs.destination, (1, 1))
    (record,) = read_records(runs.run(1)).values()
    read = [psutil.Process().io_counters().read_chars]
    for _ in range(5):
        assert kept_or_original(runs.run(1), record.path, record.at) == str(runs.destination)
        read.append(psutil.Process().io_counters().read_chars)
    assert read[1] - read[0] >= 8 << 20
    assert read[-1] - read[1] < 1 << 20


def test_without_hard_links_a_small_model_is_copied_at_once(runs: Runs) -> None:
    """Examples are FAT, or a data folder on another disk."""
    runs.saved(1, b"weights", link=no_links)
    runs.saved(2, b"another", link=no_links)
    assert (runs.content(1), runs.content(2)) == (b"weights", b"another")
    assert not list((runs.folder / "runs" / "unlinked").glob("*"))


@pytest.mark.slow
def test_without_hard_links_a_large_model_is_copied_before_it_is_replaced(runs: Runs) -> None:
    """The run that replaces it copies it into the folder of the run that created it."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)
    assert not list(runs.run(1).glob("files/*"))
    warnings: list[str] = []
    keep_before_replacing(runs.run(2), runs.config(), warnings.append)
    runs.saved(2, b"another", link=no_links, small_bytes=0)
    assert (runs.content(1), runs.content(2)) == (b"weights", b"another")
    assert runs.run(1).name in warnings[0]
    keep_before_replacing(runs.run(3), runs.config())
    runs.destination.unlink()
    assert (runs.content(1), runs.content(2)) == (b"weights", b"another")


@pytest.mark.slow
def test_what_someone_else_put_there_is_not_taken_for_the_runs_own(runs: Runs) -> None:
    """If it was replaced from outside before the next run, nothing is copied, and the run reports what happened."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)
    runs.destination.unlink()
    runs.destination.write_bytes(b"foreign")
    keep_before_replacing(runs.run(2), runs.config())
    assert not list(runs.run(1).glob("files/*"))
    with pytest.raises(RunNotFoundError, match="changed or replaced"):
        runs.content(1)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EIO, StorageError)])
def test_a_model_that_can_not_be_copied_is_not_replaced(runs: Runs, code: int, kind: type[Exception]) -> None:
    """The run ends with an error that names the other run, before training anything."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)

    def full(folder: Path, record: FileRecord) -> FileRecord:
        raise OSError(code, os.strerror(code))

    with pytest.raises(kind, match=runs.run(1).name):
        keep_before_replacing(runs.run(2), runs.config(), copy=full)
    assert runs.content(1) == b"weights"
    keep_before_replacing(runs.run(2), runs.config())
    runs.destination.unlink()
    assert runs.content(1) == b"weights"


@pytest.mark.slow
def test_nothing_is_left_of_a_copy_that_failed(runs: Runs) -> None:
    """A file that changes during the copy is not kept as complete."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)
    (record,) = read_records(runs.run(1)).values()
    os.utime(runs.destination, (1, 1))
    with pytest.raises(OSError, match="was written while"):
        keep_copy(runs.run(1), record)
    assert [path.name for path in runs.run(1).rglob("*") if path.name not in ("files.jsonl", "journal.jsonl", "files")] == []


@pytest.mark.slow
@pytest.mark.parametrize("link", [os.link, no_links], ids=["link", "copy"])
def test_a_model_that_is_a_folder_is_kept_file_by_file(runs: Runs, link: Callable[[Path, Path], None]) -> None:
    """An example is a full fine-tune in the diffusers format."""
    model = runs.folder / "models" / "whole"

    def write(content: bytes) -> ModelSaved:
        shutil.rmtree(model, ignore_errors=True)
        (model / "unet").mkdir(parents=True)
        (model / "unet" / "weights.safetensors").write_bytes(content)
        (model / "model_index.json").write_bytes(b"{}")
        return ModelSaved(path=str(model), final=True, global_step=9, bytes=len(content) + 2)

    runs.recorded(1, write(b"first"), link=link)
    runs.recorded(2, write(b"again"), link=link)
    files = [find_file(runs.journal(number), "1") for number in (1, 2)]
    assert [(file.path / "unet" / "weights.safetensors").read_bytes() for file in files] == [b"first", b"again"]
    assert all(file.folder and file.name == "whole" for file in files)
    (record,) = read_records(runs.run(1)).values()
    assert record.files["unet/weights.safetensors"].sha256 == hashlib.sha256(b"first").hexdigest()


@pytest.mark.slow
def test_a_path_through_a_link_is_the_same_destination(runs: Runs) -> None:
    """The next run may use a different path to the folder."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)
    (runs.folder / "alias").symlink_to(runs.folder / "models")
    alias = runs.folder / "alias" / ".." / "alias" / "demo.safetensors"
    keep_before_replacing(runs.run(2), runs.config().model_copy(update={"output_model_destination": str(alias)}))
    runs.destination.unlink()
    assert runs.content(1) == b"weights"


@pytest.mark.slow
def test_another_name_of_the_output_file_is_the_same_destination(runs: Runs) -> None:
    """In a file system that ignores case, both names lead to one file."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)
    other = runs.destination.with_name("DEMO.safetensors")
    other.symlink_to(runs.destination)
    keep_before_replacing(runs.run(2), runs.config().model_copy(update={"output_model_destination": str(other)}))
    runs.destination.unlink()
    assert runs.content(1) == b"weights"


@pytest.mark.slow
def test_damaged_notes_are_ignored(runs: Runs) -> None:
    """Damaged notes don't keep a run from starting."""
    runs.saved(1, b"weights", link=no_links, small_bytes=0)
    notes = runs.folder / "runs" / "unlinked"
    for number, content in enumerate(
        (b"", b"[]", b'{"path": 1}', b'{"path": "/nowhere"}', f'{{"path": "{runs.destination}", "at": []}}'.encode())
    ):
        (notes / f"{number}.json").write_bytes(content)
    keep_before_replacing(runs.run(2), runs.config())
    runs.destination.unlink()
    assert runs.content(1) == b"weights"


def test_samples_and_backups_are_recorded_but_not_kept_twice(runs: Runs) -> None:
    """Deleting them frees their space; their names are never used again."""
    backup = runs.folder / "workspace" / "backup" / "one"
    (backup / "lora").mkdir(parents=True)
    (backup / "lora" / "lora.safetensors").write_bytes(b"state")
    runs.recorded(1, BackupCreated(path=str(backup), global_step=4, epoch=0, epoch_step=4, bytes=5))
    (record,) = read_records(runs.run(1)).values()
    assert (record.kind, record.folder, record.kept, record.bytes) == ("backup", True, "", 5)
    assert record.files["lora/lora.safetensors"].sha256 == hashlib.sha256(b"state").hexdigest()


@pytest.mark.slow
def test_after_a_kill_everything_is_kept_and_recorded_later(runs: Runs) -> None:
    """After a kill between the model and its record, the next process completes the record."""
    runs.destination.parent.mkdir(parents=True)
    runs.destination.write_bytes(b"weights")
    journal = runs.journal(1)
    journal.append(ModelSaved(path=str(runs.destination), final=True, global_step=9, bytes=7))
    preserver = FilePreserver(runs.run(1))
    preserver.complete(journal)
    assert preserver.settle(PATIENCE_S)
    runs.destination.unlink()
    assert runs.content(1) == b"weights"
    (runs.run(1) / "files.jsonl").write_bytes(b'{"path": "tor')
    assert runs.content(1) == b"weights"  # kept without a record
    again = FilePreserver(runs.run(1))
    again.complete(journal)
    assert again.settle(PATIENCE_S)
    (record,) = read_records(runs.run(1)).values()
    assert record.sha256 == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.slow
def test_a_half_kept_folder_is_kept_again(runs: Runs) -> None:
    """After a kill while files were linked or copied, nothing counts until it is complete."""
    model = runs.folder / "models" / "whole"
    (model / "unet").mkdir(parents=True)
    (model / "unet" / "weights").write_bytes(b"first")
    (model / "index").write_bytes(b"{}")
    event = ModelSaved(path=str(model), final=True, global_step=9, bytes=7)
    journal = runs.journal(1)
    journal.append(event)
    kept = kept_path(runs.run(1), event.path, event.at)
    (kept / "unet").mkdir(parents=True)
    os.link(model / "unet" / "weights", kept / "unet" / "weights")
    (kept / "unet" / ".weights.123.tmp").write_bytes(b"f")
    (kept.parent.parent / ".1234.123.tmp" / "whole").mkdir(parents=True)
    assert find_file(journal, "1").path == model
    preserver = FilePreserver(runs.run(1))
    preserver.complete(journal)
    assert preserver.settle(PATIENCE_S)
    shutil.rmtree(model)
    found = find_file(journal, "1").path
    assert {path.relative_to(found).as_posix() for path in found.rglob("*")} == {"unet", "unet/weights", "index"}
    assert [path.name for path in (runs.run(1) / "files").iterdir()] == [kept.parent.name]


def test_a_file_that_a_later_run_replaced_is_not_taken_for_the_killed_runs(runs: Runs) -> None:
    """Without a record, size and time decide."""
    runs.destination.parent.mkdir(parents=True)
    runs.destination.write_bytes(b"another")
    journal = runs.journal(1)
    journal.append(ModelSaved(at=1_000_000.0, path=str(runs.destination), final=True, global_step=9, bytes=7))
    preserver = FilePreserver(runs.run(1))
    preserver.complete(journal)
    assert preserver.settle(PATIENCE_S)
    assert not read_records(runs.run(1))
    with pytest.raises(RunNotFoundError, match="changed or replaced"):
        runs.content(1)


def test_damaged_records_are_ignored(runs: Runs) -> None:
    """A damaged line doesn't keep the others from being read."""
    runs.saved(1, b"weights")
    place = runs.run(1) / "files.jsonl"
    whole = place.read_bytes()
    rubbish = (b"\xff\x00", b"[]", b"7", b'{"files": 3}', b'{"files": {"": {}}}', b'{"files": {}, "path": 1}', b"{")
    rubbish = (
        *rubbish,
        b'{"files": {}, "path": [], "at": 1.0, "kind": "save"}',
        b'{"files": {}, "path": "x", "at": {}, "kind": "save"}',
    )
    facts = b'{"bytes": "many", "mtime_ns": 1, "inode": 1, "device": 1}'
    rubbish = (*rubbish, b'{"files": {"": ' + facts + b'}, "path": "x", "at": 1.0, "kind": "save"}')
    place.write_bytes(b"\n".join(rubbish) + b"\n" + whole)
    assert [(record.path, record.bytes) for record in read_records(runs.run(1)).values()] == [(str(runs.destination), 7)]
    assert runs.content(1) == b"weights"


def test_records_are_read_as_they_grow(runs: Runs) -> None:
    """Lines are read once; a rewritten record or a replaced file is detected."""
    runs.saved(1, b"first")
    known = read_records(runs.run(1))
    assert read_records(runs.run(1)) is known
    runs.saved(1, b"later")
    assert len(read_records(runs.run(1))) == 2
    place = runs.run(1) / "files.jsonl"
    whole = place.read_bytes()
    place.unlink()
    assert not read_records(runs.run(1))
    place.write_bytes(whole[:-10])
    before = len(read_records(runs.run(1)))
    with place.open("ab") as file:
        file.write(whole[-10:])
    assert len(read_records(runs.run(1))) == 2 >= before


def test_a_full_disk_disturbs_neither_run_nor_model(runs: Runs) -> None:
    """The record is written later; the link exists."""

    def full(folder: Path, record: FileRecord) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    runs.saved(1, b"weights", write=full)
    runs.destination.unlink()
    assert runs.content(1) == b"weights"


def test_closing_does_not_wait_for_a_hash(runs: Runs) -> None:
    """A run ends although a large file is still being hashed; the record is completed later."""
    begun = threading.Event()

    def slow(path: Path, wanted: Callable[[], bool]) -> str:
        begun.set()
        while wanted():
            threading.Event().wait(0.01)
        return ""

    runs.destination.parent.mkdir(parents=True)
    runs.destination.write_bytes(b"weights")
    event = ModelSaved(path=str(runs.destination), final=False, global_step=9, bytes=7)
    preserver = FilePreserver(runs.run(1), sha256=slow)
    preserver.take(event)
    assert begun.wait(PATIENCE_S)
    preserver.close()
    journal = runs.journal(1)
    journal.append(event)
    assert read_records(runs.run(1))[event.path, event.at].sha256 == ""
    again = FilePreserver(runs.run(1))
    again.complete(journal)
    assert again.settle(PATIENCE_S)
    assert read_records(runs.run(1))[event.path, event.at].sha256 == hashlib.sha256(b"weights").hexdigest()


def test_two_saves_to_one_path_are_both_listed(runs: Runs) -> None:
    """If two saves have the same name in the same second, each event has its own bytes."""
    for content in (b"first", b"later"):
        runs.saved(1, content)
    listed = all_files(runs.journal(1))
    assert [file.path.read_bytes() for file in listed] == [b"first", b"later"]


@pytest.mark.parametrize("small", [1 << 30, 0], ids=["copy", "link"])
def test_it_is_known_what_deleting_a_run_frees(runs: Runs, small: int) -> None:
    """Deleting a file with another link frees nothing; a file that only the run has is counted separately."""
    runs.saved(1, b"w" * 100_000, small_bytes=small)
    (record,) = read_records(runs.run(1)).values()
    freed, only = freed_bytes(runs.run(1))
    assert (freed > 100_000, only) == (record.separate, 0)
    runs.destination.unlink()
    freed, only = freed_bytes(runs.run(1))
    assert (freed > 100_000, only) == (True, 100_000)


def test_a_sample_that_was_overwritten_is_not_shown_as_the_runs(runs: Runs) -> None:
    """A sample is recognized by its record, too."""
    image = runs.folder / "sample.png"
    image.write_bytes(b"image")
    facts = json.loads(
        '{"index": 0, "prompt": "", "negative_prompt": "", "width": 8, "height": 8, "seed": 1, "diffusion_steps": 1, '
        '"cfg_scale": 1.0, "noise_scheduler": "DDIM", "global_step": 1, "epoch": 0, "epoch_step": 1, "seconds": 0.1}'
    )
    runs.recorded(1, SampleGenerated(path=str(image), kind="default", **facts))
    assert runs.content(1) == b"image"
    image.write_bytes(b"IMAGE")
    os.utime(image, (1, 1))
    with pytest.raises(RunNotFoundError):
        runs.content(1)
