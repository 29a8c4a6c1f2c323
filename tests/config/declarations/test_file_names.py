"""One table lists the settings that become part of a path, and one rule applies to them for every source of settings."""

from __future__ import annotations

import pytest

from onetrainer_gradio import backends
from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.bounds import out_of_bounds
from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.declarations.file_names import MAX_BYTES, fault, unusable_names
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.errors import ConfigInvalidError
from tests.config.preflight import findings, furnish

BECOME_NAMES = {
    "save_filename_prefix",
    "embedding.uuid",
    "embedding.placeholder",
    "additional_embeddings[].uuid",
    "additional_embeddings[].placeholder",
    "cloud.run_id",
}
"""Files of a run are called after these; what a prompt gives to a name is filtered letter by letter."""

BAD = {
    "up": "../../outside/x-",
    "two periods": "..",
    "absolute": "/tmp/x-",
    "separator": "a/b",
    "separator at the end": "a/",
    "Windows separator": "..\\x",
    "drive": "C:x",
    "null": "a\0b",
    "line end": "a\nb",
    "carriage return": "a\rb",
    "escape": "\x1b[0m",
    "C1": "a\x9bb",
    "hidden": ".unfinished-1-",
    "long": "x" * (MAX_BYTES + 1),
    "long in bytes": "ä" * (MAX_BYTES // 2 + 1),
    "surrogate": "a\ud800",
    "bytes of another encoding": "caf\udce9",
    "device": "CON",
    "device with extension": "nul.txt",
}
GOOD = ["", "cat-", "my run ", "<cat>", "<ß猫>", "a.b", "ends in a period.", "x" * MAX_BYTES, "0b4c-uuid", "console"]


def changed(path: str, value: str) -> tuple[str, dict]:
    """Return the setting's dotted path in a configuration, and the change that puts the value there."""
    if path.startswith("additional_embeddings[]."):
        name = path.rpartition(".")[2]
        return f"additional_embeddings.0.{name}", {"additional_embeddings": [{"placeholder": "<b>", "train": False, name: value}]}
    return path, {path: value}


def document(change: dict) -> dict:
    body: dict = {}
    for path, value in change.items():
        *parents, last = path.split(".")
        at = body
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return body


def test_the_table_is_the_declarations():
    """Adding a setting that becomes part of a path here is enough to apply the rule everywhere."""
    assert {path for path, entry in CATALOGUE.items() if entry.setting.file_name} == BECOME_NAMES


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.slow] * (path != "save_filename_prefix")) for path in sorted(BECOME_NAMES)]
)
def test_each_is_held_to_the_rule_wherever_it_comes_from(path, tmp_path):
    """A file is reported when opened, a change is rejected, and the check and both engines fail before the start."""
    place = furnish(tmp_path)
    for name, value in BAD.items():
        dotted, change = changed(path, value)
        opened, _ = from_document(document(change))
        assert [item.path for item in out_of_bounds(opened)] == [dotted], name
        with pytest.raises(ConfigInvalidError) as caught:
            apply(TrainConfig(), change)
        assert [item.path for item in caught.value.findings()] == [dotted], name
        assert dotted in [item.path for item in findings(place, change) if item.severity == "error"], name
        for backend in ("builtin", "onetrainer"):
            assert dotted in [item.path for item in backends.refusals(backend, opened)], name
    for value in GOOD:
        dotted, change = changed(path, value)
        assert list(unusable_names(from_document(document(change))[0])) == []


def test_a_fault_reports_what_is_wrong():
    """It names the character, the length, or the reserved name."""
    assert fault("../x") == "contains “/”"
    assert "bytes" in fault("x" * 300)
    assert "Windows" in fault("aux")
