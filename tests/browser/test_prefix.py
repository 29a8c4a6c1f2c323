"""The page behind a reverse proxy that serves the panel below a path."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.browser.conftest import READY, Panel, tab_button

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]

PREFIX = "/train/box"
PASSWORD = "correct horse battery"
TOKEN = "a-token-for-programs"


@dataclass
class Proxy:
    """Removes ``PREFIX`` from requests, reports it to the panel, and records requests outside of it.

    There is one request per connection, so that only its head has to be read; a WebSocket is passed on unchanged.
    """

    target: int
    outside: list[str] = field(default_factory=list)

    def __enter__(self) -> Proxy:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                asking, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(asking,), daemon=True).start()

    def _pass(self, asking: socket.socket) -> None:
        with asking, asking.makefile("rb", buffering=0) as reading:
            first, *lines = iter(reading.readline, b"\r\n")
            method, path, version = first.split(b" ", 2)
            if not path.startswith(PREFIX.encode() + b"/"):
                self.outside.append(path.decode())
                asking.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if not any(line.lower().startswith(b"upgrade:") for line in lines):
                lines = [line for line in lines if not line.lower().startswith(b"connection:")] + [b"Connection: close\r\n"]
            stripped = b" ".join((method, path[len(PREFIX) :], version))
            head = [stripped, *lines, f"X-Forwarded-Prefix: {PREFIX}\r\n\r\n".encode()]
            with socket.create_connection(("127.0.0.1", self.target)) as panel:
                panel.sendall(b"".join(head))
                back = threading.Thread(target=_pump, args=(panel, asking), daemon=True)
                back.start()
                _pump(asking, panel)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of the two has closed, which ends the other


@pytest.fixture(scope="module")
def proxy(chromium, tmp_path_factory) -> Iterator[Proxy]:
    """A panel with a password behind a proxy."""
    folder = tmp_path_factory.mktemp("below")
    arguments = (*Panel.arguments, "--password", PASSWORD, "--token", TOKEN)
    panel = Panel(folder, arguments=arguments, token=TOKEN).start()
    panel.send("PUT", "api/config/current", {"config": panel.document, "name": "small"})
    try:
        with Proxy(panel.port) as proxy:
            yield proxy
    finally:
        panel.stop()


def test_the_whole_page_works_below_a_prefix(chromium, proxy):
    """Login, all tabs, the socket, a run by Gradio's buttons, its images and logout make no request outside the prefix."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("response", lambda reply: reply.status >= 400 and faults.append(f"{reply.status} {reply.url}"))
    sockets: list[str] = []
    page.on("websocket", lambda opened: sockets.append(opened.url))
    at = f"http://127.0.0.1:{proxy.port}{PREFIX}/"
    page.goto(at)
    assert page.url.startswith(f"{at}login")
    page.get_by_label("Password or token").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(at)
    page.locator(".og-link[data-state=live]").wait_for()
    assert sockets == [f"ws://127.0.0.1:{proxy.port}{PREFIX}/ws"]
    for tab, part in READY.items():
        tab_button(page, tab).click()
        page.locator(part).first.wait_for(state="attached")
    page.get_by_role("tab", name="Training").click()
    page.locator("#og-start").click()
    page.get_by_role("tab", name="Samples").click()
    image = page.locator(".og-tile img").first
    image.wait_for()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    page.get_by_role("tab", name="Training").click()
    page.locator("#og-stop").click()
    page.locator("#og-status").get_by_text("Stopped", exact=True).wait_for()
    page.goto(f"{at}docs")
    page.get_by_text("/api/training/status").first.wait_for()
    page.goto(at)
    page.wait_for_load_state("networkidle")  # a pending request would be answered 401 after the logout
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{at}login**")
    context.close()
    assert faults == []
    # a browser requests an icon of the site by itself
    assert [path for path in proxy.outside if path != "/favicon.ico"] == []
