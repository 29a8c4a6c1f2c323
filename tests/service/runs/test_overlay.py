"""Curves of several runs in one response.

Covers ``service/runs/metric_blocks.py``, too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.events import Resumed, RunPlanned, ValidationCompleted
from onetrainer_gradio.service.runs.metric_blocks import BLOCK_ROWS, FIRST, HIGH, LOW, MetricBlocks
from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS, MetricsReader, column_names
from onetrainer_gradio.service.runs.overlay import ALL, MAX_BYTES, MAX_RUNS, Overlay, View
from onetrainer_gradio.service.runs.record import Run, RunStore, new_run_id
from tests.service.runs.test_record import create

PLAN = {"steps_per_epoch": 100, "total_updates": 0, "epochs": 1, "images": 1, "trainable_parameters": 1}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def blocks(tmp_path: Path) -> MetricBlocks:
    return MetricBlocks(tmp_path / "cache")


@pytest.fixture
def overlay(store: RunStore, blocks: MetricBlocks) -> Overlay:
    return Overlay(store, blocks)


def put(path: Path, rows: np.ndarray) -> None:
    """Write a metrics file at once; the writer accepts one event at a time."""
    header = json.dumps({"format": "onetrainer_gradio.metrics", "version": 1, "dtype": "<f8", "columns": column_names(["unet"])})
    path.write_bytes(header.encode() + b"\n" + rows.astype("<f8").tobytes())


def rows_of(losses: np.ndarray, first: int = 1, began: float = 1000.0) -> np.ndarray:
    """Return one row per step of a second, 100 steps per epoch, 4 images."""
    step = np.arange(first, first + len(losses), dtype=float)
    rows = np.zeros((len(step), len(column_names(["unet"]))))
    columns = {name: index for index, name in enumerate(column_names(["unet"]))}
    for name, values in {
        "update_step": step,
        "global_step": step,
        "epoch": step // 100,
        "epoch_step": step % 100,
        "at": began + step - first + 1,
        "loss": losses,
        "smooth_loss": losses,
        "grad_norm": np.full(len(step), np.nan),
        "seconds": np.ones(len(step)),
        "images": np.full(len(step), 4.0),
        "lr/unet": np.full(len(step), 1e-4),
    }.items():
        rows[:, columns[name]] = values
    return rows


def trained(store: RunStore, number: int, losses: np.ndarray, *, first: int = 1, resumes: str = "") -> Run:
    run = create(store, new_run_id(1_000_000 + number), resumes_run=resumes)
    run.journal.append(RunPlanned(total_steps=len(losses), first_step=first - 1, learning_rates=("unet",), **PLAN))
    if resumes:
        run.journal.append(Resumed(path="backup", global_step=first - 1, run=resumes))
    put(run.folder / "metrics.bin", rows_of(losses, first))
    return run


def test_blocks_have_the_extremes_and_grow_with_the_run(tmp_path: Path, blocks: MetricBlocks) -> None:
    """Each block has its lowest and highest value, also when the run grows, or the file is damaged or belongs to another run."""
    path, losses = tmp_path / "metrics.bin", np.random.default_rng(1).random(3 * BLOCK_ROWS + 7)
    loss = FIXED_COLUMNS.index("loss")
    for count in (BLOCK_ROWS + 3, len(losses)):
        put(path, rows_of(losses[:count]))
        summary = blocks.read("run", MetricsReader(path))
        whole = losses[: count // BLOCK_ROWS * BLOCK_ROWS].reshape(-1, BLOCK_ROWS)
        assert np.array_equal(summary.blocks[:, LOW, loss], whole.min(axis=1))
        assert np.array_equal(summary.blocks[:, HIGH, loss], whole.max(axis=1))
        assert summary.rows == count
    file = next((tmp_path / "cache").iterdir())
    file.write_bytes(file.read_bytes()[:-5])
    assert len(blocks.read("run", MetricsReader(path)).blocks) == 3
    put(path, rows_of(losses[::-1], began=5.0))
    assert blocks.read("run", MetricsReader(path)).blocks[0, FIRST, loss] == losses[-1]
    blocks.forget("run")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_a_spike_survives_at_any_length(store: RunStore, overlay: Overlay) -> None:
    """One step of 300,000 is higher than all others and one is NaN; the response has the first and skips the second."""
    losses = np.full(300_000, 0.5)
    losses[123_456], losses[77] = 9.0, np.nan
    run = trained(store, 1, losses)
    curves = overlay.series([run.id], View(points=50))["runs"][0]
    assert max(curves["series"]["loss"]["max"]) == 9.0
    assert None not in curves["series"]["loss"]["mean"]
    assert len(curves["x"]) == 50


@pytest.mark.slow
def test_a_zoom_shows_every_step(store: RunStore, overlay: Overlay) -> None:
    """A short range of a long run is returned step by step, within the requested limits."""
    losses = np.arange(200_000, dtype=float)
    run = trained(store, 1, losses)
    curves = overlay.series([run.id], View(first=150_000, last=150_009))["runs"][0]
    assert curves["x"] == list(range(150_000, 150_010))
    assert curves["series"]["loss"]["mean"][0] == pytest.approx(149_999, rel=1e-3)
    wide = overlay.series([run.id], View(first=50_000, last=150_000, points=40))["runs"][0]
    assert 50_000 - BLOCK_ROWS <= wide["x"][0] <= 50_000
    assert wide["x"][-1] <= 150_000


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["step", "epoch", "time"])
def test_a_chain_is_one_curve_on_each_axis(store: RunStore, overlay: Overlay, axis) -> None:
    """The second run continues after step 60, an hour later; its curve begins where the first one ends."""
    first = trained(store, 1, np.full(80, 1.0))
    second = trained(store, 2, np.full(40, 2.0), first=61, resumes=first.id)
    curves = overlay.series([second.id], View(axis=axis))["runs"][0]
    assert curves["series"]["loss"]["mean"] == [1] * 60 + [2] * 40
    assert curves["x"] == sorted(set(curves["x"]))
    wanted = {"step": (1, 100, 60), "epoch": (0.01, 1, 0.6), "time": (1, 100, 60)}[axis]
    assert (curves["x"][0], curves["x"][-1], curves["resumes"][0]["x"]) == wanted
    alone = overlay.series([second.id], View(axis=axis, chain=False))["runs"][0]
    assert (len(alone["x"]), alone["resumes"]) == (40, [])


@pytest.mark.slow
def test_all_metrics_come_at_once(store: RunStore, overlay: Overlay) -> None:
    """Speed is computed, a learning rate has its group's name, validation has its own points; NaN is a gap."""
    run = trained(store, 1, np.full(10, 1.0))
    run.journal.append(ValidationCompleted(global_step=4, losses={"cats": 0.5, "dogs": 0.7}, total=0.6))
    answer = overlay.series([run.id], View(metrics=(ALL,)))
    assert answer["metrics"] == [
        *("loss", "smooth_loss", "grad_norm", "speed", "lr/unet", "validation", "validation/cats", "validation/dogs")
    ]
    curves = answer["runs"][0]
    assert curves["series"]["speed"]["mean"] == [4] * 10
    assert curves["series"]["grad_norm"]["mean"] == [None] * 10
    assert curves["validation"]["validation/dogs"] == {"x": [4], "y": [0.7]}
    assert overlay.series([run.id], View(metrics=("lr",)))["runs"][0]["series"]["lr"]["mean"] == [1e-4] * 10
    assert curves["last"]["loss"] == 1


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_answer_is_bounded(store: RunStore, overlay: Overlay) -> None:
    """It stays below 100 kB for any length and number of runs; too many runs are an error, deleted ones are named."""
    random = np.random.default_rng(1)
    runs = [trained(store, number, random.random(5_000) * 10.0 ** random.integers(-9, 9)) for number in range(12)]
    for run in runs:
        for number in range(1, 1500):
            run.journal.append(ValidationCompleted(global_step=number, losses={"a": number / 7}, total=number / 7))
    ids = [run.id for run in runs]
    for metrics in (("loss",), (ALL,)):
        answer = overlay.series([*ids, "none"], View(metrics=metrics, points=2000))
        assert len(json.dumps(answer, separators=(",", ":"))) <= MAX_BYTES < 100_000
        assert answer["missing"] == ["none"]
        assert all(len(curves["x"]) >= 8 for curves in answer["runs"])
    with pytest.raises(ConfigValueError):
        overlay.series([f"{number}" for number in range(MAX_RUNS + 1)], View())


@pytest.mark.slow
def test_a_run_without_steps_has_an_empty_curve(store: RunStore, overlay: Overlay) -> None:
    """It isn't missing, because it failed before its first step."""
    run = create(store, new_run_id(1))
    curves = overlay.series([run.id], View(metrics=("loss", "validation")))["runs"][0]
    assert (curves["x"], curves["series"]["loss"]["mean"], curves["last"]) == ([], [], {})
    assert not math.isnan(curves["rows_per_point"])
