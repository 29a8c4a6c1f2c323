"""Write captions: atomically, never over a change of another program, and with undo."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.config.dataset.files import CAPTION_SUFFIX
from onetrainer_gradio.errors import CaptionConflictError, ConfigValueError, DatasetError, NothingToUndoError
from onetrainer_gradio.service.datasets.caption_edits import CaptionEdit, check, edited
from onetrainer_gradio.service.datasets.image_index import CaptionFile, ImageIndex, Query, Row, read_caption
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

MAX_BYTES = 1_000_000
"""Bytes of a caption file that the panel writes."""

_MAX_UNDONE = 50
_SAME_EDIT_S = 60.0
_MAX_EXAMPLES = 20
_MAX_SKIPPED = 100

Change = tuple[str, str | None, str | None]
"""Path of an image, and the content of its caption file before and after; None without a file."""


class Captions:
    """The captions of the datasets. Safe from any thread."""

    def __init__(self, library: DatasetLibrary, index: ImageIndex, history_folder: Path) -> None:
        self._library, self._index, self._history = library, index, history_folder
        self._lock = threading.RLock()

    def read(self, folder: str, image: str) -> dict[str, Any]:
        """Return ``text`` and ``version`` of a caption as they are in the file now.

        :raises PathNotFoundError: if the image doesn't exist.
        """
        found = read_caption(self._file(self._index.row(folder, image)))
        return {"text": found.text, "version": found.version, "encoding": found.encoding, "problem": found.problem}

    def write(self, folder: str, image: str, text: str, version: str) -> dict[str, Any]:
        """Write a caption that was read at a ``version`` (empty: there was no file), and return the new version.

        :raises CaptionConflictError: if the file has changed since; ``value`` has ``yours``, ``theirs`` and its ``version``.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        place = self._library.resolve(folder)
        self._library.require_writable(place)
        row = self._index.row(folder, image)
        with self._lock:
            now = read_caption(self._file(row))
            if now.version != version and now.text != text:
                raise CaptionConflictError(
                    f"Another program changed the caption of {os.path.basename(image)}",
                    path="version",
                    value={"yours": text, "theirs": now.text, "version": now.version},
                    suggestion="Open it again, and compare both texts.",
                )
            if now.problem:
                raise DatasetError(f"The caption of {image} can't be read: {now.problem}.", path="image", value=image)
            if now.text != text or (text and not now.version):
                self._put(row, text)
                before = now.text if now.version else None
                self.record(place, "Edit caption", [(image, before, text)])
                self._index.forget(place)
            return {"version": read_caption(self._file(row)).version, "text": text}

    def put(self, folder: str, row: Row, text: str, version: str) -> list[Change]:
        """Write a generated caption, and return the change for ``record``: none if it is the same text.

        :raises CaptionConflictError: if the file has changed since the version.
        """
        with self._lock:
            now = read_caption(self._file(row))
            if now.version != version:
                raise CaptionConflictError("Another program changed the caption", path="version", value=now.version)
            if now.text == text and now.version:
                return []
            self._put(row, text)
            return [(row.path, now.text if now.version else None, text)]

    def change(
        self, folder: str, images: Sequence[str] | None, query: Query, edit: CaptionEdit, *, preview: bool = False
    ) -> dict[str, Any]:
        """Change the captions of some images, or of all that a query selects. With ``preview``, nothing is written.

        Return how many ``changed``, ``examples`` with ``before`` and ``after``, and ``skipped`` images with the reason.

        :raises ConfigValueError: if the change isn't possible.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        check(edit)
        place = self._library.resolve(folder)
        if not preview:
            self._library.require_writable(place)
        rows = self._index.rows(folder, images, query)
        changes: list[Change] = []
        skipped: list[tuple[str, str]] = []
        with self._lock:
            for row in rows:
                now = read_caption(self._file(row)) if not preview else row.caption
                if now.problem:
                    skipped.append((row.path, now.problem))
                    continue
                after = edited(now.text, edit)
                if after == now.text:
                    continue
                try:
                    if not preview:
                        self._put(row, after)
                except (DatasetError, ConfigValueError) as error:
                    skipped.append((row.path, error.message))
                    continue
                changes.append((row.path, now.text if now.version else None, after))
            if changes and not preview:
                self.record(place, f"Change {len(changes)} captions" if len(changes) > 1 else "Change 1 caption", changes)
                self._index.forget(place)
        return {
            "changed": len(changes),
            "unchanged": len(rows) - len(changes) - len(skipped),
            "examples": [
                {"path": path, "before": before or "", "after": after} for path, before, after in changes[:_MAX_EXAMPLES]
            ],
            "skipped": [list(each) for each in skipped[:_MAX_SKIPPED]],
        }

    def undoable(self, folder: str) -> dict[str, Any] | None:
        """Return ``title``, ``at`` and the number of ``images`` of the last change that can be undone, or None."""
        for file in self._recorded(self._library.resolve(folder)):
            document = read_json(file)
            if isinstance(document, dict):
                return {"title": document["title"], "at": document["at"], "images": len(document["changes"])}
        return None

    def undo(self, folder: str) -> dict[str, Any]:
        """Undo the last change of captions. A caption that was changed again since stays, and is in ``skipped``.

        :raises NothingToUndoError: if there is none.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        place = self._library.resolve(folder)
        self._library.require_writable(place)
        with self._lock:
            file = next(iter(self._recorded(place)), None)
            document = read_json(file) if file else None
            if file is None or not isinstance(document, dict):
                raise NothingToUndoError("There is no change of captions to undo")
            by_path = {row.path: row for row in self._index.rows(folder, None, Query())}
            undone, skipped = 0, []
            for path, before, after in document["changes"]:
                row = by_path.get(path)
                now = read_caption(self._file(row)) if row else CaptionFile()
                if row is None or not now.version or now.text != after:
                    skipped.append([path, "it was changed in the meantime" if row else "the image is no longer there"])
                    continue
                if before is None:
                    os.unlink(self._file(row))  # written by the panel, and unchanged since
                else:
                    self._put(row, before)
                undone += 1
            file.unlink()
            self._index.forget(place)
        return {"undone": undone, "skipped": skipped[:_MAX_SKIPPED], "title": document["title"]}

    # -- files ----------------------------------------------------------------------------------------------------------

    def _file(self, row: Row) -> Path:
        return row.caption_file or row.file.with_suffix(CAPTION_SUFFIX)

    def _put(self, row: Row, text: str) -> None:
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise ConfigValueError("The caption contains half of a character", path="text", value="") from error
        if len(data) > MAX_BYTES or "\0" in text:
            raise ConfigValueError(
                "The caption contains a zero character" if "\0" in text else f"The caption has more than {MAX_BYTES} bytes",
                path="text",
            )
        file = self._library.allowed(self._file(row))
        real = Path(os.path.realpath(file))  # a link stays a link
        with raising_storage_error(f"the caption {file.name}"):
            mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else 0o644
            write_atomic(real, data, mode=mode, durable=True, make_folder=False)

    # -- undo -----------------------------------------------------------------------------------------------------------

    def _folder_of(self, place: Path) -> Path:
        return self._history / hashlib.sha256(str(place).encode(errors="surrogateescape")).hexdigest()[:16]

    def _recorded(self, place: Path) -> list[Path]:
        """Return the files of the changes, newest first."""
        return sorted(self._folder_of(place).glob("*.json"), reverse=True)

    def record(self, place: Path, title: str, changes: list[Change]) -> None:
        """Keep a change for undo; one right after another of the same image is one change."""
        recorded = self._recorded(place)
        last = read_json(recorded[0]) if recorded and len(changes) == 1 else None
        if isinstance(last, dict) and len(last["changes"]) == 1 and time.time() - last["at"] < _SAME_EDIT_S:
            path, before, after = last["changes"][0]
            if (path, after) == (changes[0][0], changes[0][1]) and last["title"] == title:
                changes = [(path, before, changes[0][2])]
                recorded.pop(0).unlink(missing_ok=True)
        document = {"title": title, "at": time.time(), "folder": str(place), "changes": changes}
        with raising_storage_error("the undo history of the captions"):
            write_json(self._folder_of(place) / f"{time.time_ns():020}.json", document, durable=False)
            for old in recorded[_MAX_UNDONE - 1 :]:
                old.unlink(missing_ok=True)
