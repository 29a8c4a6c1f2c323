"""The state of a run at any of its steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onetrainer_gradio.events import Event, PhaseChanged, SampleGenerated, WarningIssued
from onetrainer_gradio.service.runs.record import Run, RunStore, new_run_id
from onetrainer_gradio.service.runs.replay import MAX_EVENTS, Replay
from onetrainer_gradio.service.runs.samples import SampleStore
from tests.service.runs.test_overlay import trained
from tests.service.runs.test_record import create


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def replay(store: RunStore, tmp_path: Path) -> Replay:
    return Replay(store, SampleStore(store, tmp_path / "thumbnails"))


def sampled(run: Run, step: int, index: int) -> None:
    run.journal.append(sample(step, index))


def sample(step: int, index: int, began: float = 1000.0) -> Event:
    return SampleGenerated(
        at=began + step + 0.5,
        path=f"{step}.png",
        kind="default",
        index=index,
        prompt=f"prompt {index}",
        negative_prompt="",
        width=8,
        height=8,
        seed=1,
        diffusion_steps=1,
        cfg_scale=1.0,
        noise_scheduler="",
        global_step=step,
        epoch=0,
        epoch_step=step,
        seconds=0.1,
    )


@pytest.mark.slow
def test_a_step_has_its_values_events_and_samples(store: RunStore, replay: Replay) -> None:
    """Later values aren't included; a sample of this step is, although it is written after it."""
    run = trained(store, 1, np.linspace(1.0, 0.1, 100))
    run.journal.append(PhaseChanged(at=1000.5, phase="training"))
    for step in range(10, 101, 10):
        sampled(run, step, 0)
        if step % 20 == 0:
            sampled(run, step, 1)
        run.journal.append(WarningIssued(at=1000.7 + step, code="w", message=f"after {step}"))
    moment = replay.at(run.id, 50)
    assert (moment["step"], moment["first_step"], moment["last_step"]) == (50, 1, 100)
    assert moment["values"]["loss"] == pytest.approx(np.linspace(1.0, 0.1, 100)[49])
    assert [(sample["index"], sample["step"]) for sample in moment["samples"]] == [(0, 50), (1, 40)]
    assert [event["message"] for event in moment["events"] if event["type"] == "warning_issued"][-1] == "after 40"
    assert moment["events"][-1]["global_step"] == 50
    assert moment["phase"] == "training"
    assert replay.at(run.id)["step"] == 100
    assert replay.at(run.id, 55)["step"] == 55
    assert len(replay.at(run.id)["events"]) <= MAX_EVENTS


@pytest.mark.slow
def test_a_chain_is_replayed_as_one_run(store: RunStore, replay: Replay) -> None:
    """A step before the resume belongs to the earlier run, with its settings; samples that the later run repeated don't count."""
    first = trained(store, 1, np.full(80, 1.0))
    sampled(first, 40, 0)
    sampled(first, 70, 0)
    second = trained(store, 2, np.full(40, 2.0), first=61, resumes=first.id)
    assert replay.at(second.id, 50)["run_id"] == first.id
    late = replay.at(second.id, 75)
    assert (late["run_id"], late["values"]["loss"]) == (second.id, 2.0)
    assert [sample["step"] for sample in late["samples"]] == [40]
    assert (late["first_step"], late["last_step"]) == (1, 100)


def test_a_run_without_steps_has_its_events(store: RunStore, replay: Replay) -> None:
    """A run that failed before its first step shows the reason."""
    run = create(store, new_run_id(1))
    run.journal.append(WarningIssued(at=1.0, code="w", message="no room"))
    moment = replay.at(run.id, 5)
    assert (moment["step"], moment["first_step"], moment["values"], moment["samples"]) == (0, None, {}, [])
    assert [event["message"] for event in moment["events"]] == ["no room"]
