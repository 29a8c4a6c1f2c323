"""Describe the folder of a concept by the names, sizes and times of its files, to find out whether it changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.train import TrainConfig

# A folder with more files is described by its first ones; reading all of them would delay the answer.
MAX_FILES = 200_000


def fingerprints_of(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """Return the fingerprint of each enabled concept's folder: number of files, their bytes, and a hash."""
    found: dict[str, dict[str, Any]] = {}
    for concept in config.concepts or ():
        if concept.enabled and concept.path and concept.path not in found and os.path.isdir(concept.path):
            found[concept.path] = fingerprint(Path(concept.path), with_subfolders=concept.include_subdirectories)
    return found


def fingerprint(folder: Path, *, with_subfolders: bool) -> dict[str, Any]:
    """Return the fingerprint of a folder; files whose name begins with a dot don't count."""
    lines: list[str] = []
    total = 0
    for name, size, modified_ns in _files(str(folder), with_subfolders):
        lines.append(f"{name}\0{size}\0{modified_ns}")
        total += size
        if len(lines) >= MAX_FILES:
            break
    digest = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()
    return {"files": len(lines), "bytes": total, "hash": digest, "subfolders": with_subfolders}


def changed_folders(before: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each folder that is no longer what its fingerprint describes."""
    sentences = []
    for path, was in before.items():
        if not os.path.isdir(path):
            sentences.append(f"The dataset folder {path} no longer exists.")
            continue
        now = fingerprint(Path(path), with_subfolders=bool(was.get("subfolders")))
        if now["hash"] == was.get("hash"):
            continue
        files = was.get("files", 0)
        what = f"{files} files then, {now['files']} now" if now["files"] != files else f"still {files} files, other content"
        sentences.append(f"The dataset folder {path} changed since the run was added to the queue: {what}.")
    return sentences


def _files(root: str, with_subfolders: bool) -> Iterator[tuple[str, int, int]]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # the pre-flight check reports a folder that can't be read
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if with_subfolders:
                        waiting.append(entry.path)
                    continue
                status = entry.stat()
            except OSError:
                continue
            yield os.path.relpath(entry.path, root), status.st_size, status.st_mtime_ns
