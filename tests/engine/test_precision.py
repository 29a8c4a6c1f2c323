"""Data types of weights and of the computation (engine/precision.py)."""

from __future__ import annotations

import pytest
import torch

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.precision import compute_dtype, mixed

PARTS = ("unet", "text_encoder", "vae")


def configured(dtype: str, **changes) -> TrainConfig:
    parts = {name: {"weight_dtype": dtype} for name in PARTS}
    return TrainConfig.model_validate({"training_method": "FINE_TUNE", "train_dtype": dtype, **parts, **changes})


@pytest.mark.parametrize("dtype", ["FLOAT_32", "FLOAT_16", "BFLOAT_16"])
def test_one_data_type_has_no_autocast(dtype):
    """As in OneTrainer, only a component or adapter with another data type needs it."""
    assert not mixed(configured(dtype), PARTS)
    assert mixed(configured(dtype, vae={"weight_dtype": "FLOAT_8"}), PARTS)
    assert not mixed(configured(dtype, vae={"weight_dtype": "FLOAT_8"}), PARTS[:2])
    other = "BFLOAT_16" if dtype == "FLOAT_32" else "FLOAT_32"
    assert mixed(configured(dtype, training_method="LORA", lora_weight_dtype=other), PARTS)
    assert not mixed(configured(dtype, training_method="LORA", lora_weight_dtype=dtype), PARTS)
    assert mixed(configured("FLOAT_32", train_dtype="TFLOAT_32"), PARTS)


def test_the_fallback_is_for_float16():
    """Other train data types don't overflow."""
    half = TrainConfig.model_validate({"train_dtype": "FLOAT_16", "fallback_train_dtype": "BFLOAT_16"})
    assert compute_dtype(half, fallback=True) == torch.bfloat16
    assert compute_dtype(half, fallback=False) == torch.float16
    assert compute_dtype(TrainConfig.model_validate({"train_dtype": "FLOAT_32"}), fallback=True) == torch.float32
