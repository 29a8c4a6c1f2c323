"""Move images with their captions and masks: to the trash, out of training, and to another folder. Nothing is ever deleted."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from onetrainer_gradio.errors import ConfigValueError, PathNotFoundError
from onetrainer_gradio.service.datasets.image_index import EXCLUDED, ImageIndex, Query, Row
from onetrainer_gradio.service.datasets.incoming import Batch, same_content
from onetrainer_gradio.service.datasets.library import TRASH, DatasetLibrary
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

_ENTRY = "entry.json"
_MAX_SKIPPED = 100
_MAX_ENTRIES = 1000

Skipped = list[tuple[str, str]]


class FileMoves:
    """Move the files of datasets. Safe from any thread."""

    def __init__(self, library: DatasetLibrary, index: ImageIndex) -> None:
        self._library, self._index = library, index
        self._lock = threading.RLock()

    def trash(self, folder: str, images: Sequence[str] | None, query: Query, reason: str = "Deleted") -> dict[str, Any]:
        """Move images with their captions and masks to the trash folder of the dataset. Return its ``entry``.

        :raises ForbiddenPathError: if the folder is read-only.
        :raises PathNotFoundError: if an image doesn't exist.
        """
        place = self._writable(folder)
        rows = self._index.rows(folder, images, query)
        with self._lock:
            base = place / EXCLUDED if query.excluded else place
            return self.trash_files(place, base, self._files(folder, rows, query), reason) | {"moved": len(rows)}

    def trash_files(self, place: Path, base: Path, files: Iterable[Path], reason: str) -> dict[str, Any]:
        """Move files, given by their paths below ``base``, to the trash of a dataset."""
        entry = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{uuid.uuid4().hex[:6]}"
        target = place / TRASH / entry
        listed = [(file, file.relative_to(place).as_posix()) for file in files]
        if not listed:
            return {"entry": "", "files": 0}
        with self._lock, raising_storage_error(f"the trash folder {target}"):
            target.mkdir(parents=True)
            document = {"id": entry, "at": time.time(), "reason": reason, "files": [name for _, name in listed]}
            write_json(target / _ENTRY, document)
            for file, name in listed:
                to = target / "files" / name
                to.parent.mkdir(parents=True, exist_ok=True)
                if file.exists():
                    os.rename(file, to)
        self._index.forget(place)
        return {"entry": entry, "files": len(listed)}

    def trash_entries(self, folder: str) -> list[dict[str, Any]]:
        """Return what is in the trash of a dataset, newest first: ``id``, ``at``, ``reason`` and the ``files``."""
        place = self._library.resolve(folder)
        found = sorted((place / TRASH).glob(f"*/{_ENTRY}"), reverse=True)[:_MAX_ENTRIES]
        documents = [document for file in found if isinstance(document := read_json(file), dict)]
        return [
            {
                "id": each["id"],
                "at": each["at"],
                "reason": each["reason"],
                "count": len(each["files"]),
                "files": each["files"][:10],
            }
            for each in documents
        ]

    def restore(self, folder: str, entry: str) -> dict[str, Any]:
        """Move files back from the trash; a file whose name is taken now stays there and is in ``skipped``.

        :raises PathNotFoundError: if the trash has no such entry.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        place = self._writable(folder)
        source = place / TRASH / entry
        document = read_json(source / _ENTRY) if entry and "/" not in entry and "\\" not in entry and "\0" not in entry else None
        if not isinstance(document, dict) or source.parent != place / TRASH:
            raise PathNotFoundError(f"The trash has no entry {entry[:100]!r}", path="entry", value=entry[:100])
        restored, skipped = 0, []
        with self._lock, raising_storage_error(f"the folder {place}"):
            for name in document["files"]:
                file, to = source / "files" / name, place / name
                if not file.exists():
                    skipped.append([name, "it is no longer in the trash"])
                elif not to.resolve().is_relative_to(place.resolve()):
                    skipped.append([name, "its path isn't allowed"])
                elif os.path.lexists(to):
                    skipped.append([name, "a file with this name exists again"])
                else:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    os.rename(file, to)
                    restored += 1
            if not skipped:
                (source / _ENTRY).unlink()
                for path, _, _ in os.walk(source, topdown=False):
                    os.rmdir(path)  # empty folders that the panel made
        self._index.forget(place)
        return {"restored": restored, "skipped": skipped[:_MAX_SKIPPED]}

    def exclude(self, folder: str, images: Sequence[str] | None, query: Query) -> dict[str, Any]:
        """Take images out of training: they move to a hidden folder of the dataset, which no engine enters."""
        place = self._writable(folder)
        return self._rebased(folder, images, query, place, place / EXCLUDED)

    def include(self, folder: str, images: Sequence[str] | None, query: Query) -> dict[str, Any]:
        """Move excluded images back to where they were."""
        place = self._writable(folder)
        if not query.excluded:
            raise ConfigValueError("Only excluded images can be included", path="filter.excluded", value=False, expected="true")
        return self._rebased(folder, images, query, place / EXCLUDED, place)

    def move(self, folder: str, images: Sequence[str] | None, query: Query, to: str) -> dict[str, Any]:
        """Move images to another folder. On another disk they are copied, and the originals go to the trash.

        A name that is taken there gets a number; its caption and mask get the same.
        """
        place, target = self._writable(folder), self._library.resolve(to)
        self._library.require_writable(target)
        if place.resolve() == target.resolve():
            raise ConfigValueError(
                "The images are in this folder already", path="to", value=to, suggestion="Choose another folder."
            )
        base = place / EXCLUDED if query.excluded else place
        rows = self._index.rows(folder, images, query)
        batch, copied, moved, skipped = Batch(), [], 0, []
        same_disk = os.stat(place).st_dev == os.stat(target).st_dev
        with self._lock, raising_storage_error(f"the folder {target}"):
            for file in self._files(folder, rows, query):
                name = PurePosixPath(file.relative_to(base).as_posix())
                (target / name.parent).mkdir(parents=True, exist_ok=True)
                new = target / name.parent / f"{batch.stem(target / name.parent, name.name)}{name.suffix}"
                if os.path.lexists(new):
                    skipped.append((str(name), "a file with this name exists there"))
                elif same_disk:
                    os.rename(file, new)
                    moved += 1
                else:
                    shutil.copy2(file, new)
                    copied += [file] if same_content(file, new) else []
                    moved += 1
            if copied:
                self.trash_files(place, base, copied, f"Moved to {target}")
        for each in (place, target):
            self._index.forget(each)
        return {"moved": moved, "skipped": [list(each) for each in skipped[:_MAX_SKIPPED]]}

    # -- files ----------------------------------------------------------------------------------------------------------

    def _writable(self, folder: str) -> Path:
        place = self._library.resolve(folder)
        self._library.require_writable(place)
        return place

    def _files(self, folder: str, rows: Sequence[Row], query: Query) -> list[Path]:
        """Return the images with captions and masks; those that another image of the same name shares stay with it."""
        every = self._index.rows(folder, None, Query(excluded=query.excluded))
        users = Counter(str(row.file.with_suffix("")) for row in every)
        going = Counter(str(row.file.with_suffix("")) for row in rows)
        files: dict[Path, None] = {}
        for row in rows:
            stem = str(row.file.with_suffix(""))
            files[row.file] = None
            if users[stem] <= going[stem]:
                files |= dict.fromkeys(each for each in (row.caption_file, row.mask, row.condition) if each is not None)
        return list(files)

    def _rebased(self, folder: str, images: Sequence[str] | None, query: Query, base: Path, to: Path) -> dict[str, Any]:
        rows = self._index.rows(folder, images, query)
        skipped: Skipped = []
        moved = 0
        with self._lock, raising_storage_error(f"the folder {to}"):
            for file in self._files(folder, rows, query):
                name = file.relative_to(base)
                if os.path.lexists(to / name):
                    skipped.append((name.as_posix(), "a file with this name exists there"))
                    continue
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                os.rename(file, to / name)
                moved += 1
        self._index.forget(self._library.resolve(folder))
        return {"moved": moved, "skipped": [list(each) for each in skipped[:_MAX_SKIPPED]]}
