"""The process that generates images: what it loads, and how it ends with the panel, even in the middle of an image."""

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
from onetrainer_gradio.demo import MODEL_FOLDER as MODEL
from tests.fakes.configs import small_config

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

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


IMPORTED = """
import json, sys
from onetrainer_gradio.backends.generation_worker import Loaded
from onetrainer_gradio.engine.lean_imports import UNUSED
print(json.dumps(Loaded().answer(json.loads(sys.argv[1]))))
print(*(name for name in UNUSED if name in sys.modules))
"""


def test_an_image_is_generated_without_libraries_that_it_does_not_use(tmp_path: Path) -> None:
    """Importing them would take as long as the rest of the first image."""
    image = tmp_path / "000.png"
    sample = SampleConfig(width=64, height=64, diffusion_steps=2).model_dump(mode="json")
    request = {
        "config": to_document(small_config(tmp_path, base_model_name=str(MODEL)), packed=True),
        "result": "",
        "strength": 1.0,
        "sample": sample,
        "seed": 1,
        "path": str(image),
        "stop": str(tmp_path / "stop"),
        "facts": {**sample, "seed": 1},
    }
    command = [sys.executable, "-c", IMPORTED, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    answer, imported = done.stdout.splitlines()[-2:]
    assert (json.loads(answer).get("stopped"), imported, image.is_file()) == (False, "", True), answer
