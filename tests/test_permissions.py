"""The table of permissions against everything that the panel answers: no route, function or message without an entry."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from starlette.routing import Mount, WebSocketRoute

import onetrainer_gradio
from onetrainer_gradio.api.route_table import RouteTable
from onetrainer_gradio.server import PanelSettings, make_app, make_page
from onetrainer_gradio.service.people.permissions import PERMISSIONS, needed
from onetrainer_gradio.service.people.roles import Role
from tests.panel_process import REHEARSAL

pytestmark = pytest.mark.slow


def every_route(found, prefix: str = ""):
    """Method and path template of every route, those of included routers and mounted apps too."""
    for route in found:
        if isinstance(route, Mount):
            yield from every_route(route.routes, prefix + route.path)
        elif hasattr(route, "original_router"):
            yield from every_route(route.original_router.routes, prefix + route.include_context.prefix)
        elif isinstance(route, WebSocketRoute) or not getattr(route, "methods", None):
            yield "WEBSOCKET", prefix + route.path
        else:
            yield from ((method, prefix + route.path) for method in sorted(route.methods))


def filled(path: str, value: str = "x") -> str:
    return re.sub(r"\{[^}]*\}", value, path)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return make_app(PanelSettings(data_folder=tmp_path_factory.mktemp("panel"), in_process=True, backend=REHEARSAL))


def test_every_route_has_an_entry(app):
    """Whatever is on the app, Gradio's own routes included. If this fails: say the role of the new route in the table."""
    table = RouteTable(app.routes)
    found = sorted(set(every_route(app.routes)))
    assert len(found) > 200
    missing = []
    for method, path in found:
        scope = {"type": "websocket" if method == "WEBSOCKET" else "http", "method": method, "path": filled(path)}
        matched = table.match(scope)
        if matched is None or needed(matched.key) is None:
            missing.append(f"{method} {path}")
    assert missing == []


def test_every_entry_is_a_route_or_is_asked_for(app):
    """No entry for what is gone, which would be a door that nobody looks at."""
    found = {f"{method} {path.rstrip('/') or '/'}" for method, path in every_route(app.routes)}
    source = "".join(path.read_text(encoding="utf-8") for path in Path(onetrainer_gradio.__file__).parent.rglob("*.py"))
    for key in PERMISSIONS:
        method, _, path = key.partition(" ")
        if method in {"gradio", "message"}:
            continue
        if " " in path:
            assert f'check(acting(), "{key}")' in source, key
            continue
        assert filled(key.rstrip("/") or key) in {filled(each) for each in found} or key == "GET /", key


def test_every_function_of_gradio_has_an_entry(app, tmp_path):
    """Buttons and functions of ``gradio_client``; for those with actions, each action."""
    blocks = next(
        route.app
        for page in [make_page(app.state.service, tmp_path)]
        for route in page.routes
        if isinstance(route, Mount) and hasattr(route.app, "get_blocks")
    ).get_blocks()
    names = {function.api_name for function in blocks.fns.values() if function.api_name and function.fn is not None}
    known = {key.split()[1] for key in PERMISSIONS if key.startswith("gradio ")}
    assert names == known
    source = (Path(onetrainer_gradio.__file__).parent / "ui" / "client.py").read_text(encoding="utf-8")
    actions = set()
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
        inside = list(ast.walk(function))
        calls = [node for node in inside if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_chosen"]
        tables = [node.value for node in inside if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)]
        for call, table in zip(calls, tables, strict=bool(calls)):
            actions |= {f"gradio {call.args[0].value} {key.value}" for key in table.keys}
    assert len(actions) > 15
    assert actions == {key for key in PERMISSIONS if key.startswith("gradio ") and key.count(" ") == 2}


def test_nothing_but_signing_in_is_open_to_everyone():
    opened = {key for key, role in PERMISSIONS.items() if role is Role.NOBODY}
    assert opened == {"GET /login", "POST /login", "POST /api/login", "GET /health", "GET /health/live"}
