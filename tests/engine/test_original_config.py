"""The configuration next to a single file defines what its denoiser predicts."""

from __future__ import annotations

import pytest

from onetrainer_gradio.engine.original_config import scheduler_changes
from onetrainer_gradio.errors import ModelFormatError

SCALING = "model:\n  params:\n    denoiser_config:\n      params:\n        scaling_config:\n          target: sgm.modules.{}\n"


@pytest.mark.parametrize(
    ("ending", "text", "prediction"),
    [
        (".yaml", "model:\n  params:\n    parameterization: v\n", "v_prediction"),
        (".yml", "model:\n  params:\n    parameterization: eps\n", "epsilon"),
        (".yaml", "model:\n  params:\n    timesteps: 1000\n", "epsilon"),
        (".yaml", SCALING.format("VScaling"), "v_prediction"),
        (".yaml", SCALING.format("EpsScaling"), "epsilon"),
    ],
)
def test_the_prediction_is_read(tmp_path, ending, text, prediction):
    """Both spellings work; the original program's default is epsilon."""
    (tmp_path / f"model{ending}").write_text(text)
    assert scheduler_changes(tmp_path / "model.safetensors") == {"prediction_type": prediction}
    assert scheduler_changes(tmp_path / "other.safetensors") == {}


@pytest.mark.parametrize(
    "content",
    [b"model: [", b"\xff\xfe\x00", b"a text", b"model:\n  params: {}\n", b"model:\n  params:\n    parameterization: x0\n"],
)
def test_what_is_no_configuration_is_named(tmp_path, content):
    """An unreadable file of that name isn't ignored."""
    (tmp_path / "model.yaml").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"model\.yaml"):
        scheduler_changes(tmp_path / "model.safetensors")
