"""Answer the page New LoRA: the models that can be trained here, the settings that follow from the answers, and their opening."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.base_models import PUBLISHED, UNPUBLISHED
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.presets import DEMO_PRESET, Preset, presets, read_preset
from onetrainer_gradio.config.files.resolve import looks_like_hub_name
from onetrainer_gradio.config.new_lora import Answers, CaptionSource, Plan, caption_of, file_name, plan, preset_for
from onetrainer_gradio.errors import Finding
from onetrainer_gradio.service.datasets.image_index import ImageIndex, Query
from onetrainer_gradio.service.engines.preflight import Preflight
from onetrainer_gradio.service.engines.selection import Engines
from onetrainer_gradio.service.host.atomic import raising_storage_error
from onetrainer_gradio.service.hub.models import HubModels
from onetrainer_gradio.service.runs.index import RunQuery
from onetrainer_gradio.service.runs.record import RunStore
from onetrainer_gradio.service.settings.comparison import Comparison, Difference, Source
from onetrainer_gradio.service.settings.configs import ConfigDocument, ConfigStore

_CAPTIONS = "captions"
_GIB = 1 << 30
# CLIP numbers its tokens from frequent to rare; the last ones, such as "sks", are the usual trigger words
_RARE = 44_000
_VOCABULARY = Path(__file__).resolve().parents[1] / "config" / "families" / "published" / "tokenizers" / "clip" / "vocab.json"


_IN_PLAN = frozenset({"captions-missing"})
"""Findings of the pre-flight check that a plan has already, with what to do about them on the page."""
_WRITTEN_LATER = "concepts.0.text.prompt_path"
_RUNS_LOOKED_AT = 20
_MIN_STEPS = 20
"""Shorter runs mostly measure how long loading takes."""


@dataclass(frozen=True)
class Duration:
    """How long a run is expected to take, by the speed of an earlier ``run`` with this name on this machine."""

    seconds: float
    run: str


class NewLora:
    """From answers to the current settings. Safe from any thread."""

    def __init__(
        self,
        data_folder: Path,
        configs: ConfigStore,
        engines: Engines,
        images: ImageIndex,
        gpu_bytes: Callable[[], int | None],
        runs: RunStore,
        comparison: Comparison,
        preflight: Preflight,
        hub_models: HubModels,
    ) -> None:
        self._data, self._configs, self._engines, self._images, self._gpu_bytes = data_folder, configs, engines, images, gpu_bytes
        self._runs, self._comparison, self._preflight, self._hub_models = runs, comparison, preflight, hub_models

    def models(self) -> list[dict[str, Any]]:
        """Return a row for each model type with a LoRA preset, those that can be trained here first.

        ``preset`` is the one for this machine's GPU; ``reason`` is why a model isn't ``trainable`` here, ``local`` whether the
        base model is on this machine (None: unknown until the run), ``gigabytes`` about how much is downloaded otherwise.
        """
        rows = [self._model(found) for found in _by_model()]
        return sorted(rows, key=lambda row: (not row["trainable"], row["too_small"]))

    def plan(self, answers: Mapping[str, Any]) -> Plan:
        """Return the settings that follow; nothing is changed.

        :raises ConfigValueError: if an answer is missing or wrong.
        :raises ConfigNotFoundError: if there is no preset with this name.
        :raises PathNotFoundError: if the folder of images doesn't exist.
        """
        return plan(self._completed(answers))

    def differences(self, made: Plan) -> list[Difference]:
        """Return the settings in which a plan differs from its preset, opened on its own."""
        document = Source("document", document=to_document(made.config, packed=True))
        return self._comparison.compare(Source("preset", made.preset), document)[2]

    def check(self, made: Plan) -> list[Finding]:
        """Return what the pre-flight check finds in a plan. The captions that its start will write count as written."""
        return [each for each in self._preflight(made.config) if each.path != _WRITTEN_LATER and each.code not in _IN_PLAN]

    def duration(self, made: Plan) -> Duration | None:
        """Return how long a run of a plan takes, from the newest run of this base model at this resolution; None without one.

        The time of that run counts from its start to its end, with loading, caching and samples.
        """
        config = made.config
        query = RunQuery(model=config.model_type, method=config.training_method, archived=None, sort="-ended")
        for line in self._runs.page(_RUNS_LOOKED_AT, None, query)["runs"]:
            steps, seconds = line.get("global_step") or 0, line.get("elapsed_s") or 0.0
            if line.get("base_model") != config.base_model_name or steps < _MIN_STEPS or seconds <= 0 or line.get("active"):
                continue
            run = self._runs.get(line["id"])
            before = run.config()
            alike = all(before.get(name) == getattr(config, name) for name in ("resolution", "train_device"))
            if not alike or run.record.options.get("resumes_run"):
                continue
            per_image = seconds / (steps * max(1, int(before.get("batch_size") or 1)))
            return Duration(per_image * made.steps * config.batch_size, str(line.get("name") or line["id"]))
        return None

    def open(self, answers: Mapping[str, Any], *, revision: int | None = None, by: str = "") -> tuple[Plan, ConfigDocument]:
        """Make the settings that follow the current ones, and write the caption of all images if they have none.

        :raises ConfigValueError: if an answer is missing or wrong.
        :raises PathNotFoundError: if the folder of images doesn't exist.
        :raises RevisionConflictError: if the settings changed since that revision.
        :raises StorageError: if the caption can't be written.
        """
        completed = self._completed(answers)
        made = plan(completed)
        if completed.captions is not CaptionSource.FILES:
            file = self._data / completed.caption_file
            with raising_storage_error(f"the captions {file}"):
                write_atomic(file, f"{self._caption(completed)}\n")
        return made, self._configs.replace(made.config, revision=revision, by=by)

    def trigger_word(self, word: str) -> dict[str, Any]:
        """Return whether the word is ``existing``: a common token of CLIP, with which the model already connects something."""
        word = word.strip()
        return {"word": word, "existing": _vocabulary().get(f"{word.lower()}</w>", _RARE) < _RARE}

    def _completed(self, answers: Mapping[str, Any]) -> Answers:
        folder = str(answers.get("folder", ""))
        images = self._images.page(folder, Query(), limit=0)["total"] if folder.strip() else 0
        files = images and answers.get("captions") == CaptionSource.FILES
        uncaptioned = self._images.page(folder, Query(caption="missing"), limit=0)["matches"] if files else 0
        known = {"images": images, "uncaptioned": uncaptioned, "gpu": self._gpu_bytes() is not None, **self._download(answers)}
        kept = self._configs.train_config().huggingface_cache_dir
        given = Answers(**{**answers, **known, "huggingface_cache_dir": kept})
        written = given.captions is not CaptionSource.FILES
        return Answers(**{**vars(given), "caption_file": f"{_CAPTIONS}/{file_name(given.name)}.txt" if written else ""})

    def _caption(self, answers: Answers) -> str:
        return "" if answers.captions is CaptionSource.NONE else caption_of(answers.subject, answers.trigger_word.strip())

    def _model(self, found: tuple[Preset, ...]) -> dict[str, Any]:
        gpu = self._gpu_bytes()
        gib = None if gpu is None else gpu / _GIB
        preset = preset_for(found, gib)
        assert preset is not None
        support = self._engines.engine_support(from_document({**preset.document, "concepts": [], "samples": []})[0])
        usable = next((engine for engine in support if engine["can"]), None)
        base = str(preset.document["base_model_name"])
        published = PUBLISHED.get(base, UNPUBLISHED)
        needed = preset.memory_gb or 0
        demo = preset.name == DEMO_PRESET
        return {
            "model_type": preset.model_type,
            "label": "Demo model" if demo else MODELS[ModelType(preset.model_type)].label,
            "preset": preset.name,
            "note": preset.note,
            "base_model": base,
            "license": published.license,
            "gated": published.gated,
            "gigabytes": 0.0 if demo else published.gigabytes,
            "local": self._is_local(base, preset.model_type),
            "trainable": usable is not None,
            "engine": usable["id"] if usable else "",
            "reason": "" if usable else next((engine["why"] for engine in support if engine["why"]), ""),
            "memory_gb": preset.memory_gb,
            "resolution": str(preset.document.get("resolution", "")),
            "too_small": not demo and (gib is None or needed > gib * 1.05),
        }

    def _download(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the base model that the run downloads first, and about how large it is; empty if there is none."""
        preset = read_preset(str(answers.get("preset", "")))
        base = str(answers.get("base_model") or preset.document["base_model_name"])
        if not looks_like_hub_name(base) or self._is_local(base, preset.model_type):
            return {}
        return {"download": base, "download_gb": PUBLISHED.get(base, UNPUBLISHED).gigabytes or 0.0}

    def _is_local(self, base: str, model_type: str) -> bool:
        """Return whether the model is a folder or file, or whole in the cache of the Hugging Face Hub."""
        return Path(base).exists() or self._hub_models.is_local(base, model_type)


@cache
def _by_model() -> tuple[tuple[Preset, ...], ...]:
    """Return the LoRA presets of each base model; the sizes of a family, and its inpainting models, count as separate models."""
    found: dict[tuple[str, str], list[Preset]] = {}
    for preset in presets():
        if preset.method == "LORA":
            found.setdefault((preset.model_type, str(preset.document["base_model_name"])), []).append(preset)
    return tuple(map(tuple, found.values()))


@cache
def _vocabulary() -> Mapping[str, int]:
    return dict(json.loads(_VOCABULARY.read_text(encoding="utf-8")))
