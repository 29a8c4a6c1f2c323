"""Start modules of this package as separate processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import BusyError
from onetrainer_gradio.panel_secrets import without_panel_secrets

_PACKAGE_PARENT = Path(__file__).resolve().parents[3]
KILL_S = 5.0
"""A process that waits for a disk or a driver may take longer to end."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package, regardless of the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process of a run: it finds this package and prints without delay."""
    environment = {**without_panel_secrets(os.environ), "PYTHONUNBUFFERED": "1", **(extra or {})}
    if _PACKAGE_PARENT.name not in ("site-packages", "dist-packages"):
        known = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
        environment["PYTHONPATH"] = os.pathsep.join([str(_PACKAGE_PARENT), *known])
    return environment


def own_session() -> dict[str, Any]:
    """Return the arguments that start a process apart from its parent's terminal and group."""
    if os.name == "nt":
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
        return {"creationflags": flags}
    return {"start_new_session": True}


def start_answering(module: str, purpose: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start ``module``, which answers each line on its standard input.

    ``purpose`` completes the sentence "Can't start a process to …".

    :raises BusyError: if the machine can't start a process now.
    """
    try:
        return subprocess.Popen(
            module_command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(dict(environment)),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise BusyError(f"Can't start a process to {purpose}: {error.strerror or error}.") from error


def end_answering(process: subprocess.Popen[bytes] | None) -> None:
    """Kill the process, if there is one, and wait until it is gone."""
    if process is None:
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    process.wait()


def kill_answering(process: subprocess.Popen[bytes]) -> None:
    """Kill the process while another thread waits for its answer, and return when it is gone.

    Until then, it looks as if the next request could be sent to it.
    """
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_S)


def exchange(process: subprocess.Popen[bytes], request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer to a request, or None if the process ended before."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        return dict(json.loads(answer)) if answer.endswith(b"\n") else None
    except (OSError, ValueError):
        return None
