"""Files of a run.

Covers ``service/runs/archive.py``.
"""

from __future__ import annotations

import io
import itertools
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.errors import RunNotFoundError
from onetrainer_gradio.events import BackupCreated, ModelSaved, SampleGenerated, WarningIssued
from onetrainer_gradio.service.runs.artifacts import archive_chunks, find_file, newest_result, run_files
from onetrainer_gradio.service.runs.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    backup = tmp_path / "backup"
    (backup / "unet").mkdir(parents=True)
    (backup / "unet" / "weights").write_bytes(b"w" * 3_000_000)
    (backup / "meta.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    (tmp_path / "secret").write_text("secret")
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(BackupCreated(path=str(backup), global_step=4, epoch=0, epoch_step=4, bytes=1))
    journal.append(WarningIssued(code="x", message="y", path=str(tmp_path / "secret")))
    journal.append(ModelSaved(path=str(tmp_path / "model.safetensors"), final=True, global_step=9, bytes=5))
    journal.append(ModelSaved(path=str(tmp_path / "gone.safetensors"), final=False, global_step=5, bytes=5))
    return journal


def test_only_what_events_of_files_name_is_listed(journal: Journal) -> None:
    """These are models, saves, backups and samples, as long as they exist."""
    listed = [file.as_dict() for file in run_files(journal)]
    assert [(item["id"], item["kind"], item["name"], item["bytes"], item["folder"]) for item in listed] == [
        ("1", "backup", "backup", 3_000_002, True),
        ("3", "model", "model.safetensors", 5, False),
    ]


def test_the_newest_result_is_the_final_model_else_the_newest_save_that_is_left(journal: Journal, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"12345")
        journal.append(ModelSaved(path=str(tmp_path / f"{name}.safetensors"), final=False, global_step=10, bytes=5))
    for name in ("model", "second", "first"):
        found = newest_result(journal)
        assert found is not None
        assert found.name == f"{name}.safetensors"
        found.path.unlink()
    assert newest_result(journal) is None


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_backup_may_be_thrown_away_while_it_is_listed(journal: Journal, tmp_path: Path) -> None:
    """Older backups may be deleted while the list of a run's files is read; the existing files are listed."""
    enough = threading.Event()

    def come_and_go() -> None:
        while not enough.is_set():
            for number in range(40):
                folder = tmp_path / "backup" / "parts" / str(number % 5)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / str(number)).write_bytes(b"x")
            shutil.rmtree(tmp_path / "backup" / "parts")

    trainer = threading.Thread(target=come_and_go)
    trainer.start()
    try:
        file, until = find_file(journal, "1"), time.monotonic() + 1.5
        while time.monotonic() < until:
            assert 3_000_002 <= file.size() <= 3_000_042
    finally:
        enough.set()
        trainer.join()


@pytest.mark.parametrize("file_id", ["2", "4", "0", "5", "-1", "x", "", "../secret", "1e3", "9" * 30])
def test_nothing_else_is_given_out(journal: Journal, file_id: str) -> None:
    """An id that names no file of the run leads nowhere, whatever else it names."""
    with pytest.raises(RunNotFoundError):
        find_file(journal, file_id)


def test_a_file_saved_twice_is_listed_once(journal: Journal, tmp_path: Path) -> None:
    """The newest event of a path counts."""
    journal.append(ModelSaved(path=str(tmp_path / "model.safetensors"), final=False, global_step=12, bytes=5))
    assert [(file.id, file.kind, file.global_step) for file in run_files(journal)][-1] == ("5", "save", 12)
    assert len(run_files(journal)) == 2


@pytest.mark.slow
def test_a_folder_is_given_out_as_a_zip_in_pieces(journal: Journal) -> None:
    """The zip is complete, its pieces are small, and no temporary file is written."""
    file = find_file(journal, "1")
    pieces = list(file.zip_chunks())
    assert max(map(len, pieces)) < 2_000_000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["backup/meta.json", "backup/unet/weights"]
        assert archive.read("backup/unet/weights") == b"w" * 3_000_000


@pytest.mark.slow
def test_of_a_models_folder_only_what_the_run_wrote_is_given_out(journal: Journal, tmp_path: Path) -> None:
    """The folder contained another file before the run, and gets one afterwards."""
    folder = tmp_path / "own"
    (folder / "unet").mkdir(parents=True)
    for name in ("model_index.json", "unet/config.json", "diary.txt"):
        (folder / name).write_text(name)
    marker.write(folder, marker.MODEL, without={"diary.txt"})
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    journal.append(ModelSaved(path=str(folder), final=True, global_step=4, bytes=size))
    file = newest_result(journal)
    assert file is not None
    (folder / "unet" / "passwords.txt").write_text("secret")
    assert sorted(name for _, name in file.members("m")) == ["m/model_index.json", "m/unet/config.json"]
    assert sorted(name for _, name in file.members("")) == ["/model_index.json", "/unet/config.json"]


def unzipped(pieces: Iterator[bytes]) -> zipfile.ZipFile:
    held = list(pieces)
    assert max(map(len, held)) < 2_000_000
    archive = zipfile.ZipFile(io.BytesIO(b"".join(held)))
    assert archive.testzip() is None
    return archive


def sample(path: Path) -> SampleGenerated:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.parent.name.encode())
    return SampleGenerated(
        path=str(path), kind="default", index=0, prompt="", negative_prompt="", width=8, height=8, seed=1, diffusion_steps=1,
        cfg_scale=1.0, noise_scheduler="DDIM", global_step=4, epoch=0, epoch_step=4, seconds=0.1,
    )  # fmt: skip


@pytest.mark.slow
def test_all_files_of_a_run_are_one_zip(journal: Journal, tmp_path: Path) -> None:
    """Samples with the same name get the folder of their prompt, or a number; nothing is compressed."""
    for folder in ("0 - cat", "1 - dog", "other/1 - DOG"):
        journal.append(sample(tmp_path / folder / "step-4.png"))
    archive = unzipped(archive_chunks(journal))
    assert sorted(archive.namelist()) == [
        "backups/backup/meta.json",
        "backups/backup/unet/weights",
        "models/model.safetensors",
        "samples/0 - cat/step-4.png",
        "samples/1 - DOG/step-4-2.png",
        "samples/1 - dog/step-4.png",
    ]
    assert archive.read("samples/0 - cat/step-4.png") == b"0 - cat"
    assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert unzipped(archive_chunks(journal, kind="model")).namelist() == ["models/model.safetensors"]
    assert unzipped(archive_chunks(journal, ids=["3", "5", "3"])).namelist() == [
        "models/model.safetensors",
        "samples/0 - cat/step-4.png",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{"ids": ["2"]}, {"ids": ["3", "../x"]}, {"kind": "save"}])
def test_a_zip_of_what_is_not_there_is_an_error(journal: Journal, asked: dict[str, Any]) -> None:
    """The error comes before the first byte, not during the download."""
    with pytest.raises(RunNotFoundError):
        archive_chunks(journal, **asked)


@pytest.mark.slow
def test_a_file_that_goes_while_the_zip_is_made_is_omitted(journal: Journal, tmp_path: Path) -> None:
    """An older backup may be removed in the meantime, and a link in a folder never leads out of it."""
    (tmp_path / "backup" / "link").symlink_to(tmp_path / "secret")
    pieces = archive_chunks(journal)
    held = [next(pieces)]
    (tmp_path / "model.safetensors").unlink()
    archive = unzipped(itertools.chain(held, pieces))
    assert sorted(archive.namelist()) == ["backups/backup/meta.json", "backups/backup/unet/weights"]
