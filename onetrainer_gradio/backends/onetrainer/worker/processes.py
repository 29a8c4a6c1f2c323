"""End this process and those that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, NoReturn

PARENT_EVERY_S = 0.5


def interrupt_main_thread() -> None:
    """Interrupt the training thread, even in a blocking call."""
    thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and thread is not None:
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def end_with(parent: int) -> None:
    """End this process when its parent dies, even if an import hangs."""
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_S)
    leave(5)


def end_child(child: Any) -> None:
    """End a process and wait for it."""
    with contextlib.suppress(OSError):  # it has gone meanwhile
        child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the system; it goes with the group
        child.wait(timeout=5.0)


def leave(status: int) -> NoReturn:
    """End the process and the remaining ones of its group, without waiting for threads."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        number = signal.SIGTERM
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.SIG_IGN)
        else:  # here no signal can be ignored, so this process goes with its group
            number = signal.SIGKILL
        with contextlib.suppress(OSError):
            os.killpg(os.getpid(), number)
    os._exit(status)
