"""Reading and writing configurations loses nothing and reports what was not understood.

Covers ``config/suggestions.py``.
"""

import json
import time

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import from_document, parse, read_file, read_json_list, to_document, write_file
from onetrainer_gradio.errors import ConfigFileError, ConfigInvalidError


def test_what_is_written_is_read_back_equal():
    """A configuration survives a round trip through its document."""
    config, findings = from_document(
        {"learning_rate": 1e-4, "concepts": [{"name": "cats", "path": "/cats"}], "unet": {"train": False}}
    )
    again, more = from_document(json.loads(json.dumps(to_document(config, packed=True))))
    assert again == config
    assert not findings
    assert not more


def test_a_partial_document_is_merged_with_the_defaults():
    """An omitted key keeps the default of its location, not that of its class."""
    config, _ = from_document({"unet": {"learning_rate": 0.5}, "text_encoder": {"train": False}})
    assert config.unet.stop_training_after == 0
    assert config.text_encoder.stop_training_after == 30
    assert config.unet.learning_rate == 0.5


def test_unknown_keys_are_kept_and_reported_with_the_nearest_name():
    """A misspelled or newer key is never silently dropped."""
    config, findings = from_document({"lerning_rate": 1, "concepts": [{"pth": "x"}]})
    assert [(f.severity, f.path) for f in findings] == [("warning", "lerning_rate"), ("warning", "concepts.0.pth")]
    assert "learning_rate" in findings[0].suggestion
    document = to_document(config, packed=True)
    assert document["lerning_rate"] == 1
    assert document["concepts"][0]["pth"] == "x"


def test_every_wrong_value_is_named_with_its_path():
    """An invalid document gives one finding per location, and none hides another."""
    with pytest.raises(ConfigInvalidError) as caught:
        from_document({"epochs": "many", "unet": {"train": 7}, "train_dtype": "float 17", "optimizer": {"beta1": []}})
    assert {f.path for f in caught.value.all_findings} == {"epochs", "unet.train", "train_dtype", "optimizer.beta1"}
    assert all(f.expected and f.suggestion for f in caught.value.all_findings)


def test_a_name_of_a_newer_onetrainer_is_kept_and_reported():
    """An unknown model type or data type survives reading and writing; the nearest known name is suggested."""
    config, findings = from_document({"model_type": "MODEL_OF_NEXT_YEAR", "train_dtype": "FLOAT_17"})
    assert (config.model_type.value, config.model_type.known) == ("MODEL_OF_NEXT_YEAR", False)
    assert {(finding.path, finding.severity) for finding in findings} == {("model_type", "warning"), ("train_dtype", "warning")}
    assert "FLOAT_16" in next(finding.suggestion for finding in findings if finding.path == "train_dtype")
    again, _ = from_document(to_document(config, packed=True))
    assert again == config


def test_secrets_never_reach_a_document():
    """A token in the configuration is in neither form of the document."""
    config, (warning,) = from_document({"secrets": {"huggingface_token": "hf_secret"}})
    assert (warning.path, warning.severity) == ("secrets.huggingface_token", "warning")
    assert "hf_secret" not in repr(warning)
    assert "System" in warning.suggestion
    assert config.secrets.huggingface_token == "hf_secret"
    for packed in (True, False):
        assert "hf_secret" not in json.dumps(to_document(config, packed=packed))


def test_the_settings_form_carries_no_lists():
    """Only the packed form contains concepts and samples."""
    config, _ = from_document({"concepts": [{"name": "a"}]})
    assert to_document(config, packed=False)["concepts"] is None
    assert to_document(config, packed=True)["concepts"][0]["name"] == "a"


def test_versions_are_written_and_a_newer_one_is_reported():
    """Each object has OneTrainer's version; a newer file opens with a warning."""
    document = to_document(from_document({"concepts": [{}]})[0], packed=True)
    assert (document["__version"], document["concepts"][0]["__version"], document["unet"]["__version"]) == (11, 2, 0)
    _, findings = from_document({"__version": 12})
    assert [f.path for f in findings] == ["__version"]


def test_files_are_written_whole_and_read_with_clear_errors(tmp_path):
    """A failed write keeps the old file; invalid JSON and a non-object have different errors."""
    path = tmp_path / "deep" / "config.json"
    write_file(path, {"a": 1})
    with pytest.raises(TypeError):
        write_file(path, {"a": object()})
    assert read_file(path) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["config.json"]
    for text, words in (("{", "isn't valid JSON"), ("[1]", "JSON list")):
        with pytest.raises(ConfigFileError, match=words):
            parse(text, name="x.json")
    with pytest.raises(ConfigFileError, match="Can't read"):
        read_file(tmp_path / "missing.json")


def test_a_configuration_is_frozen():
    """A run's settings can't change while it is running."""
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().epochs = 3


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    """Editors on Windows write one; it isn't part of the settings."""
    path = tmp_path / "config.json"
    path.write_bytes(b'\xef\xbb\xbf{"epochs": 3}')
    assert read_file(path) == {"epochs": 3}
    path.write_bytes(b'\xef\xbb\xbf[{"name": "cats"}]')
    assert read_json_list(path) == [{"name": "cats"}]


def test_a_list_that_is_nested_without_end_is_no_list(tmp_path):
    """It is rejected by name like any other unreadable file."""
    path = tmp_path / "concepts.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigFileError, match=r"concepts\.json"):
        read_json_list(path)


@pytest.mark.parametrize("deep", ['{"epochs": ' + "[" * 100 + "]" * 100 + "}", '{"x": ' + '{"a":' * 300 + "1" + "}" * 301])
def test_a_document_nested_too_deeply_is_an_error_at_its_key(deep):
    """It can be read, but neither saved nor shown."""
    document = json.loads(deep)
    with pytest.raises(ConfigInvalidError, match="nested in more than 60 levels") as caught:
        from_document(document)
    assert [finding.path for finding in caught.value.findings()] == list(document)


@pytest.mark.slow
@pytest.mark.alone
def test_thousands_of_unknown_keys_are_counted_and_do_not_take_long():
    """The first ones are named; all are kept."""
    started = time.monotonic()
    config, findings = from_document({f"strange_{number}": number for number in range(20_000)} | {"k" * 50_000: 1})
    assert time.monotonic() - started < 5
    assert len(findings) == 101
    assert "19901 more keys" in findings[-1].message
    assert len(config.model_extra) == 20_001
