"""Shorten Gradio's import: without what it writes for editors and their help, and without pandas until something uses it.

Writing the stub files takes half of the import. Pandas takes a third of the rest and 30 MB; no component of the page uses it.
Docstrings of events are compiled as templates of Jinja to insert one name: a quarter of what is left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any

MODULE = "gradio.component_meta"
WRITER = "create_or_modify_pyi"
EVENTS = "gradio.events"
DEFERRED = "pandas"
COMPONENT = "{{ component }}"


def _without_stub_files(module: ModuleType) -> None:
    if hasattr(module, WRITER):
        setattr(module, WRITER, lambda *_: None)


def _without_templates(module: ModuleType) -> None:
    listener: Any = getattr(module, "EventListener", None)
    if hasattr(listener, "set_doc"):
        listener.set_doc = _set_doc


def _set_doc(event: Any, component: str) -> None:
    if event.listener.__doc__:
        event.listener.__doc__ = event.listener.__doc__.replace(COMPONENT, component)


CHANGED: Mapping[str, Callable[[ModuleType], None]] = {MODULE: _without_stub_files, EVENTS: _without_templates}
"""What is changed in a module right after its import."""


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        CHANGED[module.__name__](module)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in {*CHANGED, DEFERRED}:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            if fullname in CHANGED:
                spec.loader = _Loader(spec.loader.name, spec.loader.path)
            else:
                spec.loader = LazyLoader(spec.loader)
        return spec


def shorten_import() -> None:
    """Shorten the import of Gradio from now on. Does nothing where it is imported already."""
    if MODULE not in sys.modules and not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
