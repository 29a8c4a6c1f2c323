"""A run imports nothing that it doesn't use (engine/lean_imports.py)."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from onetrainer_gradio.engine.lean_imports import UNUSED, unused_omitted
with unused_omitted():
    import onetrainer_gradio.engine.training
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, T5EncoderModel
print(*(name for name in (*UNUSED, "torch.distributed.tensor") if name in sys.modules))
"""


@pytest.mark.slow
def test_models_and_pipelines_come_without_unused_libraries():
    """Neither peft nor bitsandbytes is imported, whether they are installed or not; torch's distributed tensors aren't either."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


@pytest.mark.slow
def test_afterwards_diffusers_has_its_libraries_again():
    """A program that trains in its own process may load the LoRA with diffusers afterwards; this holds after an error too."""
    import transformers.utils
    from diffusers import utils
    from diffusers.utils import constants, import_utils

    from onetrainer_gradio.engine.lean_imports import unused_omitted

    def flags() -> tuple[object, ...]:
        distributed = transformers.utils.is_torch_distributed_available()
        return import_utils._peft_available, utils.USE_PEFT_BACKEND, constants.USE_PEFT_BACKEND, distributed

    def fail() -> None:
        with unused_omitted():
            assert flags() == (False, False, False, False)
            raise ValueError("end")

    before = flags()
    with pytest.raises(ValueError, match="end"):
        fail()
    assert flags() == before
