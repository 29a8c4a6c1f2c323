"""Retired values in old files open as in OneTrainer."""

import pytest

from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.retired import RETIRED_NAMES
from onetrainer_gradio.errors import ConfigInvalidError


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in RETIRED_NAMES.items() for name in names])
def test_a_dropped_name_gives_way_to_the_default_and_is_reported(path, name):
    """An old file opens although one of its names was removed, and the change is reported."""
    document = name
    for part in reversed(path.split(".")):
        document = {part: document}
    config, findings = from_document({"__version": 5, **document})
    default, _ = from_document({"__version": 5})
    assert to_document(config, packed=True) == to_document(default, packed=True) | {
        "embedding": to_document(config, packed=True)["embedding"]
    }
    assert [(f.severity, f.path, f.value) for f in findings] == [("warning", path, name)]


def test_empty_switches_of_the_first_files_are_off():
    """The first version wrote null for switches of other optimizers; they are read as off, with a single report."""
    config, findings = from_document(
        {
            "optimizer": "ADAM",
            "optimizer_nesterov": None,
            "optimizer_centered": None,
            "optimizer_amsgrad": None,
            "optimizer_fused": None,
            "optimizer_beta1": None,
        }
    )
    assert (config.optimizer.nesterov, config.optimizer.centered, config.optimizer.amsgrad) == (False, False, False)
    assert config.optimizer_defaults["ADAM"].nesterov is False
    about = [finding for finding in findings if finding.severity == "note"]
    assert [finding.path for finding in about] == ["optimizer.nesterov"]
    assert "8 switches" in about[0].message


def test_null_is_still_wrong_where_it_means_nothing():
    """Only switches are read that way: a missing number is an error of the file."""
    with pytest.raises(ConfigInvalidError, match="Learning rate must be a number, not null"):
        from_document({"__version": 11, "learning_rate": None})
