"""The form shows what OneTrainer's UI shows, for each model type, method, adapter type and optimizer."""

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.catalog import CATALOGUE, choices_at, is_shown
from onetrainer_gradio.config.declarations.groups import GROUPS
from onetrainer_gradio.config.enums import ModelType, Optimizer, PeftType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.form import patch
from onetrainer_gradio.config.optimizers import AUXILIARY_PARAMETERS

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "onetrainer_controls.json").read_text())
SETS, CONTROLS = RECORDED["sets"], RECORDED["controls"]
TAB_OF = {group.key: group.tab for group in GROUPS}

# OneTrainer edits these in separate lists; the recording has single controls only
LISTS = {"concepts", "samples", "additional_embeddings"}
OFFERED = {path: entry for path, entry in CATALOGUE.items() if entry.offered and not entry.nested}
COMBINATIONS = [(name, method) for name, facts in MODELS.items() for method in facts.methods]


def theirs(model_type, method):
    """Return the paths that OneTrainer's UI shows."""
    return {
        path
        for path, control in CONTROLS.items()
        if ("types" not in control or model_type in SETS[control["types"]]) and method in control.get("methods", [method])
    }


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "method"), COMBINATIONS)
def test_each_combination_shows_what_onetrainer_shows(model_type, method):
    """Everything that OneTrainer shows is there, and additional settings are for experts."""
    shown = {path for path, entry in OFFERED.items() if entry.shown_for(model_type, method)}
    assert theirs(model_type, method) - shown == set()
    beyond = shown - theirs(model_type, method) - LISTS
    assert {path for path in beyond if OFFERED[path].setting.level != "expert"} == set()


def test_additional_embeddings_are_offered_where_words_can_be_learned():
    """OneTrainer hides that tab for types that don't support embeddings."""
    entry = CATALOGUE["additional_embeddings"]
    shown = {name for name in ModelType if entry.shown_for(name, TrainingMethod.LORA)}
    assert shown == set(SETS[RECORDED["with_embeddings"]])


def test_every_control_of_onetrainer_has_its_place_in_the_same_tab():
    """A user of OneTrainer finds a tab's settings in our tab of the same name."""
    assert set(CONTROLS) <= set(OFFERED)
    places = {path: TAB_OF[OFFERED[path].setting.group] for path in CONTROLS}
    assert places == {path: control["tab"] for path, control in CONTROLS.items()}


@pytest.mark.parametrize("adapter", list(PeftType))
def test_each_adapter_type_shows_its_own_settings(adapter):
    """The LoRA tab changes with the adapter type."""
    expected = {
        path for path, control in CONTROLS.items() if control["tab"] == "lora" and adapter in control.get("adapters", [adapter])
    }
    ours = {path: entry for path, entry in OFFERED.items() if TAB_OF[entry.setting.group] == "lora"}
    shown = {
        path
        for path, entry in ours.items()
        if "peft_type" not in entry.conditions or adapter in entry.conditions["peft_type"].values
    }
    assert shown == expected


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_each_optimizer_shows_exactly_its_parameters(optimizer):
    """Selecting an optimizer shows exactly its parameters; the only addition to OneTrainer's UI is Muon's Adam."""
    config = TrainConfig().model_copy(update={"optimizer": TrainConfig().optimizer.model_copy(update={"optimizer": optimizer})})
    shown = {path for path in OFFERED if path.startswith("optimizer.") and is_shown(config, path)}
    expected = {
        path
        for path, control in CONTROLS.items()
        if path.startswith("optimizer.") and ("optimizers" not in control or optimizer in SETS[control["optimizers"]])
    }
    adam = {"optimizer.muon_adam_config"} if optimizer in AUXILIARY_PARAMETERS else set()
    assert shown == expected | adam


def test_the_adam_of_muon_has_the_parameters_of_onetrainers_window():
    """Muon comes with plain Adam, its advanced variants with the larger parameter set."""
    for optimizer in ("MUON", "MUON_ADV"):
        expected = {name for name, optimizers in RECORDED["auxiliary"].items() if optimizer in optimizers}
        assert set(AUXILIARY_PARAMETERS[Optimizer(optimizer)]) == expected
    assert AUXILIARY_PARAMETERS[Optimizer.ADAMUON_ADV] == AUXILIARY_PARAMETERS[Optimizer.MUON_ADV]


def test_choices_are_onetrainers():
    """The values are the same in any order, plus two samplers that OneTrainer's code has and its UI doesn't list."""
    recorded = {path: set(control["choices"]) for path, control in CONTROLS.items() if "choices" in control}
    recorded["samples[].noise_scheduler"] |= {"DPMPP", "DPMPP_SDE"}
    assert {path: set(OFFERED[path].choices) for path in recorded} == recorded
    assert len(recorded) > 50


@pytest.mark.parametrize("path", [path for path, control in CONTROLS.items() if "choices_by_type" in control])
def test_choices_that_depend_on_the_type_are_onetrainers(path):
    """Layer presets and loss weight functions change with the model type."""
    for choices, number in CONTROLS[path]["choices_by_type"]:
        for name in SETS[number]:
            config = TrainConfig().model_copy(update={"model_type": ModelType(name)})
            assert set(choices_at(config, path)) == set(choices), name


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "method"), COMBINATIONS)
def test_methods_and_formats_follow_type_and_method(model_type, method):
    """A type has its methods, and both together the formats of the output file."""
    config = TrainConfig().model_copy(update={"model_type": model_type, "training_method": method})
    assert choices_at(config, "training_method") == MODELS[model_type].methods
    assert choices_at(config, "output_model_format") == MODELS[model_type].formats[method]


def test_conditions_of_list_elements_read_the_element_and_the_root():
    """A sample depends on the model type, a caption file on the caption source of the same concept."""
    config = patch.apply(TrainConfig(), {"samples": [{}], "concepts": [{}, {"text": {"prompt_source": "concept"}}]})
    assert [is_shown(config, f"concepts.{index}.text.prompt_path") for index in (0, 1)] == [False, True]
    assert not is_shown(config, "samples.0.frames")
    assert is_shown(patch.apply(config, {"model_type": "HUNYUAN_VIDEO"}), "samples.0.frames")
