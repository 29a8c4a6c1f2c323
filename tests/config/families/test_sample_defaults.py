"""The defaults of a new sample prompt."""

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.sample_defaults import SAMPLE_DEFAULTS, sample_defaults
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.form.schema import form_schema


@pytest.mark.parametrize("model_type", list(ModelType))
def test_every_model_type_has_values_that_its_sample_takes(model_type):
    """They are settings of a sample with valid values."""
    begins = sample_defaults(model_type.value)
    config, findings = from_document({"model_type": model_type.value, "samples": [begins]})
    assert not findings
    assert {name: getattr(config.samples[0], name) for name in begins} == begins
    assert begins["width"] % 8 == begins["height"] % 8 == 0


def test_the_form_knows_them():
    """They are listed by model type; an unknown type starts with the general defaults."""
    by = form_schema()["properties"]["samples"]["x-new-by"]
    assert by["by"] == "model_type"
    assert by["values"] == {name.value: dict(begins) for name, begins in SAMPLE_DEFAULTS.items()}
    assert by["values"]["STABLE_DIFFUSION_XL_10_BASE"]["noise_scheduler"] == "EULER_A"
    assert sample_defaults("MODEL_OF_NEXT_YEAR") == {}
