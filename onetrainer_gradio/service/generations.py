"""Generate images with the results of a run and its base model: grids over result, strength and prompt, in a worker process."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.enums import ModelType, TrainingMethod
from onetrainer_gradio.config.families.sample_defaults import sample_defaults
from onetrainer_gradio.config.files.documents import validated
from onetrainer_gradio.errors import ConfigValueError, PathNotFoundError, RunConflictError, TrainerError, UnsupportedError
from onetrainer_gradio.service.datasets.jobs import Job, Jobs
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.module_process import end_answering, exchange, start_answering
from onetrainer_gradio.service.host.path_guard import PathGuard
from onetrainer_gradio.service.runs.artifacts import RunFile
from onetrainer_gradio.service.runs.record import Run, RunStore

WORKER = "onetrainer_gradio.backends.generation_worker"
MOST_CELLS = 64
_RESULTS = ("model", "save")
_LIMIT_S = 3600.0
"""For one image, including the download of the base model."""
_ID = re.compile(r"[0-9a-f]{12}")
_FILE = "generation.json"
_MOST_LISTED = 200


@dataclass(frozen=True)
class Wish:
    """What to generate: each prompt with the base model (if ``base``), and with each file at each strength.

    ``files`` are IDs of models and saves of the run (none: its newest result), ``sample`` further parameters of the images,
    ``device`` is ``auto`` (that of the run) or ``cpu``. Without ``seed``, one is drawn for all images.
    """

    run_id: str
    prompts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    strengths: tuple[float, ...] = (1.0,)
    base: bool = True
    seed: int | None = None
    sample: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"


@dataclass(frozen=True)
class Cell:
    """One image of a grid: ``file`` is the ID of the result, empty for the base model."""

    number: int
    prompt: str
    file: str = ""
    name: str = ""
    step: int = 0
    strength: float = 0.0


class Generations:
    """Grids of generated images in ``<data>/generations``. One grid at a time. Safe from any thread."""

    def __init__(
        self,
        folder: Path,
        runs: RunStore,
        token: Callable[[], str] = str,
        training: Callable[[], bool] = bool,
        roots: tuple[Path, ...] = (),
        worker: str = WORKER,
    ) -> None:
        self._roots = roots
        self._folder, self._runs, self._token, self._training, self._worker = folder, runs, token, training, worker
        self._jobs = Jobs()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def start(self, wish: Wish) -> dict[str, Any]:
        """Start to generate, and return the grid.

        :raises RunNotFoundError: if the run, or a file of it, doesn't exist.
        :raises ConfigValueError: if there are too many images, or nothing to generate.
        :raises ConfigInvalidError: if a parameter of the sample is invalid.
        :raises ForbiddenPathError: if an image for it is outside the allowed folders.
        :raises UnsupportedError: if results of the run can't be generated with.
        :raises RunConflictError: if a run is training and the CPU wasn't chosen.
        :raises BusyError: if another grid is being generated.
        """
        run = self._runs.get(wish.run_id)
        config = run.config()
        if config.get("training_method") not in (TrainingMethod.LORA, TrainingMethod.FINE_TUNE):
            raise UnsupportedError(
                "Only results of LoRA and fine-tune runs can be generated with",
                path="run_id",
                value=wish.run_id,
                suggestion="Load the file in the program that you generate images with.",
            )
        if wish.device != "cpu" and not str(config.get("train_device", "")).startswith("cpu") and self._training():
            raise RunConflictError(
                "A run is training on the GPU",
                path="device",
                value=wish.device,
                suggestion="Wait until it has ended, or choose the CPU.",
            )
        sample = _sample(config, wish)
        for path in filter(None, (sample["base_image_path"], sample["mask_image_path"])):
            if self._roots:
                PathGuard(self._roots).resolve(path)
        files = _files(run, wish)
        cells = tuple(_cells(wish, config, files))
        if not 0 < len(cells) <= MOST_CELLS:
            raise ConfigValueError(
                f"That makes {len(cells)} images",
                path="prompts",
                value=len(cells),
                expected=f"1 to {MOST_CELLS}",
                suggestion="Choose fewer strengths, files or prompts.",
            )
        seed = random.SystemRandom().randrange(2**32) if wish.seed is None else wish.seed
        if wish.device == "cpu":
            config |= {"train_device": "cpu", "train_dtype": "FLOAT_32"}
        grid = {
            "run_id": wish.run_id,
            "created_at": time.time(),
            "seed": seed,
            "sample": sample,
            "cells": [asdict(cell) for cell in cells],
        }
        paths = {each.id: str(each.path) for each in files}
        job = self._jobs.start("generate", wish.run_id, lambda job: self._work(job, config, grid, cells, paths), grid)
        return self._described(job.id, grid)

    def get(self, grid_id: str) -> dict[str, Any]:
        """Return a grid: its ``cells`` with ``done`` and ``seconds``, and the ``state``.

        :raises PathNotFoundError: if it doesn't exist.
        """
        saved = self._saved(grid_id)
        if saved is None:  # its file is about to be written
            saved = self._jobs.get(grid_id).result
        return self._described(grid_id, saved)

    def list(self, run_id: str = "") -> list[dict[str, Any]]:
        """Return the grids, newest first; with ``run_id``, only those of a run."""
        with suppress(OSError):
            ids = [path.name for path in self._folder.iterdir() if _ID.fullmatch(path.name)]
            found = [grid for grid in (self._saved(each) and self.get(each) for each in ids) if grid]
            chosen = [grid for grid in found if not run_id or grid.get("run_id") == run_id]
            return sorted(chosen, key=lambda grid: -grid["created_at"])[:_MOST_LISTED]
        return []

    def image(self, grid_id: str, number: int) -> Path:
        """Return the file of an image.

        :raises PathNotFoundError: if it doesn't exist, or isn't finished.
        """
        path = self._place(grid_id) / f"{number:03}.png"
        if not path.is_file():
            raise PathNotFoundError(f"The image {number} of this grid doesn't exist", value=number)
        return path

    def stop(self, grid_id: str) -> dict[str, Any]:
        """End a grid within a denoising step; finished images stay."""
        self._jobs.stop(grid_id)
        with suppress(OSError):
            (self._place(grid_id) / "stop").touch()
        return self.get(grid_id)

    def delete(self, grid_id: str) -> None:
        """Delete a grid with its images.

        :raises PathNotFoundError: if it doesn't exist.
        :raises RunConflictError: if it is being generated.
        """
        grid = self.get(grid_id)
        if grid["state"] == "running":
            raise RunConflictError("These images are being generated", suggestion="Stop it first.")
        with raising_storage_error("the generated images"):
            shutil.rmtree(self._place(grid_id))

    def wait(self, grid_id: str, seconds: float) -> dict[str, Any]:
        """Return a grid when it has ended, or after some seconds."""
        self._jobs.wait(grid_id, seconds)
        return self.get(grid_id)

    def close(self) -> None:
        """End the process, even if it is computing."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        self._jobs.close()
        with self._lock:
            self._end()

    # -- a grid ---------------------------------------------------------------------------------------------------------

    def _place(self, grid_id: str) -> Path:
        if not _ID.fullmatch(grid_id):
            raise PathNotFoundError("There are no such images", value=grid_id[:100])
        return self._folder / grid_id

    def _saved(self, grid_id: str) -> dict[str, Any] | None:
        document = read_json(self._place(grid_id) / _FILE)
        return document if isinstance(document, dict) and isinstance(document.get("cells"), list) else None

    def _described(self, grid_id: str, saved: Mapping[str, Any]) -> dict[str, Any]:
        grid = {"run_id": "", "created_at": 0.0, "cells": [], **saved, "id": grid_id}
        place = self._place(grid_id)
        grid["cells"] = [{**cell, "done": (place / f"{cell['number']:03}.png").is_file()} for cell in grid["cells"]]
        complete = all(cell["done"] for cell in grid["cells"])
        state = {"state": "done" if complete else "stopped", "doing": "", "error": "", "suggestion": ""}
        with suppress(PathNotFoundError):  # one of an earlier panel
            job = self._jobs.get(grid_id)
            state = {name: getattr(job, name) for name in state}
        return {**grid, **state}

    def _work(
        self, job: Job, config: Mapping[str, Any], grid: Mapping[str, Any], cells: Sequence[Cell], paths: Mapping[str, str]
    ) -> None:
        place = self._place(job.id)
        write_json(place / _FILE, grid)
        job.total, job.doing = len(cells), "Loading the model"
        for cell in cells:
            if job.stopping.is_set():
                return
            sample = {**grid["sample"], "prompt": cell.prompt}
            lora = {"lora": {"name": Path(cell.name).stem, "strength": cell.strength}} if cell.file else {}
            answer = self._ask(
                {
                    "config": config,
                    "result": paths.get(cell.file, ""),
                    "strength": cell.strength,
                    "sample": sample,
                    "seed": grid["seed"],
                    "path": str(place / f"{cell.number:03}.png"),
                    "stop": str(place / "stop"),
                    "facts": {**sample, "seed": grid["seed"], "run_id": grid["run_id"], **lora},
                },
                job,
            )
            if "error" in answer:
                raise TrainerError(answer["error"], suggestion=answer["suggestion"])
            job.doing, job.done = "Generating", job.done + (not answer["stopped"])

    # -- the process ----------------------------------------------------------------------------------------------------

    def _ask(self, request: Mapping[str, Any], job: Job) -> dict[str, Any]:
        with self._lock:
            if self._closed:
                raise UnsupportedError("The panel is closing")
            if self._process is None or self._process.poll() is not None:
                self._end()
                token = self._token()
                self._process = start_answering(self._worker, "generate images", {"HF_TOKEN": token} if token else {})
            process = self._process
            done = threading.Event()
            threading.Thread(target=_watch, args=(process, job, done), daemon=True).start()
            try:
                answer = exchange(process, request)
            finally:
                done.set()
            if answer is None:
                self._end()
        if answer is None and job.stopping.is_set():
            return {"stopped": True}
        if answer is None:
            raise TrainerError(
                "The process that generates images ended", suggestion="Choose a smaller image, or the CPU, and try again."
            )
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        end_answering(process)


def _watch(process: subprocess.Popen[bytes], job: Job, done: threading.Event) -> None:
    """End the process if an image takes too long, or if loading is to stop: only images can be ended in between."""
    waited = 0.0
    while not done.wait(0.2):
        waited += 0.2
        if waited > _LIMIT_S or (job.stopping.is_set() and job.doing == "Loading the model"):
            process.kill()
            return


def _files(run: Run, wish: Wish) -> tuple[RunFile, ...]:
    """Return the results to generate with, in the order of the wish: by default, the final model or else the newest save."""
    if not wish.files:
        made = [each for each in run.files() if each["kind"] in _RESULTS]
        newest = max(made, key=lambda each: (each["kind"] == "model", each["at"]), default=None)
        return (run.open_file(newest["id"]),) if newest else ()
    found = tuple(run.open_file(file_id) for file_id in wish.files)
    for each in found:
        if each.kind not in _RESULTS:
            raise ConfigValueError(f"{each.name} isn't a model", path="files", value=each.id, suggestion="Choose a saved model.")
    return found


def _cells(wish: Wish, config: Mapping[str, Any], files: Sequence[RunFile]) -> Iterator[Cell]:
    samples = config.get("samples") or ()
    prompts = wish.prompts or tuple(sample.get("prompt", "") for sample in samples if sample.get("enabled", True))
    strengths = wish.strengths if config["training_method"] == TrainingMethod.LORA else (1.0,)
    grid: list[tuple[str, RunFile | None, float]] = []
    for prompt in prompts:
        grid += [(prompt, None, 0.0)] if wish.base else []
        grid += [(prompt, file, strength) for file in files for strength in strengths]
    for number, (prompt, file, strength) in enumerate(grid):
        yield Cell(number, prompt, file.id if file else "", file.name if file else "", file.global_step if file else 0, strength)


def _sample(config: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
    first: Mapping[str, Any] = next(iter(config.get("samples") or ()), {})
    usual = {**SampleConfig().model_dump(mode="json"), **sample_defaults(str(ModelType(config["model_type"]))), **first}
    known = {name: value for name, value in {**usual, **wish.sample}.items() if name in SampleConfig.model_fields}
    return validated(SampleConfig, {**known, "random_seed": False}).model_dump(mode="json")
