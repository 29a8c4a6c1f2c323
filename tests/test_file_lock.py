"""Only one open file holds a lock at a time, and closing the last descriptor releases it."""

import os
import subprocess
import sys

import pytest

from onetrainer_gradio.file_lock import try_lock


def test_one_open_file_at_a_time_holds_the_lock(tmp_path):
    """The second file gets the lock after the first one is closed."""
    first, second = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o644) for _ in range(2))
    assert try_lock(first)
    assert not try_lock(second)
    os.close(first)
    assert try_lock(second)
    os.close(second)


@pytest.mark.slow
def test_the_lock_ends_with_a_process_that_is_killed(tmp_path):
    """After a crash, the lock is free."""
    code = (
        "import os, sys, time; from onetrainer_gradio.file_lock import try_lock; "
        f"print(try_lock(os.open({str(tmp_path / 'lock')!r}, os.O_RDWR | os.O_CREAT)), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        descriptor = os.open(tmp_path / "lock", os.O_RDWR)
        assert not try_lock(descriptor)
        holder.kill()
        holder.wait(10)
        assert try_lock(descriptor)
        os.close(descriptor)
