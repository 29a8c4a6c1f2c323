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

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.enums import ModelType, TrainingMethod
from onetrainer_gradio.config.families.sample_defaults import sample_defaults
from onetrainer_gradio.config.files.documents import validated
from onetrainer_gradio.config.image_parameters import parameters_text
from onetrainer_gradio.errors import (
    ConfigValueError,
    DatasetError,
    InputError,
    PathNotFoundError,
    RunConflictError,
    TrainerError,
    UnsupportedError,
)
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.jobs import Job, Jobs
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.module_process import end_answering, exchange, kill_answering, start_answering
from onetrainer_gradio.service.host.path_guard import PathGuard
from onetrainer_gradio.service.runs.archive import unique, zip_chunks
from onetrainer_gradio.service.runs.artifacts import RESULTS, RunFile
from onetrainer_gradio.service.runs.record import Run, RunStore
from onetrainer_gradio.service.runs.samples import THUMBNAIL_WIDTHS, SampleStore

WORKER = "onetrainer_gradio.backends.generation_worker"
MAX_CELLS = 64
_LORA_RESULTS = (*RESULTS, "backup")
"""A backup of a LoRA run contains its LoRA, without the average of EMA."""
_LOADING = "Loading the model"
_LIMIT_S = 3600.0
"""For one image, including the download of the base model."""
_ID = re.compile(r"[0-9a-f]{12}")
_PLACE = re.compile(r"[0-9]{1,20}")
_FILE, _STOP = "generation.json", "stop"
GRIDS_PER_PAGE = 20


@dataclass(frozen=True)
class GenerationRequest:
    """What to generate: each prompt with the base model (if ``base``), and with each file at each strength.

    ``files`` are IDs of models and saves of the run, for a LoRA also of backups (none: its newest result), ``sample`` further
    parameters of the images, ``device`` is ``auto`` (that of the run) or ``cpu``. Without ``seed``, one random seed is used.
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
    """One image of a grid: ``file`` is the ID of the result and ``kind`` its kind, both empty for the base model."""

    number: int
    prompt: str
    file: str = ""
    name: str = ""
    step: int = 0
    strength: float = 0.0
    kind: str = ""


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
        images: ImageDecoder | None = None,
    ) -> None:
        self._images = images or ImageDecoder()
        self._roots = roots
        self._folder, self._runs, self._token, self._training, self._worker = folder, runs, token, training, worker
        self._jobs = Jobs()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._displaced = ""
        self._runs_of: dict[str, str] = {}

    def start(self, request: GenerationRequest) -> dict[str, Any]:
        """Start to generate, and return the grid.

        :raises RunNotFoundError: if the run, or a file of it, doesn't exist.
        :raises ConfigValueError: if there are too many images, or nothing to generate.
        :raises ConfigInvalidError: if a parameter of the sample is invalid.
        :raises ForbiddenPathError: if an image for it is outside the allowed folders.
        :raises UnsupportedError: if results of the run can't be generated with.
        :raises RunConflictError: if a run is training and the CPU wasn't chosen.
        :raises BusyError: if another grid is being generated.
        """
        run = self._runs.get(request.run_id)
        config = self._usable(run, request.device)
        sample = _sample(config, request)
        for path in filter(None, (sample["base_image_path"], sample["mask_image_path"])):
            if self._roots:
                PathGuard(self._roots).resolve(path)
        cells = tuple(_cells(request, config, _files(run, config, request)))
        if not 0 < len(cells) <= MAX_CELLS:
            raise ConfigValueError(
                f"That makes {len(cells)} images",
                path="prompts",
                value=len(cells),
                expected=f"1 to {MAX_CELLS}",
                suggestion="Choose fewer strengths, files or prompts.",
            )
        seed = random.SystemRandom().randrange(2**32) if request.seed is None else request.seed
        base = str(config.get("base_model_name", "")).rstrip("/\\")
        grid = {
            "run_id": request.run_id,
            "created_at": time.time(),
            "seed": seed,
            "device": request.device,
            "model": re.split(r"[/\\]", base)[-1].removesuffix(".safetensors"),
            "sample": sample,
            "cells": [asdict(cell) for cell in cells],
        }
        job = self._jobs.start("generate", request.run_id, lambda job: self._work(job, run, config, grid), _started(grid, config))
        return self._described(job.id, grid)

    def resume(self, grid_id: str) -> dict[str, Any]:
        """Generate the images that a stopped or failed grid lacks, also one of an earlier panel.

        :raises PathNotFoundError: if it doesn't exist.
        :raises RunNotFoundError: if its run, or a file of it, doesn't exist anymore.
        :raises RunConflictError: if a run is training and the grid isn't for the CPU.
        :raises BusyError: if a grid is being generated.
        """
        grid = self._saved(grid_id)
        if grid is None:
            raise PathNotFoundError("There are no such images", value=grid_id)
        run = self._runs.get(grid["run_id"])
        config = self._usable(run, grid.get("device", "auto"))
        for file_id in {cell["file"] for cell in grid["cells"] if cell["file"]}:
            run.open_file(file_id)
        self._jobs.start(
            "generate", run.id, lambda job: self._work(job, run, config, grid), _started(grid, config), continues=grid_id
        )
        return self._described(grid_id, grid)

    def _usable(self, run: Run, device: str) -> dict[str, Any]:
        """Return the configuration to generate with."""
        config = run.config()
        if config.get("training_method") not in (TrainingMethod.LORA, TrainingMethod.FINE_TUNE):
            raise UnsupportedError(
                "Only results of LoRA and fine-tune runs can be generated with",
                path="run_id",
                value=run.id,
                suggestion="Load the file in the program that you generate images with.",
            )
        if device == "cpu":
            return config | {"train_device": "cpu", "train_dtype": "FLOAT_32"}
        if not _on_cpu(config) and self._training():
            raise RunConflictError(
                "A run is training on the GPU",
                path="device",
                value=device,
                suggestion="Wait until it has ended, or choose the CPU.",
            )
        return config

    def make_room(self, device: str = "cuda") -> None:
        """Free the memory of the process for a run on a device.

        A grid on the GPU ends if the run trains there, too; it can be resumed.
        """
        process, running = self._process, self._jobs.running()
        if running is not None:
            if _on_cpu(running.result) or device.startswith("cpu"):
                return
            self._displaced = running.id
            running.stopping.set()
        if process is not None:
            kill_answering(process)

    def get(self, grid_id: str) -> dict[str, Any]:
        """Return a grid: its ``cells`` with ``done`` and ``seconds``, and the ``state``.

        :raises PathNotFoundError: if it doesn't exist.
        """
        saved = self._saved(grid_id)
        if saved is None:  # its file is about to be written
            saved = self._jobs.get(grid_id).result
        return self._described(grid_id, saved)

    def list(self, run_id: str = "", limit: int = GRIDS_PER_PAGE, before: str = "") -> dict[str, Any]:
        """Return a page of the grids, newest first, and as ``next`` the ``before`` of the next page (None: the last one).

        With ``run_id``, only those of a run.

        :raises InputError: if ``before`` isn't the ``next`` of a page.
        """
        page: list[dict[str, Any]] = []
        place = last = _place_in_list(before)  # the grid there may have been deleted in the meantime
        for written, grid_id in self._ids():
            if place is not None and (written, grid_id) >= place:
                continue
            if run_id and self._run_of(grid_id) != run_id:
                continue
            saved = self._saved(grid_id)
            if saved is None:
                continue
            if len(page) == limit and last is not None:
                return {"generations": page, "next": f"{last[0]}-{last[1]}"}
            last = written, grid_id
            page.append(self._described(grid_id, saved))
        return {"generations": page, "next": None}

    def _run_of(self, grid_id: str) -> str:
        """Return the run of a grid, which never changes: it is read once."""
        if grid_id not in self._runs_of and (saved := self._saved(grid_id)) is not None:
            self._runs_of[grid_id] = str(saved.get("run_id", ""))
        return self._runs_of.get(grid_id, "")

    def _ids(self) -> Iterator[tuple[int, str]]:
        """Return when the files of the grids were written, in ns, and their IDs: newest first."""
        found = []
        with suppress(OSError):
            for path in self._folder.iterdir():
                with suppress(OSError):
                    if _ID.fullmatch(path.name):
                        found.append(((path / _FILE).stat().st_mtime_ns, path.name))
        return iter(sorted(found, reverse=True))

    def image(self, grid_id: str, number: int) -> Path:
        """Return the file of an image.

        :raises PathNotFoundError: if it doesn't exist, or isn't finished.
        """
        path = self._place(grid_id) / f"{number:03}.png"
        if not path.is_file():
            raise PathNotFoundError(f"The image {number} of this grid doesn't exist", value=number)
        return path

    def thumbnail(self, grid_id: str, number: int, width: int = 256) -> Path:
        """Return a small WebP of an image, created on first use; ``width`` is rounded up to one of a few.

        :raises PathNotFoundError: if it doesn't exist, isn't finished, or can't be read.
        """
        source = self.image(grid_id, number)
        width = next((known for known in THUMBNAIL_WIDTHS if known >= width), THUMBNAIL_WIDTHS[-1])
        target = source.with_name(f"{source.stem}-{width}.webp")
        if not target.is_file():
            try:
                content = self._images.thumbnail(source, width, 4 * width)
            except DatasetError as error:
                raise PathNotFoundError(f"Can't read the image {number} of this grid: {error}", value=number) from error
            with raising_storage_error("the thumbnail"):
                write_atomic(target, content, durable=False)
        return target

    def keep(self, grid_id: str, number: int, samples: SampleStore) -> dict[str, Any]:
        """Keep a finished image as a sample of the run, and return the sample.

        :raises PathNotFoundError: if it doesn't exist, or isn't finished.
        :raises RunNotFoundError: if the run was deleted.
        :raises StorageError: if it can't be written.
        """
        image, grid = self.image(grid_id, number), self.get(grid_id)
        cell = next(each for each in grid["cells"] if each["number"] == number)
        made = {"global_step": cell["step"], "strength": cell["strength"], "result": cell["name"]}
        return samples.keep(grid["run_id"], image, f"{grid_id}/{number}", {**_facts(grid, cell), **made})

    def archive(self, grid_id: str) -> Iterator[bytes]:
        """Return the finished images of a grid as a zip in pieces, named by prompt, result and strength.

        :raises PathNotFoundError: if there are none.
        """
        cells = [cell for cell in self.get(grid_id)["cells"] if cell["done"]]
        if not cells:
            raise PathNotFoundError("There are no finished images", value=grid_id)
        return zip_chunks(unique((self.image(grid_id, cell["number"]), image_name(cell)) for cell in cells))

    def stop(self, grid_id: str) -> dict[str, Any]:
        """End a grid within a denoising step; finished images stay.

        :raises PathNotFoundError: if it doesn't exist.
        """
        grid = self.get(grid_id)
        if grid["state"] == "running":  # that of an earlier panel has ended
            self._jobs.stop(grid_id)
            with suppress(OSError):
                (self._place(grid_id) / _STOP).touch()
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

    def forget(self, run_id: str) -> None:
        """Delete the grids of a deleted run. One that is being generated ends first."""
        running = self._jobs.running()
        if running is not None and running.folder == run_id:
            self.stop(running.id)
        for _, grid_id in self._ids():
            if self._run_of(grid_id) == run_id and not (running and running.id == grid_id):
                shutil.rmtree(self._place(grid_id), ignore_errors=True)

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
        grid["cells"] = [
            {**cell, "done": (place / f"{cell['number']:03}.png").is_file(), "parameters": parameters_text(_facts(grid, cell))}
            for cell in grid["cells"]
        ]
        complete = all(cell["done"] for cell in grid["cells"])
        state = {"state": "done" if complete else "stopped", "doing": "", "error": "", "suggestion": ""}
        with suppress(PathNotFoundError):  # one of an earlier panel
            job = self._jobs.get(grid_id)
            state = {name: getattr(job, name) for name in state}
        return {**grid, **state}

    def _work(self, job: Job, run: Run, config: Mapping[str, Any], grid: Mapping[str, Any]) -> None:
        try:
            self._generate(job, run, config, grid)
        finally:
            if not run.folder.is_dir():  # the run was deleted meanwhile
                shutil.rmtree(self._place(job.id), ignore_errors=True)

    def _generate(self, job: Job, run: Run, config: Mapping[str, Any], grid: Mapping[str, Any]) -> None:
        place, self._displaced = self._place(job.id), ""
        with raising_storage_error("the generated images"):
            (place / _STOP).unlink(missing_ok=True)
            write_json(place / _FILE, grid)
        missing = [cell for cell in grid["cells"] if not (place / f"{cell['number']:03}.png").is_file()]
        job.total, job.doing = len(missing), _LOADING
        for cell in missing:
            if job.stopping.is_set():
                break
            answer = self._ask(
                {
                    "config": config,
                    "result": str(run.open_file(cell["file"]).path) if cell["file"] else "",
                    "strength": cell["strength"],
                    "sample": {**grid["sample"], "prompt": cell["prompt"]},
                    "seed": grid["seed"],
                    "path": str(place / f"{cell['number']:03}.png"),
                    "stop": str(place / _STOP),
                    "facts": _facts(grid, cell),
                },
                job,
            )
            if "error" in answer:
                raise TrainerError(answer["error"], suggestion=answer["suggestion"])
            job.doing, job.done = "Generating", job.done + (not answer["stopped"])
        if self._displaced == job.id:
            raise RunConflictError("A run started to train on the GPU", suggestion="Resume it when the run has ended.")

    # -- the process ----------------------------------------------------------------------------------------------------

    def _ask(self, request: Mapping[str, Any], job: Job) -> dict[str, Any]:
        with self._lock:
            answer = self._exchange(request, job)
            if answer is None and not job.stopping.is_set() and self._end() == 0:  # no request came for a while
                answer = self._exchange(request, job)
            if answer is None:
                self._end()
        if answer is None and job.stopping.is_set():
            return {"stopped": True}
        if answer is None:
            raise TrainerError(
                "The process that generates images ended", suggestion="Choose a smaller image, or the CPU, and try again."
            )
        return answer

    def _exchange(self, request: Mapping[str, Any], job: Job) -> dict[str, Any] | None:
        if self._closed:
            raise UnsupportedError("The panel is closing")
        if self._process is None or self._process.poll() is not None:
            self._end()
            token = self._token()
            self._process = start_answering(self._worker, "generate images", {"HF_TOKEN": token} if token else {})
            # a process that ends by itself would stay a zombie until the next image
            threading.Thread(target=self._process.wait, name="generation-process", daemon=True).start()
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(self._process, job, done), daemon=True)
        watch.start()
        try:
            return exchange(self._process, request)
        finally:
            done.set()
            watch.join()

    def _end(self) -> int | None:
        """End the process. Return the exit status of one that had ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return None
        with suppress(subprocess.TimeoutExpired):  # the end of its output comes before its own
            process.wait(1.0)
        status = process.poll()
        end_answering(process)
        return status


def _watch(process: subprocess.Popen[bytes], job: Job, done: threading.Event) -> None:
    """End the process if an image takes too long, or if loading is to stop: only images can be ended in between."""
    waited = 0.0
    while not done.wait(0.2):
        waited += 0.2
        if waited > _LIMIT_S or (job.stopping.is_set() and job.doing == _LOADING):
            kill_answering(process)
            return


def _started(grid: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a grid that is about to be generated: also where, before its thread runs."""
    return {**grid, "train_device": config.get("train_device", "")}


def _place_in_list(before: str) -> tuple[int, str] | None:
    """Return when the last grid of the previous page was written, in ns, and its ID; None before the first page."""
    if not before:
        return None
    written, _, grid_id = before.partition("-")
    if not _PLACE.fullmatch(written) or not _ID.fullmatch(grid_id):
        raise InputError("This page of grids doesn't exist. Use the `next` of the previous page.", value=before)
    return int(written), grid_id


def _on_cpu(config: Mapping[str, Any]) -> bool:
    return str(config.get("train_device", "")).startswith("cpu")


def _facts(grid: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an image, as they are in its file."""
    shared = {"seed": grid.get("seed", 0), "run_id": grid["run_id"], "model": grid.get("model", "")}
    lora = {"lora": {"name": Path(cell["name"]).stem, "strength": cell["strength"]}} if cell["file"] else {}
    return {**_NO_SAMPLE, **grid.get("sample", {}), "prompt": cell["prompt"], **shared, **lora}


_NO_SAMPLE = SampleConfig().model_dump(mode="json")


def image_name(cell: Mapping[str, Any]) -> str:
    """Return the name of an image for a download."""
    prompt = re.sub(r"[^\w .-]+", "", cell["prompt"])[:40].strip() or "image"
    made = f"{Path(cell['name']).stem} at {cell['strength']:g}" if cell["file"] else "base model"
    return f"{cell['number']:03} {prompt} ({made}).png"


def _files(run: Run, config: Mapping[str, Any], request: GenerationRequest) -> tuple[RunFile, ...]:
    """Return the results to generate with, in the order of the request: by default, the final model or else the newest save."""
    if not request.files:
        newest = run.newest_result()
        return (newest,) if newest else ()
    kinds = _LORA_RESULTS if config["training_method"] == TrainingMethod.LORA else RESULTS
    found = tuple(run.open_file(file_id) for file_id in dict.fromkeys(request.files))
    for each in found:
        if each.kind not in kinds:
            raise ConfigValueError(f"{each.name} isn't a model", path="files", value=each.id, suggestion="Choose a saved model.")
    return found


def _cells(request: GenerationRequest, config: Mapping[str, Any], files: Sequence[RunFile]) -> Iterator[Cell]:
    samples = config.get("samples") or ()
    prompts = request.prompts or tuple(sample.get("prompt", "") for sample in samples if sample.get("enabled", True))
    strengths = request.strengths if config["training_method"] == TrainingMethod.LORA else (1.0,)
    grid: list[tuple[str, RunFile | None, float]] = []
    for prompt in prompts:
        grid += [(prompt, None, 0.0)] if request.base else []
        grid += [(prompt, file, strength) for file in files for strength in strengths]
    for number, (prompt, file, strength) in enumerate(grid):
        of_file = (file.id, file.name, file.global_step, strength, file.kind) if file else ()
        yield Cell(number, prompt, *of_file)


def _sample(config: Mapping[str, Any], request: GenerationRequest) -> dict[str, Any]:
    first: Mapping[str, Any] = next(iter(config.get("samples") or ()), {})
    usual = {**SampleConfig().model_dump(mode="json"), **sample_defaults(str(ModelType(config["model_type"]))), **first}
    known = {name: value for name, value in {**usual, **request.sample}.items() if name in SampleConfig.model_fields}
    return validated(SampleConfig, {**known, "random_seed": False}).model_dump(mode="json")
