"""Shorten Gradio's import: without the stub files that it writes for editors, and without pandas until something uses it.

Writing the stub files takes half of the import. Pandas takes a third of the rest and 30 MB; no component of the page uses it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import ModuleType

MODULE = "gradio.component_meta"
WRITER = "create_or_modify_pyi"
DEFERRED = "pandas"


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if hasattr(module, WRITER):
            setattr(module, WRITER, lambda *_: None)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in {MODULE, DEFERRED}:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            if fullname == MODULE:
                spec.loader = _Loader(spec.loader.name, spec.loader.path)
            else:
                spec.loader = LazyLoader(spec.loader)
        return spec


def shorten_import() -> None:
    """Shorten the import of Gradio from now on. Does nothing where it is imported already."""
    if MODULE not in sys.modules and not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
