"""Write a small file so that a reader sees the old content or the new one, never a part of either."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write_atomic(path: Path, content: str | bytes, *, mode: int = 0o644, durable: bool = True, make_folder: bool = True) -> None:
    """Put ``content`` at ``path`` in one piece; ``durable`` also makes it survive a power cut.

    Without ``make_folder`` the folder has to exist: a file of a run doesn't bring back the folder of a deleted run.
    """
    data = content.encode() if isinstance(content, str) else content
    if make_folder:
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
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
