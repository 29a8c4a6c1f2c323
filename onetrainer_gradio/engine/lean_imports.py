"""Import diffusers without what a run doesn't use.

Its model classes import peft and bitsandbytes because they are installed: 2.9 s of the 7 s that the imports of a run take with
both (docs/findings.md). diffusers decides by a flag for each library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onetrainer_gradio.engine.lazy_dynamo import postpone

UNUSED = ("peft", "bitsandbytes")
PEFT_BACKEND = "USE_PEFT_BACKEND"
"""With it, models look for peft's layers in each forward pass; the engine's adapters are its own."""


@contextmanager
def unused_omitted() -> Iterator[None]:
    """Within the block, diffusers imports its models as if the unused libraries weren't there.

    Afterwards they are there again: a program that trained may load a LoRA with diffusers, which takes peft.
    """
    postpone()
    from diffusers import utils
    from diffusers.utils import constants, import_utils

    flags = [(import_utils, f"_{library}_available") for library in UNUSED] + [(utils, PEFT_BACKEND), (constants, PEFT_BACKEND)]
    before = [(module, name, getattr(module, name)) for module, name in flags if hasattr(module, name)]
    for module, name, _ in before:
        setattr(module, name, False)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
