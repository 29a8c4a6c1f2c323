"""Receive files in pieces: streamed to disk, resumable after a broken connection or a restart, and bounded.

A piece is at most a few megabytes, so memory doesn't depend on the size of a file. An upload is a folder with the bytes received
so far (``part``) and a description; the offset to continue at is the size of ``part``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from onetrainer_gradio.errors import (
    BusyError,
    ConfigValueError,
    DatasetError,
    DiskFullError,
    PathNotFoundError,
    TrainerError,
    UploadConflictError,
)
from onetrainer_gradio.service.datasets import archives
from onetrainer_gradio.service.datasets.archives import ArchiveLimits
from onetrainer_gradio.service.datasets.file_names import safe_path
from onetrainer_gradio.service.datasets.incoming import ARCHIVE_SUFFIX, Batch, digest_of, is_accepted, place
from onetrainer_gradio.service.datasets.library import DatasetLibrary, creator_of
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.people.roles import acting

PIECE_BYTES = 4 * 2**20
"""Bytes per request that a client should send."""

_MAX_NAMES = 100
_SHA256 = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class UploadLimits:
    """Limits: bytes of a file, free space to leave on the disk, unfinished uploads, their age, and remembered results."""

    file_bytes: int = 200 * 2**30
    reserve_bytes: int = 2**29
    open_uploads: int = 500
    kept_s: float = 7 * 24 * 3600.0
    results: int = 2000
    batches: int = 100


@dataclass
class Upload:
    """A file that is received: where it goes, how much is there, and what became of it."""

    id: str
    dataset: str
    name: str
    bytes: int
    sha256: str = ""
    batch: str = ""
    made_at: float = 0.0
    offset: int = 0
    state: str = "receiving"
    unpacked: int = 0
    to_unpack: int = 0
    added: int = 0
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""
    account: str = ""
    """ID of the account whose quota the file counts for; empty if none."""

    def as_dict(self) -> dict[str, Any]:
        """Return it with the first names only."""
        shown = {key: value for key, value in asdict(self).items() if key != "account"}
        return {
            **shown,
            "names": self.names[:_MAX_NAMES],
            "skipped": [list(each) for each in self.skipped[:_MAX_NAMES]],
            "skipped_count": len(self.skipped),
            "piece_bytes": PIECE_BYTES,
        }


class Uploads:
    """Uploads into the datasets of the panel. Safe from any thread.

    ``admit`` raises ``QuotaError`` if an account has no room for this many bytes, and ``placed`` notes the bytes of what arrived.
    """

    def __init__(
        self,
        library: DatasetLibrary,
        folder: Path,
        limits: UploadLimits = UploadLimits(),
        archive_limits: ArchiveLimits = ArchiveLimits(),
        free_bytes: Callable[[Path], int] | None = None,
        changed: Callable[[Path], None] = lambda folder: None,
        admit: Callable[[str, int], None] = lambda account, size: None,
        placed: Callable[[str, int], None] = lambda account, size: None,
    ) -> None:
        self._library, self._folder, self._limits, self._archive_limits = library, folder, limits, archive_limits
        self._free_bytes = free_bytes or library.free_bytes
        self._changed = changed
        self._admit, self._placed = admit, placed
        self._lock = threading.Lock()
        self._open: dict[str, Upload] | None = None
        self._ended: OrderedDict[str, Upload] = OrderedDict()
        self._batches: OrderedDict[str, Batch] = OrderedDict()
        self._turns: dict[str, threading.Lock] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def begin(self, dataset: str, name: str, size: int, *, sha256: str = "", batch: str = "") -> dict[str, Any]:
        """Start an upload, or continue an unfinished one of the same file: send the bytes from ``offset`` on.

        ``name`` can contain folders. ``batch`` is a text that the files of one drop share. A zip file is unpacked at the end.

        :raises PathNotFoundError: if the dataset doesn't exist.
        :raises ConfigValueError: if the name, the type or the size isn't allowed.
        :raises DiskFullError: if the file doesn't fit on the disk.
        :raises BusyError: if too many uploads are unfinished.
        :raises QuotaError: if it doesn't fit into the quota of whoever sends it or of the creator of the dataset.
        """
        creator = creator_of(self._library.folder_of(dataset))["account"]
        path = safe_path(name)
        _check_type(path)
        if not 0 <= size <= self._limits.file_bytes:
            raise ConfigValueError(
                f"{path.name} has {size} bytes; the maximum is {self._limits.file_bytes}", path="bytes", value=size
            )
        if sha256 and (len(sha256) != 64 or set(sha256) - _SHA256):
            raise ConfigValueError("The checksum isn't a SHA-256", path="sha256", value=sha256[:100], expected="64 digits 0-9a-f")
        upload = Upload(uuid.uuid4().hex, dataset, str(path), size, sha256, batch, time.time())
        upload.account = creator or acting().account
        with self._lock:
            known = self._continued(upload)
        if known is not None:
            return known.as_dict()
        for account in {upload.account, acting().account} - {""}:
            self._admit(account, max(1, size))
        with self._lock:
            if (known := self._continued(upload)) is not None:  # another request began it meanwhile
                return known.as_dict()
            opened = self._opened()
            waiting = sum(each.bytes - each.offset for each in opened.values())
            if size + waiting + self._limits.reserve_bytes > self._free_bytes(self._library.own):
                raise DiskFullError(
                    f"Not enough free space for {path.name}", suggestion="Free up space on the disk of the data folder."
                )
            if len(opened) >= self._limits.open_uploads:
                raise BusyError("Too many uploads are unfinished.", suggestion="Finish or cancel some of them.")
            with raising_storage_error(f"the upload of {path.name}"):
                (self._folder / upload.id).mkdir(parents=True)
                self._part(upload).touch()
            write_json(self._folder / upload.id / "upload.json", _stored(upload))
            opened[upload.id] = upload
        if size == 0:
            return self._received(upload)
        return upload.as_dict()

    def write(self, upload_id: str, offset: int, data: bytes, *, sha256: str = "") -> dict[str, Any]:
        """Append a piece; the last one puts the file into the dataset or starts unpacking.

        :raises PathNotFoundError: if there is no such upload.
        :raises UploadConflictError: if the piece doesn't start where the last one ended; ``value`` is the expected offset.
        :raises ConfigValueError: if the piece is too large or doesn't match its checksum.
        :raises DiskFullError: if it doesn't fit on the disk.
        """
        upload = self._get(upload_id)
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise ConfigValueError(
                "The piece doesn't match its checksum", path="sha256", value=sha256[:100], suggestion="Send it again."
            )
        with self._turn(upload_id):
            if upload.state != "receiving" or offset != upload.offset:
                raise UploadConflictError(
                    f"The upload continues at byte {upload.offset}, not at {offset}",
                    path="offset",
                    value=upload.offset,
                    suggestion=f"Send the bytes from {upload.offset} on.",
                )
            if offset + len(data) > upload.bytes:
                raise ConfigValueError(f"The piece ends after the {upload.bytes} bytes of the file", path="offset", value=offset)
            if len(data) + self._limits.reserve_bytes > self._free_bytes(self._library.own):
                raise DiskFullError(
                    "Not enough free space to continue", suggestion="Free up space on the disk of the data folder."
                )
            with raising_storage_error(f"the upload of {upload.name}"), self._part(upload).open("r+b") as file:
                file.seek(offset)
                file.write(data)
                file.truncate()
            upload.offset += len(data)
            if upload.offset < upload.bytes:
                return upload.as_dict()
            upload.state = "placing"
        return self._received(upload)

    def get(self, upload_id: str) -> dict[str, Any]:
        """Return an upload with its ``offset`` and ``state``: receiving, placing, unpacking, done or failed.

        :raises PathNotFoundError: if there is none.
        """
        return self._get(upload_id).as_dict()

    def list(self, dataset: str = "") -> list[dict[str, Any]]:
        """Return the unfinished uploads, oldest first."""
        with self._lock:
            found = sorted(self._opened().values(), key=lambda each: each.made_at)
        return [each.as_dict() for each in found if dataset in ("", each.dataset)]

    def cancel(self, upload_id: str) -> None:
        """Remove the bytes received so far. An archive that is being unpacked stops; its files so far stay.

        :raises PathNotFoundError: if there is no such upload.
        """
        upload = self._get(upload_id)
        with self._turn(upload_id):
            if upload.state == "unpacking":
                upload.state = "cancelled"
                return
            if upload.state in ("receiving", "failed"):
                self._forget(upload)

    def pending_bytes(self, account: str) -> int:
        """Return the bytes of the unfinished uploads that count for an account."""
        with self._lock:
            return sum(each.bytes for each in self._opened().values() if account and each.account == account)

    def _continued(self, wanted: Upload) -> Upload | None:
        """Return the unfinished upload of the same file, or None. The lock is held."""
        key = (wanted.dataset, wanted.name, wanted.bytes, wanted.sha256)
        for known in self._opened().values():
            if (known.dataset, known.name, known.bytes, known.sha256) == key and known.state == "receiving":
                known.batch = wanted.batch or known.batch
                return known
        return None

    def close(self) -> None:
        """End the threads that unpack archives."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    # -- what was received ----------------------------------------------------------------------------------------------

    def _received(self, upload: Upload) -> dict[str, Any]:
        path = PurePosixPath(upload.name)
        try:
            if upload.sha256 and digest_of(self._part(upload)) != upload.sha256:
                raise DatasetError(
                    f"{path.name} doesn't match its checksum", value=upload.name, suggestion="Upload the file again."
                )
            if path.suffix.lower() == ARCHIVE_SUFFIX:
                archive = archives.opened(self._part(upload), self._archive_limits)
                upload.state = "unpacking"
                thread = threading.Thread(target=self._unpack, args=(upload, archive), name="unpack", daemon=True)
                self._threads = [each for each in self._threads if each.is_alive()] + [thread]
                thread.start()
                return upload.as_dict()
            self._put(upload, self._part(upload), path, self._batch(upload))
            self._end(upload, "done")
        except TrainerError as error:
            upload.error = str(error)
            self._end(upload, "failed")
            raise
        return upload.as_dict()

    def _unpack(self, upload: Upload, archive: Any) -> None:
        piece = self._folder / upload.id / "member"
        own = self._library.own
        try:
            with archive:
                found = archives.members(archive)
                upload.to_unpack = sum(member.info.file_size for member in found if not member.skipped)
                if upload.account and upload.to_unpack > upload.bytes:
                    self._admit(upload.account, upload.to_unpack - upload.bytes)
                batch = Batch()
                for member in found:
                    if member.skipped:
                        upload.skipped.append((member.info.filename[:300], member.skipped))
                        continue
                    for size in archives.extract(
                        archive, member, piece, lambda: self._free_bytes(own), self._limits.reserve_bytes
                    ):
                        upload.unpacked += size
                        if self._closed.is_set() or upload.state == "cancelled":
                            self._end(upload, "cancelled")
                            return
                    self._put(upload, piece, member.path, batch)
            self._end(upload, "done")
        except TrainerError as error:
            upload.error = str(error)
            self._end(upload, "failed")
        except OSError as error:
            upload.error = f"The archive can't be unpacked: {error.strerror or error}."
            self._end(upload, "failed")

    def _put(self, upload: Upload, source: Path, path: PurePosixPath, batch: Batch) -> None:
        folder = self._library.folder_of(upload.dataset)
        name, skipped = place(source, folder, path, batch)
        self._changed(folder)
        if skipped:
            upload.skipped.append((str(path), skipped))
        else:
            upload.added += 1
            if len(upload.names) < _MAX_NAMES:
                upload.names.append(name)

    def _batch(self, upload: Upload) -> Batch:
        if not upload.batch:
            return Batch()
        with self._lock:
            batch = self._batches.setdefault(upload.batch, Batch())
            self._batches.move_to_end(upload.batch)
            while len(self._batches) > self._limits.batches:
                self._batches.popitem(last=False)
        return batch

    def _end(self, upload: Upload, state: str) -> None:
        upload.state = state
        if upload.account and upload.added:
            self._placed(upload.account, upload.unpacked or upload.bytes)
        with self._lock:  # before it is removed, because a request for it may come at any moment
            self._ended[upload.id] = upload
            while len(self._ended) > self._limits.results:
                self._ended.popitem(last=False)
        self._forget(upload)

    # -- uploads on disk ------------------------------------------------------------------------------------------------

    def _opened(self) -> dict[str, Upload]:
        """Return the unfinished uploads, those of an earlier panel too; old ones are removed. Called with the lock."""
        if self._open is None:
            self._open = {}
            for file in sorted(self._folder.glob("*/upload.json")):
                upload = _restored(read_json(file))
                if upload is not None and upload.id == file.parent.name:
                    self._open[upload.id] = upload
                    upload.offset = _size(self._part(upload))
        for upload in list(self._open.values()):
            if upload.state == "receiving" and time.time() - upload.made_at > self._limits.kept_s:
                self._open.pop(upload.id)
                shutil.rmtree(self._folder / upload.id, ignore_errors=True)
        return self._open

    def _get(self, upload_id: str) -> Upload:
        with self._lock:
            upload = self._opened().get(upload_id) or self._ended.get(upload_id)
        if upload is None:
            raise PathNotFoundError(
                f"The upload {upload_id[:100]!r} doesn't exist", value=upload_id[:100], suggestion="Start the upload again."
            )
        return upload

    def _turn(self, upload_id: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault(upload_id, threading.Lock())

    def _forget(self, upload: Upload) -> None:
        with self._lock:
            self._opened().pop(upload.id, None)
            self._turns.pop(upload.id, None)
        shutil.rmtree(self._folder / upload.id, ignore_errors=True)

    def _part(self, upload: Upload) -> Path:
        return self._folder / upload.id / "part"


def _check_type(path: PurePosixPath) -> None:
    if not is_accepted(path) and path.suffix.lower() != ARCHIVE_SUFFIX:
        raise ConfigValueError(
            f"Files of the type {path.suffix or path.name!r} aren't used in a dataset",
            path="name",
            value=str(path),
            expected="images, videos, .txt captions or a .zip file",
        )


def _stored(upload: Upload) -> dict[str, Any]:
    return {
        key: value
        for key, value in asdict(upload).items()
        if key in ("id", "dataset", "name", "bytes", "sha256", "batch", "made_at", "account")
    }


def _restored(document: Any) -> Upload | None:
    try:
        return Upload(**document)
    except TypeError:
        return None


def _size(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
