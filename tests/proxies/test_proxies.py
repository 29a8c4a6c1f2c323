"""The panel behind the real nginx and Caddy: everything works as without them, and nobody can forge an identity."""

from __future__ import annotations

import hashlib
import json
import re
import time

import httpx
import pytest

from tests.proxies.conftest import HOST, Proxy

pytestmark = pytest.mark.slow

FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Host": "evil.example",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;proto=http;host=evil.example",
}


def logged(proxy: Proxy, request_id: str) -> dict:
    """Return the line of the panel's log about a request."""
    for _ in range(100):
        for line in proxy.panel.errors().splitlines():
            body = json.loads(line)
            if body.get("request_id") == request_id and "duration_ms" in body:
                return body
        time.sleep(0.05)
    raise AssertionError(f"no line about {request_id}")


def test_the_page_and_its_parts_load(proxy: Proxy):
    page = proxy.request("GET", "/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    parts = set(re.findall(r"panel/[0-9a-f]+/[\w.]+", page.text))
    assert parts
    for part in sorted(parts)[:3]:
        assert proxy.request("GET", f"/{part}").status_code == 200, part
    root = re.search(r'"root":\s*"([^"]+)"', page.text)
    assert root is None or root[1].startswith(f"https://{HOST}{proxy.prefix}"), root[1]


def test_the_address_without_its_slash_and_plain_http_lead_to_the_page(proxy: Proxy):
    if proxy.prefix:
        reply = proxy.request("GET", "", headers={"Accept": "text/html"})
        assert reply.status_code == 308
        assert reply.headers["location"].endswith("/train/")
    else:
        reply = httpx.get(f"http://127.0.0.1:{proxy.http_port}/runs?a=1", headers={"Host": HOST})
        assert reply.status_code == 308
        assert reply.headers["location"].startswith(f"https://{HOST}")
        assert reply.headers["location"].endswith("/runs?a=1")


def test_a_login_sets_a_secure_cookie_for_the_path(proxy: Proxy):
    stranger = {"Authorization": "", "Origin": f"https://{HOST}"}
    moved = proxy.request("GET", "/", headers={**stranger, "Accept": "text/html"})
    assert (moved.status_code, moved.headers["location"].partition("?")[0]) == (303, f"{proxy.prefix}/login")
    reply = proxy.request("POST", "/api/login", headers=stranger, json={"password": "a-token-for-programs"})
    assert reply.status_code == 200, reply.text
    cookie = reply.headers["set-cookie"]
    assert "Secure" in cookie
    assert f"Path={proxy.prefix}/" in cookie
    known = {"Authorization": "", "Cookie": cookie.partition(";")[0]}
    assert proxy.request("GET", "/api/training/status", headers=known).status_code == 200
    assert proxy.request("GET", "/api/training/status", headers={"Authorization": ""}).status_code == 401


def test_another_site_is_rejected(proxy: Proxy):
    reply = proxy.request("POST", "/api/queue/pause", headers={"Origin": "https://evil.example"})
    assert reply.status_code == 403


def test_events_of_a_run_arrive_over_the_websocket(proxy: Proxy):
    """They arrive from the run's start to its end, while it trains."""
    with proxy.live() as live:
        assert json.loads(live.recv(timeout=20))["type"] == "connected"
        live.send("ping")
        reply = proxy.request("POST", "/api/training/start", json={"options": {"name": "behind a proxy", "tags": ["steps=5"]}})
        assert reply.status_code == 200, reply.text
        run_id, kinds = reply.json()["run_id"], set()
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            message = json.loads(live.recv(timeout=20))
            kinds.add(message["type"])
            state = message.get("state") or {}
            if state.get("run_id") == run_id and state.get("end_reason") == "completed" and not state.get("process_running"):
                break
        assert {"pong", "training_state"} <= kinds
        assert state["end_reason"] == "completed"


def test_a_file_is_streamed_in_parts(proxy: Proxy):
    """An interrupted download continues where it stopped, and the parts equal those of the whole file."""
    run_id = proxy.request("POST", "/api/training/start", json={"options": {"tags": ["steps=2"]}}).json()["run_id"]
    for _ in range(200):
        if not proxy.request("GET", "/api/training/status").json()["is_training"]:
            break
        time.sleep(0.05)
    files = proxy.request("GET", f"/api/runs/{run_id}/files").json()["files"]
    name = next(str(each["id"]) for each in files if each["kind"] in {"model", "save"})
    path = f"/api/runs/{run_id}/files/{name}"
    whole = proxy.request("GET", path)
    assert whole.status_code == 200
    part = proxy.request("GET", path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, whole.content[2:5])
    assert part.headers["content-range"] == f"bytes 2-4/{len(whole.content)}"
    assert proxy.request("GET", path, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_a_large_upload_passes_and_a_larger_one_does_not(proxy: Proxy):
    name = f"uploads{proxy.port}"
    assert proxy.request("POST", "/api/datasets", json={"name": name}).status_code == 200
    # a valid image can't have zeros before and after it: text files accept any content
    content = (b"a caption\n" * 800_000)[:7_900_000]
    upload = proxy.request("POST", "/api/datasets/uploads", json={"dataset": name, "name": "a.txt", "bytes": len(content)}).json()
    sent = 0
    while sent < len(content):
        piece = content[sent : sent + upload["piece_bytes"]]
        digest = hashlib.sha256(piece).hexdigest()
        reply = proxy.request(
            "PUT", f"/api/datasets/uploads/{upload['id']}", params={"offset": sent, "sha256": digest}, content=piece
        )
        assert reply.status_code == 200, reply.text
        sent += len(piece)
    chunked = (content for _ in range(2))  # without Content-Length
    reply = proxy.request("PUT", f"/api/datasets/uploads/{upload['id']}", params={"offset": 0}, content=chunked)
    assert reply.status_code == 413


@pytest.mark.exhaustive
def test_an_answer_before_the_end_of_a_request_passes(proxy: Proxy):
    """If the connection were closed while the client still sends, the proxy would answer 502."""
    for _ in range(20):
        body = (b" " * 1_000_000 for _ in range(16))
        assert proxy.request("POST", "/api/config/validate", content=body).status_code == 413


def test_headers_of_a_client_do_not_pass(proxy: Proxy):
    """The panel trusts the proxy, so the proxy has to replace these headers."""
    request_id = f"forged-{proxy.port}-0001"
    reply = proxy.request("GET", "/", headers={**FORGED, "X-Request-ID": request_id, "Authorization": "", "Accept": "text/html"})
    assert reply.headers["location"].startswith(f"{proxy.prefix}/login?next=")
    assert "evil" not in str(reply.headers)
    assert "strict-transport-security" in reply.headers  # the scheme is that of the connection
    assert logged(proxy, request_id)["client"] == "127.0.0.1"


SMUGGLED = b"GET /api/smuggled HTTP/1.1\r\nHost: panel.example.org\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n",
        b"Content-Length: 0\r\nContent-Length: %d\r\n",
        b"Content-Length: +%d\r\n",
    ],
)
def test_a_second_request_in_a_body_is_never_answered(proxy: Proxy, head: bytes):
    """Proxy and panel agree where a request ends, or one of them rejects it."""
    body = b"0\r\n\r\n" + SMUGGLED
    lines = head % len(body) if b"%d" in head else head
    # the connection closes after the first request: only a smuggled one could still be answered
    start = b"POST %s/api/login HTTP/1.1\r\nHost: panel.example.org\r\nConnection: close\r\n" % proxy.prefix.encode()
    answer = proxy.raw(start + lines + b"\r\n" + body, timeout_s=3)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert b"smuggled" not in answer
    assert "smuggled" not in proxy.panel.errors()
