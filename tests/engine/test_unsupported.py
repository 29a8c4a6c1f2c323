"""Settings that this engine doesn't implement are rejected by name, never silently ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.files.presets import presets
from onetrainer_gradio.engine.unsupported import (
    ONLY,
    ONLY_IN_CONCEPTS,
    ONLY_IN_PARTS,
    ONLY_IN_SMALL_PARTS,
    findings,
)
from tests.test_suggestions import enum_names_in


def refused(**changes):
    document = {
        "training_method": "LORA",
        "output_model_format": "KOHYA_LORA",
        "train_device": "cpu",
        "train_dtype": "FLOAT_32",
        "concepts": [{"path": "x"}],
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = document
        for parent in parents:
            at = at[int(parent)] if parent.isdigit() else at.setdefault(parent, {})
        at[last] = value
    found = findings(from_document(document)[0])
    assert not enum_names_in(" ".join(f"{finding.message} {finding.suggestion}" for finding in found))
    return {finding.path for finding in found}


def test_a_plain_lora_is_not_rejected():
    """OneTrainer's defaults for an adapter are supported."""
    assert refused() == set()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model_type", "SANA"),
        ("unet.weight_dtype", "FLOAT_W8A8_COMPRESSED"),
        ("unet.weight_dtype", "INT_W8A8"),
        ("unet.offload_fraction", 0.5),
        ("text_encoder.activation_offloading", True),
        ("unet.model_name", "another"),
        ("learning_rate_scheduler", "ADAFACTOR"),
        ("loss_weight_fn", "SIGMA"),
        ("optimizer.optimizer", "ADAMW_8BIT"),
        ("optimizer.differentiable", True),
        ("optimizer.capturable", True),
        ("attention_mechanism", "FLASH"),
        ("multi_gpu", True),
        ("cloud.enabled", True),
        ("output_model_format", "ORIGINAL_TRANSFORMER"),
        ("output_model_format", "DIFFUSERS"),
        ("unet.weight_dtype", "FLOAT_16"),
        ("lora_weight_dtype", "FLOAT_16"),
        ("mse_strength", 0.0),
        ("min_noising_strength", 1.0),
    ],
)
def test_each_is_named(path, value):
    """The finding contains the setting's path."""
    assert path in refused(**{path.replace(".", "__"): value})


def test_combinations_are_rejected():
    """This covers no training at all, two predictions at once, and rounding with a kernel that can't."""
    assert refused(unet__train=False, text_encoder__train=False) == {"unet.train"}
    assert refused(force_v_prediction=True, force_epsilon_prediction=True) == {"force_epsilon_prediction"}
    assert refused(optimizer__fused=True, optimizer__stochastic_rounding=True) == {"optimizer.stochastic_rounding"}
    assert refused(lora_weight_dtype="BFLOAT_16", optimizer__stochastic_rounding=True) == set()


def test_offloading_is_checked_as_in_the_check_before_the_start():
    """Transformers and T5 can be offloaded with gradient checkpointing, and text encoders with one thread."""
    flux = {"model_type": "FLUX_DEV_1", "output_model_format": "DIFFUSERS_LORA"}
    both = {"transformer__offload_fraction": 0.5, "transformer__activation_offloading": True}
    assert refused(**flux, **both) == set()
    assert refused(**flux, **both, transformer__gradient_checkpointing=False) == {"transformer.gradient_checkpointing"}
    assert refused(**flux, text_encoder_2__offload_fraction=0.5, dataloader_threads=2) == {"dataloader_threads"}
    assert refused(**flux, text_encoder__offload_fraction=0.5, dataloader_threads=1) == {"text_encoder.offload_fraction"}


@pytest.mark.slow
def test_quantized_weights_are_frozen_and_have_their_library(monkeypatch):
    """Without it, the finding names what to install; W8A8 needs a GPU; trained weights aren't quantized."""
    assert refused(unet__weight_dtype="NFLOAT_4", text_encoder__weight_dtype="FLOAT_8") == set()
    fine = {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS", "unet__weight_dtype": "FLOAT_8"}
    assert refused(**fine) == {"unet.weight_dtype"}
    assert refused(**fine, unet__train=False, text_encoder__train=True) == set()
    assert refused(unet__weight_dtype="INT_W8A8", train_device="cuda") == set()
    flux = {"model_type": "FLUX_DEV_1", "transformer__weight_dtype": "GGUF", "output_model_format": "DIFFUSERS_LORA"}
    assert refused(**flux, train_dtype="BFLOAT_16") == {"transformer.model_name"}
    file = {"transformer__model_name": "flux.gguf"}
    assert refused(**flux, **file) == {"transformer.weight_dtype"}
    assert refused(**flux, **file, train_dtype="BFLOAT_16") == set()
    svd = {"quantization__svd_dtype": "BFLOAT_16"}
    assert refused(**flux, **file, **svd, train_dtype="BFLOAT_16") == {"quantization.svd_dtype"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused(unet__weight_dtype="NFLOAT_4") == {"unet.weight_dtype"}


def test_attention_is_a_choice_of_newer_denoisers(monkeypatch):
    """A UNet supports only torch's; the others need a GPU, and FLASH its package."""
    flux = {"model_type": "FLUX_DEV_1", "output_model_format": "DIFFUSERS_LORA"}
    gpu = {**flux, "train_device": "cuda"}
    assert refused(attention_mechanism="CUDNN", train_device="cuda") == {"attention_mechanism"}
    assert refused(**flux, attention_mechanism="CUDNN") == refused(**flux, attention_mechanism="FLEX") == {"attention_mechanism"}
    assert refused(**gpu, attention_mechanism="CUDNN") == refused(**gpu, attention_mechanism="FLEX") == set()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused(**gpu, attention_mechanism="FLASH") == {"attention_mechanism"}


def test_compiling_needs_a_compiler(monkeypatch):
    """Without one, the finding names what to install."""
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert refused(compile=True) == {"compile"}
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/g++")
    assert refused(compile=True) == set()


@pytest.mark.slow
@pytest.mark.parametrize("model_type", [facts.type for facts in MODELS.values() if facts.built_in])
def test_every_format_of_a_model_type_is_saved(model_type):
    """The engine saves exactly the formats in the type's facts, which the form and the pre-flight check show."""
    for method in ("LORA", "FINE_TUNE"):
        for model_format in MODELS[model_type].formats[method]:
            chosen = {"training_method": method, "output_model_format": model_format, "model_type": model_type}
            chosen |= {f"{encoder}__train": False for encoder in MODELS[model_type].encoders}
            assert "output_model_format" not in refused(**chosen)


def test_original_lora_holds_the_denoiser_alone():
    """With a trained text encoder, the run would end with a file that can't be written."""
    assert refused(output_model_format="ORIGINAL_LORA", text_encoder__train=False) == set()
    assert "output_model_format" in refused(output_model_format="ORIGINAL_LORA", text_encoder__train=True)


def test_a_concept_that_is_not_used_may_hold_anything():
    """Only enabled concepts are checked; prior prediction needs the model without a LoRA."""
    full = {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS", "concepts__0__type": "PRIOR_PREDICTION"}
    assert refused(**full) == {"concepts.0.type"}
    assert refused(**full, concepts__0__enabled=False) == set()
    assert refused(concepts__0__type="PRIOR_PREDICTION") == set()


def test_the_tables_name_real_settings():
    """Every path exists in the configuration."""
    config = from_document({"concepts": [{}]})[0]
    for table, start in (
        (ONLY, config),
        (ONLY_IN_PARTS, config.unet),
        (ONLY_IN_SMALL_PARTS, config.unet),
        (ONLY_IN_CONCEPTS, config.concepts[0]),
    ):
        for setting in table:
            at = start
            for name in setting.path.split("."):
                at = getattr(at, name)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_asking_needs_no_torch():
    """The panel can show unsupported settings without loading torch."""
    import subprocess
    import sys

    code = "import sys; import onetrainer_gradio.engine.unsupported; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_presets_are_marked_with_the_engines_that_train_them(preset):
    """With a GPU, presets for this engine have no unsupported setting; the others are rejected for their model type."""
    config = from_document(preset.document)[0].model_copy(update={"train_device": "cuda"})
    refused_paths = {finding.path for finding in findings(config) if finding.expected != "an installed package"}
    if MODELS[config.model_type].built_in:
        assert refused_paths == set()
    else:
        assert "model_type" in refused_paths


def test_the_documentation_has_a_reason_for_each_rejected_setting():
    """The page about differences lists them."""
    page = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
    section = page.partition("## Settings that the built-in engine rejects")[2].partition("\n## ")[0]
    assert [only.path for only in ONLY if f"`{only.path}`" not in section] == []
