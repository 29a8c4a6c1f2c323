"""Read how often the kernel killed processes because memory ran out, which distinguishes such a kill from any other SIGKILL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

Counters = Mapping[str, int]


def oom_kill_counters(root: Path = Path("/")) -> dict[str, int]:
    """Return the number of out-of-memory kills by source (control groups version 2 and 1, complete machine)."""
    counters: dict[str, int] = {}
    for path in _cgroup_files(root):
        _count(counters, path, r"^oom_kill (\d+)$")
    _count(counters, root / "proc/vmstat", r"^oom_kill (\d+)$")
    return counters


def _cgroup_files(root: Path) -> list[Path]:
    mount = root / "sys/fs/cgroup"
    files = [mount / "memory.events", mount / "memory" / "memory.oom_control"]
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return files
    for line in lines:
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            files.append(mount / name.strip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(mount / "memory" / name.strip("/") / "memory.oom_control")
    return files


def _count(counters: dict[str, int], path: Path, pattern: str) -> None:
    try:
        found = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return
    if found:
        counters[str(path)] = int(found.group(1))


CounterReader = Callable[[], Counters]


def killed_for_memory(before: Counters, after: Counters) -> bool:
    """Return whether the kernel killed a process because memory ran out between the two readings."""
    return any(count > before.get(source, count) for source, count in after.items())
