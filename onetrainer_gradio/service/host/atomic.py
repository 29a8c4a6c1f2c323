"""Writing a small file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.errors import DiskFullError, StorageError

# A packed configuration with 30,000 concepts has 150 MB. A file beyond this limit isn't a document of ours.
MAX_BYTES = 256 << 20
# What opening a path can fail with although the disk works: such a path is as good as missing.
_NOT_A_FILE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG}
)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def raising_storage_error(what: str) -> Iterator[None]:
    """Turns an OSError within into an error that a user can act on; ``what`` could not be written.

    :raises DiskFullError: when there is no space.
    :raises StorageError: for every other reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFullError(
                f"Can't write {what}: no space left on device", suggestion="Free up space on the disk of the data folder."
            ) from error
        raise StorageError(f"Can't write {what}: {error}", suggestion="Check the permissions of the data folder.") from error


def write_json(path: Path, document: Any, *, mode: int = 0o644, durable: bool = True, make_folder: bool = True) -> None:
    """Put ``document`` at ``path`` as readable JSON, in one piece."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        data = (json.dumps(document, indent=2) + "\n").encode()
    write_atomic(path, data, mode=mode, durable=durable, make_folder=make_folder)


def open_file(path: Path) -> int | None:
    """Return a descriptor that reads a regular file, or None if the path is missing, unreadable or something else.

    A named pipe, on which opening and reading would block forever, counts as something else.

    :raises OSError: if the disk fails.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def regular_file(path: Path, *, append: bool = False) -> Iterator[BinaryIO]:
    """Open a regular file to read, or to ``append`` to (it is made then).

    :raises OSError: if it is missing, unreadable or something else, such as a named pipe.
    """
    flags = (os.O_RDWR | os.O_APPEND | os.O_CREAT) if append else os.O_RDONLY
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0), 0o644)
    with os.fdopen(descriptor, "ab" if append else "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        yield file


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes | None:
    """Return the content of a file, or None if it isn't a readable regular file or has more than ``limit`` bytes.

    :raises OSError: if the disk fails.
    """
    descriptor = open_file(path)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if os.fstat(descriptor).st_size <= limit else None


def read_json(path: Path, limit: int = MAX_BYTES) -> Any | None:
    """The document at ``path``, or None when there is no readable one."""
    try:
        data = read_bytes(path, limit)
        return None if data is None else json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
