"""Changes that save memory in a resumed run: the memory estimate's suggestions that work with a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.errors import UnsupportedError
from onetrainer_gradio.service.engines.lower_memory import candidates, next_step
from onetrainer_gradio.service.engines.memory import memory_changes
from tests.fakes.configs import small_config


def test_the_effective_batch_stays_and_no_weight_changes_its_shape(tmp_path: Path) -> None:
    config = small_config(tmp_path, batch_size=6, gradient_accumulation_steps=2, lora_rank=64)
    config = config.model_copy(update={"unet": config.unet.model_copy(update={"gradient_checkpointing": False})})
    offered = list(candidates(config))
    assert offered[0][1] == {"unet.gradient_checkpointing": True}
    sizes = [changes for _, changes in offered if "batch_size" in changes]
    assert sizes == [
        {"batch_size": 3, "gradient_accumulation_steps": 4},
        {"batch_size": 1, "gradient_accumulation_steps": 12},
    ]
    assert all(change["batch_size"] * change["gradient_accumulation_steps"] == 12 for change in sizes)
    paths = {path for _, changes in offered for path in changes}
    assert paths.isdisjoint({"lora_rank", "optimizer.optimizer"})
    assert {label.partition(", with")[0] for label, _ in offered} <= {label for label, _ in memory_changes(config)}


def test_a_learning_rate_that_depends_on_the_batch_size_alone_keeps_the_batch(tmp_path: Path) -> None:
    config = small_config(tmp_path, batch_size=4, learning_rate_scaler="BATCH")
    assert not [changes for _, changes in candidates(config) if "batch_size" in changes]


class Estimator:
    def __init__(self, saving: Any) -> None:
        self.saving = saving

    def saves(self, config: Any, changed: Any) -> bool:
        return bool(self.saving(changed))


@pytest.mark.slow
def test_the_first_change_that_saves_is_taken(tmp_path: Path) -> None:
    config = small_config(tmp_path, batch_size=4)
    step = next_step(config, Estimator(lambda changed: changed.batch_size == 1))  # type: ignore[arg-type]
    assert step is not None
    label, changed = step
    assert (changed.batch_size, changed.gradient_accumulation_steps) == (1, 4)
    assert label.endswith("with 4 accumulation steps")
    assert next_step(config, Estimator(lambda changed: False)) is None  # type: ignore[arg-type]


def test_without_an_estimate_the_first_change_is_taken(tmp_path: Path) -> None:
    def refuse(changed: Any) -> bool:
        raise UnsupportedError("no estimate")

    config = small_config(tmp_path, batch_size=2)
    step = next_step(config, Estimator(refuse))  # type: ignore[arg-type]
    assert step is not None
    assert step[0] == next(candidates(config))[0]
