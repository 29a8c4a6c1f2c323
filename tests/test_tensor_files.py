"""Tensors in files are listed and compared without torch."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy
import pytest

from onetrainer_gradio.tensor_files import tensors_of, weight_difference


def write(path: Path, **tensors: tuple[str, list[int], bytes]) -> Path:
    """Write a safetensors file of tensors given as data type, shape and bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(content for _, _, content in tensors.values()))
    return path


def floats(*values: float) -> tuple[str, list[int], bytes]:
    return "F32", [len(values)], numpy.array(values, "<f4").tobytes()


def test_values_are_read_in_their_data_type(tmp_path: Path) -> None:
    """float32, float16 and bfloat16 give the same numbers; types that numpy lacks give none."""
    numbers = numpy.array([1.5, -2.0], "<f4")
    file = write(
        tmp_path / "a.safetensors",
        single=("F32", [2], numbers.tobytes()),
        half=("F16", [1, 2], numbers.astype("<f2").tobytes()),
        brain=("BF16", [2], (numbers.view("<u4") >> 16).astype("<u2").tobytes()),
        eight=("F8_E4M3", [2], b"ab"),
    )
    found = tensors_of(file)
    assert {name: str(tensor) for name, tensor in found.items()} == {
        "single": "F32 [2]",
        "half": "F16 [1, 2]",
        "brain": "BF16 [2]",
        "eight": "F8_E4M3 [2]",
    }
    values = {name: tensor.values() for name, tensor in found.items()}
    assert values.pop("eight") is None
    for name, read in values.items():
        assert read is not None, name
        assert read.tolist() == [1.5, -2.0], name


def test_what_is_no_such_file_has_no_tensors(tmp_path: Path) -> None:
    """This includes a damaged header, another file extension and a missing path."""
    bad, other = tmp_path / "bad.safetensors", tmp_path / "model.bin"
    bad.write_bytes(b"\xff" * 20)
    other.write_bytes(bytes(20))
    assert tensors_of(bad) == tensors_of(other) == tensors_of(tmp_path / "none") == {}


def test_a_folder_has_the_names_of_newer_libraries(tmp_path: Path) -> None:
    """The level that older versions add and the copy of tied embeddings make no difference."""
    old, new = tmp_path / "old", tmp_path / "new"
    one = floats(1.0)
    write(old / "text_encoder" / "model.safetensors", **{"text_model.a": one})
    write(new / "text_encoder" / "model.safetensors", a=one)
    write(old / "t5" / "model.safetensors", **{"shared.weight": one, "encoder.embed_tokens.weight": one})
    write(new / "t5" / "model.safetensors", **{"shared.weight": one})
    assert tensors_of(old).keys() == tensors_of(new).keys() == {"text_encoder: a", "t5: shared.weight"}


def test_the_difference_covers_what_both_have(tmp_path: Path) -> None:
    """It reports the largest difference with its tensor and the relative root
    mean square; tensors of other shapes aren't compared.
    """
    left = tensors_of(write(tmp_path / "l.safetensors", a=floats(3.0, 4.0), b=floats(0.0), c=floats(1.0)))
    right = tensors_of(write(tmp_path / "r.safetensors", a=floats(3.0, 4.5), b=floats(0.0), c=floats(1.0, 2.0)))
    found = weight_difference(left, right)
    assert found is not None
    assert (found.tensors, found.largest, found.name) == (2, 0.5, "a")
    assert found.relative == pytest.approx(0.1)
    assert weight_difference(left, {}) is None


def test_nan_is_the_largest_difference(tmp_path: Path) -> None:
    """A NaN weight isn't overlooked."""
    left = tensors_of(write(tmp_path / "l.safetensors", a=floats(math.nan)))
    right = tensors_of(write(tmp_path / "r.safetensors", a=floats(1.0)))
    found = weight_difference(left, right)
    assert found is not None
    assert math.isnan(found.largest)


def test_a_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    """The file has fewer values than the header declares."""
    file = write(tmp_path / "a.safetensors", a=("F32", [4], bytes(8)))
    with pytest.raises(ValueError, match="ends within a tensor"):
        tensors_of(file)["a"].values()
