"""Download one file into the cache of the Hugging Face Hub: resumable, and compared with its checksum before it counts.

huggingface_hub itself starts a file again after an interruption, and compares only sizes. What is written here is a blob under
the name that the library gives it, so that the library finds it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from onetrainer_gradio.errors import HubDownloadError
from onetrainer_gradio.service.hub.client import BUSY, raising_hub_error, unreachable

CHUNK_BYTES = 1 << 20
_ATTEMPTS = 6
"""In succession without a new byte."""
_LONGEST_WAIT_S = 60.0
_CONNECT_S, _READ_S = 10.0, 30.0


class StoppedError(Exception):
    """The download is to stop."""


@dataclass(frozen=True)
class Blob:
    """A file of a repository. ``etag`` is its SHA-256 if it is stored as ``lfs``, else its Git ID."""

    path: str
    size: int
    etag: str
    lfs: bool


def partial(blob: Blob, folder: Path) -> Path:
    """Return the path of the part of a blob that has been downloaded so far; ``folder`` has the blobs of a repository."""
    return folder / f"{blob.etag}.incomplete"


def present_bytes(blob: Blob, folder: Path) -> int:
    """Return how many bytes of a blob are on this machine."""
    for path in (folder / blob.etag, partial(blob, folder)):
        with suppress(OSError):
            return min(blob.size, path.stat().st_size)
    return 0


class Fetcher:
    """Downloads the blobs of one repository. ``pause_s`` is the first wait before another attempt."""

    def __init__(self, session: Any, headers: Mapping[str, str], stopping: threading.Event, pause_s: float = 1.0) -> None:
        self._session, self._stopping, self._pause_s = session, stopping, pause_s
        # compressed, a file couldn't be resumed
        self._headers = {**headers, "Accept-Encoding": "identity"}

    def fetch(self, blob: Blob, url: str, folder: Path) -> None:
        """Download a blob, or the rest of it, to ``folder``.

        :raises StoppedError: if a stop was requested; the downloaded bytes are kept for the next time.
        :raises HubDownloadError: if its checksum differs, also at a second attempt.
        :raises HubError: if the hub doesn't provide it.
        :raises OSError: if it can't be written.
        """
        target = folder / blob.etag
        if target.exists():
            return
        for attempt in range(2):
            with partial(blob, folder).open("ab+") as file:
                found = self._receive(blob, url, file)
                file.flush()
                os.fsync(file.fileno())
            if found == blob.etag:
                os.replace(partial(blob, folder), target)
                return
            partial(blob, folder).unlink()
            if attempt:
                raise HubDownloadError(
                    f"The checksum of {blob.path} differs from that on the Hugging Face Hub",
                    value=blob.path,
                    suggestion="Check the connection and its proxies, then resume the download.",
                )

    def _receive(self, blob: Blob, url: str, file: BinaryIO) -> str:
        """Append what is missing, and return the checksum of the whole file."""
        digest = self._digest_of(blob, file)
        failures, wait_s = 0, self._pause_s
        while (at := file.tell()) < blob.size:
            try:
                with self._request(url, at, blob) as response:
                    if response.status_code in BUSY:
                        raise _BusyError(_retry_after(response))
                    if response.status_code == 416 or (at and response.status_code == 200):
                        digest, at = self._emptied(blob, file), 0
                    if response.status_code != 416:
                        self._append(response, blob, file, digest)
                failures, wait_s = (0, self._pause_s) if file.tell() > at else (failures + 1, wait_s)
            except _BusyError as busy:
                failures, wait_s = failures + 1, busy.wait_s or wait_s
            except self._interruptions() as error:
                failures = 1 if file.tell() > at else failures + 1
                if failures >= _ATTEMPTS:
                    raise unreachable(error) from error
            if failures >= _ATTEMPTS:
                raise unreachable(TimeoutError())
            if failures:
                self._wait(min(wait_s, _LONGEST_WAIT_S))
                wait_s *= 2
        if file.tell() > blob.size:
            return ""
        return str(digest.hexdigest())

    @contextmanager
    def _request(self, url: str, at: int, blob: Blob) -> Iterator[Any]:
        import httpx2
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

        self._stop_if_asked()
        headers = {**self._headers, **({"Range": f"bytes={at}-"} if at else {})}
        timeout = httpx2.Timeout(_READ_S, connect=_CONNECT_S)
        with self._session.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code not in BUSY and response.status_code != 416:
                with raising_hub_error(blob.path):
                    hf_raise_for_status(response)
            yield response

    def _append(self, response: Any, blob: Blob, file: BinaryIO, digest: Any) -> None:
        for chunk in response.iter_bytes():
            self._stop_if_asked()
            file.write(chunk)
            digest.update(chunk)
            if file.tell() > blob.size:
                return

    def _digest_of(self, blob: Blob, file: BinaryIO) -> Any:
        digest = _digest(blob)
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            self._stop_if_asked()
            digest.update(chunk)
        return digest

    def _emptied(self, blob: Blob, file: BinaryIO) -> Any:
        file.seek(0)
        file.truncate()
        return _digest(blob)

    def _stop_if_asked(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoppedError

    @staticmethod
    def _interruptions() -> type[Exception]:
        import httpx2

        return httpx2.TransportError


class _BusyError(Exception):
    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


def _digest(blob: Blob) -> Any:
    return hashlib.sha256() if blob.lfs else hashlib.sha1(b"blob %d\0" % blob.size, usedforsecurity=False)


def _retry_after(response: Any) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0
