"""Keep a copy of the data folder in a private repository, so that a machine without its own storage can restart.

The copy has what a backup has, without secrets: of each workspace only the newest backup, and no more than a limit. One commit
changes everything that changed, so the repository always has one consistent state.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from onetrainer_gradio import __version__
from onetrainer_gradio.errors import ArchiveError, DataVersionError, HubError, HubNotFoundError, StorageError, TrainerError
from onetrainer_gradio.events import BackupCreated, ModelSaved, RunEnded, tag
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, regular_file, write_json
from onetrainer_gradio.service.host.data_backup import complete_bytes, copy_database, is_database
from onetrainer_gradio.service.host.data_contents import contents_of
from onetrainer_gradio.service.host.data_restore import change_paths, is_empty, put_in_place, safe_name, staging_folder
from onetrainer_gradio.service.host.data_version import MIGRATIONS, check_version
from onetrainer_gradio.service.hub.client import HubClient, raising_hub_error
from onetrainer_gradio.service.runs.feed import Feed

_LOG = logging.getLogger(__name__)
LIST = "onetrainer_gradio_data.json"
MEMORY = "cache/data_copy.json"
START_RETRIES_S = (2.0, 10.0, 30.0, 30.0)
_AFTER = frozenset({tag(BackupCreated), tag(ModelSaved), tag(RunEnded)})
# A file of these kinds is written once. Every other one may grow during the upload, so a copy of it is uploaded.
_WRITTEN_ONCE = frozenset(
    {".safetensors", ".pt", ".ckpt", ".gguf", ".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".mp4", ".webm"}
)
_BACKUP = re.compile(r"(?P<workspace>.*?)(?:^|/)backup/(?P<name>[^/]+)/")
_EVERY_S = 900.0
_SETTLES_S = 5.0
_RETRIES_S = (30.0, 120.0, 600.0)
# A single failed connection needs no attention.
_FAILURES_UNTIL_NOTICE = 2


class DataCopy:
    """Push the data folder to ``repository`` in the background: after each backup, save and end of a run, and now and then.

    A failure is logged, shown in `state`, and retried after growing waits. ``failing`` gets the reason once if a retry failed,
    too. Without a repository, nothing happens.
    """

    def __init__(
        self,
        data: Path,
        hub: HubClient,
        repository: str,
        limit_bytes: int,
        feed: Feed,
        *,
        failing: Callable[[str], None] = lambda why: None,
        settles_s: float = _SETTLES_S,
        retries_s: tuple[float, ...] = _RETRIES_S,
    ) -> None:
        self._data = data
        self._hub = hub
        self._repository = repository
        self._limit_bytes = limit_bytes
        self._feed = feed
        self._failing = failing
        self._settles_s = settles_s
        self._retries_s = retries_s
        self._wanted = threading.Event()
        self._at_once = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._pushed: dict[str, list[int]] | None = None
        self._pushed_at: Any = None
        self._history_bytes = 0
        self._tried_at: float | None = None
        self._state: dict[str, Any] = {"pushed_at": None, "files": 0, "bytes": 0, "omitted": [], "error": ""}
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def open(self) -> None:
        """Start to watch for something to push."""
        if not self._repository or self._thread is not None:
            return
        self._unsubscribe = self._feed.subscribe(self._look, viewer=False)
        self._thread = threading.Thread(target=self._work, name="data-copy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop. A push that is running ends with the process; the repository keeps its last complete state."""
        self._closing.set()
        self._at_once.set()
        self._wanted.set()
        self._unsubscribe()

    def request(self) -> None:
        """Push at once."""
        self._at_once.set()
        self._wanted.set()

    def state(self) -> dict[str, Any]:
        """Return the repository, when it was last pushed, how much, what was omitted, and the last error."""
        with self._lock:
            return {"repository": self._repository, "limit_bytes": self._limit_bytes, "tried_at": self._tried_at, **self._state}

    def _look(self, message: Mapping[str, Any]) -> None:
        event = message.get("event")
        if message.get("type") == "event" and isinstance(event, dict) and event.get("type") in _AFTER:
            self._wanted.set()

    def _work(self) -> None:
        failures = 0
        while not self._closing.is_set():
            wait_s = self._retries_s[min(failures, len(self._retries_s)) - 1] if failures else _EVERY_S
            self._wanted.wait(wait_s)
            self._at_once.wait(self._settles_s)  # a save follows a backup at once
            if self._closing.is_set():
                return
            self._at_once.clear()
            self._wanted.clear()
            try:
                self.push()
                failures = 0
            except TrainerError as error:
                failures += 1
                _LOG.warning("Can't push the data folder to %s: %s", self._repository, error)
                with self._lock:
                    self._state["error"] = str(error)
                if failures == _FAILURES_UNTIL_NOTICE:
                    self._failing(str(error))
            with self._lock:
                self._tried_at = time.time()

    def push(self) -> None:
        """Push what changed since the last push.

        :raises HubError: if the hub can't be reached or rejects it.
        :raises StorageError: if the data is larger than the limit, or a file can't be read.
        """
        with raising_storage_error("the copies to push"), tempfile.TemporaryDirectory(prefix="onetrainer_gradio_") as folder:
            facts, omitted = self._selected()
            self._commit(facts, omitted, Path(folder))

    def _selected(self) -> tuple[dict[str, list[int]], list[str]]:
        """Return size and time of each file to push, and what is omitted because of the limit."""
        omitted: list[str] = []
        for without in ((), ("samples",)):
            contents = contents_of(self._data, without=without)
            facts = {name: list(contents.facts[name]) for name in newest_backups(contents.files)}
            total = sum(size for size, _ in facts.values())
            if total <= self._limit_bytes:
                return facts, omitted
            omitted = ["samples"]
        raise StorageError(
            f"The data folder has {total / 1e9:.1f} GB. At most {self._limit_bytes / 1e9:.1f} GB are pushed.",
            suggestion="Delete runs, saves or datasets, or raise ONETRAINER_GRADIO_PUSH_LIMIT_GB.",
        )

    def _commit(self, facts: dict[str, list[int]], omitted: list[str], folder: Path) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with raising_hub_error(self._repository):
            api = self._hub.api()
            if self._pushed is None:
                api.create_repo(self._repository, private=True, exist_ok=True)
                if api.repo_info(self._repository).private is False:
                    raise StorageError(
                        f"{self._repository} is public, so nothing is pushed.",
                        suggestion="Choose another repository, or change its visibility on huggingface.co.",
                    )
                self._pushed = self._known_files()
        pushed = self._pushed
        changed = [name for name, fact in facts.items() if fact != pushed.get(name)]
        gone = [name for name in pushed if name not in facts]
        if not changed and not gone:
            with self._lock:
                self._state["error"] = ""
            return
        adds = []
        for number, name in enumerate(changed):
            source = self._stable(name, folder / str(number))
            if source is None:
                facts.pop(name)
            else:
                adds.append(CommitOperationAdd(name, source))
        head = {
            "format": 1,
            "program": f"onetrainer_gradio {__version__}",
            "data_version": check_version(self._data),
            "data_folder": str(self._data),
            "at": time.time(),
            "files": facts,
        }
        adds.append(CommitOperationAdd(LIST, json.dumps(head, indent=1).encode()))
        deletes = [CommitOperationDelete(name) for name in gone]
        # before the commit: after a kill in between, either of the two is this folder's
        _remember(self._data, self._repository, head["at"], self._pushed_at)
        self._pushed = None  # an error doesn't show whether the hub has the commit
        with raising_hub_error(self._repository):
            api.create_commit(self._repository, [*deletes, *adds], commit_message="Copy the data folder")
        self._pushed, self._pushed_at = facts, head["at"]
        with self._lock:
            total = sum(size for size, _ in facts.values())
            self._state = {"pushed_at": time.time(), "files": len(facts), "bytes": total, "omitted": omitted, "error": ""}
        with raising_hub_error(self._repository):
            self._forget_history(sum(facts[name][0] for name in changed if name in facts))

    def _known_files(self) -> dict[str, list[int]]:
        """Return what the repository has.

        :raises StorageError: if it isn't the copy of this folder. It would be lost otherwise.
        """
        head = _list_of(self._hub, self._repository)
        if head is None:
            return {}
        document = read_json(self._data / MEMORY)
        known = document if isinstance(document, dict) else {}
        ours = head.get("at") in (known.get("at"), known.get("before")) and head.get("at") is not None
        if not ours or known.get("repository") != self._repository:
            raise StorageError(
                f"{self._repository} has the copy of another data folder, so nothing is pushed.",
                suggestion="Choose another repository, or restart the panel with an empty data folder to restore the copy.",
            )
        self._pushed_at = head.get("at")
        return _checked_files(head)

    def _forget_history(self, added_bytes: int) -> None:
        """Squash the commits now and then: the repository would keep every former backup otherwise."""
        self._history_bytes += added_bytes
        if self._history_bytes > self._limit_bytes:
            self._hub.api().super_squash_history(self._repository)
            self._history_bytes = 0

    def _stable(self, name: str, copy: Path) -> Path | None:
        """Return a file whose content stays the same during the upload; None if it is gone."""
        path = self._data / name
        try:
            with regular_file(path) as file:
                if is_database(file.read(16)):
                    return copy_database(path, copy)
                if path.suffix.lower() in _WRITTEN_ONCE:
                    return path
                size = complete_bytes(file, name, os.fstat(file.fileno()).st_size)
                file.seek(0)
                with open(copy, "wb") as target:
                    while size > 0 and (chunk := file.read(min(size, 1 << 20))):
                        target.write(chunk)
                        size -= len(chunk)
                return copy
        except FileNotFoundError:
            return None


def newest_backups(names: Iterable[str]) -> list[str]:
    """Return the names without the files of all but the newest backup of each workspace. Their names begin with the time."""
    newest: dict[str, str] = {}
    names = list(names)
    for name in names:
        if found := _BACKUP.match(name):
            newest[found["workspace"]] = max(newest.get(found["workspace"], ""), found["name"])
    return [name for name in names if not (found := _BACKUP.match(name)) or newest[found["workspace"]] == found["name"]]


def _remember(data: Path, repository: str, at: Any, before: Any = None) -> None:
    """Record which copy this folder has, or had ``before``, so that it never replaces the one of another folder."""
    with raising_storage_error(MEMORY):
        write_json(data / MEMORY, {"repository": repository, "at": at, "before": before})


def _list_of(hub: HubClient, repository: str) -> dict[str, Any] | None:
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # nobody sees them in the log of a panel
    hub.check_reachable()
    with tempfile.TemporaryDirectory(prefix="onetrainer_gradio_") as folder:
        try:
            with raising_hub_error(repository):
                # a download alone can't tell a hub that is out of reach from a file that doesn't exist
                if LIST not in hub.api().list_repo_files(repository):
                    return None
        except HubNotFoundError:
            return None
        with raising_hub_error(repository):
            path = hub.api().hf_hub_download(repository, LIST, local_dir=folder)
        try:
            document = json.loads(Path(path).read_bytes())
        except ValueError as error:
            raise ArchiveError(f"{LIST} in {repository} is damaged.") from error
    return document if isinstance(document, dict) else None


def _checked_files(document: Mapping[str, Any]) -> dict[str, list[int]]:
    try:
        return {safe_name(str(name)): [int(size), int(at)] for name, (size, at) in document["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"{LIST} is damaged.") from error


def pull(hub: HubClient, repository: str, data: Path) -> int:
    """Restore the data folder from its copy if it is empty or missing. Return the number of files; 0 if there is no copy.

    :raises HubError: if the hub doesn't answer.
    :raises ArchiveError: if the copy is damaged or incomplete.
    :raises DataVersionError: if a newer version made it.
    :raises StorageError: if there is no space.
    """
    if not is_empty(data):
        return 0
    head = _list_of(hub, repository)
    if head is None:
        return 0
    files = _checked_files(head)
    if not isinstance(head.get("data_version"), int) or head["data_version"] > len(MIGRATIONS):
        raise DataVersionError(
            f"The copy in {repository} was made by a newer version ({str(head.get('program'))[:60]}).",
            suggestion="Install that version.",
        )
    with raising_storage_error(f"the data folder {data}"), staging_folder(data) as staging:
        with raising_hub_error(repository):
            hub.api().snapshot_download(repository, local_dir=staging)
        shutil.rmtree(staging / ".cache", ignore_errors=True)
        for path in [path for path in staging.rglob("*") if path.is_file()]:
            if path.relative_to(staging).as_posix() not in files:
                path.unlink()
        moved_from = str(head.get("data_folder") or "")
        for name, (size, at) in files.items():
            path = staging / name
            if not path.is_file() or (path.suffix.lower() in _WRITTEN_ONCE and path.stat().st_size != size):
                raise ArchiveError(f"{name} is missing in {repository}, or has another size.")
            if moved_from and moved_from != str(data):
                change_paths(path, name, moved_from, str(data))
            os.utime(path, ns=(at, at))
        _remember(staging, repository, head.get("at"))
        # the state file is last: after a kill in between, the incomplete folder doesn't replace the copy
        put_in_place(staging, data, last=Path(MEMORY).parts[0])
    return len(files)


def pull_at_start(repository: str, data: Path, token: str = "") -> str:
    """Restore the data folder as `pull` does, and return the message to print. Without the hub, the panel starts all the same."""
    hub = HubClient(lambda: token)
    for wait_s in (*START_RETRIES_S, None):
        try:
            count = pull(hub, repository, data)
            break
        except HubError as error:
            if wait_s is None:
                return f"The data folder wasn't restored from {repository}, and nothing is pushed there: {error}"
            time.sleep(wait_s)
    with contextlib.suppress(OSError):
        data.mkdir(parents=True, exist_ok=True)
    return f"Restored {count} files of the data folder from {repository}." if count else ""
