"""The real nginx and Caddy in front of a real panel, with the files in ``deploy/proxies``."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from onetrainer_gradio.service.host.certificates import Certificate, own_certificate
from tests.panel_process import REHEARSAL, ROOT, Running

HOST = "panel.example.org"
TOKEN = "a-token-for-programs"
FILES = ROOT / "deploy" / "proxies"
# Debian installs nginx in a folder that only root's PATH has.
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


def program(name: str) -> str:
    """Return the path of a program; the test is skipped without it."""
    found = shutil.which(name, path=PATH)
    if found is None:
        message = f"{name} isn't installed: .ci/run installs it with apt-get"
        assert not os.environ.get("ONETRAINER_GRADIO_REQUIRE_PROXIES"), message
        pytest.skip(message)
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Proxy:
    """A proxy as a browser sees it: ``https://panel.example.org``, and below ``prefix``."""

    port: int
    http_port: int
    prefix: str
    trusted: ssl.SSLContext
    panel: Running
    headers: dict[str, str] = field(default_factory=lambda: {"Host": HOST, "Authorization": f"Bearer {TOKEN}"})

    def request(self, method: str, path: str, **more) -> httpx.Response:
        """Return the panel's response through the proxy."""
        headers = {**self.headers, **more.pop("headers", {})}
        with httpx.Client(verify=self.trusted, timeout=60) as client:
            address = f"https://127.0.0.1:{self.port}{self.prefix}{path}"
            return client.request(method, address, headers=headers, extensions={"sni_hostname": HOST}, **more)

    def live(self) -> ClientConnection:
        """Open a WebSocket through the proxy."""
        return connect(
            f"wss://{HOST}{self.prefix}/ws",
            sock=socket.create_connection(("127.0.0.1", self.port)),
            ssl=self.trusted,
            server_hostname=HOST,
            origin=f"https://{HOST}",
            additional_headers={"Authorization": f"Bearer {TOKEN}"},
        )

    def raw(self, data: bytes, timeout_s: float = 10) -> bytes:
        """Return what the proxy answers to these bytes."""
        with (
            socket.create_connection(("127.0.0.1", self.port)) as plain,
            self.trusted.wrap_socket(plain, server_hostname=HOST) as tls,
        ):
            tls.settimeout(timeout_s)
            tls.sendall(data)
            answer = b""
            try:
                while part := tls.recv(65536):
                    answer += part
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
            return answer


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return own_certificate(tmp_path_factory.mktemp("https"), [HOST])


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    words = (
        "--public-host",
        HOST,
        "--in-process",
        "--backend",
        REHEARSAL,
        "--demo",
        "--log-format",
        "json",
        "--log-level",
        "info",
    )
    running = Running(tmp_path_factory.mktemp("panel"), *words, ONETRAINER_GRADIO_TOKEN=TOKEN)
    yield running
    running.kill()


def nginx(folder: Path, text: str, ports: tuple[int, int, int], certificate: Certificate) -> list[str]:
    """Start nginx with a file of ours, as its main configuration includes it."""
    port, http_port, panel_port = ports
    if "server {" not in text:
        text = f"""server {{
            listen 443 ssl;
            server_name {HOST};
            ssl_certificate /a/fullchain.pem;
            ssl_certificate_key /a/privkey.pem;
            {text}
        }}"""
    text = re.sub(r"listen 443\b", f"listen 127.0.0.1:{port}", text)
    text = re.sub(r"listen 80\b", f"listen 127.0.0.1:{http_port}", text)
    text = re.sub(r"ssl_certificate .*;", f"ssl_certificate {certificate.certfile};", text)
    text = re.sub(r"ssl_certificate_key .*;", f"ssl_certificate_key {certificate.keyfile};", text)
    folders = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off;\nuser root;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}"
        f"{text.replace('127.0.0.1:7860', f'127.0.0.1:{panel_port}')}\n}}\n"
    )
    return [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, text: str, ports: tuple[int, int, int], certificate: Certificate) -> list[str]:
    """Start Caddy with one of our files, on other ports and without its own certificates."""
    port, http_port, panel_port = ports
    head = f"{{\n\tadmin off\n\thttp_port {http_port}\n\thttps_port {port}\n}}\n"
    site = f"{HOST} {{\n\tbind 127.0.0.1\n\ttls {certificate.certfile} {certificate.keyfile}\n"
    assert f"{HOST} {{\n" in text
    text = text.replace(f"{HOST} {{\n", site).replace("127.0.0.1:7860", f"127.0.0.1:{panel_port}")
    (folder / "Caddyfile").write_text(head + text)
    return [program("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES: dict[str, tuple[Callable[..., list[str]], str, str]] = {
    "nginx": (nginx, "nginx.conf", ""),
    "nginx-prefix": (nginx, "nginx-prefix.conf", "/train"),
    "caddy": (caddy, "Caddyfile", ""),
    "caddy-prefix": (caddy, "Caddyfile.prefix", "/train"),
}


@pytest.fixture(scope="session", params=PROXIES)
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Proxy]:
    start, name, prefix = PROXIES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    program(request.param.partition("-")[0])
    panel: Running = request.getfixturevalue("panel")
    port, http_port = free_port(), free_port()
    line = start(folder, (FILES / name).read_text(), (port, http_port, int(panel.address.rpartition(":")[2])), certificate)
    with (folder / "log").open("w+") as log:
        environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = subprocess.Popen(line, stdout=log, stderr=log, env=environment)
        try:
            for _ in range(200):
                assert process.poll() is None, (folder / "log").read_text()
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield Proxy(port, http_port, prefix, ssl.create_default_context(cafile=certificate.certfile), panel)
        finally:
            process.terminate()
            process.wait(10)
