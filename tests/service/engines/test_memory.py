"""One helper process estimates VRAM, once per configuration, and finds changes that make a run fit.

Covers ``backends/memory_worker.py``.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.demo import DEMO_FOLDER
from onetrainer_gradio.errors import BusyError, UnsupportedError
from onetrainer_gradio.service.engines.memory import MemoryEstimator, NewestFirst
from tests.fakes.estimates import GIB, Computed

pytestmark = pytest.mark.slow


def configured(**changes) -> TrainConfig:
    document = {
        "__version": 11,
        "model_type": "STABLE_DIFFUSION_15",
        "training_method": "LORA",
        "base_model_name": str(DEMO_FOLDER / "model"),
        "batch_size": 4,
        "lora_rank": 16,
        "resolution": "64",
        "optimizer": {"optimizer": "ADAMW"},
        "unet": {"train": True, "gradient_checkpointing": False},
    }
    return from_document(document | changes)[0]


class Slow(Computed):
    """An estimator that waits for permission."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.may_answer.wait(10)
        return super()._ask(request)


def test_a_configuration_is_estimated_once_whatever_else_changes():
    """Settings without an effect on memory don't cause a new estimate."""
    memory = Computed()
    assert memory.known(configured()) is None
    first = memory.estimate(configured())
    assert memory.estimate(configured(learning_rate=0.5, workspace_dir="elsewhere")) == first
    assert memory.asked == 1
    assert memory.known(configured()) == first
    memory.estimate(configured(batch_size=2))
    assert memory.asked == 2


def test_changes_are_tried_one_on_top_of_the_other_until_the_run_fits():
    """The order is checkpointing, then smaller batches, and nothing more than necessary."""
    steps = list(Computed().steps_to_fit(configured(), GIB))
    assert [step.changes for step in steps] == [{"unet.gradient_checkpointing": True}, {"batch_size": 2}]
    assert [step.estimate.peak.total for step in steps] == [2 * GIB, GIB]
    assert list(Computed().steps_to_fit(configured(), 4 * GIB)) == []


def test_the_check_warns_only_of_what_is_known_and_too_large():
    """There is no finding without a GPU, without an estimate, or if the run fits."""
    memory = Computed()
    assert memory.findings(configured(), GIB) == ()
    memory.estimate(configured())
    assert memory.findings(configured(), None) == ()
    assert memory.findings(configured(), 4 * GIB) == ()
    (finding,) = memory.findings(configured(), 2 * GIB)
    assert (finding.code, finding.severity, finding.path) == ("memory-exceeds-gpu", "warning", "batch_size")
    assert "4.0 GiB" in finding.message
    assert "not yet calibrated" in finding.message


def test_a_start_waits_for_an_estimate_only_as_long_as_it_may():
    """If the time suffices, there is the same warning; otherwise the start answers immediately, and the estimate follows."""
    assert [found.code for found in Computed().findings(configured(), 2 * GIB, 60.0)] == ["memory-exceeds-gpu"]
    slow = Slow()
    assert slow.findings(configured(), 2 * GIB, 0.05) == ()
    slow.may_answer.set()
    assert slow.estimate(configured()).peak.total == 4 * GIB
    assert slow.asked == 1
    assert [found.code for found in slow.findings(configured(), 2 * GIB)] == ["memory-exceeds-gpu"]
    no_answer = Slow()
    assert no_answer.findings(configured(), None, 60.0) == ()
    assert no_answer.asked == 0


def test_the_newest_of_those_that_wait_is_next_and_the_oldest_of_too_many_ends():
    """After a change of settings, nobody waits for the estimates of earlier settings, however many there are."""
    turns, order = NewestFirst(max_waiting=3), []

    def take(number: int) -> None:
        try:
            with turns:
                order.append(number)
        except BusyError:
            order.append(-number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(1, 6)]
    with turns:
        for thread in threads:
            thread.start()
            time.sleep(0.05)  # it is waiting now
        assert order == [-1, -2]
    for thread in threads:
        thread.join(5.0)
    assert order == [-1, -2, 5, 4, 3]


@pytest.mark.exhaustive
def test_an_estimate_takes_no_longer_than_its_limit(tmp_path: Path):
    """This holds if the existing process hangs: a second one doesn't get the whole time again."""
    limit_s = 1.0

    class Mute(MemoryEstimator):
        started = 0

        def _started(self) -> subprocess.Popen[bytes]:
            self.started += 1
            command = [sys.executable, "-c", "import time; time.sleep(600)"]
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    memory = Mute(limit_s=limit_s)
    began = time.monotonic()
    with pytest.raises(BusyError, match="in time"):
        memory.estimate(configured())
    assert time.monotonic() - began < 1.8 * limit_s
    assert memory.started == 1


@pytest.mark.exhaustive
def test_one_process_answers_and_ends_with_the_panel(tmp_path: Path):
    """It estimates the demo's model, reports a settings error, and leaves no process behind."""
    memory = MemoryEstimator()
    before = set(psutil.Process().children())
    found = memory.estimate(configured())
    (child,) = set(psutil.Process().children()) - before
    assert found.peak.total > 0
    with pytest.raises(UnsupportedError):
        memory.estimate(configured(model_type="QWEN"))
    assert set(psutil.Process().children()) - before == {child}
    memory.close()
    assert not child.is_running()
    with pytest.raises(BusyError):
        memory.estimate(configured(batch_size=1))
