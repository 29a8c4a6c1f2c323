"""List the backends, and execute a run in every training thread and process."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TextIO

from onetrainer_gradio.backends.backend import Backend, FunctionBackend, RunContext
from onetrainer_gradio.backends.console import CONSOLE
from onetrainer_gradio.backends.keep_loaded import KEEP_LOADED, KeepLoaded
from onetrainer_gradio.backends.run_log import RunLog
from onetrainer_gradio.commands import Control
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import Finding, TrainerError, UnsupportedError
from onetrainer_gradio.events import Emit, ErrorInfo, Outcome, RunEnded

# name -> where the backend is; a name with a colon is such a place itself
BACKENDS: dict[str, str] = {
    "builtin": "onetrainer_gradio.backends.builtin:BACKEND",
    "onetrainer": "onetrainer_gradio.backends.onetrainer.driver:BACKEND",
}


def find_backend(name: str, table: Mapping[str, str] = BACKENDS) -> Backend:
    """Return a backend by its name, or by its place ``module:object``. A function there is a backend itself.

    :raises UnsupportedError: if there is no backend with this name, or it can't be imported.
    """
    place = table.get(name, name)
    module_name, colon, attribute = place.partition(":")
    if not colon:
        raise UnsupportedError(f"The backend “{name}” doesn't exist.", value=name, expected=f"one of: {', '.join(table)}")
    try:
        found = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UnsupportedError(f"Can't load the backend “{name}”: {error}", value=name) from error
    if isinstance(found, Backend):
        return found
    if callable(found):
        return FunctionBackend(name, found)
    raise UnsupportedError(f"“{name}” isn't a backend.", value=name)


def refusals(name: str, config: TrainConfig, table: Mapping[str, str] = BACKENDS) -> tuple[Finding, ...]:
    """Return what a backend can't train of a configuration, asked before the start.

    :raises UnsupportedError: if there is no backend with this name.
    """
    return find_backend(name, table).refusals(config)


def error_info(error: BaseException) -> ErrorInfo:
    """Return an error as data."""
    if isinstance(error, TrainerError):
        return ErrorInfo(
            type=type(error).__name__,
            message=error.message,
            path=error.path,
            expected=error.expected,
            suggestion=error.suggestion,
        )
    text = str(error).strip()
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        return ErrorInfo(
            type="OutOfMemoryError", message="Out of memory (RAM).", suggestion="Lower the batch size or the resolution."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ErrorInfo(type="DiskFullError", message=f"No space left on disk: {text}", suggestion="Free up space, then resume.")
    return ErrorInfo(type=kind, message=f"{kind}: {text}" if text else kind, suggestion="Check the end of the console log.")


def execute_run(
    name: str,
    config: TrainConfig,
    emit: Emit,
    control: Control,
    options: RunOptions,
    *,
    table: Mapping[str, str] = BACKENDS,
    console: TextIO | None = None,
    keep_loaded: KeepLoaded | None = None,
    before: Callable[[], None] = lambda: None,
) -> Outcome | None:
    """Execute a run and return how it ended, or None if it failed: the body of a training thread or process.

    Emits exactly one RunEnded, the last event. Whatever a backend raises becomes its error, with the traceback on ``console``
    (the process's error output unless given). What the backend has loaded may stay in ``keep_loaded`` for the next run. If
    ``before`` raises, the run ends with that error, and the backend isn't called.
    """
    CONSOLE.set(console)
    KEEP_LOADED.set(keep_loaded)
    emit = RunLog(emit, console)
    try:
        before()
        outcome = find_backend(name, table).run(config, RunContext(emit, control, options))
        emit(RunEnded(reason=outcome))
        return outcome
    except KeyboardInterrupt:
        emit(RunEnded(reason="stopped", signal="SIGINT"))
        return "stopped"
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        failure = ErrorInfo(
            type="WorkerDiedError",
            message=f"The backend ended the process (exit code {code}).",
            suggestion="Check the end of the console log.",
        )
        emit(RunEnded(reason="failed", error=failure, exit_code=code))
        return None
    except Exception as error:  # noqa: BLE001 - the body of a run: whatever a backend raises is the cause of the run's end
        console = console or sys.stderr
        traceback.print_exception(error, file=console)
        console.flush()
        emit(RunEnded(reason="failed", error=error_info(error)))
        return None
