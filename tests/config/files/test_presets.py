"""Every included preset can be loaded, fits its GPU, and can start if images and a model exist."""

import json
import re
from pathlib import Path

import pytest

from onetrainer_gradio.config.check import check
from onetrainer_gradio.config.enums import ModelType, Optimizer, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.presets import (
    FORMER_NAMES,
    OWN_KEYS,
    describe,
    load_preset,
    nearest,
    overview,
    preset_files,
    presets,
    read_preset,
)
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.config.machine import GIGABYTE, Gpu, Machine
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.errors import ConfigNotFoundError
from tests.config.preflight import READER, furnish, write_adapter

DOCS = Path(__file__).parents[3] / "docs"
PRESETS = {preset.name: preset for preset in presets()}
OURS = {name: preset for name, preset in PRESETS.items() if preset.family}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images large enough for every preset, a model, and a file for a component that has to be downloaded."""
    folder = furnish(tmp_path_factory.mktemp("presets"), images=8, size=(1024, 1024))
    (folder / "models").mkdir()
    write_adapter(folder / "models" / "effnet_encoder.safetensors", ["backbone.0.weight"])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_read_without_a_word(name):
    """There are no unknown keys, no values out of bounds, and no keys that only the preset has."""
    _, findings = from_document(PRESETS[name].document)
    assert findings == ()
    assert not set(PRESETS[name].document) & set(OWN_KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OURS))
def test_a_preset_starts_on_its_card_and_survives_the_round_trip(place, name):
    """With images and the base model, the check has no findings on a GPU with exactly the preset's VRAM."""
    preset = OURS[name]
    assert preset.memory_gb
    config, _ = from_document(preset.document)
    there = {
        "base_model_name": "model",
        "train_device": "cuda",
        "concepts": [{"path": "images", "name": "cats"}],
    }
    config = apply(config, there)
    card = Machine("cuda", (Gpu("a card", preset.memory_gb * GIGABYTE, (8, 9)),), free=lambda path: 2000 * GIGABYTE)
    found = check(config, base_folder=place, roots=[place], machine=card, reader=READER)
    assert [(item.code, item.path, item.message) for item in found] == []
    written = json.loads(json.dumps(to_document(config, packed=True)))
    again, findings = from_document(written)
    assert findings == ()
    assert again == config
    assert to_document(again, packed=True) == written


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OURS))
def test_a_preset_reports_what_it_is_for_and_where_its_numbers_come_from(name):
    """It has a note, VRAM and source, the VRAM equals the one in the name, and no two presets share output files."""
    preset = OURS[name]
    assert len(preset.note) > 40
    assert len(preset.source) >= 20
    assert name.endswith(f"{preset.memory_gb} GB")
    document = preset.document
    words = set(re.split(r"[^a-z0-9]+", name.lower())) - {""}
    for path in ("workspace_dir", "cache_dir", "output_model_destination"):
        assert words <= set(re.split(r"[^a-z0-9]+", document[path]))
    assert document["concepts"] == []
    assert document["samples"]


def test_no_two_presets_write_to_the_same_place():
    """Two runs from two presets can run at the same time."""
    for path in ("workspace_dir", "cache_dir", "output_model_destination"):
        places = [preset.document[path] for preset in OURS.values()]
        assert len(places) == len(set(places))


def test_every_model_type_has_a_preset_and_every_one_an_adapter():
    """There is a LoRA preset for each of the 29 types."""
    assert {preset.model_type for preset in OURS.values()} == {item.value for item in ModelType}
    assert {preset.model_type for preset in OURS.values() if preset.method == "LORA"} == {item.value for item in ModelType}
    assert {preset.method for preset in OURS.values()} == {item.value for item in TrainingMethod}


def test_presets_name_the_published_bases():
    """A base model is the default of its type, or one of the few variants with separate presets."""
    variants = {
        "black-forest-labs/FLUX.2-klein-base-4B",
        "black-forest-labs/FLUX.2-dev",
        "Tongyi-MAI/Z-Image-Turbo",
    }
    usual = {base.hub for base in (facts.base for facts in MODELS.values())}
    assert {preset.document["base_model_name"] for preset in OURS.values()} == usual | variants
    assert set(MODELS) == set(ModelType)


def test_optimizers_are_written_out():
    """A preset keeps its meaning if an optimizer's defaults change."""
    for name, preset in OURS.items():
        optimizer = preset.document["optimizer"]
        known = OPTIMIZERS[Optimizer(optimizer["optimizer"])].defaults
        core = {"beta1", "beta2", "eps", "weight_decay", "eps2", "decay_rate", "relative_step", "scale_parameter"} & set(known)
        assert core <= set(optimizer), name


def test_filters_are_written_as_patterns():
    """A layer preset's name comes with its patterns, because only these count when OneTrainer trains from a file."""
    for name, preset in OURS.items():
        presets_of_type = MODELS[ModelType(preset.model_type)].layer_presets
        for where in (preset.document, preset.document.get("quantization", {})):
            if "layer_filter_preset" in where:
                meant = presets_of_type[where["layer_filter_preset"]]
                assert where["layer_filter"] == ",".join(meant.patterns), name
                assert where.get("layer_filter_regex", False) == meant.regex, name


def test_former_names_still_open_their_presets():
    """Names in scripts keep working."""
    for former, present in FORMER_NAMES.items():
        assert former not in preset_files()
        assert load_preset(former) == load_preset(present)


def test_presets_are_listed_by_family_and_size():
    """8 GB comes before 16 GB."""
    names = [name for name in preset_files() if name.startswith("Chroma/LoRA")]
    assert names == ["Chroma/LoRA 8 GB", "Chroma/LoRA 16 GB", "Chroma/LoRA 24 GB"]


def test_a_summary_can_be_searched_and_a_document_described():
    """A list shows model, method, VRAM and note."""
    summary = read_preset("SDXL/LoRA 12 GB").summary()
    assert summary["memory_gb"] == 12
    assert summary["model"] == "SDXL"
    assert summary["family"] == "SDXL"
    assert summary["training_method"] == "LORA"
    assert "Pony" in summary["note"]
    described = describe({"model_type": "SANA", "note": "mine", "epochs": 1})
    assert described == {"model_type": "SANA", "model": "Sana", "note": "mine"}


def test_an_unknown_preset_names_the_nearest_ones():
    """The error contains similar names and the total number."""
    with pytest.raises(ConfigNotFoundError) as caught:
        load_preset("SD 1.5 LoRA 8GB")
    assert "SD 1.5/LoRA 8 GB" in caught.value.expected
    assert f"one of {len(preset_files())}" in caught.value.expected
    assert len(caught.value.expected) < 200


def test_names_that_are_near_are_listed_first():
    """Parts of a name count, in any case; a short list is complete, and an empty one is no error."""
    many = [f"family {index}/thing" for index in range(20)]
    assert nearest("DEMO", [*many, "Demo LoRA"]).endswith("for instance Demo LoRA")
    assert nearest("zzz", ["one", "two"]) == "one of: one, two"
    assert nearest("zzz", []) == "none is there yet"


def test_the_documentation_lists_every_preset():
    """The tables in the documentation are generated from the files."""
    assert overview() in (DOCS / "presets.md").read_text(encoding="utf-8")
