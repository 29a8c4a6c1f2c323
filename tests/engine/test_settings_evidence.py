"""Every setting of the form changes a result in a recorded run or in a named test, or has a reason why not.

Covers ``engine/supported_settings.py``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from tests.golden.cases import Case, cases
from tests.golden.test_rows import rows

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
MAX_TOGETHER = 3
"""A recorded run shows a setting if it differs from another run in the setting and at most two more that belong to it."""

TESTED: Mapping[str, tuple[str, ...]] = {
    "test_training.py::test_validation_measures_what_is_not_trained": ("validation", "validate_after", "validate_after_unit"),
    "test_resume.py::test_the_newest_backup_of_the_workspace_is_continued": ("continue_last_backup",),
    "test_training.py::test_an_existing_result_is_protected": ("prevent_overwrites",),
    "test_lora.py::test_the_header_shows_what_the_file_is": ("include_train_config",),
    "test_lora.py::test_the_file_has_the_output_precision": ("output_dtype",),
    "test_lora.py::test_the_layer_filter_chooses_layers": ("layer_filter_regex",),
    "test_lora.py::test_adapter_dropout_depends_on_the_step_alone": ("dropout_probability",),
    "test_lora.py::test_training_continues_from_a_file": ("lora_model_name",),
    "test_adapters.py::test_what_is_read_back_is_what_was_written": ("lora_rank",),
    "test_adapters.py::test_an_adapter_in_half_precision_computes_in_the_precision_of_its_layer": ("lora_weight_dtype",),
    "test_memory_settings.py::test_circular_padding_changes_the_losses": ("force_circular_padding",),
    "test_memory_settings.py::test_a_vae_from_another_folder_is_used": ("vae.model_name",),
    "test_memory_settings.py::test_gradient_checkpointing_changes_no_loss": (
        "unet.gradient_checkpointing",
        "text_encoder.gradient_checkpointing",
    ),
    "test_component_weights.py::test_a_gguf_file_stays_quantized": ("transformer.model_name", "transformer.weight_dtype"),
    "test_component_weights.py::test_t5_computes_in_the_fallback_data_type": ("fallback_train_dtype",),
    "test_quantization.py::test_corrections_are_decomposed_once": (
        "quantization.svd_dtype",
        "quantization.svd_rank",
    ),
    "test_component_weights.py::test_a_component_is_loaded_in_its_data_type": (
        "quantization.layer_filter",
        "quantization.layer_filter_regex",
    ),
    "test_sampling.py::test_half_precision_generates_an_image": ("vae.weight_dtype", "text_encoder.weight_dtype"),
    "test_training.py::test_a_part_stops_training_when_its_time_is_over": (
        "text_encoder.stop_training_after",
        "text_encoder.stop_training_after_unit",
    ),
    "test_training.py::test_nothing_left_to_train_ends_the_run": (
        "unet.stop_training_after",
        "unet.stop_training_after_unit",
    ),
    "test_training.py::test_only_caching_trains_and_saves_nothing": ("only_cache",),
    "test_embeddings.py::test_training_of_an_embedding_can_stop_before_the_run": (
        "embedding.stop_training_after",
        "embedding.stop_training_after_unit",
    ),
    "test_embeddings.py::test_an_embedding_that_is_not_trained_is_used": (
        "additional_embeddings[].placeholder",
        "additional_embeddings[].train",
    ),
    "test_embeddings.py::test_an_output_embedding_starts_as_the_encoded_text": (
        "additional_embeddings[].is_output_embedding",
        "embedding_learning_rate",
    ),
    "test_embeddings.py::test_training_continues_from_a_file": ("embedding.model_name",),
    "test_embeddings.py::test_an_additional_embedding_starts_from_its_file": ("additional_embeddings[].model_name",),
    "test_embeddings.py::test_an_embedding_that_is_to_stay_is_not_trained": ("embedding.train",),
    "test_embeddings.py::test_additional_embeddings_are_in_the_lora_or_next_to_it": ("bundle_additional_embeddings",),
    "data/test_images.py::test_captions_come_from_one_file_or_the_name": ("concepts[].text.prompt_path",),
    "data/test_images.py::test_what_cannot_be_used_is_named_and_the_rest_is_trained": ("concepts[].include_subdirectories",),
    "data/test_seeds.py::test_captions_are_augmented_as_recorded": (
        "concepts[].text.tag_delimiter",
        "concepts[].text.tag_dropout_special_tags",
        "concepts[].text.tag_dropout_special_tags_mode",
        "concepts[].text.tag_dropout_special_tags_regex",
        "concepts[].text.caps_randomize_mode",
        "concepts[].text.caps_randomize_probability",
        "concepts[].text.caps_randomize_lowercase",
    ),
    "optimizers/test_toy_runs.py::test_a_custom_scheduler_sets_the_rates_of_a_run": (
        "custom_learning_rate_scheduler",
        "scheduler_params",
    ),
    "test_inpainting.py::test_the_image_around_the_mask_stays": (
        "samples[].sample_inpainting",
        "samples[].base_image_path",
        "samples[].mask_image_path",
        "samples[].height",
        "samples[].width",
    ),
    "test_sampling.py::test_only_enabled_prompts_are_generated_and_skip_first_waits": (
        "samples[].enabled",
        "samples[].prompt",
        "sample_skip_first",
    ),
    "test_sampling.py::test_guidance_below_one_follows_the_negative_prompt": ("samples[].cfg_scale",),
    "test_sampling.py::test_the_event_and_the_file_say_how_it_was_made": (
        "samples[].negative_prompt",
        "samples[].random_seed",
    ),
    "test_sampling.py::test_the_seed_of_a_prompt_decides_its_image": ("samples[].seed",),
    "test_sampling.py::test_every_sampler_generates_an_image": ("samples[].noise_scheduler",),
    "test_sampling.py::test_jpeg_is_written_too": ("sample_image_format",),
    "test_sampling.py::test_stop_ends_an_image_between_two_sampler_steps": ("samples[].diffusion_steps",),
    "test_outputs.py::test_only_the_newest_backups_are_kept": (
        "backup_after",
        "backup_after_unit",
        "rolling_backup",
        "rolling_backup_count",
    ),
    "test_models.py::test_a_full_backup_is_a_model_of_its_own": ("backup_before_save",),
    "test_training.py::test_the_workspace_looks_as_onetrainer_leaves_it": ("save_every", "save_every_unit"),
    "test_training.py::test_the_first_saves_are_skipped": ("save_skip_first",),
    "test_toy_run.py::test_a_run_goes_from_the_images_to_the_file": (
        "sample_after",
        "sample_after_unit",
        "non_ema_sampling",
    ),
    "test_outputs.py::test_only_the_declared_names_become_parts_of_paths": ("save_filename_prefix",),
    "test_models.py::test_the_hub_is_asked_by_the_settings": (
        "offline_mode",
        "huggingface_cache_dir",
        "secrets.huggingface_token",
    ),
    "test_unsupported.py::test_attention_is_a_choice_of_newer_denoisers": ("attention_mechanism",),
    "test_unsupported.py::test_combinations_are_rejected": ("force_epsilon_prediction",),
}
"""Tests of results, and the settings that they change."""

REASONS: Mapping[str, str] = {
    r"cloud\..*|secrets\.cloud\..*": "Training in a cloud is refused.",
    r"multi_gpu|device_indexes|(fused_|async_)?gradient_reduce\w*": "Training on several GPUs is refused.",
    r"debug_mode|debug_dir": "Debug images are refused.",
    r"(prior|unconditional_transformer|effnet_encoder|decoder\w*|text_encoder_4)\..*|text_encoder_4_layer_skip": (
        "No family that is trained here has this component."
    ),
    r"frames|samples\[\]\.(frames|length)|sample_(video|audio)_format": "No family that is trained here has frames.",
    r"vb_loss_strength": "Only for PixArt.",
    r"text_encoder_sequence_length": "No family that is trained here reads it for its first text encoder.",
    r"tensorboard\w*|samples_to_tensorboard": "Shows results, and changes none.",
    r"workspace_dir|cache_dir|quantization\.cache_dir|output_model_destination|concepts\[\]\.path|base_model_name": (
        "A place; every recorded run has its own."
    ),
    r"model_type": "Every recorded family.",
    r"concept_file_name|sample_definition_file_name|optimizer_defaults|(quantization\.)?layer_filter_preset": (
        "The form and the check replace it by what it names before a run starts."
    ),
    r"concepts\[\]\.(name|concept_stats)|(embedding|additional_embeddings\[\])\.uuid": "A name of the file format.",
    r"train_device|temp_device": "A test without a GPU has one device.",
    r"async_offloading|compile|dataloader_threads|clear_cache_before_training|enable_autocast_cache": (
        "Changes speed or memory, and no result."
    ),
    r"\w+\.(offload_fraction|activation_offloading)": "Changes memory, and no result (tests/engine/test_layer_offload.py).",
    r"\w+\.gradient_checkpointing": "Changes memory, and no result, as tests of the UNet and its text encoder show.",
    r"(unet|text_encoder|text_encoder_2|text_encoder_3|vae)\.(attention_mask|guidance_scale)": (
        "In the file format for every component, and read for transformers only."
    ),
    r"(unet|vae)\.(include|dropout_probability|train_embedding)|transformer\.(include|dropout_probability|train_embedding)": (
        "In the file format for every component, and read for text encoders only."
    ),
    r"unet\.model_name|text_encoder(_[23])?\.model_name": "Refused: no other model can replace this component.",
    r"vae\.(train|stop_training_after(_unit)?|learning_rate)": "Ignored by OneTrainer, too (docs/fidelity.md).",
    r"(transformer|text_encoder_[23])\.(stop_training_after(_unit)?|learning_rate|weight_dtype|train|train_embedding)": (
        "The same function for every component, which tests of the UNet and its text encoder run."
    ),
    r"optimizer\..*": "Arguments of all optimizers are compared with recorded ones (tests/engine/optimizers).",
    r"samples\[\]\.(text_encoder_\d_(layer_skip|sequence_length)|transformer_attention_mask|force_last_timestep)": (
        "In the file format; samples use the training setting of the same name."
    ),
}
"""Settings without a test of results, as patterns, with the reason."""


def flat(changes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each changed setting by its path in the catalog, with its value as text."""
    for name, value in changes.items():
        path = re.sub(r"^(concept|second)\.", "concepts[].", name)
        if isinstance(value, Mapping) and value:
            yield from flat({f"{path}.{inner}": one for inner, one in value.items()})
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            for entry in value:
                yield from flat({f"{path}[].{inner}": one for inner, one in entry.items()})
        else:
            yield path, repr(value)


@cache
def recorded() -> frozenset[str]:
    """Return the settings that change a recorded run: another run differs in them, and in its numbers."""
    by_model: dict[tuple[str, str], list[tuple[Case, frozenset[tuple[str, str]]]]] = {}
    for case in cases():
        if case.id in rows():
            by_model.setdefault((case.model_type, case.folder), []).append((case, frozenset(flat(case.changes))))
    found: set[str] = set()
    for runs in by_model.values():
        for one, changes in runs:
            for other, others in runs:
                differing = {path for path, _ in changes ^ others}
                if len(differing) <= MAX_TOGETHER and rows()[one.id] != rows()[other.id]:
                    found |= differing
    return frozenset(found)


@cache
def leaves() -> list[str]:
    """Return the settings of the catalog that have a value."""
    holders = {
        "".join(parts[:end]) for path in CATALOGUE for parts in [re.split(r"(?=\.|\[\])", path)] for end in range(1, len(parts))
    }
    return [path for path in CATALOGUE if path not in holders]


def reason(path: str) -> str:
    """Return why no test changes a result with a setting; empty without a reason."""
    return next((text for pattern, text in REASONS.items() if re.fullmatch(pattern, path)), "")


def test_every_setting_is_recorded_or_tested_or_has_a_reason():
    """A new setting needs one of them."""
    tested = {path for paths in TESTED.values() for path in paths}
    shown = recorded() | tested
    assert [path for path in leaves() if path not in shown and not reason(path)] == []
    assert tested <= set(leaves())
    assert not [pattern for pattern in REASONS if not any(re.fullmatch(pattern, path) for path in leaves())]


@pytest.mark.parametrize("name", TESTED)
def test_a_named_test_is_there_and_changes_its_settings(name: str):
    """Its code contains the name of each setting."""
    file, _, function = name.partition("::")
    source = (HERE / file).read_text(encoding="utf-8")
    (found,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == function]
    first = min([found.lineno, *(each.lineno for each in found.decorator_list)])
    code = "\n".join(source.splitlines()[first - 1 : found.end_lineno])
    assert [path for path in TESTED[name] if path.rpartition(".")[2] not in code] == []
