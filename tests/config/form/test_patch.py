"""A change to the settings is applied completely or not at all and reports what is invalid."""

import time

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.form import patch
from onetrainer_gradio.errors import ConfigInvalidError


def test_values_are_set_by_dotted_path_and_normalized():
    """Nested objects, list elements and whole lists can be changed; text becomes a number."""
    config, _ = from_document({"concepts": [{"name": "a"}]})
    changed = patch.apply(
        config, {"learning_rate": "1e-4", "unet.train": False, "concepts.0.path": "/x", "samples": [{"prompt": "p"}]}
    )
    assert (changed.learning_rate, changed.unet.train, changed.concepts[0].path) == (1e-4, False, "/x")
    assert changed.samples[0].prompt == "p"
    assert changed.concepts[0].seed == config.concepts[0].seed


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"learnig_rate": 1}, "learnig_rate", "learning_rate"),
        ({"learning_rate": -1}, "learning_rate", "more than 0"),
        ({"epochs": "x"}, "epochs", "whole number"),
        ({"concepts.3.path": "x"}, "concepts.3.path", ""),
        ({"output_dtype": "INT_8"}, "output_dtype", "float16"),
        ({"epochs": None}, "epochs", "whole number"),
        ({"learning_rate": float("nan")}, "learning_rate", "more than 0"),
    ],
)
def test_what_does_not_fit_is_rejected_with_path_and_remedy(changes, path, words):
    """Unknown paths, wrong types and values out of bounds each name the location and what to do."""
    with pytest.raises(ConfigInvalidError) as caught:
        patch.apply(TrainConfig(), changes)
    (finding,) = caught.value.all_findings
    assert finding.path == path
    assert words in finding.suggestion


def test_one_bad_change_changes_nothing_and_secrets_stay():
    """The valid half of an invalid change is not applied; a token survives a valid one."""
    config, _ = from_document({"secrets": {"huggingface_token": "t"}})
    with pytest.raises(ConfigInvalidError):
        patch.apply(config, {"epochs": 3, "batch_size": 0})
    assert patch.apply(config, {"epochs": 3}).secrets.huggingface_token == "t"


@pytest.mark.alone
@pytest.mark.parametrize("path", ["concepts.²", "concepts.٣.path", "concepts.99999999999999999999.path", "a." * 50_000, "", "."])
def test_a_strange_path_is_no_setting_and_is_reported_soon(path):
    """This covers invalid digits, endless numbers, and names of any length."""
    started = time.monotonic()
    with pytest.raises(ConfigInvalidError, match="isn't a setting") as caught:
        patch.apply(TrainConfig(), {path: 1, **{f"nothing_{number}": 1 for number in range(500)}})
    assert time.monotonic() - started < 3
    assert all(len(finding.message) < 200 and finding.suggestion for finding in caught.value.findings())
