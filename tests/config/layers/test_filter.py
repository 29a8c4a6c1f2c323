"""Which names a layer filter selects from a list."""

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.layers.filter import layers_to_train, select
from onetrainer_gradio.errors import ConfigValueError


def test_the_empty_filter_takes_all():
    """Without a pattern, every layer is selected."""
    names = layer_names(ModelType.STABLE_DIFFUSION_15)
    assert select(names, "", False).layers == names


@pytest.mark.slow
def test_a_pattern_is_used_when_it_takes_what_no_earlier_one_took():
    """The order counts, as in OneTrainer."""
    names = ("attn1.to_q", "attn2.to_q", "ff")
    assert select(names, "attn1, attn", False).unused == ()
    assert select(names, "attn, attn1", False).unused == ("attn1",)
    twice = select(names, "attn, attn", False)
    assert (twice.used, twice.unused) == (("attn",), ("attn",))
    assert select(names, "^attn[12]", True).layers == names[:2]
    assert select(names, "ff,", False).layers == names
    with pytest.raises(ConfigValueError, match=r"“\(” in Layer filter isn't a valid"):
        select(names, "(", True)
    for pattern, why in (("(?<=a+)b", "fixed-width"), ("a{99999999999}", "too much"), ("(" * 3000, "too much")):
        with pytest.raises(ConfigValueError, match=why) as caught:
            select(names, f"ff,{pattern}", True)
        assert pattern in caught.value.message


def test_an_adapter_takes_no_idle_pattern_and_a_fine_tune_no_idle_filter():
    """A LoRA rejects any pattern that matches no layer; a full fine-tune rejects only a filter without any match."""
    names = ("attn1.to_q", "ff.net")
    assert layers_to_train(names, "attn, ff", False, idle_allowed=False) == names
    for idle in ("attn, nonsense", "attn, attn1"):
        with pytest.raises(ConfigValueError, match=f"“{idle[6:]}” in Layer filter matches no layer"):
            layers_to_train(names, idle, False, idle_allowed=False)
        assert layers_to_train(names, idle, False, idle_allowed=True) == names[:1]
    with pytest.raises(ConfigValueError, match="“nonsense” in Layer filter matches no layer"):
        layers_to_train(names, "nonsense", False, idle_allowed=True)
