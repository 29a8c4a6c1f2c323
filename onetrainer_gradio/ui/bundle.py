"""Bundle modules that are always needed together into one file: a browser loads six files at a time, and each request takes time.

The sources stay plain modules, which the tests run unchanged. Bundles are built when the panel starts: each module becomes a
function that is called once and returns its exports. Comments are removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

_IMPORT = re.compile(r"^import \{([^}]*)\} from '\./([\w-]+\.js)';\n", re.MULTILINE)
_DYNAMIC = re.compile(r"\bimport\('\./([\w-]+\.js)'\)(?!\.[A-Z])")
# a comment that has its lines to itself; no text of the scripts has a line that begins like one
_COMMENT = re.compile(r"^[ \t]*(?://.*|/\*(?:.|\n)*?\*/[ \t]*)\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async function|function|class|const) (\w+))", re.MULTILINE)
# what the rewriting doesn't support: other forms of import and export, and top-level await
_UNSUPPORTED = re.compile(r"^(?:import (?!\{)|export (?!async function|function|class|const)|await ).*", re.MULTILINE)


class BundleError(Exception):
    """The scripts use a form of import or export that the bundles can't hold, or import each other in a circle."""


@dataclass(frozen=True)
class Module:
    """A script: what it imports at once and on demand, and what it exports."""

    name: str
    text: str
    imports: tuple[str, ...]
    later: tuple[str, ...]
    exports: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The name of its exports within a bundle."""
        return "$" + PurePath(self.name).stem.replace("-", "_")


def module(name: str, text: str) -> Module:
    """Read the imports and exports of a script."""
    return Module(
        name,
        text,
        tuple(dict.fromkeys(found[1] for found in _IMPORT.findall(text))),
        tuple(dict.fromkeys(_DYNAMIC.findall(text))),
        tuple(found[1] for found in _EXPORT.findall(text)),
    )


def in_order(modules: Mapping[str, Module], roots: Iterable[str]) -> list[str]:
    """Return the roots and all they import at once, each after what it imports.

    :raises BundleError: when modules import each other in a circle.
    """
    found: dict[str, None] = {}

    def visit(name: str, path: Sequence[str]) -> None:
        if name in path:
            raise BundleError(f"The scripts import each other in a circle: {' → '.join((*path[path.index(name) :], name))}")
        if name not in found:
            for each in modules[name].imports:
                visit(each, (*path, name))
            found[name] = None

    for root in roots:
        visit(root, ())
    return list(found)


def bundled(sources: Mapping[str, str], bundles: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the scripts to serve.

    ``bundles`` maps the name of each bundle to its modules. A bundle also contains what these import, except for modules of an
    earlier bundle. The other scripts stay separate files that import from the bundles.
    """
    modules = {name: module(name, text) for name, text in sources.items()}
    home: dict[str, str] = {}
    for bundle, roots in bundles.items():
        home |= dict.fromkeys((name for name in in_order(modules, roots) if name not in home), bundle)
    served = {}
    for bundle in bundles:
        inside = [modules[name] for name, where in home.items() if where == bundle]
        served[bundle] = _bundle(bundle, inside, modules, home)
    for name, each in modules.items():
        if name not in home:
            served[name] = _outside(each, modules, home)
    return served


def _bundle(bundle: str, inside: Iterable[Module], modules: Mapping[str, Module], home: Mapping[str, str]) -> str:
    parts, needed = [], set()
    for each in inside:
        if unsupported := _UNSUPPORTED.search(each.text):
            raise BundleError(f"{each.name} can't be part of {bundle}: {unsupported[0]}")
        needed |= {name for name in each.imports if home[name] != bundle}
        text = _IMPORT.sub(lambda found: f"const {{{_renamed(found[1])}}} = {modules[found[2]].variable};\n", each.text)
        text = _COMMENT.sub("", _EXPORT.sub(r"\1", _later(text, bundle, modules, home)))
        parts.append(f"const {each.variable} = (() => {{\n{text}return {{ {', '.join(each.exports)} }};\n}})();\n")
    exports = ", ".join(each.variable for each in inside)
    return f"{_heads(needed, modules, home)}{''.join(parts)}export {{ {exports} }};\n"


def _outside(each: Module, modules: Mapping[str, Module], home: Mapping[str, str]) -> str:
    def own(found: re.Match[str]) -> str:
        return f"const {{{_renamed(found[1])}}} = {modules[found[2]].variable};\n" if found[2] in home else found[0]

    needed = {name for name in each.imports if name in home}
    return _heads(needed, modules, home) + _later(_IMPORT.sub(own, each.text), "", modules, home)


def _heads(needed: set[str], modules: Mapping[str, Module], home: Mapping[str, str]) -> str:
    by_bundle: dict[str, list[str]] = {}
    for name in sorted(needed):
        by_bundle.setdefault(home[name], []).append(modules[name].variable)
    return "".join(f"import {{ {', '.join(names)} }} from './{bundle}';\n" for bundle, names in by_bundle.items())


def _later(text: str, bundle: str, modules: Mapping[str, Module], home: Mapping[str, str]) -> str:
    def rewritten(found: re.Match[str]) -> str:
        where = home.get(found[1])
        if where is None:
            return found[0]
        variable = modules[found[1]].variable
        return f"Promise.resolve({variable})" if where == bundle else f"import('./{where}').then((all) => all.{variable})"

    return _DYNAMIC.sub(rewritten, text)


def _renamed(names: str) -> str:
    return names.replace(" as ", ": ")
