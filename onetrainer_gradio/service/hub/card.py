"""Write the model card of a LoRA or model, and the settings that are published with it: without paths and secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.enums import ModelType, TrainingMethod
from onetrainer_gradio.config.families.base_models import LICENSE_IDS, PUBLISHED
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SHOWN = (
    "learning_rate",
    "learning_rate_scheduler",
    "optimizer.optimizer",
    "batch_size",
    "gradient_accumulation_steps",
    "epochs",
    "resolution",
    "lora_rank",
    "lora_alpha",
    "peft_type",
    "train_dtype",
    "ema",
)
_PRIVATE = re.compile(r"(^|[._])(secrets|workspace|cloud|note)|device|tensorboard|backup|_dir$")
"""Settings about the machine and its owner, which don't change what is learned."""
_KINDS = {TrainingMethod.LORA: "lora", TrainingMethod.EMBEDDING: "textual_inversion"}


@dataclass(frozen=True)
class CardSample:
    """A sample: its prompt, and the path of its image in the repository."""

    prompt: str
    path: str


@dataclass(frozen=True)
class Card:
    """What a model card describes.

    ``license`` is an ID of the Hugging Face Hub; with ``license_file``, it is “other” and the text is in that file.
    """

    title: str
    repository: str
    config: Mapping[str, Any]
    model_file: str
    base_model: str = ""
    license: str = ""
    license_name: str = ""
    license_file: str = ""
    trigger_word: str = ""
    description: str = ""
    steps: int = 0
    samples: Sequence[CardSample] = ()


def base_repository(config: Mapping[str, Any]) -> str:
    """Return the name of the base model on the Hugging Face Hub, or "" for a folder or file."""
    name = str(config.get("base_model_name", ""))
    if _REPOSITORY.fullmatch(name) is None or Path(name).exists() or name.endswith((".safetensors", ".ckpt", ".gguf")):
        return ""
    return name


def license_of(base_model: str) -> tuple[str, str]:
    """Return the license of a published base model as ``license`` and ``license_name``; empty if it is unknown."""
    published = PUBLISHED.get(base_model)
    return LICENSE_IDS.get(published.license, ("", "")) if published else ("", "")


def model_card(card: Card) -> str:
    """Return the text of README.md, with its metadata."""
    return f"---\n{_metadata(card)}\n---\n\n{''.join(_sections(card))}"


def public_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from the defaults and concern only training: no paths, secrets, concepts or samples."""
    found: dict[str, Any] = {}
    for path, entry in CATALOGUE.items():
        if entry.element or entry.nested or entry.setting.kind or entry.setting.path or _PRIVATE.search(path):
            continue
        value = _at(config, path)
        if isinstance(value, str) and not entry.choices:
            continue  # free text
        if isinstance(value, (bool, int, float, str)) and value != entry.default:
            _put(found, path, value)
    base = base_repository(config)
    return {**found, **({"base_model_name": base} if base else {})}


def _metadata(card: Card) -> str:
    from huggingface_hub import ModelCardData

    method = _method(card.config)
    tags = ["text-to-image", "diffusers", _KINDS.get(method or TrainingMethod.FINE_TUNE, "full-finetune"), "onetrainer"]
    if method is TrainingMethod.LORA:
        tags.append("template:sd-lora")
    widget = [{"text": sample.prompt or " ", "output": {"url": sample.path}} for sample in card.samples]
    data = ModelCardData(
        base_model=card.base_model or None,
        library_name="diffusers",
        license="other" if card.license_file else card.license or None,
        license_name=card.license_name or None,
        license_link=card.license_file or None,
        pipeline_tag="text-to-image",
        tags=tags,
        instance_prompt=card.trigger_word or None,
        widget=widget or None,
    )
    text: str = data.to_yaml()
    return text


def _sections(card: Card) -> Iterator[str]:
    yield f"# {_line(card.title)}\n\n"
    if card.samples:
        yield "<Gallery />\n\n"
    if card.description.strip():
        yield f"{card.description.strip()}\n\n"
    kind = MODELS.get(ModelType(card.config["model_type"]), UNFAMILIAR).label if card.config.get("model_type") else ""
    trained = f"Trained for **{kind}**" if kind else "Trained"
    yield f"{trained}{f' on [{card.base_model}](https://huggingface.co/{card.base_model})' if card.base_model else ''}.\n\n"
    if card.trigger_word:
        yield f"## Trigger word\n\nUse `{_line(card.trigger_word)}` in the prompt.\n\n"
    if _method(card.config) is TrainingMethod.LORA and card.base_model:
        yield from _use(card)
    yield "## Training\n\n| Setting | Value |\n| --- | --- |\n"
    yield "".join(f"| {label} | {value} |\n" for label, value in _rows(card))
    yield "\n"
    if card.license_file:
        yield f"## License\n\nSee [{card.license_file}]({card.license_file}).\n"
    elif card.license:
        yield f"## License\n\n{card.license_name or card.license}\n"


def _use(card: Card) -> Iterator[str]:
    prompt = next((sample.prompt for sample in card.samples if sample.prompt), card.trigger_word)
    yield f"""## Use

```python
from diffusers import AutoPipelineForText2Image

pipeline = AutoPipelineForText2Image.from_pretrained({json.dumps(card.base_model)})
pipeline.load_lora_weights({json.dumps(card.repository)}, weight_name={json.dumps(card.model_file)})
image = pipeline({json.dumps(_line(prompt), ensure_ascii=False)}).images[0]
```

"""


def _rows(card: Card) -> Iterator[tuple[str, str]]:
    if card.steps:
        yield "Steps", str(card.steps)
    for path in _SHOWN:
        entry, value = CATALOGUE.get(path), _at(card.config, path)
        if entry is None or not isinstance(value, (bool, int, float, str)) or value == "":
            continue
        if path.startswith("lora_") and _method(card.config) is not TrainingMethod.LORA:
            continue
        shown = entry.choice_label(value) if isinstance(value, str) and entry.choices else value
        yield _line(entry.title), _line(str(shown)).replace("|", "\\|")


def _method(config: Mapping[str, Any]) -> TrainingMethod | None:
    name = config.get("training_method")
    return TrainingMethod(name) if name else None


def _line(text: str) -> str:
    return " ".join(text.split())


def _at(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *owners, name = path.split(".")
    for owner in owners:
        document = document.setdefault(owner, {})
    document[name] = value
