"""When a setting applies: a small language over the facts of model types and optimizers.

A condition is a path and an ``Only``: the values under which a setting applies, with words for people. Where the rule is a
fact of the model type, it is written as that fact (``has_part("unet")``) and expanded to the types once, so that whoever
reads a condition only asks whether a value is in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.config.enums import TrainingMethod
from onetrainer_gradio.config.families.models import MODELS, ModelFacts
from onetrainer_gradio.config.optimizers import OPTIMIZERS

MODEL_TYPE = "model_type"
METHOD = "training_method"

# part -> how a sentence names it, article first
PART_WORDS = {
    "unet": "a UNet",
    "prior": "a prior",
    "transformer": "a transformer",
    "unconditional_transformer": "an unconditional transformer",
    "text_encoder": "a text encoder",
    "text_encoder_2": "a second text encoder",
    "text_encoder_3": "a third text encoder",
    "text_encoder_4": "a fourth text encoder",
    "vae": "a VAE",
    "effnet_encoder": "an EfficientNet encoder",
    "decoder": "a decoder",
    "decoder_text_encoder": "a decoder text encoder",
    "decoder_vqgan": "a VQGAN decoder",
}


@dataclass(frozen=True)
class Only:
    """The values of another setting under which one applies. ``words`` completes "only for ..."; empty: name the values."""

    values: tuple[Any, ...]
    words: str = ""


# What a condition is for a setting: of the name of the object it stands in (a part, the optimizer) and its own name.
OwnerRule = Callable[[str, str], Only]


@dataclass(frozen=True)
class ChoicesBy:
    """Choices that depend on the settings ``by``: nested tables, one level for each, with the values as keys."""

    by: tuple[str, ...]
    choices: Mapping[str, Any]

    def of(self, *values: str) -> tuple[str, ...]:
        """The choices under the given values of the settings ``by``; empty where there are none."""
        at: Any = self.choices
        for value in values:
            at = at.get(value, {})
        return tuple(str(choice) for choice in at)

    def all(self) -> tuple[str, ...]:
        """Every choice of the table, each once."""
        return tuple(dict.fromkeys(_leaves(self.choices)))


def _leaves(table: Any) -> Iterator[str]:
    if isinstance(table, Mapping):
        for item in table.values():
            yield from _leaves(item)
    else:
        yield from (str(choice) for choice in table)


def types(words: str, holds: Callable[[ModelFacts], bool]) -> Only:
    """The model types of which something holds."""
    return Only(tuple(name for name, facts in MODELS.items() if holds(facts)), words)


def has_part(*names: str) -> Only:
    """The types that have one of the parts."""
    words = " or ".join(PART_WORDS[name] for name in names)
    return types(f"models with {words}", lambda facts: not set(names).isdisjoint(facts.parts))


def can(ability: str, words: str) -> Only:
    """The types with an ability or trait."""
    return types(words, lambda facts: ability in facts.abilities | facts.traits)


def part_is(role: str, words: str) -> OwnerRule:
    """For the settings of a part: the types in which the part plays the role, an attribute of ``ModelFacts``."""

    def rule(owner: str, _name: str) -> Only:
        part = PART_WORDS[owner].split(" ", 1)[1]
        return types(f"models whose {part} {words}", lambda facts: owner in getattr(facts, role))

    return rule


def in_model(owner: str, _name: str) -> Only:
    """For the settings of a part: the types that have it."""
    return has_part(owner)


def taken_by_optimizer(_owner: str, name: str) -> Only:
    """For the settings of the optimizer: the optimizers that take a parameter of this name."""
    return Only(tuple(each for each, facts in OPTIMIZERS.items() if name in facts.defaults))


FLOW = types("flow-matching models", lambda facts: facts.flow)
DIFFUSION = types("epsilon- and v-prediction models", lambda facts: not facts.flow)
CONVOLUTIONAL = has_part("unet", "prior")
WITH_EMBEDDINGS = types("models that support embeddings", lambda facts: TrainingMethod.EMBEDDING in facts.methods)
INPAINTING = can("mask_input", "inpainting models")
VIDEO = can("video", "video models")

LORA = Only((TrainingMethod.LORA,))
EMBEDDING = Only((TrainingMethod.EMBEDDING,))

METHODS_BY_TYPE = ChoicesBy((MODEL_TYPE,), {name: facts.methods for name, facts in MODELS.items()})
FORMATS_BY_TYPE = ChoicesBy((MODEL_TYPE, METHOD), {name: facts.formats for name, facts in MODELS.items()})
LAYER_PRESETS_BY_TYPE = ChoicesBy((MODEL_TYPE,), {name: (*facts.layer_presets, "custom") for name, facts in MODELS.items()})
LOSS_WEIGHTS_BY_TYPE = ChoicesBy(
    (MODEL_TYPE,),
    {
        name: ("CONSTANT", "SIGMA") if facts.flow else ("CONSTANT", "P2", "MIN_SNR_GAMMA", "DEBIASED_ESTIMATION")
        for name, facts in MODELS.items()
    },
)


def resolved(shown: Mapping[str, Any], owner: str, name: str) -> dict[str, Only]:
    """The conditions of a setting in the object ``owner``: rules applied, neighbours named in full."""
    conditions = {}
    for path, condition in shown.items():
        full = f"{owner}{path}" if path.startswith(".") else path
        if isinstance(condition, Only):
            conditions[full] = condition
        else:
            conditions[full] = condition(owner, name) if callable(condition) else Only(tuple(condition))
    return conditions


def can_apply(conditions: Mapping[str, Only]) -> bool:
    """Whether there are any values at all under which the setting applies."""
    return all(condition.values for condition in conditions.values())


def applies(conditions: Mapping[str, Only], read: Callable[[str], Any], about: Iterable[str] | None = None) -> bool:
    """Whether a setting applies; ``read`` gives the value at a path. With ``about``, only conditions on those paths count."""
    wanted = conditions if about is None else {path: conditions[path] for path in about if path in conditions}
    return all(read(path) in condition.values for path, condition in wanted.items())
