"""The parsed source of the project: several tests look through all of it, and parsing takes most of their time."""

import ast
from functools import cache
from pathlib import Path


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Everything in a file, in the order of ``ast.walk``."""
    return tuple(ast.walk(tree(path)))
