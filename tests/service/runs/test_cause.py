"""Why a training process ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.events import RunEnded
from onetrainer_gradio.memory_kills import killed_for_memory, oom_kill_counters
from onetrainer_gradio.service.runs.cause import (
    UNRECORDED_COMPLETED,
    UNRECORDED_FAILED,
    UNRECORDED_STOPPED,
    end_of_lost_run,
    end_of_worker,
)

CALM = {"vmstat": 3}


def message(end: RunEnded) -> str:
    assert end.error is not None
    return end.error.message


def test_an_exit_code_is_named() -> None:
    """A process that exited without a message failed, with its exit code."""
    end = end_of_worker(3, None, CALM, CALM)
    assert (end.reason, end.exit_code, end.signal) == ("failed", 3, "")
    assert "exited with code 3" in message(end)


@pytest.mark.parametrize(("status", "name"), [(-11, "SIGSEGV"), (-9, "SIGKILL"), (-6, "SIGABRT"), (-70, "signal 70")])
def test_a_signal_is_named(status: int, name: str) -> None:
    """The name distinguishes a crash in native code from a kill from outside."""
    end = end_of_worker(status, None, CALM, CALM)
    assert (end.reason, end.signal, end.exit_code) == ("failed", name, None)
    assert name in message(end)


def test_a_kill_for_want_of_memory_is_distinguished_from_another_kill() -> None:
    """The kernel's counters show whether memory was the cause."""
    end = end_of_worker(-9, None, CALM, {"vmstat": 4})
    assert end.error is not None
    assert (end.error.type, end.signal) == ("OutOfMemoryError", "SIGKILL")
    assert end_of_worker(-9, None, CALM, CALM).error.type == "WorkerDiedError"  # type: ignore[union-attr]
    assert end_of_worker(-11, None, CALM, {"vmstat": 4}).error.type == "WorkerDiedError"  # type: ignore[union-attr]


def test_a_counter_that_is_new_proves_nothing() -> None:
    """A counter that appears later (a new control group) is not compared."""
    assert not killed_for_memory({}, {"new": 5})
    assert killed_for_memory({"a": 1, "b": 2}, {"a": 1, "b": 3})


@pytest.mark.parametrize("stage", ["interrupt", "terminate", "kill"])
def test_an_end_by_the_stop_escalation_is_a_stop(stage: str) -> None:
    """A requested stop ends as a stop, not as an error."""
    end = end_of_worker(-9, stage, CALM, {"vmstat": 4})  # type: ignore[arg-type]
    assert (end.reason, end.error, end.signal) == ("stopped", None, "SIGKILL")


def test_a_crash_while_the_step_is_finished_is_a_failure() -> None:
    """In the first stage, nothing has been done to the process yet."""
    assert end_of_worker(-11, "finish_step", CALM, CALM).reason == "failed"


def test_a_worker_that_could_not_write_its_end_reports_it_by_its_code() -> None:
    """If the disk is full, the supervisor records the end later."""
    reasons = {code: end_of_worker(code, None, CALM, CALM).reason for code in (UNRECORDED_COMPLETED, UNRECORDED_STOPPED)}
    assert reasons == {UNRECORDED_COMPLETED: "completed", UNRECORDED_STOPPED: "stopped"}
    assert end_of_worker(UNRECORDED_FAILED, None, CALM, CALM).reason == "failed"


def test_a_lost_run_reports_what_is_known() -> None:
    """Power loss, a dead panel and killed processes have different causes."""
    stories = {
        message(end_of_lost_run(rebooted=True, in_process=False)),
        message(end_of_lost_run(rebooted=False, in_process=True)),
        message(end_of_lost_run(rebooted=False, in_process=False)),
    }
    assert len(stories) == 3
    assert "power" in message(end_of_lost_run(rebooted=True, in_process=True))


@pytest.mark.slow
def test_counters_of_both_kinds_of_control_groups_are_found(tmp_path: Path) -> None:
    """Version 2, version 1 and the whole machine are read; missing counters are omitted."""
    files = {
        "proc/self/cgroup": "0::/user/box\n4:cpu,memory:/old\n3:cpu:/x\n",
        "proc/vmstat": "pgfault 7\noom_kill 2\n",
        "sys/fs/cgroup/user/box/memory.events": "oom 9\noom_kill 1\noom_group_kill 0\n",
        "sys/fs/cgroup/memory/old/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert sorted(oom_kill_counters(tmp_path).values()) == [1, 2, 5]
    assert oom_kill_counters(tmp_path / "nowhere") == {}
