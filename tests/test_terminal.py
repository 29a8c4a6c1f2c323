"""Training from the command line, without a page."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onetrainer_gradio.cli import TrainOptions
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.errors import CommandLineError, ConfigError
from onetrainer_gradio.server import main
from onetrainer_gradio.terminal import clock, train
from tests.backends.onetrainer.standin import set_up
from tests.fakes.configs import small_config
from tests.waiting import read_until, until

REHEARSAL = "tests.fakes.rehearsal:run"
ROOT = Path(__file__).parent.parent


class Screen(io.StringIO):
    """A terminal that records its output."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration file; the current folder is restored, because training changes to the data folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.json"
    path.write_text(json.dumps(to_document(small_config(tmp_path / "material"), packed=True)))
    return path


def options(config: Path, **more) -> TrainOptions:
    data = config.parent / "data"
    return TrainOptions(**{"config": str(config), "data": data, "in_process": True, "backend": REHEARSAL, **more})


def runs(config: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((config.parent / "data" / "runs").glob("*/run.json"))]


@pytest.mark.slow
def test_a_training_leaves_the_same_run_folder_as_the_page(config):
    out = io.StringIO()
    assert train(options(config, max_steps=5, name="mine"), out) == 0
    [run] = runs(config)
    assert (run["name"], run["started_by"], run["options"]["max_steps"]) == ("mine", "command line", 5)
    folder = config.parent / "data" / "runs" / run["id"]
    assert {"config.json", "journal.jsonl", "metrics.bin"} <= {path.name for path in folder.iterdir()}
    output = out.getvalue()
    assert run["id"] in output
    assert re.search(r"^Model: .*lora\.safetensors$", output, re.MULTILINE)
    assert "Finished after step 5" in output
    assert "\r" not in output


@pytest.mark.slow
def test_in_a_terminal_a_bar_shows_phase_loss_and_steps(config):
    out = Screen()
    assert train(options(config, max_steps=3), out) == 0
    output = out.getvalue()
    assert "3/3" in output
    assert "loss 0.3333" in output
    assert "Model: " in output


@pytest.mark.slow
def test_the_file_gives_the_name_and_its_unknown_settings_are_reported(config):
    document = json.loads(config.read_text())
    config.write_text(json.dumps({**document, "learning_rat": 1}))
    out = io.StringIO()
    assert train(options(config, max_steps=1), out) == 0
    assert runs(config)[0]["name"] == "small"
    assert re.search(r"Warning: .*learning_rat", out.getvalue())


@pytest.mark.slow
def test_a_failure_is_reported_in_one_line(config, capsys):
    assert train(options(config, backend="tests.test_terminal:failing"), io.StringIO()) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("onetrainer-gradio: error:")]
    assert lines == ["onetrainer-gradio: error: the run failed at step 0: The graphics memory is used up. Lower the batch size."]


def failing(config, emit, control, options):
    """A backend that runs out of memory."""
    from onetrainer_gradio.errors import OutOfMemoryError

    raise OutOfMemoryError("The graphics memory is used up.", suggestion="Lower the batch size.")


@pytest.mark.slow
def test_a_training_that_cannot_work_does_not_begin(config):
    config.write_text(json.dumps({**json.loads(config.read_text()), "concepts": []}))
    with pytest.raises(ConfigError):
        train(options(config), io.StringIO())
    assert runs(config) == []
    with pytest.raises(CommandLineError, match=r"a file, or one of .* SD 1.5/LoRA 8 GB"):
        train(options(Path("SD 1.5 lora 8.json").absolute(), data=config.parent / "data"), io.StringIO())


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations(seconds, shown):
    assert clock(seconds) == shown


def command(config: Path, *words: str) -> subprocess.Popen[str]:
    """Start the real command with a run that trains until it is stopped."""
    line = [sys.executable, str(ROOT / "app.py"), "train", str(config), "--data", str(config.parent / "data"), *words]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def endless(config, emit, control, options):
    """A backend that trains until it is stopped; while it is deaf, its step doesn't end."""
    from tests.fakes.rehearsal import run

    return run(config, emit, control, options.model_copy(update={"tags": ("steps=1000000", "step_s=0.02")}))


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_gracefully_and_saves(config, number):
    """The run is in a separate process; Ctrl-C ends it after its step, with the model saved and exit status 130."""
    process = command(config, "--backend", "tests.test_terminal:endless")
    try:
        read_until(process, "Training", process.stderr.read)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "Stopping: finishing the current step" in out
        assert "Model: " in out
        assert "Stopped after step" in out
    finally:
        process.kill()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_interrupt_while_the_run_begins_stops_it_too(config):
    """As soon as a run exists, Ctrl-C goes to it, so no run continues that nobody follows."""
    process = command(config, "--backend", "tests.test_terminal:endless")
    try:
        runs_folder = config.parent / "data" / "runs"
        until(lambda: list(runs_folder.glob("*/run.json")) or process.poll() is not None)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in err) == (130, False), err
        assert "Stopping: finishing the current step" in out
    finally:
        process.kill()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_detached_training_continues_alone(config):
    """The command returns immediately; the data folder later shows the ended run."""
    process = command(config, "--backend", REHEARSAL, "--detach")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "background" in out
    from onetrainer_gradio.service import ServiceSettings, TrainerService

    with TrainerService(ServiceSettings(data_folder=config.parent / "data")) as service:
        state = service.wait_for(lambda state: bool(state["run_id"]) and not state["is_training"], 20)
    assert state["end_reason"] == "completed"


def test_the_command_reports_wrong_configurations_with_status_2(config, capsys):
    config.write_text("{")
    assert main(["train", str(config), "--data", str(config.parent / "data"), "--backend", REHEARSAL]) == 2
    assert "onetrainer-gradio: error: " in capsys.readouterr().err


@pytest.mark.slow
def test_every_wrong_setting_is_named(config, capsys):
    document = {**json.loads(config.read_text()), "epochs": "many", "batch_size": "few"}
    config.write_text(json.dumps(document))
    assert main(["train", str(config), "--data", str(config.parent / "data"), "--backend", REHEARSAL]) == 2
    output = capsys.readouterr().err.splitlines()
    assert output[0].startswith("onetrainer-gradio: error: ")
    assert sorted(line.split(":")[0].strip() for line in output[1:]) == ["batch_size", "epochs"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_checkout_can_be_named_to_train_with(config, capsys):
    """`--onetrainer` is enough. The run records the checkout, and a folder without OneTrainer is reported in one line."""
    checkout = set_up(config.parent / "OneTrainer")
    data = config.parent / "data"
    assert main(["train", str(config), "--data", str(data), "--onetrainer", str(checkout), "--max-steps", "3"]) == 0
    (record,) = (data / "runs").glob("*/run.json")
    assert json.loads(record.read_text())["checkout"]["folder"] == str(checkout)
    assert main(["train", str(config), "--data", str(data), "--onetrainer", str(data)]) == 2
    assert "doesn't contain OneTrainer" in capsys.readouterr().err
