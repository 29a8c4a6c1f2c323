"""Names of other trainers lead to the settings."""

import pytest

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.form.aliases import ALIASES, aliases


@pytest.mark.parametrize("path", ALIASES)
def test_every_alias_belongs_to_a_setting_of_the_form(path):
    """A path is in the form, one that begins with a dot in several components; names are lower case and listed once."""
    paths = [path] if not path.startswith(".") else [each for each in CATALOGUE if each.count(".") == 1 and each.endswith(path)]
    offered = [each for each in paths if CATALOGUE[each].offered]
    assert offered if path.startswith(".") else offered == [path]
    names = ALIASES[path]
    assert names
    assert len(set(names)) == len(names)
    assert all(name == name.lower().strip() for name in names)


def test_a_component_has_its_own_and_the_shared_names():
    """The learning rate of the UNet is found as ``unet_lr`` and ``lr``; the setting of the whole run has only its own names."""
    assert aliases("unet.learning_rate") == ("unet_lr", "lr")
    assert "unet_lr" not in aliases("learning_rate")
    assert aliases("optimizer.beta1") == ()
