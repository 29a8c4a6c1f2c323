"""Download base models before a run, into the cache of the Hugging Face Hub, where training looks for them."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import (
    BusyError,
    ConfigValueError,
    DiskFullError,
    HubError,
    ModelFormatError,
    PathNotFoundError,
    RunConflictError,
    StorageError,
    TrainerError,
)
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.hub.blobs import Blob, Fetcher, StoppedError, partial, present_bytes
from onetrainer_gradio.service.hub.client import HubClient, raising_hub_error
from onetrainer_gradio.service.hub.models import files_to_train

_LOG = logging.getLogger(__name__)
MAX_AT_ONCE = 2
_FILES_AT_ONCE = 3
_MAX_LISTED = 100
_SPARE_BYTES = 256 << 20
"""Space that stays free."""
_LOCK_S = 1.0
_ACTIVE = ("waiting", "running")
_CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A Git ID or SHA-256."""


@dataclass
class Download:
    """A model that is downloaded. ``state`` is waiting, running, paused, done or failed.

    ``commit`` is the commit that ``revision`` was when the files were listed, ``fetched`` are the blobs that this download began.
    """

    repository: str
    revision: str
    model_type: str
    cache: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    commit: str = ""
    files: list[Blob] = field(default_factory=list)
    state: str = "waiting"
    error: str = ""
    suggestion: str = ""
    created_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    fetched: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder of the repository in the cache."""
        return Path(self.cache) / f"models--{self.repository.replace('/', '--')}"

    def described(self) -> dict[str, Any]:
        """Return the download with its progress in bytes."""
        blobs = self.folder / "blobs"
        shown = ("id", "repository", "revision", "commit", "model_type", "cache", "state", "error", "suggestion")
        times = ("created_at", "ended_at")
        total = sum(file.size for file in self.files)
        done = total if self.state == "done" else sum(present_bytes(file, blobs) for file in self.files)
        return {
            **{name: getattr(self, name) for name in (*shown, *times)},
            "done": done,
            "total": total,
            "files": len(self.files),
        }


@dataclass
class _Worker:
    thread: threading.Thread
    stopping: threading.Event


class Downloads:
    """Downloads of this panel, listed in ``path``, so that they continue after a restart. Safe from any thread.

    ``changed`` is called with each download whose state changes, ``cache`` returns the cache folder of the library that training
    reads ("": the usual one).
    """

    def __init__(
        self,
        path: Path,
        hub: HubClient,
        changed: Callable[[dict[str, Any]], object] = lambda download: None,
        pause_s: float = 1.0,
        cache: Callable[[], str] = str,
    ) -> None:
        self._path, self._hub, self._changed, self._pause_s, self._cache = path, hub, changed, pause_s, cache
        self._lock = threading.RLock()
        self._workers: dict[str, _Worker] = {}
        self._closed = False
        self._downloads = {each.id: each for each in _read(path)}

    def open(self) -> None:
        """Continue the downloads that were running when the panel ended."""
        self._start_waiting()

    def start(self, repository: str, revision: str = "main", model_type: str = "") -> dict[str, Any]:
        """Start to download what training needs of a repository. A download of the same model to the same folder continues.

        :raises HubError: if the hub doesn't list the files.
        :raises ConfigValueError: if the name isn't valid.
        :raises ForbiddenPathError: if the cache folder is outside the allowed folders.
        :raises ModelFormatError: if the repository isn't a model in diffusers layout.
        :raises DiskFullError: if there is too little space.
        :raises BusyError: if there are too many downloads.
        """
        if ".." in revision:
            raise ConfigValueError("This isn't a valid revision", path="revision", value=revision, suggestion="Use “main”.")
        made = Download(repository, revision, model_type, self._cache() or default_cache())
        with self._lock:
            if (continued := self._continued(made)) is not None:
                return continued
        self._list_files(made)
        _check_space(made)
        with self._lock:
            if (continued := self._continued(made)) is not None:  # started in the meantime
                return continued
            old = [each for each in self._downloads.values() if each.state == "done"]
            for each in old[: max(0, len(self._downloads) - _MAX_LISTED + 1)]:
                del self._downloads[each.id]
            if len(self._downloads) >= _MAX_LISTED:
                raise BusyError("There are too many downloads.", suggestion="Remove one first.")
            self._downloads[made.id] = made
            self._save()
        self._publish(made)
        self._start_waiting()
        return self.get(made.id)

    def _continued(self, wanted: Download) -> dict[str, Any] | None:
        """Continue the download of the same model to the same folder, if there is one. Requires the lock."""
        for known in self._downloads.values():
            same = (known.folder, known.revision) == (wanted.folder, wanted.revision)
            if same and known.state != "done":
                return known.described() if known.state in _ACTIVE else self.resume(known.id)
        return None

    def list(self) -> list[dict[str, Any]]:
        """Return the downloads, newest first."""
        with self._lock:
            found = sorted(self._downloads.values(), key=lambda each: -each.created_at)
        return [each.described() for each in found]

    def get(self, download_id: str) -> dict[str, Any]:
        """Return a download.

        :raises PathNotFoundError: if it doesn't exist.
        """
        return self._known(download_id).described()

    def pause(self, download_id: str) -> dict[str, Any]:
        """Pause a download. Its downloaded files are kept.

        :raises RunConflictError: if it is neither running nor waiting.
        """
        with self._lock:
            download = self._known(download_id)
            if download.state not in _ACTIVE:
                raise RunConflictError("This download isn't running", value=download_id)
            self._stop(download.id)
            download.state = "paused"
            self._save()
        self._publish(download)
        self._start_waiting()
        return download.described()

    def resume(self, download_id: str) -> dict[str, Any]:
        """Continue a paused or failed download.

        :raises RunConflictError: if it is running or done.
        :raises DiskFullError: if there is too little space.
        """
        with self._lock:
            download = self._known(download_id)
            if download.state not in ("paused", "failed"):
                raise RunConflictError("This download isn't paused", value=download_id)
            _check_space(download)
            download.state, download.error, download.suggestion, download.ended_at = "waiting", "", "", None
            self._save()
        self._publish(download)
        self._start_waiting()
        return download.described()

    def remove(self, download_id: str) -> None:
        """Remove a download from the list. If it isn't done, what it downloaded is deleted, unless something else needs it.

        :raises PathNotFoundError: if it doesn't exist.
        :raises StorageError: if the list can't be written.
        """
        with self._lock:
            download = self._known(download_id)
            worker = self._stop(download.id)
            del self._downloads[download.id]
            self._save()
        if worker is not None:
            worker.thread.join()
        if download.state != "done":
            self._delete_fetched(download)
        download.state = "removed"
        self._publish(download)
        self._start_waiting()

    def wait(self, download_id: str, seconds: float) -> dict[str, Any]:
        """Return a download when it no longer runs, or after some seconds."""
        deadline = time.monotonic() + seconds
        while self._known(download_id).state in _ACTIVE and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.get(download_id)

    def close(self) -> None:
        """End the downloads; they continue with the next panel."""
        with self._lock:
            self._closed = True
            workers = list(self._workers.values())
            for worker in workers:
                worker.stopping.set()
        for worker in workers:
            worker.thread.join()

    # -- the threads ----------------------------------------------------------------------------------------------------

    def _start_waiting(self) -> None:
        with self._lock:
            if self._closed:
                return
            running = sum(each.state == "running" for each in self._downloads.values())
            waiting = sorted(
                (each for each in self._downloads.values() if each.state == "waiting"), key=lambda each: each.created_at
            )
            for download in waiting[: max(0, MAX_AT_ONCE - running)]:
                before = self._workers.get(download.id)
                stopping = threading.Event()
                thread = threading.Thread(
                    target=self._run, args=(download, stopping, before), name=f"download-{download.id}", daemon=True
                )
                self._workers[download.id] = _Worker(thread, stopping)
                download.state = "running"
                thread.start()

    def _run(self, download: Download, stopping: threading.Event, before: _Worker | None) -> None:
        if before is not None:
            before.thread.join()
        error: TrainerError | None = TrainerError(
            "The download ended unexpectedly.", suggestion="Resume it, or see the panel's log."
        )
        try:
            self._publish(download)
            self._transfer(download, stopping)
            error = None
        except StoppedError:
            error = None
        except TrainerError as raised:
            error = raised
        finally:
            self._end(download, stopping, error)

    def _end(self, download: Download, stopping: threading.Event, error: TrainerError | None) -> None:
        with self._lock:
            if stopping.is_set():
                return
            download.state, download.ended_at = ("failed" if error else "done"), time.time()
            if error is not None:
                download.error, download.suggestion = error.message, error.suggestion
            with suppress(StorageError):
                self._save()
        self._publish(download)
        self._start_waiting()

    def _transfer(self, download: Download, stopping: threading.Event) -> None:
        if not download.files or self._moved(download):
            self._list_files(download)
        blobs = download.folder / "blobs"
        with raising_storage_error(f"the model to {download.cache}"):
            blobs.mkdir(parents=True, exist_ok=True)
        unique = {file.etag: file for file in download.files}.values()
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            jobs = [pool.submit(self._fetch, download, file, blobs, stopping) for file in sorted(unique, key=lambda f: f.size)]
            errors = [job.exception() for job in jobs]
        for kind in (TrainerError, BaseException):  # a reason rather than that the others stopped
            for error in errors:
                if isinstance(error, kind):
                    raise error
        self._link(download)

    def _moved(self, download: Download) -> bool:
        """Return whether the revision is another commit by now."""
        with raising_hub_error(download.repository):
            return str(self._hub.api().model_info(download.repository, revision=download.revision).sha) != download.commit

    def _fetch(self, download: Download, file: Blob, blobs: Path, stopping: threading.Event) -> None:
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        if stopping.is_set():
            raise StoppedError
        if (blobs / file.etag).exists():
            return
        url = hf_hub_url(download.repository, file.path, revision=download.commit, endpoint=self._hub.endpoint)
        fetcher = Fetcher(get_session(), build_hf_headers(token=self._hub.token), stopping, self._pause_s)
        with _locked(download, file, stopping), raising_storage_error(f"the model to {download.cache}"):
            if (blobs / file.etag).exists():  # a run downloaded it in the meantime
                return
            if not partial(file, blobs).exists():  # one that exists may be another program's
                self._note_fetched(download, file)
            fetcher.fetch(file, url, blobs)

    def _note_fetched(self, download: Download, file: Blob) -> None:
        with self._lock:
            download.fetched.append(file.etag)
            with suppress(StorageError):
                self._save()

    def _delete_fetched(self, download: Download) -> None:
        """Delete the blobs that a download began. Other programs share the cache, so what one of them uses stays."""
        blobs, hurry = download.folder / "blobs", threading.Event()
        hurry.set()  # a locked blob belongs to the current download
        with self._lock:
            others = [each for each in self._downloads.values() if each.folder == download.folder]
            needed = {file.etag for each in others for file in each.files}
        for file in download.files:
            if file.etag not in download.fetched or file.etag in needed:
                continue
            with suppress(OSError, StorageError, StoppedError), _locked(download, file, hurry):
                if file.etag not in _linked(download.folder):
                    partial(file, blobs).unlink(missing_ok=True)
                    (blobs / file.etag).unlink(missing_ok=True)

    def _link(self, download: Download) -> None:
        """Let the library create its links to the blobs. Until then, nothing looks like a model."""
        from huggingface_hub import snapshot_download

        with raising_hub_error(download.repository):
            snapshot_download(
                download.repository,
                revision=download.revision,
                allow_patterns=[file.path for file in download.files],
                cache_dir=download.cache,
                endpoint=self._hub.endpoint,
                token=self._hub.token,
                tqdm_class=_quiet(),
            )

    def _list_files(self, download: Download) -> None:
        with raising_hub_error(download.repository):
            info = self._hub.api().model_info(download.repository, revision=download.revision, files_metadata=True)
        sizes = {each.rfilename: each for each in info.siblings or ()}
        chosen, _ = files_to_train(info, download.model_type)
        if not chosen:
            raise ModelFormatError(
                f"“{download.repository}” isn't a model in diffusers layout",
                path="base_model_name",
                value=download.repository,
                suggestion="Choose another repository.",
            )
        if info.gated:  # everyone can list the files of a gated repository
            self._hub.check_access(download.repository, chosen[0])
        download.commit = str(info.sha)
        files = [
            Blob(path, int(found.size or 0), found.lfs.sha256 if found.lfs else str(found.blob_id), found.lfs is not None)
            for path, found in ((path, sizes[path]) for path in chosen)
        ]
        if unusable := next(
            (file for file in files if not _CHECKSUM.fullmatch(file.etag)), None
        ):  # it becomes the name of a file
            raise HubError(f"The Hugging Face Hub has no checksum of {unusable.path}", value=download.repository)
        download.files = files

    # -- the list -------------------------------------------------------------------------------------------------------

    def _known(self, download_id: str) -> Download:
        with self._lock:
            if (found := self._downloads.get(download_id)) is not None:
                return found
        raise PathNotFoundError(f"The download {download_id[:100]!r} doesn't exist", value=download_id[:100])

    def _stop(self, download_id: str) -> _Worker | None:
        worker = self._workers.get(download_id)
        if worker is not None:
            worker.stopping.set()
        return worker

    def _save(self) -> None:
        with raising_storage_error("the list of downloads"):
            write_json(self._path, [asdict(each) for each in self._downloads.values()])

    def _publish(self, download: Download) -> None:
        self._changed(download.described())


@contextmanager
def _locked(download: Download, file: Blob, stopping: threading.Event) -> Iterator[None]:
    """Hold the library's lock of a blob: a run that needs it meanwhile waits for it."""
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    path = Path(download.cache) / ".locks" / download.folder.name / f"{file.etag}.lock"
    with raising_storage_error(f"the model to {download.cache}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(WeakFileLock(path, timeout=_LOCK_S))
                break
            except Timeout:
                if stopping.is_set():
                    raise StoppedError from None
        yield


def _linked(folder: Path) -> set[str]:
    """Return the blobs that a snapshot in the folder of a repository contains."""
    return {Path(os.readlink(path)).name for path in (folder / "snapshots").rglob("*") if path.is_symlink()}


def _check_space(download: Download) -> None:
    blobs = download.folder / "blobs"
    needed = sum(file.size - present_bytes(file, blobs) for file in download.files)
    place = next((each for each in (blobs, *blobs.parents) if each.is_dir()), Path.cwd())
    free = shutil.disk_usage(place).free
    if needed and needed + _SPARE_BYTES > free:
        raise DiskFullError(
            f"“{download.repository}” needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {download.cache}",
            suggestion="Free up space, or choose another folder for the cache of the Hugging Face Hub.",
        )


def default_cache() -> str:
    """Return the cache folder of the library: HF_HUB_CACHE, else ``hub`` in HF_HOME, else that in the home folder."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(HF_HUB_CACHE)


def _quiet() -> Any:
    """Return a progress bar class that draws nothing."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Quiet(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": False, "file": io.StringIO()})

    return Quiet


def _read(path: Path) -> list[Download]:
    found = read_json(path)
    made = []
    for each in found if isinstance(found, list) else []:
        try:
            download = Download(**{**each, "files": [Blob(**file) for file in each["files"]]})
        except (TypeError, KeyError):
            _LOG.warning("%s has a download that can't be read", path)
            continue
        if download.state == "running":
            download.state = "waiting"
        made.append(download)
    return made
