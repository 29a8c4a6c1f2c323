"""The pre-flight check reports everything that would fail later, with the setting to change.

Covers ``config/check/``.
"""

import json
import math
import os
import time
from enum import Enum
from itertools import cycle, product
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.check import CHECKS, CODES, check
from onetrainer_gradio.config.check.codes import catalog
from onetrainer_gradio.config.check.intervals import first_time
from onetrainer_gradio.config.dataset.reader import ImageSizeReader
from onetrainer_gradio.config.declarations.walk import leaves, without_none
from onetrainer_gradio.config.enums import ModelType, TimeUnit, TrainingMethod
from onetrainer_gradio.config.machine import GIGABYTE, Gpu, Machine
from onetrainer_gradio.config.paths.backup_chain import chain_of_run, write_chain
from tests.config.preflight import ADA, CPU, OTHER_MODEL, add_image, config_with, findings, furnish, write_backup
from tests.fakes.configs import write_result
from tests.test_suggestions import enum_names_in

DOCS = Path(__file__).parents[2] / "docs"
XL = {"model_type": "STABLE_DIFFUSION_XL_10_BASE"}
VIDEO = {
    "model_type": "HUNYUAN_VIDEO",
    "layer_filter": "",
    "layer_filter_preset": "full",
    "output_model_format": "COMFY_LORA",
}
EMBEDDING = {"training_method": "EMBEDDING", "output_model_format": "SAFETENSORS"}
OLD_CARD = Machine("cuda", (Gpu("an old card", 8 * GIGABYTE, (7, 0)),), free=CPU.free)


@pytest.fixture
def place(tmp_path):
    """A base folder with a model and four captioned images."""
    return furnish(tmp_path)


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory):
    """The same for tests that write nothing."""
    return furnish(tmp_path_factory.mktemp("shared"))


def codes_of(place, *changes, **kwargs):
    """Return code, severity and setting of each finding."""
    return {(item.code, item.severity, item.path) for item in findings(place, *changes, **kwargs)}


@pytest.mark.slow
def test_good_settings_have_no_findings(place):
    """A run that will work has no findings."""
    assert findings(place) == ()
    assert findings(place, OTHER_MODEL, {"learning_rate_warmup_steps": 0.1}) == ()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["DPMPP", "DPMPP_SDE"])
def test_samplers_that_only_the_code_of_onetrainer_has_are_no_mistake(place, sampler):
    """Its UI doesn't list them, but both engines have them."""
    assert findings(place, {"samples.0.noise_scheduler": sampler}) == ()


# (code, severity, setting, changes)
CASES = [
    ("nothing-trained", "error", "unet.train", {"unet.train": False, "text_encoder.train": False}),
    ("nothing-trained", "error", "embedding.train", {"training_method": "EMBEDDING", "embedding.train": False}),
    (
        "method-for-type",
        "error",
        "training_method",
        {"model_type": "QWEN", **EMBEDDING, "layer_filter": "", "layer_filter_preset": "full"},
    ),
    ("base-model-missing", "error", "base_model_name", {"base_model_name": ""}),
    ("base-model-missing", "error", "base_model_name", {"base_model_name": "/nowhere"}),
    ("base-model-folder", "error", "base_model_name", {"base_model_name": "images"}),
    ("base-model-file", "error", "base_model_name", {"base_model_name": "model/model_index.json"}),
    ("offline-model", "warning", "base_model_name", {"base_model_name": "owner/name", "offline_mode": True}),
    (
        "part-missing",
        "error",
        "effnet_encoder.model_name",
        {"model_type": "WUERSTCHEN_2", "decoder.model_name": "owner/name", "layer_filter": "", "layer_filter_preset": "full"},
    ),
    ("file-missing", "error", "lora_model_name", {"lora_model_name": "old.safetensors"}),
    ("file-missing", "error", "lora_model_name", {"lora_model_name": "loras/old"}),
    ("file-missing", "error", "vae.model_name", {"vae.model_name": "vae.safetensors"}),
    ("file-missing", "error", "embedding.model_name", {**EMBEDDING, "embedding.model_name": "word.safetensors"}),
    (
        "embeddings-for-type",
        "error",
        "additional_embeddings.0.train",
        {
            "model_type": "QWEN",
            "output_model_format": "DIFFUSERS_LORA",
            "layer_filter": "",
            "layer_filter_preset": "full",
            "additional_embeddings": [{"placeholder": "<cat>"}],
        },
    ),
    ("no-backup-to-continue", "error", "continue_last_backup", {"continue_last_backup": True}),
    ("output-name", "error", "output_model_destination", {"output_model_destination": ""}),
    ("output-name", "error", "output_model_destination", {"output_model_destination": "x.bin"}),
    (
        "output-name",
        "warning",
        "output_model_destination",
        {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS"},
    ),
    (
        "layer-filter-no-match",
        "warning",
        "quantization.layer_filter",
        {
            "unet.weight_dtype": "FLOAT_8",
            "quantization.layer_filter": "attn,nonsense",
            "quantization.layer_filter_preset": "custom",
        },
    ),
    (
        "layer-filter-partly-fused",
        "error",
        "layer_filter",
        {**OTHER_MODEL, "output_model_format": "KOHYA_LORA", "layer_filter": "attn", "layer_filter_preset": "attn-only"},
    ),
    ("layer-preset-mismatch", "warning", "layer_filter_preset", {"layer_filter": ""}),
    ("layer-preset-mismatch", "warning", "layer_filter_preset", {"layer_filter_preset": "blocks"}),
    ("gguf-without-file", "error", "transformer.model_name", {**OTHER_MODEL, "transformer.weight_dtype": "GGUF"}),
    (
        "schedule-ignored",
        "warning",
        "learning_rate_scheduler",
        {"optimizer.optimizer": "SCHEDULE_FREE_ADAMW", "learning_rate_scheduler": "COSINE"},
    ),
    ("adaptive-learning-rate", "warning", "learning_rate", {"optimizer.optimizer": "PRODIGY"}),
    ("learning-rate-too-high", "warning", "learning_rate", {"learning_rate": 1.0}),
    (
        "learning-rate-too-high",
        "warning",
        "learning_rate",
        {"training_method": "FINE_TUNE", "output_model_format": "ORIGINAL_SINGLE_FILE", "learning_rate": 0.01},
    ),
    ("no-loss", "error", "mse_strength", {"mse_strength": 0.0}),
    ("noise-window", "error", "min_noising_strength", {"min_noising_strength": 0.9, "max_noising_strength": 0.2}),
    (
        "two-predictions",
        "error",
        "force_epsilon_prediction",
        {"force_epsilon_prediction": True, "rescale_noise_scheduler_to_zero_terminal_snr": True},
    ),
    ("setting-ignored", "note", "generalized_offset_noise", {"generalized_offset_noise": True}),
    (
        "custom-scheduler-parameters",
        "error",
        "scheduler_params.0",
        {
            "learning_rate_scheduler": "CUSTOM",
            "custom_learning_rate_scheduler": "torch.optim.lr_scheduler.StepLR",
            "scheduler_params": [{"key": "step_size", "value": "ten"}],
        },
    ),
    ("adafactor-scheduler", "error", "learning_rate_scheduler", {"learning_rate_scheduler": "ADAFACTOR"}),
    (
        "optimizer-parameter-rejected",
        "error",
        "optimizer.momentum",
        {"optimizer.optimizer": "SCHEDULE_FREE_SGD", "optimizer.momentum": 0.0},
    ),
    ("optimizer-parameter-rejected", "error", "optimizer.momentum", {"optimizer.optimizer": "LARS", "optimizer.momentum": 0.0}),
    (
        "optimizer-parameter-rejected",
        "error",
        "optimizer.centered",
        {"optimizer.optimizer": "RMSPROP", "optimizer.centered": True},
    ),
    (
        "optimizer-parameter-rejected",
        "error",
        "optimizer.lr_decay",
        {"optimizer.optimizer": "ADAGRAD", "optimizer.lr_decay": 0.1},
    ),
    (
        "optimizer-parameter-rejected",
        "error",
        "optimizer.muon_hidden_layers",
        {
            "optimizer.optimizer": "MUON",
            "optimizer.MuonWithAuxAdam": True,
            "optimizer.muon_adam_regex": True,
            "optimizer.muon_hidden_layers": "block, (a",
        },
    ),
    ("optimizer-parameter-rejected", "error", "optimizer.eps", {"optimizer.optimizer": "DADAPT_ADA_GRAD", "optimizer.eps": 0.0}),
    (
        "optimizer-parameter-rejected",
        "error",
        "optimizer.warmup_init",
        {"optimizer.optimizer": "ADAFACTOR", "optimizer.relative_step": False, "optimizer.warmup_init": True},
    ),
    (
        "one-learning-rate",
        "error",
        "text_encoder.learning_rate",
        {
            "optimizer.optimizer": "PRODIGY",
            "learning_rate": 1.0,
            "text_encoder.train": True,
            "text_encoder.learning_rate": 0.5,
        },
    ),
    (
        "muon-without-layers",
        "error",
        "optimizer.muon_hidden_layers",
        {"model_type": "STABLE_DIFFUSION_20_DEPTH", "optimizer.optimizer": "MUON", "optimizer.MuonWithAuxAdam": True},
    ),
    (
        "beta3-ema-ignored",
        "warning",
        "optimizer.beta3_ema",
        {"optimizer.optimizer": "ADAMW_ADV", "optimizer.use_AdEMAMix": True, "optimizer.beta3_ema": 0.99},
    ),
    ("setting-ignored", "note", "timestep_shift", {**OTHER_MODEL, "dynamic_timestep_shifting": True, "timestep_shift": 3.0}),
    ("setting-ignored", "note", "masked_prior_preservation_weight", {"masked_prior_preservation_weight": 0.5}),
    ("setting-ignored", "note", "aspect_ratio_bucketing", {"resolution": "512x512"}),
    ("no-concept", "error", "concepts", {"concepts": []}),
    ("no-concept", "error", "concepts", {"concepts.0.enabled": False}),
    ("no-concept", "error", "concepts", {"concepts.0.type": "VALIDATION", "validation": True}),
    ("concept-folder", "error", "concepts.0.path", {"concepts.0.path": ""}),
    ("concept-folder", "error", "concepts.0.path", {"concepts.0.path": "nowhere"}),
    ("concept-folder", "error", "concepts.0.path", {"concepts.0.path": "images/cats"}),
    ("concept-on-hub", "warning", "concepts.0.path", {"concepts.0.path": "owner/cats"}),
    ("concept-empty", "error", "concepts.0.path", {"concepts.0.path": "model"}),
    ("concept-without-effect", "warning", "concepts.0.loss_weight", {"concepts.0.loss_weight": 0.0}),
    ("concept-without-effect", "warning", "concepts.0.balancing", {"concepts.0.balancing": 0.1}),
    ("images-small", "warning", "concepts.0.path", {"resolution": "1024"}),
    ("layer-filter-slow", "error", "layer_filter", {"layer_filter": r"attn,(\w+\.?)+!", "layer_filter_regex": True}),
    (
        "layer-filter-slow",
        "error",
        "quantization.layer_filter",
        {
            "unet.weight_dtype": "NFLOAT_4",
            "quantization.layer_filter": r"(.*)*(.*)*(.*)*z",
            "quantization.layer_filter_regex": True,
        },
    ),
    ("layer-filter-slow", "error", "layer_filter", {"layer_filter": "x," * 6000}),
    ("caption-file", "error", "concepts.0.text.prompt_path", {"concepts.0.text.prompt_source": "concept"}),
    (
        "caption-dropout",
        "error",
        "text_encoder.dropout_probability",
        {
            "model_type": "QWEN",
            "output_model_format": "DIFFUSERS_LORA",
            "layer_filter": "",
            "layer_filter_preset": "full",
            "text_encoder.dropout_probability": 0.1,
        },
    ),
    ("validation-without-concept", "warning", "validation", {"validation": True}),
    ("masks-missing", "warning", "masked_training", {"masked_training": True}),
    ("conditions-missing", "warning", "custom_conditioning_image", {"custom_conditioning_image": True}),
    ("variations-cached", "note", "concepts.0.image_variations", {"concepts.0.image.enable_random_flip": True}),
    (
        "variations-cached",
        "note",
        "concepts.0.text_variations",
        {"concepts.0.text.enable_tag_shuffling": True, "text_encoder.train": False},
    ),
    ("batch-larger-than-dataset", "error", "batch_size", {"batch_size": 5}),
    ("resolution-syntax", "error", "resolution", {"resolution": "big"}),
    (
        "resolution-syntax",
        "error",
        "concepts.0.image.resolution_override",
        {"concepts.0.image.enable_resolution_override": True, "concepts.0.image.resolution_override": "big"},
    ),
    ("resolution-small", "error", "resolution", {"resolution": "4"}),
    ("resolution-small", "error", "resolution", {"resolution": "8"}),
    ("resolution-small", "error", "resolution", {**XL, "resolution": "64"}),
    ("resolution-small", "error", "resolution", {**XL, "resolution": "1024,64"}),
    ("resolution-small", "error", "resolution", {**XL, "resolution": "32x512", "aspect_ratio_bucketing": False}),
    (
        "resolution-small",
        "error",
        "concepts.0.image.resolution_override",
        {**XL, "concepts.0.image.enable_resolution_override": True, "concepts.0.image.resolution_override": "64"},
    ),
    (
        "embedding-in-no-encoder",
        "error",
        "text_encoder.train_embedding",
        {**XL, **EMBEDDING, "text_encoder.train_embedding": False, "text_encoder_2.train_embedding": False},
    ),
    ("resolution-multiple", "warning", "resolution", {**XL, "resolution": "500"}),
    ("resolution-multiple", "warning", "resolution", {"resolution": "500x512", "aspect_ratio_bucketing": False}),
    ("frames", "error", "frames", {**VIDEO, "frames": "many"}),
    ("frames", "warning", "frames", {**VIDEO, "frames": "24"}),
    ("sample-size", "error", "samples.0.width", {"samples.0.width": 100}),
    ("sample-size", "warning", "samples.0.height", {**OTHER_MODEL, "samples.0.height": 520}),
    ("no-samples", "note", "samples", {"samples": []}),
    ("interval-never-due", "warning", "save_every", {"save_every": 100, "save_every_unit": "EPOCH"}),
    ("interval-never-due", "warning", "backup_after", {"backup_after": 900, "backup_after_unit": "STEP"}),
    ("interval-never-due", "note", "save_every", {"save_every": 0, "save_every_unit": "STEP"}),
    ("no-backup", "warning", "backup_before_save", {"backup_before_save": False, "backup_after_unit": "NEVER"}),
    ("warmup-longer-than-run", "warning", "learning_rate_warmup_steps", {"learning_rate_warmup_steps": 400.0}),
    ("ema-never-updated", "error", "ema_update_step_interval", {"ema": "GPU", "epochs": 1}),
    ("accumulation-longer-than-run", "error", "gradient_accumulation_steps", {"epochs": 1, "gradient_accumulation_steps": 8}),
    (
        "stopped-at-once",
        "warning",
        "unet.stop_training_after",
        {"unet.stop_training_after": 0, "unet.stop_training_after_unit": "EPOCH"},
    ),
    ("device-unknown", "error", "train_device", {"train_device": "gpu"}),
    ("device-missing", "error", "train_device", {"train_device": "cuda"}),
    ("device-missing", "error", "train_device", {"train_device": "mps"}),
    ("device-indexes", "error", "device_indexes", {"multi_gpu": True, "device_indexes": "0,0"}),
    ("device-indexes", "error", "device_indexes", {"multi_gpu": True, "device_indexes": "one"}),
    ("multi-gpu-alone", "warning", "multi_gpu", {"multi_gpu": True}),
    ("dtype-slow", "warning", "train_dtype", {"train_dtype": "FLOAT_16"}),
    ("dtype-slow", "warning", "train_dtype", {"train_dtype": "TFLOAT_32"}),
    ("dtype-unsupported", "error", "transformer.weight_dtype", {**OTHER_MODEL, "transformer.weight_dtype": "INT_W8A8"}),
    ("fallback-dtype", "error", "fallback_train_dtype", {"train_dtype": "FLOAT_16", "fallback_train_dtype": "FLOAT_32"}),
    ("attention-unsupported", "error", "attention_mechanism", {"attention_mechanism": "FLASH"}),
    ("folder-missing", "error", "workspace_dir", {"workspace_dir": ""}),
    ("folder-is-file", "error", "cache_dir", {"cache_dir": "model/model_index.json/cache"}),
    ("path-characters", "error", "base_model_name", {"base_model_name": "model\u200b"}),
    ("value-out-of-bounds", "error", "epochs", {"epochs": 0}),
]

# Codes whose cases need more than other settings; each has a separate test below.
ELSEWHERE = {
    "nothing-left-to-train",
    "only-saves-result",
    "backups-deleted",
    "cache-foreign",
    "cache-in-concept",
    "concept-in-cache",
    "concept-in-workspace",
    "output-foreign",
    "output-link",
    "output-protected",
    "workspace-in-concept",
    "workspace-in-panel",
    "base-model-type",
    "bucket-empty",
    "bucket-smaller-than-batch",
    "captions-empty",
    "captions-encoding",
    "captions-missing",
    "captions-unreadable",
    "disk-full",
    "disk-space",
    "files-skipped",
    "formats-skipped",
    "link-outside",
    "list-file",
    "memory-exceeds-gpu",
    "model-file",
    "onetrainer-crash",
    "onetrainer-ignores",
    "output-exists",
    "path-outside",
    "path-unreadable",
    "path-unwritable",
    "image-broken",
    "images-unread",
    "resume-other-run",
    "special-tags-slow",
    "validation-off",
    "weights-exceed-memory",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "severity", "path", "changes"),
    [pytest.param(*row, marks=[pytest.mark.slow] * (row[0] == "layer-filter-slow"), id=f"{row[0]}-{row[2]}") for row in CASES],
)
def test_a_mistake_is_reported_at_its_setting_and_its_fix_removes_it(shared_place, code, severity, path, changes):
    """Each finding has its code, severity and location, expectation and suggestion; a fix causes no new errors."""
    before = findings(shared_place, changes)
    hits = [item for item in before if (item.code, item.severity, item.path) == (code, severity, path)]
    assert len(hits) == 1, before
    assert hits[0].expected
    assert hits[0].suggestion
    assert not enum_names_in(f"{hits[0].message} {hits[0].suggestion}")
    if hits[0].fix:
        after = findings(shared_place, changes, dict(hits[0].fix))
        assert (code, path) not in {(item.code, item.path) for item in after}
        assert [item.severity for item in after].count("error") <= [item.severity for item in before].count("error")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_special_tag_that_takes_too_long_on_the_captions_is_an_error(place):
    """OneTrainer would hang in the first epoch; the list may be in a file, and captions may come from one."""
    special = {
        "concepts.0.text.tag_dropout_enable": True,
        "concepts.0.text.tag_dropout_special_tags_mode": "WHITELIST",
        "concepts.0.text.tag_dropout_special_tags_regex": True,
        "concepts.0.text.tag_dropout_special_tags": r"a cat;(\w+\s?)+!",
        "concepts.0.text.tag_delimiter": ";",
    }
    wanted = ("special-tags-slow", "error", "concepts.0.text.tag_dropout_special_tags")
    assert wanted not in codes_of(place, special)
    (place / "images" / "0.txt").write_text("a cat;a long caption of many words that ends without a mark of any kind")
    assert wanted in codes_of(place, special)
    (place / "tags.txt").write_text("a dog\n(\\w+\\s?)+!\n")
    assert wanted in codes_of(place, special, {"concepts.0.text.tag_dropout_special_tags": str(place / "tags.txt")})
    assert wanted not in codes_of(place, special, {"concepts.0.text.prompt_source": "filename"})
    (place / "all.txt").write_text("one more long caption of many words that ends without a mark of any kind\n")
    from_file = {"concepts.0.text.prompt_source": "concept", "concepts.0.text.prompt_path": "all.txt"}
    assert wanted in codes_of(place, special, from_file)
    for name, value in {"enable": False, "special_tags_regex": False, "special_tags_mode": "NONE"}.items():
        assert wanted not in codes_of(place, special, {f"concepts.0.text.tag_dropout_{name}": value})


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_slow_pattern_is_an_error_for_a_model_type_that_only_a_newer_onetrainer_has(place):
    """Its layers are unknown here, but OneTrainer would hang too."""
    changes = {"model_type": "SOMETHING_NEWER", "layer_filter": r"(\w+\.?)+!", "layer_filter_regex": True}
    assert ("layer-filter-slow", "error", "layer_filter") in codes_of(place, changes)


def test_every_code_of_the_catalog_is_tested():
    """A finding that no test triggers might not work."""
    refusals = {name for name, code in CODES.items() if code.late_error}
    assert {row[0] for row in CASES} | ELSEWHERE | refusals == set(CODES)


def test_the_documentation_lists_every_code():
    """The documentation's catalog equals the one in the code."""
    assert catalog() in (DOCS / "preflight.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_missing_and_empty_captions_are_reported_with_their_number(place):
    """The finding names the first image without a caption."""
    add_image(place / "images" / "b.png", caption=None)
    add_image(place / "images" / "c.png", caption="")
    found = {item.code: item for item in findings(place)}
    assert "1 of 6" in found["captions-missing"].message
    assert "b.png" in found["captions-missing"].message
    assert not found["captions-missing"].fix
    assert "c.txt" in found["captions-empty"].message


@pytest.mark.slow
def test_captions_that_nothing_reads_are_not_missed(place):
    """The VAE is trained on images only."""
    add_image(place / "images" / "b.png", caption=None)
    (place / "images" / "c.txt").write_bytes(b"\xff\xfe\xfd")
    codes = {item.code for item in findings(place, {"training_method": "FINE_TUNE_VAE"})}
    assert not {code for code in codes if code.startswith("caption")}


@pytest.mark.slow
def test_file_names_are_proposed_where_no_image_has_a_caption(place):
    """In that case, one change fixes all."""
    for file in (place / "images").glob("*.txt"):
        file.unlink()
    (missing,) = findings(place)
    assert missing.fix == {"concepts.0.text.prompt_source": "filename"}
    assert findings(place, dict(missing.fix)) == ()


@pytest.mark.slow
def test_a_caption_file_for_all_is_accepted_when_it_holds_something(place):
    """An empty one is no caption file."""
    changes = {"concepts.0.text.prompt_source": "concept", "concepts.0.text.prompt_path": "captions.txt"}
    (place / "captions.txt").write_text("")
    assert ("caption-file", "error", "concepts.0.text.prompt_path") in codes_of(place, changes)
    (place / "captions.txt").write_text("a cat")
    assert codes_of(place, changes) == set()


@pytest.mark.slow
def test_a_broken_image_is_named(place):
    """This covers a text file with an image extension, and one that ends in its header."""
    (place / "images" / "z.png").write_bytes(b"no picture")
    (place / "images" / "z.txt").write_text("a cat")
    errors = [item for item in findings(place) if item.severity == "error"]
    assert [error.code for error in errors] == ["image-broken"]
    assert "z.png" in errors[0].message


@pytest.mark.slow
def test_all_captions_in_other_encodings_are_named_with_their_text(place):
    """The text is what will be trained on; files that are no text are an error."""
    for number, encoding in enumerate(("cp1252", "utf-16", "utf-16-le", "utf-8-sig")):
        (place / "images" / f"{number}.txt").write_bytes("a café\nwith lines".encode(encoding))
    found = {item.code: item for item in findings(place)}
    assert set(found) == {"captions-encoding"}
    message = found["captions-encoding"].message
    assert "3 caption files" in message
    assert all(f"{number}.txt" in message for number in range(3))
    assert "windows-1252: “a café”" in message
    for number in range(3):
        (place / "images" / f"{number}.txt").write_bytes(b"a\0\0b")
    (error,) = findings(place)
    assert (error.code, error.severity) == ("captions-unreadable", "error")
    assert all(f"{number}.txt" in error.message for number in range(3))


@pytest.mark.slow
def test_captions_in_other_encodings_are_an_error_where_onetrainer_trains(place):
    """OneTrainer fails at the first one."""
    (place / "images" / "0.txt").write_bytes("a café".encode("cp1252"))
    assert codes_of(place, backend="onetrainer") >= {("captions-encoding", "error", "concepts.0.text.prompt_source")}


@pytest.mark.slow
def test_the_file_with_all_captions_may_have_another_encoding(place):
    """It is reported as well."""
    settings = {"concepts.0.text.prompt_source": "concept", "concepts.0.text.prompt_path": "all.txt"}
    (place / "all.txt").write_bytes("ein Kätzchen\n".encode("cp1252"))
    assert codes_of(place, settings) == {("captions-encoding", "warning", "concepts.0.text.prompt_path")}
    (place / "all.txt").write_bytes(bytes(9))
    assert ("captions-unreadable", "error", "concepts.0.text.prompt_path") in codes_of(place, settings)
    (place / "all.txt").write_bytes("\ufeff\n".encode())
    assert ("caption-file", "error", "concepts.0.text.prompt_path") in codes_of(place, settings)


@pytest.mark.slow
def test_a_caption_of_a_mark_alone_is_empty(place):
    """So is a caption of blank lines."""
    (place / "images" / "0.txt").write_bytes("\ufeff".encode())
    (place / "images" / "1.txt").write_bytes(b" \r\n\r\n")
    (empty,) = findings(place)
    assert (empty.code, "0.txt and 1 more" in empty.message) == ("captions-empty", True)


@pytest.mark.slow
def test_files_that_cannot_be_used_are_named(place):
    """These are broken links, and formats that aren't trained, with their number."""
    (place / "images" / "gone.png").symlink_to("nowhere")
    for name in ("x.jfif", "y.heic", "z.heic", "clip.mp4"):
        (place / "images" / name).write_bytes(b"x")
    found = {item.code: item for item in findings(place)}
    assert set(found) == {"files-skipped", "formats-skipped"}
    assert "gone.png" in found["files-skipped"].message
    assert "4 files" in found["formats-skipped"].message
    assert "2 .heic" in found["formats-skipped"].message


@pytest.mark.slow
def test_links_out_of_the_allowed_folders_are_an_error(place, tmp_path_factory):
    """This covers images, captions and the file of special tags."""
    outside = tmp_path_factory.mktemp("outside")
    add_image(outside / "x.png")
    (outside / "tags.txt").write_text("red")
    (place / "images" / "x.png").symlink_to(outside / "x.png")
    (place / "images" / "x.txt").symlink_to(outside / "x.txt")
    tags = {"concepts.0.text.tag_dropout_special_tags": str(outside / "tags.txt")}
    errors = {(item.code, item.path): item.message for item in findings(place, tags, roots=[place])}
    assert set(errors) == {
        ("link-outside", "concepts.0.path"),
        ("path-outside", "concepts.0.text.tag_dropout_special_tags"),
    }
    assert "2 links" in errors["link-outside", "concepts.0.path"]
    assert findings(place, tags) == ()


@pytest.mark.slow
def test_without_buckets_a_resolution_is_trained_as_it_is(place):
    """OneTrainer and the engine both crop to 500 at a resolution of 500."""
    assert codes_of(place, {"resolution": "500", "aspect_ratio_bucketing": False}) == {
        ("resolution-multiple", "warning", "resolution")
    }
    (found,) = findings(place, {"resolution": "500", "aspect_ratio_bucketing": False})
    assert "trained at 500" in found.message
    assert found.fix == {"resolution": "496"}


@pytest.mark.slow
def test_images_in_subfolders_are_offered(place):
    """The fix for an empty folder with subfolders is to include them."""
    (empty,) = (item for item in findings(place, {"concepts.0.path": "."}) if item.code == "concept-empty")
    assert empty.fix == {"concepts.0.include_subdirectories": True}


@pytest.mark.slow
def test_a_folder_of_broken_images_alone_is_an_error(place):
    """No run could train on it, and the engine reports the same after loading the model."""
    for image in (place / "images").glob("*.png"):
        image.write_bytes(b"broken")
    (empty,) = (item for item in findings(place) if item.code == "concept-empty")
    assert empty.severity == "error"
    assert "none of the 4 images" in empty.message


@pytest.mark.slow
def test_shapes_that_do_not_fill_a_batch_are_reported(place):
    """Three landscape images among four square ones can't fill a batch of four."""
    for number in range(3):
        add_image(place / "images" / f"wide{number}.png", (1024, 512))
    (few,) = findings(place, {"batch_size": 4})
    assert (few.code, few.severity, few.fix) == ("bucket-smaller-than-batch", "warning", {"batch_size": 3})
    assert "3 of 7" in few.message
    assert "3 in 728x360" in few.message
    assert findings(place, {"batch_size": 4}, dict(few.fix)) == ()
    assert findings(place, {"batch_size": 4, "aspect_ratio_bucketing": False}) == ()
    assert findings(place, {"batch_size": 4, "concepts.0.balancing": 2.0}) == ()


@pytest.mark.slow
def test_no_step_at_all_is_an_error(place):
    """Seven images in two buckets are enough for a batch of five by number only."""
    for number in range(3):
        add_image(place / "images" / f"wide{number}.png", (1024, 512))
    (none,) = findings(place, {"batch_size": 5})
    assert (none.code, none.severity) == ("bucket-empty", "error")


@pytest.mark.slow
def test_several_cards_need_larger_buckets(place):
    """The batch of each GPU has to be filled."""
    two = Machine("cuda", (Gpu("a", 24 * GIGABYTE, (8, 9)),) * 2, free=CPU.free)
    changes = {"multi_gpu": True, "train_device": "cuda", "batch_size": 3}
    (few,) = findings(place, changes, machine=two)
    assert (few.code, few.fix) == ("batch-larger-than-dataset", {"batch_size": 2})
    assert findings(place, changes, dict(few.fix), machine=two) == ()


@pytest.mark.slow
def test_looking_at_images_ends_when_the_time_is_up(place):
    """On a slow disk the check reports less instead of taking longer."""
    ticks = iter(range(1000))
    reader = ImageSizeReader(limit_s=2, clock=lambda: next(ticks))
    (unread,) = findings(place, {"batch_size": 4}, reader=reader)
    assert (unread.code, unread.severity) == ("images-unread", "note")
    assert "of 4" in unread.message


@pytest.mark.slow
def test_a_large_folder_is_not_looked_through_to_its_end(place):
    """Files that were not scanned are not reported as missing."""
    now = iter(range(0, 10000, 5))
    (unread,) = findings(place, {"batch_size": 400}, reader=ImageSizeReader(limit_s=2, clock=lambda: next(now)))
    assert (unread.code, unread.severity) == ("images-unread", "note")
    assert "of more than 0" in unread.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pipeline", "model_type", "fits"),
    [
        ("StableDiffusionPipeline", "STABLE_DIFFUSION_15", True),
        ("StableDiffusionInpaintPipeline", "STABLE_DIFFUSION_15_INPAINTING", True),
        ("StableDiffusionXLPipeline", "STABLE_DIFFUSION_15", False),
        ("StableDiffusionPipeline", "STABLE_DIFFUSION_XL_10_BASE", False),
        ("StableDiffusion3Pipeline", "STABLE_DIFFUSION_35", True),
        ("FluxFillPipeline", "FLUX_FILL_DEV_1", True),
        ("Flux2KleinPipeline", "FLUX_DEV_1", False),
        ("MyOwnPipeline", "FLUX_DEV_1", True),
    ],
)
def test_a_base_of_another_type_is_reported(place, pipeline, model_type, fits):
    """The folder's own index decides; an unknown pipeline is not judged."""
    (place / "model" / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    codes = {item.code for item in findings(place, {"model_type": model_type})}
    assert ("base-model-type" in codes) is not fits


@pytest.mark.slow
def test_an_existing_output_is_a_warning_or_an_error_by_the_settings(place):
    """Overwriting is a warning, or an error if files are protected, and another name is suggested."""
    (place / "out.safetensors").write_bytes(b"x")
    (place / "out-2.safetensors").write_bytes(b"x")
    for protect, severity in ((False, "warning"), (True, "error")):
        changes = {"output_model_destination": "out.safetensors", "prevent_overwrites": protect}
        (found,) = findings(place, changes)
        assert (found.code, found.severity) == ("output-exists", severity)
        assert found.fix == {"output_model_destination": "out-3.safetensors"}
        assert findings(place, changes, dict(found.fix)) == ()


@pytest.mark.slow
def test_an_existing_folder_takes_a_single_file(place):
    """OneTrainer names the file in it by the time."""
    (place / "models").mkdir()
    assert findings(place, {"output_model_destination": "models"}) == ()


@pytest.mark.slow
def test_paths_outside_the_allowed_folders_are_errors(place, tmp_path_factory):
    """With allowed folders, a path that leads elsewhere is rejected, also through a link."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    add_image(elsewhere / "c.png")
    (place / "link").symlink_to(elsewhere)
    for path in (str(elsewhere), "link", "../" + elsewhere.name):
        found = findings(place, {"concepts.0.path": path}, roots=[place])
        assert [(item.code, item.path) for item in found if item.severity == "error"] == [("path-outside", "concepts.0.path")]
    assert findings(place, roots=[place]) == ()
    (elsewhere / "model").mkdir()
    (elsewhere / "model" / "model_index.json").write_text("{}")
    assert ("path-outside", "error", "base_model_name") in codes_of(place, {"base_model_name": "link/model"}, roots=[place])
    assert codes_of(place, {"base_model_name": "owner/model"}, roots=[place]) == set()


@pytest.mark.slow
def test_what_may_not_be_read_or_written_is_reported(place):
    """The check asks the system before anything is tried."""
    (place / "captions.txt").write_text("a cat")
    (place / "old.safetensors").write_bytes(b"x")
    changes = {"lora_model_name": "old.safetensors"}
    closed = {"old.safetensors", place.name}
    found = codes_of(place, changes, machine=Machine("cpu", (), CPU.free, lambda path, mode: path.name not in closed))
    assert ("path-unreadable", "error", "lora_model_name") in found
    assert ("path-unwritable", "error", "workspace_dir") in found
    changes = {"concepts.0.text.prompt_source": "concept", "concepts.0.text.prompt_path": "captions.txt"}
    closed = {"captions.txt"}
    assert codes_of(place, changes, machine=Machine("cpu", (), CPU.free, lambda path, mode: path.name not in closed)) == {
        ("path-unreadable", "error", "concepts.0.text.prompt_path")
    }
    closed = {"images"}
    assert codes_of(place, machine=Machine("cpu", (), CPU.free, lambda path, mode: path.name not in closed)) == {
        ("path-unreadable", "error", "concepts.0.path")
    }


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_a_small_one_a_warning(place):
    """The space for backups and the model is estimated."""
    large = {"training_method": "FINE_TUNE", "output_model_format": "ORIGINAL_SINGLE_FILE"}
    for free, code, severity in ((0.1, "disk-full", "error"), (3.0, "disk-space", "warning")):
        machine = Machine("cpu", (), free=lambda path, free=free: int(free * GIGABYTE))
        (found,) = findings(place, large, machine=machine)
        assert (found.code, found.severity, found.path) == (code, severity, "workspace_dir")


@pytest.mark.slow
def test_a_lora_needs_little_room(place):
    """A LoRA and its backups need only a few gigabytes."""
    assert findings(place, machine=Machine("cpu", (), free=lambda path: 3 * GIGABYTE)) == ()


@pytest.mark.slow
def test_an_unreadable_list_of_concepts_is_reported(place):
    """The file is named, and everything else is still checked."""
    (place / "concepts.json").write_text("{")
    found = findings(place, {"concepts": None, "concept_file_name": "concepts.json"})
    assert {(item.code, item.path) for item in found} == {("list-file", "concept_file_name"), ("no-concept", "concepts")}


@pytest.mark.slow
def test_a_backup_of_another_run_is_not_continued(place):
    """Model type, method, adapter type and rank have to equal the backup's."""
    write_backup(place, model_type="STABLE_DIFFUSION_15", training_method="LORA", peft_type="LORA", lora_rank=4)
    (other,) = findings(place, {"continue_last_backup": True})
    assert (other.code, other.path, other.fix) == ("resume-other-run", "lora_rank", {"lora_rank": 4})
    assert findings(place, {"continue_last_backup": True}, dict(other.fix)) == ()


@pytest.mark.slow
def test_a_backup_with_no_epoch_left_is_not_continued(place):
    """The page reports it before Start; with more epochs it is fine."""
    backup = write_backup(place, model_type="STABLE_DIFFUSION_15", training_method="LORA", peft_type="LORA", lora_rank=16)
    progress = {"epoch": 3, "epoch_step": 0, "epoch_sample": 0, "global_step": 9}
    (backup / "meta.json").write_text(json.dumps({"train_progress": progress}))
    for backend in ("builtin", "onetrainer"):
        (found,) = findings(place, {"continue_last_backup": True, "epochs": 3}, backend=backend)
        assert (found.code, found.severity, found.path) == ("only-saves-result", "warning", "epochs")
    result = place / config_with().output_model_destination
    result.parent.mkdir(parents=True, exist_ok=True)
    write_result(result)
    for backend in ("builtin", "onetrainer"):
        found, exists = findings(place, {"continue_last_backup": True, "epochs": 3}, backend=backend)
        assert exists.code == "output-exists"
        assert (found.code, found.severity, found.path) == ("nothing-left-to-train", "error", "epochs")
    result.unlink()
    assert findings(place, {"continue_last_backup": True, "epochs": 4}) == ()


@pytest.mark.slow
def test_backups_of_earlier_runs_that_would_be_deleted_are_reported(place):
    """OneTrainer's rolling backups clean the whole workspace, ours only the run's own backups."""
    write_backup(place)
    (place / "workspace" / "run" / "backup" / "2026-01-02").mkdir()
    rolling = {"rolling_backup": True, "rolling_backup_count": 3}
    (found,) = findings(place, rolling, backend="onetrainer")
    assert (found.code, found.severity) == ("backups-deleted", "warning")
    assert found.fix == {"workspace_dir": "workspace/run-2"}
    assert findings(place, rolling, dict(found.fix), backend="onetrainer") == ()
    assert findings(place, rolling, backend="builtin") == ()
    assert [item.code for item in findings(place, rolling)] == ["backups-deleted"]


@pytest.mark.slow
def test_a_run_that_continues_its_own_chain_deletes_nothing_foreign(place):
    """The backups of the resumed run are part of the chain."""
    backup = write_backup(place, model_type="STABLE_DIFFUSION_15", training_method="LORA", peft_type="LORA", lora_rank=16)
    settings = {"rolling_backup": True, "continue_last_backup": True}
    write_chain(backup, chain_of_run("first", None))
    assert findings(place, settings, backend="onetrainer") == ()
    other = backup.with_name("2020-01-01_00-00-00-backup-1-0-1")
    other.mkdir()
    write_chain(other, chain_of_run("other", None))
    (found,) = findings(place, settings, backend="onetrainer")
    assert "1 backup of other runs" in found.message


@pytest.mark.slow
def test_images_for_validation_that_is_off_are_reported(place):
    """They would not be used."""
    concepts = [{"path": "images"}, {"path": "images", "type": "VALIDATION"}]
    (found,) = findings(place, {"concepts": concepts})
    assert (found.code, found.fix) == ("validation-off", {"validation": True})
    assert findings(place, {"concepts": concepts}, dict(found.fix)) == ()


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("dtype-slow", {"train_dtype": "BFLOAT_16"}),
        ("dtype-unsupported", {**OTHER_MODEL, "transformer.weight_dtype": "FLOAT_W8A8"}),
        ("attention-unsupported", {"attention_mechanism": "CUDNN"}),
        ("device-missing", {"train_device": "cuda:1"}),
        ("weights-exceed-memory", {**OTHER_MODEL, "transformer.weight_dtype": "BFLOAT_16"}),
    ],
)
def test_an_old_card_is_not_asked_for_what_it_cannot(shared_place, code, changes):
    """Features that need a newer GPU are reported for an older one."""
    assert code in {item[0] for item in codes_of(shared_place, {"train_device": "cuda", **changes}, machine=OLD_CARD)}


@pytest.mark.slow
def test_a_recent_card_does_it_all(place):
    """There is no finding about formats or kernels."""
    changes = {"train_device": "cuda", "train_dtype": "BFLOAT_16", "attention_mechanism": "FLASH"}
    weights = {"transformer.weight_dtype": "FLOAT_W8A8", "text_encoder_2.weight_dtype": "NFLOAT_4"}
    assert findings(place, OTHER_MODEL, changes, weights, machine=ADA) == ()


@pytest.mark.slow
def test_cards_that_cannot_be_counted_are_believed_in(place):
    """A driver without a query library may have any number of GPUs."""
    amd = Machine("cuda", None, free=CPU.free)
    assert findings(place, {"train_device": "cuda:3"}, machine=amd) == ()


@pytest.mark.parametrize(
    ("every", "skip", "unit", "total", "at_once", "first"),
    [
        (1, 0, TimeUnit.EPOCH, 1, True, 0),
        (1, 0, TimeUnit.EPOCH, 1, False, None),
        (5, 0, TimeUnit.EPOCH, 10, False, 5),
        (10, 0, TimeUnit.EPOCH, 10, False, None),
        (5, 6, TimeUnit.EPOCH, 20, True, 10),
        (10, 0, TimeUnit.STEP, 10, False, 9),
        (10, 0, TimeUnit.STEP, 9, False, None),
        (10, 0, TimeUnit.STEP, 9, True, 0),
        (10, 10, TimeUnit.STEP, 20, False, 19),
        (0, 0, TimeUnit.STEP, 9, False, None),
    ],
)
def test_an_interval_is_due_as_onetrainer_counts(every, skip, unit, total, at_once, first):
    """Saves and backups are due at the end of a step and at the start of a later epoch, samples also before the first one."""
    assert first_time(every, skip, unit, total, at_once=at_once) == first

    def due(place: int) -> bool:
        if place + 1 <= skip or not every:
            return False
        if unit is TimeUnit.EPOCH:
            return place % every == 0 and (at_once or place > 0)
        return (place + (0 if at_once else 1)) % every == 0

    assert next((place for place in range(total) if due(place)), None) == first


@pytest.mark.slow
def test_the_default_configuration_reports_why_it_cannot_start(place):
    """The defaults are checked without a crash, and the findings name what is missing."""
    codes = {item.code for item in check(TrainConfig(), base_folder=place, machine=CPU) if item.severity == "error"}
    assert {"no-concept", "format-for-method"} <= codes


@pytest.mark.exhaustive
@pytest.mark.slow
def test_no_combination_of_type_and_method_crashes_the_check(shared_place):
    """All 29 types with all 4 methods, allowed or not, give findings of the catalog."""
    for model_type, method in product(ModelType, TrainingMethod):
        for item in findings(shared_place, {"model_type": model_type.value, "training_method": method.value}):
            assert item.code in CODES


@pytest.mark.exhaustive
@pytest.mark.slow
def test_no_choice_crashes_the_check(shared_place):
    """Every member of every enum is tried, each at one of its settings."""
    takers: dict[type[Enum], list[str]] = {}
    for leaf in leaves(config_with({})):
        kind = without_none(leaf.annotation)
        if isinstance(kind, type) and issubclass(kind, Enum):
            takers.setdefault(kind, []).append(leaf.path)
    for kind, paths in takers.items():
        for member, path in zip(kind, cycle(paths), strict=False):
            assert isinstance(findings(shared_place, {path: member.value}, machine=ADA), tuple)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, -1, 10**9])
def test_no_number_crashes_the_check(shared_place, value):
    """All numbers at once are far out of bounds."""
    changes = {
        leaf.path: value
        for leaf in leaves(config_with({}))
        if without_none(leaf.annotation) in (int, float) and not isinstance(leaf.value, bool)
    }
    assert {item.severity for item in findings(shared_place, changes)} >= {"error"}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("value", [0, -1, 1e300, math.inf])
def test_no_single_number_crashes_the_check(shared_place, value):
    """Each number alone is far out of bounds, with everything turned on that depends on it."""
    counting = {"ema": "CPU", "validation": True, "rolling_backup": True, "dynamic_timestep_shifting": True}
    for leaf in leaves(config_with(counting)):
        kind = without_none(leaf.annotation)
        if isinstance(leaf.value, bool) or kind not in (int, float) or (kind is int and isinstance(value, float)):
            continue
        assert isinstance(findings(shared_place, {**counting, leaf.path: value}), tuple)


@pytest.mark.slow
def test_a_pattern_that_is_none_is_a_finding(place):
    """Any invalid pattern is reported, whatever else needs the layers that it would select."""
    quantized = {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS", "unet.weight_dtype": "NFLOAT_4"}
    for pattern in ("(", "a{99999999999}", "(" * 3000):
        found = findings(place, {**quantized, "layer_filter": pattern, "layer_filter_regex": True}, machine=ADA)
        assert "layer-filter-regex" in {item.code for item in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["", ",", "x" * 5000, "../..", "~who-is-this/x", "https://example.org/a b", "a/b", "*[(", "a\x00b"]
)
def test_no_text_crashes_the_check(shared_place, value):
    """All texts at once have any content."""
    changes = {
        leaf.path: value
        for leaf in leaves(config_with({}))
        if without_none(leaf.annotation) is str and not leaf.path.startswith("secrets")
    }
    assert {item.severity for item in findings(shared_place, changes, roots=[shared_place])} >= {"error"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["\u732b\u3000photo", "a\u00a0b", "\U0001f468\u200d\U0001f469", os.fsdecode(b"caf\xe9")])
def test_names_that_are_there_are_meant(place, name):
    """Ideographic spaces and joiners are invisible characters that real folder names contain."""
    try:
        (place / "images").rename(place / name)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert findings(place, {"concepts.0.path": name, "workspace_dir": f"{name}/new"}) == ()
    wrong = findings(place, {"concepts.0.path": name, "workspace_dir": f"{name}/new\u200b"})
    assert [(item.code, item.path) for item in wrong] == [("path-characters", "workspace_dir")]


@pytest.mark.slow
def test_errors_come_first_and_only_one_at_a_setting(place):
    """Two errors for one setting would be too many."""
    found = findings(place, {"output_model_format": "SAFETENSORS", "concepts": [], "samples": [], "validation": True})
    severities = [item.severity for item in found]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    errors = [item.path for item in found if item.severity == "error"]
    assert len(errors) == len(set(errors))


@pytest.mark.slow
def test_the_check_is_quick(place):
    """A check of a typical configuration takes a small fraction of a second."""
    config = config_with()
    started = time.perf_counter()
    for _ in range(5):
        check(config, base_folder=place, machine=CPU)
    assert (time.perf_counter() - started) / 5 < 0.5
    assert len(CHECKS) == len(set(CHECKS))


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.alone
def test_thousands_of_concepts_are_checked_soon(place):
    """A folder is scanned once, and no check compares every concept with every other."""
    concepts = [{"__version": 2, "name": f"c{at}", "path": "images", "seed": at} for at in range(8000)]
    config = config_with({"concepts": concepts})
    started = time.monotonic()
    assert check(config, base_folder=place, machine=CPU, reader=ImageSizeReader(limit_s=60)) == ()
    assert time.monotonic() - started < 10


@pytest.mark.exhaustive
@pytest.mark.slow
def test_concepts_on_one_folder_count_as_one_each(place):
    """The scan is shared; balancing and resolution belong to each concept."""
    two = [{"__version": 2, "name": name, "path": "images", "seed": 1} for name in "ab"]
    assert codes_of(place, {"concepts": two, "batch_size": 8}) == set()
    two[1]["image"] = {"enable_resolution_override": True, "resolution_override": "256"}
    assert ("bucket-empty", "error", "batch_size") in codes_of(place, {"concepts": two, "batch_size": 8})
