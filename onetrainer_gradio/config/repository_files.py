"""Select the files of a repository that training needs: configurations, tokenizers, and one set of weights per component."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatch
from pathlib import Path

from onetrainer_gradio.config.model_files import weights_unfit

SMALL = ("model_index.json", "scheduler/*.json", "tokenizer*/*", "*/config.json")
"""Patterns of the files other than weights."""


def _names(stem: str, old: str) -> tuple[str, ...]:
    files = (f"{stem}.safetensors", f"{stem}.safetensors.index.json", f"{stem}.fp16.safetensors")
    return (*files, f"{stem}.fp16.safetensors.index.json", f"{old}.bin", f"{old}.bin.index.json")


TRANSFORMERS, DIFFUSERS = _names("model", "pytorch_model"), _names(*["diffusion_pytorch_model"] * 2)
"""The names that the weight file of a component can have, by its library: the first that a repository has is used."""


def hub_cache(folder: str | Path) -> str:
    """Return where repositories are stored in a Hugging Face cache folder, as with this folder in HF_HOME."""
    return str(Path(folder) / "hub")


def shards_of(name: str) -> str:
    """Return the pattern of the weight files that an index names; empty if ``name`` isn't an index."""
    return f"{name.partition('.')[0]}*-of-*{'.bin' if '.bin' in name else '.safetensors'}" if "index" in name else ""


def training_files(paths: Iterable[str], parts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths that are needed to train, in order, and the ``parts`` (components) for which there are no weights."""
    known = sorted(paths)
    chosen = [path for path in known if any(fnmatch(path, pattern) for pattern in SMALL)]
    missing = []
    for part in parts:
        name = next((name for name in (*DIFFUSERS, *TRANSFORMERS) if f"{part}/{name}" in known), None)
        if name is None:
            missing.append(part)
            continue
        chosen += [f"{part}/{name}", *(path for path in known if fnmatch(path, f"{part}/{shards_of(name)}"))]
    return tuple(dict.fromkeys(chosen)), tuple(missing)


def is_complete(folder: Path, parts: Collection[str]) -> bool:
    """Return whether a folder in diffusers layout has configuration and weights of each of the components ``parts``."""
    if not (folder / "model_index.json").is_file():
        return False
    return all((folder / part / "config.json").is_file() and weights_unfit(folder / part) is None for part in parts)
