"""Bounds equal OneTrainer's where it has some, and allow every value that it uses itself."""

import json
import math
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.bounds import expectation, out_of_bounds
from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.enums import ModelType, Optimizer
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.errors import ConfigInvalidError

CONTROLS = json.loads((Path(__file__).parents[2] / "fixtures" / "onetrainer_controls.json").read_text())["controls"]


def findings(document):
    config, _ = from_document(document)
    return {finding.path: finding for finding in out_of_bounds(config)}


@pytest.mark.parametrize("path", [path for path, control in CONTROLS.items() if "range" in control])
def test_ranges_are_onetrainers(path):
    """Where OneTrainer's UI has a range, ours is the same."""
    setting = CATALOGUE[path].setting
    assert [setting.ge, setting.le if path != "lora_rank" else None] == CONTROLS[path]["range"]


@pytest.mark.parametrize("path", [path for path, control in CONTROLS.items() if control.get("required")])
def test_what_onetrainer_requires_cannot_be_empty(path):
    """A required text needs at least one character, and a required number can't be omitted."""
    entry = CATALOGUE[path]
    assert entry.setting.required or entry.annotation in (int, float)


@pytest.mark.parametrize("model_type", list(ModelType))
def test_the_defaults_are_in_bounds_for_every_type(model_type):
    """A new configuration has errors only for what the user has to choose."""
    assert findings({"model_type": model_type.value}) == {}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_the_defaults_of_every_optimizer_are_in_bounds(optimizer):
    """This includes infinite growth and negative decay rates."""
    defaults = {key: "inf" if value == math.inf else value for key, value in OPTIMIZERS[optimizer].defaults.items()}
    assert findings({"optimizer": {"optimizer": optimizer.value, **defaults}}) == {}


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"learning_rate": 0}, "learning_rate", "a number, more than 0 and at most 100"),
        ({"ema_decay": 0.2}, "ema_decay", "a number, at least 0.5 and at most 1"),
        ({"optimizer": {"beta1": 1}}, "optimizer.beta1", "a number, at least 0 and less than 1"),
        ({"output_dtype": "INT_8"}, "output_dtype", "one of FLOAT_16, FLOAT_32, BFLOAT_16, FLOAT_8, NFLOAT_4"),
        ({"unet": {"weight_dtype": "GGUF"}}, "unet.weight_dtype", "one of FLOAT_32, BFLOAT_16"),
        ({"concepts": [{}, {"loss_weight": -1}]}, "concepts.1.loss_weight", "a number, at least 0"),
        ({"unet": {"stop_training_after_unit": "HOUR"}}, "unet.stop_training_after_unit", "one of "),
    ],
)
def test_a_value_out_of_bounds_is_rejected_with_what_was_expected(document, path, expected):
    """The finding names the path and the bounds or choices."""
    found = findings(document)
    assert list(found) == [path]
    assert found[path].expected.startswith(expected)


def test_choices_count_only_where_the_setting_applies():
    """A component that the model doesn't have may have any value; negative numbers are valid where they have a meaning."""
    assert findings({"transformer": {"weight_dtype": "TFLOAT_32"}}) == {}
    assert findings({"noising_bias": -0.5, "lokr_decompose_factor": -1, "optimizer": {"decay_rate": -0.8}}) == {}


def test_a_title_distinguishes_components():
    """In the list of data types, each line names its component."""
    assert CATALOGUE["unet.weight_dtype"].title == "UNet: weight data type"
    assert CATALOGUE["unet.train"].title == "Train"
    assert expectation(CATALOGUE["unet.train"]) == ""


def test_the_whole_default_configuration_is_in_bounds():
    """Every declared default satisfies its own declaration."""
    assert list(out_of_bounds(TrainConfig())) == []


def test_what_is_no_number_is_rejected_with_the_bounds():
    """It is rejected when it is read, and the finding contains the bounds."""
    with pytest.raises(ConfigInvalidError) as caught:
        from_document({"clip_grad_norm": math.nan})
    (finding,) = caught.value.all_findings
    assert (finding.path, finding.expected) == ("clip_grad_norm", "a number, at least 0")
