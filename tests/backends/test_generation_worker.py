"""The process that generates images ends with the panel, even in the middle of an image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.config.files.documents import to_document
from tests.fakes.configs import small_config

pytestmark = pytest.mark.slow

PANEL = """
import json, sys, time
from onetrainer_gradio.service.host.module_process import exchange, start_answering
process = start_answering("tests.fakes.slow_generation_worker", "generate images", {})
exchange(process, json.loads(sys.argv[1]))
"""


def test_a_killed_panel_leaves_no_process_that_computes(tmp_path: Path) -> None:
    """It ends within a denoising step; otherwise nobody could end the image, and it would hold GPU memory."""
    config = to_document(small_config(tmp_path), packed=True)
    begun = tmp_path / "begun"
    request = {
        "config": config,
        "result": str(begun),
        "strength": 1.0,
        "sample": SampleConfig().model_dump(mode="json"),
        "seed": 1,
        "path": str(tmp_path / "000.png"),
        "stop": str(tmp_path / "stop"),
        "facts": {},
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    panel = subprocess.Popen([sys.executable, "-c", PANEL, json.dumps(request)], env=environment)
    give_up_at = time.monotonic() + 30
    while not (begun.is_file() and begun.read_text()) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    worker = int(begun.read_text())
    panel.kill()
    panel.wait()
    give_up_at = time.monotonic() + 10
    while psutil.pid_exists(worker) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert not psutil.pid_exists(worker)
