"""OneTrainer's late errors are reported before the start, each by its code, and its fix removes it."""

import pytest

from onetrainer_gradio.config.check import CODES
from onetrainer_gradio.config.machine import GIGABYTE, Gpu, Machine
from tests.config.preflight import CPU, OTHER_MODEL, findings, furnish, write_adapter, write_backup
from tests.test_suggestions import enum_names_in

TWO_CARDS = Machine("cuda", (Gpu("a card", 48 * GIGABYTE, (8, 9)),) * 2, free=CPU.free)

FULL = {"training_method": "FINE_TUNE", "output_model_format": "ORIGINAL_SINGLE_FILE"}
FLUX_FULL = {**OTHER_MODEL, "training_method": "FINE_TUNE", "output_model_format": "ORIGINAL_TRANSFORMER"}
CUDA = {"train_device": "cuda"}
SANA = {
    "model_type": "SANA",
    "layer_filter": "transformer_block",
    "layer_filter_preset": "blocks",
}

# number of the error -> (code, the setting it is reported for, changes that cause it)
REFUSALS = [
    (1, "format-for-method", "output_model_format", {"output_model_format": "SAFETENSORS"}),
    (1, "format-for-method", "output_model_format", {**FULL, "output_model_format": "KOHYA_LORA"}),
    (2, "encoder-offload-threads", "dataloader_threads", {**OTHER_MODEL, "text_encoder_2.offload_fraction": 0.5}),
    (
        3,
        "offload-without-checkpointing",
        "transformer.gradient_checkpointing",
        {**OTHER_MODEL, "transformer.offload_fraction": 0.5, "transformer.gradient_checkpointing": False},
    ),
    (
        3,
        "offload-without-checkpointing",
        "transformer.gradient_checkpointing",
        {**OTHER_MODEL, "transformer.activation_offloading": True, "transformer.gradient_checkpointing": False},
    ),
    (4, "offload-needs-fused-back-pass", "optimizer.fused_back_pass", {**FLUX_FULL, "transformer.offload_fraction": 0.5}),
    (
        4,
        "offload-needs-fused-back-pass",
        "optimizer.fused_back_pass",
        {**FLUX_FULL, "transformer.offload_fraction": 0.5, "optimizer.optimizer": "LION"},
    ),
    (
        4,
        "offload-needs-fused-back-pass",
        "optimizer.fused_back_pass",
        {**FLUX_FULL, "vae.offload_fraction": 0.5},
    ),
    (
        5,
        "fused-kernel-conflict",
        "optimizer.stochastic_rounding",
        {"optimizer.stochastic_rounding": True, "optimizer.fused": True},
    ),
    (5, "fused-kernel-conflict", "optimizer.fused_back_pass", {"optimizer.fused_back_pass": True, "optimizer.foreach": True}),
    (
        6,
        "back-pass-without-fused-reduce",
        "fused_gradient_reduce",
        {"multi_gpu": True, "device_indexes": "0,1", "optimizer.fused_back_pass": True, "fused_gradient_reduce": False},
    ),
    (
        7,
        "schedule-free-wuerstchen",
        "optimizer.optimizer",
        {
            "model_type": "STABLE_CASCADE_1",
            "optimizer.optimizer": "SCHEDULE_FREE_ADAMW",
            "layer_filter": "attention",
            "layer_filter_preset": "attn-only",
            "effnet_encoder.model_name": "model",
            "decoder.model_name": "model",
        },
    ),
    (8, "custom-scheduler-class", "custom_learning_rate_scheduler", {"learning_rate_scheduler": "CUSTOM"}),
    (
        8,
        "custom-scheduler-class",
        "custom_learning_rate_scheduler",
        {"learning_rate_scheduler": "CUSTOM", "custom_learning_rate_scheduler": "StepLR"},
    ),
    (9, "prior-prediction", "concepts.0.type", {**FULL, "concepts.0.type": "PRIOR_PREDICTION"}),
    (10, "quantized-part-trained", "transformer.weight_dtype", {**FLUX_FULL, **CUDA, "transformer.weight_dtype": "INT_W8A8"}),
    (10, "quantized-part-trained", "unet.weight_dtype", {**FULL, **CUDA, "unet.weight_dtype": "NFLOAT_4"}),
    (
        11,
        "svd-with-gguf",
        "quantization.svd_dtype",
        {
            **OTHER_MODEL,
            "transformer.weight_dtype": "GGUF",
            "transformer.model_name": "flux.gguf",
            "quantization.svd_dtype": "BFLOAT_16",
        },
    ),
    (12, "compressed-weights", "transformer.weight_dtype", {**OTHER_MODEL, "transformer.weight_dtype": "INT_W8A8_COMPRESSED"}),
    (
        12,
        "compressed-weights",
        "text_encoder.weight_dtype",
        {**OTHER_MODEL, **CUDA, "text_encoder.weight_dtype": "INT_W8A8_COMPRESSED"},
    ),
    (13, "original-lora-parts", "output_model_format", {"output_model_format": "ORIGINAL_LORA"}),
    (
        13,
        "original-lora-parts",
        "output_model_format",
        {
            "output_model_format": "ORIGINAL_LORA",
            "text_encoder.train": False,
            "additional_embeddings": [{"placeholder": "<cat>"}],
        },
    ),
    (14, "comfy-lora-encoder", "output_model_format", {**SANA, "output_model_format": "COMFY_LORA"}),
    (15, "legacy-lora", "output_model_format", {**SANA, "output_model_format": "LEGACY_LORA"}),
    (
        16,
        "resume-fused",
        "output_model_format",
        {**OTHER_MODEL, "continue_last_backup": True, "output_model_format": "KOHYA_LORA"},
    ),
    (
        16,
        "resume-fused",
        "output_model_format",
        {**OTHER_MODEL, "lora_model_name": "fused.safetensors", "output_model_format": "DIFFUSERS_LORA"},
    ),
    (17, "layer-filter-no-match", "layer_filter", {"layer_filter": "attentions,nonsense", "layer_filter_preset": "custom"}),
    (17, "layer-filter-no-match", "layer_filter", {"layer_filter": "nonsense", "layer_filter_preset": "custom"}),
    (17, "layer-filter-no-match", "layer_filter", {"layer_filter": "attn,attn1", "layer_filter_preset": "custom"}),
    (17, "layer-filter-no-match", "layer_filter", {"layer_filter": "attn,attn", "layer_filter_preset": "attn-only"}),
    (17, "layer-filter-no-match", "layer_filter", {**FULL, "layer_filter": "nonsense", "layer_filter_preset": "custom"}),
    (18, "layer-filter-regex", "layer_filter", {"layer_filter": "(attn", "layer_filter_regex": True}),
    (
        18,
        "layer-filter-regex",
        "quantization.layer_filter",
        {"unet.weight_dtype": "FLOAT_8", "quantization.layer_filter": "[", "quantization.layer_filter_regex": True},
    ),
    (18, "layer-filter-regex", "layer_filter", {"layer_filter": "at\x00tn"}),
    (19, "loss-weight-family", "loss_weight_fn", {"loss_weight_fn": "SIGMA"}),
    (19, "loss-weight-family", "loss_weight_fn", {**OTHER_MODEL, "loss_weight_fn": "MIN_SNR_GAMMA"}),
    (
        20,
        "single-file-base",
        "base_model_name",
        {
            "model_type": "QWEN",
            "base_model_name": "flux.gguf",
            "output_model_format": "DIFFUSERS_LORA",
            "layer_filter": "transformer_block",
            "layer_filter_preset": "blocks",
        },
    ),
    (
        20,
        "single-file-base",
        "base_model_name",
        {
            "model_type": "KREA_2",
            "base_model_name": "flux.gguf",
            "output_model_format": "DIFFUSERS_LORA",
            "layer_filter": "attn,ff",
        },
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folders, a GGUF file, and adapters with fused and separate projections; no test writes to them."""
    tmp_path = tmp_path_factory.mktemp("place")
    furnish(tmp_path)
    (tmp_path / "flux.gguf").write_bytes(b"GGUF")
    write_adapter(tmp_path / "fused.safetensors", ["lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"])
    backup = write_backup(tmp_path, model_type="FLUX_DEV_1", training_method="LORA", output_model_format="DIFFUSERS_LORA")
    keys = [f"transformer.transformer_blocks.0.attn.to_{name}.lora_down.weight" for name in "qkv"]
    write_adapter(backup / "lora" / "lora.safetensors", keys)
    return tmp_path


def errors(place, *changes):
    """Return errors of the catalog; the declared bounds are tested elsewhere."""
    found = findings(place, *changes, machine=TWO_CARDS)
    return [finding for finding in found if finding.severity == "error" and finding.code != "value-out-of-bounds"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "path", "changes"), REFUSALS, ids=[f"{row[0]}-{row[1]}" for row in REFUSALS])
def test_a_late_error_is_reported_before_the_start_and_its_fix_removes_it(place, number, code, path, changes):
    """The invalid configuration gives exactly that error for that setting; with its fix there is none left."""
    assert CODES[code].late_error == number
    (error,) = errors(place, changes)
    assert (error.code, error.path) == (code, path)
    assert error.expected
    assert error.suggestion
    assert not enum_names_in(f"{error.message} {error.suggestion}")
    if error.fix:
        assert errors(place, changes, dict(error.fix)) == []


def test_every_error_that_settings_can_show_has_a_case():
    """Only the NaN loss (21) can't be an error in advance: its usual causes are a warning."""
    late_errors = {code.late_error for code in CODES.values()} - {0}
    assert late_errors == set(range(1, 22))
    assert {row[0] for row in REFUSALS} == late_errors - {21}
    assert {name for name, code in CODES.items() if code.late_error} == {row[1] for row in REFUSALS} | {"nan-risk"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("lora_weight_dtype", {"lora_weight_dtype": "FLOAT_16"}),
        ("unet.weight_dtype", {**FULL, "unet.weight_dtype": "FLOAT_16"}),
        ("vae.weight_dtype", {"model_type": "STABLE_DIFFUSION_XL_10_BASE", "vae.weight_dtype": "FLOAT_16"}),
    ],
)
def test_what_leads_to_a_loss_that_is_no_number_is_a_warning(place, path, changes):
    """Error 21 itself comes during the run; its causes are reported with a fix that removes the warning."""
    risks = [finding for finding in findings(place, changes) if finding.code == "nan-risk"]
    assert [risk.path for risk in risks] == [path]
    assert not [finding for finding in findings(place, changes, dict(risks[0].fix)) if finding.code == "nan-risk"]


def test_a_fixed_fp16_vae_is_no_risk(place):
    """Such a VAE is recognized by its name."""
    changes = {"model_type": "STABLE_DIFFUSION_XL_10_BASE", "vae.weight_dtype": "FLOAT_16"}
    changes["vae.model_name"] = "madebyollin/sdxl-vae-fp16-fix"
    assert not [finding for finding in findings(place, changes) if finding.code == "nan-risk"]


def test_the_rules_of_the_window_that_were_wrong_are_not_repeated(place):
    """A negative noise bias, Adafactor's own decay rate and folders that don't exist yet are all valid."""
    found = findings(
        place,
        {"timestep_distribution": "LOGIT_NORMAL", "noising_bias": -0.5},
        {"optimizer.optimizer": "ADAFACTOR", "optimizer.decay_rate": -0.8},
        {"workspace_dir": "not/there/yet", "cache_dir": "neither", "output_model_destination": "new/folder/cat.safetensors"},
    )
    assert [finding for finding in found if finding.severity == "error"] == []


def test_a_type_that_keeps_projections_apart_continues_with_any_format(place):
    """Only types that fuse projections depend on the fused formats."""
    changes = {"lora_model_name": "fused.safetensors", "output_model_format": "DIFFUSERS_LORA"}
    assert errors(place, changes) == []


def test_quantized_layers_next_to_the_trained_ones_are_fine(place):
    """The training filter and the quantization filter may select different layers of the denoiser."""
    apart = {
        "layer_filter": "attn",
        "layer_filter_preset": "attn-only",
        "quantization.layer_filter": "proj_mlp",
        "transformer.weight_dtype": "FLOAT_W8A8",
    }
    assert errors(place, FLUX_FULL, CUDA, apart) == []
