"""HTTPS: the panel over TLS, certificate renewal without a restart, and the redirect from HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.testclient import TestClient
from websockets.sync.client import connect

from onetrainer_gradio import cli
from onetrainer_gradio.errors import CommandLineError
from onetrainer_gradio.https import CertificateWatch, HttpsOptions, RedirectToHttps, certificate_of
from onetrainer_gradio.service.host.certificates import own_certificate
from tests.panel_process import Running

TOKEN = "a-token-for-programs"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ssl-keyfile", __file__], "requires --ssl-certfile"),
        (["--ssl", "self", "--ssl-certfile", __file__], "can't be combined"),
        (["--redirect-http", "80"], "requires --ssl-certfile or --ssl self"),
        (["--ssl", "self", "--share", "--token"], "the link uses HTTPS without them"),
        (["--ssl", "other"], "invalid choice"),
        (["--trusted-proxy", "proxy"], "isn't an address"),
    ],
)
def test_options_that_do_not_fit_are_rejected(words, message):
    with pytest.raises(CommandLineError, match=message):
        cli.parse(words, {})


def test_trusted_proxies_come_from_options_and_environment():
    options = cli.parse(["--trusted-proxy", "10.0.0.7/24"], {"FORWARDED_ALLOW_IPS": "192.0.2.1, 192.0.2.2"})
    assert options.trusted_proxies == ("10.0.0.0/24", "192.0.2.1", "192.0.2.2")


def test_without_options_there_is_no_certificate(tmp_path):
    assert certificate_of(HttpsOptions(), tmp_path, "127.0.0.1", ()) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_renewed_certificate_is_used_without_a_restart(tmp_path):
    """New connections get the new certificate; the old one is used while the new files are only partly written."""
    first = own_certificate(tmp_path, ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(first.certfile, first.keyfile)
    options = HttpsOptions(certfile=first.certfile, keyfile=first.keyfile)
    renewed = []
    watch = CertificateWatch(first, context, lambda: certificate_of(options, tmp_path, "", ()), renewed.append)
    assert not watch.check()

    async def served() -> str:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        client = ssl.create_default_context()
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client)
        found = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        server.close()
        return found

    before = asyncio.run(served())
    certificate = first.certfile.read_bytes()
    first.certfile.write_text("")
    assert not watch.check()
    assert asyncio.run(served()) == before
    first.certfile.write_bytes(certificate)
    second = own_certificate(tmp_path, ["localhost", "other"])
    assert watch.check()
    assert asyncio.run(served()) != before
    assert [each.fingerprint for each in renewed] == [second.fingerprint]


def test_the_watch_renews_the_panels_own_certificate(tmp_path):
    first = own_certificate(tmp_path, ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    later = datetime.now(UTC) + timedelta(days=380)
    watch = CertificateWatch(first, context, lambda: own_certificate(tmp_path, ["localhost"], later))
    assert watch.check()
    assert watch.certificate.expires_at > first.expires_at


@pytest.mark.parametrize(
    ("host", "port", "target"),
    [
        ("gpu-box.lan", 7860, "https://gpu-box.lan:7860/a%20b/?x=1&y=%2F"),
        ("gpu-box.lan:8080", 443, "https://gpu-box.lan/a%20b/?x=1&y=%2F"),
        ("[::1]:80", 7860, "https://[::1]:7860/a%20b/?x=1&y=%2F"),
    ],
)
def test_http_is_redirected_to_the_same_address(host, port, target):
    reply = TestClient(RedirectToHttps(port), follow_redirects=False).get("/a b/?x=1&y=%2F", headers={"Host": host})
    assert (reply.status_code, reply.headers["location"]) == (308, target)


@pytest.mark.parametrize("host", ["", "evil.example/@gpu-box", "a b", 'x"><script>', "user@evil.example"])
def test_a_strange_host_is_not_redirected(host):
    reply = TestClient(RedirectToHttps(443), follow_redirects=False).get("/", headers={"Host": host})
    assert reply.status_code == 400


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_panel_over_https(tmp_path):
    """Page, REST, WebSocket, secure cookie, fingerprint, and the redirect from HTTP."""
    redirect = free_port()
    panel = Running(tmp_path, "--ssl", "self", "--redirect-http", str(redirect), ONETRAINER_GRADIO_TOKEN=TOKEN)
    try:
        assert panel.address.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=tmp_path / "https" / "certificate.pem")
        trusted.verify_flags |= ssl.VERIFY_X509_STRICT
        with httpx.Client(verify=trusted, base_url=panel.address, timeout=60) as client:
            reply = client.post("/api/login", json={"password": TOKEN})
            assert "Secure" in reply.headers["set-cookie"]
            assert "strict-transport-security" not in reply.headers  # its own certificate, and not the default port
            info = client.get("/api/system/info").json()["https"]
            assert info["fingerprint"] in panel.startup_output
            assert info["own"] is True
            assert client.get("/", headers={"Accept": "text/html"}).status_code == 200
            cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        port = panel.address.rpartition(":")[2]
        with connect(f"wss://127.0.0.1:{port}/ws", ssl=trusted, additional_headers={"Cookie": cookie}) as live:
            assert json.loads(live.recv(timeout=20))["type"] == "connected"
        moved = httpx.get(f"http://127.0.0.1:{redirect}/?a=1")
        assert (moved.status_code, moved.headers["location"]) == (308, f"https://127.0.0.1:{port}/?a=1")
        assert "strict-transport-security" not in moved.headers
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/")
        status, output, _ = panel.end()
        assert status == 0
        assert "Traceback" not in output
    finally:
        panel.kill()


@pytest.mark.slow
def test_wrong_files_are_reported_before_the_server_starts(tmp_path, capsys):
    from onetrainer_gradio.server import main

    own = own_certificate(tmp_path / "a", ["localhost"])
    other = own_certificate(tmp_path / "b", ["localhost"])
    words = ["--data", str(tmp_path / "data"), "--ssl-certfile", str(own.certfile), "--ssl-keyfile", str(other.keyfile)]
    assert main(words) == 2
    assert re.search(r"error: The private key .* doesn't belong to the certificate\.", capsys.readouterr().err)
