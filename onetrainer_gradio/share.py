"""Create a public link to the panel through Gradio's relay."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import secrets
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.roles import Role

# Gradio waits 30 s for the relay's address, 30 s for its program and 30 s for the tunnel.
LONGEST_WAIT_S = 120.0
LINK_NAME = "Share link of --share"
# Gradio's addresses are valid for as long.
LINK_DAYS = 7


@dataclass(frozen=True)
class ShareResult:
    """The public address, or why there is none as a sentence. ``process`` is the program that keeps the tunnel open."""

    address: str = ""
    problem: str = ""
    process: subprocess.Popen[bytes] | None = None

    def ended(self) -> str:
        """Wait for the end of the tunnel and return a message about it."""
        if self.process is None:
            return ""
        code = self.process.wait()
        return f"The public link has ended (frpc, exit code {code}). The panel continues without it. Restart it for a new link."


class ShareError(Exception):
    """Why there is no public link, as a sentence."""


def viewer_link(people: People) -> str:
    """Return the secret of a link for viewers that expires with the relay's address. It replaces the one of an earlier start."""
    for link in people.links.all():
        if link.name == LINK_NAME and not link.made_by:
            people.revoke_link(link.id)
    _, secret = people.links.add("", LINK_NAME, "panel", Role.VIEWER, LINK_DAYS)
    return secret


def open_link(port: int, wait_s: float = LONGEST_WAIT_S, start: Callable[[int], ShareResult] | None = None) -> ShareResult:
    """Create a public link to the panel at ``port`` of this machine, within ``wait_s``; ``start`` does the work."""
    answers: queue.SimpleQueue[ShareResult] = queue.SimpleQueue()
    work = start or start_tunnel

    def run() -> None:
        try:
            answers.put(work(port))
        except ShareError as error:
            answers.put(ShareResult(problem=str(error)))

    # Gradio reads from its program without a limit, so waiting for it must not hold up anything.
    threading.Thread(target=run, name="share", daemon=True).start()
    try:
        return answers.get(timeout=wait_s)
    except queue.Empty:
        return ShareResult(problem=f"The relay hasn't answered within {wait_s:.0f} seconds.")


def start_tunnel(port: int) -> ShareResult:
    """Start Gradio's program for the tunnel and return the public address.

    :raises ShareError: if it can't be downloaded or started, or the relay can't be reached.
    """
    import httpx
    from gradio import networking, tunneling
    from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError

    binary = Path(tunneling.BINARY_PATH)
    _check_program(binary, tunneling.CHECKSUMS.get(tunneling.BINARY_URL, ""))
    try:
        tunneling.Tunnel.download_binary()
    except ChecksumMismatchError as error:
        binary.unlink(missing_ok=True)
        raise ShareError("The downloaded program frpc has a wrong SHA-256. It was deleted.") from error
    except httpx.HTTPError as error:
        raise ShareError(
            f"The program frpc can't be downloaded ({_cause(error)}). Check the internet connection, or download "
            f"{tunneling.BINARY_URL} on another machine and save it as {binary}."
        ) from error
    except OSError as error:
        reason = f"Can't write {binary}: {error.strerror}." if error.strerror else "Gradio provides no program for this platform."
        raise ShareError(reason) from error
    try:
        address = networking.setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except ShareCertificateWriteError as error:
        raise ShareError("The relay's certificate can't be written to the data folder.") from error
    except RuntimeError as error:
        raise ShareError(f"Can't reach the relay ({_cause(error)}). Check the internet connection.") from error
    except OSError as error:
        raise ShareError(f"The program {binary} can't be started: {error.strerror or error}.") from error
    except ValueError as error:
        raise ShareError(f"The relay rejected the connection or didn't answer. {_last_line(str(error))}") from error
    return ShareResult(address, process=_process(tunneling.CURRENT_TUNNELS))


def _check_program(binary: Path, sha256: str) -> None:
    """Check a program from an earlier download: Gradio verifies it only right after the download. Other programs use it, too.

    :raises ShareError: if its SHA-256 differs from the published one.
    """
    with contextlib.suppress(OSError):
        if sha256 and hashlib.sha256(binary.read_bytes()).hexdigest() != sha256:
            raise ShareError(f"The program {binary} has a wrong SHA-256, so it isn't started. Delete it to download it again.")


def _cause(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__  # Gradio wraps the reason in its own error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"frpc reports: {lines[-1]}" if len(lines) > 1 else ""


def _process(tunnels: list[Any]) -> subprocess.Popen[bytes] | None:
    found: subprocess.Popen[bytes] | None = tunnels[-1].proc if tunnels else None
    return found
