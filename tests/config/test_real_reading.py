"""OneTrainer reads what we write and writes the same, tested with a checkout and its environment.

Skipped unless ``ONETRAINER_PATH`` names one: ``ONETRAINER_PATH=~/OneTrainer pytest tests/config/test_real_reading.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.backends.onetrainer.checkout import PATH_VARIABLE, inspect
from onetrainer_gradio.config import ConceptConfig, SampleConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.families.sample_defaults import SAMPLE_DEFAULTS
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.presets import load_preset, preset_files
from onetrainer_gradio.config.optimizers import OPTIMIZERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PATH_VARIABLE not in os.environ, reason=f"{PATH_VARIABLE} names no checkout of OneTrainer"),
]

# Reads [document, whether its version counts] pairs, writes [settings form, packed form, printed output] for each.
READER = """
import contextlib, io, json, os, sys
sys.path[0] = os.getcwd()
from modules.util.config.TrainConfig import TrainConfig
answers = []
for document, migrate in json.load(open(sys.argv[1])):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        config = TrainConfig.default_values().from_dict(document, migrate=migrate)
        packed = config.to_pack_dict(secrets=False) if config.concepts is not None and config.samples is not None else None
        answers.append([config.to_settings_dict(secrets=False), packed, printed.getvalue()])
json.dump(answers, open(sys.argv[2], "w"))
"""


# Writes a new sample of each model type.
BEGINNER = """
import json, os, sys
sys.path[0] = os.getcwd()
from modules.util.config.SampleConfig import SampleConfig
from modules.util.enum.ModelType import ModelType
json.dump({str(each): SampleConfig.default_values(each).to_dict() for each in ModelType}, open(sys.argv[1], "w"))
"""


def read_by_onetrainer(folder: Path, asked: list[tuple[dict[str, Any], bool]]) -> list[list[Any]]:
    """Return OneTrainer's settings form, packed form and printed output for each document."""
    checkout = inspect(Path(os.environ[PATH_VARIABLE]))
    assert checkout.usable, checkout.problems
    (folder / "asked.json").write_text(json.dumps(asked))
    command = [str(checkout.python), "-c", READER, str(folder / "asked.json"), str(folder / "answers.json")]
    subprocess.run(command, cwd=checkout.folder, check=True, timeout=300, stdout=subprocess.DEVNULL)
    answers: list[list[Any]] = json.loads((folder / "answers.json").read_text())
    return answers


def differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """Return the paths whose values or order differ, with both values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        found = [line for key in keys for line in differences(theirs.get(key, ...), ours.get(key, ...), f"{path}.{key}")]
        return found or ([f"{path}: order"] if list(theirs) != list(ours) else [])
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [line for place, (a, b) in pairs for line in differences(a, b, f"{path}[{place}]")]
    return [] if type(theirs) is type(ours) and theirs == ours else [f"{path}: {theirs!r} there, {ours!r} here"]


def test_files_of_every_type_method_and_optimizer_are_read_as_written(tmp_path: Path) -> None:
    """Both forms of every combination, and of every optimizer with its values, come back from OneTrainer key for key."""
    lists = {"concepts": [{"name": "a", "path": "/a"}, {}], "samples": [{"prompt": "b"}], "additional_embeddings": [{}]}
    documents: list[dict[str, Any]] = [
        {"model_type": model_type.value, "training_method": str(method), **lists}
        for model_type, model in MODELS.items()
        for method in model.methods
    ]
    documents += [{"optimizer": {"optimizer": name.value, **OPTIMIZERS[name].defaults}, **lists} for name in Optimizer]
    written = [from_document(document)[0] for document in documents]
    forms = [[to_document(config, packed=packed) for packed in (False, True)] for config in written]
    answers = read_by_onetrainer(tmp_path, [(form, True) for both in forms for form in both])
    assert len(documents) == 88 + len(Optimizer)
    for both, of_settings, of_packed in zip(forms, answers[::2], answers[1::2], strict=True):
        assert (of_settings[2], of_packed[2]) == ("", "")
        assert differences(of_settings[0], both[0]) == []
        assert differences(of_packed[1], both[1]) == []
        assert to_document(from_document(of_packed[1])[0], packed=True) == of_packed[1]


def test_every_preset_means_there_what_it_means_here(tmp_path: Path) -> None:
    """A preset of either side is an overlay, which OneTrainer reads regardless of versions."""
    presets = {name: load_preset(name) for name in preset_files()}
    theirs = sorted((Path(os.environ[PATH_VARIABLE]) / "training_presets").rglob("*.json"))
    presets |= {str(path): json.loads(path.read_text()) for path in theirs}
    same_uuid = [preset | {"embedding": preset.get("embedding", {}) | {"uuid": "u"}} for preset in presets.values()]
    answers = read_by_onetrainer(tmp_path, [(preset, False) for preset in same_uuid])
    assert len(theirs) > 20
    for name, preset, (settings, _, messages) in zip(presets, same_uuid, answers, strict=True):
        assert messages == "", name
        config, findings = from_document(preset)
        unknown = {finding.path for finding in findings}  # settings of older revisions, which only we keep
        here = {key: value for key, value in to_document(config, packed=False).items() if key not in unknown}
        assert differences(settings, here) == [], name


def test_concepts_and_samples_have_their_defaults(tmp_path: Path) -> None:
    """A new concept and a new sample equal OneTrainer's."""
    ours = from_document({})[0].model_copy(update={"concepts": (ConceptConfig(seed=7),), "samples": (SampleConfig(),)})
    [[_, packed, _]] = read_by_onetrainer(
        tmp_path, [({"__version": 11, "concepts": [{"__version": 2, "seed": 7}], "samples": [{}]}, True)]
    )
    here = to_document(ours, packed=True)
    assert differences(packed["concepts"], here["concepts"]) == []
    assert differences(packed["samples"], here["samples"]) == []


def test_new_samples_begin_as_in_its_window(tmp_path: Path) -> None:
    """Size, steps, CFG scale and sampler of every model type are equal."""
    checkout = inspect(Path(os.environ[PATH_VARIABLE]))
    command = [str(checkout.python), "-c", BEGINNER, str(tmp_path / "answers.json")]
    subprocess.run(command, cwd=checkout.folder, check=True, timeout=300, stdout=subprocess.DEVNULL)
    theirs = json.loads((tmp_path / "answers.json").read_text())
    for name, begins in SAMPLE_DEFAULTS.items():
        assert {key: theirs[name.value][key] for key in begins} == begins, name
