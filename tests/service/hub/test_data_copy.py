"""The data folder is copied to a private repository, and a machine that lost it continues from there.

Uses the real library and a stand-in for the Hugging Face Hub. Covers ``api/data_copy.py``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.cli import PanelOptions, parse
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.errors import (
    ArchiveError,
    CommandLineError,
    DataVersionError,
    HubAccessError,
    HubUnreachableError,
    StorageError,
)
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.data_version import prepare_version
from onetrainer_gradio.service.hub import data_copy
from onetrainer_gradio.service.hub.client import HubClient
from onetrainer_gradio.service.hub.data_copy import LIST, MEMORY, DataCopy, newest_backups, pull, pull_at_start
from onetrainer_gradio.service.queue.store import QueueStore
from onetrainer_gradio.service.runs.feed import Feed
from tests.fakes.configs import small_config
from tests.fakes.hub import FakeHub
from tests.service.conftest import PATIENCE_S

COPY = "ada/panel-data"


@pytest.fixture(autouse=True)
def without_xet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable Xet, which the stand-in doesn't have; the library then uploads by HTTP."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    files = {
        "secrets.json": "hf_secret",
        "config/draft.json": f'{{"workspace_dir": "{folder}/workspace"}}',
        "runs/one/run.json": "{}",
        "runs/one/journal.jsonl": '{"a": 1}\n{"torn',
        "runs/one/files/model.safetensors": "weights",
        "workspace/backup/2026-01-01-backup-1/model.safetensors": "old",
        "workspace/backup/2026-01-02-backup-2/model.safetensors": "new",
        "workspace/samples/a.png": "image",
        "datasets/cats/a.png": "cat",
        "cache/big.bin": "x",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    prepare_version(folder)
    store = QueueStore(folder / "queue.sqlite")
    store.change(lambda queue: queue.set_fact("paused", "by hand"))
    store.close()
    return folder


def copy_of(data: Path, token: str = "hf_writer", limit: int = 10**9, **more: Any) -> DataCopy:
    return DataCopy(data, HubClient(lambda: token), COPY, limit, Feed(dict), **more)


def wait_until(done: Callable[[], Any]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_lost_folder_comes_back_as_it_was_pushed(data: Path, hub: FakeHub) -> None:
    copy_of(data).push()
    repository = hub.repositories[COPY]
    assert repository.private
    assert b"hf_secret" not in b"".join(repository.files.values())
    assert "workspace/backup/2026-01-01-backup-1/model.safetensors" not in repository.files
    image = (data / "datasets" / "cats" / "a.png").stat().st_mtime_ns
    shutil.rmtree(data)
    assert pull(HubClient(lambda: "hf_writer"), COPY, data) == len(repository.files) - 2  # the list, and the Hub's own file
    assert (data / "runs" / "one" / "journal.jsonl").read_text() == '{"a": 1}\n'
    assert (data / "workspace" / "backup" / "2026-01-02-backup-2" / "model.safetensors").read_text() == "new"
    assert (data / "datasets" / "cats" / "a.png").stat().st_mtime_ns == image
    assert not (data / LIST).exists()
    database = sqlite3.connect(data / "queue.sqlite")
    assert ("by hand",) in database.execute("SELECT value FROM facts").fetchall()
    database.close()
    assert [path for path in data.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_only_what_changed_is_pushed_again_in_one_commit(data: Path, hub: FakeHub) -> None:
    copy = copy_of(data)
    copy.push()
    commits = len(hub.repositories[COPY].commits)
    copy.push()
    assert len(hub.repositories[COPY].commits) == commits  # nothing changed
    (data / "runs" / "one" / "files" / "second.safetensors").write_text("more")
    shutil.rmtree(data / "workspace" / "samples")
    uploads = hub.hits("PUT /lfs")
    copy.push()
    files = hub.repositories[COPY].files
    assert len(hub.repositories[COPY].commits) == commits + 1
    assert hub.hits("PUT /lfs") == uploads + 1
    assert "runs/one/files/second.safetensors" in files
    assert "workspace/samples/a.png" not in files
    assert copy.state()["error"] == ""
    assert copy.state()["files"] == len(files) - 2


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_restored_folder_is_pushed_on_and_a_foreign_copy_is_never_replaced(data: Path, hub: FakeHub, tmp_path: Path) -> None:
    copy_of(data).push()
    before = dict(hub.repositories[COPY].files)
    fresh = tmp_path / "fresh"
    prepare_version(fresh)
    (fresh / "note.json").write_text("{}")
    with pytest.raises(StorageError, match="another data folder"):
        copy_of(fresh).push()
    assert hub.repositories[COPY].files == before
    shutil.rmtree(data)
    pull(HubClient(lambda: "hf_writer"), COPY, data)
    (data / "note.json").write_text("{}")
    copy_of(data).push()
    assert "note.json" in hub.repositories[COPY].files


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_push_that_a_kill_or_an_error_interrupts_does_not_lock_the_folder_out(data: Path, hub: FakeHub) -> None:
    """Whether the repository has its commit or not, the next panel pushes again."""
    copy_of(data).push()
    (data / "note.json").write_text("{}")
    hub.fault("/commit/", status=503, times=20)
    with pytest.raises(HubUnreachableError):
        copy_of(data).push()
    hub.faults.clear()
    memory = read_json(data / MEMORY)
    copy_of(data).push()
    assert "note.json" in hub.repositories[COPY].files
    assert memory["before"] not in (None, memory["at"])
    model, copy = data / "runs" / "one" / "files" / "model.safetensors", copy_of(data, limit=100_000)
    model.write_bytes(bytes(60_000))
    copy.push()
    model.write_bytes(b"2" * 60_000)
    hub.fault("super-squash", status=503, times=20)  # the commit exists, and the next step fails
    with pytest.raises(HubUnreachableError):
        copy.push()
    assert hub.repositories[COPY].files["runs/one/files/model.safetensors"] == b"2" * 60_000
    assert copy.state()["pushed_at"]
    hub.faults.clear()
    copy_of(data).push()


@pytest.mark.slow
def test_nothing_is_pushed_to_a_public_repository(data: Path, hub: FakeHub) -> None:
    """A repository of the same name may exist for another purpose."""
    hub.add(COPY, {"README.md": "for everyone"})
    with pytest.raises(StorageError, match="is public"):
        copy_of(data).push()
    assert set(hub.repositories[COPY].files) == {"README.md"}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_incompletely_restored_folder_never_replaces_its_copy(
    data: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The panel is killed while files move into a mount point, at each of them."""
    copy_of(data).push()
    before = dict(hub.repositories[COPY].files)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).parent == tmp_path / "mounts")
    rename = os.rename
    for moved in range(1, len([name for name in os.listdir(data) if name != "secrets.json"])):
        mount = tmp_path / "mounts" / str(moved)
        mount.mkdir(parents=True)
        left = iter(range(moved))

        def killed(source: Path, target: Path, left: Any = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            rename(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                pull(HubClient(lambda: "hf_writer"), COPY, mount)
        with pytest.raises(StorageError, match="another data folder"):
            copy_of(mount).push()
    assert hub.repositories[COPY].files == before


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_not_blamed_on_the_hub(data: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(data_copy, "regular_file", denied)
    with pytest.raises(StorageError, match="Permission denied"):
        copy_of(data).push()
    assert LIST not in hub.repositories[COPY].files


@pytest.mark.slow
def test_a_folder_with_files_is_not_replaced_and_a_missing_copy_changes_nothing(data: Path, hub: FakeHub, tmp_path: Path) -> None:
    copy_of(data).push()
    assert pull(HubClient(lambda: "hf_writer"), COPY, data) == 0
    assert pull(HubClient(lambda: "hf_writer"), "ada/nothing", tmp_path / "new") == 0
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_samples_are_omitted_first_and_beyond_the_limit_nothing_is_pushed(data: Path, hub: FakeHub) -> None:
    (data / "workspace" / "samples" / "big.png").write_bytes(b"x" * 200_000)
    copy = copy_of(data, limit=100_000)
    copy.push()
    assert copy.state()["omitted"] == ["samples"]
    assert not any(name.startswith("workspace/samples") for name in hub.repositories[COPY].files)
    (data / "datasets" / "cats" / "big.png").write_bytes(b"x" * 200_000)
    with pytest.raises(StorageError, match=r"At most 0\.0 GB"):
        copy.push()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_history_is_squashed_when_it_has_as_much_as_the_limit(data: Path, hub: FakeHub) -> None:
    copy = copy_of(data, limit=200_000)
    for number in range(4):
        (data / "runs" / "one" / "files" / "model.safetensors").write_bytes(bytes([number]) * 60_000)
        copy.push()
    assert hub.hits("super-squash") == 1
    assert len(hub.repositories[COPY].commits) == 2  # what was squashed, and the push after it


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_failure_is_a_warning_and_is_retried(data: Path, hub: FakeHub) -> None:
    hub.fault("/commit/", status=503, times=20)
    copy = copy_of(data, settles_s=0.01, retries_s=(0.05,))
    copy.open()
    try:
        copy.request()
        wait_until(lambda: copy.state()["error"])
        hub.faults.clear()
        wait_until(lambda: copy.state()["pushed_at"])
        assert copy.state()["error"] == ""
        tried_at = copy.state()["tried_at"]
        copy.request()
        wait_until(lambda: copy.state()["tried_at"] != tried_at)
    finally:
        copy.close()


@pytest.mark.slow
def test_a_push_that_is_asked_for_waits_for_nothing(data: Path, hub: FakeHub) -> None:
    copy = copy_of(data, settles_s=600.0)
    copy.open()
    try:
        copy.request()
        wait_until(lambda: copy.state()["pushed_at"])
    finally:
        copy.close()


@pytest.mark.slow
def test_a_push_that_keeps_failing_is_reported_once(data: Path) -> None:
    """Single retries and a single connection failure aren't reported."""
    pushes: list[str] = []

    class Failing(DataCopy):
        def push(self) -> None:
            pushes.append("failed" if len(pushes) in {0, 2, 3, 4, 5} else "worked")
            if pushes[-1] == "failed":
                raise HubUnreachableError(f"attempt {len(pushes)}")

    messages: list[str] = []
    hub = HubClient(lambda: "")
    copy = Failing(data, hub, COPY, 10**9, Feed(dict), failing=messages.append, settles_s=0.01, retries_s=(0.01,))
    copy.open()
    try:
        copy.request()
        wait_until(lambda: pushes == ["failed", "worked"] or len(pushes) > 2)
        assert messages == []
        copy.request()
        wait_until(lambda: len(pushes) >= 7)
        assert messages == ["attempt 4."]
    finally:
        copy.close()


@pytest.mark.slow
def test_a_token_without_permission_and_an_unreachable_hub_are_reported(
    data: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(HubAccessError):
        copy_of(data, "hf_reader").push()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnreachableError):
        copy_of(data).push()
    monkeypatch.setattr(data_copy, "START_RETRIES_S", ())
    assert "wasn't restored" in pull_at_start(COPY, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"data_version": 99}, DataVersionError),
        ({"files": {"../outside": [1, 1]}}, ArchiveError),
        ({"files": {"absent.json": [1, 1]}}, ArchiveError),
        ({"files": {"runs/one/files/model.safetensors": [3, 1]}}, ArchiveError),
        ({"files": []}, ArchiveError),
    ],
)
def test_a_newer_unsafe_or_incomplete_copy_is_not_restored(
    data: Path, hub: FakeHub, tmp_path: Path, change: dict[str, Any], error: type[Exception]
) -> None:
    copy_of(data).push()
    (tmp_path / LIST).write_bytes(hub.repositories[COPY].files[LIST])
    write_json(tmp_path / LIST, read_json(tmp_path / LIST) | change)
    hub.repositories[COPY].files[LIST] = (tmp_path / LIST).read_bytes()
    with pytest.raises(error):
        pull(HubClient(lambda: "hf_writer"), COPY, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_newest_backup_of_each_workspace_is_kept() -> None:
    names = ["a/backup/2026-1/x", "a/backup/2026-2/x", "b/backup/2025-1/x", "backup/1/x", "c/model.bin"]
    assert newest_backups(names) == names[1:]


def test_the_environment_sets_where_and_how_much() -> None:
    given = parse([], {"ONETRAINER_GRADIO_PUSH_TO": COPY, "ONETRAINER_GRADIO_PUSH_LIMIT_GB": "2.5"})
    assert isinstance(given, PanelOptions)
    assert (given.push_to, given.push_limit_bytes) == (COPY, 2_500_000_000)
    with pytest.raises(CommandLineError, match="must be a number of GB"):
        parse([], {"ONETRAINER_GRADIO_PUSH_LIMIT_GB": "much"})


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_run_survives_a_machine_that_loses_its_disk(make_service, tmp_path: Path, hub: FakeHub) -> None:
    """A run trains and backs up, the disk is lost, the next start restores the copy, and the run resumes from its backup."""
    folder = tmp_path / "data"
    settings = {"push_to": COPY, "in_process": False, "data_folder": folder}
    service = make_service(**settings)
    service.secrets.set_huggingface_token("hf_writer")
    service.data_copy._settles_s = 0.1
    tags = ("steps=100000", "step_s=0.01", "backup_every=20")
    run_id = service.start(small_config(folder), RunOptions(name="long", tags=tags))
    wait_until(lambda: COPY in hub.repositories and any("/backup/" in name for name in hub.repositories[COPY].files))
    service.data_copy.close()  # anything later is lost with the disk
    assert service.data_copy._thread is not None
    service.data_copy._thread.join(PATIENCE_S)
    service.stop_training()
    service.stop_training()
    wait_until(lambda: not service.get_state()["process_running"])
    service.close()
    shutil.rmtree(folder)
    assert "Restored" in pull_at_start(COPY, folder, "hf_writer")
    assert (folder / MEMORY).is_file()
    again = make_service(**settings)
    restored = again.runs.get(run_id)
    wait_until(restored.ended)
    assert restored.state()["end_reason"] == "lost"
    wait_until(lambda: again.queue.list(10)["items"])
    (item,) = again.queue.list(10)["items"]
    assert item["name"] == "long"
    assert item["state"] == "waiting"  # after the delay of automatic resumes
