"""A resumed run is bitwise identical to an uninterrupted one.

Covers ``engine/backups.py``.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from onetrainer_gradio.commands import BackupNow
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import BackupMismatchError, BackupNotFoundError, ConfigInvalidError, ModelFormatError
from onetrainer_gradio.events import BackupCreated, ModelSaved, Resumed, RunPlanned, ValidationCompleted, WarningIssued
from tests.engine.conftest import GOLDEN, configuration
from tests.engine.recording import FakeControl, Recorder, after_step
from tests.golden.cases import EMBEDDING, PEFTS, VAE, Case, _full, _lora, write_data

pytestmark = pytest.mark.slow


def weights(path: str | Path):
    from safetensors.torch import load_file

    return {name: tensor.clone() for name, tensor in load_file(path).items()}  # the file may be replaced in place


def same(one, other) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    ("when", "accumulation", "backup_at"),
    [("at an epoch start", 1, 3), ("within an epoch", 1, 2), ("asked for within an accumulation", 2, 1)],
)
def test_losses_and_weights_equal_those_of_the_uninterrupted_run(configured, train, tmp_path, when, accumulation, backup_at):
    """This covers a backup at an epoch start, within an epoch, and one requested while gradients were pending."""
    whole = configured(gradient_accumulation_steps=accumulation, epochs=4, lora_rank=2, dropout_probability=0.1)
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, backup_at, BackupNow())
    train(whole, recorder, control)
    (backup,) = recorder.of(BackupCreated)
    end = weights(whole.output_model_destination)
    if accumulation > 1:
        assert backup.global_step % accumulation == 0

    resumed = whole.model_copy(update={"output_model_destination": str(tmp_path / "resumed.safetensors")})
    _, again = train(resumed, resume_from=backup.path)
    (event,) = again.of(Resumed)
    assert event.global_step == backup.global_step
    assert again.losses == recorder.losses[backup_at:]
    assert [step.smooth_loss for step in again.steps] == [step.smooth_loss for step in recorder.steps[backup_at:]]
    assert [step.global_step for step in again.steps] == [step.global_step for step in recorder.steps[backup_at:]]
    assert same(weights(resumed.output_model_destination), end)


@pytest.mark.exhaustive
def test_a_run_that_ended_within_an_accumulation_continues_without_loss(configured, train, tmp_path):
    """Micro-batches whose gradients no step used are repeated: the last backup is from before them."""
    long = configured(gradient_accumulation_steps=2, epochs=4, backup_before_save=True)
    _, whole = train(long)
    short = long.model_copy(update={"epochs": 3, "workspace_dir": str(tmp_path / "short")})
    _, first = train(short)
    (backup,) = first.of(BackupCreated)
    assert (backup.global_step, len(first.steps)) == (8, 4)  # nine micro-batches were trained
    _, rest = train(long, resume_from=backup.path)
    assert first.losses + rest.losses == whole.losses


@pytest.mark.exhaustive
def test_validations_continue_with_the_next_variations(configured, train):
    """Each validation uses the next variations of its images, also after a resume."""
    whole = configured(validation=True, validate_after=1, validate_after_unit="STEP", epochs=2)
    own = whole.concepts[0]
    image = own.image.model_copy(update={"enable_random_rotate": True, "random_rotate_max_angle": 20.0})
    measured = own.model_copy(update={"type": "VALIDATION", "name": "held back", "image_variations": 3, "image": image})
    whole = whole.model_copy(update={"concepts": (own, measured)})
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 2, BackupNow())
    train(whole, recorder, control)
    (backup,) = recorder.of(BackupCreated)
    _, again = train(whole, resume_from=backup.path)
    totals = [event.total for event in recorder.of(ValidationCompleted)]
    assert [event.total for event in again.of(ValidationCompleted)] == totals[-len(again.steps) :]
    assert len(set(totals)) == len(totals) == len(recorder.steps)


def test_full_fine_tuning_resumes_bit_for_bit(configured, train, tmp_path):
    """The whole UNet is trained, with a learning rate scheduler."""
    whole = configured(
        training_method="FINE_TUNE",
        output_model_format="DIFFUSERS",
        output_model_destination=str(tmp_path / "model"),
        layer_filter="attn",
        learning_rate=1e-4,
        learning_rate_scheduler="COSINE",
        learning_rate_warmup_steps=2,
    )
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 2, BackupNow())
    train(whole, recorder, control)
    (backup,) = recorder.of(BackupCreated)
    resumed = whole.model_copy(update={"output_model_destination": str(tmp_path / "again")})
    _, again = train(resumed, resume_from=backup.path)
    assert again.losses == recorder.losses[2:]
    assert [step.learning_rates for step in again.steps] == [step.learning_rates for step in recorder.steps[2:]]
    file = "unet/diffusion_pytorch_model.safetensors"
    assert same(weights(tmp_path / "again" / file), weights(tmp_path / "model" / file))


@pytest.mark.exhaustive
def test_the_newest_backup_of_the_workspace_is_continued(configured, train):
    """``continue_last_backup`` uses the backup whose name sorts last."""
    config = configured(epochs=2, backup_after=1, backup_after_unit="EPOCH", backup_before_save=True)
    _, recorder = train(config)
    assert [made.global_step for made in recorder.of(BackupCreated)] == [3, 6]
    _, again = train(config.model_copy(update={"continue_last_backup": True, "epochs": 3}))
    assert again.of(Resumed)[0].global_step == 6
    assert [step.global_step for step in again.steps] == [7, 8, 9]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("when", "backup_at", "accumulation", "images", "total"),
    [
        ("added, at an epoch start", 3, 1, 10, 3 + 5 * 2),
        ("added, within an epoch", 2, 1, 10, 2 + 4 - 1 + 5 * 2),
        ("removed, at an epoch start", 3, 1, 4, 3 + 2 * 2),
        ("removed, within an epoch", 2, 1, 4, 2 + 2 * 2),
        ("added, with accumulation", 2, 2, 10, 4 + 4 + 5),
        ("unchanged", 2, 1, 6, 9),
    ],
)
def test_the_plan_of_a_resumed_run_counts_the_images_of_now(
    configured, train, tmp_path, when, backup_at, accumulation, images, total
):
    """If images were added or removed since the backup, the run ends at the step that it announced, with a warning."""
    folder = tmp_path / "images"
    folder.mkdir()
    source = sorted((GOLDEN / "data").glob("*.png"))

    def give(count):
        for number, image in enumerate(source[:10]):
            for file in (image, image.with_suffix(".txt")):
                if number < count:
                    shutil.copy(file, folder)
                else:
                    (folder / file.name).unlink(missing_ok=True)

    give(6)
    config = configured(images=folder, epochs=3, gradient_accumulation_steps=accumulation)
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, backup_at, BackupNow())
    train(config, recorder, control)
    (backup,) = recorder.of(BackupCreated)
    give(images)
    _, again = train(config, resume_from=backup.path)
    (planned,) = again.of(RunPlanned)
    assert (planned.total_steps, planned.first_step) == (total, backup.global_step)
    assert again.steps[-1].global_step == total - total % accumulation
    assert planned.total_updates == again.steps[-1].update_step
    changed = [warned for warned in again.of(WarningIssued) if warned.code == "images_changed"]
    assert len(changed) == (images != 6)


@pytest.mark.exhaustive
def test_a_backup_after_which_nothing_is_left_is_rejected(configured, train):
    """Its epoch, the step limit, or too few images left in the last epoch give an error instead of a silent end."""
    config = configured(epochs=2, backup_before_save=True)
    _, recorder = train(config)
    (backup,) = recorder.of(BackupCreated)
    for changes, options in (
        ({}, {"resume_from": backup.path}),
        ({"continue_last_backup": True}, {}),
        ({"continue_last_backup": True, "epochs": 3}, {"max_steps": 6}),
        ({"epochs": 3}, {"resume_from": backup.path, "max_steps": 5}),
        ({"epochs": 3, "gradient_accumulation_steps": 4, "batch_size": 6}, {"resume_from": backup.path}),
    ):
        again = Recorder()
        with pytest.raises(ConfigInvalidError, match="nothing left to train"):
            train(config.model_copy(update=changes), again, **options)
        assert again.steps == []


MISSING_RESULTS = {
    "plain": ({}, {}, False),
    "EMA": ({"ema": "CPU", "ema_decay": 0.9, "ema_update_step_interval": 1}, {}, False),
    "schedule-free": ({"optimizer__optimizer": "SCHEDULE_FREE_ADAMW"}, {}, False),
    "fused back pass": ({"optimizer__optimizer": "ADAFACTOR", "optimizer__fused_back_pass": True}, {}, False),
    "within an accumulation": ({"gradient_accumulation_steps": 4}, {}, False),
    "a step limit": ({}, {"max_steps": 4}, False),
    "torn": ({}, {}, True),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", MISSING_RESULTS)
def test_a_run_killed_in_its_last_save_is_resumed_to_save_its_result(configured, train, case):
    """All steps were done and backed up: the resumed run trains nothing and saves the missing result."""
    changes, options, torn = MISSING_RESULTS[case]
    config = configured(epochs=2, backup_before_save=True, **changes)
    _, recorder = train(config, **options)
    backup = recorder.of(BackupCreated)[-1]
    result = Path(config.output_model_destination)
    whole = result.read_bytes()
    before, record = weights(result), header(result)
    if torn:
        result.write_bytes(whole[:-100])
    else:
        result.unlink()
    again = Recorder()
    outcome, _ = train(config, again, resume_from=backup.path, **options)
    assert (outcome, again.steps) == ("completed", [])
    assert "only-saves-result" in [warning.code for warning in again.of(WarningIssued)]
    (saved,) = again.of(ModelSaved)
    assert (saved.path, saved.final, saved.global_step) == (str(result), True, backup.global_step)
    assert again.of(BackupCreated) == []
    assert same(weights(result), before)
    if case != "within an accumulation":  # the run counted its last micro-batches, which changed no weight
        assert header(result) == record
    with pytest.raises(ConfigInvalidError, match="nothing left to train"):
        train(config, resume_from=backup.path, **options)


METHODS = {
    "lora": (_lora("STABLE_DIFFUSION_15"), "first"),
    "loha": (_lora("STABLE_DIFFUSION_15") | PEFTS["loha"], "first"),
    "embedding": (EMBEDDING | {"text_encoder.train_embedding": True}, "first"),
    "fine tune": (_full("STABLE_DIFFUSION_15"), "first"),
    "fine tune vae": (VAE, "plain"),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_after_its_last_save_is_resumed_to_a_finished_one(train, tmp_path, method):
    """For each method, the result is complete but not recorded as completed, so it is saved again, with equal contents."""
    from tests.models.tiny import write_model

    changes, images = METHODS[method]
    model = write_model("STABLE_DIFFUSION_15", tmp_path / "model")
    case = Case("STABLE_DIFFUSION_15", method, changes, images)
    document = case.document(model, write_data(tmp_path / "images"), tmp_path) | {"backup_before_save": True}
    config, _ = from_document(document)
    _, recorder = train(config, max_steps=2)
    (backup,) = recorder.of(BackupCreated)
    out = tmp_path / "out"
    before = {path.relative_to(out): weights(path) for path in out.rglob("*.safetensors")}
    assert before
    again = Recorder()
    outcome, _ = train(config, again, resume_from=backup.path, max_steps=2, unfinished=True)
    assert (outcome, again.steps) == ("completed", [])
    assert [warning.code for warning in again.of(WarningIssued)] == ["only-saves-result"]
    (saved,) = again.of(ModelSaved)
    assert (saved.path, saved.final, saved.global_step) == (config.output_model_destination, True, backup.global_step)
    assert {path.relative_to(out) for path in out.rglob("*.safetensors")} == before.keys()
    assert all(same(weights(out / name), tensors) for name, tensors in before.items())
    with pytest.raises(ConfigInvalidError, match="nothing left to train"):
        train(config, resume_from=backup.path, max_steps=2)


def header(path: Path) -> dict[str, object]:
    """Return the training entries of the file."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        entries = dict(file.metadata())
    return {key: value for key, value in entries.items() if "date" not in key and "time" not in key}


@pytest.mark.exhaustive
def test_the_result_of_another_run_at_the_same_place_is_not_that_of_the_backup(configured, train):
    """Two runs write the same output file; the second is killed in its last save, and its resume replaces the first result."""
    config = configured(epochs=1, backup_before_save=True)
    train(config)
    result = Path(config.output_model_destination)
    first, kept = result.read_bytes(), result.stat()
    _, second = train(config.model_copy(update={"epochs": 2}))
    last = weights(result)
    result.write_bytes(first)
    os.utime(result, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    outcome, _ = train(config.model_copy(update={"epochs": 2}), resume_from=second.of(BackupCreated)[-1].path)
    assert outcome == "completed"
    assert same(weights(result), last)


@pytest.mark.exhaustive
def test_a_missing_model_folder_is_saved_from_the_backup(configured, train, tmp_path):
    """A full fine-tune in diffusers layout lacks a component; its images aren't encoded again."""
    config = configured(
        training_method="FINE_TUNE",
        output_model_format="DIFFUSERS",
        output_model_destination=str(tmp_path / "model"),
        layer_filter="attn2",
        epochs=1,
        backup_before_save=True,
    )
    _, recorder = train(config)
    file = "unet/diffusion_pytorch_model.safetensors"
    before = weights(tmp_path / "model" / file)
    shutil.rmtree(tmp_path / "model" / "unet")
    shutil.rmtree(config.cache_dir)
    shutil.move(tmp_path / "model", tmp_path / "half")  # a folder that was changed is never replaced
    outcome, again = train(config, resume_from=recorder.of(BackupCreated)[-1].path)
    assert (outcome, again.steps) == ("completed", [])
    assert same(weights(tmp_path / "model" / file), before)
    assert not list(Path(config.cache_dir).rglob("*.safetensors"))


@pytest.mark.exhaustive
def test_a_run_that_only_fills_the_cache_saves_no_model(configured, train):
    """After the last epoch there is nothing to cache, whatever is at the output path."""
    config = configured(epochs=1, backup_before_save=True)
    _, recorder = train(config)
    Path(config.output_model_destination).unlink()
    only_cache = config.model_copy(update={"only_cache": True})
    with pytest.raises(ConfigInvalidError, match="nothing left to train"):
        train(only_cache, resume_from=recorder.of(BackupCreated)[-1].path)


def test_nothing_to_continue_is_an_error(configured, train):
    """Without a backup, the run doesn't silently start again."""
    with pytest.raises(BackupNotFoundError, match="no backup"):
        train(configured(continue_last_backup=True))


def test_a_backup_of_other_settings_is_rejected(configured, train):
    """A backup with another rank or method is rejected by name."""
    config = configured(epochs=1, backup_before_save=True)
    _, recorder = train(config)
    backup = recorder.of(BackupCreated)[0].path
    with pytest.raises(BackupMismatchError, match="rank 4"):
        train(configured(lora_rank=8), resume_from=backup)
    with pytest.raises(BackupMismatchError, match="no full model"):
        train(configured(training_method="FINE_TUNE", output_model_format="DIFFUSERS"), resume_from=backup)


def test_a_backup_of_onetrainer_is_continued(configured, train, recorded_tensors, tmp_path):
    """OneTrainer's folder (adapter, optimizer with its group names, meta.json) can be resumed."""
    import json

    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file

    backup = tmp_path / "2026-11-23_12-48-30-backup-6-1-0"
    (backup / "lora").mkdir(parents=True)
    (backup / "optimizer").mkdir()
    after = {key.removeprefix("after."): value for key, value in recorded_tensors.items() if key.startswith("after.")}
    after = {name: tensor for name, tensor in after.items() if "attn2" in name}
    save_file(after, backup / "lora" / "lora.safetensors")
    (backup / "meta.json").write_text(
        json.dumps({"train_progress": {"epoch": 1, "epoch_step": 0, "epoch_sample": 0, "global_step": 3}})
    )
    # OneTrainer's order of parameters is that of the modules
    unet = UNet2DConditionModel.from_pretrained(GOLDEN / "model" / "unet")
    layers = [f"unet.{name}" for name, _ in unet.named_modules() if f"unet.{name}.alpha" in after]
    matrices = [torch.nn.Parameter(after[f"{layer}.{m}.weight"].clone()) for layer in layers for m in ("lora_down", "lora_up")]
    optimizer = torch.optim.AdamW([{"params": matrices, "name": "unet_lora"}], lr=1e-3)
    for matrix in matrices:
        matrix.grad = torch.full_like(matrix, 1e-3)
    optimizer.step()
    state = optimizer.state_dict() | {"param_group_mapping": ["unet_lora"], "param_group_optimizer_mapping": ["ADAMW"]}
    torch.save(state, backup / "optimizer" / "optimizer.pt")
    _, recorder = train(configured(), resume_from=str(backup))
    assert [step.global_step for step in recorder.steps] == [4, 5, 6]


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory, recorded, few_images):
    """Return the configuration of a finished run, and its backup; a test that damages a file repairs it."""
    from onetrainer_gradio import engine

    place = tmp_path_factory.mktemp("backed_up")
    config = configuration(place, recorded, few_images, epochs=1, backup_before_save=True, ema="CPU")
    recorder = Recorder()
    engine.run(config, recorder, FakeControl(), RunOptions())
    return config, Path(recorder.of(BackupCreated)[0].path)


@pytest.mark.parametrize("name", ["optimizer/optimizer.pt", "ema/ema.pt", "lora/lora.safetensors"])
@pytest.mark.parametrize(
    "content", ["cut", "code", *(pytest.param(content, marks=pytest.mark.exhaustive) for content in ("empty", "text", "other"))]
)
def test_a_damaged_backup_is_named_without_words_of_a_library(backed_up, train, tmp_path, request, name, content):
    """It names the file, the problem, and that another backup can be resumed, without mentioning ``weights_only``."""
    import torch

    from tests.config.test_model_files import Runs, safetensors, torch_file

    config, backup = backed_up
    whole = (backup / name).read_bytes()
    other = tmp_path / "other.pt"
    torch.save({"nothing": [1]}, other)
    kept = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "text": b"hello, this is no backup\n",
        "code": torch_file(Runs()),
        "other": safetensors("something") if name.startswith("lora") else other.read_bytes(),
    }[content]
    request.addfinalizer(lambda: (backup / name).write_bytes(whole))
    (backup / name).write_bytes(kept)
    with pytest.raises((BackupMismatchError, ModelFormatError)) as raised:
        train(config.model_copy(update={"epochs": 2}), resume_from=str(backup))
    assert str(backup / name) in raised.value.message
    assert not re.search(r"weights_only|Unpickl|torch\.|header|magic|Python", raised.value.message)
    if content != "other" or not name.startswith("lora"):
        assert raised.value.suggestion == "Resume from another backup."


@pytest.mark.exhaustive
def test_an_average_of_other_weights_is_rejected(configured, train):
    """A backup whose EMA belongs to other layers is rejected."""
    import torch

    config = configured(epochs=1, backup_before_save=True, ema="CPU")
    _, recorder = train(config)
    backup = Path(recorder.of(BackupCreated)[0].path)
    state = torch.load(backup / "ema" / "ema.pt")
    torch.save({**state, "ema_parameters": state["ema_parameters"][:-1]}, backup / "ema" / "ema.pt")
    with pytest.raises(BackupMismatchError, match="EMA weights of the backup"):
        train(config.model_copy(update={"epochs": 2}), resume_from=str(backup))


@pytest.mark.exhaustive
@pytest.mark.parametrize("weight_dtype", ["BFLOAT_16", "FLOAT_16"])
def test_an_adapter_over_weights_in_half_precision_is_resumed_in_its_own(configured, train, weight_dtype):
    """fp32 adapter weights are not rounded to the precision of the layers below, neither at first nor on resume."""
    # on a CPU, half precision is computed in the precision of the weights
    half = {f"{part}__weight_dtype": weight_dtype for part in ("unet", "text_encoder")}
    config = configured(epochs=2, train_dtype=weight_dtype, output_dtype="FLOAT_32", **half)
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 2, BackupNow())
    train(config, recorder, control)
    whole = weights(config.output_model_destination)
    _, again = train(config, resume_from=recorder.of(BackupCreated)[0].path)
    assert again.losses == recorder.losses[2:]
    assert same(weights(config.output_model_destination), whole)
