"""Provide the samples of all runs, from the SampleGenerated events, with cached thumbnails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.errors import DatasetError, RunNotFoundError, SampleNotFoundError
from onetrainer_gradio.events import SampleGenerated, tag
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.runs import kept_samples
from onetrainer_gradio.service.runs.artifacts import find_file
from onetrainer_gradio.service.runs.record import RunStore

# The newest samples are searched in this many runs: a page must not wait for 20,000 runs that failed before their first one.
_MAX_SCANNED = 300
THUMBNAIL_WIDTHS = (128, 256, 384, 512, 768)
_SAMPLE_MADE = tag(SampleGenerated)


def sample_dict(run_id: str, seq: int, body: dict[str, Any]) -> dict[str, Any]:
    """Return a sample as in the API, from the event on line ``seq`` of its run."""
    shown = {key: value for key, value in body.items() if key not in ("type", "path", "source")}
    sample_id = f"{run_id}.{seq}"
    address = f"/api/samples/{sample_id}"
    return {
        "id": sample_id,
        "run_id": run_id,
        **shown,
        "step": body.get("global_step", 0),
        "file_name": Path(body.get("path", "")).name,
        "path": f"{address}/image",
        "thumbnail": f"{address}/thumbnail",
    }


Samples = list[dict[str, Any]]


class SampleStore:
    """The samples of a store of runs; IDs are ``RUN_ID.NUMBER``, files are found only by ID."""

    def __init__(self, runs: RunStore, cache_folder: Path, decoder: ImageDecoder | None = None) -> None:
        self._runs = runs
        self._decoder = decoder or ImageDecoder()
        self._cache = cache_folder
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._index: dict[str, tuple[int, Samples]] = {}
        self._ended: set[str] = set()
        self._counts: dict[str, int] = {}
        self._with_kept: set[str] | None = None

    def list(
        self, run_id: str | None = None, kind: str | None = None, limit: int = 50, before: str | None = None
    ) -> dict[str, Any]:
        """Return a page of samples, newest first; ``before`` is the ``next`` of the previous page.

        :raises RunNotFoundError: if there is no run ``run_id``.
        """
        mark = _sort_key(before) if before else None
        if run_id is None and not kind:
            found, total = self._newest(mark, max(1, limit) + 1)
        else:
            found = [sample for sample in self._all(run_id) if kind in (None, "", sample.get("kind"))]
            total = len(found)
            found = [sample for sample in found if mark is None or _sort_key(sample["id"]) < mark]
        page = found[: max(1, limit)]
        more = len(found) > len(page)
        return {"samples": page, "next": page[-1]["id"] if more else None, "total": total}

    def _newest(self, mark: tuple[str, int] | None, most: int) -> tuple[Samples, int | None]:
        """Return at least ``most`` of the samples that come after ``mark``, and how many all runs have, if that is known.

        Of ended runs that aren't on the page the count is known without their journals. Of others a limited number is read.
        """
        found: Samples = []
        total: int | None = 0
        to_count = _MAX_SCANNED
        for run_id in self._with_samples():
            count = self._counts.get(run_id)
            if count is not None and run_id in self._runs_with_kept():
                count += len(self._kept(run_id))
            on_page = len(found) < most and (mark is None or run_id <= mark[0])
            if on_page or (count is None and to_count > 0):
                samples = self.of_run(run_id)
                count = len(samples)
                to_count -= not on_page
                if on_page:
                    found += [sample for sample in samples if mark is None or _sort_key(sample["id"]) < mark]
            total = None if total is None or count is None else total + count
        return found, total

    def latest(self, count: int = 1) -> Samples:
        """Return the newest samples, newest first."""
        newest: Samples = []
        for run in self._with_samples(_MAX_SCANNED):
            newest += self.of_run(run)
            if len(newest) >= count:
                break
        return newest[:count]

    def get(self, sample_id: str) -> dict[str, Any]:
        """Return one sample.

        :raises SampleNotFoundError: if there is none with this ID.
        """
        run_id, seq, body = self._event(sample_id)
        return sample_dict(run_id, seq, body)

    def path(self, sample_id: str) -> Path:
        """Return the image file of a sample.

        :raises SampleNotFoundError: if there is none with this ID, or its file was deleted.
        """
        run_id, seq, body = self._event(sample_id)
        if seq >= kept_samples.FIRST:
            path = Path(body["path"])
            if not path.is_file():
                raise SampleNotFoundError(f"The image of sample {sample_id} was deleted", value=sample_id)
            return path
        try:
            return find_file(self._runs.get(run_id).journal, str(seq)).path
        except RunNotFoundError as error:
            raise SampleNotFoundError(f"The image of sample {sample_id} was deleted", value=sample_id) from error

    def thumbnail(self, sample_id: str, width: int = 256) -> Path:
        """Return a small WebP of the image, created on first use; ``width`` is rounded up to one of a few.

        :raises SampleNotFoundError: if there is no such sample, or its file was deleted or isn't an image.
        """
        source = self.path(sample_id)
        width = next((known for known in THUMBNAIL_WIDTHS if known >= width), THUMBNAIL_WIDTHS[-1])
        target = self._cache / f"{sample_id}-{width}.webp"
        if target.is_file() and target.stat().st_mtime >= source.stat().st_mtime:
            return target
        try:
            content = self._decoder.thumbnail(source, width, 4 * width)
        except DatasetError as error:
            raise SampleNotFoundError(f"Can't read the image of sample {sample_id}: {error}", value=sample_id) from error
        write_atomic(target, content, durable=False)
        return target

    def _all(self, run_id: str | None) -> Samples:
        if run_id is not None:
            self._runs.get(run_id)
            return list(self.of_run(run_id))
        return [sample for run in self._with_samples() for sample in self.of_run(run)]

    def _with_samples(self, most: int | None = None) -> Iterator[str]:
        """Return the ``most`` newest runs, newest first, without those that are known to have ended without a sample."""
        ids = self._runs.ids()[:most]
        if most is None and not self._counts.keys() >= set(ids):  # one query instead of a file for each run
            self._counts = self._runs.listing.sample_counts() | self._counts
        for run_id in ids:
            if run_id not in self._counts and (count := self._runs.samples_of_ended(run_id)) is not None:
                self._counts[run_id] = count
            if self._counts.get(run_id) != 0 or run_id in self._runs_with_kept():
                yield run_id

    def keep(self, run_id: str, image: Path, source: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Keep an image that was generated after a run as a sample of it, and return the sample. See ``keep``.

        :raises RunNotFoundError: if there is no such run.
        :raises StorageError: if it can't be written.
        """
        with self._keeping:  # two images at once would get the same number
            number = kept_samples.keep(self._runs.get(run_id).folder, image, source, facts)
        self._runs_with_kept().add(run_id)
        return self.get(f"{run_id}.{number}")

    def _runs_with_kept(self) -> set[str]:
        if self._with_kept is None:
            self._with_kept = {path.parent.name for path in self._runs.folder.glob(f"*/{kept_samples.FOLDER}")}
        return self._with_kept

    def _kept(self, run_id: str) -> Samples:
        try:
            folder = self._runs.get(run_id).folder
        except RunNotFoundError:
            return []
        return [sample_dict(run_id, number, body) for number, body in kept_samples.kept_samples(folder)]

    def of_run(self, run_id: str) -> Samples:
        """Return the samples of a run, newest first; none if it doesn't exist."""
        kept = self._kept(run_id) if run_id in self._runs_with_kept() else []
        return kept + self._of_events(run_id)

    def _of_events(self, run_id: str) -> Samples:
        with self._lock:
            if run_id in self._ended:
                return self._index[run_id][1]
        try:
            journal = self._runs.get(run_id).journal
        except RunNotFoundError:
            return []
        with self._lock:
            position, samples = self._index.get(run_id, (0, []))
            ended = journal.ended()  # checked first, so that everything before the end is included in what is read next
            length = journal.length()
            if length > position:
                entries = journal.since(position, length, only=(_SAMPLE_MADE,))
                new = [sample_dict(run_id, entry.seq, entry.body) for entry in entries if entry.seq <= length]
                samples = new[::-1] + samples
                self._index[run_id] = (length, samples)
            if ended and run_id in self._index:
                self._ended.add(run_id)
                self._counts[run_id] = len(samples)
            return samples

    def _event(self, sample_id: str) -> tuple[str, int, dict[str, Any]]:
        run_id, dot, number = sample_id.rpartition(".")
        seq = int(number) if dot and is_whole(number) else 0
        if seq >= kept_samples.FIRST:
            try:
                kept = dict(kept_samples.kept_samples(self._runs.get(run_id).folder))
            except RunNotFoundError:
                kept = {}
            if seq in kept:
                return run_id, seq, kept[seq]
        elif seq:
            try:
                entries = self._runs.get(run_id).journal.since(seq - 1, 1)
            except RunNotFoundError:
                entries = []
            if entries and entries[0].seq == seq and entries[0].body["type"] == _SAMPLE_MADE:
                return run_id, seq, entries[0].body
        raise SampleNotFoundError(f"The sample {sample_id!r} doesn't exist", value=sample_id)


def _sort_key(sample_id: str) -> tuple[str, int]:
    run_id, _, number = sample_id.rpartition(".")
    return run_id, int(number) if is_whole(number) else 0
