"""The form's schema is derived from the declarations and matches them."""

import json
import re

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.catalog import CATALOGUE, NOT_OFFERED, in_form_order, reason
from onetrainer_gradio.config.declarations.groups import FIRST, GROUPS, TABS
from onetrainer_gradio.config.enums import ModelType, Optimizer, PeftType, TrainingMethod
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.form.schema import form_schema
from onetrainer_gradio.config.optimizers import OPTIMIZERS

SCHEMA = form_schema()


def properties(node=SCHEMA, prefix=""):
    for name, item in node["properties"].items():
        if "properties" in item:
            yield from properties(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item
            if item.get("x-kind") == "list":
                yield from properties(item["items"], f"{prefix}{name}[].")


PROPERTIES = dict(properties())


def test_every_path_is_offered_or_listed_with_a_reason():
    """Each of the 582 paths has either a place in the form or a reason why not."""
    offered = {path for path, entry in CATALOGUE.items() if entry.offered}
    listed = {path for path in CATALOGUE if reason(path)}
    assert len(CATALOGUE) == 582
    assert offered & listed == set()
    nested = {path for path, entry in CATALOGUE.items() if entry.nested}
    assert set(CATALOGUE) == offered | listed
    assert set(PROPERTIES) == offered - nested
    assert (len(offered), len(listed)) == (465, 117)


@pytest.mark.parametrize("expression", NOT_OFFERED)
def test_every_reason_is_needed(expression):
    """Each expression matches a path that is not in the form, and no path matches two."""
    matching = [path for path in CATALOGUE if re.fullmatch(expression, path)]
    assert matching
    for path in matching:
        assert [other for other in NOT_OFFERED if re.fullmatch(other, path)] == [expression]


def test_every_offered_setting_has_words_a_group_and_a_level():
    """Every setting in the form has a label, a help text of one or a few sentences, and an existing group."""
    groups = {group.key for group in GROUPS}
    for path, item in PROPERTIES.items():
        assert 0 < len(item["title"]) <= 60, path
        assert item["title"][0].isupper(), path
        assert 12 <= len(item["description"]) <= 220, path
        assert item["description"].endswith("."), path
        assert item["x-group"] in groups, path
        assert item["x-level"] in {"basic", "advanced", "expert"}, path


def test_every_group_has_settings_and_every_tab_groups():
    """No page of the form is empty, and the groups of a tab are adjacent."""
    assert {item["x-group"] for item in PROPERTIES.values()} == {group.key for group in GROUPS}
    tabs = [group["x-tab"] for group in SCHEMA["x-groups"]]
    assert list(dict.fromkeys(tabs)) == [tab.key for tab in TABS] == [tab["key"] for tab in SCHEMA["x-tabs"]]
    assert tabs == sorted(tabs, key=[tab.key for tab in TABS].index)


def test_a_group_of_list_elements_has_only_those():
    """The settings of a concept or sample are in separate groups."""
    of = {group["key"]: group.get("x-of", "") for group in SCHEMA["x-groups"]}
    for path, item in PROPERTIES.items():
        assert of[item["x-group"]] == (path.partition("[]")[0] if "[]" in path else ""), path


def titles(model_type, method, **fixed):
    """Return group and label of each setting that can be visible at the same time."""
    fixed = {"optimizer.optimizer" if path == "optimizer" else path: value for path, value in fixed.items()}
    return [
        (entry.setting.group, entry.title)
        for entry in CATALOGUE.values()
        if not entry.nested
        and entry.shown_for(model_type, method)
        and all(value in entry.conditions[path].values for path, value in fixed.items() if path in entry.conditions)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", list(ModelType))
def test_no_two_settings_of_a_group_have_the_same_label(model_type):
    """Settings that can be visible at the same time have different labels."""
    for adapter in PeftType:
        seen = titles(model_type, TrainingMethod.LORA, optimizer=Optimizer.ADAMW, peft_type=adapter)
        assert len(seen) == len(set(seen)), {place for place in seen if seen.count(place) > 1}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_no_two_parameters_of_an_optimizer_have_the_same_label(optimizer):
    """A label may have different meanings for different optimizers, but not for one."""
    seen = titles(ModelType.STABLE_DIFFUSION_15, TrainingMethod.LORA, optimizer=optimizer, peft_type=PeftType.LORA)
    assert len(seen) == len(set(seen)), {place for place in seen if seen.count(place) > 1}


def test_conditions_name_offered_settings_and_values_they_can_have():
    """A setting's visibility depends on an existing setting and its possible values."""
    for path, item in PROPERTIES.items():
        scope = f"{path.partition('[]')[0]}[]." if "[]" in path else ""
        for condition, values in item.get("x-shown", {}).items():
            other = PROPERTIES[condition[1:] if condition.startswith("/") else scope + condition]
            possible = other.get("enum", [True, False] if other["type"] == "boolean" else [])
            assert values, path
            assert set(values) <= set(possible), path
        assert set(item.get("x-shown-words", {})) <= set(item.get("x-shown", {})), path


def test_units_and_dependent_choices_point_at_offered_settings():
    """Units, choices and the keys that a preset writes refer to existing settings."""
    for path, item in PROPERTIES.items():
        scope = f"{path.partition('[]')[0]}[]." if "[]" in path else ""
        if "x-unit-of" in item:
            assert PROPERTIES[scope + item["x-unit-of"]]["enum"], path
        for other in item.get("x-choices-by", {}).get("by", []):
            assert other in PROPERTIES, path
        for other in item.get("x-writes", {}).values():
            assert other in PROPERTIES, path


def test_every_choice_has_words():
    """No choice is shown as an uppercase name, and no two have the same label."""
    for path, item in PROPERTIES.items():
        labels = [item.get("x-enum-labels", {}).get(value, value) for value in item.get("enum", []) if value is not None]
        assert len(labels) == len(set(labels)), path
        assert all(label and "_" not in label for label in labels), path


def test_defaults_are_the_configurations():
    """The schema's defaults equal those of a new configuration."""
    document = to_document(TrainConfig(), packed=True)
    for path, item in PROPERTIES.items():
        if "[]" in path or item.get("x-kind") == "secret":
            continue
        value = document
        for part in path.split("."):
            value = value[part]
        assert item["default"] == value, path


def test_what_is_drawn_again_has_no_default():
    """A new concept gets a separate seed from the server."""
    assert [path for path, item in PROPERTIES.items() if item.get("x-fresh")] == ["concepts[].seed"]
    assert "default" not in PROPERTIES["concepts[].seed"]


def test_secrets_are_marked_and_have_no_value():
    """Tokens and passwords can be written and not read, and their defaults are empty."""
    secret = {path for path, item in PROPERTIES.items() if path.startswith("secrets.")}
    assert secret == {path for path, item in PROPERTIES.items() if item.get("writeOnly")}
    assert secret == {path for path, item in PROPERTIES.items() if item.get("x-kind") == "secret"}


def test_optimizers_carry_their_defaults():
    """The form can set the 460 defaults by itself."""
    assert set(SCHEMA["x-optimizers"]) == {name.value for name in OPTIMIZERS}
    assert sum(len(item["defaults"]) for item in SCHEMA["x-optimizers"].values()) == 460
    assert SCHEMA["x-optimizers"]["PRODIGY"]["defaults"]["growth_rate"] == "inf"
    keys = PROPERTIES["optimizer.muon_adam_config"]["x-keys"]
    assert set(SCHEMA["x-optimizers"]["MUON_ADV"]["auxiliary"]) == set(keys)


def test_choosing_a_layer_preset_reports_what_it_writes():
    """The effective patterns are written together with the preset's name."""
    assert SCHEMA["x-layer-presets"]["QWEN"]["attn-mlp"] == {"layer_filter": "attn,img_mlp,txt_mlp", "layer_filter_regex": False}
    assert SCHEMA["x-layer-presets"]["Z_IMAGE"]["attn-only"]["layer_filter_regex"] is True
    assert PROPERTIES["quantization.layer_filter_preset"]["x-writes"]["layer_filter"] == "quantization.layer_filter"


def test_the_properties_are_in_the_order_of_the_form():
    """The most important settings come first in their group, and the rest follows the file's order."""
    assert list(PROPERTIES) == [entry.path for entry in in_form_order() if entry.offered and not entry.nested]
    assert [path for path in FIRST if path not in CATALOGUE] == []
    of_model = [path for path, item in PROPERTIES.items() if item["x-group"] == "model"]
    assert of_model[:3] == ["model_type", "training_method", "base_model_name"]


@pytest.mark.slow
def test_a_standard_validator_accepts_schema_and_configurations():
    """The dialect is 2020-12 throughout; a new configuration with each optimizer is valid, a wrong value is not."""
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for name, facts in OPTIMIZERS.items():
        lists = {"concepts": [{}], "samples": [{}], "additional_embeddings": [{}]}
        config, _ = from_document({"optimizer": {"optimizer": name.value, **facts.defaults}, **lists})
        assert validator.is_valid(to_document(config, packed=True)), name
    for wrong in ({"learning_rate": 0}, {"unet": {"weight_dtype": "GGUF"}}, {"samples": [{"width": 3}]}, {"resolution": "big"}):
        assert not validator.is_valid(wrong), wrong


def test_the_schema_is_plain_json_and_not_too_large():
    """It is sent to every page: below 240 kB, with no value that JSON can't represent."""
    assert len(json.dumps(SCHEMA, allow_nan=False, separators=(",", ":"))) < 240_000
