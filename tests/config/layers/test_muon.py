"""Which weights Muon trains."""

from __future__ import annotations

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.layers.muon import hidden_layer_patterns, hidden_weights
from onetrainer_gradio.errors import ConfigValueError

NAMES = ("unet.conv_in.weight", "unet.down_blocks.0.proj.weight", "text_encoder.text_model.encoder.layers.0.fc1.weight")


def chosen(model_type="STABLE_DIFFUSION_15", **optimizer):
    return from_document({"model_type": model_type, "optimizer": {"optimizer": "MUON", **optimizer}})[0]


def test_without_patterns_they_are_those_of_the_model_type():
    """These are blocks of the denoiser and layers of the text encoder."""
    assert hidden_weights(chosen(), NAMES) == {1, 2}
    assert hidden_layer_patterns(chosen("HI_DREAM_FULL"))[0] == "caption_projection"


def test_three_types_have_none_of_their_own():
    """OneTrainer has no default for them."""
    assert {name for name, facts in MODELS.items() if not facts.hidden_layers} == {
        ModelType.STABLE_DIFFUSION_20_DEPTH,
        ModelType.HUNYUAN_VIDEO,
        ModelType.FLUX_FILL_DEV_1,
    }


@pytest.mark.slow
def test_given_patterns_replace_them():
    """They are parts of names, or regular expressions; an empty entry between commas is ignored."""
    assert hidden_weights(chosen(muon_hidden_layers="conv_in, ,"), NAMES) == {0}
    assert hidden_weights(chosen(muon_hidden_layers=r"conv_\w+, fc\d", muon_adam_regex=True), NAMES) == {0, 2}
    assert hidden_weights(chosen(muon_hidden_layers=""), NAMES) == set()


@pytest.mark.slow
def test_a_broken_expression_is_named():
    """The error names the setting."""
    with pytest.raises(ConfigValueError) as raised:
        hidden_weights(chosen(muon_hidden_layers="(a", muon_adam_regex=True), NAMES)
    assert raised.value.path == "optimizer.muon_hidden_layers"
