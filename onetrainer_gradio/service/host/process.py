"""Identify processes reliably even if IDs are reused, and end them."""

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
    """A process ID with the start time of the process and the boot of the machine."""

    pid: int
    created: str
    boot: str

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as a JSON object."""
        return asdict(self)

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Return the identity of a running process; ``created`` is empty if it has exited."""
        return cls(pid=pid, created=created(pid), boot=boot_id())

    @classmethod
    def from_dict(cls, body: Any) -> ProcessIdentity | None:
        """Return the identity in a JSON object, or None if it is invalid."""
        try:
            return cls(pid=int(body["pid"]), created=str(body["created"]), boot=str(body["boot"]))
        except (KeyError, TypeError, ValueError):
            return None

    def alive(self) -> bool:
        """Return whether exactly this process still runs; a zombie doesn't."""
        return bool(self.created) and self.boot == boot_id() and created(self.pid) == self.created


def group_alive(group: int) -> bool:
    """Return whether a process of the group exists (always False without process groups)."""
    return _send_group(group, 0)


def group_living(group: int) -> bool:
    """Return whether a process of the group still runs; zombies don't count (a machine without init)."""
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
    """Kill the remaining processes of a group whose leader has ended. Return whether there were any."""
    return _send_group(group, getattr(signal, "SIGKILL", signal.SIGTERM))


def interrupt(pid: int) -> None:
    """Interrupt the process as Ctrl-C does, but not its helpers, which it still needs."""
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
