"""Read the scalars of TensorBoard's event files step by step, with little memory however long the run was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_LOG = logging.getLogger(__name__)
_NAME = "*tfevents*"


@dataclass
class Scalars:
    """The scalars of one step by tag, and the time of the newest one in seconds since the epoch."""

    step: int
    at: float
    values: dict[str, float] = field(default_factory=dict)


def event_files(folder: Path) -> list[Path]:
    """Return the event files of a folder in the order of their names. Links are omitted."""
    return sorted(path for path in folder.glob(_NAME) if path.is_file() and not path.is_symlink())


def read_scalars(folder: Path) -> Iterator[Scalars]:
    """Yield the scalars of each step in the order in which they were written. What follows damage in a file is omitted."""
    # loads a part of TensorBoard, which is needed only here
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    current: Scalars | None = None
    for path in event_files(folder):
        try:
            for data in RawEventFileLoader(str(path)).Load():
                event = Event.FromString(data)
                values = {each.tag: float(each.simple_value) for each in event.summary.value if each.HasField("simple_value")}
                if not values:
                    continue
                if current is not None and event.step != current.step:
                    yield current
                    current = None
                current = current or Scalars(int(event.step), float(event.wall_time))
                current.at = float(event.wall_time)
                current.values |= values
        except (DecodeError, OSError, ValueError) as error:
            _LOG.warning("A part of %s can't be read: %s", path, error)
    if current is not None:
        yield current
