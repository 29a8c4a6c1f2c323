"""A large file is uploaded to a dataset with little memory, and the upload resumes where it was interrupted.

``ONETRAINER_GRADIO_UPLOAD_MB=2048`` sends 2 GB instead of a small file.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.panel_process import REHEARSAL, Running

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

SIZE_MB = int(os.environ.get("ONETRAINER_GRADIO_UPLOAD_MB", "48"))
MAX_MORE_MB = 60
"""What a panel may grow by, whatever the size of the file: some pieces on their way, and what Python keeps of them."""


def piece(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def resident_mb(process: int, what: str = "VmRSS") -> float:
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


def pieces_from(offset: int, size: int, piece_bytes: int) -> Iterator[tuple[int, bytes]]:
    for at in range(offset, size, piece_bytes):
        yield at, piece(at // piece_bytes, min(piece_bytes, size - at))


def broken_off(address: str, upload: str, offset: int, data: bytes) -> None:
    """Send half of a piece, then close the connection."""
    host, port = address.split("//")[1].split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"PUT /api/datasets/uploads/{upload}?offset={offset} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        connection.sendall(f"{head}Content-Type: application/octet-stream\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        connection.sendall(data[: len(data) // 2])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_a_large_file_is_uploaded_in_little_memory_and_continues_after_a_kill(tmp_path: Path) -> None:
    """The connection breaks within a piece, the panel is killed, and the next panel resumes the upload; the file is identical."""
    size, dataset = SIZE_MB * 2**20, {"name": "large"}
    file = {"dataset": "large", "name": "large.png", "bytes": size}
    panel = Running(tmp_path, "--backend", REHEARSAL)
    began = time.monotonic()
    try:
        with httpx.Client(base_url=panel.address, timeout=60) as client:
            client.post("/api/datasets", json=dataset).raise_for_status()
            begun = client.post("/api/datasets/uploads", json=file).json()
            half = size // 2 // begun["piece_bytes"] * begun["piece_bytes"]
            before = resident_mb(panel.process.pid)
            for at, data in pieces_from(0, half, begun["piece_bytes"]):
                client.put(f"/api/datasets/uploads/{begun['id']}", params={"offset": at}, content=data).raise_for_status()
            broken_off(panel.address, begun["id"], half, piece(half // begun["piece_bytes"], begun["piece_bytes"]))
            grown = resident_mb(panel.process.pid, "VmHWM") - before
        panel.kill()
        panel = Running(tmp_path, "--backend", REHEARSAL)
        with httpx.Client(base_url=panel.address, timeout=60) as client:
            again = client.post("/api/datasets/uploads", json=file).json()
            assert (again["id"], again["offset"]) == (begun["id"], half)
            before = resident_mb(panel.process.pid)
            for at, data in pieces_from(half, size, begun["piece_bytes"]):
                reply = client.put(f"/api/datasets/uploads/{begun['id']}", params={"offset": at}, content=data)
                reply.raise_for_status()
            assert reply.json()["state"] == "done"
            grown = max(grown, resident_mb(panel.process.pid, "VmHWM") - before)
    finally:
        panel.kill()
    print(f"{SIZE_MB} MB in {time.monotonic() - began:.0f} s, the panel grew by {grown:.0f} MB")
    arrived, sent = hashlib.sha256(), hashlib.sha256()
    with (tmp_path / "datasets" / "large" / "large.png").open("rb") as stored:
        for _, data in pieces_from(0, size, begun["piece_bytes"]):
            sent.update(data)
            arrived.update(stored.read(len(data)))
        assert stored.read(1) == b""
    assert arrived.digest() == sent.digest()
    assert grown < MAX_MORE_MB
