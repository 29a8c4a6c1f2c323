"""The published configurations of base models, which travel with the package: a single file contains only weights.

``published/README.md`` describes where they come from, and the licenses of the vocabularies.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.config.enums import ModelType

_ROOT = Path(__file__).with_name("published")
_SIZES: Mapping[ModelType, Mapping[str, str]] = {ModelType.STABLE_DIFFUSION_35: {".x_block.attn2.": "_medium"}}
"""Types with several published sizes: part of a tensor's name in the original file -> the size that has it."""


@dataclass(frozen=True)
class PublishedTokenizer:
    """The folder of a tokenizer, and the options to load it with."""

    folder: Path
    options: Mapping[str, str]


@dataclass(frozen=True)
class Published:
    """A folder in diffusers layout without weights, and the tokenizers by their names in the layout."""

    folder: Path
    tokenizers: Mapping[str, PublishedTokenizer]


# OpenCLIP has the vocabulary of CLIP and pads with "!"
_TOKENIZERS = {
    "clip": PublishedTokenizer(_ROOT / "tokenizers" / "clip", {}),
    "open_clip": PublishedTokenizer(_ROOT / "tokenizers" / "clip", {"pad_token": "!"}),
    "t5": PublishedTokenizer(_ROOT / "tokenizers" / "t5", {}),
}


def published(model_type: ModelType, keys: Collection[str] = ()) -> Published | None:
    """Return the published configurations of a model type; None for one without.

    ``keys`` are the names of the tensors of a file, which decide about the size where there are several.
    """
    sizes = _SIZES.get(model_type, {})
    size = next((size for part, size in sizes.items() if any(part in key for key in keys)), "")
    folder = _ROOT / f"{model_type.value.lower()}{size}"
    if not folder.is_dir():
        return None
    named = json.loads((folder / "tokenizers.json").read_text(encoding="utf-8"))
    return Published(folder, {name: _TOKENIZERS[kind] for name, kind in named.items()})
