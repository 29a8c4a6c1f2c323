"""Caption and mask images with models, in a worker process and a job: with preview, progress, stop and resume."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.config.dataset.files import EXTRA_SUFFIX, MASK
from onetrainer_gradio.errors import (
    ConfigValueError,
    DatasetError,
    ModelNotFoundError,
    PathNotFoundError,
    RunConflictError,
    TrainerError,
    UnsupportedError,
)
from onetrainer_gradio.service.datasets.captions import Captions, Change
from onetrainer_gradio.service.datasets.file_moves import FileMoves
from onetrainer_gradio.service.datasets.image_index import ImageIndex, Query, Row
from onetrainer_gradio.service.datasets.jobs import Job, Jobs
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.module_process import end_answering, exchange, kill_answering, start_answering

WORKER = "onetrainer_gradio.backends.annotation.worker"
PREVIEWED = 5
LOAD_LIMIT_S = 3600.0
"""Loading includes the download."""
IMAGE_LIMIT_S = 300.0

_MAX_EXAMPLES = 200
_MAX_OWN = 50
_SAVE_EVERY = 20


@dataclass(frozen=True)
class Model:
    """A model that is offered: kind (``transformers``, ``tagger``, ``text``, ``background``), name and what it is good for."""

    kind: str
    name: str
    title: str
    about: str
    local: bool = False
    """Whether it is on this machine, so that nothing is downloaded."""


CAPTIONERS = (
    Model("transformers", "florence-community/Florence-2-base", "Florence-2 base", "Sentences; fast, also without a GPU."),
    Model("transformers", "florence-community/Florence-2-large", "Florence-2 large", "Sentences with more detail."),
    Model("transformers", "Salesforce/blip2-opt-2.7b", "BLIP-2", "Short sentences; 15 GB."),
    Model("transformers", "Salesforce/blip-image-captioning-base", "BLIP base", "Short sentences; small."),
    Model("transformers", "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL 3B", "Follows a prompt; requires a GPU with 8 GB."),
    Model("tagger", "SmilingWolf/wd-eva02-large-tagger-v3", "WD EVA02 tagger", "Tags for illustrations; requires onnxruntime."),
    Model("tagger", "SmilingWolf/wd-vit-tagger-v3", "WD ViT tagger", "Tags for illustrations; smaller."),
)
MASKERS = (
    Model("text", "CIDAS/clipseg-rd64-refined", "CLIPSeg", "Masks what a text describes."),
    Model("background", "u2net", "rembg U2-Net", "Masks the foreground; requires rembg."),
    Model("background", "isnet-general-use", "rembg IS-Net", "Masks the foreground with finer edges; requires rembg."),
)
TASKS: Mapping[str, tuple[Model, ...]] = MappingProxyType({"caption": CAPTIONERS, "mask": MASKERS})
_KINDS = {"caption": ("transformers", "tagger"), "mask": ("text", "background")}


@dataclass(frozen=True)
class Annotation:
    """What to do: a ``task`` (``caption`` or ``mask``) with a model.

    ``device`` is ``auto``, ``cpu`` or a GPU. ``replace`` also covers images that have a caption or a mask. ``options`` are those
    of the model. ``before`` and ``after`` are put around each caption, such as a trigger word. ``resume`` is the ID of a stopped
    job.
    """

    task: str
    kind: str
    model: str
    device: str = "auto"
    replace: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    before: str = ""
    after: str = ""
    preview: bool = False
    resume: str = ""


class Annotator:
    """Caption and mask datasets; one worker process, one job at a time. Safe from any thread."""

    def __init__(
        self,
        library: DatasetLibrary,
        index: ImageIndex,
        captions: Captions,
        moves: FileMoves,
        jobs: Jobs,
        folder: Path,
        token: Callable[[], str] = str,
        training: Callable[[], bool] = bool,
        own_models: Path | None = None,
    ) -> None:
        self._library, self._index, self._captions, self._moves, self._jobs = library, index, captions, moves, jobs
        self._folder, self._token, self._training, self._own_models = folder, token, training, own_models
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def models(self, task: str) -> list[Model]:
        """Return the models that are offered for a task: those in the folder for own captioners first."""
        own = _captioners_in(self._own_models) if task == "caption" and self._own_models else []
        return own + [replace(model, local=_is_downloaded(model)) for model in TASKS[task]]

    def start(self, folder: str, images: Sequence[str] | None, query: Query, asked: Annotation) -> Job:
        """Start a job. Its ``result`` has ``examples`` with ``before`` and ``after``; with ``preview``, nothing is written.

        :raises ConfigValueError: if the task or the kind of model doesn't exist.
        :raises ForbiddenPathError: if the folder is read-only, or the model is a folder outside the allowed ones.
        :raises RunConflictError: if a run is training and the CPU wasn't chosen.
        :raises BusyError: if a job is running.
        """
        place = self._library.resolve(folder)
        if asked.kind not in _KINDS.get(asked.task, ()):
            raise ConfigValueError(f"{asked.kind[:100]!r} can't {asked.task[:100]} images", path="kind", value=asked.kind[:100])
        if not asked.model.strip():
            raise ConfigValueError("No model is chosen", path="model", value="", suggestion="Choose a model.")
        if not asked.preview:
            self._library.require_writable(place)
        if asked.device != "cpu" and self._training():
            raise RunConflictError(
                "A run is training on the GPU",
                path="device",
                value=asked.device,
                suggestion="Wait until it has ended, or choose the CPU.",
            )
        if os.path.isdir(asked.model):
            self._library.resolve(asked.model)
        rows = self._index.rows(folder, images, query)
        return self._jobs.start("annotate", folder, lambda job: self._work(job, folder, place, rows, asked))

    def close(self) -> None:
        """End the process, even if it is computing."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        with self._lock:
            self._end()

    # -- the job --------------------------------------------------------------------------------------------------------

    def _work(self, job: Job, folder: str, place: Path, rows: Sequence[Row], asked: Annotation) -> None:
        finished = self._finished(asked, place)
        left = [row for row in rows if isinstance(row.size, tuple) and row.path not in finished]
        if not asked.replace:
            left = [row for row in left if (row.mask is None if asked.task == "mask" else not row.caption.text.strip())]
        left = left[:PREVIEWED] if asked.preview else left
        job.total, job.doing = len(left), "Loading the model"
        examples: list[dict[str, Any]] = []
        skipped: list[list[str]] = []
        job.result = {"examples": examples, "skipped": skipped, "written": 0}
        changes: list[Change] = []
        if not left:
            return
        try:
            self._ask({"what": "load", **_model(asked)}, LOAD_LIMIT_S, job)
            job.doing = "Captioning" if asked.task == "caption" else "Making masks"
            for number, row in enumerate(left):
                if job.stopping.is_set():
                    break
                self._one(job, folder, place, row, asked, changes)
                finished.add(row.path)
                job.done = number + 1
                if not asked.preview and number % _SAVE_EVERY == 0:
                    self._remember(job, asked, place, finished)
        finally:
            if changes:
                self._captions.record(place, f"Caption {len(changes)} images", changes)
            if not asked.preview:
                self._remember(job, asked, place, finished)
            self._index.forget(place)

    def _one(self, job: Job, folder: str, place: Path, row: Row, asked: Annotation, changes: list[Change]) -> None:
        examples, skipped = job.result["examples"], job.result["skipped"]
        try:
            if asked.task == "mask":
                found = self._mask(place, row, asked, job)
            else:
                found = self._caption(folder, row, asked, job, changes)
        except (ModelNotFoundError, UnsupportedError):
            raise  # the same for every image
        except TrainerError as error:
            if self._closed:
                raise
            skipped[len(skipped) :] = [[row.path, error.message]] if len(skipped) < _MAX_EXAMPLES else []
            return
        job.result["written"] += not asked.preview
        if len(examples) < _MAX_EXAMPLES:
            examples.append({"path": row.path, **found})

    def _caption(self, folder: str, row: Row, asked: Annotation, job: Job, changes: list[Change]) -> dict[str, Any]:
        read = self._captions.read(folder, row.path)
        answer = self._ask(self._request(row, asked, dict(asked.options)), IMAGE_LIMIT_S, job)
        if not answer["text"].strip():
            raise DatasetError("The model returned no text", path="images", value=row.path)
        parts = (asked.before.strip(), answer["text"].strip(), asked.after.strip())
        text = ", ".join(part.rstrip(",") for part in parts if part)
        if not asked.preview:
            changes += self._captions.put(folder, row, text, read["version"])
        return {"before": read["text"], "after": text, "tags": answer.get("tags", [])}

    def _mask(self, place: Path, row: Row, asked: Annotation, job: Job) -> dict[str, Any]:
        target = row.file.with_name(f"{row.file.stem}{MASK}{EXTRA_SUFFIX}")
        previews = self._folder / "previews"
        made = previews / f"{uuid.uuid4().hex}.png" if asked.preview else target.with_name(f".{uuid.uuid4().hex}.tmp")
        made.parent.mkdir(parents=True, exist_ok=True)
        try:
            answer = self._ask(self._request(row, asked, {**asked.options, "to": str(made)}), IMAGE_LIMIT_S, job)
            if asked.preview:
                self._drop_previews(previews)
                return {"preview": made.name, "coverage": answer["coverage"]}
            if target.exists():
                self._moves.trash_files(place, place, [target], "Mask replaced")
            with raising_storage_error(f"the mask {target.name}"):
                os.rename(made, target)
        finally:
            if not asked.preview:
                with suppress(OSError):
                    made.unlink(missing_ok=True)
        return {"coverage": answer["coverage"]}

    def preview_file(self, name: str) -> Path:
        """Return the image of a mask that a preview made.

        :raises PathNotFoundError: if it is no longer there.
        """
        path = self._folder / "previews" / f"{name}.png"
        if not name.isalnum() or not path.is_file():
            raise PathNotFoundError(f"The preview {name[:100]!r} is no longer there", suggestion="Start the preview again.")
        return path

    def _drop_previews(self, folder: Path) -> None:
        made = sorted(folder.glob("*.png"), key=lambda path: path.stat().st_mtime)
        for path in made[: max(0, len(made) - 4 * PREVIEWED)]:
            path.unlink(missing_ok=True)

    # -- what was done --------------------------------------------------------------------------------------------------

    def _finished(self, asked: Annotation, place: Path) -> set[str]:
        """Return the images that a stopped job has done, if this one resumes it."""
        if not asked.resume or not asked.resume.isalnum():
            return set()
        document = read_json(self._folder / f"{asked.resume}.json")
        same = isinstance(document, dict) and document.get("key") == _key(asked, place)
        return set(document["finished"]) if isinstance(document, dict) and same else set()

    def _remember(self, job: Job, asked: Annotation, place: Path, finished: set[str]) -> None:
        with suppress(OSError):
            write_json(self._folder / f"{job.id}.json", {"key": _key(asked, place), "finished": sorted(finished)}, durable=False)
            old = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in old[:-20]:
                path.unlink(missing_ok=True)

    # -- the process ----------------------------------------------------------------------------------------------------

    def _request(self, row: Row, asked: Annotation, options: dict[str, Any]) -> dict[str, Any]:
        return {"what": "run", **_model(asked), "path": str(self._library.allowed(row.file)), "options": options}

    def _ask(self, request: Mapping[str, Any], limit_s: float, job: Job) -> dict[str, Any]:
        with self._lock:
            if self._closed:
                raise UnsupportedError("The panel is closing")
            if self._process is None or self._process.poll() is not None:
                self._end()
                environment = {"TOKENIZERS_PARALLELISM": "false"}
                if token := self._token():
                    environment["HF_TOKEN"] = token
                self._process = start_answering(WORKER, f"{job.doing.lower() or 'caption images'}", environment)
            process = self._process
            watched = threading.Thread(target=_watch, args=(process, job, limit_s, done := threading.Event()), daemon=True)
            watched.start()
            try:
                answer = exchange(process, request)
            finally:
                done.set()
                watched.join()
            if answer is None:
                self._end()
        if answer is None:
            if job.stopping.is_set():
                return {"text": "", "coverage": 0.0, "stopped": True} if request["what"] == "load" else _stopped()
            raise UnsupportedError("The process with the model ended", suggestion="Choose a smaller model, or the CPU.")
        if "error" in answer:
            kind = ModelNotFoundError if answer.get("model") else UnsupportedError if request["what"] == "load" else TrainerError
            raise kind(answer["error"], suggestion=answer["suggestion"])
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        end_answering(process)


def _stopped() -> dict[str, Any]:
    raise TrainerError("Stopped")


def _watch(process: subprocess.Popen[bytes], job: Job, limit_s: float, done: threading.Event) -> None:
    """End the process if an answer takes too long, or if loading is to stop."""
    waited = 0.0
    while not done.wait(0.2):
        waited += 0.2
        if waited > limit_s or (job.stopping.is_set() and job.doing == "Loading the model"):
            kill_answering(process)
            return


def _captioners_in(folder: Path) -> list[Model]:
    """Return the models in a folder, by name: those with a list of tags are taggers, all others are loaded by transformers."""
    found = sorted(path for path in folder.glob("*") if path.is_dir())[:_MAX_OWN]
    tagging = {path for path in found if any(path.glob("*tags.csv"))}
    whole = (path for path in found if path in tagging or (path / "config.json").is_file())
    return [
        Model("tagger" if path in tagging else "transformers", str(path), path.name, "On this machine.", local=True)
        for path in whole
    ]


def _is_downloaded(model: Model) -> bool:
    """Return whether the model is in the cache of the Hugging Face Hub."""
    if model.kind == "background":
        return False
    from huggingface_hub import try_to_load_from_cache

    file = "selected_tags.csv" if model.kind == "tagger" else "config.json"
    return isinstance(try_to_load_from_cache(model.name, file), str)


def _model(asked: Annotation) -> dict[str, str]:
    return {"kind": asked.kind, "model": asked.model, "device": asked.device}


def _key(asked: Annotation, place: Path) -> str:
    same = {key: value for key, value in asdict(asked).items() if key not in ("resume", "device", "preview")}
    return hashlib.sha256(json.dumps([str(place), same], sort_keys=True, default=str).encode()).hexdigest()
