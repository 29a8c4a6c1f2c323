"""Complete runs in a second, with a two-layer family: load, cache, step, sample, back up, resume, save.

(engine/training.py, engine/methods/vae.py)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from onetrainer_gradio.commands import BackupNow, Pause, Resume, SampleCustom, SampleDefault, SaveNow, Stop
from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine import families
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.errors import ConfigInvalidError, DatasetError, NonFiniteLossError, UnsupportedError
from onetrainer_gradio.events import (
    BackupCreated,
    ModelSaved,
    PhaseProgress,
    Resumed,
    RunPlanned,
    SampleGenerated,
    ValidationCompleted,
    WarningIssued,
)
from tests.engine import toy_family
from tests.engine.recording import FakeControl, Recorder, after_step

SAMPLE = {"prompt": "a red cross", "width": 32, "height": 16, "diffusion_steps": 2, "noise_scheduler": "DDIM", "seed": 3}


@pytest.fixture(autouse=True)
def _registered(monkeypatch) -> None:
    """Register the toy family in place of Stable Diffusion 1.5."""
    monkeypatch.setitem(families.FAMILIES, "STABLE_DIFFUSION_15", "tests.engine.toy_family")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return toy_family.write_model(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def toy(configured, model) -> Callable[..., TrainConfig]:
    return lambda **changes: configured(**{"base_model_name": str(model), "layer_filter": "", "lora_rank": 2, **changes})


def run_with(train: Any, config: TrainConfig, at: int, *commands: Any, **options: Any) -> tuple[str, Recorder]:
    """Run with commands that are given after an optimizer step."""
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, at, *commands)
    return train(config, recorder, control, **options)


def test_a_run_goes_from_the_images_to_the_file(toy, train, tmp_path):
    """Each phase comes in order, with sample, validation, intermediate save and final file."""
    config = toy(
        samples=[SAMPLE, {**SAMPLE, "enabled": False}],
        sample_after=1,
        sample_after_unit="EPOCH",
        backup_before_save=True,
        save_every=1,
        save_every_unit="EPOCH",
        ema="CPU",
        non_ema_sampling=True,
        clip_grad_norm=1.0,
        gradient_accumulation_steps=1,
    )
    outcome, recorder = train(config)
    assert outcome == "completed"
    phases = [phase for number, phase in enumerate(recorder.phases) if number == 0 or recorder.phases[number - 1] != phase]
    assert list(dict.fromkeys(phases)) == ["loading", "caching", "sampling", "training", "saving", "backing_up"]
    (plan,) = recorder.of(RunPlanned)
    assert (plan.total_steps, plan.images, plan.learning_rates) == (6, 6, ("unet_lora",))
    cached = [event for event in recorder.of(PhaseProgress) if event.phase == "caching"]
    assert cached[-1].done == cached[-1].total == 12
    assert len(recorder.losses) == 6
    assert all(step.grad_norm is not None and step.grad_norm > 0 for step in recorder.steps)
    samples = recorder.of(SampleGenerated)
    assert {(sample.ema, sample.index) for sample in samples} == {(True, 0), (False, 0)}
    with Image.open(samples[0].path) as image:
        assert image.size == (32, 16)
        assert json.loads(image.text["onetrainer_gradio"])["seed"] == 3
    (final,) = [saved for saved in recorder.of(ModelSaved) if saved.final]
    weights = load_file(final.path)
    assert any("lora_unet_image" in key for key in weights)
    assert len(recorder.of(ModelSaved)) > 1


@pytest.mark.parametrize(
    ("method", "accumulation"),
    [pytest.param("LORA", 1, marks=pytest.mark.slow), ("LORA", 2), pytest.param("FINE_TUNE", 1, marks=pytest.mark.slow)],
)
def test_a_resumed_run_ends_as_the_whole_one(toy, train, tmp_path, method, accumulation):
    """For adapter and full model, and with gradients pending at the backup, losses and weights are the same."""
    fine = {"output_model_format": "LEGACY_SAFETENSORS", "text_encoder__train": True} if method == "FINE_TUNE" else {}
    whole = toy(training_method=method, gradient_accumulation_steps=accumulation, epochs=4, ema="CPU", **fine)
    _, recorder = run_with(train, whole, 2, BackupNow())
    (backup,) = recorder.of(BackupCreated)
    resumed = whole.model_copy(update={"output_model_destination": str(tmp_path / "resumed.safetensors")})
    _, again = train(resumed, resume_from=backup.path)
    (event,) = again.of(Resumed)
    assert event.global_step == backup.global_step
    assert again.losses == recorder.losses[backup.global_step // accumulation :]
    one, other = load_file(whole.output_model_destination), load_file(resumed.output_model_destination)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    with pytest.raises(ConfigInvalidError):  # nothing is left of it
        train(resumed, resume_from=backup.path, max_steps=backup.global_step)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    "adapter",
    [
        pytest.param({"lora_decompose": True}, marks=pytest.mark.slow),
        pytest.param({"peft_type": "LOHA"}, marks=pytest.mark.slow),
        {"peft_type": "LOKR", "lokr_dim": 1},
        pytest.param({"peft_type": "LOKR", "lokr_dim": 1, "lokr_weight_decompose": True}, marks=pytest.mark.slow),
        pytest.param({"peft_type": "OFT_2", "oft_block_size": 2}, marks=pytest.mark.slow),
    ],
    ids=["DoRA", "LoHa", "LoKr", "LoKr with magnitudes", "OFT"],
)
@pytest.mark.parametrize("model_format", ["KOHYA_LORA", pytest.param("DIFFUSERS_LORA", marks=pytest.mark.slow)])
def test_every_adapter_type_resumes_and_continues_from_its_file(toy, train, tmp_path, adapter, model_format):
    """A resumed run gives the same file; one that starts from that file begins with the final loss of the first one."""
    whole = toy(**adapter, dropout_probability=0.2, learning_rate=0.01, epochs=3, output_model_format=model_format)
    _, recorder = run_with(train, whole, 4, BackupNow())
    (backup,) = recorder.of(BackupCreated)
    resumed = whole.model_copy(update={"output_model_destination": str(tmp_path / "resumed.safetensors")})
    _, again = train(resumed, resume_from=backup.path)
    assert again.losses == recorder.losses[4:]
    one, other = load_file(whole.output_model_destination), load_file(resumed.output_model_destination)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    frozen = {"learning_rate": 0.0, "dropout_probability": 0.0, "lora_model_name": whole.output_model_destination}
    target = str(tmp_path / "continued.safetensors")
    _, continued = train(resumed.model_copy(update={**frozen, "output_model_destination": target}))
    assert continued.losses[0] != recorder.losses[0]
    for name, tensor in load_file(target).items():
        torch.testing.assert_close(tensor, one[name])


@pytest.mark.exhaustive
@pytest.mark.slow
def test_fine_tuning_the_vae_goes_from_the_images_to_the_model(toy, train, tmp_path, few_images):
    """It needs no captions: the decoder learns, the rest of the model is saved
    unchanged, and a resumed run has the same result.
    """
    concept = {"__version": 2, "path": str(few_images), "seed": 1, "image": {}, "text": {"enable_tag_shuffling": True}}
    whole = toy(
        training_method="FINE_TUNE_VAE",
        output_model_format="LEGACY_SAFETENSORS",
        learning_rate=0.05,
        epochs=4,
        ema="CPU",
        masked_training=True,
        mae_strength=0.5,
        loss_weight_fn="MIN_SNR_GAMMA",
        text_encoder__train=True,
        vae__stop_training_after=1,
        vae__stop_training_after_unit="EPOCH",
        validation=True,
        validate_after=1,
        validate_after_unit="EPOCH",
        concepts=[concept, {**concept, "name": "held", "type": "VALIDATION"}],
        samples=[{**SAMPLE, "width": 64, "height": 32}],
        sample_after=1,
        sample_after_unit="EPOCH",
    )
    _, recorder = run_with(train, whole, 3, BackupNow())
    (plan,) = recorder.of(RunPlanned)
    assert plan.learning_rates == ("vae",)
    cached = [event for event in recorder.of(PhaseProgress) if event.phase == "caching"]
    assert cached[-1].total == 6, "no captions"
    assert recorder.losses[-1] < 0.9 * recorder.losses[0]
    validated = [event.total for event in recorder.of(ValidationCompleted)]
    assert validated[-1] < validated[0]
    with Image.open(recorder.of(SampleGenerated)[-1].path) as image:
        assert image.size == (64, 32)
        assert len(image.getcolors(64 * 32)) > 8, "not one color"
    (backup,) = recorder.of(BackupCreated)
    resumed = whole.model_copy(update={"output_model_destination": str(tmp_path / "resumed.safetensors")})
    _, again = train(resumed, resume_from=backup.path)
    assert again.losses == recorder.losses[backup.global_step :]
    one, other = load_file(whole.output_model_destination), load_file(resumed.output_model_destination)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    for name, tensor in base_weights(whole).items():
        assert torch.equal(tensor, one[name]) != name.startswith("vae.decoder."), name


def base_weights(config: TrainConfig) -> dict[str, Any]:
    """Return the weights of the base model, with the names of the single file."""
    files = sorted(Path(config.base_model_name).glob("*/*.safetensors"))
    return {f"{file.parent.name}.{name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("cached", [True, False])
def test_only_the_vae_is_on_the_train_device_while_it_is_trained(toy, cached):
    """This holds without a cache: nothing else is used, and captions have no tokens."""
    model = Model.load(toy(training_method="FINE_TUNE_VAE", latent_caching=cached), toy().base_model_name, lambda *progress: None)
    assert model.needed() == model.encoders("image") == ("vae",)
    assert (model.encoders("text"), model.text_fixed, model.tokenize("red")) == ((), False, {})


@pytest.mark.slow
def test_training_lowers_the_loss(toy, train):
    """The last epochs have lower losses than the first ones."""
    config = toy(training_method="FINE_TUNE", output_model_format="DIFFUSERS", epochs=40, learning_rate=0.05)
    config = config.model_copy(update={"output_model_destination": config.output_model_destination.removesuffix(".safetensors")})
    _, recorder = train(config)
    early, late = recorder.losses[:12], recorder.losses[-12:]
    assert sum(late) < 0.8 * sum(early)
    assert (Path(config.output_model_destination) / "unet" / "diffusion_pytorch_model.safetensors").is_file()


def test_commands_are_executed_between_steps_and_a_stop_saves(toy, train):
    """Sample, save and pause come in order; a stop ends with the file of what was trained."""
    custom = SampleCustom(params={**SAMPLE, "prompt": "mine"})
    wrong = SampleCustom(params={**SAMPLE, "width": 33})
    commands = (SampleDefault(), custom, wrong, SaveNow(), Pause(), Resume())
    recorder, control, stop = Recorder(), FakeControl(), Stop()
    after_step(recorder, control, 2, *commands)
    after_step(recorder, control, 3, stop)
    outcome, _ = train(toy(samples=[SAMPLE]), recorder, control)
    assert outcome == "stopped"
    answers = [recorder.answer(command) for command in (*commands, stop)]
    assert [answer.outcome for answer in answers] == ["done", "done", "refused", "done", "done", "done", "done"]
    assert "Width must be a multiple of 8, not 33" in answers[2].reason
    assert [sample.kind for sample in recorder.of(SampleGenerated)] == ["default", "custom"]
    assert len(recorder.losses) == 3
    assert [saved.final for saved in recorder.of(ModelSaved)] == [False, True]


def test_validation_and_both_components_are_trained(toy, train, tmp_path, few_images):
    """The text encoder learns with the denoiser, and the loss on other images is measured after each epoch."""
    concept = {"__version": 2, "path": str(few_images), "seed": 1, "image": {}, "text": {}}
    config = toy(
        validation=True,
        validate_after=1,
        validate_after_unit="EPOCH",
        text_encoder__train=True,
        text_encoder__stop_training_after=1,
        text_encoder__stop_training_after_unit="EPOCH",
        loss_weight_fn="MIN_SNR_GAMMA",
        concepts=[concept, {**concept, "name": "held", "type": "VALIDATION"}],
    )
    _, recorder = train(config)
    (plan,) = recorder.of(RunPlanned)
    assert plan.learning_rates == ("text_encoder_lora", "unet_lora")
    assert recorder.of(ValidationCompleted)


def test_only_cache_trains_nothing(toy, train):
    """Afterwards the latents exist, a model doesn't."""
    config = toy(only_cache=True)
    outcome, recorder = train(config)
    assert outcome == "completed"
    assert not recorder.losses
    assert not Path(config.output_model_destination).exists()
    assert any(Path(config.cache_dir).rglob("*"))


@pytest.mark.slow
def test_a_step_limit_and_the_end_of_all_training_end_the_run(toy, train):
    """The limit counts steps; a run whose last component has stopped training reports it."""
    _, recorder = train(toy(), max_steps=4)
    assert len(recorder.losses) == 4
    _, recorder = train(toy(epochs=3, unet__stop_training_after=1, unet__stop_training_after_unit="EPOCH"))
    assert "nothing_left_to_train" in [warning.code for warning in recorder.of(WarningIssued)]
    assert len(recorder.losses) < 9


@pytest.mark.slow
def test_what_cannot_be_trained_is_reported_with_the_setting(toy, train, tmp_path):
    """This covers a NaN loss, a folder without images, and a model type without a family."""
    with pytest.raises(NonFiniteLossError, match="step"):
        train(toy(training_method="FINE_TUNE", output_model_format="LEGACY_SAFETENSORS", learning_rate=1e20, epochs=4))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        train(toy(images=tmp_path / "empty"))
    with pytest.raises(UnsupportedError) as caught:
        families.spec_of("SANA")
    assert caught.value.path == "model_type"


def test_a_stop_while_loading_saves_nothing(toy, train):
    """Nothing was trained, so nothing is written."""
    control = FakeControl(waiting=[Stop()])
    config = toy()
    outcome, recorder = train(config, None, control)
    assert outcome == "stopped"
    assert not recorder.losses
    assert not Path(config.output_model_destination).exists()
