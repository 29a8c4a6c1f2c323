"""Requests that no client of ours sends: each gets a response below 500, and the panel keeps working."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.api.conftest import ADDRESS, rehearsal_service
from tests.fakes.configs import small_config
from tests.fakes.estimates import Computed
from tests.log_records import LogRecords

pytestmark = pytest.mark.slow

HALF = "\ud83d"  # half of an emoji: JSON can express it, UTF-8 can't
NUMBERS = ["²", "१", "１", "-1", "+1", "1_0", "0x1", "1e3", "9" * 30, "9" * 5000, " 1", "1.0", "", "%00"]
PATHS = [
    HALF,
    f"/tmp/{HALF}/x",
    "\udcff",
    "a\0b",
    "\0",
    "x" * 300,
    "/" + "x/" * 3000,
    "x" * 100_000,
    "~nobody-of-this-name/x",
    "/proc/self/mem",
    "/dev/full",
    "\n",
    "C:\\x",
    "//",
    "file:///etc",
    "/etc/shadow/x",
    ".." * 2000,
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, str, dict[str, Any]]]:
    """A client, the id of a finished run, and a configuration."""
    folder = tmp_path_factory.mktemp("hostile")
    service = rehearsal_service(folder / "data", estimator=Computed)
    document = to_document(small_config(folder / "material"), packed=True)
    with TestClient(create_api(service, Access(AccessSettings())), base_url=ADDRESS) as client:
        options = {"tags": ["sample_every=10", "backup_every=10"]}
        run_id = client.post("/api/training/start", json={"config": document, "options": options}).json()["run_id"]
        service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
        yield client, run_id, document


@pytest.fixture(autouse=True)
def _nothing_failed(log_records: LogRecords) -> Iterator[None]:
    with log_records.at_level(logging.ERROR):
        yield
    assert not [record.message for record in log_records.records if record.name.endswith("api.failures")]


def answered(reply) -> int:
    """Return the status of a response, which is no server error and has our format."""
    assert reply.status_code < 500, f"{reply.request.method} {reply.url}: {reply.text[:500]}"
    if reply.status_code >= 400 and reply.request.method != "HEAD":
        assert reply.json()["ok"] is False
    return reply.status_code


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: ascii(number[:12]))
def test_text_where_a_number_belongs(target, number):
    """Text that only some functions of Python parse as a number is no id, index or amount."""
    client, run_id, document = target
    for path in (
        f"/api/runs/{run_id}/files/{number}",
        f"/api/samples/{run_id}.{number}",
        f"/api/samples/{run_id}.{number}/image",
        f"/api/samples/{run_id}.{number}/thumbnail?w={number}",
        f"/api/samples/list?before={run_id}.{number}&limit={number}",
        f"/api/runs/{run_id}/journal?since={number}&limit={number}",
        f"/api/runs/{run_id}/metrics?buckets={number}&first={number}&last={number}",
        f"/api/runs/{run_id}/log?offset={number}",
        f"/api/commands/x?wait={number}",
        f"/api/events?since={number}",
    ):
        answered(client.get(path))
    revision = client.get("/api/config/current").json()["revision"]
    for setting in (f"concepts.{number}.path", f"samples.{number}.seed", f"{number}", f"concepts.{number}"):
        changes = {"revision": revision, "changes": {setting: 1}}
        assert answered(client.patch("/api/config/current", json=changes)) in {409, 422}
    for key in ("resolution", "frames", "device_indexes", "train_device", "epochs", "learning_rate", "layer_filter"):
        changed = {**document, key: number, "multi_gpu": True}
        answered(client.post("/api/config/validate", json=changed))


@pytest.mark.parametrize("value", [2**63, 2**64, 10**400, -(10**400), 1e308, -0.0, 10**4000], ids=lambda value: str(value)[:8])
def test_numbers_of_any_size(target, value):
    """JSON allows numbers that no machine register can hold."""
    client, run_id, document = target
    text = json.dumps({**document, "epochs": value, "learning_rate": value, "resolution": value, "an_unknown_key": value})
    for path in ("/api/config/validate", "/api/config/migrate", "/api/config/import"):
        answered(client.post(path, content=text, headers={"Content-Type": "application/json"}))
    answered(client.post("/api/concepts/preview", json={"index": 0, "image_index": value, "seed": value, "width": 100}))
    answered(client.get(f"/api/runs/{run_id}/metrics?first={value}&last={value}"))
    answered(client.get("/api/config/current"))
    answered(client.get("/api/config/export"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", PATHS, ids=lambda path: ascii(path[:12]))
def test_text_that_no_path_can_hold(target, path):
    """Every endpoint that accepts a path rejects it, or reports that nothing is there."""
    client, _, document = target

    def post(address: str, body: Any, method: str = "POST") -> int:
        text = json.dumps(body)
        return answered(client.request(method, address, content=text, headers={"Content-Type": "application/json"}))

    changed = json.loads(json.dumps(document))
    for concept in changed["concepts"]:
        concept["path"] = path
        concept["text"] = {"tag_dropout_special_tags": f"{path}.txt", "prompt_path": path, "prompt_source": "concept"}
    for sample in changed.get("samples") or []:
        sample["base_image_path"] = sample["mask_image_path"] = path
    names = ("workspace_dir", "cache_dir", "debug_dir", "base_model_name", "output_model_destination", "lora_model_name")
    changed.update(dict.fromkeys(names, path))
    changed["debug_mode"] = True
    assert post("/api/config/validate", changed) == 200
    assert post("/api/config/validate", {**document, "concepts": None, "concept_file_name": path}) == 200
    service = client.app.state.service
    assert post("/api/training/start", changed) in {403, 422}
    assert post("/api/training/start", {"config": document, "options": {"resume_from": path}}) in {200, 403, 404, 409, 422}
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
    assert post("/api/training/start", {"config": document, "options": {"checkout": path, "backend": "onetrainer"}}) in {
        404,
        409,
        422,
    }
    post("/api/config/migrate", changed)
    post("/api/config/migrate", {path: path})
    post("/api/files/folder", {"path": path, "name": path})
    post("/api/config/libraries", {"folder": path, "title": path})
    post("/api/onetrainer/inspect", {"folder": path, "python": path})
    post("/api/onetrainer/checkouts", {"folder": path, "python": path})
    post("/api/config/save", {"name": path})
    post("/api/config/rename", {"name": path, "to": path})
    post("/api/config/diff", {"left": {"kind": "document", "document": changed}, "right": {"kind": "saved", "name": path}})
    post("/api/samples/custom", {"prompt": path, "base_image_path": path})
    post("/api/login", {"password": path})
    post("/api/training/start", {"config": {**document, "save_filename_prefix": path}})
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
    revision = client.get("/api/config/current").json()["revision"]
    place = {"revision": revision, "changes": {"workspace_dir": path, "base_model_name": path, "concepts": changed["concepts"]}}
    post("/api/config/current", place, "PATCH")
    post("/api/concepts/statistics", {"changes": {"concepts": changed["concepts"]}})
    post("/api/concepts/preview", {"index": 0, "changes": {"concepts": changed["concepts"]}})
    post("/api/config/current", {"config": changed, "name": path}, "PUT")
    for address in ("current", "export", "diff?right=defaults", "list"):
        answered(client.get(f"/api/config/{address}"))
    answered(client.post("/api/config/validate", json={}))
    answered(client.get("/api/engines"))
    with client.websocket_connect("ws://127.0.0.1:7860/ws") as socket:
        assert socket.receive_json()["type"] == "connected"
    post("/api/config/current", {"config": document, "name": "whole again"}, "PUT")


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", [each for each in PATHS if len(each) < 20_000], ids=lambda path: ascii(path[:12]))
def test_text_that_no_path_can_hold_in_an_address(target, path):
    client, run_id, _ = target
    text = "".join(f"%{byte:02X}" for byte in path.encode("utf-8", "surrogatepass"))
    for address in (
        f"/api/files?path={text}",
        f"/api/files?path={text}&nearest=true",
        f"/api/files?search={text}&hidden=1",
        f"/api/config/load/{text}",
        f"/api/config/presets/{text}",
        f"/api/config/presets?search={text}",
        f"/api/config/diff?right=saved:{text}",
        f"/api/config/export?name={text}",
        f"/api/config/defaults?model_type={text}&method={text}",
        f"/api/runs/{text}",
        f"/api/runs/{run_id}/files/{text}",
        f"/api/runs/{run_id}/journal?types={text}",
        f"/api/runs/{run_id}/metrics?columns={text}",
        f"/api/samples/{text}",
        f"/api/samples/list?run_id={text}",
        f"/api/samples/list?before={text}",
        f"/api/samples/parameters?model_type={text}",
        f"/api/concepts/images/{text}",
        f"/api/commands/{text}",
        f"/api/onetrainer/checkouts/{text}",
        f"/api/onetrainer/checkouts/{text}/lists/concepts/{text}",
        f"/api/{text}",
        f"/login?next={text}",
        f"/docs/assets/{text}",
    ):
        reply = client.get(address, follow_redirects=False)
        assert reply.status_code < 500, f"{address[:80]}: {reply.text[:300]}"
    for method, address in (("DELETE", f"/api/config/{text}"), ("DELETE", f"/api/config/libraries/{text}")):
        answered(client.request(method, address))
    answered(client.delete(f"/api/onetrainer/checkouts/{text}"))


BODIES = {
    "empty": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"config": {}}'.encode("utf-16"),
    "BOM": b"\xef\xbb\xbf{}",
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "list": b"[]",
    "true": b"true",
    "NaN": b'{"learning_rate": NaN, "epochs": Infinity, "a": -Infinity}',
    "deep list": b"[" * 100_000,
    "deep and whole": b"[" * 20_000 + b"]" * 20_000,
    "deep object": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "deep in a setting": b'{"concepts": ' + b"[" * 900 + b"]" * 900 + b"}",
    "deep config": b'{"config": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "deep changes": b'{"revision": 1, "changes": {"concepts": ' + b"[" * 900 + b"]" * 900 + b"}}",
    "same key twice": b'{"epochs": 1, "epochs": "x", "config": {}, "config": 1}',
    "long number": b'{"epochs": ' + b"9" * 5000 + b', "revision": ' + b"9" * 5000 + b"}",
    "many keys": json.dumps({f"k{number}": number for number in range(20_000)}).encode(),
    "lists of lists": b'{"concepts": [[[]]], "samples": [{}], "optimizer": [], "secrets": 1, "additional_embeddings": {}}',
    "null everywhere": json.dumps(dict.fromkeys(TrainConfig.model_fields)).encode(),
    "zero characters": b'{"name": "\\u0000", "to": "\\u0000", "changes": {"\\u0000": "\\u0000"}, "revision": 1}',
}
TYPES = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "x",
    "application/json;charset=x",
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_make_no_sense(target, body):
    """Every documented path that accepts a body gets every kind of wrong body and content type."""
    client, run_id, _ = target
    documented = client.get("/openapi.json").json()["paths"]
    for path, methods in documented.items():
        address = path.replace("{run_id}", run_id)
        for key in ("command_id", "name", "sample_id", "image_id", "file_id", "checkout_id", "kind", "title"):
            address = address.replace(f"{{{key}}}", "x")
        for method in methods.keys() & {"post", "put", "patch"}:
            for kind in TYPES if body in {"empty", "text", "no JSON"} else TYPES[:1]:
                reply = client.request(method.upper(), address, content=BODIES[body], headers={"Content-Type": kind})
                answered(reply)
    answered(client.get("/api/config/current"))


HEADERS = [
    {"Range": value}
    for value in ("bytes=0-", "bytes=-1", "bytes=99999-", "bytes=5-1", "bytes=a-b", "x", "bytes=0-0,1-1", "bytes=" + "0-1," * 500)
]
HEADERS += [
    {name: value}
    for name in ("If-None-Match", "If-Modified-Since", "If-Range", "If-Match", "If-Unmodified-Since")
    for value in ("*", "x", "²", "Thu, 99 Foo 0000 99:99:99 GMT", '"' + "a" * 5000 + '"')
]
HEADERS += [{"Accept": value} for value in ("²", "image/*;q=²", "image/*;q=1e999", "image/*;q=nan, */*;q=inf", "," * 1000)]
HEADERS += [{"Cookie": value} for value in ("²", "=", ";;;", "a" * 20_000, "onetrainer_gradio_7860=²")]
HEADERS += [{"Authorization": value} for value in ("²", "Bearer", "Bearer ²", "Basic x", "Bearer " + "a" * 20_000)]
HEADERS += [{"X-Forwarded-Prefix": value} for value in ("²", "//x", "/..", "/a" * 200)]
HEADERS += [{"Host": f"127.0.0.1:{port}"} for port in ("²", "x", "999999", "")]
HEADERS += [{"Accept-Encoding": "²"}, {"Content-Encoding": "gzip"}, {"Expect": "200-maybe"}, {"Transfer-Encoding": "²"}]


@pytest.mark.exhaustive
@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: ascii(str(headers)[:30]))
def test_headers_that_make_no_sense(target, headers):
    client, run_id, _ = target
    files = client.get(f"/api/runs/{run_id}/files").json()["files"]
    sample = client.get("/api/samples/latest").json()["samples"][0]["id"]
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    for address in (
        *(f"/api/runs/{run_id}/files/{file['id']}" for file in files[:2]),
        f"/api/samples/{sample}",
        f"/api/samples/{sample}/image",
        f"/api/samples/{sample}/thumbnail",
        "/api/training/status",
        "/api/config/schema",
        "/login",
        "/docs",
        "/nowhere",
    ):
        for method in ("GET", "HEAD") if "/api/runs" in address else ("GET", "HEAD", "OPTIONS", "POST"):
            reply = client.request(method, address, headers=raw, follow_redirects=False)
            assert reply.status_code < 500, f"{method} {address}: {reply.text[:300]}"


@pytest.mark.parametrize("text", ["", "x", "{", "[" * 50_000, "²", "\0", "ping", '"ping"', "a" * 60_000])
def test_messages_to_the_live_view_that_make_no_sense(target, text):
    """The WebSocket stays open whatever is sent to it, including bytes."""
    client, _, _ = target
    with client.websocket_connect("ws://127.0.0.1:7860/ws") as socket:
        assert socket.receive_json()["type"] == "connected"
        socket.send_text(text)
        socket.send_bytes(text.encode("utf-8", "replace"))
        socket.send_text("ping")
        assert socket.receive_json()["type"] == "pong"


@pytest.mark.parametrize("since", ["²", "-1", "9" * 30, "x", "", "1.5", "NaN"])
def test_a_live_view_from_a_position_that_makes_no_sense(target, since):
    """It is rejected before it begins, or begins with the whole state."""
    client, _, _ = target
    with contextlib.suppress(WebSocketDisconnect), client.websocket_connect(f"ws://127.0.0.1:7860/ws?since={since}") as socket:
        assert socket.receive_json()["type"] == "connected"


def test_a_running_run_takes_prompts_that_no_file_can_hold(target):
    """Half a character in a prompt reaches the run and comes back; neither the command nor the run fails."""
    client, _, document = target
    service = client.app.state.service
    body = {"config": document, "options": {"tags": ["hold=1"], "name": HALF}}
    as_json = {"Content-Type": "application/json"}
    assert client.post("/api/training/start", content=json.dumps(body), headers=as_json).status_code == 200
    service.wait_for(lambda state: state["update_step"] == 1, 20)
    command = client.post("/api/samples/custom", content=json.dumps({"prompt": f"a {HALF} b"}), headers=as_json)
    assert answered(command) == 200
    outcome = client.get(f"/api/commands/{command.json()['command_id']}?wait=10").json()
    assert outcome["outcome"] in {"done", "refused"}
    answered(client.get("/api/samples/latest"))
    answered(client.get("/api/runs"))
    client.post("/api/training/stop")
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
