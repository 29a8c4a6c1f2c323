"""Read and compare the tensors of safetensors files without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

MAX_HEADER_BYTES = 100 << 20
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1"}
"""numpy's types of the data types in a header; those of 8 bits and fewer that numpy lacks aren't compared."""
LEVEL = "text_model."
TIED = ("encoder.embed_tokens.weight", "shared.weight")
"""The first is a copy of the second, which not every version of transformers writes."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its data type and shape as in the header, and where its bytes are."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int

    def __str__(self) -> str:
        """Return data type and shape."""
        return f"{self.dtype} {list(self.shape)}"

    def values(self) -> numpy.ndarray[Any, numpy.dtype[numpy.float64]] | None:
        """Return the values in one row as float64, or None if numpy can't read the data type.

        :raises OSError, ValueError: if the file is gone or too short.
        """
        kind = NUMBERS.get(self.dtype)
        if kind is None:
            return None
        read = numpy.fromfile(self.file, dtype=kind, count=math.prod(self.shape), offset=self.begin)
        if read.size != math.prod(self.shape):
            raise ValueError(f"{self.file} ends within a tensor")
        if self.dtype == "BF16":
            read = (read.astype("<u4") << 16).view("<f4")
        return read.astype(numpy.float64)


def tensors_of(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file, or of all files in a folder with the name of the folder before each; empty without any.

    CLIP text encoders are stored with the level ``text_model`` or without it, depending on the version of transformers, and T5
    with a second name for its embeddings or without it. Names in a folder are those of the newer version.
    """
    if path.is_file():
        return dict(_stored(path)) if path.suffix == ".safetensors" else {}
    found: dict[str, StoredTensor] = {}
    for file in sorted(path.rglob("*.safetensors")):
        tensors = {name.removeprefix(LEVEL): tensor for name, tensor in _stored(file)}
        if tensors.keys() >= set(TIED):
            del tensors[TIED[0]]
        component = file.parent.relative_to(path).as_posix()
        found |= {f"{component}: {name}": tensor for name, tensor in tensors.items()}
    return found


def _stored(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length)) if 0 < length < MAX_HEADER_BYTES else {}
    except (OSError, ValueError):
        return
    for name, item in header.items() if isinstance(header, dict) else ():
        if name != "__metadata__":
            begin = item.get("data_offsets", [0])[0]
            yield name, StoredTensor(str(item.get("dtype")), tuple(item.get("shape", ())), file, 8 + length + begin)


@dataclass(frozen=True)
class WeightDifference:
    """How far the values of two models are apart, over the tensors that both have in the same shape.

    ``relative`` is the root mean square of the differences divided by that of the values; ``largest`` is of the tensor ``name``.
    """

    tensors: int
    largest: float
    name: str
    relative: float


def weight_difference(left: Mapping[str, StoredTensor], right: Mapping[str, StoredTensor]) -> WeightDifference | None:
    """Return the difference of two models, or None if they have no tensor in common.

    :raises OSError, ValueError: if a file is gone or too short.
    """
    count, largest, name = 0, 0.0, ""
    squares = differences = 0.0
    for shared in sorted(left.keys() & right.keys()):
        if left[shared].shape != right[shared].shape:
            continue
        ours, theirs = left[shared].values(), right[shared].values()
        if ours is None or theirs is None:
            continue
        count += 1
        apart = numpy.abs(ours - theirs)
        squares += float((ours**2).sum())
        differences += float((apart**2).sum())
        most = float(apart.max(initial=0.0))
        if not most <= largest:  # also if it is NaN
            largest, name = most, shared
    if not count:
        return None
    return WeightDifference(count, largest, name, math.sqrt(differences / squares) if squares else 0.0)
