"""Where base models are loaded from, and how full models are saved (engine/model_loading.py, engine/full_model_files.py)."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.engine.hub import Hub
from onetrainer_gradio.errors import ConfigValueError, ModelFormatError, ModelNotFoundError
from tests.engine.conftest import GOLDEN

pytestmark = pytest.mark.slow

HUB_NAME = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def hub_cache(folder: Path, name: str = HUB_NAME) -> Path:
    """Create a cache like the Hugging Face library's, with the tiny model under the name of a repository."""
    repository = folder / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(GOLDEN / "model", snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    return folder


def test_a_hub_name_is_found_in_the_cache(configured, train, plain, tmp_path):
    """A downloaded repository trains offline, with the same losses as the folder."""
    cache = hub_cache(tmp_path / "huggingface", "somebody/tiny")
    config = configured(base_model_name="somebody/tiny", huggingface_cache_dir=str(cache))
    _, from_hub = train(config)
    assert from_hub.losses == plain.losses


def test_the_hub_is_asked_by_the_settings():
    """Token, offline mode and cache folder come from the configuration; its text doesn't contain the token."""
    from onetrainer_gradio.config import TrainConfig

    config = TrainConfig.model_validate(
        {"offline_mode": True, "huggingface_cache_dir": "/x", "secrets": {"huggingface_token": "hf_secret"}}
    )
    asked = Hub.of(config)
    assert (asked.token, asked.offline, asked.cache_dir) == ("hf_secret", True, os.path.join("/x", "hub"))
    asked = Hub.of(TrainConfig())
    assert (asked.token, asked.offline, asked.cache_dir) == (None, False, None)
    assert "hf_secret" not in repr(Hub.of(config))


@pytest.mark.parametrize("name", ["", "no/such/folder", "/missing.safetensors", "missing.safetensors", "a/b.safetensors"])
def test_names_that_are_nothing_are_not_asked_for(name):
    """Only a name like owner/name is looked up on the Hugging Face Hub."""
    with pytest.raises(ModelNotFoundError):
        Hub(None, True, None).locate(name, ())


@pytest.mark.exhaustive
def test_a_model_in_diffusers_layout_is_saved_and_loaded(configured, train, tmp_path):
    """DIFFUSERS writes a folder that diffusers' pipeline and the engine can load, with the trained weights."""
    from diffusers import StableDiffusionPipeline

    target = tmp_path / "model"
    config = configured(
        training_method="FINE_TUNE",
        output_model_format="DIFFUSERS",
        output_model_destination=str(target),
        layer_filter="",
        learning_rate=1e-3,
        text_encoder__train=True,
    )
    _, recorder = train(config)
    assert recorder.steps[0].learning_rates == (1e-3, 1e-3)
    pipeline = StableDiffusionPipeline.from_pretrained(target)
    original = load_file(GOLDEN / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    saved = pipeline.unet.state_dict()
    assert saved.keys() == original.keys()
    changed = {name for name in saved if not torch.equal(saved[name], original[name])}
    assert len(changed) > 100
    text = load_file(target / "text_encoder" / "model.safetensors")
    assert text.keys() == load_file(GOLDEN / "model" / "text_encoder" / "model.safetensors").keys()
    _, again = train(configured(base_model_name=str(target), learning_rate=1e-12))
    _, before = train(configured(learning_rate=1e-12))
    assert sum(again.losses) < sum(before.losses)


@pytest.mark.parametrize(
    "model_format", ["ORIGINAL_SINGLE_FILE", pytest.param("LEGACY_SAFETENSORS", marks=pytest.mark.exhaustive)]
)
def test_a_single_file_is_saved_and_loaded(configured, train, plain, tmp_path, model_format):
    """Training continues from the file with the original names, with the same losses as from the folder it was made from."""
    target = tmp_path / "model.safetensors"
    config = configured(
        training_method="FINE_TUNE",
        output_model_format=model_format,
        output_model_destination=str(target),
        layer_filter="",
        learning_rate=1e-30,
        optimizer__weight_decay=0.0,
    )
    train(config, max_steps=1)
    tensors = load_file(target)
    assert "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight" in tensors
    assert "first_stage_model.decoder.mid.attn_1.q.weight" in tensors
    assert "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight" in tensors
    cache = hub_cache(tmp_path / "huggingface")
    _, from_file = train(configured(base_model_name=str(target), huggingface_cache_dir=str(cache)))
    assert from_file.losses == pytest.approx(plain.losses, abs=1e-6)
    target.with_suffix(".yaml").write_text("model:\n  params:\n    parameterization: v\n")
    _, of_v = train(configured(base_model_name=str(target), huggingface_cache_dir=str(cache)), max_steps=1)
    _, forced = train(configured(force_v_prediction=True), max_steps=1)
    assert of_v.losses == pytest.approx(forced.losses, abs=1e-6)


@pytest.mark.exhaustive
def test_a_file_that_is_no_model_is_named(configured, train, tmp_path):
    """This covers text with the right extension, and an adapter instead of a model."""
    cache = str(hub_cache(tmp_path / "huggingface"))
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_text("hello")
    with pytest.raises(ModelFormatError, match=r"wrong\.safetensors"):
        train(configured(base_model_name=str(wrong), huggingface_cache_dir=cache))
    config = configured()
    train(config, max_steps=1)
    with pytest.raises(ModelFormatError, match=r"lora\.safetensors"):
        train(configured(base_model_name=config.output_model_destination, huggingface_cache_dir=cache))


@pytest.mark.parametrize("name", ["broken.safetensors", "settings.json"])
def test_a_file_that_is_no_model_is_named_before_anything_is_downloaded(configured, train, tmp_path, name):
    """Without a connection, the error is still about the file."""
    file = tmp_path / name
    file.write_bytes(b"{}" * 100)
    with pytest.raises(ModelFormatError, match=re.escape(name)):
        train(configured(base_model_name=str(file), offline_mode=True, huggingface_cache_dir=str(tmp_path / "empty")))


def test_a_single_file_needs_no_hub(configured, train, tmp_path):
    """Its configurations are included in the package, so the error is about the file, offline too."""
    file = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(1)}, file)
    with pytest.raises(ModelFormatError, match="Can't load the file") as raised:
        train(configured(base_model_name=str(file), offline_mode=True, huggingface_cache_dir=str(tmp_path / "empty")))
    assert str(file) in raised.value.message


def test_a_single_file_of_a_type_without_configurations_reports_what_it_lacks(configured, train, tmp_path):
    """The error explains which file needs the repository that the user never entered."""
    file = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(1)}, file)
    offline = {"offline_mode": True, "huggingface_cache_dir": str(tmp_path / "empty")}
    with pytest.raises(ModelNotFoundError, match="contains only weights") as raised:
        train(configured(base_model_name=str(file), model_type="STABLE_DIFFUSION_20_DEPTH", **offline))
    assert str(file) in raised.value.message
    assert MODELS["STABLE_DIFFUSION_20_DEPTH"].base.hub in raised.value.message


@pytest.mark.exhaustive
def test_a_full_backup_is_a_model_of_its_own(configured, train):
    """The backup folder of a full fine-tune loads in diffusers, as OneTrainer's does."""
    from diffusers import StableDiffusionPipeline

    from onetrainer_gradio.events import BackupCreated

    config = configured(training_method="FINE_TUNE", output_model_format="LEGACY_SAFETENSORS", backup_before_save=True, epochs=1)
    _, recorder = train(config)
    backup = Path(recorder.of(BackupCreated)[0].path)
    assert {"unet", "vae", "text_encoder", "tokenizer", "scheduler", "model_index.json", "meta.json", "optimizer"} <= {
        entry.name for entry in backup.iterdir()
    }
    StableDiffusionPipeline.from_pretrained(backup)
    assert json.loads((backup / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline"


@pytest.mark.exhaustive
def test_a_fine_tune_ignores_a_pattern_that_takes_nothing(configured, train):
    """OneTrainer does too, and the pre-flight check warns; a filter that matches no layer at all is rejected."""
    config = configured(training_method="FINE_TUNE", output_model_format="LEGACY_SAFETENSORS", layer_filter="attn2,nonsense")
    outcome, _ = train(config, max_steps=1)
    assert outcome == "completed"
    with pytest.raises(ConfigValueError, match="nonsense"):
        train(config.model_copy(update={"layer_filter": "nonsense"}))


@pytest.mark.exhaustive
def test_v_prediction_and_zero_terminal_snr_train_and_are_saved(configured, train, tmp_path):
    """Forcing v-prediction changes the target, and the saved model records it."""
    target = tmp_path / "model"
    common = {
        "training_method": "FINE_TUNE",
        "output_model_format": "DIFFUSERS",
        "output_model_destination": str(target),
        "layer_filter": "attn2",
    }
    _, epsilon = train(configured(**common))
    _, velocity = train(configured(**common, force_v_prediction=True))
    assert velocity.losses != epsilon.losses
    saved = json.loads((target / "scheduler" / "scheduler_config.json").read_text())
    assert saved["prediction_type"] == "v_prediction"
    sample = {"prompt": "x", "width": 32, "height": 32, "diffusion_steps": 2}
    zero = configured(
        **common,
        rescale_noise_scheduler_to_zero_terminal_snr=True,
        samples=[sample | {"noise_scheduler": name} for name in ("DDIM", "EULER_A", "DPMPP_KARRAS", "UNIPC")],
        sample_after=1,
        sample_after_unit="EPOCH",
    )
    outcome, recorder = train(zero)
    assert outcome == "completed"
    saved = json.loads((target / "scheduler" / "scheduler_config.json").read_text())
    assert saved["rescale_betas_zero_snr"] is True
    from onetrainer_gradio.events import SampleGenerated

    assert len(recorder.of(SampleGenerated)) == 12


def test_fetching_reports_how_far_it_is_and_can_be_ended():
    """The library's progress goes to the run without a progress bar, and a callback that raises ends the download."""
    from onetrainer_gradio.engine.hub import report_to
    from onetrainer_gradio.engine.reporter import StopRequested

    progress = []
    bar = report_to(lambda done, total, what: progress.append((done, total, what)))(total=10, desc="model.safetensors", unit="B")
    bar.update(4)
    bar.update(6)
    bar.close()
    assert progress == [(4, 10, "downloading model.safetensors"), (10, 10, "downloading model.safetensors")]

    def stop(done, total, what):
        raise StopRequested

    with pytest.raises(StopRequested):
        report_to(stop)(total=10).update(1)


@pytest.mark.exhaustive
def test_the_engine_reports_the_same_of_a_file_as_the_check(configured, train, tmp_path):
    """For base model and adapter, it names the kind of file and what to choose, without a library's message."""
    from onetrainer_gradio.config.model_files import BASE, LORA, unfit
    from tests.config.test_model_files import BROKEN, MISPLACED

    cache = str(hub_cache(tmp_path / "huggingface"))
    for setting, role in (("base_model_name", BASE), ("lora_model_name", LORA)):
        wrong = {name: row[0] for name, row in MISPLACED.items() if role in row[1]}
        for name, content in {**{name: row[0] for name, row in BROKEN.items()}, **wrong}.items():
            file = tmp_path / name
            file.write_bytes(content)
            with pytest.raises(ModelFormatError) as raised:
                train(configured(huggingface_cache_dir=cache, **{setting: str(file)}))
            problem = unfit(file, role)
            assert raised.value.path == setting
            assert problem.what in raised.value.message
            assert raised.value.suggestion == problem.suggestion


def test_a_base_folder_with_a_pointer_instead_of_weights_is_named(configured, train, tmp_path):
    """The repository was cloned without its large files."""
    from tests.config.test_model_files import LFS

    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "model", folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(LFS)
    with pytest.raises(ModelFormatError, match=r"component unet, which has the weight file .* Git LFS pointer"):
        train(configured(base_model_name=str(folder)))
