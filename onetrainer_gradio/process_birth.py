"""Read when a process was created, which distinguishes it from a later process with the same ID."""

from __future__ import annotations

from pathlib import Path

_STAT = Path("/proc")  # Linux only; the BSDs that have one arrange it otherwise


def boot_id() -> str:
    """Return a name of the current boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time() / 10))  # the reading wobbles by a second


def created(pid: int) -> str:
    """Return when a process was created; empty if it is gone, or has ended and was not collected yet."""
    if (_STAT / "self" / "stat").exists():
        try:
            stat = (_STAT / str(pid) / "stat").read_text()
        except OSError:
            return ""
        state, *rest = stat.rpartition(")")[2].split()
        return "" if state in "ZX" else rest[18]  # start time in clock ticks since boot: the wall clock cannot move it
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""
