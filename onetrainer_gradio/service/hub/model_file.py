"""Read a file of a run as it is published: without the settings and paths that its header may hold."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.model_files import LARGEST_HEADER
from onetrainer_gradio.config.paths.marker import HEADER_KEY

_LENGTH = 8
_LARGEST_DOCUMENT = 1 << 20
_PUBLIC = ("modelspec.", "format", "ss_v2", "ss_base_model_version", HEADER_KEY, "onetrainer_gradio_training")
"""Beginnings of the names of header entries that are published. The rest may hold settings, with the paths in them."""
_LOADED_FROM = ("_name_or_path", "name_or_path")
"""Keys under which diffusers and transformers write the path that a component was loaded from."""


def public_content(path: Path) -> Path | bytes:
    """Return what is published of a file in a model's folder: of its configurations, all but the path they were loaded from.

    :raises OSError: if it can't be read.
    """
    if path.suffix != ".json" or path.stat().st_size > _LARGEST_DOCUMENT:
        return path
    try:
        document = json.loads(path.read_bytes())
        public = _public(document)
    except (ValueError, RecursionError):
        return path
    return path if public == document else f"{json.dumps(public, indent=2, ensure_ascii=False)}\n".encode()


def _public(document: Any) -> Any:
    """Return a configuration without these keys: one of transformers can contain that of a component."""
    if not isinstance(document, dict):
        return document
    return {key: _public(value) for key, value in document.items() if key not in _LOADED_FROM}


class ModelFile(io.BufferedIOBase):
    """A file in binary mode, without writing a copy. The header of a .safetensors file has only entries for everyone.

    ``removed`` are the names of the omitted entries.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.removed: tuple[str, ...] = ()
        self._head, self._skip = b"", 0
        if path.suffix == ".safetensors":
            self._replace_header()
        self._size = len(self._head) + path.stat().st_size - self._skip
        self._at = 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return at most this many bytes from the position."""
        wanted = self._size - self._at if size is None or size < 0 else size
        found = self._head[self._at : self._at + wanted]
        if len(found) < wanted:
            self._file.seek(self._skip + self._at + len(found) - len(self._head))
            found += self._file.read(wanted - len(found))
        self._at += len(found)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _replace_header(self) -> None:
        start = self._file.read(_LENGTH)
        length = struct.unpack("<Q", start)[0] if len(start) == _LENGTH else 0
        if not 2 <= length <= LARGEST_HEADER:
            return
        try:
            header = json.loads(self._file.read(length))
            entries = header.get("__metadata__", {})
        except (ValueError, AttributeError, RecursionError):
            return
        public = {name: text for name, text in entries.items() if name.startswith(_PUBLIC)}
        self.removed = tuple(sorted(entries.keys() - public.keys()))
        if not self.removed:
            return
        text = json.dumps({**header, "__metadata__": public}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _LENGTH)
        self._head, self._skip = struct.pack("<Q", len(text)) + text, _LENGTH + length
