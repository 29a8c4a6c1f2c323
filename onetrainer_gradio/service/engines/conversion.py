"""Convert LoRA files to other formats in a process, so that the panel stays without torch, and keep the newest for download."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.enums import ModelFormat
from onetrainer_gradio.errors import BusyError, ModelFormatError, PathNotFoundError
from onetrainer_gradio.service.host.module_process import end_answering, start_answering

LIMIT_S = 300.0
_KEPT = 4
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Converted:
    """A converted file. ``warning`` is what the format can't express, as a sentence."""

    id: str
    path: Path
    model_type: str
    tensors: int
    warning: str


class LoraConverter:
    """Converts one LoRA at a time into files of its folder, of which the newest are kept."""

    def __init__(self, folder: Path, limit_s: float = LIMIT_S) -> None:
        self._folder, self._limit_s = folder, limit_s
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def convert(self, source: Path, name: str, model_format: ModelFormat, dtype: str = "") -> Converted:
        """Write the LoRA in ``source`` (a file, or a backup), called ``name``, in another format.

        The new file has the format in its name. Its weights have the data type ``dtype``, such as ``FLOAT_16``, or keep theirs.

        :raises ModelFormatError: if it isn't a LoRA, or the format can't hold it.
        :raises BusyError: if another one is being converted, or it takes too long.
        """
        if not self._turn.acquire(blocking=False):
            raise BusyError("Another LoRA is being converted.", suggestion="Try again in a moment.")
        try:
            self._forget_oldest()
            place = self._folder / uuid.uuid4().hex
            place.mkdir(parents=True)
            short = model_format.value.removesuffix("_LORA").lower()
            path = place / f"{Path(name).stem[:150]}-{short}.safetensors"
            request = {"source": str(source), "destination": str(path), "format": model_format.value, "dtype": dtype}
            answer = self._ask(request)
            if answer is None or "error" in answer:
                shutil.rmtree(place, ignore_errors=True)
            if answer is None:
                raise BusyError("The LoRA couldn't be converted in time.", suggestion="Try again in a moment.")
            if "error" in answer:
                raise ModelFormatError(answer["error"], path="format", value=model_format.value, suggestion=answer["suggestion"])
            return Converted(place.name, path, answer["model_type"], answer["tensors"], answer["warning"])
        finally:
            self._turn.release()

    def file(self, converted_id: str) -> Path:
        """Return a converted file.

        :raises PathNotFoundError: if there is none with this ID, or it was removed for newer ones.
        """
        found = sorted((self._folder / converted_id).glob("*.safetensors")) if _ID.fullmatch(converted_id) else []
        if not found:
            raise PathNotFoundError("This converted file doesn't exist anymore.", suggestion="Convert the LoRA again.")
        return found[0]

    def close(self) -> None:
        """End the process, even if it is converting."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()

    def _forget_oldest(self) -> None:
        places = [place for place in self._folder.glob("*") if _ID.fullmatch(place.name)] if self._folder.is_dir() else []
        for place in sorted(places, key=lambda each: each.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
            shutil.rmtree(place, ignore_errors=True)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer of a process, or None if it ended without one."""
        if self._closed:
            return None
        process = start_answering(
            "onetrainer_gradio.backends.convert_worker", "convert a LoRA", {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        )
        self._process = process
        timer = threading.Timer(self._limit_s, process.kill)
        timer.start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            return dict(json.loads(line)) if line.endswith(b"\n") else None
        except (OSError, ValueError):  # it was ended
            return None
        finally:
            timer.cancel()
            self._process = None
            end_answering(process)
