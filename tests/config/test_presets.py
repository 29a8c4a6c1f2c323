"""Every preset that comes along can be loaded and is what the panel can run."""

import pytest

from onetrainer_gradio.config.bounds import out_of_bounds
from onetrainer_gradio.config.documents import from_document
from onetrainer_gradio.config.models import output_formats
from onetrainer_gradio.config.presets import load_preset, preset_files
from onetrainer_gradio.errors import ConfigNotFoundError


@pytest.mark.parametrize("name", sorted(preset_files()))
def test_a_preset_has_no_unknown_keys_and_fits_its_bounds(name):
    """A preset is readable without a warning, and its output format fits its method."""
    config, findings = from_document(load_preset(name))
    assert findings == ()
    assert list(out_of_bounds(config)) == []
    assert config.output_model_format in output_formats(config.model_type, config.training_method)


def test_an_unknown_preset_names_the_known_ones():
    """The error lists what there is."""
    with pytest.raises(ConfigNotFoundError) as caught:
        load_preset("nothing")
    assert all(name in caught.value.expected for name in preset_files())
