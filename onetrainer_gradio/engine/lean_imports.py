"""Import diffusers without what a run doesn't use.

Its model classes import peft and bitsandbytes because they are installed: 2.9 s of the 7 s that the imports of a run take with
both (docs/findings.md). diffusers decides by a flag for each library.
"""

from __future__ import annotations

from onetrainer_gradio.engine.lazy_dynamo import postpone

UNUSED = ("peft", "bitsandbytes")
PEFT_BACKEND = "USE_PEFT_BACKEND"
"""With it, models look for peft's layers in each forward pass; the engine's adapters are its own."""


def omit_unused() -> None:
    """Tell diffusers that the unused libraries aren't there. To be called before its models are imported."""
    postpone()
    from diffusers import utils
    from diffusers.utils import constants, import_utils

    for library in UNUSED:
        if hasattr(import_utils, f"_{library}_available"):
            setattr(import_utils, f"_{library}_available", False)
    for module in (utils, constants):
        if hasattr(module, PEFT_BACKEND):
            setattr(module, PEFT_BACKEND, False)
