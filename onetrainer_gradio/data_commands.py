"""Back up and restore the data folder from the command line, with progress."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from types import FrameType
from typing import NoReturn, TextIO

from onetrainer_gradio.cli import PROGRAM, BackupOptions, RestoreOptions
from onetrainer_gradio.service.host.data_backup import BackupReport, back_up
from onetrainer_gradio.service.host.data_restore import RestoreReport, restore

INTERRUPTED = 130
# On a terminal the line changes in place; in a log, a line now and then is enough.
_TERMINAL_EVERY_S = 0.5
_LOG_EVERY_S = 10.0
_MAX_NAMED = 5


def change_data(options: BackupOptions | RestoreOptions, out: TextIO | None = None) -> int:
    """Back up or restore a data folder, and print its progress and result to standard error. Return the exit status.

    :raises TrainerError: if it isn't possible. No incomplete file or folder is left then.
    """
    out = out or sys.stderr
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if isinstance(options, BackupOptions):
            _report_backup(options, _back_up(options, out), out)
        else:
            _report_restore(options, _restore(options, out), out)
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted; nothing was changed", file=out)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, former)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _back_up(options: BackupOptions, out: TextIO) -> BackupReport:
    return back_up(
        options.data,
        options.destination or sys.stdout.buffer,
        without=options.without,
        secrets=options.secrets,
        overwrite=options.overwrite,
        progress=_progress("Backing up", out),
    )


def _restore(options: RestoreOptions, out: TextIO) -> RestoreReport:
    return restore(options.source or sys.stdin.buffer, options.data, progress=_progress("Restoring", out))


def _progress(verb: str, out: TextIO) -> Callable[[int, int], None]:
    terminal = out.isatty()
    next_at = time.monotonic() + (_TERMINAL_EVERY_S if terminal else _LOG_EVERY_S)

    def show(done: int, total: int) -> None:
        nonlocal next_at
        now = time.monotonic()
        if now < next_at:
            return
        next_at = now + (_TERMINAL_EVERY_S if terminal else _LOG_EVERY_S)
        text = f"{verb}: {done / 1e9:.2f} of {total / 1e9:.2f} GB ({done * 100 // max(1, total)}%)"
        print(f"\r{text:<60}" if terminal else text, end="" if terminal else "\n", file=out, flush=True)

    return show


def _report_backup(options: BackupOptions, report: BackupReport, out: TextIO) -> None:
    _clear(out)
    contents = report.contents
    print(f"Backed up {options.data}: {report.files} files, {report.bytes / 1e9:.2f} GB.", file=out)
    _list(out, "Omitted because they are secrets (--with-secrets includes them)", contents.secrets)
    _list(out, "Omitted because they are links", contents.links)
    _list(out, "Omitted because they changed while they were read", report.changed)
    _list(out, "Workspaces outside the data folder, not included", report.outside)


def _report_restore(options: RestoreOptions, report: RestoreReport, out: TextIO) -> None:
    _clear(out)
    made = datetime.fromtimestamp(report.at)
    print(f"Restored {options.data} as of {made:%Y-%m-%d %H:%M}: {report.files} files, {report.bytes / 1e9:.2f} GB.", file=out)
    if report.without:
        print(f"  The backup was made without {', '.join(report.without)}.", file=out)
    if report.moved_from:
        print(f"  Paths to {report.moved_from} in runs and settings now lead to the new folder.", file=out)


def _clear(out: TextIO) -> None:
    if out.isatty():
        print(f"\r{'':<60}\r", end="", file=out)


def _list(out: TextIO, title: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        print(f"  {title}: {', '.join(names[:_MAX_NAMED])}{more}", file=out)
