"""What a run on a thread leaves loaded is used by the next run, even if the ended run is queried in the meantime."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onetrainer_gradio.backends.keep_loaded import KEEP_LOADED
from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.events import Emit, Outcome
from onetrainer_gradio.service.processes.run_handle import ThreadRun
from onetrainer_gradio.service.runs.record import Run, RunRecord, RunStore
from tests.fakes.configs import small_config
from tests.waiting import until

pytestmark = pytest.mark.slow

BACKEND = "tests.service.processes.test_run_handle:run"
WAITS = "waits"
LOOKED_AT = threading.Event()


class Loaded:
    """A loaded backend with a list of the runs that used it."""

    def __init__(self) -> None:
        self.used_by: list[str] = []
        self.closed = False

    def usable(self) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True


LOADED: list[Loaded] = []


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Use what the last run left loaded, or load it. A run with the tag ``waits`` does so after the last run was queried."""
    if WAITS in options.tags:
        assert LOOKED_AT.wait(20)
    kept = KEEP_LOADED.get()
    assert kept is not None
    found = kept.take("mark")
    if not isinstance(found, Loaded):
        found = Loaded()
        LOADED.append(found)
    found.used_by.append(options.run_id)
    kept.keep("mark", found)
    return "completed"


class WithMeanwhile(Run):
    """A run with something else happening during its next query."""

    meanwhile: Callable[[], None] | None = None

    def ended(self) -> bool:
        found = super().ended()
        if self.meanwhile is not None:
            happen, self.meanwhile = self.meanwhile, None
            happen()
        return found


def new_run(store: RunStore, folder: Path, *tags: str) -> WithMeanwhile:
    run_id = store.new_id()
    options = RunOptions(run_id=run_id, backend=BACKEND, in_process=True, keep_loaded_s=60.0, tags=tags)
    record = RunRecord(
        id=run_id, name="", created_at=time.time(), backend=BACKEND, workspace="", options=options.model_dump(mode="json")
    )
    return WithMeanwhile(store.create(small_config(folder), record).folder)


def test_a_look_at_the_ended_run_leaves_the_next_one_what_it_took_over(tmp_path: Path) -> None:
    """A thread that follows the ended run may query it at any moment, also while another thread starts the next run."""
    LOADED.clear()
    LOOKED_AT.clear()
    store = RunStore(tmp_path / "runs")
    first, second = new_run(store, tmp_path), new_run(store, tmp_path, WAITS)
    handle = ThreadRun(first).start()
    until(lambda: handle.loaded_until() is not None)
    assert handle.look()
    following: list[ThreadRun | None] = []
    first.meanwhile = lambda: following.append(handle.hand_over(second, token=""))
    assert not handle.look()
    LOOKED_AT.set()
    [next_handle] = following
    assert next_handle is not None
    until(lambda: next_handle.loaded_until() is not None)
    [loaded] = LOADED
    assert loaded.used_by == [first.id, second.id]
    handle.close()
    assert not loaded.closed
    next_handle.release()
    assert not next_handle.look()
    assert loaded.closed
