"""The identity of a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from onetrainer_gradio.process_birth import boot_id
from onetrainer_gradio.service.host.process import ProcessIdentity, group_alive, kill, kill_group


def test_a_living_process_is_recognized() -> None:
    """PID, start time and boot together identify a process."""
    me = ProcessIdentity.of(os.getpid())
    assert me.alive()
    assert ProcessIdentity.from_dict(me.as_dict()) == me
    assert me.boot == boot_id()


@pytest.mark.parametrize("change", [{"created": "1"}, {"boot": "another"}, {"created": ""}])
def test_a_reused_number_is_not_taken_for_the_process(change: dict[str, str]) -> None:
    """The same PID at another time, or after a reboot, is another process."""
    me = ProcessIdentity.of(os.getpid())
    assert not ProcessIdentity(**{**me.as_dict(), **change}).alive()


def test_a_dead_process_is_dead_even_before_it_is_collected() -> None:
    """A zombie keeps its PID and nothing else."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    identity = ProcessIdentity.of(child.pid)
    assert identity.alive()
    assert group_alive(child.pid)
    kill(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive()
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    assert not kill_group(child.pid)
    kill(child.pid)


@pytest.mark.parametrize("body", [None, {}, {"pid": "x", "created": "", "boot": ""}, [], "text"])
def test_what_is_no_identity_is_none(body: object) -> None:
    """A truncated file identifies no process."""
    assert ProcessIdentity.from_dict(body) is None
