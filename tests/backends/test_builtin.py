"""The backend that trains with the package's own engine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from onetrainer_gradio.backends import builtin
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.errors import ConfigInvalidError
from onetrainer_gradio.events import RunStarted
from tests.engine.recording import Desk, Recorder


def test_it_says_first_with_what_it_begins():
    """Process, versions of the libraries and the device come before anything else, failures included."""
    recorder = Recorder()
    config = TrainConfig.model_validate({"train_device": "cpu", "compile": True})
    with pytest.raises(ConfigInvalidError):
        builtin.run(config, recorder, Desk(), RunOptions())
    started = recorder.events[0]
    assert isinstance(started, RunStarted)
    assert (started.backend, started.pid) == ("builtin", os.getpid())
    assert {"torch", "diffusers", "peft", "python", "onetrainer_gradio"} <= started.versions.keys()
    assert started.hardware["device"] == "cpu"


def test_finding_it_needs_no_torch():
    """The panel can know the backend without paying for its libraries."""
    code = "import sys; import onetrainer_gradio.backends.builtin, onetrainer_gradio.engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
