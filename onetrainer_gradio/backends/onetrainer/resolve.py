"""Write a configuration as OneTrainer needs it without its window, with everything that its window would fill in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.families.models import MODELS, output_formats
from onetrainer_gradio.config.files.documents import VERSION_KEY, to_document
from onetrainer_gradio.config.resume import backup_to_resume
from onetrainer_gradio.events import WarningIssued

CONCEPT_VERSION = 2
# Names that OneTrainer's UI and users give to custom patterns: the existing patterns are used.
_OWN_PATTERNS = frozenset({"", "custom", "full"})


@dataclass
class Headless:
    """The document to pass on, without secrets, and warnings about it."""

    document: dict[str, Any]
    notes: list[WarningIssued] = field(default_factory=list)


def headless(config: TrainConfig, options: RunOptions) -> Headless:
    """Return the configuration (packed, paths absolute) as OneTrainer needs it.

    Concepts and samples lie inside, patterns stand for the names of layer presets, the format of the result is one that goes
    with model type and method, a run that continues keeps the identity of its embedding, no other machine is involved.
    """
    result = Headless(to_document(config, packed=True))
    document = result.document
    document[VERSION_KEY] = config.config_version
    for name in ("concepts", "samples"):
        document[name] = document.get(name) or []
    for concept in document["concepts"]:
        concept[VERSION_KEY] = CONCEPT_VERSION
    _layers(config, document)
    _layers(config, document["quantization"])
    _format(config, result)
    _embedding(config, options, result)
    document.pop("note", None)
    return result


def _layers(config: TrainConfig, settings: dict[str, Any], name: str = "layer_filter") -> None:
    """Replace the name of a layer preset by its patterns, as OneTrainer's window does; the name alone has no effect."""
    preset = str(settings.get(f"{name}_preset") or "")
    facts = MODELS.get(config.model_type)  # a newer checkout's types are not in the table
    choice = facts.layer_presets.get(preset) if facts else None
    if choice is None or preset in _OWN_PATTERNS or settings.get(name):
        return
    settings[name] = ",".join(choice.patterns)
    settings[f"{name}_regex"] = choice.regex


def _format(config: TrainConfig, result: Headless) -> None:
    known = output_formats(config.model_type, config.training_method) if config.model_type in MODELS else ()
    if not known or config.output_model_format in known:
        return
    result.document["output_model_format"] = known[0].value
    result.notes.append(
        WarningIssued(
            code="output_format",
            message=f"OneTrainer can't save this model type and method as {name_of(config.output_model_format)}. "
            f"The final model is saved as {name_of(known[0])}.",
            path="output_model_format",
        )
    )


def _embedding(config: TrainConfig, options: RunOptions, result: Headless) -> None:
    """Use the uuid of the embedding in the backup: a run that resumes from it needs the same one."""
    if config.training_method != "EMBEDDING":
        return
    backup = backup_to_resume(config, options, "onetrainer")
    if backup is None:
        return
    try:
        told = json.loads((backup / "onetrainer_config" / "args.json").read_text(encoding="utf-8"))
        uuid = str(told["embedding"]["uuid"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if uuid != result.document["embedding"].get("uuid"):
        result.document["embedding"]["uuid"] = uuid
