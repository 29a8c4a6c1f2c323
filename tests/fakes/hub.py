"""A stand-in for the Hugging Face Hub on the loopback: the part of its HTTP API that huggingface_hub calls, and its failures.

It searches and describes models, serves files with ``Range``, creates repositories, and accepts commits with small and LFS
files. ``python -m tests.fakes.hub PORT`` starts one that accepts every token that begins with ``hf_``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_FROM_BYTES = 10_000
_LFS_ENDINGS = (".safetensors", ".png", ".webp", ".bin")
_PIECE = 16_384


@dataclass
class Repository:
    """A model: its files by path, and its metadata."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: str | bool = False
    downloads: int = 0
    tags: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    kind: str = "model"
    asked: dict[str, Any] = field(default_factory=dict)
    """The request that created it."""
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        """The ID of the newest commit."""
        content = json.dumps([[path, _sha256(data)] for path, data in sorted(self.files.items())] + [self.commits])
        return hashlib.sha1(content.encode()).hexdigest()


@dataclass
class Account:
    """The owner of a token."""

    name: str
    writes: bool = True
    organizations: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    """Gated repositories whose conditions are accepted."""


@dataclass
class Fault:
    """A failure of requests whose ``METHOD path`` contains ``where``; ``times`` is how often."""

    where: str
    times: int = 1
    status: int = 0
    retry_after: int | None = None
    cut_after: int | None = None
    """The connection breaks off after this many bytes of the body."""
    bytes_per_s: float = 0.0
    wrong_bytes: bool = False


class FakeHub:
    """The stand-in, as a context manager. ``url`` is its address; ``requests`` are the methods and paths so far."""

    def __init__(self, port: int = 0) -> None:
        self.repositories: dict[str, Repository] = {}
        self.accounts: dict[str, Account] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self.uploaded: dict[str, bytes] = {}
        self.any_token = False
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, name: str, files: Mapping[str, bytes | str], **known: Any) -> Repository:
        """Add a model."""
        content = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        self.repositories[name] = Repository(name, content, **known)
        return self.repositories[name]

    def account(self, token: str, name: str, **known: Any) -> Account:
        """Add an account."""
        self.accounts[token] = Account(name, **known)
        return self.accounts[token]

    def fault(self, where: str, **what: Any) -> None:
        """Make requests fail."""
        self.faults.append(Fault(where, **what))

    def hits(self, where: str) -> int:
        """Return the number of requests so far whose method and path contain a text."""
        return sum(where in each for each in self.requests)

    def who(self, authorization: str) -> Account | None:
        """Return the account of a request."""
        token = authorization.removeprefix("Bearer ")
        if token not in self.accounts and self.any_token and token.startswith("hf_"):
            self.account(token, "someone")
        return self.accounts.get(token)

    def next_fault(self, request: str) -> Fault | None:
        """Return the fault of a request, and count it."""
        with self.lock:
            for fault in self.faults:
                if fault.where in request and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.status, self.code, self.more = status, code, more


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    # requests

    def _answer(self) -> None:
        address = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        path = unquote(address.path)
        self.body = self._read_body()
        request = f"{self.command} {path}"
        with self.hub.lock:
            self.hub.requests.append(request)
        self.fault = self.hub.next_fault(request)
        if self.fault and self.fault.status:
            headers = {} if self.fault.retry_after is None else {"Retry-After": str(self.fault.retry_after)}
            self._send(self.fault.status, b"{}", headers)
            return
        try:
            for method, pattern, name in _ROUTES:
                if self.command in method and (found := pattern.fullmatch(path)):
                    getattr(self, name)(*found.groups())
                    return
            raise _RefusedError(404, "EntryNotFound", f"{path} doesn't exist")
        except _RefusedError as refused:
            body = json.dumps({"error": str(refused), **refused.more}).encode()
            self._send(refused.status, body, {"X-Error-Code": refused.code, "X-Error-Message": str(refused)})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _account(self) -> Account | None:
        return self.hub.who(self.headers.get("Authorization", ""))

    def _writer(self, repository: str) -> Account:
        account = self._account()
        if account is None:
            raise _RefusedError(401, "", "Invalid username or password.")
        if not account.writes or repository.partition("/")[0] not in (account.name, *account.organizations):
            raise _RefusedError(403, "", "You don't have the rights to create or write this model.")
        return account

    def _repository(self, name: str, *, content: bool = False) -> Repository:
        found, account = self.hub.repositories.get(name), self._account()
        if found is not None and found.private:
            owner = name.partition("/")[0]
            found = found if account and owner in (account.name, *account.organizations) else None
        if found is None and self.headers.get("Authorization") and account is None:
            raise _RefusedError(401, "", "Invalid credentials in Authorization header")
        if found is None:
            raise _RefusedError(404 if account else 401, "RepoNotFound", "Repository not found")
        if content and found.gated and (account is None or name not in account.accepted):
            raise _RefusedError(403 if account else 401, "GatedRepo", f"Access to model {name} is restricted.")
        return found

    # answers

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(body)

    def _send_body(self, body: bytes) -> None:
        fault = self.fault
        end = len(body) if fault is None or fault.cut_after is None else fault.cut_after
        try:
            for start in range(0, end, _PIECE):
                piece = body[start : min(end, start + _PIECE)]
                self.wfile.write(piece)
                if fault and fault.bytes_per_s:
                    time.sleep(len(piece) / fault.bytes_per_s)
            self.wfile.flush()
        except OSError:
            self.close_connection = True
        if end < len(body):
            self.close_connection = True

    def _json(self, body: Any, headers: Mapping[str, str] = {}) -> None:
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})

    # reading

    def whoami(self) -> None:
        account = self._account()
        if account is None:
            raise _RefusedError(401, "", "Invalid username or password.")
        role = "write" if account.writes else "read"
        self._json(
            {
                "type": "user",
                "name": account.name,
                "orgs": [{"name": name} for name in account.organizations],
                "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": role}},
            }
        )

    def search(self) -> None:
        words = self.query.get("search", "").lower()
        found = [each for each in self.hub.repositories.values() if words in each.name.lower() and not each.private]
        found.sort(key=lambda each: -each.downloads)
        self._json([_described(each) for each in found[: int(self.query.get("limit", 1000))]])

    def info(self, name: str, _revision: str | None) -> None:
        found = self._repository(name)
        blobs = [{"rfilename": path, **_blob(path, data)} for path, data in sorted(found.files.items())]
        names = [{"rfilename": each["rfilename"]} for each in blobs]
        self._json({**_described(found), "siblings": blobs if "blobs" in self.query else names, "cardData": found.card})

    def tree(self, name: str, _revision: str) -> None:
        found = self._repository(name)
        self._json([_entry(path, data) for path, data in sorted(found.files.items())])

    def resolve(self, name: str, _revision: str, path: str) -> None:
        found = self._repository(name, content=True)
        data = found.files.get(path)
        if data is None:
            raise _RefusedError(404, "EntryNotFound", f"{path} doesn't exist")
        lfs = _is_lfs(path, data)
        etag = _sha256(data) if lfs else _git_oid(data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": found.sha, "Accept-Ranges": "bytes"}
        if lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        if self.fault and self.fault.wrong_bytes:
            data = bytes(byte ^ 1 for byte in data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None or self.command == "HEAD":
            self._send(200, data, headers)
            return
        self.hub.ranges.append(self.headers["Range"])
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if first >= len(data):
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        self._send(206, data[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    # writing

    def create(self) -> None:
        body = json.loads(self.body)
        account = self._account()
        name = f"{body.get('organization') or (account.name if account else '')}/{body['name']}"
        self._writer(name)
        with self.hub.lock:
            if name in self.hub.repositories:
                prefix = "spaces/" if self.hub.repositories[name].kind == "space" else ""
                raise _RefusedError(409, "", "You already created this model repo", url=f"{self.hub.url}/{prefix}{name}")
            private = body.get("visibility") == "private" or bool(body.get("private"))
            kind = body.get("type") or "model"
            self.hub.add(name, {".gitattributes": "*.safetensors filter=lfs\n"}, private=private, kind=kind, asked=body)
        address = f"{self.hub.url}/spaces/{name}" if kind == "space" else f"{self.hub.url}/{name}"
        self._json({"url": address, "name": name, "id": name})

    def squash(self, name: str, _branch: str) -> None:
        self._writer(name)
        self._repository(name).commits[:] = [json.loads(self.body).get("message") or "Super-squash"]
        self._json({})

    def validate(self) -> None:
        self._json({"errors": [], "warnings": []})

    def settings(self, name: str, kind: str) -> None:
        self._writer(name)
        body = json.loads(self.body)
        getattr(self._repository(name), kind)[body["key"]] = body["value"]
        self._json({})

    def preupload(self, name: str, _revision: str) -> None:
        self._writer(name)
        self._repository(name)
        files = json.loads(self.body)["files"]
        modes = [("lfs" if each["path"].endswith(_LFS_ENDINGS) or each["size"] > LFS_FROM_BYTES else "regular") for each in files]
        self._json(
            {
                "files": [
                    {"path": each["path"], "uploadMode": mode, "shouldIgnore": False}
                    for each, mode in zip(files, modes, strict=True)
                ]
            }
        )

    def batch(self, name: str) -> None:
        self._writer(name)
        objects: list[dict[str, Any]] = []
        for each in json.loads(self.body)["objects"]:
            made: dict[str, Any] = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.uploaded:
                made["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}
            objects.append(made)
        self._json({"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        if _sha256(self.body) != oid:
            raise _RefusedError(400, "", "The checksum differs")
        self.hub.uploaded[oid] = self.body
        self._send(200, b"")

    def commit(self, name: str, _revision: str) -> None:
        self._writer(name)
        found = self._repository(name)
        lines = [json.loads(line) for line in self.body.splitlines() if line]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                found.files[value["path"]] = self.hub.uploaded[value["oid"]]
            elif line["key"] == "deletedFile":
                found.files.pop(value["path"], None)
        found.commits.append(next(line["value"]["summary"] for line in lines if line["key"] == "header"))
        self._json({"success": True, "commitOid": found.sha, "commitUrl": f"{self.hub.url}/{name}/commit/{found.sha}"})


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("GET", re.compile(r"/api/whoami-v2"), "whoami"),
    ("GET", re.compile(r"/api/models"), "search"),
    ("POST", re.compile(r"/api/repos/create"), "create"),
    ("POST", re.compile(r"/api/validate-yaml"), "validate"),
    ("POST", re.compile(rf"/api/(?:models|spaces)/{_NAME}/preupload/(.+)"), "preupload"),
    ("POST", re.compile(rf"/api/models/{_NAME}/super-squash/(.+)"), "squash"),
    ("POST", re.compile(rf"/api/spaces/{_NAME}/(secrets|variables)"), "settings"),
    ("POST", re.compile(rf"/api/(?:models|spaces)/{_NAME}/commit/(.+)"), "commit"),
    ("GET", re.compile(rf"/api/(?:models|spaces)/{_NAME}/tree/([^/]+)"), "tree"),
    ("GET", re.compile(rf"/api/(?:models|spaces)/{_NAME}(?:/revision/([^/]+))?"), "info"),
    ("POST", re.compile(rf"/(?:spaces/)?{_NAME}\.git/info/lfs/objects/batch"), "batch"),
    ("PUT", re.compile(r"/lfs/([0-9a-f]{64})"), "put"),
    ("GET HEAD", re.compile(rf"/{_NAME}/resolve/([^/]+)/(.+)"), "resolve"),
)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _is_lfs(path: str, data: bytes) -> bool:
    return path.endswith(_LFS_ENDINGS) or len(data) > LFS_FROM_BYTES


def _blob(path: str, data: bytes) -> dict[str, Any]:
    lfs = {"lfs": {"sha256": _sha256(data), "size": len(data), "pointerSize": 130}} if _is_lfs(path, data) else {}
    return {"size": len(data), "blobId": _git_oid(data), **lfs}


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
    if _is_lfs(path, data):
        entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 130}
    return entry


def _described(found: Repository) -> dict[str, Any]:
    return {
        "_id": found.name,
        "id": found.name,
        "modelId": found.name,
        "author": found.name.partition("/")[0],
        "sha": found.sha,
        "private": found.private,
        "gated": found.gated,
        "downloads": found.downloads,
        "likes": 0,
        "tags": found.tags,
        "lastModified": "2026-01-01T00:00:00.000Z",
        "createdAt": "2026-01-01T00:00:00.000Z",
    }


def main() -> None:
    """Serve until the end of standard input."""
    with FakeHub(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as hub:
        hub.any_token = True
        print(hub.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
