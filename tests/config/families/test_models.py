"""The facts of the 29 model types are the recorded ones."""

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import MODELS

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "onetrainer_models.json").read_text())


def test_every_type_is_there_and_the_88_combinations_come_out():
    """29 types, 88 pairs of type and method."""
    assert set(MODELS) == set(ModelType) == set(RECORDED)
    assert sum(len(facts.methods) for facts in MODELS.values()) == 88


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_facts_of_a_type(name):
    """Parts, methods, formats, prediction kind, traits and layer presets."""
    facts, recorded = MODELS[ModelType(name)], RECORDED[name]
    assert list(facts.parts) == recorded["parts"]
    assert facts.denoiser == recorded["denoiser"]
    assert facts.flow == recorded["flow"]
    assert sorted(facts.traits) == recorded["traits"]
    assert {method.value: [item.value for item in formats] for method, formats in facts.formats.items()} == recorded["formats"]
    assert sorted(facts.layer_presets) == recorded["layer_presets"]
    if recorded["label"]:
        assert facts.label == recorded["label"]
