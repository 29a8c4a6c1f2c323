"""What a run imports: nothing that it doesn't use (engine/lean_imports.py)."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from onetrainer_gradio.engine.lean_imports import UNUSED, omit_unused
omit_unused()
import onetrainer_gradio.engine.training
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
print(*(name for name in UNUSED if name in sys.modules))
"""


@pytest.mark.slow
def test_models_and_pipelines_come_without_unused_libraries():
    """Neither peft nor bitsandbytes is imported, whether they are installed or not."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []
