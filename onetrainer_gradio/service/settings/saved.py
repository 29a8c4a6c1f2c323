"""Store saved configurations: one JSON file each in a folder, readable by OneTrainer."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.files.documents import read_file, write_file
from onetrainer_gradio.config.files.presets import nearest
from onetrainer_gradio.errors import ConfigExistsError, ConfigNotFoundError, ConfigValueError
from onetrainer_gradio.service.host.atomic import raising_storage_error

_MAX_CHARACTERS = 80
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)
_COPY = re.compile(r"^(.*?) copy(?: \d+)?$")


def clean_name(name: str) -> str:
    """Return a name that is a safe file name on every system.

    :raises ConfigValueError: if nothing is left of it, or it contains parts of a path.
    """
    cleaned = name.strip().removesuffix(".json").strip(" .")
    if not cleaned or _FORBIDDEN.search(cleaned) or _RESERVED.match(cleaned) or len(cleaned) > _MAX_CHARACTERS:
        raise ConfigValueError(
            f"{name!r} isn't a valid name for a configuration",
            path="name",
            value=name,
            expected=f'1 to {_MAX_CHARACTERS} characters without < > : " / \\ | ? *',
            suggestion="Choose another name.",
        )
    return cleaned


class SavedConfigs:
    """The saved configurations of a folder. The user must allow only one writing thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> dict[str, Path]:
        """Return the files by name, in order."""
        try:
            return {path.stem: path for path in sorted(self.folder.glob("*.json"))}
        except OSError:
            return {}

    def read(self, name: str) -> dict[str, Any]:
        """Return the document of one.

        :raises ConfigNotFoundError: if there is none with this name.
        """
        return read_file(self._existing(name))

    def write(self, name: str, document: dict[str, Any], *, over: bool = True) -> str:
        """Save a document atomically and return its name; ``over`` allows overwriting.

        :raises ConfigValueError: if the name is invalid.
        :raises ConfigExistsError: if the name exists.
        """
        name = clean_name(name)
        same = self._same(name)
        if same is not None and not over:
            raise _exists(same)
        with raising_storage_error(f"the configuration {name}"):
            write_file(self.folder / f"{same or name}.json", document)
        return same or name

    def rename(self, name: str, to: str) -> str:
        """Rename one and return its new name.

        :raises ConfigNotFoundError: if there is none with this name.
        :raises ConfigValueError: if the new name is invalid.
        :raises ConfigExistsError: if the new name exists.
        """
        path, to = self._existing(name), clean_name(to)
        same = self._same(to)
        if same is not None and same != name:
            raise _exists(same)
        with raising_storage_error(f"the configuration {to}"):
            os.replace(path, self.folder / f"{to}.json")
        return to

    def delete(self, name: str) -> None:
        """Delete one.

        :raises ConfigNotFoundError: if there is none with this name.
        """
        path = self._existing(name)
        with raising_storage_error(f"the configuration {name}"):
            path.unlink(missing_ok=True)

    def name_for_file(self, file_name: str, taken: Collection[str] = ()) -> str:
        """Return a name for settings from a file: that of the file, or a free one where it is taken already."""
        stem = re.sub(r"\.json$", "", re.split(r"[\\/]", file_name)[-1], flags=re.IGNORECASE)
        name = " ".join(_FORBIDDEN.sub(" ", stem.replace("#", "")).split()).strip(" .")[:_MAX_CHARACTERS].strip()
        if not name:
            return ""
        return name if name not in taken and self._same(name) is None else self.free_name(name)

    def free_name(self, name: str) -> str:
        """Return a name for a copy: that of the original with ``copy``, and a number if needed."""
        base = " ".join(_FORBIDDEN.sub(" ", name.replace("#", "")).split()).strip(" .")
        if (found := _COPY.match(base)) and found[1]:
            base = found[1]
        base = base[: _MAX_CHARACTERS - len(" copy 000")].strip() or "settings"
        number = 1
        free = f"{base} copy"
        while self._same(free) is not None:
            number += 1
            free = f"{base} copy {number}"
        return free

    def _existing(self, name: str) -> Path:
        files = self.files()
        if name not in files:
            raise ConfigNotFoundError(
                f"The saved configuration {name!r} doesn't exist", value=name, expected=nearest(name, files)
            )
        return files[name]

    def _same(self, name: str) -> str | None:
        """Return the one with this name, ignoring case, as some file systems do."""
        return _same_name(name, self.files())


def _same_name(name: str, names: Iterable[str]) -> str | None:
    return next((other for other in names if other.casefold() == name.casefold()), None)


def _exists(name: str) -> ConfigExistsError:
    return ConfigExistsError(
        f"A saved configuration with the name {name!r} already exists",
        path="name",
        value=name,
        expected="an unused name",
        suggestion="Choose another name, or turn on overwriting.",
    )
