"""What OneTrainer's own code fails on or ignores is reported before the start, and only if OneTrainer is the engine."""

from __future__ import annotations

import pytest

from onetrainer_gradio import backends
from onetrainer_gradio.config.check.onetrainer import CRASHES, onetrainer_findings
from onetrainer_gradio.config.dataset.buckets import ASPECTS, Resolution, empty_side, rounded, smallest_edge
from onetrainer_gradio.config.enums import ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS
from tests.config.preflight import config_with, findings, furnish

FULL = {"training_method": "FINE_TUNE", "output_model_format": "ORIGINAL_TRANSFORMER", "text_encoder.train": False}
EXTRA = [{"uuid": "1", "placeholder": "<x>", "train": True}]

# (setting, changes that cause the crash)
KNOWN = [
    ("model_type", {"model_type": "STABLE_DIFFUSION_20_DEPTH"}),
    ("training_method", {**FULL, "model_type": "HI_DREAM_FULL"}),
    ("base_model_name", {"model_type": "HI_DREAM_FULL", "base_model_name": "hidream.safetensors"}),
    ("output_model_format", {**FULL, "model_type": "ANIMA", "output_model_format": "DIFFUSERS"}),
    ("text_encoder.train", {"model_type": "ANIMA", "text_encoder.train": True}),
    ("text_encoder.train", {**FULL, "model_type": "ANIMA", "text_encoder.train": True}),
    ("text_encoder.train", {"model_type": "KREA_2", "text_encoder.train": True, "train_device": "cuda"}),
    ("additional_embeddings", {"model_type": "WUERSTCHEN_2", "additional_embeddings": EXTRA}),
    ("additional_embeddings", {"model_type": "STABLE_CASCADE_1", "additional_embeddings": EXTRA}),
    ("optimizer.muon_hidden_layers", {"model_type": "HUNYUAN_VIDEO", "optimizer.optimizer": "MUON"}),
    ("optimizer.muon_hidden_layers", {"model_type": "FLUX_FILL_DEV_1", "optimizer.optimizer": "MUON_ADV"}),
]


@pytest.mark.parametrize(("path", "changes"), KNOWN)
def test_a_known_crash_is_an_error_with_onetrainer_and_its_fix_removes_it(path, changes):
    """It is reported for the setting to change; the same settings without the cause pass."""
    (finding,) = backends.refusals("onetrainer", config_with(changes))
    assert (finding.severity, finding.code, finding.path) == ("error", "onetrainer-crash", path)
    assert finding.expected
    assert finding.suggestion
    if finding.fix:
        assert not list(onetrainer_findings(config_with(changes, dict(finding.fix))))


def test_every_known_crash_has_a_case():
    assert {(kind.value, crash.path) for crash in CRASHES for kind in crash.types} == {
        (changes["model_type"], path) for path, changes in KNOWN
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_what_works_is_not_announced_as_a_crash(kind):
    """A LoRA of any other type, with a frozen text encoder, has no findings."""
    config = config_with({"model_type": kind.value, "text_encoder.train": False})
    assert bool(list(onetrainer_findings(config))) == (kind is ModelType.STABLE_DIFFUSION_20_DEPTH)


@pytest.mark.slow
def test_other_engines_are_not_concerned(tmp_path):
    """Checking only the settings doesn't mention OneTrainer."""
    place = furnish(tmp_path)
    for _, changes in KNOWN:
        assert not [item for item in findings(place, changes) if item.code.startswith("onetrainer-")]


@pytest.mark.parametrize("path", ["force_v_prediction", "force_epsilon_prediction"])
def test_a_forced_prediction_that_onetrainer_ignores_is_a_warning(path):
    """OneTrainer applies it to full fine-tunes only; the run is not blocked."""
    (finding,) = backends.refusals("onetrainer", config_with({path: True}))
    assert (finding.severity, finding.code, finding.path) == ("warning", "onetrainer-ignores", path)
    assert not backends.refusals("onetrainer", config_with({path: True, "training_method": "FINE_TUNE"}))


@pytest.mark.parametrize("kind", MODELS)
def test_the_smallest_resolution_of_each_type_has_no_side_of_0_pixels(kind):
    """The suggested edge length works in every bucket, and the next smaller multiple does not."""
    multiple = MODELS[kind].pixel_multiple
    least = smallest_edge(multiple)
    for edge, works in ((least, True), (least - multiple, False)):
        sides = [round(edge / aspect**0.5 / multiple) for aspect in ASPECTS]
        assert (min(sides) > 0) is works
        assert (empty_side(Resolution((edge,)), multiple, bucketing=True) is None) is works
    assert empty_side(Resolution((least - multiple,)), multiple, bucketing=False) is None
    assert rounded(least, multiple) == least


@pytest.mark.slow
def test_an_embedding_that_no_encoder_trains_is_reported(tmp_path):
    """It is an error if nothing else is trained, otherwise a warning; an encoder that is not included does not count."""
    place = furnish(tmp_path)
    off = {"text_encoder.train_embedding": False, "text_encoder_2.train_embedding": False}
    xl = {"model_type": "STABLE_DIFFUSION_XL_10_BASE"}
    alone = {"training_method": TrainingMethod.EMBEDDING.value, "output_model_format": "SAFETENSORS"}

    def severity(*changes):
        return [item.severity for item in findings(place, *changes) if item.code == "embedding-in-no-encoder"]

    assert severity(xl, alone, off) == ["error"]
    assert severity(xl, alone, off, {"text_encoder_2.train_embedding": True}) == []
    assert severity(xl, off, {"additional_embeddings": EXTRA}) == ["warning"]
    assert severity(xl, off) == []
    assert severity(alone, off) == []  # one encoder only: the switch has no effect
    flux = {"model_type": "FLUX_DEV_1", "text_encoder.train_embedding": False, "text_encoder_2.include": False}
    assert severity(flux, alone) == ["error"]
