"""Find the entry in the table of permissions for a request, before any route runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from re import Pattern
from typing import Any

from starlette.routing import BaseRoute, compile_path
from starlette.types import Scope

from onetrainer_gradio.service.people.permissions import PERMISSIONS

# The key of what the guard found in a request's scope.
MATCHED_KEY = "onetrainer_gradio.matched"


@dataclass(frozen=True)
class Matched:
    """The key of a route in the table, and the parameters in its path."""

    key: str
    parameters: dict[str, str]


@dataclass(frozen=True)
class _Template:
    path: str
    methods: frozenset[str]
    pattern: Pattern[str]


class RouteTable:
    """All routes in the order in which the app tries them: those of the API, then the paths of Gradio that the table has."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        own = list(_templates(routes))
        known = {template.path for template in own}
        self._by_method: dict[str, list[_Template]] = {}
        for template in (*own, *(each for each in _page_templates() if each.path not in known)):
            for method in template.methods:
                self._by_method.setdefault(method, []).append(template)

    def match(self, scope: Scope) -> Matched | None:
        """Return the first route that answers a request, or None if there is none."""
        method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
        for template in self._by_method.get(method, ()):
            if found := template.pattern.match(scope["path"]):
                return Matched(f"{method} {template.path}", found.groupdict())
        return None


def _templates(routes: Iterable[BaseRoute]) -> Iterator[_Template]:
    for route in routes:
        included: Any = getattr(route, "original_router", None)
        if included is not None:
            yield from _templates(included.routes)
        elif (path := getattr(route, "path", "")) and hasattr(route, "endpoint"):
            methods = getattr(route, "methods", None) or {"WEBSOCKET"}
            yield _Template(path, frozenset(methods), compile_path(path)[0])


def _page_templates() -> Iterator[_Template]:
    """Yield Gradio's paths. It answers each of them with and without a slash at the end."""
    methods: dict[str, set[str]] = {}
    for key in PERMISSIONS:
        method, _, path = key.partition(" ")
        if method.isupper() and " " not in path:
            methods.setdefault(path, set()).add(method)
    for path, allowed in methods.items():
        allowed |= {"HEAD"} if "GET" in allowed else set()
        yield _Template(path, frozenset(allowed), compile_path(path)[0])
        if not path.endswith(("/", "path}")):
            yield _Template(path, frozenset(allowed), compile_path(f"{path}/")[0])
