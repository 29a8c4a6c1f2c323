"""The backend that trains with the package's own engine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from onetrainer_gradio.backends.backend import RunContext
from onetrainer_gradio.backends.builtin import BACKEND
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.errors import ConfigInvalidError
from onetrainer_gradio.events import RunStarted
from tests.engine.recording import FakeControl, Recorder

pytestmark = pytest.mark.slow


def test_it_first_reports_its_process_and_device():
    """Process, library versions and device come before anything else, including failures."""
    recorder = Recorder()
    config = TrainConfig.model_validate({"train_device": "cpu", "compile": True})
    with pytest.raises(ConfigInvalidError):
        BACKEND.run(config, RunContext(recorder, FakeControl(), RunOptions()))
    started = recorder.events[0]
    assert isinstance(started, RunStarted)
    assert (started.backend, started.pid) == ("builtin", os.getpid())
    assert {"torch", "diffusers", "peft", "python", "onetrainer_gradio"} <= started.versions.keys()
    assert started.hardware["device"] == "cpu"


@pytest.mark.exhaustive
def test_finding_it_needs_no_torch():
    """The panel can list the backend without importing its libraries."""
    code = "import sys; import onetrainer_gradio.backends.builtin, onetrainer_gradio.engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_used_up_memory_is_named_with_what_to_change(tmp_path):
    """An image scaled to 400,000 pixels a side fits no machine: the error has the cause, and which settings help."""
    import json

    from onetrainer_gradio.errors import OutOfMemoryError
    from tests.engine.conftest import GOLDEN, configuration

    recorded = json.loads((GOLDEN / "run.json").read_text())
    config = configuration(tmp_path, recorded, GOLDEN / "data", resolution="400000")
    with pytest.raises(OutOfMemoryError, match=r"Out of memory \(RAM\)") as caught:
        BACKEND.run(config, RunContext(Recorder(), FakeControl(), RunOptions()))
    assert "resolution" in caught.value.suggestion
