"""Import diffusers without the optional libraries that it would import because they are installed.

Its model classes import peft and bitsandbytes, which the engine doesn't use through diffusers: 2.9 s of the 7 s that the imports
of a run take with both installed (docs/findings.md). diffusers decides by a flag for each library.
"""

from __future__ import annotations

UNUSED = ("peft", "bitsandbytes")


def omit_unused() -> None:
    """Tell diffusers that the unused libraries aren't there. To be called before its models are imported."""
    from diffusers.utils import import_utils

    for library in UNUSED:
        if hasattr(import_utils, f"_{library}_available"):
            setattr(import_utils, f"_{library}_available", False)
