"""Import a module when it is used for the first time.

Diffusers' schedulers import ``scipy.stats`` where it is installed, and only beta sigmas use it: a tenth of a run's imports
(docs/findings.md). ``importlib.util.LazyLoader`` doesn't help: ``import scipy.stats`` itself already loads its module.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A module until it is used."""

    def __getattr__(self, name: str) -> Any:
        """Import the original and return its attribute."""
        if name.startswith("__") and name != "__path__":  # a submodule is imported: Python asks for the path
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def postpone(name: str) -> None:
    """Postpone the import of a module, unless it is imported already or not installed."""
    try:
        found = name in sys.modules or importlib.util.find_spec(name)
    except ImportError:  # its package isn't installed
        return
    if name not in sys.modules and found:
        sys.modules[name] = LazyModule(name)
