"""Writing a small file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import DiskFullError, StorageError


def write_atomic(path: Path, content: str | bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put ``content`` at ``path`` in one piece; ``durable`` also makes it survive a power cut."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def told_as_storage_error(what: str) -> Iterator[None]:
    """Turns an OSError within into an error that a user can act on; ``what`` could not be written.

    :raises DiskFullError: when there is no space.
    :raises StorageError: for every other reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{what} cannot be written: the disk is full", change="free some space") from error
        raise StorageError(f"{what} cannot be written: {error}", change="look at the permissions of the data folder") from error


def write_json(path: Path, document: Any, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put ``document`` at ``path`` as readable JSON, in one piece."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        data = (json.dumps(document, indent=2) + "\n").encode()
    write_atomic(path, data, mode=mode, durable=durable)


def read_json(path: Path) -> Any | None:
    """The document at ``path``, or None when there is no readable one."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
