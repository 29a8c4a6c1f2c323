"""The configuration equals OneTrainer's: every path, type, default and enum as recorded from version 11.

Covers ``config/declarations/``.
"""

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig, enums
from onetrainer_gradio.config.declarations.setting import Settings
from onetrainer_gradio.config.declarations.walk import element_class, fields_of, is_nullable, settings_class, without_none

FIXTURES = Path(__file__).parent.parent / "fixtures"
FIELDS = {row[0]: row[1:] for row in json.loads((FIXTURES / "onetrainer_fields.json").read_text())}
ENUMS = json.loads((FIXTURES / "onetrainer_enums.json").read_text())


def described(kind: type[Settings], default: Settings, prefix: str = ""):
    """Return rows (path, annotation, nullable, default) of a class in the recording's format."""
    for name, field in fields_of(kind).items():
        path = f"{prefix}{name}"
        value = getattr(default, name)
        yield path, field.annotation, value
        if nested := settings_class(field.annotation):
            yield from described(nested, value, f"{path}.")
        elif element := element_class(field.annotation):
            yield from described(element, element(), f"{path}[].")


OURS = {path: (annotation, value) for path, annotation, value in described(TrainConfig, TrainConfig())}


def test_the_582_paths_are_exactly_onetrainers():
    """No path is missing and none is added."""
    assert set(OURS) == set(FIELDS)
    assert len(OURS) == 582


@pytest.mark.parametrize("owner", sorted({path.rpartition(".")[0] for path in FIELDS}))
def test_types_nullability_and_defaults(owner):
    """Each path below an object has the recorded type, nullability and default."""
    for path in FIELDS:
        if path.rpartition(".")[0] == owner:
            compare(path)


def compare(path):
    """Compare one path with the recording."""
    kind, nullable, default = FIELDS[path]
    annotation, value = OURS[path]
    assert is_nullable(annotation) == nullable, path
    bare = without_none(annotation)
    names = {"int": int, "float": float, "bool": bool, "str": str}
    if kind in names:
        assert bare is names[kind], path
    elif kind in ENUMS:
        assert bare.__name__ == kind, path
    if isinstance(default, dict) and ("$dynamic" in default or "$config" in default):
        return
    assert json.loads(json.dumps(value, default=list)) == default, path


def test_every_enum_has_the_recorded_members():
    """29 enums, 201 members, each with its name as value."""
    ours = {
        name: [m.value for m in kind]
        for name, kind in vars(enums).items()
        if isinstance(kind, type) and issubclass(kind, enums.Name) and kind is not enums.Name
    }
    assert ours == ENUMS
    assert sum(map(len, ours.values())) == 201
