"""What the children of ``test_writes`` do until they are killed: replace a result, or encode and clear a cache."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, cast

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.paths import cache_files, marker
from onetrainer_gradio.engine.data.cache import clear, fingerprint
from onetrainer_gradio.engine.outputs import Outputs
from onetrainer_gradio.engine.staging import tidy_places
from onetrainer_gradio.engine.state import TrainState

PARTS = 12
PART_BYTES = 40_000
ENTRIES = 40


class Silent:
    """A reporter without output."""

    def enter(self, *_: object) -> None: ...

    def report(self, *_: object) -> None: ...

    def warn(self, *_: object) -> None: ...


class Version:
    """A method whose model has the number of the save in every byte."""

    def __init__(self) -> None:
        self.number = 0

    def save(self, place: Path, output_format: str, *_: object) -> None:
        """Write a file with our header, or a folder of such files."""
        self.number = self.number % 250 + 1
        if output_format != "DIFFUSERS":
            write_model(place, self.number)
            return
        place.mkdir()
        for part in range(PARTS):
            write_model(place / f"part-{part}.safetensors", self.number)
        marker.write(place, marker.MODEL)

    def save_additional_files(self, *_: object) -> None:
        """Write no file next to it."""


def write_model(path: Path, number: int) -> None:
    """Write a safetensors file with our header whose bytes all are ``number``."""
    shape = {"dtype": "U8", "shape": [PART_BYTES], "data_offsets": [0, PART_BYTES]}
    header = json.dumps({"__metadata__": {marker.HEADER_KEY: "1"}, "x": shape}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes([number]) * PART_BYTES)


def numbers_in(path: Path) -> set[int]:
    """Return which bytes a model file has; -1 for an incomplete file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0] if len(data) > 8 else len(data)
    body = data[8 + length :]
    return set(body) if len(body) == PART_BYTES else {-1}


def settings(folder: Path, target: Path, *, single: bool) -> TrainConfig:
    """Return settings of a run that saves to ``target``."""
    return TrainConfig(
        output_model_destination=str(target),
        output_model_format="SAFETENSORS" if single else "DIFFUSERS",
        workspace_dir=str(folder / "workspace"),
        cache_dir=str(folder / "cache"),
    )


def outputs(config: TrainConfig) -> Outputs:
    """Return the real writer of results with a model that needs no training."""
    stand_in = cast(Any, Silent())
    return Outputs(config, cast(Any, Version()), stand_in, None, stand_in, stand_in, RunOptions())


def replace_for_ever(folder: str, target: str, single: bool, started: Any) -> None:
    """Save a new version over the last one, again and again."""
    config = settings(Path(folder), Path(target), single=single)
    tidy_places(config)
    writer = outputs(config)
    writer.save_final(TrainState())
    started.set()
    while True:
        writer.save_final(TrainState())


def encode_and_clear_for_ever(folder: str, started: Any) -> None:
    """Fill a cache and clear it, again and again."""
    cache = Path(folder)
    started.set()
    while True:
        for name in cache_files.SUBFOLDERS:
            (cache / name).mkdir(parents=True, exist_ok=True)
            marker.add(cache, marker.CACHE, name)
            for entry in range(ENTRIES):
                (cache / name / f"{fingerprint({'entry': entry})}.safetensors").write_bytes(b"x" * 1000)
        clear(cache)
