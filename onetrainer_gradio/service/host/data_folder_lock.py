"""One process at a time works with a data folder: two would edit the same settings and take over each other's runs."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from types import TracebackType

from onetrainer_gradio.errors import RunConflictError
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.data_version import check_version
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.host.process import ProcessIdentity


class DataFolderLock:
    """Lock a data folder for one process; ``address`` is the address of the panel, or what the process does.

    The lock of a process that was killed does not count.

    :raises DataVersionError: when a newer version wrote the folder; nothing in it is changed.
    :raises RunConflictError: when another process works there.
    :raises StorageError: when nothing can be written there.
    """

    def __init__(self, data_folder: Path, address: str) -> None:
        self._data_folder = data_folder
        self._path = data_folder / "panel.json"
        self._address = address

    def __enter__(self) -> DataFolderLock:
        check_version(self._data_folder)
        # of two concurrent ones, one is first
        with raising_storage_error("the data folder's panel.json"), FolderLock(self._data_folder):
            self._acquire()
        return self

    def _acquire(self) -> None:
        known = read_json(self._path)
        owner = ProcessIdentity.from_dict(known)
        if owner is not None and owner.pid != os.getpid() and owner.alive():
            address = known.get("address", "") if isinstance(known, dict) else ""
            raise RunConflictError(
                f"The data folder {self._data_folder} is in use: {address} (process {owner.pid})",
                suggestion="Use that panel, stop it, or choose another folder with --data.",
            )
        if self._path.is_dir():  # not ours: it is renamed, so that two panels still see each other
            self._path.rename(self._path.with_name(f"panel.json-{uuid.uuid4().hex[:8]}"))
        write_json(self._path, {**ProcessIdentity.of(os.getpid()).as_dict(), "address": self._address}, durable=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # the disk of the data folder is gone
            self._path.unlink(missing_ok=True)
