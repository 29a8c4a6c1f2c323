"""Read and write the journal of a run: one numbered event per line, each written by one append.

Several processes may append (worker, supervisor, panel). An event is one ``write`` on a descriptor opened for appending, so lines
never mix. An incomplete line after a power cut or on a full disk is closed by the next writer and ignored by readers, and keeps
its number. A reader is a position: ``since(position)`` returns everything after it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.events import (
    BackupCreated,
    CommandCompleted,
    Event,
    ModelSaved,
    RunEnded,
    decode,
    encode,
    is_event,
    modernize,
    tag,
    tags_of,
)
from onetrainer_gradio.service.host.atomic import open_file

_DURABLE = (RunEnded, BackupCreated, ModelSaved, CommandCompleted)
_INDEX_EVERY = 256
_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 64 << 10
# Readers ignore the rest. A journal has some 200 bytes per event; only a damaged file gets this large.
_MAX_BYTES = 1 << 30
_LOOKS_AT_A_TEAR = 5
_LOOK_AGAIN_S = 0.001
_ENDED = tag(RunEnded)


@dataclass(frozen=True)
class Entry:
    """A line of the journal: its number (from 1) and the JSON object on it."""

    seq: int
    body: dict[str, Any]

    def event(self) -> Event | None:
        """The event, or None when this version does not know its kind."""
        try:
            return decode(self.body)
        except KeyError:
            return None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def encode_line(event: Event) -> bytes:
    """The line of an event; numbers that are not finite become null, as JSON has no word for them."""
    body = encode(event)
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(body), ensure_ascii=False, default=str, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


class Journal:
    """The journal in a file; reading and appending are safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._descriptor: int | None = None
        self._lines = 0
        self._end = 0
        self._offsets = [0]

    def append(self, event: Event) -> None:
        """Write the event as the next line.

        :raises OSError: when it could not be written whole (a full disk); a later append repairs the line.
        """
        line = encode_line(event)
        with self._write_lock:
            if self._descriptor is None:
                flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self.path, flags, 0o644)
            if self._torn(self._descriptor):
                line = b"\n" + line
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes could be written to {self.path}")
            if isinstance(event, _DURABLE):
                os.fsync(self._descriptor)

    @staticmethod
    def _torn(descriptor: int) -> bool:
        """Whether the last line was left without its end.

        A line that another process is writing at this moment may look so for an instant: it counts as torn when it stays so.
        """
        seen, size = 0, -1
        while seen < _LOOKS_AT_A_TEAR:
            before, size = size, os.lseek(descriptor, 0, os.SEEK_END)
            if size == 0:
                return False
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            if os.read(descriptor, 1) == b"\n":
                return False
            seen = seen + 1 if size == before else 1
            time.sleep(_LOOK_AGAIN_S)
        return True

    def close(self) -> None:
        """Let go of the file; appending again opens it again."""
        with self._write_lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def length(self) -> int:
        """How many whole lines there are."""
        with self._read_lock, self._open() as file:
            self._extend(file)
            return self._lines

    def since(
        self, position: int = 0, limit: int = 1000, *, only: Collection[str] = (), without: Collection[str] = ()
    ) -> list[Entry]:
        """The entries after line ``position``, at most ``limit``; of the types ``only``, or of all but those of ``without``."""
        kinds = [written for kind in only for written in tags_of(kind)]
        wanted = re.compile(f'"type":"(?:{"|".join(kinds)})"'.encode()) if only else None
        ignored = tuple(f'{{"type":"{written}"'.encode() for kind in without for written in tags_of(kind))
        entries: list[Entry] = []
        with self._read_lock, self._open() as file:
            if file is None or not self._extend(file) or position >= self._lines:
                return entries
            start = max(position, 0) // _INDEX_EVERY
            descriptor, seq = file, start * _INDEX_EVERY
            for line in self._lines_from(descriptor, self._offsets[start]):
                seq += 1
                if seq <= position or (ignored and line.startswith(ignored)):
                    continue
                if wanted is not None and not wanted.search(line):
                    continue
                body = _parse(line)
                if body is not None and (not only or body["type"] in only):
                    entries.append(Entry(seq, body))
                    if len(entries) >= limit:
                        break
        return entries

    def ended(self) -> Entry | None:
        """The entry of RunEnded when it is the last line (its number is 0: only whether and how is asked here)."""
        for line in reversed(self.tail_lines()):
            body = _parse(line)
            if body is not None:
                return Entry(0, body) if body["type"] == _ENDED else None
        return None

    def tail_lines(self) -> list[bytes]:
        """The last whole lines, some tens of kilobytes of them."""
        with self._read_lock, self._open() as file:
            if file is None:
                return []
            size = os.fstat(file).st_size
            start = max(0, size - _TAIL_BYTES)
            os.lseek(file, start, os.SEEK_SET)
            lines = os.read(file, size - start).split(b"\n")
        whole = lines[:-1]
        return whole[1:] if start else whole

    @contextlib.contextmanager
    def _open(self) -> Iterator[int | None]:
        descriptor = open_file(self.path)
        if descriptor is None:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _extend(self, descriptor: int | None) -> bool:
        """Take the lines written since the last look into the index of line offsets."""
        if descriptor is None:
            return False
        size = os.fstat(descriptor).st_size
        if size < self._end:
            self._lines, self._end, self._offsets = 0, 0, [0]
        if size == self._end:
            return True
        os.lseek(descriptor, self._end, os.SEEK_SET)
        position = self._end
        while position < _MAX_BYTES and (chunk := os.read(descriptor, _CHUNK_BYTES)):
            found = chunk.find(b"\n")
            while found >= 0:
                self._lines += 1
                self._end = position + found + 1
                if self._lines % _INDEX_EVERY == 0:
                    self._offsets.append(self._end)
                found = chunk.find(b"\n", found + 1)
            position += len(chunk)
        return True

    def _lines_from(self, descriptor: int, offset: int) -> Iterator[bytes]:
        os.lseek(descriptor, offset, os.SEEK_SET)
        left, rest = self._end - offset, b""
        while left > 0 and (chunk := os.read(descriptor, min(_CHUNK_BYTES, left))):
            left -= len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _parse(line: bytes) -> dict[str, Any] | None:
    body: dict[str, Any]
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not is_event(body):
        return None
    body = modernize(body)
    return {"at": 0.0, **body} if "at" not in body else body
