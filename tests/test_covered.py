"""Every module has a test: a file of its name, or a test that imports it or names it (or its folder) in its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import onetrainer_gradio
from tests.source import nodes, tree

PACKAGE = Path(onetrainer_gradio.__file__).parent
TESTS = Path(__file__).parent
NAME = PACKAGE.name


def modules() -> Iterator[Path]:
    """Return the modules that contain code; a package's ``__init__`` counts if it defines something."""
    for path in sorted(PACKAGE.rglob("*.py")):
        body = tree(path).body
        if path.name != "__init__.py" or any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body):
            yield path


def dotted(path: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join((NAME, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def named() -> set[str]:
    """Return the dotted modules that tests import, and the files and folders that their docstrings mention as paths."""
    found: set[str] = set()
    for path in TESTS.rglob("*.py"):
        for node in nodes(path):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        for word in (ast.get_docstring(tree(path)) or "").replace("(", " ").replace(")", " ").split():
            place = word.strip("`,.;:")
            if place.endswith(".py"):
                found.add(dotted(PACKAGE / place))
            elif place.endswith("/"):
                folder = PACKAGE / place
                found |= {dotted(path) for path in folder.glob("*.py")}
    return found


@pytest.mark.slow
def test_every_module_has_a_test() -> None:
    files = {path.name for path in TESTS.rglob("test_*.py")}
    known = named()
    without = [
        str(path.relative_to(PACKAGE)) for path in modules() if f"test_{path.stem}.py" not in files and dotted(path) not in known
    ]
    assert without == []
