"""Names of the layers of each denoiser that an adapter can train, without torch.

They answer what a layer filter matches before the model is loaded. The names are those of the diffusers library's classes in
their published sizes; where a family comes in several sizes (FLUX.2, ERNIE-Image), the number of blocks may differ from a given
model's, the names don't. ``docs/preflight.md`` describes how the table was created; a test compares it with diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import LayerRows
from onetrainer_gradio.config.families.models import MODELS

_INDEX = re.compile(r"(\d+)-(\d+)(?:/(\d+))?")


@lru_cache(maxsize=len(MODELS))
def _names(rows: LayerRows) -> tuple[str, ...]:
    return tuple(name for block, leaves in rows for name in _expanded(block, leaves.split()))


def _expanded(block: str, leaves: Sequence[str]) -> Iterator[str]:
    parts = [_numbers(part) for part in block.split(".")] if block else []
    for places in product(*parts):
        for leaf in leaves:
            yield ".".join((*places, leaf))


def _numbers(part: str) -> tuple[str, ...]:
    found = _INDEX.fullmatch(part)
    if not found:
        return (part,)
    first, last, step = found.groups()
    return tuple(str(number) for number in range(int(first), int(last) + 1, int(step or 1)))


def layer_names(model_type: ModelType) -> tuple[str, ...]:
    """Return the linear and convolution layers of the type's denoiser, in the order of the model."""
    return _names(MODELS[model_type].layers)
