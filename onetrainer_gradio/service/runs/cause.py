"""Describe why a training process ended: exit code, signal, out-of-memory kill, power cut."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from onetrainer_gradio.events import EndReason, ErrorInfo, RunEnded, StopStage
from onetrainer_gradio.memory_kills import Counters, killed_for_memory

# Exit codes of a worker that could not record its end (no space on the disk): the supervisor does it, as soon as it can.
UNRECORDED_COMPLETED, UNRECORDED_STOPPED, UNRECORDED_FAILED = 90, 91, 92
_UNRECORDED: Mapping[int, EndReason] = {UNRECORDED_COMPLETED: "completed", UNRECORDED_STOPPED: "stopped"}

_SIGNALS = {
    "SIGSEGV": "it crashed in native code (segmentation fault)",
    "SIGBUS": "it crashed in native code (bus error)",
    "SIGABRT": "a library aborted it",
    "SIGFPE": "it crashed in native code (arithmetic error)",
    "SIGILL": "it crashed in native code (illegal instruction)",
    "SIGKILL": "it was killed from outside",
    "SIGTERM": "it was terminated from outside",
    "SIGINT": "it was interrupted from outside",
    "SIGHUP": "its terminal was closed",
}


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def end_of_worker(exit_status: int, stage: StopStage | None, before: Counters, after: Counters) -> RunEnded:
    """Return the end of a worker that recorded none itself.

    ``exit_status`` is negative for a signal, as subprocess gives it; ``stage`` is where the stop was.
    """
    name = signal_name(-exit_status) if exit_status < 0 else ""
    code = exit_status if exit_status >= 0 else None
    if code is not None and code in _UNRECORDED:
        return RunEnded(reason=_UNRECORDED[code])
    if stage in ("interrupt", "terminate", "kill"):
        return RunEnded(reason="stopped", exit_code=code, signal=name)
    if name == "SIGKILL" and killed_for_memory(before, after):
        error = ErrorInfo(
            type="OutOfMemoryError",
            message="The operating system killed the training process because it ran out of system RAM (SIGKILL).",
            suggestion="Lower the batch size or the resolution, close other programs, or add system RAM.",
        )
    elif name:
        error = ErrorInfo(
            type="WorkerDiedError",
            message=f"The training process ended with signal {name}: {_SIGNALS.get(name, 'its cause is unknown')}.",
            suggestion="Check the end of the console log.",
        )
    elif code == UNRECORDED_FAILED:
        error = ErrorInfo(
            type="WorkerDiedError",
            message="The run failed while nothing could be written to the disk.",
            suggestion="Free up disk space. The console log may contain the cause.",
        )
    else:
        error = ErrorInfo(
            type="WorkerDiedError",
            message=f"The training process exited with code {code} and no error message.",
            suggestion="Check the end of the console log.",
        )
    return RunEnded(reason="failed", error=error, exit_code=code, signal=name)


def end_of_lost_run(*, rebooted: bool, in_process: bool) -> RunEnded:
    """Return the end of a run whose processes have all exited without recording it."""
    if rebooted:
        message = "The machine was turned off or restarted during the run (power loss or reboot)."
    elif in_process:
        message = "The panel that trained the run in its own process was killed or crashed."
    else:
        message = "The training process and its supervisor were killed; nobody was left to see why."
    suggestion = "Resume from the newest backup."
    return RunEnded(reason="lost", error=ErrorInfo(type="WorkerDiedError", message=message, suggestion=suggestion))
