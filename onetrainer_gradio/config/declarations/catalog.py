"""List every path of a configuration with its complete declaration.

A setting of a model component is declared once for all components. Here it has one entry per component, with the group, choices
and conditions that apply there. The form, the settings page, the bounds and the check read this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

from onetrainer_gradio.config.declarations.groups import FIRST, GROUPS
from onetrainer_gradio.config.declarations.labels import label_of, within_sentence
from onetrainer_gradio.config.declarations.setting import OWN_GROUP, Setting, Settings, declared
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.visibility import METHOD, MODEL_TYPE, Only, applies, can_apply, resolved
from onetrainer_gradio.config.declarations.walk import element_class, fields_of, settings_class, without_none
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import ModelType, TrainingMethod

# Regular expression of paths -> why they have no control. Every path that isn't offered matches exactly one.
_SMALL_PARTS = "vae|effnet_encoder|decoder|decoder_text_encoder|decoder_vqgan"
NOT_OFFERED: dict[str, str] = {
    r"concepts\[\]\.concept_stats": "The panel stores the concept's last statistics here. There is nothing to set.",
    r"(embedding|additional_embeddings\[\])\.uuid": (
        "Identifies the embedding in backups. With another value, its training would be lost."
    ),
    r"optimizer_defaults": "Stores the last parameters of each optimizer, so that they come back when you switch optimizers.",
    r"optimizer\.(beta1_warmup|min_beta1)": "No optimizer uses it anymore.",
    r"samples\[\]\.(text_encoder_\d_(layer_skip|sequence_length)|transformer_attention_mask|force_last_timestep)": (
        "Samples use the training setting of the same name."
    ),
    r"sample_audio_format": "There is only one format, and no model type generates audio.",
    rf"({_SMALL_PARTS})\.(train|stop_training_after|stop_training_after_unit|learning_rate|gradient_checkpointing)": (
        "This component is never trained separately. The method Fine-tune VAE trains the VAE with the general settings."
    ),
    r"unconditional_transformer\.(train|stop_training_after|stop_training_after_unit|learning_rate|gradient_checkpointing"
    r"|activation_offloading)": "This component only guides samples and is never trained.",
    rf"(unet|prior|transformer|{_SMALL_PARTS})\.include": "The model doesn't work without this component.",
    rf"(unet|prior|transformer|unconditional_transformer|{_SMALL_PARTS})\.(dropout_probability|train_embedding)": (
        "Only the text encoders of the trained model read captions."
    ),
    rf"(unet|prior|unconditional_transformer|text_encoder|text_encoder_\d|{_SMALL_PARTS})\.(attention_mask|guidance_scale)": (
        "Applies only to the trained transformer."
    ),
    rf"(unet|prior|{_SMALL_PARTS})\.(offload_fraction|activation_offloading)": (
        "Only transformers and large text encoders can be offloaded layer by layer."
    ),
    r"(unet|unconditional_transformer|text_encoder|text_encoder_[23]|decoder_text_encoder|decoder_vqgan)\.model_name": (
        "This component always comes from the base model."
    ),
}


@dataclass(frozen=True)
class Entry:
    """A path with its declaration, its type, its default, and whether the form offers it.

    ``path`` has ``[]`` for the elements of a list. ``nested`` is True for objects. ``element`` is the list that the setting
    belongs to. ``found`` is True if the default is determined at run time.
    """

    path: str
    setting: Setting
    annotation: Any
    default: Any
    conditions: Mapping[str, Only]
    offered: bool
    nested: bool = False
    element: str = ""
    found: bool = False

    @property
    def title(self) -> str:
        """Return the label, preceded by that of its object if it would be ambiguous alone."""
        parent = CATALOGUE.get(f"{self.element}[].{self.owner}" if self.element else self.owner)
        if parent is None or not self.setting.named:
            return self.setting.label
        return f"{parent.setting.label}: {within_sentence(self.setting.label)}"

    @property
    def name(self) -> str:
        """Return the last name of the path."""
        return self.path.rpartition(".")[2]

    @property
    def fixed_choices(self) -> tuple[str, ...]:
        """Return the choices that the declaration lists."""
        return self.setting.choices if isinstance(self.setting.choices, tuple) else ()

    @property
    def choices(self) -> tuple[str, ...]:
        """Return every value that the setting can have for some other settings. Empty if it has no choices."""
        if self.fixed_choices:
            return self.fixed_choices
        bare = without_none(self.annotation)
        members = tuple(member.value for member in bare) if isinstance(bare, type) and issubclass(bare, Enum) else ()
        if self.setting.choices_by is None:
            return members
        possible = self.setting.choices_by.all()
        return tuple(value for value in members or possible if value in possible)

    def choice_label(self, value: str) -> str:
        """Return the label of a choice."""
        return self.setting.labels.get(value) or label_of(without_none(self.annotation), value)

    @property
    def owner(self) -> str:
        """Return the path of its object, from the element of a list or the root."""
        return self.path.removeprefix(f"{self.element}[].").rpartition(".")[0]

    def shown_for(self, model_type: ModelType, method: TrainingMethod) -> bool:
        """Return whether the setting can apply to a model type and method, regardless of the other settings."""
        root = "/" if self.element else ""
        values = {f"{root}{MODEL_TYPE}": model_type, f"{root}{METHOD}": method}
        return self.offered and applies(self.conditions, values.__getitem__, values)


def _entries(
    kind: type[Settings], values: Settings, owner: str, parent: Setting, inherited: Mapping[str, Only], element: str
) -> Iterator[Entry]:
    prefix = f"{element}[]." if element else ""
    for name, field in fields_of(kind).items():
        path = f"{owner}.{name}" if owner else name
        setting = _in_place(declared(field), owner, name, parent)
        conditions = {**inherited, **resolved(setting.shown, owner, name)}
        default = getattr(values, name)
        offered = bool(setting.label) and can_apply(conditions)
        found = field.default_factory is not None
        make = Entry(prefix + path, setting, field.annotation, default, conditions, offered, element=element, found=found)
        if nested := settings_class(field.annotation):
            inside = list(_entries(nested, default, path, setting, conditions, element))
            yield replace(make, nested=True, offered=any(entry.offered for entry in inside))
            yield from inside
        elif of := element_class(field.annotation):
            yield make
            group = next(group.key for group in GROUPS if group.of == path)
            yield from _entries(of, of(), "", Setting(group=group), {}, path)
        else:
            yield make


def _in_place(setting: Setting, owner: str, name: str, parent: Setting) -> Setting:
    """Return the declaration with everything that depends on its object."""
    choices = setting.choices
    unit_of = setting.unit_of
    return replace(
        setting,
        group=parent.group if setting.group == OWN_GROUP else setting.group,
        level=parent.levels.get(name, setting.level),
        choices=choices(owner, name) if callable(choices) else choices,
        unit_of=f"{owner}{unit_of}".lstrip(".") if unit_of.startswith(".") else unit_of,
    )


CATALOGUE: Mapping[str, Entry] = {entry.path: entry for entry in _entries(TrainConfig, TrainConfig(), "", Setting(), {}, "")}


def children(prefix: str) -> list[Entry]:
    """Return the entries directly below ``prefix`` (which ends with a dot), in the order of the form."""
    below = [entry for path, entry in CATALOGUE.items() if path.startswith(prefix) and "." not in path[len(prefix) :]]
    return sorted(below, key=lambda entry: FIRST.index(entry.path) if entry.path in FIRST else len(FIRST))


def in_form_order(prefix: str = "") -> Iterator[Entry]:
    """Yield every entry below ``prefix`` in the order of the form."""
    for entry in children(prefix):
        yield entry
        if entry.nested or element_class(entry.annotation):
            yield from in_form_order(f"{entry.path}." if entry.nested else f"{entry.path}[].")


@lru_cache(maxsize=8192)
def pattern(path: str) -> str:
    """Return the path with ``[]`` for indexes, as in the catalog: concepts.0.path -> concepts[].path."""
    first, *others = path.split(".")
    return first + "".join("[]" if part.isdecimal() else f".{part}" for part in others)


def title_of(path: str) -> str:
    """Return the title of the setting at a path, for messages: without the note in parentheses; the path if it has none."""
    entry = CATALOGUE.get(pattern(path))
    return re.sub(r" \([^()]*\)$", "", entry.title) if entry and entry.title else path


def reason(path: str) -> str:
    """Return why the form doesn't offer a path. Empty if it does."""
    return next((words for expression, words in NOT_OFFERED.items() if re.fullmatch(expression, path)), "")


def value_at(config: Settings, path: str) -> Any:
    """Return the value at a dotted path, or None if there is none."""
    at: Any = config
    for part in path.split("."):
        if isinstance(at, (list, tuple)):
            at = at[int(part)] if is_whole(part) and int(part) < len(at) else None
        else:
            at = getattr(at, part, None)
    return at


def reader(config: Settings, path: str) -> Callable[[str], Any]:
    """Return how the conditions of the setting at ``path`` read other values: from the element of the list, or the root."""
    element = re.match(r"^.*?\.\d+\.", path)
    prefix = element.group() if element else ""

    def read(other: str) -> Any:
        return value_at(config, other[1:] if other.startswith("/") else prefix + other)

    return read


def is_shown(config: TrainConfig, path: str) -> bool:
    """Return whether the setting at a path applies with the current values."""
    entry = CATALOGUE.get(pattern(path))
    return entry is not None and entry.offered and applies(entry.conditions, reader(config, path))


def choices_at(config: TrainConfig, path: str) -> tuple[str, ...]:
    """Return the choices of a setting with the current values, including choices that depend on other settings."""
    entry = CATALOGUE[pattern(path)]
    if (depends := entry.setting.choices_by) is None:
        return entry.choices
    read = reader(config, path)
    return depends.of(*(str(read(other)) for other in depends.by))
