"""Decode small images for the page, one at a time, in a process with limits on memory and time."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.dataset.files import shown
from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation
from onetrainer_gradio.errors import BusyError, DatasetError
from onetrainer_gradio.service.host.module_process import end_answering, start_answering

LIMIT_S = 20.0
_MAX_WAITING = 8
_WAITING_S = 30.0
_STARTING_S = 15.0


class ImageDecoder:
    """Decode images for the page. The process starts with the first image and exits after some time without one."""

    def __init__(self, limit_s: float = LIMIT_S, starting_s: float = _STARTING_S) -> None:
        self._limit_s, self._starting_s = limit_s, starting_s
        self._places = threading.BoundedSemaphore(_MAX_WAITING)
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def prepare(self) -> None:
        """Start the process before the first image is asked for, which takes half a second less then."""
        if self._turn.acquire(blocking=False):
            try:
                if self._process is None and not self._closed:
                    self._process = self._started()
            finally:
                self._turn.release()

    def thumbnail(self, path: Path, width_px: int, height_px: int) -> bytes:
        """Return a small WebP of an image, upright, at most this wide and high.

        :raises DatasetError: when it can't be shown.
        :raises BusyError: when too many images are waiting.
        """
        return self._ask(path, {"what": "thumbnail", "width": width_px, "height": height_px})[0]

    def preview(self, path: Path, augmentations: Sequence[ImageAugmentation], longest_px: int) -> list[bytes]:
        """Return a small WebP of an image as it is, then one per random augmentation.

        :raises DatasetError: when it can't be shown.
        :raises BusyError: when too many images are waiting.
        """
        return self._ask(
            path,
            {"what": "preview", "augmentations": [asdict(augmentation) for augmentation in augmentations], "longest": longest_px},
        )

    def converted(self, path: Path) -> bytes:
        """Return an image of a format that isn't trained as PNG, upright, in RGB.

        :raises DatasetError: when it can't be converted.
        :raises BusyError: when too many images are waiting.
        """
        return self._ask(path, {"what": "convert"})[0]

    def edit(self, path: Path, to: Path, rotate: int, crop: Sequence[float] | None) -> None:
        """Write an image cropped (left, top, width and height as fractions) and then rotated clockwise to ``to``, as PNG.

        :raises DatasetError: when it can't be read or written.
        :raises BusyError: when too many images are waiting.
        """
        self._ask(path, {"what": "edit", "to": str(to), "rotate": rotate, "crop": list(crop) if crop else None})

    def mask(self, path: Path, to: Path, size: tuple[int, int]) -> None:
        """Write an image as a mask of a size (height, width) to ``to``, as grayscale PNG.

        :raises DatasetError: when it can't be read or written.
        :raises BusyError: when too many images are waiting.
        """
        self._ask(path, {"what": "mask", "to": str(to), "size": list(size)})

    def fingerprint(self, path: Path) -> dict[str, Any]:
        """Return ``hash``, which similar images share (empty without the package ImageHash), and whether it is ``rotated``.

        :raises DatasetError: when it can't be read.
        :raises BusyError: when too many images are waiting.
        """
        found: dict[str, Any] = json.loads(self._ask(path, {"what": "fingerprint"})[0])
        return found

    def close(self) -> None:
        """End the process, even if it is decoding."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        with self._turn:
            self._end()

    def _ask(self, path: Path, request: dict[str, Any]) -> list[bytes]:
        busy = BusyError("Too many images are being decoded.", suggestion="Try again in a moment.")
        if not self._places.acquire(blocking=False):
            raise busy
        try:
            if not self._turn.acquire(timeout=_WAITING_S):
                raise busy
            try:
                return self._answer(path, {**request, "path": str(path)})
            finally:
                self._turn.release()
        finally:
            self._places.release()

    def _answer(self, path: Path, request: dict[str, Any]) -> list[bytes]:
        line = json.dumps(request).encode() + b"\n"
        for process in (self._process, None):  # an existing one may have exited in the meantime
            fresh = process is None
            if process is None:
                self._end()
                process = self._process = self._started()
            timed_out = threading.Event()
            timer = threading.Timer(self._limit_s + (self._starting_s if fresh else 0.0), _kill, (process, timed_out))
            timer.start()
            try:
                head, images = _exchanged(process, line)
            finally:
                timer.cancel()
            if timed_out.is_set() or self._closed:
                break
            if head is not None:
                if head["error"]:
                    raise _unshown(path, head["error"])
                return images
        self._end()
        raise _unshown(path, f"decoding took more than {self._limit_s:.0f} s" if timed_out.is_set() else "the decoder crashed")

    def _started(self) -> subprocess.Popen[bytes]:
        return start_answering(
            "onetrainer_gradio.service.datasets.image_worker",
            "decode images",
            {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        end_answering(process)


def _kill(process: subprocess.Popen[bytes], timed_out: threading.Event) -> None:
    timed_out.set()
    process.kill()


def _exchanged(process: subprocess.Popen[bytes], line: bytes) -> tuple[dict[str, Any] | None, list[bytes]]:
    """Return the head of the response and its images, or None if the process ended before."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
        head = process.stdout.readline()
        if not head.endswith(b"\n"):
            return None, []
        found = json.loads(head)
        images = [process.stdout.read(size) for size in found["sizes"]]
    except (OSError, ValueError):
        return None, []
    complete = all(len(image) == size for image, size in zip(images, found["sizes"], strict=True))
    return (found, images) if complete else (None, [])


def _unshown(path: Path, reason: str) -> DatasetError:
    name = shown(os.path.basename(path))
    return DatasetError(
        f"{name} can't be shown: {reason}.",
        value=shown(path),
        expected="a readable image",
        suggestion="Replace the file, or leave it as it is if it is only too large to be shown.",
    )
