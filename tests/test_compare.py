"""A comparison trains the same settings with two engines and reports the results side by side."""

from __future__ import annotations

import io
import json
import struct
import sys
import threading
from pathlib import Path

import pytest

from onetrainer_gradio.compare import (
    Comparison,
    Produced,
    Request,
    Side,
    compare,
    compare_all,
    draws_adapter,
    main,
    own_folders,
    produced,
    table,
    untrained,
)
from onetrainer_gradio.config.files.documents import to_document, write_file
from onetrainer_gradio.errors import ConfigInvalidError
from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.tensor_files import WeightDifference
from onetrainer_gradio.terminal import StopSignals
from tests.backends.onetrainer.standin import set_up
from tests.fakes.configs import small_config
from tests.waiting import until

REHEARSAL = "tests.fakes.rehearsal:run"


def side(engine: str, losses: tuple[float, ...], keys: tuple[str, ...] = (), **more: object) -> Side:
    files = (Produced("model", "model.safetensors", 10, len(keys), keys),)
    return Side(engine, "run", "completed", losses=losses, seconds=(3.0, 2.0, 0.5, 0.5), files=files, **more)  # type: ignore[arg-type]


@pytest.mark.slow
def test_both_train_the_same_and_everything_is_reported(tmp_path: Path) -> None:
    """There are two runs, one after the other, each in its own folder; the result has losses, speed, files and the checkout."""
    checkout = set_up(tmp_path / "OneTrainer")
    output = io.StringIO()
    request = Request("small", small_config(tmp_path), 4, tmp_path / "out", checkout, first=REHEARSAL, in_process=True)
    comparison = compare(request, output)
    ours, theirs = comparison.sides
    assert (ours.end, theirs.end) == ("completed", "completed"), (ours.error, theirs.error)
    assert len(theirs.losses) == 4
    assert theirs.checkout["folder"] == str(checkout)
    assert theirs.steps_per_s
    assert [file.name for file in theirs.files if file.kind == "model"] == ["model.safetensors"]
    lines = ["Writing the initial adapter …", f"Training with {REHEARSAL} …", "Training with OneTrainer …"]
    assert output.getvalue().splitlines() == lines
    adapter = tmp_path / "out" / "initial" / "adapter"
    for result in comparison.sides:
        frozen = read_json(tmp_path / "out" / "panel" / "runs" / result.run_id / "config.json")
        assert frozen["lora_model_name"] == str(adapter)
    assert read_json(adapter / "meta.json")["train_progress"]["global_step"] == 0
    text = table(comparison)
    assert "steps per second" in text
    json.dumps(comparison.as_dict())
    assert (tmp_path / "out" / "onetrainer" / "model.safetensors").is_file()


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("method", ["LORA", "FINE_TUNE"], ids=["initial adapter", "compared run"])
def test_ctrl_c_ends_the_active_run(tmp_path: Path, method: str) -> None:
    """No training continues in the background, and the second engine doesn't start.

    Steps are long, as the run of the initial adapter has one.
    """
    checkout = set_up(tmp_path / "OneTrainer", step_s=20.0)
    config = small_config(tmp_path, training_method=method, output_model_format="KOHYA_LORA" if method == "LORA" else "DIFFUSERS")
    request = Request("small", config, 500, tmp_path / "out", checkout, first="onetrainer", in_process=False)
    signals, folder = StopSignals(), tmp_path / "out" / "panel" / "runs"

    def ctrl_c() -> None:
        until(lambda: any('"phase":"training"' in journal.read_text() for journal in folder.glob("*/journal.jsonl")), 240)
        signals()

    pressed = threading.Thread(target=ctrl_c)
    pressed.start()
    with pytest.raises(KeyboardInterrupt):
        compare(request, io.StringIO(), signals)
    pressed.join()
    (run,) = folder.iterdir()
    assert '"reason":"stopped"' in (run / "journal.jsonl").read_text()
    assert read_json(run / "run.json")["options"]["max_steps"] == (1 if method == "LORA" else 500)
    for role in ("supervisor", "worker", "child_process"):
        identity = ProcessIdentity.from_dict(read_json(run / f"{role}.json"))
        assert identity is not None
        assert not identity.alive()


@pytest.mark.slow
def test_nothing_is_trained_when_one_of_them_cannot(tmp_path: Path) -> None:
    """Both engines check the settings before the first one starts."""
    checkout = set_up(tmp_path / "OneTrainer")
    config = small_config(tmp_path, training_method="FINE_TUNE_VAE", model_type="SANA")
    with pytest.raises(ConfigInvalidError):
        compare(Request("small", config, 4, tmp_path / "out", checkout, first=REHEARSAL, in_process=True), io.StringIO())
    assert not list((tmp_path / "out" / "panel" / "runs").glob("*"))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_several_configurations_are_compared_in_turn(tmp_path: Path) -> None:
    """If an engine can't train a configuration, or its adapter isn't written,
    the reason is reported and the others are compared.
    """
    checkout = set_up(tmp_path / "OneTrainer")
    settings = {"lora": {}, "other": {"model_type": "SANA", "training_method": "FINE_TUNE_VAE"}}
    requests = [
        Request(
            name,
            small_config(tmp_path / name, **changes),
            3,
            tmp_path / "out" / name,
            checkout,
            first=REHEARSAL,
            in_process=True,
        )
        for name, changes in settings.items()
    ]
    lora, other = compare_all(requests, io.StringIO())
    assert [side.end for side in lora.sides] == ["completed", "completed"], lora
    assert len(lora.differences) == 3
    assert [side.end for side in other.sides] == ["rejected", "rejected"]
    assert "training_method" in other.sides[0].error


def test_weights_and_norms_are_reported() -> None:
    """In addition to the losses, it reports the largest differences and the distance between the weights."""
    sides = (side("a", (1.0,), norms=(2.0, float("nan"))), side("b", (1.0,), norms=(2.5, 3.0)))
    comparison = Comparison("x", 1, sides, WeightDifference(2, 0.25, "k", 0.125))
    document = comparison.as_dict()
    assert document["grad_norm"] == {"largest_difference": 0.5}
    assert document["weights"] == {"tensors": 2, "largest": 0.25, "name": "k", "relative": 0.125}
    text = table(comparison)
    assert "Largest difference of a gradient norm: 5.00e-01." in text
    assert "Largest difference of a weight: 2.50e-01 (k)." in text
    json.dumps(document, allow_nan=False)


def test_only_what_belongs_to_the_comparison_is_changed(tmp_path: Path) -> None:
    """Folders, samples and intermediate backups change, and epochs become steps; all other settings stay the same."""
    config = small_config(tmp_path, epochs=2, sample_after=1, learning_rate=0.25)
    changed = own_folders(config, tmp_path / "side", 7)
    assert changed.workspace_dir == str(tmp_path / "side" / "workspace")
    assert (changed.epochs, changed.learning_rate, changed.sample_after_unit) == (7, 0.25, "NEVER")
    assert changed.concepts == config.concepts
    assert own_folders(small_config(tmp_path, epochs=9), tmp_path, 7).epochs == 9


def test_the_difference_of_each_step_is_reported() -> None:
    """It reports the largest and the first difference, tensors that only one side has, and the speed without warm-up."""
    comparison = Comparison("x", 3, (side("a", (1.0, 0.5, 0.25), ("k F32 [1]",)), side("b", (1.0, 0.75), ("l F32 [1]",))))
    document = comparison.as_dict()
    assert document["loss"] == {"steps_compared": 2, "largest_difference": 0.25, "first_difference": 0.0}
    assert document["model"] == {"same_keys": False, "only_first": ["k F32 [1]"], "only_second": ["l F32 [1]"]}
    assert document["engines"][0]["steps_per_s"] == 2.0
    lines = table(comparison).splitlines()
    assert any(line.split() == ["2", "0.500000", "0.750000", "2.50e-01"] for line in lines)
    assert any(line.split() == ["3", "0.250000"] for line in lines)
    assert "The models have different tensors." in lines


def test_a_side_that_failed_is_reported_with_its_cause() -> None:
    """Without steps, the report has the cause instead of numbers."""
    broken = Side("OneTrainer", "run", "failed", "the graphics memory is used up")
    text = table(Comparison("x", 3, (side("a", (float("nan"),)), broken)))
    assert "OneTrainer: failed: the graphics memory is used up" in text
    document = Comparison("x", 3, (side("a", (float("nan"), 1.0)), side("b", (1.0, 1.5)))).as_dict()
    assert json.loads(json.dumps(document, allow_nan=False))["engines"][0]["losses"] == [None, 1.0]
    assert document["loss"] == {"steps_compared": 2, "largest_difference": 0.5, "first_difference": None}


def test_what_a_run_wrote_is_described(tmp_path: Path) -> None:
    """A file is described by its size and tensors, a folder by its components; a missing path has no description."""
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    good = tmp_path / "good.safetensors"
    good.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    assert produced("model", good).keys == ("a F32 [2, 3]",)
    part = tmp_path / "model" / "unet"
    part.mkdir(parents=True)
    good.rename(part / "weights.safetensors")
    (part / "config.json").write_text("{}")
    made = produced("model", tmp_path / "model")
    assert (made.tensors, made.keys) == (1, ("unet: a F32 [2, 3]",))
    assert made.bytes == len(header) + 8 + 24 + 2
    gone = tmp_path / "gone"
    assert produced("model", gone) == Produced("model", "gone", 0, path=str(gone))


def test_both_start_from_one_untrained_adapter(tmp_path: Path) -> None:
    """Only a LoRA without a base starts from random numbers; the run that writes the adapter doesn't train."""
    config = small_config(tmp_path, ema="CPU", gradient_accumulation_steps=4)
    assert draws_adapter(config)
    assert not draws_adapter(config.model_copy(update={"lora_model_name": "mine.safetensors"}))
    assert not draws_adapter(config.model_copy(update={"training_method": "FINE_TUNE"}))
    still = untrained(config)
    assert {still.unet.learning_rate, still.text_encoder.learning_rate, still.transformer.learning_rate} == {0.0}
    assert (still.optimizer.optimizer, still.ema, still.gradient_accumulation_steps) == ("SGD", "OFF", 1)
    assert still.concepts == config.concepts


@pytest.mark.parametrize(
    "words",
    [
        ["--steps", "0", "x"],
        ["x", "--onetrainer", "/no/such/folder"],
        ["SD 1.5/LoRA 8 GB", "--python", sys.executable],
        ["no such preset"],
        [],
    ],
)
def test_a_mistake_on_the_command_line_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The mistake is reported in one line, before anything is created."""
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_reports_what_the_settings_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists what the built-in engine doesn't support, with the settings to change; the exit status is 2."""
    checkout = set_up(tmp_path / "OneTrainer")
    path = tmp_path / "mine.json"
    write_file(path, to_document(small_config(tmp_path, model_type="SANA"), packed=True))
    assert main([str(path), "--onetrainer", str(checkout), "--out", str(tmp_path / "out")], io.StringIO()) == 2
    assert "model_type" in capsys.readouterr().err
