"""A run that the queue suspends and resumes is bitwise identical to an uninterrupted one. The built-in engine trains."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.trainer import TrainerService
from tests.service.conftest import MakeService
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
STEPS = 20


def tiny(service: TrainerService, folder: Path) -> TrainConfig:
    """Return the demo's settings with one concept and no samples; everything is written below ``folder``."""
    config, _ = from_document(service.configs.current().config)
    changes = {
        "concepts": config.concepts[:1] if config.concepts else [],
        "samples": [],
        "epochs": 1000,
        "validation": False,
        "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"),
        "output_model_destination": str(folder / "lora.safetensors"),
    }
    return config.model_copy(update=changes)


def weights_of(run: Run) -> dict[str, tuple[str, list[int], bytes]]:
    """Return data type, shape and bytes of each tensor of the final model. The file's metadata contains the time."""
    file = next(file for file in run.files() if file["kind"] == "model")
    content = run.open_file(file["id"]).path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    header.pop("__metadata__", None)
    return {name: (at["dtype"], at["shape"], data[slice(*at["data_offsets"])]) for name, at in header.items()}


def losses(run: Run) -> list[tuple[float, float]]:
    """Return step and loss of each update."""
    rows, columns = run.metrics.rows(), list(run.metrics.columns())
    return [(float(row[columns.index("global_step")]), float(row[columns.index("loss")])) for row in rows]


def test_a_suspended_run_ends_as_if_it_had_not_been(make_service: MakeService, tmp_path: Path) -> None:
    service = make_service(in_process=False, backend="builtin", demo=True)
    options = RunOptions(max_steps=STEPS)

    def ended(item_id: str) -> bool:
        return service.queue.get(item_id)["state"] == "completed"

    whole = service.enqueue(tiny(service, tmp_path / "whole"), options)["id"]
    until(lambda: ended(whole), 120)
    wanted = service.runs.get(service.queue.get(whole)["run_id"])

    parted = service.enqueue(tiny(service, tmp_path / "parted"), options)["id"]
    until(lambda: service.get_state()["update_step"] >= 2 and service.get_state()["run_id"] != wanted.id, 120)
    first = service.runs.get(service.get_state()["run_id"])
    assert service.suspend_training() == parted
    until(lambda: service.queue.get(parted)["state"] == "waiting", 120)
    assert service.scheduler.occupants() == []
    assert first.state()["end_reason"] == "stopped"
    service.queue.edit(parted, ItemChoices(held=False))
    until(lambda: ended(parted), 120)
    second = service.runs.get(service.queue.get(parted)["run_id"])

    at = second.resumed_step()
    assert at is not None
    assert 2 <= at < STEPS
    expected = losses(wanted)
    assert [row for row in losses(first) if row[0] <= at] == [row for row in expected if row[0] <= at]
    assert losses(second) == [row for row in expected if row[0] > at]
    assert weights_of(wanted)
    assert weights_of(second) == weights_of(wanted)
