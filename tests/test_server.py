"""The whole panel: every route behind the guard, the page mounted correctly, and the server as a process."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from onetrainer_gradio.cli import GENERATE, PanelOptions
from onetrainer_gradio.errors import CommandLineError
from onetrainer_gradio.server import (
    QUEUE_ACTIONS,
    QUEUE_LIMIT,
    QUEUE_SLEEP_S,
    QUEUE_SLEEPS,
    Notice,
    PanelSettings,
    address_of,
    listen,
    main,
    make_app,
    panel_settings,
    reduce_queue_polling,
)
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.panel_process import REHEARSAL, Running, wait_for

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel

TOKEN = "a-token-for-programs"
OPEN_PATHS = {"/login", "/api/login", "/health", "/health/live", "/setup", "/api/setup", "/login/start", "/login/callback"}

HEAVY_FOR_A_PANEL = ("torch", "diffusers", "transformers", "accelerate", "peft")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("panel")
    access = AccessSettings(token=TOKEN)
    return make_app(PanelSettings(data_folder=folder, in_process=True, backend=REHEARSAL, demo=True, access=access))


@pytest.fixture(scope="module")
def client(app) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False) as client:
        yield client


def routes(found, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return method and path of every route, including those of included routers and mounted apps."""
    for route in found:
        if isinstance(route, Mount):
            yield from routes(route.routes, prefix + route.path)
        elif hasattr(route, "original_router"):
            yield from routes(route.original_router.routes, prefix + route.include_context.prefix)
        elif isinstance(route, WebSocketRoute) or not getattr(route, "methods", None):
            yield "WEBSOCKET", prefix + route.path
        else:
            yield from ((method, prefix + route.path) for method in route.methods)


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


def test_no_route_answers_without_credentials(app):
    """No route of the app, including Gradio's own, answers a request without credentials."""
    found = sorted(set(routes(app.routes)))
    assert len(found) > 90
    assert {path for _, path in found} >= {"/ws", "/docs", "/redoc", "/openapi.json", "/", "/config", "/gradio_api/queue/join"}
    for method, path in found:
        stranger = TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False)
        if method == "WEBSOCKET":
            with stranger.websocket_connect(f"ws://127.0.0.1:7860{path}") as socket, pytest.raises(WebSocketDisconnect) as end:
                socket.receive_text()
            assert end.value.code == 4401
        elif path not in OPEN_PATHS:
            reply = stranger.request(method, filled(path))
            assert reply.status_code == 401, f"{method} {path}"
            assert reply.json()["ok"] is False if method != "HEAD" else True
            page = stranger.get(filled(path), headers={"Accept": "text/html"})
            assert page.status_code in {303, 401}, path


@pytest.mark.exhaustive
def test_with_credentials_every_readable_route_answers(client, app):
    """With credentials, the guard lets every page and path respond, and Gradio's page too."""
    known = {"Authorization": f"Bearer {TOKEN}"}
    answered = 0
    for method, path in sorted(set(routes(app.routes))):
        if method == "GET" and not path.startswith(("/gradio_api", "/monitoring", "/svelte", "/static", "/assets")):
            reply = client.get(filled(path), headers=known)
            assert reply.status_code not in {401, 403}, f"{path}: {reply.text}"
            assert reply.status_code < 500, f"{path}: {reply.text}"
            answered += reply.status_code == 200
    assert answered > 20


def test_the_page_comes_with_its_parts_and_nothing_from_elsewhere(client):
    known = {"Authorization": f"Bearer {TOKEN}"}
    page = client.get("/", headers=known)
    assert page.status_code == 200
    outside = [address for address in re.findall(r"(?:src|href)=[\"']([^\"']+)", page.text) if re.match(r"(https?:)?//", address)]
    assert [address for address in outside if "127.0.0.1:7860" not in address] == []
    own = set(re.findall(r"panel/[0-9a-f]+/[\w.]+", page.text))
    assert own
    for address in own:
        assert client.get("/" + address, headers=known).status_code == 200


def test_the_page_is_mounted_without_what_we_do_not_want(client):
    """There are no analytics, no input history in the browser, no permanent connection and no traceback in the browser."""
    config = client.get("/config", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert config["analytics_enabled"] is False
    assert config["connect_heartbeat"] is False
    assert config["show_error"] is False
    assert not config.get("footer_links")
    assert not config.get("run_history")
    assert not config.get("pwa")
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_the_demo_is_the_current_configuration(client):
    reply = client.get("/api/config/current", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert reply["name"] == "Demo LoRA"


def test_the_queue_of_the_page_sleeps_longer():
    """These Gradio settings are private.

    If this fails, find their new names; otherwise an idle panel wakes up 1000 times a second.
    """
    import gradio

    with gradio.Blocks() as blocks:
        gradio.Button()
    assert reduce_queue_polling(blocks) == (*QUEUE_SLEEPS, QUEUE_LIMIT)
    assert blocks._queue.sleep_when_free == QUEUE_SLEEP_S
    assert blocks._queue.max_thread_count == QUEUE_ACTIONS


def test_a_busy_port_is_passed_by_unless_it_was_asked_for(monkeypatch):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandLineError, match=str(port)):
            listen("127.0.0.1", port)
        monkeypatch.setattr("onetrainer_gradio.cli.DEFAULT_PORT", port)
        with listen("127.0.0.1", None) as other:
            assert 0 < other.getsockname()[1] - port <= 20


def test_an_address_that_is_not_ours_is_one_clear_error():
    with pytest.raises(CommandLineError, match="no-such-host"):
        listen("no-such-host.invalid", 0)


@pytest.mark.parametrize("words", [["--host", "0.0.0.0"], ["--share"], ["--host", "::"]])
def test_an_open_door_without_a_lock_is_rejected(words, tmp_path, capsys, monkeypatch):
    for name in ("ONETRAINER_GRADIO_PASSWORD", "ONETRAINER_GRADIO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert main([*words, "--data", str(tmp_path / "data")]) == 2
    output = capsys.readouterr().err
    assert output.startswith("onetrainer-gradio: error: ")
    assert "--password" in output
    assert not (tmp_path / "data").exists()


def test_on_a_space_a_password_is_needed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/panel")
    assert main(["--data", str(tmp_path)]) == 2
    assert "Space" in capsys.readouterr().err


@pytest.fixture
def panels() -> Iterator[list[Running]]:
    """Start panels and kill them after the test."""
    started: list[Running] = []
    yield started
    for panel in started:
        panel.kill()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_panel_is_light_alone_and_quick_to_stop(panels, tmp_path, capsys):
    """Its process doesn't load torch and needs little memory; a second panel on
    its data is rejected; a viewer doesn't delay its end.
    """
    import psutil
    from websockets.sync.client import connect

    panel = Running(tmp_path)
    panels.append(panel)
    assert httpx.get(panel.address + "/").status_code == 200
    assert psutil.Process(panel.process.pid).memory_info().rss < 250e6
    if sys.platform == "linux":
        loaded = Path(f"/proc/{panel.process.pid}/maps").read_text()
        assert not [name for name in HEAVY_FOR_A_PANEL if f"site-packages/{name}/" in loaded]
    assert main(["--port", "0", "--data", str(tmp_path), "--no-open"]) == 1
    assert panel.address in capsys.readouterr().err
    with connect(panel.address.replace("http", "ws") + "/ws") as viewer:
        assert json.loads(viewer.recv(timeout=5))["type"] == "connected"
        status, output, seconds = panel.end(signal.SIGINT)
    assert (status, seconds < 10) == (0, True), output
    assert "The panel is stopping." in output
    assert "Traceback" not in output
    assert not (tmp_path / "panel.json").exists()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_requests_that_wait_do_not_hold_up_the_end(panels, tmp_path):
    """60 requests that wait for a command are answered when the panel stops; only the notice is logged."""
    panel = Running(tmp_path)
    panels.append(panel)
    assert httpx.get(panel.address, timeout=60).status_code == 200  # the page has loaded: an import can't be interrupted
    port = int(panel.address.rpartition(":")[2])
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(60)]
    for connection in waiting:
        connection.sendall(b"GET /api/commands/x?wait=30 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert httpx.get(panel.address + "/api/training/status", timeout=30).status_code == 200
    time.sleep(1)
    status, output, seconds = panel.end()
    assert status == 0
    assert seconds < 8, output  # 0.5 s on an idle machine
    assert "Traceback" not in output
    assert "Cancel" not in output
    assert {connection.recv(12) for connection in waiting} == {b"HTTP/1.1 200"}
    for connection in waiting:
        connection.close()


@pytest.mark.slow
@pytest.mark.exhaustive  # in .ci/run, tests/chaos/test_kills.py kills the panel
def test_a_run_outlives_the_panel_and_is_found_again(panels, tmp_path):
    """SIGTERM ends the panel with a message that the run continues; a new panel shows the run and stops it."""
    from onetrainer_gradio.config.files.documents import to_document
    from tests.fakes.configs import small_config

    document = to_document(small_config(tmp_path / "material"), packed=True)
    data = tmp_path / "data"
    first = Running(data, "--backend", REHEARSAL)
    panels.append(first)
    options = {"tags": ["hold=1"]}
    reply = httpx.post(first.address + "/api/training/start", json={"config": document, "options": options})
    run_id = reply.json()["run_id"]
    wait_for(first.address, lambda state: state["update_step"] == 1)
    status, output, _ = first.end()
    assert status == 0
    assert "keeps training" in output
    second = Running(data, "--backend", REHEARSAL)
    panels.append(second)
    state = wait_for(second.address, lambda state: state["update_step"] == 1)
    assert (state["run_id"], state["is_training"]) == (run_id, True)
    assert httpx.post(second.address + "/api/training/stop").status_code == 200
    state = wait_for(second.address, lambda state: not state["is_training"])
    assert state["end_reason"] == "stopped"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_given_token_is_never_shown_and_the_printed_link_works_once(panels, tmp_path):
    panel = Running(tmp_path, ONETRAINER_GRADIO_TOKEN=TOKEN)
    panels.append(panel)
    link = re.search(r"http://\S+", panel.startup_output)[0]
    pages = {"Accept": "text/html"}
    with (
        httpx.Client(follow_redirects=True, headers=pages) as first,
        httpx.Client(follow_redirects=True, headers=pages) as second,
    ):
        assert first.get(link).url.path == "/"
        assert first.get(panel.address + "/api/runs").status_code == 200
        assert second.get(link).url.path == "/login"
    _, output, _ = panel.end()
    assert TOKEN not in panel.startup_output + output


def test_a_token_that_was_made_up_is_shown_at_the_start():
    out = io.StringIO()
    access = Access(AccessSettings(token="made up for this start"))
    Notice(access, PanelOptions(token=GENERATE), 7860, "made up for this start", time.monotonic(), out).started()
    assert "made up for this start" in out.getvalue()
    link = re.search(r"http://127.0.0.1:7860/\?token=(\S+)", out.getvalue())[1]
    assert access.use_link(link, "anybody")


@pytest.mark.parametrize(
    ("state", "in_process", "part"),
    [
        ({"is_training": False}, False, "The panel is stopping."),
        ({"is_training": True, "name": "mine"}, False, "Run mine keeps training"),
        ({"is_training": True, "name": "", "run_id": "r1"}, True, "Run r1 finishes its step"),
    ],
)
def test_at_the_end_the_terminal_reports_what_becomes_of_the_run(state, in_process, part):
    out = io.StringIO()
    Notice(Access(AccessSettings()), PanelOptions(in_process=in_process), 1, "", 0.0, out).stopping(lambda: state)
    assert part in out.getvalue()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:1/"),
        ("0.0.0.0", "http://127.0.0.1:1/"),
        ("::1", "http://[::1]:1/"),
        ("box", "http://box:1/"),
    ],
)
def test_the_printed_address_is_one_that_works(host, address):
    assert address_of(host, 1) == address


def test_a_free_port_is_free():
    """The listening socket is the served one."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5):
        pass


@pytest.mark.parametrize(
    ("options", "closed"),
    [
        (PanelOptions(), False),
        (PanelOptions(host="0.0.0.0"), True),
        (PanelOptions(share=True), True),
        (PanelOptions(hosted=True), True),
        (PanelOptions(public_hosts=("panel.example.org",)), True),
        (PanelOptions(public_hosts=("localhost",)), False),
    ],
)
def test_only_a_panel_of_this_machine_takes_checkouts_from_its_page(options: PanelOptions, closed: bool) -> None:
    """Adding a checkout means choosing a program to run, so from other machines only the command line can do it."""
    assert panel_settings(options).closed_checkouts is closed


@pytest.mark.exhaustive
def test_the_log_as_json_has_one_object_per_line_and_no_secret(tmp_path):
    """This includes the log lines of the server and of libraries."""
    panel = Running(tmp_path / "data", "--log-format", "json", "--log-level", "info", ONETRAINER_GRADIO_TOKEN=TOKEN)
    try:
        reply = httpx.get(f"{panel.address}/api/training/status?token={TOKEN}", headers={"X-Request-ID": "trace-0123456789"})
        assert reply.status_code == 401
        known = {"Authorization": f"Bearer {TOKEN}", "X-Request-ID": "trace-9876543210"}
        assert httpx.get(f"{panel.address}/api/training/status", headers=known).status_code == 200
        panel.end()
        lines = [json.loads(line) for line in panel.errors().splitlines()]
    finally:
        panel.kill()
    by_id = {line["request_id"]: line for line in lines if "duration_ms" in line}
    assert by_id["trace-0123456789"]["status"] == 401
    assert by_id["trace-9876543210"]["route"] == "/api/training/status"
    assert any(line["logger"].startswith("uvicorn") for line in lines)
    assert TOKEN not in json.dumps(lines)
