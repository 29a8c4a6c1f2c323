"""Store every change to the current settings for undo and redo: one line each in a file of limited size.

A line contains the old and new values of a change, so a damaged line affects only that change, and undoing a change keeps later
ones of others. A change that can't be written isn't stored, and editing continues.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.service.host.atomic import regular_file

log = logging.getLogger(__name__)

MAX_STEPS = 400
MAX_BYTES = 64_000_000
_MAX_READ_BYTES = 4 * MAX_BYTES

UNDO, REDO = "undo", "redo"

Entry = dict[str, Any]
Document = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A change in the file. ``by`` made it; ``of`` is the number of the change that an undo or redo is about."""

    number: int
    kind: str
    by: str
    of: int
    offset: int
    length: int


class History:
    """The changes by number, in order. Its owner allows one thread at a time."""

    def __init__(self, file: Path, *, most: int = MAX_STEPS, max_bytes: int = MAX_BYTES) -> None:
        self._file = file
        self._most = most
        self._max_bytes = max_bytes
        self._steps, self._size = _read(file)
        self._failed = False

    def add(self, change: Mapping[str, Any], *, kind: str, by: str, of: int = 0) -> None:
        """Store a change."""
        number = self._steps[-1].number + 1 if self._steps else 1
        # surrogates, as in names of files that are no UTF-8, are written as escapes
        line = json.dumps({"number": number, "kind": kind, "by": by, "of": of, "change": change}).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            if not self._failed:
                log.warning("Can't write the history of the settings: %s. Edits are still saved.", error)
            self._failed = True
            return
        self._failed = False
        self._steps.append(Step(number, kind, by, of, self._size, len(line)))
        self._size += len(line)
        if len(self._steps) > self._most or self._size > self._max_bytes:
            self._shorten()

    def undoable(self, by: str = "") -> Step | None:
        """Return the newest change that can be undone; with ``by``, only its changes."""
        done, _ = self._stacks(by)
        return done[-1] if done else None

    def redoable(self, by: str = "") -> Step | None:
        """Return the change that was undone last, unless another one was made since."""
        _, undone = self._stacks(by)
        return undone[-1] if undone else None

    def change(self, step: Step) -> dict[str, Any] | None:
        """What a step changed, or None where its line can't be read any more; the step is then dropped."""
        try:
            with regular_file(self._file) as file:
                file.seek(step.offset)
                content = json.loads(file.read(step.length))
            if content["number"] == step.number and isinstance(content["change"], dict):
                return dict(content["change"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        self.forget(step)
        return None

    def forget(self, step: Step) -> None:
        """Forget a step that can't be used."""
        log.warning("Skipped an unreadable step in the history of the settings (%s, line %d)", self._file, step.number)
        self._steps = [each for each in self._steps if each.number != step.number]

    def _stacks(self, by: str) -> tuple[list[Step], list[Step]]:
        done: list[Step] = []
        undone: list[Step] = []
        for step in self._steps:
            if step.kind in (UNDO, REDO):
                source, target = (done, undone) if step.kind == UNDO else (undone, done)
                moved = next((each for each in source if each.number == step.of), None)
                if moved is not None:
                    source.remove(moved)
                    target.append(moved)
            elif not by or step.by == by:
                done.append(step)
                undone.clear()
        return done, undone

    def _append(self, line: bytes) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with regular_file(self._file, append=True) as file:
            end = file.seek(0, os.SEEK_END)
            if end < self._size:  # it was taken away
                self._steps, self._size = [], 0
            if end != self._size:  # a line was torn
                file.truncate(self._size)
            file.write(line)

    def _shorten(self) -> None:
        """Write the file again without the oldest changes."""
        kept = self._steps[-(self._most * 3 // 4) :]
        while len(kept) > 1 and sum(step.length for step in kept) > self._max_bytes * 3 // 4:
            kept = kept[1:]
        try:
            with regular_file(self._file) as file:
                lines = [_line(file, step) for step in kept]
            write_atomic(self._file, b"".join(lines), durable=False)
        except OSError as error:
            log.warning("Can't shorten the history of the settings: %s", error)
            return
        self._steps, self._size = _read(self._file)


def _line(file: Any, step: Step) -> bytes:
    file.seek(step.offset)
    return bytes(file.read(step.length))


def _read(file: Path) -> tuple[list[Step], int]:
    """Return the steps of a file, and its length up to the last complete line; invalid lines are ignored.

    A file far above the limit isn't our history: reading it could exhaust memory.
    """
    steps: list[Step] = []
    offset = 0
    try:
        with regular_file(file) as lines:
            if os.fstat(lines.fileno()).st_size > _MAX_READ_BYTES:
                log.warning("The history of the settings is too large to read. A new history starts.")
                return [], 0
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                if (step := _step(line, offset)) is not None and (not steps or step.number > steps[-1].number):
                    steps.append(step)
                offset += len(line)
    except OSError:
        return [], 0
    return steps, offset


def _step(line: bytes, offset: int) -> Step | None:
    try:
        content = json.loads(line)
        number, kind, by, of = (content[name] for name in ("number", "kind", "by", "of"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (isinstance(number, int) and isinstance(of, int) and isinstance(kind, str) and isinstance(by, str)):
        return None
    return Step(number, kind, by, of, offset, len(line))


def entries_between(before: Any, after: Any, place: tuple[str | int, ...] = ()) -> Iterator[Entry]:
    """Return the differences between two documents: the place, and the value before and after (omitted if there was none)."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            if key in before and key in after:
                yield from entries_between(before[key], after[key], (*place, key))
            else:
                yield {"place": [*place, key], **({"before": before[key]} if key in before else {"after": after[key]})}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from entries_between(old, new, (*place, index))
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield {"place": list(place), "before": before, "after": after}


def with_entries(document: Document, entries: Iterable[Entry], side: str) -> Document:
    """Return the document with one side of each entry, without changing the given one.

    A place in a list is valid only if no one else changed the list; otherwise it stays unchanged.
    """
    other = "after" if side == "before" else "before"
    changed = copy.deepcopy(document)
    for entry in entries:
        *parents, last = entry["place"]
        at: Any = changed
        within_list = False
        for part in parents:
            within_list = within_list or isinstance(at, list)
            at = _child(at, part)
        here = _child(at, last)
        if isinstance(at, list) or within_list:
            if here is not _NOTHING and here == entry.get(other, _NOTHING) and side in entry:
                at[last] = entry[side]
        elif isinstance(at, dict):
            if side in entry:
                at[last] = entry[side]
            else:
                at.pop(last, None)
    return changed


_NOTHING = object()


def _child(at: Any, part: Any) -> Any:
    if isinstance(at, dict) and isinstance(part, str):
        return at.get(part, _NOTHING)
    if isinstance(at, list) and isinstance(part, int) and 0 <= part < len(at):
        return at[part]
    return _NOTHING
