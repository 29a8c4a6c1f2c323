"""Write a small file so that a reader sees the old content or the new one, never a part of either."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from pathlib import Path

# A writer takes a moment, so an older temporary file is one that a kill left.
_LEFT_AFTER_S = 60.0


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of ``path`` left."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError), os.scandir(path.parent) as found:
        for entry in found:
            ours = pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            if ours and time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_AFTER_S:
                os.unlink(entry)


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
