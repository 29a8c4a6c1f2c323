"""A comparison trains the same settings with two engines and lays what came out side by side."""

from __future__ import annotations

import io
import json
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from onetrainer_gradio.compare import (
    Comparison,
    Produced,
    Request,
    Side,
    compare,
    main,
    own_folders,
    produced,
    table,
    tensor_names,
)
from onetrainer_gradio.config.files.documents import to_document, write_file
from onetrainer_gradio.errors import ConfigInvalidError
from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.terminal import StopSignals
from tests.backends.onetrainer.standin import set_up
from tests.fakes.configs import small_config

REHEARSAL = "tests.fakes.rehearsal:run"


def side(engine: str, losses: tuple[float, ...], keys: tuple[str, ...] = (), **more: object) -> Side:
    files = (Produced("model", "model.safetensors", 10, len(keys), keys),)
    return Side(engine, "run", "completed", losses=losses, seconds=(3.0, 2.0, 0.5, 0.5), files=files, **more)  # type: ignore[arg-type]


@pytest.mark.slow
def test_both_train_the_same_and_everything_is_reported(tmp_path: Path) -> None:
    """Two runs one after the other, each in its folders; losses, speed, files and the checkout are in the result."""
    checkout = set_up(tmp_path / "OneTrainer")
    said = io.StringIO()
    request = Request("small", small_config(tmp_path), 4, tmp_path / "out", checkout, first=REHEARSAL, in_process=True)
    comparison = compare(request, said)
    ours, theirs = comparison.sides
    assert (ours.end, theirs.end) == ("completed", "completed"), (ours.error, theirs.error)
    assert len(theirs.losses) == 4
    assert theirs.checkout["folder"] == str(checkout)
    assert theirs.steps_per_s
    assert [file.name for file in theirs.files if file.kind == "model"] == ["model.safetensors"]
    assert said.getvalue().splitlines() == [f"Training with {REHEARSAL} …", "Training with OneTrainer …"]
    text = table(comparison)
    assert "steps per second" in text
    json.dumps(comparison.as_dict())
    assert (tmp_path / "out" / "onetrainer" / "model.safetensors").is_file()


@pytest.mark.slow
def test_ctrl_c_ends_the_run_that_goes_on(tmp_path: Path) -> None:
    """Nothing trains on unseen; the second engine does not begin."""
    checkout = set_up(tmp_path / "OneTrainer", step_s=0.2)
    request = Request("small", small_config(tmp_path), 500, tmp_path / "out", checkout, first="onetrainer", in_process=False)
    signals = StopSignals()

    def ctrl_c() -> None:
        while not list((tmp_path / "out" / "panel" / "runs").glob("*/child_process.json")):
            time.sleep(0.05)
        signals()

    pressed = threading.Thread(target=ctrl_c)
    pressed.start()
    with pytest.raises(KeyboardInterrupt):
        compare(request, io.StringIO(), signals)
    pressed.join()
    (run,) = (tmp_path / "out" / "panel" / "runs").iterdir()
    assert '"reason":"stopped"' in (run / "journal.jsonl").read_text()
    for role in ("supervisor", "worker", "child_process"):
        identity = ProcessIdentity.from_dict(read_json(run / f"{role}.json"))
        assert identity is not None
        assert not identity.alive()


@pytest.mark.slow
def test_nothing_is_trained_when_one_of_them_cannot(tmp_path: Path) -> None:
    """Both are asked before the first one begins."""
    checkout = set_up(tmp_path / "OneTrainer")
    config = small_config(tmp_path, training_method="FINE_TUNE_VAE", model_type="SANA")
    with pytest.raises(ConfigInvalidError):
        compare(Request("small", config, 4, tmp_path / "out", checkout, first=REHEARSAL, in_process=True), io.StringIO())
    assert not list((tmp_path / "out" / "panel" / "runs").glob("*"))


def test_only_what_belongs_to_the_comparison_is_changed(tmp_path: Path) -> None:
    """Folders, samples and backups on the way, and epochs for the steps; the rest of the settings is as it was."""
    config = small_config(tmp_path, epochs=2, sample_after=1, learning_rate=0.25)
    changed = own_folders(config, tmp_path / "side", 7)
    assert changed.workspace_dir == str(tmp_path / "side" / "workspace")
    assert (changed.epochs, changed.learning_rate, changed.sample_after_unit) == (7, 0.25, "NEVER")
    assert changed.concepts == config.concepts
    assert own_folders(small_config(tmp_path, epochs=9), tmp_path, 7).epochs == 9


def test_the_difference_of_each_step_is_reported() -> None:
    """The largest and the first difference, the tensors that one side has alone, the speed without the warm-up."""
    comparison = Comparison("x", 3, (side("a", (1.0, 0.5, 0.25), ("k F32 [1]",)), side("b", (1.0, 0.75), ("l F32 [1]",))))
    told = comparison.as_dict()
    assert told["loss"] == {"steps_compared": 2, "largest_difference": 0.25, "first_difference": 0.0}
    assert told["model"] == {"same_keys": False, "only_first": ["k F32 [1]"], "only_second": ["l F32 [1]"]}
    assert told["engines"][0]["steps_per_s"] == 2.0
    lines = table(comparison).splitlines()
    assert any(line.split() == ["2", "0.500000", "0.750000", "2.50e-01"] for line in lines)
    assert any(line.split() == ["3", "0.250000"] for line in lines)
    assert "The models have different tensors." in lines


def test_a_side_that_failed_is_reported_with_its_cause() -> None:
    """Without steps there are no numbers, but the reason."""
    broken = Side("OneTrainer", "run", "failed", "the graphics memory is used up")
    text = table(Comparison("x", 3, (side("a", (float("nan"),)), broken)))
    assert "OneTrainer: failed: the graphics memory is used up" in text
    told = Comparison("x", 3, (side("a", (float("nan"), 1.0)), side("b", (1.0, 1.5)))).as_dict()
    assert json.loads(json.dumps(told, allow_nan=False))["engines"][0]["losses"] == [None, 1.0]
    assert told["loss"] == {"steps_compared": 2, "largest_difference": 0.5, "first_difference": None}


def test_tensors_are_read_from_the_header(tmp_path: Path) -> None:
    """Names, types and shapes, in a folder by its parts; what is no such file has none."""
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    good.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    bad.write_bytes(b"\xff" * 20)
    assert tensor_names(good) == ("a F32 [2, 3]",)
    assert tensor_names(bad) == tensor_names(tmp_path / "none.safetensors") == ()
    part = tmp_path / "model" / "unet"
    part.mkdir(parents=True)
    good.rename(part / "weights.safetensors")
    (part / "config.json").write_text("{}")
    made = produced("model", tmp_path / "model")
    assert (made.tensors, made.keys) == (1, ("unet: a F32 [2, 3]",))
    assert made.bytes == len(header) + 8 + 24 + 2
    assert produced("model", tmp_path / "gone") == Produced("model", "gone", 0)


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
    """Said in one line, before anything is made."""
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_says_what_the_settings_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the built-in engine refuses is listed with the settings to change; the status is 2."""
    checkout = set_up(tmp_path / "OneTrainer")
    path = tmp_path / "mine.json"
    write_file(path, to_document(small_config(tmp_path, model_type="SANA"), packed=True))
    assert main([str(path), "--onetrainer", str(checkout), "--out", str(tmp_path / "out")], io.StringIO()) == 2
    assert "model_type" in capsys.readouterr().err
