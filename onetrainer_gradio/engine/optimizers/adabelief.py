"""AdaBelief as timm has it."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

_ALIAS = "onetrainer_gradio_timm_optim"


def __getattr__(name: str) -> Any:
    """Return ``AdaBelief`` from timm's optimizers.

    Importing timm itself would load its model collection and torchvision, which its optimizers don't need. So its folder of
    optimizers is imported as a package with another name.

    :raises ImportError: if timm isn't installed.
    """
    if name != "AdaBelief":
        raise AttributeError(name)
    package = importlib.util.find_spec("timm")
    if package is None or not package.submodule_search_locations:
        raise ImportError("timm isn't installed")
    folder = ModuleType(_ALIAS)
    folder.__path__ = [str(Path(package.submodule_search_locations[0]) / "optim")]
    sys.modules.setdefault(_ALIAS, folder)
    return import_module(f"{_ALIAS}.adabelief").AdaBelief
