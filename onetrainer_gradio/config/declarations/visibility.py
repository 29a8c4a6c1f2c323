"""Define when a setting applies, based on facts about model types and optimizers.

A condition is a path and an ``Only``: the values for which a setting applies, with a description for people. A rule about the
model type is written as a fact (``has_part("unet")``) and expanded to model types once, so that evaluating a condition only
looks up a value in a list.
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

# component -> its name in a sentence, with the article
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
    """The values of another setting for which a setting applies. ``words`` completes "only for …". If empty, list the values."""

    values: tuple[Any, ...]
    words: str = ""


# Returns the condition of a setting from the name of its object (a component, the optimizer) and its own name.
OwnerRule = Callable[[str, str], Only]


@dataclass(frozen=True)
class ChoicesBy:
    """Choices that depend on the settings ``by``: nested tables, one level per setting, with the values as keys."""

    by: tuple[str, ...]
    choices: Mapping[str, Any]

    def of(self, *values: str) -> tuple[str, ...]:
        """Return the choices for the given values of the settings ``by``."""
        at: Any = self.choices
        for value in values:
            at = at.get(value, {})
        return tuple(str(choice) for choice in at)

    def all(self) -> tuple[str, ...]:
        """Return every choice of the table once."""
        return tuple(dict.fromkeys(_leaves(self.choices)))


def _leaves(table: Any) -> Iterator[str]:
    if isinstance(table, Mapping):
        for item in table.values():
            yield from _leaves(item)
    else:
        yield from (str(choice) for choice in table)


def types(words: str, holds: Callable[[ModelFacts], bool]) -> Only:
    """Return the model types for which ``holds`` is true."""
    return Only(tuple(name for name, facts in MODELS.items() if holds(facts)), words)


def has_part(*names: str) -> Only:
    """Return the model types that have one of the components."""
    words = " or ".join(PART_WORDS[name] for name in names)
    return types(f"models with {words}", lambda facts: not set(names).isdisjoint(facts.parts))


def can(ability: str, words: str) -> Only:
    """Return the model types with an ability or trait."""
    return types(words, lambda facts: ability in facts.abilities | facts.traits)


def part_is(role: str, words: str) -> OwnerRule:
    """Return a rule for settings of a component: the model types where it has the role, an attribute of ``ModelFacts``."""

    def rule(owner: str, _name: str) -> Only:
        part = PART_WORDS[owner].split(" ", 1)[1]
        return types(f"models whose {part} {words}", lambda facts: owner in getattr(facts, role))

    return rule


def in_model(owner: str, _name: str) -> Only:
    """Return the model types that have the component ``owner``."""
    return has_part(owner)


def taken_by_optimizer(_owner: str, name: str) -> Only:
    """Return the optimizers that have a parameter of this name."""
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
    """Return the conditions of a setting in the object ``owner``, with rules applied and full paths."""
    conditions = {}
    for path, condition in shown.items():
        full = f"{owner}{path}" if path.startswith(".") else path
        if isinstance(condition, Only):
            conditions[full] = condition
        else:
            conditions[full] = condition(owner, name) if callable(condition) else Only(tuple(condition))
    return conditions


def can_apply(conditions: Mapping[str, Only]) -> bool:
    """Return whether there are any values for which the setting applies."""
    return all(condition.values for condition in conditions.values())


def applies(conditions: Mapping[str, Only], read: Callable[[str], Any], about: Iterable[str] | None = None) -> bool:
    """Return whether a setting applies. ``read`` returns the value at a path. ``about`` limits the check to these paths."""
    wanted = conditions if about is None else {path: conditions[path] for path in about if path in conditions}
    return all(read(path) in condition.values for path, condition in wanted.items())
