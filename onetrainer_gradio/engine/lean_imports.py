"""Import diffusers and transformers without what a run doesn't use.

The model classes of diffusers import peft and bitsandbytes because they are installed: 2.9 s of the 7 s that the imports of a run
take with both (docs/findings.md). diffusers decides by a flag for each library. transformers imports torch's distributed tensors,
for models that are spread over several GPUs: a tenth of the processor time until the first step. It decides by a function.
Schedulers import scipy, which few of their settings use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from onetrainer_gradio.engine import lazy_dynamo, lazy_module

UNUSED = ("peft", "bitsandbytes")
PEFT_BACKEND = "USE_PEFT_BACKEND"
"""With it, models look for peft's layers in each forward pass; the engine's adapters are its own."""
DISTRIBUTED = "is_torch_distributed_available"
POSTPONED = ("scipy.stats", "scipy.integrate")

Flag = tuple[ModuleType, str, object]


def _no() -> bool:
    return False


@contextmanager
def unused_omitted() -> Iterator[None]:
    """Within the block, models are imported as if the unused libraries weren't there.

    Afterwards they are there again: a program that trained may load a LoRA with diffusers, which takes peft. So modules of
    diffusers that copied the flag get it back, and lose it again in the next block. The modules of transformers that were
    imported in the block stay without distributed tensors, unless the program uses torch.distributed.
    """
    lazy_dynamo.postpone()
    for name in POSTPONED:
        lazy_module.postpone(name)
    import transformers.utils
    from diffusers import utils
    from diffusers.utils import constants, import_utils
    from torch import distributed

    flags: list[Flag] = [(import_utils, f"_{library}_available", False) for library in UNUSED]
    flags += [(utils, PEFT_BACKEND, False), (constants, PEFT_BACKEND, False)]
    if not (distributed.is_available() and distributed.is_initialized()):
        flags += [(transformers.utils, DISTRIBUTED, _no), (transformers.utils.import_utils, DISTRIBUTED, _no)]
    backend = utils.USE_PEFT_BACKEND
    try:
        with _set(flags):
            _set_backend(False)
            yield
    finally:
        _set_backend(backend)


def _set_backend(there: bool) -> None:
    """Set the flag in the modules of diffusers that have copied it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("diffusers.") and PEFT_BACKEND in vars(module):
            setattr(module, PEFT_BACKEND, there)


@contextmanager
def peft_omitted_by_transformers() -> Iterator[None]:
    """Within the block, the trainer of transformers, which its optimizer imports, is imported without peft."""
    import transformers.utils

    with _set([(place, "is_peft_available", _no) for place in (transformers.utils, transformers.utils.import_utils)]):
        yield


@contextmanager
def _set(flags: list[Flag]) -> Iterator[None]:
    known = [flag for flag in flags if hasattr(flag[0], flag[1])]
    before = [(module, name, getattr(module, name)) for module, name, _ in known]
    for module, name, value in known:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
