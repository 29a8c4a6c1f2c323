"""Import torch's compiler only when something compiles: importing it takes a third of a run's start (docs/findings.md).

diffusers marks its blocks for ``torch._dynamo``, and torch's optimizers call it in each step. Without compiled code, both have no
effect. ``postpone`` puts a module in its place that answers these calls. Any other use, also ``import torch._dynamo.anything``,
loads the compiler and repeats what was noted until then.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import FunctionType, ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"
CACHED = "__dynamo_disable"
"""Where torch keeps the function that it got from ``disable``."""
INDEPENDENT = frozenset({f"{NAME}._trace_wrapped_higher_order_op"})
"""Submodules that don't use the package; transformers imports one of them for the masks of all models."""


class LazyDynamo(ModuleType):
    """``torch._dynamo`` until it is used."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(NAME)
        self.__spec__ = spec
        self.__file__ = spec.origin  # read by ``inspect`` of every module
        self.__path__ = list(spec.submodule_search_locations or ())
        self._loading = threading.RLock()
        self._begun = False
        self._real: ModuleType | None = None
        self._noted: list[tuple[str, Any]] = []
        self._disabled: list[Any] = []

    def graph_break(self, msg: str = "") -> None:
        """Do nothing, like the original in code that isn't compiled."""

    def allow_in_graph(self, fn: Any) -> Any:
        """Note what the compiler should put into a graph as it is."""
        return self._note("allow_in_graph", fn)

    def assume_constant_result(self, fn: Any) -> Any:
        """Note whose result the compiler may keep."""
        return self._note("assume_constant_result", fn)

    def _note(self, mark: str, fn: Any) -> Any:
        if self._real is not None:
            return getattr(self._real, mark)(fn)
        self._noted.append((mark, fn))
        return fn

    def disable(self, fn: Any = None, recursive: bool = True, *, reason: str | None = None, wrapping: bool = True) -> Any:
        """Return the function, which the compiler skips once it is loaded."""
        if fn is None and self._real is None:
            return functools.partial(self.disable, recursive=recursive, reason=reason, wrapping=wrapping)
        if self._real is not None or not isinstance(fn, FunctionType):
            return self.load().disable(fn, recursive, reason=reason, wrapping=wrapping)
        if recursive and not wrapping:  # torch itself: it keeps the result where it can be removed
            self._disabled.append(fn)
            return fn
        skipped: list[Any] = []

        @functools.wraps(fn)
        def disabled(*values: Any, **named: Any) -> Any:
            if self._real is None:
                return fn(*values, **named)
            if not skipped:
                skipped.append(self._real.disable(fn, recursive, reason=reason, wrapping=wrapping))
            return skipped[0](*values, **named)

        return disabled

    def load(self) -> ModuleType:
        """Import the original."""
        with self._loading:
            if self._real is not None:
                return self._real
            if self._begun:  # the original, while it is being imported
                return sys.modules[NAME]
            self._begun = True
            sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Submodules)]
            del sys.modules[NAME], torch._dynamo
            real = importlib.import_module(NAME)
            for mark, fn in self._noted:
                getattr(real, mark)(fn)
            for fn in self._disabled:
                vars(fn).pop(CACHED, None)
            self._real = real
            return real

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.load(), name)


class Submodules:
    """Find the submodules of ``torch._dynamo``: load the package first, which imports most of them itself."""

    def __init__(self, module: LazyDynamo) -> None:
        self._module = module

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a submodule is, or None for other modules."""
        if not name.startswith(f"{NAME}.") or name in INDEPENDENT:
            return None
        self._module.load()
        found = sys.modules.get(name)
        return PathFinder.find_spec(name, path) if found is None else ModuleSpec(name, Existing(found))


class Existing(Loader):
    """Load a module that is already imported, by leaving it as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Restore what the import changed."""
        module.__spec__ = self._spec


def postpone() -> None:
    """Postpone the import of ``torch._dynamo``, unless it is imported already."""
    if NAME in sys.modules:
        return
    spec = importlib.util.find_spec(NAME)
    if spec is None:
        return
    module = LazyDynamo(spec)
    sys.modules[NAME] = module
    torch._dynamo = module
    sys.meta_path.insert(0, Submodules(module))
