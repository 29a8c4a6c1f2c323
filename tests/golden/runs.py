"""Execute recorded runs, and describe a run as a row of numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, safe_open
from torch import Tensor

from tests.golden.digests import digest

NOT_COMPARED = ("k_proj.bias", "posterior_log_variance_clipped")
"""Attention doesn't depend on the bias of keys: its gradient is rounding, which Adam turns into full steps. The buffer is
one that nothing reads; docs/fidelity.md explains how it differs."""


def tensors_of(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, or of a diffusers folder with the component before each name."""
    if path.is_file():
        return load_file(path)
    found: dict[str, Tensor] = {}
    for file in sorted(path.rglob("*.safetensors")):
        component = file.parent.relative_to(path).as_posix()
        tensors = {canonical(name): tensor for name, tensor in load_file(file).items()}
        if "shared.weight" in tensors:
            tensors.pop("encoder.embed_tokens.weight", None)  # the same again, depending on the version of transformers
        found |= {f"{component}:{name}": tensor for name, tensor in tensors.items()}
    return found


def canonical(name: str) -> str:
    """Return the name without the level that newer transformers omit from CLIPTextModel."""
    return name.removeprefix("text_model.")


def describe_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return a file's figures, and its tensors as ``name dtype shape``."""
    tensors = tensors_of(path)
    names = sorted(f"{name} {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}" for name, tensor in tensors.items())
    counted = [tensors[name].double().flatten() for name in sorted(tensors) if not name.endswith(NOT_COMPARED)]
    counted = [tensor for tensor in counted if tensor.numel()]
    figures = digest(torch.cat(counted)) if counted else []
    return {"tensors": len(names), "keys": key_hash(names), "weights": figures}, names


def key_hash(names: Iterable[str]) -> str:
    """Return a short hash of a key list."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def header(path: Path) -> Mapping[str, str]:
    """Return the metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def dump(rows: Mapping[str, Any], path: Path) -> None:
    """Write rows as JSON, one per line, so that changes can be read."""
    lines = [f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}" for name, row in sorted(rows.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
