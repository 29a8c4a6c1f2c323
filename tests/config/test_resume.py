"""What is left to train after a backup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.resume import nothing_left


@pytest.mark.parametrize(("epoch", "left"), [(0, True), (2, True), (3, False), (4, False), ("x", True), (None, True)])
def test_a_backup_behind_the_last_epoch_has_nothing_left(tmp_path: Path, epoch: object, left: bool) -> None:
    """A finding names the epochs; a backup that can't be read is left to the engine's own error."""
    (tmp_path / "meta.json").write_text(json.dumps({"train_progress": {"epoch": epoch}}))
    found = nothing_left(TrainConfig(epochs=3), tmp_path)
    assert (found is None) is left
    if found is not None:
        assert (found.severity, found.path) == ("error", "epochs")
        assert f"epoch {epoch} of 3" in found.message
    assert nothing_left(TrainConfig(epochs=3), tmp_path / "none") is None
