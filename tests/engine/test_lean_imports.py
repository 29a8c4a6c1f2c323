"""A run imports nothing that it doesn't use (engine/lean_imports.py)."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.exhaustive

CODE = """
import sys
from onetrainer_gradio.engine.lean_imports import UNUSED, unused_omitted
with unused_omitted():
    import onetrainer_gradio.engine.training
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, T5EncoderModel
    import onetrainer_gradio.engine.optimizers.adafactor
assert DDIMScheduler.from_config({}).config.beta_schedule == "linear"
unused = (*UNUSED, "torch.distributed.tensor", "scipy.stats._distn_infrastructure", "scipy.integrate._ode")
print(*(name for name in unused if name in sys.modules))
"""


@pytest.mark.slow
def test_models_and_pipelines_come_without_unused_libraries():
    """Neither peft, bitsandbytes, scipy nor torch's distributed tensors are imported, whether they are installed or not."""
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


@pytest.mark.slow
def test_a_scheduler_that_uses_scipy_imports_it():
    pytest.importorskip("scipy", reason="scipy isn't installed")
    code = """
from onetrainer_gradio.engine.lean_imports import unused_omitted
with unused_omitted():
    from diffusers import FlowMatchEulerDiscreteScheduler
scheduler = FlowMatchEulerDiscreteScheduler(use_beta_sigmas=True)
scheduler.set_timesteps(4)
import scipy.stats
print(len(scheduler.sigmas), scipy.stats.beta.ppf(0.5, 1, 1))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["5", "0.5"]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_modules_of_diffusers_that_copied_the_flag_get_it_back():
    """A pipeline that was imported for training loads a LoRA afterwards, and the next run omits peft again."""
    code = """
import sys
from onetrainer_gradio.engine.lean_imports import PEFT_BACKEND, unused_omitted
with unused_omitted():
    from diffusers import StableDiffusionPipeline
    from diffusers.loaders import lora_base
    assert lora_base.USE_PEFT_BACKEND is False
copies = [module for name, module in sys.modules.items() if name.startswith("diffusers.") and PEFT_BACKEND in vars(module)]
print({vars(module)[PEFT_BACKEND] for module in copies})
with unused_omitted():
    print({vars(module)[PEFT_BACKEND] for module in copies})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["{True}", "{False}"]
