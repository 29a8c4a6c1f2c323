"""The form's schema is derived from the declarations and holds for them."""

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.documents import to_document
from onetrainer_gradio.config.groups import GROUPS
from onetrainer_gradio.config.schema import form_schema

SCHEMA = form_schema()


def properties(node=SCHEMA, prefix=""):
    for name, item in node["properties"].items():
        if "properties" in item:
            yield from properties(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item
            if "items" in item:
                yield from properties(item["items"], f"{prefix}{name}[].")


def test_every_offered_setting_has_label_help_group_and_level():
    """Nothing in the form is without words, and each group exists."""
    groups = {group.key for group in GROUPS}
    for path, item in properties():
        assert item["title"], path
        assert len(item["description"]) > 5, path
        assert item["x-group"] in groups, path


def test_every_group_has_settings():
    """No empty page in the form."""
    assert {item["x-group"] for _, item in properties()} == {group.key for group in GROUPS}


def test_conditions_and_units_point_at_offered_settings():
    """A setting is shown because of another one that exists."""
    paths = {path for path, _ in properties()}
    for path, item in properties():
        scope = path.rpartition("[].")[0]
        for condition in item.get("x-shown", {}):
            assert (f"{scope}[].{condition}" if scope else condition) in paths, path
        if "x-unit-of" in item:
            assert item["x-unit-of"] in paths or f"{scope}[].{item['x-unit-of']}" in paths, path


def test_defaults_are_the_configurations():
    """The schema's defaults are what a fresh configuration holds."""
    document = to_document(TrainConfig(), packed=True)
    for path, item in properties():
        if "[]" in path or "default" not in item:
            continue
        value = document
        for part in path.split("."):
            value = value[part]
        assert item["default"] == value, path
