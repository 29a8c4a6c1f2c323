"""A backup of the data folder is consistent while a panel runs, and a restore replaces the folder completely or not at all.

Covers ``service/host/data_contents.py``, ``service/host/data_restore.py``, ``data_commands.py`` and ``__main__.py``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from onetrainer_gradio.cli import BACKUP_PARTS
from onetrainer_gradio.errors import (
    ArchiveError,
    DataVersionError,
    DiskFullError,
    PathExistsError,
    PathNotFoundError,
    StorageError,
)
from onetrainer_gradio.server import main
from onetrainer_gradio.service.host import data_backup
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.data_backup import HEADER, MANIFEST, back_up
from onetrainer_gradio.service.host.data_contents import PARTS, contents_of
from onetrainer_gradio.service.host.data_restore import restore
from onetrainer_gradio.service.host.data_version import prepare_version
from onetrainer_gradio.service.queue.store import QueueStore

posix = pytest.mark.skipif(os.name != "posix", reason="needs links and modes of POSIX")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a run, a queue, settings, a workspace, images and secrets."""
    folder = tmp_path / "data"
    files = {
        "secrets.json": '{"huggingface_token": "hf_secret"}',
        "sessions.json": '{"digest": 1}',
        "people.sqlite": "hashes",
        "https/key.pem": "private key",
        "panel.json": '{"pid": 1}',
        "config/draft.json": json.dumps({"workspace_dir": str(folder / "workspace"), "name": "ä"}),
        "runs/one/run.json": '{"name": "one"}',
        "runs/one/config.json": json.dumps({"workspace_dir": "/elsewhere/workspace"}),
        "runs/one/journal.jsonl": json.dumps({"path": f"{folder}/workspace/samples/a.jpg"}) + "\n" + '{"torn',
        "runs/one/worker.json": '{"pid": 1}',
        "runs/one/heartbeat": "",
        "runs/one/commands/1.json": "{}",
        "runs/one/files/model.safetensors": "weights",
        "workspace/samples/0 - prompt/a.jpg": "image",
        "workspace/backup/2026-backup-1/meta.json": json.dumps({"from": f"{folder}/workspace"}),
        "workspace/save/.unfinished-1@2@3@4@5/x": "half",
        "datasets/cats/samples/a.png": "cat",
        "generations/one.png": "generated",
        "cache/big.bin": "x" * 1000,
        "migrations/version-0/run.json": "{}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    prepare_version(folder)
    store = QueueStore(folder / "queue.sqlite")
    store.change(lambda queue: queue.set_fact("paused", f"{folder}/runs"))
    store.close()
    return folder


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as opened:
        return set(opened.getnames()) - {HEADER, MANIFEST}


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_restored_folder_has_the_files_times_and_modes_of_the_backup(data: Path, tmp_path: Path) -> None:
    os.chmod(data / "runs" / "one" / "run.json", 0o640)
    os.utime(data / "datasets" / "cats" / "samples" / "a.png", ns=(1, 1_700_000_000_123_456_789))
    report = back_up(data, tmp_path / "panel.tar")
    target = tmp_path / "new" / "data"
    restored = restore(tmp_path / "panel.tar", target)
    assert restored.files == report.files == len(everything(target))
    assert (target / "runs" / "one" / "files" / "model.safetensors").read_text() == "weights"
    assert (target / "datasets" / "cats" / "samples" / "a.png").stat().st_mtime_ns == 1_700_000_000_123_456_789
    if os.name == "posix":
        assert (target / "runs" / "one" / "run.json").stat().st_mode & 0o777 == 0o640
    assert leftovers(tmp_path) == leftovers(tmp_path / "new") == []


@pytest.mark.slow
def test_secrets_caches_processes_and_unfinished_files_are_left_out(data: Path, tmp_path: Path) -> None:
    report = back_up(data, tmp_path / "panel.tar")
    assert names(tmp_path / "panel.tar") == {
        "config/draft.json",
        "data_version.json",
        "datasets/cats/samples/a.png",
        "generations/one.png",
        "queue.sqlite",
        "runs/one/config.json",
        "runs/one/files/model.safetensors",
        "runs/one/journal.jsonl",
        "runs/one/run.json",
        "workspace/backup/2026-backup-1/meta.json",
        "workspace/samples/0 - prompt/a.jpg",
    }
    assert sorted(report.contents.secrets) == ["https/key.pem", "people.sqlite", "secrets.json", "sessions.json"]
    assert b"hf_secret" not in (tmp_path / "panel.tar").read_bytes()
    assert report.outside == ["/elsewhere/workspace"]


@pytest.mark.slow
@posix
def test_a_file_that_only_its_owner_may_read_counts_as_a_secret(data: Path) -> None:
    """This covers future files too: the mode decides."""
    (data / "accounts.sqlite").write_text("hashes")
    os.chmod(data / "accounts.sqlite", 0o600)
    os.chmod(data / "data_version.json", 0o644)
    (data / "notifications.json").write_text("[]")
    os.chmod(data / "notifications.json", 0o600)  # private, but no secret
    assert "notifications.json" in contents_of(data).files
    assert "accounts.sqlite" in contents_of(data).secrets
    assert "accounts.sqlite" in contents_of(data, secrets=True).files
    os.chmod(data / "data_version.json", 0o600)  # a umask that makes every file private
    assert "queue.sqlite" in contents_of(data).files


@pytest.mark.slow
def test_secrets_are_included_when_asked_for(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "panel.tar", secrets=True)
    restore(tmp_path / "panel.tar", tmp_path / "new")
    assert "hf_secret" in (tmp_path / "new" / "secrets.json").read_text()
    if os.name == "posix":
        assert (tmp_path / "panel.tar").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_samples_backups_and_datasets_can_be_left_out(data: Path, tmp_path: Path) -> None:
    assert set(BACKUP_PARTS) == set(PARTS)
    back_up(data, tmp_path / "panel.tar", without=["samples", "backups"])
    left = names(tmp_path / "panel.tar")
    assert not any(name.startswith(("workspace/", "generations/")) for name in left)
    assert "datasets/cats/samples/a.png" in left  # a folder of images with that name
    back_up(data, tmp_path / "panel.tar", without=["datasets"], overwrite=True)
    assert not any(name.startswith("datasets/") for name in names(tmp_path / "panel.tar"))
    assert restore(tmp_path / "panel.tar", tmp_path / "new").without == ("datasets",)


@pytest.mark.slow
def test_a_journal_ends_with_a_complete_line(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "panel.tar")
    restore(tmp_path / "panel.tar", tmp_path / "new")
    lines = (tmp_path / "new" / "runs" / "one" / "journal.jsonl").read_text("utf-8")
    assert lines.endswith("\n")
    assert lines.count("\n") == 1


@pytest.mark.slow
def test_the_queue_is_that_of_the_last_transaction_while_another_is_open(data: Path, tmp_path: Path) -> None:
    """A copy of the file alone would contain half of the change, or omit the rollback journal."""
    busy = sqlite3.connect(data / "queue.sqlite", isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    busy.execute("INSERT INTO facts VALUES ('half', 'x')")
    back_up(data, tmp_path / "panel.tar")
    busy.execute("ROLLBACK")
    busy.close()
    restore(tmp_path / "panel.tar", tmp_path / "new")
    database = sqlite3.connect(tmp_path / "new" / "queue.sqlite")
    facts = dict(database.execute("SELECT name, value FROM facts"))
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert "half" not in facts


@pytest.mark.slow
def test_paths_to_the_former_folder_lead_to_the_new_one(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "new ä"
    back_up(data, tmp_path / "panel.tar")
    assert restore(tmp_path / "panel.tar", target).moved_from == str(data)
    assert read_json(target / "config" / "draft.json")["workspace_dir"] == str(target / "workspace")
    journal = (target / "runs" / "one" / "journal.jsonl").read_text("utf-8").splitlines()
    assert json.loads(journal[0])["path"] == f"{target}/workspace/samples/a.jpg"
    # runs record the sizes of files in workspaces
    meta = (target / "workspace" / "backup" / "2026-backup-1" / "meta.json").read_bytes()
    assert meta == (data / "workspace" / "backup" / "2026-backup-1" / "meta.json").read_bytes()
    store = QueueStore(target / "queue.sqlite")
    assert store.read(lambda queue: queue.fact("paused")) == f"{data}/runs"  # a text about a path, not a path in JSON
    store.close()


@pytest.mark.slow
def test_paths_in_the_queue_change_too(data: Path, tmp_path: Path) -> None:
    database = sqlite3.connect(data / "queue.sqlite")
    config = json.dumps({"workspace_dir": f"{data}/workspace", "other": f"{data}2/x"})
    database.execute("INSERT INTO items VALUES ('q-1', 0, '{}', ?, '{}')", (config,))
    database.commit()
    database.close()
    back_up(data, tmp_path / "panel.tar")
    restore(tmp_path / "panel.tar", tmp_path / "new")
    database = sqlite3.connect(tmp_path / "new" / "queue.sqlite")
    (text,) = database.execute("SELECT config FROM items").fetchone()
    database.close()
    assert json.loads(text) == {"workspace_dir": f"{tmp_path}/new/workspace", "other": f"{data}2/x"}


@pytest.mark.slow
@posix
def test_a_kept_model_is_stored_once_and_stays_a_hard_link(data: Path, tmp_path: Path) -> None:
    model = data / "workspace" / "model.safetensors"
    model.write_bytes(b"m" * 300_000)
    os.link(model, data / "runs" / "one" / "files" / "link.safetensors")
    back_up(data, tmp_path / "panel.tar")
    assert (tmp_path / "panel.tar").stat().st_size < 400_000
    restore(tmp_path / "panel.tar", tmp_path / "new")
    kept = tmp_path / "new" / "runs" / "one" / "files" / "link.safetensors"
    assert kept.samefile(tmp_path / "new" / "workspace" / "model.safetensors")
    assert kept.stat().st_size == 300_000


@pytest.mark.slow
@posix
def test_links_are_reported_and_never_followed(data: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("private key")
    (data / "datasets" / "outside").symlink_to(tmp_path / "private")
    report = back_up(data, tmp_path / "panel.tar")
    assert report.contents.links == ["datasets/outside"]
    assert b"private key" not in (tmp_path / "panel.tar").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["panel.tar", "panel.tar.gz"])
def test_a_backup_can_be_compressed_and_streamed(data: Path, tmp_path: Path, name: str) -> None:
    back_up(data, tmp_path / name)
    with open(tmp_path / name, "rb") as file:
        assert (file.read(2) == b"\x1f\x8b") == name.endswith("gz")
    stream = io.BytesIO()
    back_up(data, stream)
    stream.seek(0)
    assert restore(stream, tmp_path / "streamed").files == restore(tmp_path / name, tmp_path / "file").files


@pytest.mark.slow
def test_the_file_exists_only_when_it_is_complete(data: Path, tmp_path: Path) -> None:
    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFullError):
        back_up(data, tmp_path / "panel.tar", progress=full)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    with pytest.raises(KeyboardInterrupt):
        back_up(data, tmp_path / "panel.tar", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_what_a_killed_backup_left_is_removed_by_the_next(data: Path, tmp_path: Path) -> None:
    left = tmp_path / ".panel.tar.0123abcd.tmp"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    back_up(data, tmp_path / "panel.tar")
    assert not left.exists()


@pytest.mark.slow
def test_a_backup_replaces_no_file_and_is_not_made_inside_the_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "panel.tar").write_text("mine")
    with pytest.raises(PathExistsError, match="--overwrite"):
        back_up(data, tmp_path / "panel.tar")
    assert (tmp_path / "panel.tar").read_text() == "mine"
    with pytest.raises(StorageError, match="inside the data folder"):
        back_up(data, data / "panel.tar")
    with pytest.raises(PathNotFoundError):
        back_up(tmp_path / "nothing", tmp_path / "other.tar")
    with pytest.raises(PathNotFoundError, match="Create it first"):
        back_up(data, tmp_path / "nothing" / "panel.tar")


@pytest.mark.slow
def test_too_little_space_is_reported_before_anything_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(data, tmp_path / "panel.tar")
    monkeypatch.setattr(data_backup, "_RESERVE_BYTES", 1 << 60)  # like a disk with less free space than the reserve
    with pytest.raises(DiskFullError, match=r"GB are free"):
        back_up(data, tmp_path / "second.tar")
    with pytest.raises(DiskFullError, match="the restored folder"):
        restore(tmp_path / "panel.tar", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "panel.tar"]


@pytest.mark.slow
def test_a_file_that_gets_shorter_meanwhile_is_left_out_and_reported(data: Path, tmp_path: Path) -> None:
    (data / "a_big.bin").write_bytes(os.urandom(4 << 20))

    def cut(done: int, total: int) -> None:
        os.truncate(data / "workspace" / "samples" / "0 - prompt" / "a.jpg", 0)

    reader = data_backup._ExactReader(io.BytesIO(b"short"), 9)
    assert reader.read() == b"short\0\0\0\0"
    assert reader.missing == 4
    report = back_up(data, tmp_path / "panel.tar", progress=cut)
    assert report.changed == []  # it was shortened before it was opened, so it is complete
    restore(tmp_path / "panel.tar", tmp_path / "new")


@pytest.mark.slow
def test_a_restore_needs_an_empty_folder(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "panel.tar")
    before = everything(data)
    with pytest.raises(PathExistsError, match="isn't empty"):
        restore(tmp_path / "panel.tar", data)
    assert everything(data) == before
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "panel.tar", tmp_path / "empty")
    assert (tmp_path / "empty" / "data_version.json").is_file()
    with pytest.raises(PathNotFoundError):
        restore(tmp_path / "nothing.tar", tmp_path / "new")


@pytest.mark.slow
def test_a_restore_into_a_folder_that_cannot_be_replaced_moves_the_files_into_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example is a mount point of a container or Space."""
    back_up(data, tmp_path / "panel.tar")
    mount = tmp_path / "mount"
    (mount / "lost+found").mkdir(parents=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == mount)
    identity = mount.stat().st_ino
    report = restore(tmp_path / "panel.tar", mount)
    assert mount.stat().st_ino == identity
    assert len(everything(mount)) == report.files
    assert leftovers(mount) == []


@pytest.mark.slow
def test_a_killed_restore_leaves_nothing_for_good(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next restore deletes what it had extracted, next to the folder and in a mount point."""
    back_up(data, tmp_path / "panel.tar")
    folder, mount = tmp_path / "place" / "data", tmp_path / "mount"
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == mount)
    for left in (folder.parent, mount):
        (left / ".unfinished-999999999-x" / "data" / "runs").mkdir(parents=True)
    for target in (folder, mount):
        report = restore(tmp_path / "panel.tar", target)
        assert len(everything(target)) == report.files
    assert leftovers(folder.parent) == leftovers(mount) == []


def make_archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], entries: list[dict] | None = None, **head) -> Path:
    """Write an archive that the panel would never create."""
    header = {"format": 1, "data_version": 1, "data_folder": "", "total_bytes": 1, "at": 1, "without": [], "program": "x 9"}
    listed = [
        {"name": member.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "mtime_ns": 1, "mode": 0o644}
        for member, content in members
    ]
    with tarfile.open(path, "w") as archive:
        documents = [(HEADER, header | head), *[(MANIFEST, {"files": listed if entries is None else entries})]]
        for name, document in documents[:1]:
            add(archive, tarfile.TarInfo(name), json.dumps(document).encode())
        for member, content in members:
            add(archive, member, content)
        for name, document in documents[1:]:
            add(archive, tarfile.TarInfo(name), json.dumps(document).encode())
    return path


def add(archive: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content) if member.isreg() else 0
    archive.addfile(member, io.BytesIO(content))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "evil",
    [
        [(member("../outside"), b"x")],
        [(member("runs/../../outside"), b"x")],
        [(member("/tmp/outside"), b"x")],
        [(member("./outside"), b"x")],
        [(member("a//b"), b"x")],
        [(member("link", tarfile.SYMTYPE, "/etc"), b""), (member("link/passwd"), b"x")],
        [(member("link", tarfile.LNKTYPE, "/etc/passwd"), b"")],
        [(member("link", tarfile.LNKTYPE, "../../etc/passwd"), b"")],
        [(member("link", tarfile.LNKTYPE, "absent"), b"")],
        [(member("device", tarfile.CHRTYPE), b"")],
        [(member("pipe", tarfile.FIFOTYPE), b"")],
        [(member("a"), b"x"), (member("a"), b"y")],
        [(member("a"), b"x"), (member("a/b"), b"y")],
    ],
    ids=lambda members: members[0][0].name + "-" + str(len(members)) + members[0][0].type.decode(),
)
def test_an_unsafe_archive_changes_nothing(tmp_path: Path, evil: list) -> None:
    archive = make_archive(tmp_path / "evil.tar", evil)
    (tmp_path / "place").mkdir()
    with pytest.raises(ArchiveError):
        restore(archive, tmp_path / "place" / "data")
    assert list((tmp_path / "place").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar", "place"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "isn't in its list"),
        ([{"name": "a", "bytes": 1, "sha256": "0" * 64, "mtime_ns": 1, "mode": 420}], "checksum differs"),
        ([{"name": "b", "bytes": 1, "sha256": "0" * 64, "mtime_ns": 1, "mode": 420}], "b is missing"),
        ([{"name": "a"}], "list of files in the backup is damaged"),
        (["a"], "list of files in the backup is damaged"),
    ],
)
def test_a_file_that_differs_from_the_list_is_not_restored(tmp_path: Path, entries: list, message: str) -> None:
    archive = make_archive(tmp_path / "panel.tar", [(member("a"), b"x")], entries)
    with pytest.raises(ArchiveError, match=message):
        restore(archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_damaged_or_incomplete_backup_is_not_restored(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "panel.tar")
    content = (tmp_path / "panel.tar").read_bytes()
    at = content.index(b"weights")
    (tmp_path / "flipped.tar").write_bytes(content[:at] + b"W" + content[at + 1 :])
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.tar").write_text("not an archive")
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        add(archive, member("README"), b"hello")
    for name, message in {
        "flipped.tar": "checksum differs",
        "cut.tar": "incomplete|damaged",
        "text.tar": "damaged or incomplete",
        "other.tar": "isn't a backup",
    }.items():
        with pytest.raises(ArchiveError, match=message):
            restore(tmp_path / name, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    assert leftovers(tmp_path) == []


def test_a_backup_of_a_newer_version_is_rejected(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "panel.tar", [(member("a"), b"x")], data_version=99)
    with pytest.raises(DataVersionError, match="x 9"):
        restore(archive, tmp_path / "data")


@pytest.mark.slow
def test_the_commands_report_what_they_did(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = str(tmp_path / "panel.tar")
    assert main(["backup", archive, "--data", str(data), "--without", "datasets"]) == 0
    output = capsys.readouterr().err
    assert "10 files" in output
    assert "people.sqlite, secrets.json, sessions.json" in output
    assert "/elsewhere/workspace" in output
    assert main(["restore", archive, "--data", str(tmp_path / "new")]) == 0
    output = capsys.readouterr().err
    assert "made without datasets" in output
    assert f"Paths to {data} in runs" in output
    assert main(["restore", archive, "--data", str(tmp_path / "new")]) == 1
    assert "isn't empty" in capsys.readouterr().err


@pytest.mark.exhaustive
@pytest.mark.slow
@posix
def test_a_backup_is_whole_while_the_queue_and_a_journal_are_written_all_the_time(data: Path, tmp_path: Path) -> None:
    """Real programs change both without a pause; each backup is a state that existed."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(data)])
    try:
        give_up_at = time.monotonic() + 30
        while not (data / "runs" / "busy" / "journal.jsonl").exists() and time.monotonic() < give_up_at:
            time.sleep(0.05)
        for number in range(5):
            time.sleep(0.2)
            back_up(data, tmp_path / f"{number}.tar")
            restore(tmp_path / f"{number}.tar", tmp_path / str(number))
            database = sqlite3.connect(tmp_path / str(number) / "queue.sqlite")
            facts = dict(database.execute("SELECT name, value FROM facts"))
            database.close()
            assert facts.get("first") == facts.get("second")  # written in one transaction
            for line in (tmp_path / str(number) / "runs" / "busy" / "journal.jsonl").read_bytes().splitlines():
                assert json.loads(line)["text"] == "x" * 500
    finally:
        writer.kill()
        writer.wait()


WRITER = """
import json, pathlib, sys
from onetrainer_gradio.service.queue.store import QueueStore
data = pathlib.Path(sys.argv[1])
(data / "runs" / "busy").mkdir()
store = QueueStore(data / "queue.sqlite")
with open(data / "runs" / "busy" / "journal.jsonl", "ab", buffering=0) as journal:
    for number in range(10**9):
        for part in (json.dumps({"n": number})[:-1].encode(), b', "text": "' + b"x" * 500, b'"}\\n'):
            journal.write(part)
        if number % 50 == 0:
            store.change(lambda queue: [queue.set_fact(name, str(number)) for name in ("first", "second")])
"""


@pytest.mark.slow
@posix
def test_an_ended_program_leaves_no_half_file(data: Path, tmp_path: Path) -> None:
    with open(data / "workspace" / "big.bin", "wb") as file:
        file.truncate(8 << 30)  # sparse: reading and hashing real bytes takes seconds
    target = tmp_path / "out"
    target.mkdir()
    with open(os.devnull, "wb") as nowhere:
        command = [sys.executable, "-m", "onetrainer_gradio", "backup", str(target / "panel.tar"), "--data", str(data)]
        program = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=nowhere)
        give_up_at = time.monotonic() + 30
        while not list(target.iterdir()) and time.monotonic() < give_up_at and program.poll() is None:
            time.sleep(0.05)
        assert [path.name.endswith(".tmp") for path in target.iterdir()] == [True]
        program.send_signal(signal.SIGTERM)
        _, output = program.communicate(timeout=30)
    assert program.returncode == 130
    assert b"interrupted" in output
    assert list(target.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_trained_during_the_backup_has_no_process_afterwards(data: Path, tmp_path: Path) -> None:
    """A panel on the restored folder must not stop the run of the original."""
    write_json(data / "runs" / "one" / "supervisor.json", {"pid": os.getpid()})
    back_up(data, tmp_path / "panel.tar")
    restore(tmp_path / "panel.tar", tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new" / "runs" / "one").iterdir()) == [
        "config.json",
        "files",
        "journal.jsonl",
        "run.json",
    ]
