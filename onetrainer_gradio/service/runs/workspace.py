"""Find what OneTrainer wrote into a workspace: its starts, and the samples, backups and saves of each.

Nothing is ever changed there.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.resume import META
from onetrainer_gradio.events import BackupCreated, Event, ModelSaved, SampleGenerated
from onetrainer_gradio.service.runs.event_files import event_files

_STAMP = r"(?P<stamp>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)"
_COUNTS = r"(?P<step>\d{1,15})-(?P<epoch>\d{1,15})-(?P<epoch_step>\d{1,15})"
_START = re.compile(rf"^.*{_STAMP}\Z")
_SAMPLE = re.compile(rf"^.*{_STAMP}-training-sample-{_COUNTS}.*\.(?:png|jpe?g|webp|mp4|gif|wav|mp3)\Z", re.IGNORECASE)
_BACKUP = re.compile(rf"^{_STAMP}-backup-{_COUNTS}\Z")
_SAVE = re.compile(rf"^.*{_STAMP}-save-{_COUNTS}(?:\.\w+)?\Z")
_PROMPT = re.compile(r"^(?P<index>\d{1,9}) - (?P<prompt>.*?)(?P<no_ema> - no-ema)?\Z", re.DOTALL)
_CUSTOM = "custom"
# The settings of a start are stored a moment before or after its charts begin.
_MOMENT_S = 60.0
_MAX_CONFIG_BYTES = 64 << 20


@dataclass
class Start:
    """One start of OneTrainer in a workspace: when, its charts (None: none), its settings, and the files that it wrote."""

    name: str
    at: float
    charts: Path | None
    config_file: Path | None = None
    samples: list[tuple[Path, re.Match[str]]] = field(default_factory=list)
    backups: list[tuple[Path, re.Match[str]]] = field(default_factory=list)
    saves: list[tuple[Path, re.Match[str]]] = field(default_factory=list)

    def chart_bytes(self) -> int:
        """Return the size of its event files."""
        return sum(path.stat().st_size for path in event_files(self.charts)) if self.charts else 0

    def config(self) -> dict[str, Any]:
        """Return the settings of the start: those that OneTrainer stored for it, or else those in one of its backups."""
        if self.config_file is not None and (document := _document(self.config_file)):
            return document
        for backup, _ in reversed(self.backups):
            folder = backup / "onetrainer_config"
            document = _document(folder / "args.json")
            if document:
                lists = {name: _json(folder / f"{name}.json") for name in ("concepts", "samples")}
                return document | {name: items for name, items in lists.items() if isinstance(items, list)}
        return {}

    def epoch_steps(self) -> int:
        """Return the steps per epoch, from the counts in the names of its files. 0 if they don't show it."""
        for _, found in (*self.backups, *self.saves, *self.samples):
            if int(found["epoch"]) > 0:
                return max(0, int(found["step"]) - int(found["epoch_step"])) // int(found["epoch"])
        return 0


def starts_in(workspace: Path) -> list[Start]:
    """Return the starts of a workspace, oldest first, each with the files that were written until the next one."""
    starts = [
        Start(path.name, stamp, path)
        for path, stamp in _stamped(workspace / "tensorboard", _START, folders=True)
        if any(True for _ in event_files(path))
    ]
    starts.sort(key=lambda start: (start.at, start.name))
    for path, stamp in _stamped(workspace / "config", re.compile(rf"^.*{_STAMP}\.json\Z"), folders=False):
        near = [start for start in starts if start.config_file is None and abs(start.at - stamp) <= _MOMENT_S]
        if near:
            min(near, key=lambda start: abs(start.at - stamp)).config_file = path
        elif not any(abs(start.at - stamp) <= _MOMENT_S for start in starts):
            starts.append(Start(path.stem, stamp, None, path))
    starts.sort(key=lambda start: (start.at, start.name))
    if not starts:
        return []
    for folder in _entries(workspace / "samples", folders=True):
        _distribute(starts, folder, _SAMPLE, "samples", folders=False)
    _distribute(starts, workspace / "backup", _BACKUP, "backups", folders=True)
    for folders in (False, True):
        _distribute(starts, workspace / "save", _SAVE, "saves", folders=folders)
    return starts


def files_of(start: Start, config: dict[str, Any]) -> Iterator[Event]:
    """Yield an event for each file of a start, as our own runs report them. A file that is gone meanwhile is omitted."""
    configured = [sample for sample in config.get("samples") or () if isinstance(sample, dict)]
    for path, found in start.samples:
        at, _ = _facts(path)
        if at is not None:
            yield _sample(path, found, at, configured)
    for path, found in start.backups:
        at, size = _facts(path / META)
        if at is not None:
            total = sum(_facts(each)[1] for each in path.rglob("*") if each.is_file() and not each.is_symlink())
            yield BackupCreated(
                at=at,
                path=str(path),
                bytes=max(size, total),
                global_step=int(found["step"]),
                epoch=int(found["epoch"]),
                epoch_step=int(found["epoch_step"]),
            )
    for path, found in start.saves:
        at, size = _facts(path)
        if at is not None:
            if path.is_dir():
                size = sum(_facts(each)[1] for each in path.rglob("*") if each.is_file() and not each.is_symlink())
            yield ModelSaved(at=at, path=str(path), final=False, global_step=int(found["step"]), bytes=size)


def _sample(path: Path, found: re.Match[str], at: float, configured: list[dict[str, Any]]) -> SampleGenerated:
    named = _PROMPT.match(path.parent.name)
    index = int(named["index"]) if named else 0
    values = configured[index] if named and index < len(configured) else {}
    prompt = str(values.get("prompt") or (named["prompt"] if named else ""))

    def number(name: str) -> int:
        value = values.get(name)
        return int(value) if isinstance(value, int | float) else 0

    return SampleGenerated(
        at=at,
        path=str(path),
        kind="custom" if path.parent.name == _CUSTOM else "default",
        index=index,
        prompt=prompt,
        negative_prompt=str(values.get("negative_prompt") or ""),
        width=number("width"),
        height=number("height"),
        seed=number("seed"),
        diffusion_steps=number("diffusion_steps"),
        cfg_scale=float(values.get("cfg_scale") or 0.0) if isinstance(values.get("cfg_scale"), int | float) else 0.0,
        noise_scheduler=str(values.get("noise_scheduler") or ""),
        global_step=int(found["step"]),
        epoch=int(found["epoch"]),
        epoch_step=int(found["epoch_step"]),
        seconds=0.0,
        ema=False,
    )


def _distribute(starts: list[Start], folder: Path, pattern: re.Pattern[str], kind: str, *, folders: bool) -> None:
    for path in _entries(folder, folders=folders):
        found = pattern.match(path.name)
        at = _time_of(found["stamp"]) if found else None
        if found is None or at is None:
            continue
        owner = next((start for start in reversed(starts) if start.at <= at + 1), starts[0])
        getattr(owner, kind).append((path, found))


def _stamped(folder: Path, pattern: re.Pattern[str], *, folders: bool) -> Iterator[tuple[Path, float]]:
    for path in _entries(folder, folders=folders):
        found = pattern.match(path.name)
        at = _time_of(found["stamp"]) if found else None
        if at is not None:
            yield path, at


def _entries(folder: Path, *, folders: bool) -> list[Path]:
    """Return the folders or files in a folder by name, without links: they may lead out of the workspace."""
    try:
        with os.scandir(folder) as found:
            wanted = [entry for entry in found if (entry.is_dir if folders else entry.is_file)(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(Path(entry.path) for entry in wanted)


def _time_of(stamp: str) -> float | None:
    try:
        return time.mktime(time.strptime(stamp, "%Y-%m-%d_%H-%M-%S"))
    except (ValueError, OverflowError):
        return None


def _facts(path: Path) -> tuple[float | None, int]:
    """Return when a file was written and its size; (None, 0) if it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None, 0
    return status.st_mtime, status.st_size


def _json(path: Path) -> Any:
    try:
        if path.is_symlink() or path.stat().st_size > _MAX_CONFIG_BYTES:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _document(path: Path) -> dict[str, Any]:
    document = _json(path)
    return document if isinstance(document, dict) else {}
