"""Publish a result of a run to the Hugging Face Hub: the file, a model card, samples, and the settings without paths."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from onetrainer_gradio.config.new_lora import file_name, trigger_word_in, trigger_word_of
from onetrainer_gradio.errors import (
    ConfigValueError,
    HubAccessError,
    HubError,
    HubExistsError,
    HubNotFoundError,
    RunNotFoundError,
    SampleNotFoundError,
    TrainerError,
    UnsupportedError,
)
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.jobs import Job, Jobs
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.hub.card import (
    Card,
    CardSample,
    base_repository,
    license_of,
    model_card,
    public_settings,
)
from onetrainer_gradio.service.hub.client import HubClient, raising_hub_error
from onetrainer_gradio.service.hub.model_file import ModelFile, public_content
from onetrainer_gradio.service.runs.artifacts import RESULTS, RunFile
from onetrainer_gradio.service.runs.record import Run, RunStore
from onetrainer_gradio.service.runs.samples import SampleStore

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

MAX_SAMPLES = 12
_USUAL_SAMPLES = 4
_SAMPLE_PX = 1024
_FILE = "publications.json"
_MAX_KEPT = 50
_LICENSE_FILE = "LICENSE.md"
_SETTINGS_FILE = "training_settings.json"
_OWN_FILES = frozenset({".gitattributes"})
_PLACEHOLDER = "OWNER"


@dataclass(frozen=True)
class PublishOptions:
    """What to publish of a run, and where.

    ``repository`` is OWNER/NAME or NAME of the token's owner ("": from the name of the run). ``file`` is the ID of a model or
    save ("": the final model, or else the newest save), ``samples`` are IDs of samples (None: the newest ones). ``license`` is
    an ID of the Hugging Face Hub ("": that of the base model), ``license_text`` the text of another license. Without
    ``trigger_word`` (None), it is read from the captions. ``card`` replaces the text of the model card ("": the generated one).
    ``new_revision`` allows to change a repository that has files.
    """

    run_id: str
    repository: str = ""
    private: bool = True
    file: str = ""
    samples: tuple[str, ...] | None = None
    license: str = ""
    license_text: str = ""
    trigger_word: str | None = None
    description: str = ""
    card: str = ""
    settings: bool = True
    new_revision: bool = False


@dataclass(frozen=True)
class _Upload:
    """A file of the repository: bytes, or a file of this machine."""

    path: str
    source: Path | bytes

    def open(self) -> ModelFile | io.BytesIO:
        """Open it for reading.

        :raises RunNotFoundError: if it was deleted, or can't be read.
        """
        with _reading(self.path):
            return io.BytesIO(self.source) if isinstance(self.source, bytes) else ModelFile(self.source)


@dataclass(frozen=True)
class _Plan:
    repository: str
    card: str
    uploads: tuple[_Upload, ...]
    license: str
    trigger_word: str
    file: RunFile
    samples: tuple[str, ...] = field(default=())


class Publishing:
    """Publications of runs, one at a time. Safe from any thread."""

    def __init__(
        self,
        runs: RunStore,
        samples: SampleStore,
        images: ImageDecoder,
        hub: HubClient,
        private_texts: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._runs, self._samples, self._images, self._hub, self._private = runs, samples, images, hub, private_texts
        self._jobs = Jobs()

    def preview(self, request: PublishOptions) -> dict[str, Any]:
        """Return what would be published, without changing anything.

        ``account`` is the token's owner (None without one), ``problem`` and ``suggestion`` why it can't be published now, and
        ``exists`` whether the repository has files (None: unknown).

        :raises RunNotFoundError: if the run, or a file of it, doesn't exist.
        :raises SampleNotFoundError: if the run has no such sample.
        :raises ConfigValueError: if the name isn't valid, or something private is in the texts.
        :raises UnsupportedError: if the run has no file that can be published.
        """
        account, problem, suggestion = None, "", ""
        try:
            account = self._hub.account()
        except HubError as error:
            problem, suggestion = error.message, error.suggestion
        plan = self._plan(request, account["name"] if account else "")
        exists = None
        if account is not None:
            try:
                existing = self._existing(plan.repository)
                exists = _has_files(existing)
                _check_permission(account, plan.repository)
                _check_visibility(existing, request)
            except (HubError, ConfigValueError) as error:
                problem, suggestion = error.message, error.suggestion
        sizes = [_size(each) for each in plan.uploads]
        return {
            "repository": plan.repository,
            "private": request.private,
            "card": plan.card,
            "files": [{"path": each.path, "bytes": size} for each, size in zip(plan.uploads, sizes, strict=True)],
            "total_bytes": sum(sizes),
            "license": plan.license,
            "trigger_word": plan.trigger_word,
            "file": plan.file.id,
            "samples": list(plan.samples),
            "account": account,
            "exists": exists,
            "problem": problem,
            "suggestion": suggestion,
        }

    def start(self, request: PublishOptions) -> dict[str, Any]:
        """Start to publish, and return the publication.

        :raises RunNotFoundError: if the run, or a file of it, doesn't exist.
        :raises ConfigValueError: if the name isn't valid, or something private is in the texts.
        :raises UnsupportedError: if the run has no file that can be published.
        :raises HubAccessError: if there is no token, or it lacks the permission.
        :raises HubExistsError: if the repository has files, and no new revision is allowed.
        :raises ConfigValueError: if it is public, and ``private`` is set.
        :raises HubError: if the hub doesn't answer.
        :raises BusyError: if something is being published.
        """
        account = self._hub.account()
        plan = self._plan(request, account["name"])
        _check_permission(account, plan.repository)
        existing = self._existing(plan.repository)
        _check_visibility(existing, request)
        if not request.new_revision and _has_files(existing):
            raise HubExistsError(
                f"The repository “{plan.repository}” already exists",
                path="repository",
                value=plan.repository,
                suggestion="Choose another name, or publish a new revision of it.",
            )
        private = request.private if existing is None else bool(existing.private)
        known = {"run_id": request.run_id, "repository": plan.repository, "private": private, "file": plan.file.name}
        known["url"] = f"{self._hub.endpoint}/{plan.repository}"
        job = self._jobs.start("publish", request.run_id, lambda job: self._work(job, plan, request), known)
        return _described(job)

    def get(self, publication_id: str) -> dict[str, Any]:
        """Return a publication of this panel, with its progress in bytes.

        :raises PathNotFoundError: if there is none with this ID.
        """
        return _described(self._jobs.get(publication_id))

    def stop(self, publication_id: str) -> dict[str, Any]:
        """End a publication. Nothing of it becomes visible; a new repository stays, empty."""
        return _described(self._jobs.stop(publication_id))

    def wait(self, publication_id: str, seconds: float) -> dict[str, Any]:
        """Return a publication when it has ended, or after some seconds."""
        return _described(self._jobs.wait(publication_id, seconds))

    def list(self, run_id: str) -> list[dict[str, Any]]:
        """Return the publications of a run, newest first: those that are running, and those that are done.

        :raises RunNotFoundError: if the run doesn't exist.
        """
        done = _published(self._runs.get(run_id))
        running = [job for job in self._jobs.list() if job["folder"] == run_id and job["state"] != "done"]
        return [*(self.get(job["id"]) for job in running), *reversed(done)]

    def close(self) -> None:
        """End what is being published."""
        self._jobs.close()

    # what is published

    def _plan(self, request: PublishOptions, owner: str) -> _Plan:
        run = self._runs.get(request.run_id)
        config = run.config()
        file = _result(run, request.file)
        repository = self._repository(request.repository, run, owner)
        base = base_repository(config)
        license_id, license_name = (request.license, "") if request.license else license_of(base)
        word = _trigger_word(config) if request.trigger_word is None else request.trigger_word.strip()
        samples = self._chosen_samples(request)
        shown = [CardSample(str(each.get("prompt", "")), f"samples/{number:02}.webp") for number, each in enumerate(samples, 1)]
        text = request.card or model_card(
            Card(
                title=run.name or repository.rpartition("/")[2],
                repository=repository,
                config=config,
                model_file=file.name,
                base_model=base,
                license=license_id,
                license_name=license_name,
                license_file=_LICENSE_FILE if request.license_text.strip() else "",
                trigger_word=word,
                description=request.description,
                steps=file.global_step,
                samples=shown,
            )
        )
        uploads = [_Upload("README.md", text.encode())]
        if request.license_text.strip():
            uploads.append(_Upload(_LICENSE_FILE, f"{request.license_text.strip()}\n".encode()))
        if request.settings:
            settings = json.dumps(public_settings(config), indent=2, ensure_ascii=False)
            uploads.append(_Upload(_SETTINGS_FILE, f"{settings}\n".encode()))
        self._check_texts(uploads, config)
        uploads += _model_uploads(file)
        uploads += self._sample_uploads(samples, shown)
        ids = tuple(str(each["id"]) for each in samples)
        return _Plan(repository, text, tuple(uploads), "other" if request.license_text.strip() else license_id, word, file, ids)

    def _repository(self, name: str, run: Run, owner: str) -> str:
        name = name.strip() or _repository_name(run.name or run.id)
        full = name if "/" in name else f"{owner or _PLACEHOLDER}/{name}"
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        with raising_hub_error(full):
            validate_repo_id(full)
        if full.count("/") != 1 or full.startswith("/"):
            raise ConfigValueError(f"“{full}” isn't a valid name on the Hugging Face Hub", path="repo", value=full)
        return full

    def _chosen_samples(self, request: PublishOptions) -> Sequence[Mapping[str, Any]]:
        made = self._samples.of_run(request.run_id)
        if request.samples is not None:
            known = {each["id"]: each for each in made}
            for sample_id in request.samples:
                if sample_id not in known:
                    raise SampleNotFoundError(f"The run has no sample {sample_id!r}", path="samples", value=sample_id)
            return [known[sample_id] for sample_id in request.samples[:MAX_SAMPLES]]
        newest: dict[tuple[Any, Any], dict[str, Any]] = {}
        for each in made:  # newest first: one of each prompt
            newest.setdefault((each.get("kind"), each.get("index")), each)
        found: list[dict[str, Any]] = []
        for each in newest.values():
            with suppress(TrainerError):
                self._samples.path(each["id"])
                found.append(each)
        return sorted(found[:_USUAL_SAMPLES], key=lambda each: each.get("index", 0))

    def _sample_uploads(self, samples: Sequence[Mapping[str, Any]], shown: Sequence[CardSample]) -> Iterator[_Upload]:
        for sample, place in zip(samples, shown, strict=True):
            path = self._samples.path(str(sample["id"]))
            # decoded and written again, so that no parameters with paths remain in the file
            yield _Upload(place.path, self._images.thumbnail(path, _SAMPLE_PX, _SAMPLE_PX))

    def _check_texts(self, uploads: Sequence[_Upload], config: Mapping[str, Any]) -> None:
        """Raise if a text contains a secret or a folder of this machine."""
        private = [*self._private(), *_folders(config)]
        for upload in uploads:
            text = upload.source.decode() if isinstance(upload.source, bytes) else ""
            for each in private:
                if len(each) > 2 and each in text:
                    raise ConfigValueError(
                        f"{upload.path} contains {'a secret' if '/' not in each and chr(92) not in each else 'a local path'}",
                        path="card",
                        suggestion="Remove it from the text.",
                    )

    # at the hub

    def _existing(self, repository: str) -> ModelInfo | None:
        try:
            with raising_hub_error(repository):
                return self._hub.api().model_info(repository)
        except HubNotFoundError:
            return None

    def _work(self, job: Job, plan: _Plan, request: PublishOptions) -> None:
        api = self._hub.api()
        job.total, job.doing = sum(_size(each) for each in plan.uploads), "Creating the repository"
        with raising_hub_error(plan.repository):
            api.create_repo(plan.repository, private=request.private, exist_ok=True)
        job.doing = "Uploading"
        try:
            commit = _commit(api, plan, job)
        except _StoppedError:
            return
        published = {**job.result, "id": job.id, "at": time.time(), "commit": commit}
        job.result.update(published)
        with suppress(OSError, RunNotFoundError):  # a run that was deleted during the upload stays deleted
            run = self._runs.get(request.run_id)
            made = [*_published(run), {**published, "state": "done"}][-_MAX_KEPT:]
            write_json(run.folder / _FILE, made, make_folder=False)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunNotFoundError(f"Can't read {name}: {error.strerror or error}", value=name) from error


class _StoppedError(Exception):
    """The publication was stopped."""


def _commit(api: HfApi, plan: _Plan, job: Job) -> str:
    from huggingface_hub import CommitOperationAdd

    with ExitStack() as stack:
        files = [stack.enter_context(upload.open()) for upload in plan.uploads]
        stack.enter_context(raising_hub_error(plan.repository))
        operations = [
            CommitOperationAdd(upload.path, cast("BinaryIO", _Counted(file, job)))
            for upload, file in zip(plan.uploads, files, strict=True)
        ]
        _stop_if_asked(job)
        try:
            for operation in operations:  # one by one: for several, the library draws a progress bar
                api.preupload_lfs_files(plan.repository, [operation])
                _stop_if_asked(job)
            job.doing = "Creating the commit"
            made = api.create_commit(plan.repository, operations, commit_message=f"Publish {plan.file.name}")
        except RuntimeError as error:  # the library wraps what happens in its upload threads
            if job.stopping.is_set():
                raise _StoppedError from error
            if error.__cause__ is None:
                raise
            raise error.__cause__ from error
        job.done = job.total
        return str(made.oid)


def _stop_if_asked(job: Job) -> None:
    if job.stopping.is_set():
        raise _StoppedError


class _Counted(io.BufferedIOBase):
    """A file whose bytes count as progress when they are read for the upload, and that raises when the job is to stop.

    The library reads each file once to hash it, which doesn't count, and then sends it.
    """

    def __init__(self, file: io.BufferedIOBase, job: Job) -> None:
        self._inner, self._job, self._sent, self._hashed = file, job, 0, False

    def read(self, size: int | None = -1) -> bytes:
        """Return bytes."""
        _stop_if_asked(self._job)
        data = self._inner.read(size)
        if self._job.doing == "Uploading" and self._hashed:
            at = self._inner.tell()
            self._job.done += max(0, at - self._sent)
            self._sent = max(self._sent, at)
        self._hashed = self._hashed or not data
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position."""
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._inner.tell()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True


def _has_files(existing: ModelInfo | None) -> bool:
    return existing is not None and any(each.rfilename not in _OWN_FILES for each in existing.siblings or ())


def _check_visibility(existing: ModelInfo | None, request: PublishOptions) -> None:
    """Check that nothing private becomes public: a repository that exists keeps its visibility."""
    if request.private and existing is not None and existing.private is False:
        raise ConfigValueError(
            f"The repository “{existing.id}” is public",
            path="private",
            value=True,
            suggestion="Choose another name, or set “Who can see it” to Public.",
        )


def _check_permission(account: Mapping[str, Any], repository: str) -> None:
    owner = repository.partition("/")[0]
    if owner not in (account["name"], *account["organizations"]):
        raise HubAccessError(
            f"The token belongs to “{account['name']}”, who isn't a member of “{owner}”",
            path="repository",
            value=repository,
            suggestion=f"Choose the name {account['name']}/{repository.partition('/')[2]}, or enter another token.",
        )
    if account["writes"] is False:
        raise HubAccessError(
            "The token has no write permission",
            path="token",
            suggestion="Create a token with write permission on huggingface.co and enter it on the System tab.",
        )


def _result(run: Run, file_id: str) -> RunFile:
    file = run.open_file(file_id) if file_id else run.newest_result()
    if file is None:
        raise UnsupportedError("This run has no saved model", path="file", suggestion="Choose a run that saved one.")
    if file.kind not in RESULTS or not (file.folder or file.path.suffix == ".safetensors"):
        raise UnsupportedError(
            f"{file.name} can't be published", path="file", value=file.id, suggestion="Choose a .safetensors file or a folder."
        )
    return file


def _model_uploads(file: RunFile) -> Iterator[_Upload]:
    if not file.folder:
        yield _Upload(file.name, file.path)
        return
    for path, name in file.members(""):
        relative = name.lstrip("/")
        if Path(relative).suffix in (".safetensors", ".json", ".txt", ".model") and not Path(relative).name.startswith("."):
            with _reading(relative):
                content = public_content(path)
            yield _Upload(relative, content)


def _repository_name(text: str) -> str:
    return re.sub(r"[-.]{2,}", "-", file_name(text))[:96].strip("-.") or "lora"


def _trigger_word(config: Mapping[str, Any]) -> str:
    """Return the trigger word: that of the caption of all images, of the sample prompts of New LoRA, or of an embedding."""
    for concept in config.get("concepts") or ():
        text = concept.get("text") or {}
        if text.get("prompt_source") == "concept" and text.get("prompt_path"):
            with suppress(OSError, UnicodeDecodeError), open(text["prompt_path"], encoding="utf-8") as file:
                lines = file.read(2000).splitlines()
                if len(lines) == 1 and (word := trigger_word_in(lines[0])):
                    return word
    if word := trigger_word_of([str(sample.get("prompt", "")) for sample in config.get("samples") or ()]):
        return word
    embedding = (config.get("embedding") or {}).get("placeholder", "")
    return str(embedding) if config.get("training_method") == "EMBEDDING" else ""


def _folders(config: Mapping[str, Any]) -> Iterator[str]:
    """Return the absolute paths in a configuration."""
    for value in config.values():
        values = value if isinstance(value, list) else [value]
        for each in values:
            if isinstance(each, Mapping):
                yield from _folders(each)
            elif isinstance(each, str) and (each.startswith("/") or re.match(r"[A-Za-z]:[\\/]", each)) and len(each) > 3:
                yield each


def _size(upload: _Upload) -> int:
    if isinstance(upload.source, bytes):
        return len(upload.source)
    with _reading(upload.path), ModelFile(upload.source) as file:
        return len(file)


def _published(run: Run) -> list[dict[str, Any]]:
    found = read_json(run.folder / _FILE)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _described(job: Job) -> dict[str, Any]:
    return {**job.as_dict(), **job.result}
