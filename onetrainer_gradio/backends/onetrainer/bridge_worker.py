"""The bridge's far end: runs in OneTrainer's own Python, with the checkout as working directory, and drives its trainer.

Started by path, so it imports nothing of this package: the standard library, and OneTrainer's own modules by their public names.

``python bridge_worker.py facts``
    writes one JSON object with what the checkout knows, and ends.
``python bridge_worker.py serve``
    speaks JSON lines. Out, on what was standard output: ``hello``, then ``imported`` or ``import_failed``, then per run its
    events (those of ``onetrainer_gradio.events``, tag under ``type``), ``config`` with the settings that OneTrainer says it
    uses, and at last ``run_done``. In, on standard input: ``run``, commands (those of ``onetrainer_gradio.commands``),
    ``shutdown``. Its end of file means that the parent is dead: the step is finished, a backup and the model are saved, and the
    process ends.

What OneTrainer prints goes to standard error; of progress bars only the last state is kept, and now and then one between.
"""

from __future__ import annotations

import sys

OLDEST_PYTHON = (3, 10)
PROTOCOL = 1

if sys.version_info < OLDEST_PYTHON:
    sys.stdout.write(
        '{"type": "import_failed", "kind": "python", "message": "This is Python %d.%d."}\n' % (sys.version_info[:2])  # noqa: UP031
    )
    sys.stdout.flush()
    sys.exit(3)

import contextlib
import enum
import io
import json
import math
import os
import platform
import re
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, get_args, get_origin

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "mgds", "safetensors", "bitsandbytes")
BAR = re.compile(r"^(?P<name>[^|]*?):?\s*\d+%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s*\[")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BAR_EVERY_S = 10.0
PROGRESS_EVERY_S = 0.1
# Bars that say what the callbacks say better.
OWN_BARS = frozenset({"epoch", "step"})


# ---------------------------------------------------------------------------------------------------------------- speaking


class Wire:
    """The JSON lines to the parent; once the parent is dead they go nowhere."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
        self._lock = threading.Lock()
        self.broken = False

    def send(self, kind: str, /, **values: Any) -> None:
        """One line."""
        text = json.dumps({"type": kind, **values}, ensure_ascii=True, default=str)
        with self._lock:
            if self.broken:
                return
            try:
                self._file.write(text + "\n")
                self._file.flush()
            except (OSError, ValueError):
                self.broken = True

    def event(self, kind: str, /, **values: Any) -> None:
        """One event, with its time."""
        self.send(kind, at=time.time(), **values)


class Console(io.TextIOBase):
    """What stands for standard output and error: it outlives a dead parent and a full disk, and tames progress bars."""

    def __init__(self, descriptor: int, on_bar: Callable[[str, int, int], None] = lambda name, done, total: None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock = threading.RLock()
        self._pending = ""
        self._bar = ""
        self._bar_at = -BAR_EVERY_S
        self._bar_written = True
        self.on_bar = on_bar
        self.tail: list[str] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What libraries ask for before they draw."""
        return "utf-8"

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        with self._lock:
            self._pending += ESCAPES.sub("", text)
            *whole, self._pending = re.split(r"[\r\n]", self._pending)
            for segment in whole:
                self._segment(segment)
            if BAR.match(self._pending):
                self._draw(self._pending)
        return len(text)

    def flush(self) -> None:
        return

    def settle(self) -> None:
        """Writes what has no line end yet."""
        with self._lock:
            pending, self._pending = self._pending, ""
            self._segment(pending)
            self._finish_bar()

    def _segment(self, text: str) -> None:
        if not text.strip():
            return
        if BAR.match(text):
            self._draw(text)
            return
        self._finish_bar()
        self._put(text)

    def _draw(self, text: str) -> None:
        found = BAR.match(text)
        if found is None or text == self._bar:
            return
        name, done, total = found["name"].strip(), int(found["done"]), int(found["total"])
        self._bar, self._bar_written = text, False
        if done >= total or time.monotonic() - self._bar_at >= BAR_EVERY_S:
            self._finish_bar()
        self.on_bar(name, done, total)

    def _finish_bar(self) -> None:
        if self._bar and not self._bar_written:
            self._bar_written = True
            self._bar_at = time.monotonic()
            self._put(self._bar.rstrip())

    def _put(self, line: str) -> None:
        self.tail = [*self.tail[-19:], line]
        with contextlib.suppress(OSError):
            os.write(self._descriptor, (line + "\n").encode("utf-8", "replace"))


# ---------------------------------------------------------------------------------------------------------------- facts


def attempt(action: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What an action gives, or what it raises: the one place where anything at all that OneTrainer raises is taken."""
    try:
        return action(), None
    except BaseException as error:  # noqa: BLE001 - the body of a run: whatever is raised is the cause of its end
        return None, error


def cause_of(error: BaseException) -> dict[str, Any]:
    """An error as data: kind, sentence, the file and line of OneTrainer's where it arose, and what lay beneath it."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    here = os.path.abspath(__file__)
    frames = [frame for frame in traceback.extract_tb(root.__traceback__) if os.path.abspath(frame.filename) != here]
    own = [frame for frame in frames if os.sep + "modules" + os.sep in frame.filename]
    places = own or frames
    place = places[-1] if places else None
    return {
        "kind": type(error).__name__,
        "message": first_line(error),
        "root_kind": type(root).__name__,
        "root_message": first_line(root),
        "errno": getattr(root, "errno", None),
        "filename": str(getattr(root, "filename", "") or ""),
        "name": str(getattr(root, "name", "") or ""),
        "where": f"{os.path.relpath(place.filename)}:{place.lineno}" if place is not None else "",
    }


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:600] if lines else ""


def library_versions() -> dict[str, str]:
    """Versions of what trains, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def plain(value: Any) -> Any:
    """A value of a setting as JSON."""
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if hasattr(value, "to_dict"):
        return {key: plain(item) for key, item in value.to_dict().items() if key != "__version"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def type_name(kind: Any) -> str:
    """``list[ConceptConfig]`` for a list of concepts."""
    if get_origin(kind) is not None:
        inner = ", ".join(type_name(item) for item in get_args(kind))
        return f"{get_origin(kind).__name__}[{inner}]"
    return getattr(kind, "__name__", str(kind))


def defaults_of(kind: Any) -> Any:
    """An object of a configuration class with its defaults, None where the class wants to be asked otherwise."""
    made, _ = attempt(lambda: kind.default_values())
    return made


def walk(config: Any, prefix: str, rows: list[list[Any]], enums: dict[str, list[str]]) -> None:
    """Adds a row (path, type, nullable, default) for each setting below ``config``."""
    for name, kind in config.types.items():
        path = prefix + name
        value = getattr(config, name)
        if hasattr(value, "types"):
            walk(value, path + ".", rows, enums)
            continue
        rows.append([path, type_name(kind), bool(config.nullables.get(name)), plain(value)])
        note_enum(kind, enums)
        for inner in get_args(kind):
            if hasattr(inner, "default_values") and get_origin(kind) is list:
                element = defaults_of(inner)
                if element is not None and hasattr(element, "types"):
                    walk(element, path + "[].", rows, enums)


def note_enum(kind: Any, enums: dict[str, list[str]]) -> None:
    """Remembers the values of an enum."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        enums[kind.__name__] = [str(item) for item in kind]


def read_facts() -> dict[str, Any]:
    """What the checkout in the working directory knows."""
    from modules.util.config.TrainConfig import TrainConfig
    from modules.util.enum.ModelType import ModelType
    from modules.util.enum.TrainingMethod import TrainingMethod

    rows: list[list[Any]] = []
    enums: dict[str, list[str]] = {}
    config = TrainConfig.default_values()
    walk(config, "", rows, enums)
    for kind in (ModelType, TrainingMethod):
        note_enum(kind, enums)
    methods, error = attempt(lambda: read_methods(ModelType, TrainingMethod))
    return {
        "type": "facts",
        "config_version": config.config_version,
        "fields": rows,
        "enums": enums,
        "model_types": [str(item) for item in ModelType],
        "methods": methods or {},
        "versions": library_versions(),
        "problem": f"{type(error).__name__}: {first_line(error)}" if error is not None else "",
    }


def read_methods(model_types: Any, training_methods: Any) -> dict[str, list[str]]:
    """Which methods each model type can be trained with."""
    from modules.util import create

    asked = getattr(create, "get_model_setup_class", None) or create.create_model_loader
    return {
        str(model_type): [str(method) for method in training_methods if asked(model_type, method) is not None]
        for model_type in model_types
    }


# ---------------------------------------------------------------------------------------------------------------- starting


def at_home_in_checkout() -> None:
    """Imports look into the checkout first, and never beside this script."""
    sys.path[0] = os.getcwd()


def clean_output() -> tuple[Wire, Console]:
    """The real standard output for JSON lines alone; everything printed goes to standard error."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    wire, console = Wire(descriptor), Console(2)
    sys.stdout = sys.stderr = console
    return wire, console


def answer_facts(wire: Wire) -> int:
    """Tells what the checkout knows."""
    body, error = attempt(read_facts)
    if error is not None:
        traceback.print_exception(error)
        wire.send("import_failed", **cause_of(error))
        return 4
    wire.send(body.pop("type"), **body)
    return 0


def main(arguments: list[str]) -> int:
    """Does what the mode says; the exit status is 0 when it could."""
    wire, _console = clean_output()
    at_home_in_checkout()
    if arguments == ["facts"]:
        return answer_facts(wire)
    return 2


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
