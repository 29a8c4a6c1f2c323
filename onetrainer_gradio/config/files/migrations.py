"""Migrate old configuration files: one pure function for each version step of OneTrainer's format.

Each takes the document of its version and returns that of the next, without changing its argument. OneTrainer's own steps
require keys that a partial file may lack; these accept partial files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Document = dict[str, Any]
Migration = Callable[[Document], Document]

_PARTS_OF_VERSION_1 = (
    "unet",
    "prior",
    "text_encoder",
    "text_encoder_2",
    "vae",
    "effnet_encoder",
    "decoder",
    "decoder_text_encoder",
    "decoder_vqgan",
)
_PARTS = (*_PARTS_OF_VERSION_1, "transformer", "text_encoder_3", "text_encoder_4")

# Up to version 1 the parts had flat keys: name of the key with the part as {} -> name inside the part.
_FLAT_PART_KEYS = {
    "train_{}": "train",
    "train_{}_epochs": "stop_training_after",
    "{}_learning_rate": "learning_rate",
    "{}_weight_dtype": "weight_dtype",
    "{}_model_name": "model_name",
}
# Flat keys that look like those of a part but never were: these parts could be neither trained nor renamed.
_NEVER_FLAT = {
    "unet": {"model_name"},
    "text_encoder": {"model_name"},
    "text_encoder_2": {"model_name"},
    "vae": {"train", "stop_training_after", "learning_rate"},
    "effnet_encoder": {"train", "stop_training_after", "learning_rate"},
    "decoder": {"train", "stop_training_after", "learning_rate"},
    "decoder_text_encoder": {"train", "stop_training_after", "learning_rate", "model_name"},
    "decoder_vqgan": {"train", "stop_training_after", "learning_rate", "model_name"},
}
_PART_OF_FLAT_KEY = {
    pattern.format(part): (part, name)
    for part in _PARTS_OF_VERSION_1
    for pattern, name in _FLAT_PART_KEYS.items()
    if name not in _NEVER_FLAT.get(part, set())
}
_EMBEDDING_KEYS = ("token_count", "initial_embedding_text")


def _optimizer_becomes_an_object(old: Document) -> Document:
    """0: move ``optimizer`` and ``optimizer_*`` into an object, which is also stored under the optimizer's name."""
    new = {key: value for key, value in old.items() if not key.startswith("optimizer")}
    settings = {key.removeprefix("optimizer_"): value for key, value in old.items() if key.startswith("optimizer_")}
    if "optimizer" in old:
        settings["optimizer"] = old["optimizer"]
        new["optimizer"] = settings
        new["optimizer_defaults"] = {str(old["optimizer"]): dict(settings)}
    return new


def _parts_become_objects(old: Document) -> Document:
    """1: move flat keys into one object per component. Embedding keys go to a list that is no longer used."""
    new: Document = {part: {} for part in _PARTS_OF_VERSION_1}
    embedding: Document = {}
    for key, value in old.items():
        if key in _PART_OF_FLAT_KEY:
            part, name = _PART_OF_FLAT_KEY[key]
            new[part][name] = value
            if name == "stop_training_after":
                new[part]["stop_training_after_unit"] = "EPOCH"
        elif key == "embedding_model_names" and value and isinstance(value, list):
            embedding["model_name"] = value[0]
        elif key in _EMBEDDING_KEYS:
            embedding[key] = value
        else:
            new[key] = value
    new["embeddings"] = [embedding]
    return new


def _min_snr_becomes_a_loss_weight(old: Document) -> Document:
    """2: turn ``min_snr_gamma`` into one of several loss weight functions; Wuerstchen always had P2."""
    new = dict(old)
    gamma = new.pop("min_snr_gamma", 0.0)
    if gamma:
        new.update(loss_weight_fn="MIN_SNR_GAMMA", loss_weight_strength=gamma)
    elif new.get("model_type") in ("WUERSTCHEN_2", "STABLE_CASCADE_1"):
        new.update(loss_weight_fn="P2", loss_weight_strength=1.0)
    return new


def _noising_becomes_a_distribution(old: Document) -> Document:
    """3: turn a noising weight other than zero into a sigmoid distribution; the bias is now relative to the middle."""
    new = dict(old)
    weight, bias = new.pop("noising_weight", 0.0), new.pop("noising_bias", 0.5)
    if weight:
        return new | {"timestep_distribution": "SIGMOID", "noising_weight": weight, "noising_bias": _less_a_half(bias)}
    return new | {"timestep_distribution": "UNIFORM", "noising_weight": 0.0, "noising_bias": 0.0}


def _less_a_half(bias: Any) -> Any:
    """Return the bias relative to the middle; an invalid number is left to the validation."""
    if isinstance(bias, str):  # infinity is written as a word
        try:
            bias = float(bias)
        except ValueError:
            return bias
    return bias - 0.5 if isinstance(bias, (int, float)) else bias


def _checkpointing_becomes_a_word(old: Document) -> Document:
    """4: replace true and false by ON and OFF."""
    return old | {"gradient_checkpointing": "ON" if old.get("gradient_checkpointing", True) else "OFF"}


def _save_after_becomes_save_every(old: Document) -> Document:
    """5: rename two keys."""
    return _renamed(old, {"save_after": "save_every", "save_after_unit": "save_every_unit"})


def _layer_preset_is_never_null(old: Document) -> Document:
    """6: replace null, which a bug allowed, by the preset of all layers."""
    if old.get("lora_layer_preset", "") is None:
        return old | {"lora_layer_preset": "full"}
    return dict(old)


def _lora_layers_become_layer_filter(old: Document) -> Document:
    """7: rename the layer settings, which now apply to every method."""
    names = {"lora_layers": "layer_filter", "lora_layer_preset": "layer_filter_preset", "lora_layers_regex": "layer_filter_regex"}
    return _renamed(old, names)


def _prior_becomes_transformer(old: Document) -> Document:
    """8: rename the prior to transformer, except for Wuerstchen and Cascade."""
    if old.get("model_type") in ("WUERSTCHEN_2", "STABLE_CASCADE_1") or "prior" not in old:
        return dict(old)
    return old | {"transformer": old["prior"]}


def _each_part_has_its_dtype(old: Document) -> Document:
    """9: give each component without a data type the common one, and remove that."""
    new = dict(old)
    common = new.pop("weight_dtype", None)
    for part in _PARTS:
        if common is not None and isinstance(new.get(part), Mapping) and new[part].get("weight_dtype") == "NONE":
            new[part] = {**new[part], "weight_dtype": common}
    return new


def _each_part_has_its_offloading(old: Document) -> Document:
    """10: move checkpointing and offloading to each component, and rename the format SAFETENSORS by its content."""
    new = dict(old)
    checkpointing = new.pop("gradient_checkpointing", "ON")
    activations = new.pop("enable_activation_offloading", True)
    fraction = new.pop("layer_offload_fraction", 0.0)
    new["async_offloading"] = new.pop("enable_async_offloading", True)
    offloaded = checkpointing == "CPU_OFFLOADED"
    for part in _PARTS:
        if isinstance(new.get(part), Mapping):
            new[part] = {
                **new[part],
                "gradient_checkpointing": checkpointing != "OFF",
                "activation_offloading": offloaded and activations,
                "offload_fraction": fraction if offloaded else 0.0,
            }
    if new.get("output_model_format") == "SAFETENSORS":
        legacy = {"LORA": "LEGACY_LORA", "EMBEDDING": "SAFETENSORS"}
        new["output_model_format"] = legacy.get(str(new.get("training_method")), "LEGACY_SAFETENSORS")
    return new


def _repeats_become_balancing(old: Document) -> Document:
    """Concept 0: rename a key."""
    return _renamed(old, {"repeats": "balancing"})


def _validation_becomes_a_type(old: Document) -> Document:
    """Concept 1: replace a switch by one of several types."""
    new = {key: value for key, value in old.items() if key != "validation_concept"}
    if "validation_concept" in old:
        new["type"] = "VALIDATION" if old["validation_concept"] else "STANDARD"
    return new


def _renamed(old: Document, names: Mapping[str, str]) -> Document:
    return {names.get(key, key): value for key, value in old.items()}


# position in the tuple = version that the step starts from
TRAIN_MIGRATIONS: tuple[Migration, ...] = (
    _optimizer_becomes_an_object,
    _parts_become_objects,
    _min_snr_becomes_a_loss_weight,
    _noising_becomes_a_distribution,
    _checkpointing_becomes_a_word,
    _save_after_becomes_save_every,
    _layer_preset_is_never_null,
    _lora_layers_become_layer_filter,
    _prior_becomes_transformer,
    _each_part_has_its_dtype,
    _each_part_has_its_offloading,
)
CONCEPT_MIGRATIONS: tuple[Migration, ...] = (_repeats_become_balancing, _validation_becomes_a_type)


def migrate(document: Document, version: int) -> Document:
    """Return the document of a configuration, migrated from ``version`` to the current one."""
    return _climb(document, version, TRAIN_MIGRATIONS)


def migrate_concept(document: Document, version: int) -> Document:
    """Return the document of a concept, migrated from ``version`` to the current one."""
    return _climb(document, version, CONCEPT_MIGRATIONS)


def _climb(document: Document, version: int, steps: tuple[Migration, ...]) -> Document:
    for step in steps[max(version, 0) :]:
        document = step(document)
    return document


def looks_like_version_0(document: Document) -> bool:
    """Return whether a document without a version is one of the oldest files, and not a preset with only some settings.

    In the oldest files, the optimizer is a string. Presets with an ``optimizer`` object next to flat keys are newer; OneTrainer
    applies them to its defaults and ignores the flat keys.
    """
    if isinstance(document.get("optimizer"), Mapping):
        return False
    flat = any(key in _PART_OF_FLAT_KEY or (key.startswith("optimizer_") and key != "optimizer_defaults") for key in document)
    return flat or isinstance(document.get("optimizer"), str)
