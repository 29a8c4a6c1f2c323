"""The list of settings that the engine reads."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from onetrainer_gradio import engine
from onetrainer_gradio.commands import SampleDefault
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.declarations.setting import Settings
from onetrainer_gradio.engine import optimizers
from onetrainer_gradio.engine.learning_rates import learning_rates
from onetrainer_gradio.engine.optimizers.recipes import RECIPES
from onetrainer_gradio.engine.supported_settings import SUPPORTED_SETTINGS
from tests.engine.optimizers.toy import AVAILABLE, chosen, groups, weights
from tests.engine.recording import FakeControl, Recorder

# serializing, rejecting, or protecting a path in a configuration doesn't count as reading it
pytestmark = pytest.mark.slow

NOT_READING = (
    "documents.py",
    "walk.py",
    "placement.py",
    "destinations.py",
    "unsupported.py",
    "check/plan.py",
    "check/parts.py",
    "check/losses.py",
    "check/optimizers.py",
    "main.py",
    "test_supported_settings.py",
)


def followed(settings: Settings, prefix: str, log: set[str]) -> Settings:
    """Return the same settings, recording every access."""
    kind = type(settings)
    fields = set(kind.model_fields)
    values = {}
    for name in fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            value = followed(value, f"{prefix}{name}.", log)
        elif isinstance(value, tuple) and value and isinstance(value[0], Settings):
            value = tuple(followed(item, f"{prefix}{name}.*.", log) for item in value)
        values[name] = value
    leaves = {name for name in fields - {"concepts", "samples"} if not isinstance(values[name], Settings)}

    def ask(self, name):
        if name in leaves and not sys._getframe(1).f_code.co_filename.endswith(NOT_READING):
            log.add(prefix + name)
        return super(spy, self).__getattribute__(name)

    spy = type(kind.__name__, (kind,), {"__getattribute__": ask, "__module__": __name__})
    return spy.model_construct(**values)


@pytest.fixture
def asked(configured, tmp_path) -> set[str]:
    """Return the settings that runs with everything enabled access."""
    log: set[str] = set()
    sample = {"prompt": "x", "width": 32, "height": 32, "diffusion_steps": 1}
    everything = configured(
        validation=True,
        ema="CPU",
        samples=[sample],
        sample_after=1,
        sample_after_unit="EPOCH",
        save_every=1,
        save_every_unit="EPOCH",
        text_encoder__train=True,
        unet__stop_training_after_unit="EPOCH",
        unet__stop_training_after=9,
        rolling_backup=True,
        backup_before_save=True,
        loss_weight_fn="P2",
        offset_noise_weight=0.1,
        lora_model_name=str(tmp_path / "lora.safetensors"),
        concept={"text": {"prompt_source": "concept", "prompt_path": str(tmp_path / "captions.txt")}},
    )
    (tmp_path / "captions.txt").write_text("one\ntwo")
    measured = everything.concepts[0].model_copy(update={"type": "VALIDATION"})
    everything = everything.model_copy(update={"concepts": (*everything.concepts, measured)})
    first = everything.model_copy(
        update={"lora_model_name": "", "output_model_destination": str(tmp_path / "lora.safetensors"), "validation": False}
    )
    runs = [first, everything]
    kinds = ("rotate", "brightness", "contrast", "saturation", "hue")
    changes = {f"enable_random_{kind}": True for kind in kinds}
    drops = {"tag_dropout_enable": True, "tag_dropout_probability": 0.1, "tag_dropout_special_tags_mode": "WHITELIST"}
    capitals = {"caps_randomize_enable": True, "caps_randomize_probability": 0.1, "enable_tag_shuffling": True}
    override = {
        "image": {"enable_resolution_override": True, "resolution_override": "64", **changes},
        "text": {**drops, "tag_dropout_special_tags_regex": True, "tag_dropout_special_tags": "a.*", **capitals},
    }
    for optimizer in ("SGD", "ADAFACTOR"):
        runs.append(configured(optimizer__optimizer=optimizer, epochs=1, concept=override))
    runs.append(
        configured(
            training_method="FINE_TUNE",
            output_model_format="DIFFUSERS",
            output_model_destination=str(tmp_path / "model"),
            include_train_config="ALL",
            layer_filter="attn2",
        )
    )
    for name in AVAILABLE:
        every = chosen(name)
        optimizers.make_optimizer(followed(every, "", log), groups(weights(), every.learning_rate))
    scheduler = {
        "learning_rate_scheduler": "CUSTOM",
        "custom_learning_rate_scheduler": "torch.optim.lr_scheduler.StepLR",
        "scheduler_params": ({"key": "step_size", "value": "3"},),
    }
    plain = chosen("ADAMW", fused=False)
    optimizer = optimizers.make_optimizer(plain, groups(weights(), plain.learning_rate))
    learning_rates(followed(plain.model_copy(update=scheduler), "", log), optimizer, 3, 0)
    # those that need a GPU aren't created, but their arguments are computed
    for name, recipe in RECIPES.items():
        recipe.values(followed(chosen(name), "", log))
    for adapter in (
        {"lora_decompose": True},
        {"peft_type": "LOHA"},
        {"peft_type": "LOKR", "lokr_dim": 1, "lokr_weight_decompose": True},
        {"peft_type": "OFT_2"},
    ):
        runs.append(configured(epochs=1, **adapter))
    runs.append(configured(unet__weight_dtype="FLOAT_8", quantization__svd_dtype="FLOAT_32", epochs=1))
    stopping = {"stop_training_after": 9, "stop_training_after_unit": "EPOCH"}
    for method in (
        {"training_method": "EMBEDDING", "output_model_format": "SAFETENSORS"},
        {"bundle_additional_embeddings": False},
    ):
        main, other = ({"uuid": name, "placeholder": f"<{name}>", **stopping} for name in "ab")
        runs.append(configured(epochs=1, embedding=main, additional_embeddings=[other], **method))
    for config in runs:
        control = FakeControl()
        control.give(SampleDefault())
        engine.run(followed(config, "", log), Recorder(), control, RunOptions(max_steps=4))
    return log


@pytest.mark.exhaustive
def test_the_list_is_what_runs_ask_for(asked):
    """Every accessed setting is in the list, and every listed one is accessed."""
    assert asked - set(SUPPORTED_SETTINGS) == set()
    assert set(SUPPORTED_SETTINGS) - asked == set()


def test_the_settings_page_can_be_built_from_it():
    """Its paths exist in the configuration."""
    from onetrainer_gradio.config import ConceptConfig, SampleConfig, TrainConfig
    from onetrainer_gradio.config.declarations.embedding import TrainEmbeddingConfig

    items = {"concepts": ConceptConfig(), "samples": SampleConfig(), "additional_embeddings": TrainEmbeddingConfig()}
    for path in SUPPORTED_SETTINGS:
        at = TrainConfig()
        for name in path.split("."):
            if name == "*":
                at = items[path.split(".")[0]]
            elif not (name in items and "*" in path):
                at = getattr(at, name)
    assert len(set(SUPPORTED_SETTINGS)) == len(SUPPORTED_SETTINGS)
    assert list(SUPPORTED_SETTINGS) == sorted(SUPPORTED_SETTINGS)
    assert not [path for path in SUPPORTED_SETTINGS if re.search(r"\s", path)]
    assert Path(engine.__file__).parent.joinpath("supported_settings.py").is_file()
