"""The facts that a checkout reports about itself."""

from __future__ import annotations

import os

import pytest

from onetrainer_gradio.backends.onetrainer.checkout import inspect
from onetrainer_gradio.backends.onetrainer.facts import CheckoutFacts, FieldFacts, compare_fields, read_facts
from onetrainer_gradio.errors import CheckoutError
from tests.backends.onetrainer.standin import behave, set_up

pytestmark = pytest.mark.slow


def facts_of(tmp_path, **settings: object) -> CheckoutFacts:
    return read_facts(inspect(set_up(tmp_path / "OneTrainer", **settings)), tmp_path / "cache")


def test_settings_types_methods_and_files_are_read_from_the_checkout(tmp_path):
    """Its Python reports types, defaults, choices, list elements, methods by model type, and its library of files."""
    facts = facts_of(tmp_path)
    assert facts.config_version == 11
    assert facts.fields["batch_size"] == FieldFacts(type="int", nullable=False, default=1)
    assert facts.fields["samples[].prompt"].type == "str"
    assert facts.fields["optimizer.weight_decay"].nullable
    assert "LORA" in facts.fields["training_method"].choices
    assert facts.enums["TimeUnit"][0] == "EPOCH"
    assert len(facts.model_types) == 29
    assert facts.methods["STABLE_DIFFUSION_XL_10_BASE"] == ("FINE_TUNE", "LORA", "EMBEDDING")
    assert "FINE_TUNE_VAE" in facts.methods["STABLE_DIFFUSION_15"]
    assert [path.name for path in facts.presets] == ["#stand-in LoRA.json"]
    assert facts.concept_files[0].is_absolute()
    assert facts.sample_files[0].name == "samples.json"
    assert facts.problem == ""


def test_the_same_settings_compare_as_equal(tmp_path):
    """A checkout of the supported revision has no differences."""
    comparison = compare_fields(facts_of(tmp_path))
    assert (dict(comparison.newer), comparison.lacking, dict(comparison.defaults)) == ({}, (), {})


def test_a_newer_checkout_reports_what_is_new_what_is_gone_and_what_changed(tmp_path):
    """The newer one has more settings, one less, another default, another model type, and a higher version."""
    facts = facts_of(tmp_path, newer=True)
    comparison = compare_fields(facts)
    assert comparison.newer["sharpness"] == FieldFacts(type="float", default=0.5)
    assert comparison.newer["trigger_words"] == FieldFacts(type="list[str]", default=["a photo"])
    assert comparison.newer["rules[].steps"] == FieldFacts(type="list[int]", default=[])
    assert {path: item.type for path, item in comparison.newer.items() if "[]" not in path} == {
        "sharpness": "float",
        "trigger_words": "list[str]",
        "tile_sizes": "list[int]",
        "units_shown": "list[TimeUnit]",
        "extra_arguments": "dict",
        "tag_weights": "dict[str, float]",
        "rules": "list[RuleConfig]",
    }
    assert comparison.lacking == ("force_circular_padding",)
    assert dict(comparison.defaults) == {"batch_size": (1, 3)}
    assert facts.model_types[-1] == "NEW_MODEL_9"
    assert facts.config_version == 12


def test_what_a_new_sample_begins_with_is_read_by_model_type(tmp_path):
    """The result has the values in which types differ, for each type; it is empty if the revision has no differences."""
    begins = facts_of(tmp_path, newer=True).sample_defaults
    assert begins["NEW_MODEL_9"] == {"width": 640, "diffusion_steps": 12, "negative_prompt": "grainy"}
    assert begins["SANA"] == {"width": 512, "diffusion_steps": 30, "negative_prompt": ""}
    assert facts_of(tmp_path / "older").sample_defaults == {}


@pytest.mark.exhaustive
def test_it_is_asked_once_per_state_of_its_modules(tmp_path):
    """The second reading starts no process; a changed module does."""
    folder = set_up(tmp_path / "OneTrainer")
    known = inspect(folder)
    first = read_facts(known, tmp_path / "cache")
    behave(folder, **{"import": "hang"})
    assert read_facts(known, tmp_path / "cache", timeout_s=1) == first
    module = folder / "modules" / "util" / "config" / "TrainConfig.py"
    module.write_text(module.read_text() + "\n")
    with pytest.raises(CheckoutError, match="didn't respond within 1 seconds"):
        read_facts(known, tmp_path / "cache", timeout_s=1)


def test_it_is_asked_again_when_its_libraries_change(tmp_path):
    """A run records their versions, so those from before an update would be wrong."""
    folder = set_up(tmp_path / "OneTrainer")
    libraries = folder / "venv" / "lib" / "python3.99" / "site-packages"
    libraries.mkdir(parents=True)
    known = inspect(folder)
    read_facts(known, tmp_path / "cache")
    read_facts(known, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (libraries / "torch-9.dist-info").mkdir()
    os.utime(libraries, (1, 1))
    read_facts(known, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_settings_are_known_even_where_the_trainer_cannot_be_imported(tmp_path):
    """The form works and the problem is reported; it isn't cached, so fixing it has an immediate effect."""
    folder = set_up(tmp_path / "OneTrainer", **{"import": "error"})
    known = inspect(folder)
    facts = read_facts(known, tmp_path / "cache")
    assert "libcudart" in facts.problem
    assert len(facts.fields) > 500
    behave(folder)
    assert read_facts(known, tmp_path / "cache").problem == ""


def test_a_checkout_whose_settings_do_not_load_reports_why(tmp_path):
    """A missing library of its environment is named."""
    folder = set_up(tmp_path / "OneTrainer")
    (folder / "modules" / "util" / "config" / "TrainConfig.py").write_text("import mgds_is_not_here\n")
    with pytest.raises(CheckoutError, match="lacks the library “mgds_is_not_here”"):
        read_facts(inspect(folder), tmp_path / "cache")
