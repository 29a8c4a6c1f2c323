"""Start the checkout's Python on the bridge worker, and exchange JSON lines with it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onetrainer_gradio.backends.console import CONSOLE
from onetrainer_gradio.errors import CheckoutError
from onetrainer_gradio.panel_secrets import without_panel_secrets

WORKER = Path(__file__).with_name("worker")
_OWN_PARENT = str(Path(__file__).resolve().parents[3])
_CAN_HAND_OVER = hasattr(socket, "send_fds")
_NOT_PASSED_ON = ("PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def environment_of_bridge(token: str = "") -> dict[str, str]:
    """Return the environment of the checkout's Python: ours, without the panel's secrets and our library paths."""
    environment = {name: value for name, value in without_panel_secrets(os.environ).items() if name not in _NOT_PASSED_ON}
    paths = [part for part in environment.pop("PYTHONPATH", "").split(os.pathsep) if part and part != _OWN_PARENT]
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment["PYTHONUNBUFFERED"] = "1"
    if sys.platform == "darwin":
        environment.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    if token:
        environment["HF_TOKEN"] = token
    return environment


def own_group() -> dict[str, Any]:
    """Return the arguments that start a process in a new process group."""
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"process_group": 0}


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the process's group, also to what the process left behind there."""
    send = getattr(os, "killpg", None)
    if send is None:
        with contextlib.suppress(OSError):
            process.send_signal(number)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(process.pid, number)


class Bridge:
    """The checkout's Python with the bridge worker in it, which can execute one run after another.

    Its error output is the console log itself, so that the log continues if we die. From us it needs only standard input and a
    socket over which it receives open files: the log of the next run, and the locks on the folders of a run.

    :raises CheckoutError: when the interpreter cannot be started.
    """

    def __init__(self, python: Path, folder: Path, *, token: str = "") -> None:
        self.python, self.folder = python, folder
        self.greeting: Mapping[str, Any] | None = None
        """What it said of itself once OneTrainer was imported; from then on it can run runs."""
        self._closed = False
        self._way: socket.socket | None = None
        theirs: socket.socket | None = None
        if _CAN_HAND_OVER:
            self._way, theirs = socket.socketpair()
        handed = (theirs.fileno(),) if theirs is not None else ()
        try:
            self._process = subprocess.Popen(
                [str(python), str(WORKER), "serve", *map(str, handed)],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=CONSOLE.get(),
                env=environment_of_bridge(token),
                pass_fds=handed,
                **own_group(),
            )
        except OSError as error:
            if self._way is not None:
                self._way.close()
            raise not_startable(python, error) from error
        finally:
            if theirs is not None:
                theirs.close()
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="bridge", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Return the process, which leads its process group."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            for raw in self._process.stdout:
                if (body := parsed(raw.decode("utf-8", "replace"))) is not None:
                    self._lines.put(body)
        self._lines.put(None)

    def next(self, timeout_s: float) -> dict[str, Any] | None:
        """Return its next message.

        :raises queue.Empty: if no message arrives within this time. None once it has ended.
        """
        return self._lines.get(timeout=timeout_s)

    def send(self, body: Mapping[str, Any]) -> None:
        """Send it a message; one that has ended receives nothing."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(body).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def can_stay(self) -> bool:
        """Return whether a run after the first could have its own console log."""
        return self._way is not None

    def begin(self, body: Mapping[str, Any], console: int, held: Sequence[int]) -> None:
        """Give it a run, with the descriptors of its console log and of what holds its folders.

        It continues holding them should this process die. Without a way to hand them over (Windows) it does not.
        """
        if self._way is None:
            self.send(body)
            return
        descriptors = [console, *held]
        with contextlib.suppress(OSError):
            socket.send_fds(self._way, [b"."], descriptors)
        self.send({**body, "descriptors": len(descriptors)})

    def usable(self) -> bool:
        """Return whether it has imported OneTrainer and still runs, so that it can run another run."""
        return self.greeting is not None and self._process.poll() is None

    def forget(self) -> None:
        """Drop what it said since its last run, which nobody waits for any more."""
        with contextlib.suppress(queue.Empty):
            while self._lines.get_nowait() is not None:
                pass
            self._lines.put(None)

    def signal(self, number: int, *, group: bool = True) -> None:
        """Send a signal to it, and to what it started."""
        if group:
            signal_group(self._process, number)
        else:
            with contextlib.suppress(OSError):
                self._process.send_signal(number)

    def interrupt(self) -> None:
        """Interrupt only this process, as Ctrl-C does, so that its helpers don't die first."""
        self.signal(signal.SIGINT if os.name != "nt" else getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM), group=False)

    def status(self, timeout_s: float = 5.0) -> int | None:
        """Return the exit code, or the negative number of the signal; None if it hasn't ended within the time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def close(self, patience_s: float = 5.0) -> None:
        """End it, in good order if it goes within the time, and everything that is left of its group."""
        if self._closed:
            return
        self.send({"type": "shutdown"})
        try:
            if patience_s and self.status(patience_s) is None:
                self.signal(signal.SIGTERM)
                self.status(min(patience_s, 2.0))
        finally:
            self._closed = True
            signal_group(self._process, getattr(signal, "SIGKILL", signal.SIGTERM))
            self._process.wait()
            self._reader.join(1.0)
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            if self._way is not None:
                self._way.close()


def run_script(python: Path, mode: str, folder: Path, *, timeout_s: float) -> dict[str, Any]:
    """Return the one answer of the bridge script in ``mode``.

    :raises CheckoutError: when there is none within the time, or it reports why there is none.
    """
    try:
        process = subprocess.Popen(
            [str(python), str(WORKER), mode, str(os.getpid())],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_of_bridge(),
            **own_group(),
        )
    except OSError as error:
        raise not_startable(python, error) from error
    try:
        out, complaints = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise CheckoutError(
            f"OneTrainer in {folder} didn't respond within {timeout_s:.0f} seconds.",
            value=str(folder),
            suggestion="Check whether its disk responds, then try again.",
        ) from None
    finally:
        signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    for line in reversed(out.decode("utf-8", "replace").splitlines()):
        body = parsed(line)
        if body is None:
            continue
        if body["type"] == "import_failed":
            raise import_error(body, folder, python)
        return body
    last = complaints.decode("utf-8", "replace").strip().splitlines()[-1:]
    said = f": {last[0]}" if last else ""
    raise CheckoutError(f"{python} exited with code {process.returncode} without a result{said}", value=str(python))


def parsed(line: str) -> dict[str, Any] | None:
    """Return the JSON object with a type in a line, if it is one."""
    try:
        body = json.loads(line)
    except ValueError:
        return None
    return body if isinstance(body, dict) and isinstance(body.get("type"), str) else None


def not_startable(python: Path, error: OSError) -> CheckoutError:
    """Return the error for a checkout whose Python can't be started."""
    return CheckoutError(
        f"Can't start OneTrainer's Python {python}: {error.strerror or error}.",
        value=str(python),
        expected="a Python interpreter that has OneTrainer's libraries",
        suggestion="Run OneTrainer's installer again, or choose another Python interpreter.",
    )


def import_error(body: Mapping[str, Any], folder: Path, python: Path) -> CheckoutError:
    """Return the error for a OneTrainer that can't be imported: a library is missing, a module has moved, Python is too old."""
    kind, message, name = str(body.get("kind", "")), str(body.get("message", "")), str(body.get("name", ""))
    if kind == "python":
        return CheckoutError(
            f"{python} can't run OneTrainer. {message}",
            value=str(python),
            expected="Python 3.10 or newer",
            suggestion="Reinstall OneTrainer's environment with Python 3.10 or newer.",
        )
    if kind == "ModuleNotFoundError" and name.split(".")[0] not in ("modules", ""):
        return CheckoutError(
            f"OneTrainer in {folder} failed to import: its environment lacks the library “{name}”.",
            value=str(folder),
            suggestion=f"Run OneTrainer's installer again, or install {name} into {python}.",
        )
    if kind in ("ModuleNotFoundError", "ImportError", "AttributeError") and ("modules" in name or "modules" in message):
        return CheckoutError(
            f"The panel doesn't support the module layout of this OneTrainer revision: {message}.",
            value=str(folder),
            suggestion="Update the panel, or check out a supported revision of OneTrainer.",
        )
    where = f" (in {body['where']})" if body.get("where") else ""
    return CheckoutError(
        f"OneTrainer in {folder} failed to import: {kind}: {message}{where}",
        value=str(folder),
        suggestion="Check the console log, and run OneTrainer's installer again.",
    )
