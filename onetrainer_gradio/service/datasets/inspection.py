"""Find what is wrong with a dataset: duplicates, small, rotated and unreadable images; and deal with it by one operation each."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.config.dataset.buckets import Resolution, target
from onetrainer_gradio.config.dataset.files import scan_folder, shown
from onetrainer_gradio.errors import BusyError, ConfigValueError, DatasetError, TrainerError
from onetrainer_gradio.service.datasets.conversion import convert_images
from onetrainer_gradio.service.datasets.file_moves import FileMoves
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_edits import ImageEdits
from onetrainer_gradio.service.datasets.image_index import ImageIndex, Query, Row
from onetrainer_gradio.service.datasets.incoming import digest_of
from onetrainer_gradio.service.datasets.jobs import Job, Jobs
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.host.atomic import read_json, write_json

SIMILAR_BITS = 6
"""Images whose 64-bit difference hashes differ in at most this many bits are similar."""

_MAX_LISTED = 1000
_MAX_GROUPS = 1000
_HASH_BITS = 64
_FLAT = frozenset({"0" * 16, "f" * 16})
"""Hashes of images without structure, such as a single color: they say nothing."""
_BLOCK = 1024
_SAVE_EVERY = 500


@dataclass(frozen=True)
class Bucketing:
    """How images become training sizes: the resolution, the multiple of the model, and whether buckets are used."""

    resolution: Resolution
    multiple: int
    buckets: bool = True


class Inspector:
    """Inspect datasets in a job. Facts about unchanged files are kept. Safe from any thread."""

    def __init__(
        self, library: DatasetLibrary, index: ImageIndex, moves: FileMoves, edits: ImageEdits, jobs: Jobs, cache_folder: Path
    ) -> None:
        self._library, self._index, self._moves, self._edits, self._jobs = library, index, moves, edits, jobs
        self._cache = cache_folder
        self._decoder = ImageDecoder()  # thumbnails for the page don't wait for a long inspection
        self._lock = threading.Lock()
        self._reports: dict[Path, dict[str, Any]] = {}

    def start(self, folder: str, bucketing: Bucketing | None = None, *, subfolders: bool = True) -> Job:
        """Start to inspect a folder; ``report`` has the result. Without ``bucketing``, small images aren't found.

        :raises BusyError: if an inspection is running.
        :raises PathNotFoundError: if the folder doesn't exist.
        """
        place = self._library.resolve(folder)
        return self._jobs.start("inspect", folder, lambda job: self._inspect(job, folder, place, bucketing, subfolders))

    def report(self, folder: str) -> dict[str, Any]:
        """Return what the last inspection found.

        ``problems`` have ``kind`` (a key of ``OPERATIONS``), ``path`` and ``detail``; ``groups`` of duplicates have ``kind``
        (``exact`` or ``similar``), ``images`` and the one to ``keep``. ``counts`` are the numbers of each kind. ``similar`` shows
        whether similar images could be found.
        """
        place = self._library.resolve(folder)
        return self._reports.get(place) or {"problems": [], "groups": [], "counts": {}, "similar": True, "inspected": 0}

    def duplicates(self, folder: str) -> set[str]:
        """Return the paths of all images in a group of duplicates."""
        return {path for group in self.report(folder)["groups"] for path in group["images"]}

    def fix(self, folder: str, kind: str, images: Sequence[str] | None = None) -> dict[str, Any]:
        """Deal with the problems of one kind, of some images or of all: each kind has one operation.

        Return how many images were ``fixed``, and the ``skipped`` ones with the reason.

        :raises ConfigValueError: if the kind has no operation.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        if kind not in OPERATIONS:
            raise ConfigValueError(
                f"{kind[:100]!r} has no operation", path="kind", value=kind[:100], expected=", ".join(OPERATIONS)
            )
        place = self._library.resolve(folder)
        self._library.require_writable(place)
        wanted = self._of_kind(folder, kind)
        named = None if images is None else set(images)
        asked = [path for path in wanted if named is None or path in named]
        chosen = [path for path in asked if os.path.lexists(place / path)]
        fixed, skipped = OPERATIONS[kind](self, folder, chosen) if chosen else (0, [])
        left = {each[0] for each in skipped}
        self._drop(folder, kind, [path for path in asked if path not in left])
        return {"fixed": fixed, "skipped": skipped[:100]}

    def ignore(self, folder: str, kind: str, images: Sequence[str]) -> None:
        """Don't report a problem of some images again until their files change."""
        place = self._library.resolve(folder)
        with self._lock:
            facts = self._facts(place)
            for path in images:
                facts.setdefault(f"ignored:{kind}:{path}", self._version(place / path))
            write_json(self._facts_file(place), facts, durable=False)
        self._drop(folder, kind, images)

    def close(self) -> None:
        """End the process that decodes images."""
        self._decoder.close()

    # -- inspecting -----------------------------------------------------------------------------------------------------

    def _inspect(self, job: Job, folder: str, place: Path, bucketing: Bucketing | None, subfolders: bool) -> None:
        query = Query(subfolders=subfolders)
        rows = self._index.rows(folder, None, query)
        job.total, job.doing = len(rows), "Reading images"
        with self._lock:
            facts = self._facts(place)
        problems: list[dict[str, str]] = []
        hashes: dict[str, str] = {}
        for number, row in enumerate(rows):
            if job.stopping.is_set():
                break
            found = self._fact(facts, place, row)
            problems += _problems(row, found, bucketing)
            if found.get("hash"):
                hashes[row.path] = found["hash"]
            job.done = number + 1
            if number % _SAVE_EVERY == _SAVE_EVERY - 1:
                write_json(self._facts_file(place), facts, durable=False)
        others = scan_folder(place, subfolders, roots=self._library.roots).other_formats
        for path in others:
            name = str(path)[len(str(place)) :].lstrip(os.sep).replace(os.sep, "/")
            problems.append({"kind": "format", "path": name, "detail": f"{path.suffix.lower()} files aren't trained"})
        job.doing = "Comparing images"
        groups = _exact(rows)
        known = {path for group in groups for path in group["images"]}
        groups += [group for group in _similar(rows, hashes) if not set(group["images"]) <= known]
        present = {row.path for row in rows}
        kept = {key: value for key, value in facts.items() if key.startswith("ignored:") or key in present}
        write_json(self._facts_file(place), kept, durable=False)
        problems = [each for each in problems if not self._ignored(kept, place, each["kind"], each["path"])]
        groups = [each for each in groups if not all(self._ignored(kept, place, each["kind"], path) for path in each["images"])]
        counts: dict[str, int] = defaultdict(int)
        for each in problems:
            counts[each["kind"]] += 1
        for group in groups:
            counts[group["kind"]] += len(group["images"]) - 1
        flat = [row for row in rows if isinstance(row.size, tuple)]
        report = {
            "problems": problems,
            "groups": groups,
            "counts": dict(counts),
            "similar": bool(hashes) or not flat,
            "inspected": job.done,
        }
        self._reports[place] = report
        job.result = {"counts": report["counts"]}

    def _fact(self, facts: dict[str, Any], place: Path, row: Row) -> dict[str, Any]:
        version = self._version(row.file)
        known = facts.get(row.path)
        if isinstance(known, dict) and known.get("version") == version:
            return known
        found: dict[str, Any] = {"version": version}
        if isinstance(row.size, tuple):
            for _ in range(5):
                try:
                    found |= self._decoder.fingerprint(self._library.allowed(row.file))
                    break
                except BusyError:
                    continue
                except DatasetError as error:
                    found["broken"] = error.message
                    break
        facts[row.path] = found
        return found

    def _version(self, path: Path) -> str:
        try:
            status = os.stat(path)
        except OSError:
            return ""
        return f"{status.st_size}-{status.st_mtime_ns}"

    def _facts_file(self, place: Path) -> Path:
        return self._cache / f"{hashlib.sha256(str(place).encode(errors='surrogateescape')).hexdigest()[:24]}.json"

    def _facts(self, place: Path) -> dict[str, Any]:
        document = read_json(self._facts_file(place))
        return document if isinstance(document, dict) else {}

    def _ignored(self, facts: Mapping[str, Any], place: Path, kind: str, path: str) -> bool:
        version = facts.get(f"ignored:{kind}:{path}")
        return version is not None and version == self._version(place / path)

    # -- operations -----------------------------------------------------------------------------------------------------

    def _of_kind(self, folder: str, kind: str) -> list[str]:
        report = self.report(folder)
        doubled = [
            path for group in report["groups"] if group["kind"] == kind for path in group["images"] if path != group["keep"]
        ]
        return doubled or [each["path"] for each in report["problems"] if each["kind"] == kind]

    def _drop(self, folder: str, kind: str, images: Sequence[str]) -> None:
        place = self._library.resolve(folder)
        report = self._reports.get(place)
        if report is None:
            return
        done = set(images)
        gone = {path for path in done if not os.path.lexists(place / path)}  # these have no problem of another kind either

        def settled(path: str, of_kind: str) -> bool:
            return path in gone or (path in done and of_kind == kind)

        problems = [each for each in report["problems"] if not settled(each["path"], each["kind"])]
        groups = []
        for group in report["groups"]:
            left = [path for path in group["images"] if not settled(path, group["kind"])]
            if len(left) > 1:
                groups.append({**group, "images": left, "keep": group["keep"] if group["keep"] in left else left[0]})
        counts: dict[str, int] = defaultdict(int)
        for each in problems:
            counts[each["kind"]] += 1
        for group in groups:
            counts[group["kind"]] += len(group["images"]) - 1
        self._reports[place] = {**report, "problems": problems, "groups": groups, "counts": dict(counts)}

    def trash(self, folder: str, images: Sequence[str]) -> tuple[int, list[list[str]]]:
        """Move images to the trash."""
        return self._moves.trash(folder, images, Query(), "Found by the inspection")["moved"], []

    def exclude(self, folder: str, images: Sequence[str]) -> tuple[int, list[list[str]]]:
        """Take images out of training."""
        self._moves.exclude(folder, images, Query())
        return len(images), []

    def rotate(self, folder: str, images: Sequence[str]) -> tuple[int, list[list[str]]]:
        """Apply the orientation in the metadata to the pixels."""
        fixed, skipped = 0, []
        for path in images:
            try:
                self._edits.edit(folder, path)
                fixed += 1
            except TrainerError as error:
                skipped.append([path, error.message])
        return fixed, skipped

    def convert(self, folder: str, images: Sequence[str]) -> tuple[int, list[list[str]]]:
        """Write copies in a format that is trained; the originals go to the trash."""
        place = self._library.resolve(folder)
        files = [place / path for path in images]
        done = convert_images(files, self._decoder, limit_s=3600.0)
        failed = dict(done.failed)
        converted = [path for path in files if path not in failed]
        if converted:
            self._moves.trash_files(place, place, converted, "Converted")
        return len(converted), [[shown(path.relative_to(place)), reason] for path, reason in failed.items()]


OPERATIONS: Mapping[str, Callable[[Inspector, str, Sequence[str]], tuple[int, list[list[str]]]]] = MappingProxyType(
    {
        "exact": Inspector.trash,
        "similar": Inspector.trash,
        "broken": Inspector.trash,
        "small": Inspector.exclude,
        "rotated": Inspector.rotate,
        "format": Inspector.convert,
    }
)
"""Kind of problem -> the operation that deals with it. Of a group of duplicates, the image to keep stays."""


def _problems(row: Row, found: Mapping[str, Any], bucketing: Bucketing | None) -> list[dict[str, str]]:
    if not isinstance(row.size, tuple) or found.get("broken"):
        reason = found.get("broken") or str(row.size)
        return [{"kind": "broken", "path": row.path, "detail": reason}]
    problems = []
    if bucketing is not None:
        goal = target(row.size, bucketing.resolution, bucketing.multiple, bucketing=bucketing.buckets)
        if 2 * row.size[0] * row.size[1] < goal[0] * goal[1]:  # the same limit as in the statistics of a concept
            detail = f"{row.size[1]} × {row.size[0]} is upscaled to {goal[1]} × {goal[0]}"
            problems.append({"kind": "small", "path": row.path, "detail": detail})
    if found.get("rotated"):
        problems.append({"kind": "rotated", "path": row.path, "detail": "Only its metadata show which side is up"})
    return problems


def _exact(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the groups of images with equal bytes; only files of the same size are read."""
    by_size: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row.status is not None and row.status.st_size:
            by_size[row.status.st_size].append(row)
    groups = []
    for same in by_size.values():
        by_digest: dict[str, list[Row]] = defaultdict(list)
        for row in same if len(same) > 1 else ():
            try:
                by_digest[digest_of(row.file)].append(row)
            except OSError:
                continue  # broken, which is another problem
        groups += [_group("exact", each) for each in by_digest.values() if len(each) > 1]
    return groups[:_MAX_GROUPS]


def _similar(rows: Sequence[Row], hashes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the groups of images whose hashes differ in a few bits; memory is bounded by comparing them in blocks."""
    import numpy as np

    by_path = {row.path: row for row in rows}
    paths = [path for path, each in hashes.items() if each not in _FLAT]
    values = np.array([int(hashes[path], 16) for path in paths], dtype=np.uint64)
    parent = list(range(len(paths)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for start in range(0, len(paths), _BLOCK):
        block = values[start : start + _BLOCK]
        near = np.bitwise_count(block[:, None] ^ values[None, start:]) <= SIMILAR_BITS
        for left, right in zip(*(each.tolist() for each in np.nonzero(near)), strict=True):
            if left < right:
                parent[root(start + right)] = root(start + left)
    groups: dict[int, list[Row]] = defaultdict(list)
    for at, path in enumerate(paths):
        groups[root(at)].append(by_path[path])
    return [_group("similar", each) for each in groups.values() if len(each) > 1][:_MAX_GROUPS]


def _group(kind: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return a group with the image to keep: a captioned one, then the one with most pixels, then the shortest name."""

    def rank(row: Row) -> tuple[bool, int, int, str]:
        pixels = row.size[0] * row.size[1] if isinstance(row.size, tuple) else 0
        return (not row.caption.text.strip(), -pixels, len(row.path), row.path)

    return {"kind": kind, "images": [row.path for row in rows][:_MAX_LISTED], "keep": min(rows, key=rank).path}
