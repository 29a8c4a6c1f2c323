"""Writing a small file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any


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


def write_json(path: Path, document: Any, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put ``document`` at ``path`` as readable JSON, in one piece."""
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n", mode=mode, durable=durable)


def read_json(path: Path) -> Any | None:
    """The document at ``path``, or None when there is no readable one."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
