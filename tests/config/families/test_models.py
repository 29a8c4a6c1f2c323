"""The facts about the 29 model types equal the recorded ones.

Covers ``config/families/``.
"""

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import FAMILIES, MODELS, pipeline_types

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "onetrainer_models.json").read_text())


def test_every_type_is_there_and_the_88_combinations_come_out():
    """29 types, 88 pairs of type and method."""
    assert set(MODELS) == set(ModelType) == set(RECORDED)
    assert sum(len(facts.methods) for facts in MODELS.values()) == 88


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_facts_of_a_type(name):
    """These are components, methods, formats, prediction type, traits and layer presets."""
    facts, recorded = MODELS[ModelType(name)], RECORDED[name]
    assert list(facts.parts) == recorded["parts"]
    assert facts.denoiser == recorded["denoiser"]
    assert facts.flow == recorded["flow"]
    assert sorted(facts.traits) == recorded["traits"]
    assert {method.value: [item.value for item in formats] for method, formats in facts.formats.items()} == recorded["formats"]
    assert sorted(facts.layer_presets) == recorded["layer_presets"]
    if recorded["label"]:
        assert facts.label == recorded["label"]


def test_each_family_declares_its_types_once_and_all_types_are_declared():
    """A type in two modules, or in none, would give conflicting facts."""
    declared = [facts.type for family in FAMILIES for facts in family.MODELS]
    assert len(declared) == len(set(declared))
    assert set(declared) == set(ModelType)


@pytest.mark.parametrize(
    ("pipeline", "label"),
    [
        ("StableDiffusionXLImg2ImgPipeline", "SDXL"),
        ("StableDiffusion3Pipeline", "SD3"),
        ("StableDiffusionInpaintPipeline", "SD1.5"),
        ("Flux2Pipeline", "Flux 2 [Dev, Klein]"),
        ("FluxFillPipeline", "Flux Dev.1"),
    ],
)
def test_a_pipeline_belongs_to_the_types_with_the_longest_beginning(pipeline, label):
    """The pipelines of SDXL and SD3 begin like that of SD1.5."""
    assert MODELS[pipeline_types(pipeline)[0]].label == label


def test_an_unknown_pipeline_belongs_to_no_type():
    """Its name proves nothing."""
    assert pipeline_types("AudioLDMPipeline") == ()
