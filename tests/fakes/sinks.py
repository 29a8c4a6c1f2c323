"""Services on this machine that receive notifications: an HTTP endpoint and a mail server."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HttpSink:
    """Keeps each request that it gets. ``statuses`` are those of its next responses, 200 afterwards; ``wait_s`` delays them."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        self.wait_s = 0.0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                time.sleep(sink.wait_s)
                status = sink.statuses.pop(0) if sink.statuses else 200
                if status == 200:
                    sink.received.append(json.loads(body))
                sink.paths.append(self.path)
                with contextlib.suppress(OSError):  # the client may be gone
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    @property
    def address(self) -> str:
        """Return the address for Apprise, with a password and a key in the path."""
        return f"json://someone:hunter2secret@127.0.0.1:{self.port}/keyofthehook"

    @property
    def titles(self) -> list[str]:
        """Return the titles of the received messages."""
        return [body["title"] for body in self.received]


@contextlib.contextmanager
def http_sink() -> Iterator[HttpSink]:
    """Serve an HTTP sink."""
    sink = HttpSink()
    with sink.server, _serving(sink.server):
        yield sink


class MailSink(socketserver.ThreadingTCPServer):
    """Keeps the text of each received mail."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.mails: list[str] = []
        super().__init__(("127.0.0.1", 0), _MailHandler)
        self.port = self.server_address[1]

    @property
    def address(self) -> str:
        """Return the address for Apprise."""
        return f"mailto://127.0.0.1:{self.port}/?from=panel@example.org&to=me@example.org&smtp=127.0.0.1&mode=insecure"


class _MailHandler(socketserver.StreamRequestHandler):
    server: MailSink

    def handle(self) -> None:
        self._say("220 sink")
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self._say("354 go")
                lines = []
                while (part := self.rfile.readline()) and part.rstrip(b"\r\n") != b".":
                    lines.append(part.decode())
                self.server.mails.append("".join(lines))
            if word == b"QUIT":
                self._say("221 bye")
                return
            self._say("250 sink")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextlib.contextmanager
def mail_sink() -> Iterator[MailSink]:
    """Serve a mail sink."""
    with MailSink() as sink, _serving(sink):
        yield sink


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
