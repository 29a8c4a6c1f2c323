"""Manage the dataset folders that the panel owns, and resolve the folders that requests name."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.dataset.files import IMAGE_SUFFIXES
from onetrainer_gradio.config.files.presets import PLACEHOLDERS
from onetrainer_gradio.config.files.resolve import absolute
from onetrainer_gradio.errors import (
    ConfigValueError,
    ForbiddenPathError,
    NotPermittedError,
    PathExistsError,
    PathNotFoundError,
)
from onetrainer_gradio.service.datasets.file_names import safe_name
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.path_guard import PathGuard
from onetrainer_gradio.service.people.roles import Role, acting

OWN = "datasets"
TRASH = ".trash"
"""Folder in a dataset with deleted files. Hidden folders are never trained on, neither here nor by OneTrainer."""
CREATOR = ".created_by.json"
"""File in a dataset that names who created it. It moves with the folder. Training and fingerprints ignore hidden files."""
_MAX_LISTED = 1000
_MAX_COUNTED = 100_000


def may_write(folder: Path) -> bool:
    """Return whether files in a folder can be created and renamed."""
    return os.access(folder, os.W_OK | os.X_OK)


class DatasetLibrary:
    """The datasets in ``<data>/datasets``; other folders are used where they are. Safe from any thread."""

    def __init__(self, data_folder: Path, roots: Sequence[Path] = (), writable: Callable[[Path], bool] = may_write) -> None:
        self._data = data_folder
        self._guard = PathGuard(roots) if roots else None
        self._writable = writable
        self.own = data_folder / OWN

    @property
    def roots(self) -> tuple[Path, ...]:
        """Return the allowed folders; none if every folder is allowed."""
        return self._guard.roots if self._guard else ()

    def list(self) -> list[dict[str, Any]]:
        """Return the datasets by name: ``name``, ``folder`` (for a concept), ``images``, ``modified_at`` and ``created_by``."""
        return [self._described(name) for name in self._names()[:_MAX_LISTED]]

    def _names(self) -> tuple[str, ...]:
        try:
            with os.scandir(self.own) as found:
                return tuple(sorted(each.name for each in found if each.is_dir() and not each.name.startswith(".")))
        except OSError:
            return ()

    def _described(self, name: str) -> dict[str, Any]:
        folder = self.own / name
        return {
            "name": name,
            "folder": f"{OWN}/{name}",
            "images": _count(folder),
            "modified_at": folder.stat().st_mtime,
            "created_by": creator_of(folder)["name"],
        }

    def create(self, name: str) -> dict[str, Any]:
        """Create an empty dataset.

        :raises ConfigValueError: if the name is empty.
        :raises PathExistsError: if a dataset with this name exists, in any capitalization.
        """
        name, who = _checked(name), acting()
        if any(name.casefold() == known.casefold() for known in self._names()):
            raise PathExistsError(
                f"The dataset {name!r} already exists", path="name", value=name, suggestion="Choose another name."
            )
        with raising_storage_error(f"the dataset {name}"):
            (self.own / name).mkdir(parents=True, exist_ok=False)
            if who.name or who.account:
                write_json(self.own / name / CREATOR, {"name": who.name, "account": who.account, "at": time.time()})
        return {"name": name, "folder": f"{OWN}/{name}", "images": 0, "modified_at": time.time(), "created_by": who.name}

    def rename(self, name: str, to: str) -> dict[str, Any]:
        """Rename a dataset. Concepts that use its folder don't follow.

        :raises NotPermittedError: if someone else created it, unless an owner asks.
        :raises PathNotFoundError: if the dataset doesn't exist.
        :raises PathExistsError: if the new name is in use.
        """
        folder, to = self.folder_of(name), _checked(to)
        require_creator(folder)
        if to.casefold() != folder.name.casefold() and os.path.lexists(self.own / to):
            raise PathExistsError(f"The dataset {to!r} already exists", path="to", value=to, suggestion="Choose another name.")
        with raising_storage_error(f"the dataset {to}"):
            folder.rename(self.own / to)
        return self._described(to)

    def delete(self, name: str) -> Path:
        """Move a dataset to the trash folder of the datasets, and return its path there.

        :raises PathNotFoundError: if the dataset doesn't exist.
        """
        folder = self.folder_of(name)
        trash = self.own / TRASH
        with raising_storage_error(f"the trash folder {trash}"):
            trash.mkdir(exist_ok=True)
            target = trash / f"{time.strftime('%Y-%m-%d_%H-%M-%S')} {folder.name}"
            number = 2
            while os.path.lexists(target):
                target = trash / f"{time.strftime('%Y-%m-%d_%H-%M-%S')} {folder.name} ({number})"
                number += 1
            folder.rename(target)
        return target

    def folder_of(self, name: str) -> Path:
        """Return the folder of a dataset of the panel.

        :raises PathNotFoundError: if it doesn't exist.
        """
        folder = self.own / name
        if not name or name.startswith(".") or folder.parent != self.own or "\0" in name or not folder.is_dir():
            raise PathNotFoundError(
                f"The dataset {name!r} doesn't exist", path="dataset", value=name, suggestion="Create it, or choose another one."
            )
        return folder

    def resolve(self, folder: str) -> Path:
        """Return an existing folder, inside the allowed ones; a relative path starts at the data folder.

        :raises ForbiddenPathError: if it is outside the allowed folders.
        :raises PathNotFoundError: if it doesn't exist.
        """
        place = None
        if folder.strip() and "\0" not in folder:
            try:
                place = absolute(folder, self._data)
                if self._guard:
                    place = self._guard.resolve(folder if folder.startswith("~") else place)
                place = place if os.path.isdir(place) else None
            except (OSError, RuntimeError, ValueError):  # an invalid path
                place = None
        if place is None:
            raise PathNotFoundError(
                f"The folder {folder[:1000]!r} doesn't exist",
                path="folder",
                value=folder[:1000],
                expected="a folder with images",
                suggestion="Choose another folder.",
            )
        return place

    def allowed(self, path: Path) -> Path:
        """Return a path with links resolved.

        :raises ForbiddenPathError: if a link leads out of the allowed folders.
        """
        return self._guard.resolve(path) if self._guard else path

    def is_writable(self, folder: Path) -> bool:
        """Return whether the panel may change files in a folder; it never changes its own demo images."""
        real = folder.resolve()
        return self._writable(folder) and not any(real.is_relative_to(own.resolve()) for own in PLACEHOLDERS.values())

    def require_writable(self, folder: Path) -> None:
        """Check before a change.

        :raises ForbiddenPathError: if the folder is read-only.
        """
        if not self.is_writable(folder):
            raise ForbiddenPathError(
                f"The folder {folder} is read-only, so nothing in it was changed",
                path="folder",
                value=str(folder),
                expected="a folder that the panel can write to",
                suggestion="Copy the images to a dataset of the panel.",
            )

    def free_bytes(self, folder: Path) -> int:
        """Return the free space of the file system of a folder."""
        place = folder
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free


def creator_of(folder: Path) -> dict[str, str]:
    """Return the ``name`` and ``account`` of who created a dataset; empty if unknown."""
    found = read_json(folder / CREATOR)
    body = found if isinstance(found, dict) else {}
    return {key: value if isinstance(value := body.get(key), str) else "" for key in ("name", "account")}


def require_creator(folder: Path) -> None:
    """Check before a change that concerns everyone who uses a dataset.

    :raises NotPermittedError: if someone else created it, and the request doesn't come from an owner.
    """
    who, creator = acting(), creator_of(folder)
    if who.role >= Role.OWNER or not (creator["account"] or creator["name"]):
        return
    own = who.account == creator["account"] if creator["account"] else who.name == creator["name"]
    if not own:
        raise NotPermittedError(
            f"{creator['name']} created the dataset {folder.name!r}.",
            suggestion="Ask them or an owner to rename it.",
            value=folder.name,
        )


def _checked(name: str) -> str:
    text = name.strip()
    safe = safe_name(text) if text else ""
    if not text or safe != text or "/" in text or "\\" in text:
        raise ConfigValueError(
            f"{text[:100]!r} isn't a valid name of a dataset" if text else "The name of the dataset is empty",
            path="name",
            value=name[:1000],
            expected='a name without / \\ : * ? " < > |, not starting or ending with a dot',
            suggestion="Choose another name.",
        )
    return text


def _count(folder: Path) -> int:
    count = 0
    for number, (_, folders, files) in enumerate(os.walk(folder)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            stem, suffix = os.path.splitext(name)
            count += suffix.lower() in IMAGE_SUFFIXES and not stem.endswith(("-masklabel", "-condlabel"))
        if number > 1000 or count > _MAX_COUNTED:
            break
    return count
