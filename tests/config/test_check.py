"""The check before the start says everything that would fail later, with the setting to change."""

import pytest

from onetrainer_gradio.config import TrainConfig, patch
from onetrainer_gradio.config.check import check
from onetrainer_gradio.config.documents import from_document


@pytest.fixture
def place(tmp_path):
    """A base folder with a model and two pictures, one of them captioned."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "b.png", "a.txt", "a-masklabel.png"):
        (pictures / name).write_bytes(b"")
    return tmp_path


GOOD = {
    "training_method": "LORA",
    "base_model_name": "model",
    "output_model_format": "KOHYA_LORA",
    "train_dtype": "FLOAT_32",
    "train_device": "cpu",
    "concepts": [{"name": "cats", "path": "pictures"}],
    "samples": [{"prompt": "a cat"}],
}


def findings(place, changes=None, **kwargs):
    config, _ = from_document(GOOD)
    return check(patch.apply(config, changes or {}) if changes else config, base_folder=place, **kwargs)


def test_good_settings_have_no_errors_and_missing_captions_are_a_warning(place):
    """Two pictures with one caption: a warning that names the first picture without."""
    (warning,) = findings(place)
    assert (warning.severity, warning.path) == ("warning", "concepts.0.path")
    assert "1 of 2" in warning.message
    assert "b.png" in warning.message


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"unet.train": False, "text_encoder.train": False}, "unet.train"),
        ({"output_model_format": "DIFFUSERS"}, "output_model_format"),
        ({"output_model_destination": ""}, "output_model_destination"),
        ({"output_model_destination": "x.bin"}, "output_model_destination"),
        ({"base_model_name": ""}, "base_model_name"),
        ({"base_model_name": "/nowhere"}, "base_model_name"),
        ({"base_model_name": "pictures"}, "base_model_name"),
        ({"concepts": []}, "concepts"),
        ({"concepts.0.enabled": False}, "concepts"),
        ({"concepts.0.path": ""}, "concepts.0.path"),
        ({"concepts.0.path": "nowhere"}, "concepts.0.path"),
        ({"concepts.0.path": "model"}, "concepts.0.path"),
        ({"concepts.0.text.prompt_source": "concept"}, "concepts.0.text.prompt_path"),
        ({"batch_size": 3}, "batch_size"),
        ({"resolution": "big"}, "resolution"),
        ({"resolution": "4"}, "resolution"),
        ({"samples.0.width": 100}, "samples.0.width"),
        ({"continue_last_backup": True}, "continue_last_backup"),
    ],
)
def test_what_would_fail_later_is_an_error_at_its_setting(place, changes, path):
    """Each refusal names one setting and what to change there."""
    errors = [finding for finding in findings(place, changes) if finding.severity == "error"]
    assert [error.path for error in errors] == [path]
    assert errors[0].expected
    assert errors[0].change


def test_an_existing_output_is_a_warning_or_an_error_as_the_settings_say(place):
    """Overwriting is said, and refused where files are protected."""
    (place / "out.safetensors").write_bytes(b"x")
    for protect, severity in ((False, "warning"), (True, "error")):
        changes = {"output_model_destination": "out.safetensors", "prevent_overwrites": protect}
        found = {finding.path: finding.severity for finding in findings(place, changes)}
        assert found["output_model_destination"] == severity


def test_paths_outside_the_allowed_folders_are_errors(place, tmp_path_factory):
    """With roots, a path that leads elsewhere is refused, also through a link."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c.png").write_bytes(b"")
    (place / "link").symlink_to(elsewhere)
    for path in (str(elsewhere), "link", "../" + elsewhere.name):
        errors = [f.path for f in findings(place, {"concepts.0.path": path}, roots=[place]) if f.severity == "error"]
        assert errors == ["concepts.0.path"]
    assert not [f for f in findings(place, roots=[place]) if f.severity == "error"]


def test_the_default_configuration_says_why_it_cannot_start(place):
    """The very defaults are checked without a crash and name what is missing."""
    paths = {finding.path for finding in check(TrainConfig(), base_folder=place) if finding.severity == "error"}
    assert {"concepts", "output_model_format"} <= paths
