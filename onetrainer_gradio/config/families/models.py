"""The table of all model types: OneTrainer's 29, each with the facts that its family module declares.

Which of them a backend can train is up to the backend.
"""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelFormat, ModelType, NoiseScheduler, TrainingMethod
from onetrainer_gradio.config.families import (
    anima,
    chroma,
    ernie,
    flux_1,
    flux_2,
    hi_dream,
    hunyuan_video,
    ideogram_4,
    krea_2,
    pixart,
    qwen,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    wuerstchen,
    z_image,
)
from onetrainer_gradio.config.families.facts import BaseModel, LayerPreset, ModelFacts

__all__ = [
    "FOLDER_FORMATS",
    "MODELS",
    "SAMPLERS",
    "UNFAMILIAR",
    "LayerPreset",
    "ModelFacts",
    "family_module",
    "output_formats",
    "pipeline_types",
]

FAMILIES = (
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    wuerstchen,
    pixart,
    flux_1,
    flux_2,
    sana,
    hunyuan_video,
    hi_dream,
    chroma,
    qwen,
    anima,
    krea_2,
    z_image,
    ernie,
    ideogram_4,
)

# Formats that are folders; every other one is a single .safetensors file.
FOLDER_FORMATS = frozenset({ModelFormat.DIFFUSERS})

# Samplers of epsilon- and v-prediction models. DPMPP and DPMPP_SDE are in OneTrainer's code, not in its window.
SAMPLERS = tuple(NoiseScheduler)

_BY_TYPE: dict[ModelType, ModelFacts] = {facts.type: facts for family in FAMILIES for facts in family.MODELS}
_MODULES = {facts.type: family.__name__.rpartition(".")[2] for family in FAMILIES for facts in family.MODELS}
MODELS: dict[ModelType, ModelFacts] = {model_type: _BY_TYPE[model_type] for model_type in ModelType}

# The facts about a model type that only a newer OneTrainer has.
UNFAMILIAR = ModelFacts(
    ModelType("UNFAMILIAR"),
    "",
    parts=("transformer", "vae"),
    methods=(),
    formats={},
    layer_presets={},
    base=BaseModel("", 0.0, 0.0),
    sample={},
    layers=(),
)


def family_module(model_type: ModelType) -> str:
    """Return the name of the module with the facts of the type's family; empty for an unknown type.

    The engine's modules about a family have the same name.
    """
    return _MODULES.get(model_type, "")


def output_formats(model_type: ModelType, method: TrainingMethod) -> tuple[ModelFormat, ...]:
    """Return the formats that a trained model of the type can be saved in; none if type and method can't be combined."""
    return MODELS.get(model_type, UNFAMILIAR).formats.get(method, ())


def pipeline_types(pipeline: str) -> tuple[ModelType, ...]:
    """Return the model types that are loaded from a diffusers pipeline of this class name; none for an unknown one."""
    starts = [(start, model_type) for model_type, facts in MODELS.items() for start in facts.pipelines]
    fitting = [(len(start), model_type) for start, model_type in starts if pipeline.startswith(start)]
    longest = max((length for length, _ in fitting), default=0)
    return tuple(model_type for length, model_type in fitting if length == longest)
