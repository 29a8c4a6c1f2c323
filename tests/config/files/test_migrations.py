"""A file of each older version opens with its original meaning."""

import copy
import math

import pytest

from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.migrations import CONCEPT_MIGRATIONS, TRAIN_MIGRATIONS, looks_like_version_0, migrate
from onetrainer_gradio.errors import ConfigInvalidError

# version -> (document of that version, dotted path -> expected value today)
FILES = {
    0: (
        {"optimizer": "ADAM", "optimizer_beta1": 0.8, "train_unet": False, "train_unet_epochs": 7},
        {"optimizer.optimizer": "ADAM", "optimizer.beta1": 0.8, "optimizer_defaults.ADAM.beta1": 0.8, "unet.train": False},
    ),
    1: (
        {
            "train_text_encoder": False,
            "train_text_encoder_epochs": 5,
            "text_encoder_learning_rate": 1e-6,
            "vae_model_name": "v",
            "vae_weight_dtype": "FLOAT_16",
            "prior_model_name": "p",
            "model_type": "WUERSTCHEN_2",
            "decoder_model_name": "d",
        },
        {
            "text_encoder.train": False,
            "text_encoder.stop_training_after": 5,
            "text_encoder.stop_training_after_unit": "EPOCH",
            "text_encoder.learning_rate": 1e-6,
            "vae.model_name": "v",
            "vae.weight_dtype": "FLOAT_16",
            "prior.model_name": "p",
            "decoder.model_name": "d",
            "loss_weight_fn": "P2",
            "loss_weight_strength": 1.0,
        },
    ),
    2: ({"min_snr_gamma": 3.0}, {"loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 3.0}),
    3: (
        {"noising_weight": 2.0, "noising_bias": 0.7},
        {"timestep_distribution": "SIGMOID", "noising_weight": 2.0, "noising_bias": pytest.approx(0.2)},
    ),
    4: (
        {"gradient_checkpointing": False, "unet": {}, "vae": {}},
        {"unet.gradient_checkpointing": False, "unet.offload_fraction": 0.0},
    ),
    5: ({"save_after": 3, "save_after_unit": "HOUR"}, {"save_every": 3, "save_every_unit": "HOUR"}),
    6: ({"lora_layer_preset": None}, {"layer_filter_preset": "full"}),
    7: (
        {"lora_layers": "attn", "lora_layer_preset": "attn-only", "lora_layers_regex": True},
        {"layer_filter": "attn", "layer_filter_preset": "attn-only", "layer_filter_regex": True},
    ),
    8: ({"model_type": "FLUX_DEV_1", "prior": {"train": False}}, {"transformer.train": False, "prior.train": False}),
    9: (
        {"weight_dtype": "BFLOAT_16", "unet": {"weight_dtype": "NONE"}, "vae": {"weight_dtype": "FLOAT_32"}},
        {"unet.weight_dtype": "BFLOAT_16", "vae.weight_dtype": "FLOAT_32"},
    ),
    10: (
        {
            "gradient_checkpointing": "CPU_OFFLOADED",
            "layer_offload_fraction": 0.5,
            "enable_async_offloading": False,
            "unet": {},
            "training_method": "LORA",
            "output_model_format": "SAFETENSORS",
        },
        {
            "unet.gradient_checkpointing": True,
            "unet.activation_offloading": True,
            "unet.offload_fraction": 0.5,
            "async_offloading": False,
            "output_model_format": "LEGACY_LORA",
        },
    ),
}


def at(config, path):
    value = config
    for part in path.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


@pytest.mark.parametrize("version", FILES)
def test_a_file_of_each_version_means_today_what_it_meant_then(version):
    """Every migration step has a file that needs it, and no key remains as unknown."""
    document, expected = FILES[version]
    config, findings = from_document({**document, "__version": version} if version else document)
    assert {path: at(config, path) for path in expected} == expected
    assert [finding.path for finding in findings if finding.path != "embeddings"] == []


def test_there_is_a_step_from_every_version():
    """There are eleven steps for configurations, two for concepts, and a file for each of the eleven."""
    assert len(TRAIN_MIGRATIONS) == 11 == len(FILES)
    assert len(CONCEPT_MIGRATIONS) == 2


@pytest.mark.parametrize("version", FILES)
def test_a_step_leaves_its_input_alone(version):
    """Migrating the same object twice gives the same result."""
    document, _ = FILES[version]
    before = copy.deepcopy(document)
    assert migrate(document, version) == migrate(document, version)
    assert document == before


@pytest.mark.parametrize(
    ("method", "expected"), [("LORA", "LEGACY_LORA"), ("FINE_TUNE", "LEGACY_SAFETENSORS"), ("EMBEDDING", "SAFETENSORS")]
)
def test_the_old_format_name_depends_on_the_method(method, expected):
    """SAFETENSORS meant a different layout for each method."""
    assert migrate({"training_method": method, "output_model_format": "SAFETENSORS"}, 10)["output_model_format"] == expected


def test_a_file_without_version_is_a_preset_unless_its_keys_are_the_oldest():
    """A preset is merged with the defaults unchanged: nothing in it is reinterpreted."""
    assert looks_like_version_0({"optimizer": "ADAM"})
    assert looks_like_version_0({"train_unet": True})
    assert not looks_like_version_0({"optimizer": {"optimizer": "ADAM"}, "optimizer_defaults": {}, "noising_weight": 1.0})
    config, _ = from_document({"noising_weight": 1.0, "output_model_format": "SAFETENSORS"})
    assert (config.timestep_distribution, config.output_model_format) == ("UNIFORM", "SAFETENSORS")


@pytest.mark.parametrize(
    "flat",
    [
        {"unet_weight_dtype": "FLOAT_16", "weight_dtype": "BFLOAT_16"},
        {"train_text_encoder_epochs": 30, "train_unet_epochs": 100_000, "decoder_weight_dtype": "FLOAT_16"},
        {"decoder_model_name": "somebody/something", "effnet_encoder_model_name": "TODO"},
        {"optimizer_learning_rate": 1.0, "prior_learning_rate": 2.0},
    ],
)
@pytest.mark.parametrize("optimizer", [{"optimizer": "ADAFACTOR"}, {"__version": 0, "optimizer": "ADAFACTOR", "beta1": None}])
def test_a_preset_with_an_optimizer_object_and_flat_keys_is_merged_with_the_defaults(flat, optimizer):
    """As in OneTrainer, keys with today's names count; the flat keys are kept, reported and unused."""
    named = {"model_type": "STABLE_CASCADE_1", "resolution": "1024", "output_dtype": "BFLOAT_16", "optimizer": optimizer}
    config, findings = from_document({**named, **flat})
    plain, _ = from_document(named)
    document, expected = (to_document(each, packed=True) for each in (config, plain))
    assert {key: document[key] for key in expected if key != "embedding"} == {
        key: value for key, value in expected.items() if key != "embedding"
    }
    assert config.optimizer.optimizer == "ADAFACTOR"
    assert {finding.path for finding in findings} == set(flat)
    assert {finding.severity for finding in findings} == {"warning"}


def test_old_concepts_are_migrated_inside_a_file():
    """Repeats and the validation switch keep their meaning."""
    config, findings = from_document(
        {"concepts": [{"repeats": 3.0, "validation_concept": True}, {"__version": 1, "validation_concept": False}]}
    )
    assert (config.concepts[0].balancing, config.concepts[0].type, config.concepts[1].type) == (3.0, "VALIDATION", "STANDARD")
    assert not findings


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"__version": 3, "noising_weight": 1.0, "noising_bias": {}}, "noising_bias"),
        ({"__version": 3, "noising_weight": 1.0, "noising_bias": "much"}, "noising_bias"),
        ({"__version": 1, "embedding_model_names": 3, "train_unet": "perhaps"}, "unet.train"),
    ],
)
def test_a_damaged_old_file_is_rejected_with_the_damaged_setting(document, path):
    """No step fails on a value with a wrong type: the validation after it names the setting."""
    with pytest.raises(ConfigInvalidError) as caught:
        from_document(document)
    assert [finding.path for finding in caught.value.findings()] == [path]


def test_an_infinite_bias_survives_its_step():
    """Infinity is written as a word, which the step has to read."""
    config, _ = from_document({"__version": 3, "noising_weight": 1.0, "noising_bias": "inf"})
    assert math.isinf(config.noising_bias)
