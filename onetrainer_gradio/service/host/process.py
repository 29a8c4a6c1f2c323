"""Who a process is, in a way that a reused process number cannot fake, and how it is told to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.process_birth import boot_id, created

_STAT = Path("/proc")  # Linux only; the BSDs that have one arrange it otherwise


@dataclass(frozen=True)
class ProcessIdentity:
    """A process number together with when the process was created and in which boot of the machine."""

    pid: int
    created: str
    boot: str

    def as_dict(self) -> dict[str, Any]:
        """The identity as a JSON object."""
        return asdict(self)

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a living process; ``created`` is empty when it is gone already."""
        return cls(pid=pid, created=created(pid), boot=boot_id())

    @classmethod
    def from_dict(cls, body: Any) -> ProcessIdentity | None:
        """The identity in a JSON object, or None when it is none."""
        try:
            return cls(pid=int(body["pid"]), created=str(body["created"]), boot=str(body["boot"]))
        except (KeyError, TypeError, ValueError):
            return None

    def alive(self) -> bool:
        """Whether exactly this process still runs; one that ended and was not collected yet does not."""
        return bool(self.created) and self.boot == boot_id() and created(self.pid) == self.created


def group_alive(group: int) -> bool:
    """Whether a process of the group is there (always False where there are no groups)."""
    return _send_group(group, 0)


def group_living(group: int) -> bool:
    """Whether somebody in the group still runs: one that has ended and was not collected (a machine without init) does not."""
    if not (_STAT / "self" / "stat").exists():
        return group_alive(group)
    for folder in _STAT.iterdir():
        if folder.name.isdecimal():
            try:
                state, _, own, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if int(own) == group and state not in "ZX":
                return True
    return False


def kill_group(group: int) -> bool:
    """Kill what is left of a group whose leader has ended; says whether something was."""
    return _send_group(group, getattr(signal, "SIGKILL", signal.SIGTERM))


def interrupt(pid: int) -> None:
    """Ask the process to stop as Ctrl-C does; only itself, so that its helpers do not die under its hands."""
    _send(pid, signal.SIGINT if os.name != "nt" else getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))


def terminate(pid: int) -> None:
    """End the process and its group."""
    _ = _send_group(pid, signal.SIGTERM) or _send(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    """End the process and its group at once."""
    number = getattr(signal, "SIGKILL", signal.SIGTERM)
    _ = _send_group(pid, number) or _send(pid, number)


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _send_group(group: int, number: int) -> bool:
    send: Callable[[int, int], None] | None = getattr(os, "killpg", None)  # Windows has no groups
    if send is None:
        return False
    try:
        send(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
