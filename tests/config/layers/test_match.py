"""Which layers a filter selects, before the model is loaded."""

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.layers.filter import select
from onetrainer_gradio.config.layers.match import layer_match
from onetrainer_gradio.errors import ConfigValueError


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ModelType)
def test_every_preset_of_every_type_is_counted(model_type):
    """The sums over patterns and over kinds equal the number of selected layers; `full` selects all."""
    for name, preset in MODELS[model_type].layer_presets.items():
        match = layer_match(model_type, ",".join(preset.patterns), preset.regex)
        assert match.names == select(layer_names(model_type), ",".join(preset.patterns), preset.regex).layers
        assert match.taken == len(match.names) == sum(kind.taken for kind in match.kinds)
        assert match.taken == sum(pattern.taken for pattern in match.patterns)
        assert match.total == sum(kind.total for kind in match.kinds) == len(layer_names(model_type))
        assert (match.taken == match.total) or name != "full"


def test_layers_of_one_kind_are_listed_together():
    """Block numbers become a star; the end of a name stays."""
    match = layer_match(ModelType.STABLE_DIFFUSION_15, "attn2.to_q", regex=False)
    taken = {kind.name: (kind.taken, kind.total) for kind in match.kinds if kind.taken}
    assert taken["down_blocks.*.attentions.*.transformer_blocks.*.attn2.to_q"] == (6, 6)
    assert "down_blocks.*.attentions.*.transformer_blocks.*.attn1.to_out.0" in {kind.name for kind in match.kinds}
    assert match.part == "unet"


def test_a_pattern_that_comes_too_late_takes_nothing():
    """A layer counts for the first pattern that matches it."""
    match = layer_match(ModelType.STABLE_DIFFUSION_15, "attn, attn2, nothing", regex=False)
    first, second, third = match.patterns
    assert (first.taken > 0, first.late) == (True, 0)
    assert (second.taken, second.late) == (0, first.taken // 2)
    assert (third.taken, third.late) == (0, 0)


@pytest.mark.slow
def test_a_broken_regular_expression_is_explained():
    """The error names the pattern and what to change."""
    with pytest.raises(ConfigValueError, match=r"“attn\[” in Layer filter isn't a valid"):
        layer_match(ModelType.STABLE_DIFFUSION_15, "attn[", regex=True)


def test_types_of_several_sizes_are_marked():
    """The counts of a type that is published in several sizes apply to one of them."""
    assert not layer_match(ModelType.FLUX_2, "", regex=False).exact
    assert layer_match(ModelType.FLUX_DEV_1, "", regex=False).exact
