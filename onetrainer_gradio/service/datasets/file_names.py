"""Turn file names from a browser or an archive into names that are safe on every system."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from onetrainer_gradio.errors import ConfigValueError

MAX_FOLDERS = 8
MAX_NAME_BYTES = 200
"""Below the 255 bytes of common file systems, so that suffixes such as ``-masklabel.png`` still fit."""

_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
# characters that reorder or hide text: a name shows something else than it is
_HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def safe_path(path: str) -> PurePosixPath:
    """Return a relative path whose parts are valid and visible file names on Windows, macOS and Linux.

    Characters that aren't allowed somewhere become ``_``. Names are normalized to Unicode NFC.

    :raises ConfigValueError: if it is empty, absolute, leads to a parent folder or has too many folders.
    """
    parts = re.split(r"[/\\]", path.strip())
    absolute = (
        not parts[0] or bool(re.match(r"^[A-Za-z]:$", parts[0])) or bool(re.match(r"^[A-Za-z]:.", path) and len(parts) == 1)
    )
    if absolute or "\0" in path or any(part.strip() in ("", ".", "..") for part in parts) or len(parts) > MAX_FOLDERS + 1:
        raise ConfigValueError(
            f"{path[:MAX_NAME_BYTES]!r} isn't a valid file name" if path.strip() else "The file name is empty",
            path="name",
            value=path[:1000],
            expected=f"a relative path with at most {MAX_FOLDERS} folders and without ..",
            suggestion="Rename the file.",
        )
    return PurePosixPath(*(safe_name(part) for part in parts))


def safe_name(name: str) -> str:
    """Return a file name that is valid and visible on every system; the suffix stays."""
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    text = _HIDDEN.sub("", _FORBIDDEN.sub("_", text)).strip().rstrip(". ").lstrip(".") or "_"
    if _RESERVED.match(text):
        text = f"_{text}"
    stem, dot, suffix = text.rpartition(".")
    if not dot or len(suffix) > 16:
        stem, dot, suffix = text, "", ""
    return _cut(stem, MAX_NAME_BYTES - len(f"{dot}{suffix}".encode())).rstrip(". ") + dot + suffix


def is_hidden(path: str) -> bool:
    """Return whether a part of a path is a file that systems create for themselves, such as ``.DS_Store``."""
    parts = re.split(r"[/\\]", path)
    return (
        any(part.startswith(".") and part not in (".", "..") for part in parts)
        or parts[0] == "__MACOSX"
        or parts[-1] == "Thumbs.db"
    )


def _cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode("utf-8", "ignore")
