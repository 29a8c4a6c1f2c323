"""An OpenID Connect provider on loopback: real HTTP, real keys, and faults that can be switched on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "panel-client", "panel secret/with+signs"
PERSON = {"sub": "1234", "preferred_username": "ada", "name": "Ada Lovelace", "email": "ada@example.org", "email_verified": True}


class FakeProvider:
    """Set ``person`` to the person who signs in, ``token_claims`` to change the ID
    token, and the other attributes to break something.
    """

    def __init__(self) -> None:
        self.person: dict[str, Any] = dict(PERSON)
        self.token_claims: dict[str, Any] = {}
        self.algorithm = "RS256"
        self.keys = {"RS256": RSAKey.generate_key(2048), "ES256": ECKey.generate_key("P-256")}
        self.signs_with: Any = None
        self.metadata: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = {}
        self.id_token: str | None = None
        self.published: list[Any] | None = None
        self.denies = ""
        self.answers = threading.Event()
        self.answers.set()
        self.body: bytes | None = None
        self.requests: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self, b"")

            def do_POST(self) -> None:
                provider.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        parts = urlsplit(handler.path)
        self.requests.append(parts.path)
        self.answers.wait(30)
        routes = {
            "/.well-known/openid-configuration": self._configuration,
            "/authorize": lambda: self._authorize(dict(parse_qsl(parts.query))),
            "/token": lambda: self._token(handler, body),
            "/keys": self._keys,
            "/userinfo": lambda: self._userinfo(handler),
        }
        status, found = routes[parts.path]()
        text = self.body if self.body is not None and parts.path != "/authorize" else json.dumps(found).encode()
        handler.send_response(status)
        if status == 302:
            handler.send_header("Location", found)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def _configuration(self) -> tuple[int, Any]:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        found = {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in ends.items()}}
        if self.userinfo is not None:
            found["userinfo_endpoint"] = f"{self.issuer}/userinfo"
        return 200, found | self.metadata

    def _authorize(self, query: dict[str, str]) -> tuple[int, str]:
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        answer = {"state": query["state"], "iss": self.issuer}
        if self.denies:
            answer["error"] = self.denies
        else:
            answer["code"] = secrets.token_hex(8)
            self.codes[answer["code"]] = query
        return 302, f"{query['redirect_uri']}?{urlencode(answer)}"

    def _token(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        basic = base64.b64encode(b"panel-client:panel%20secret%2Fwith%2Bsigns").decode()
        if handler.headers["Authorization"] != f"Basic {basic}":
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form["code"], None)
        right = begun is not None and form["redirect_uri"] == begun["redirect_uri"]
        if begun is None or not right or create_s256_code_challenge(form["code_verifier"]) != begun["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": begun["nonce"]}
        claims |= {**self.person, **self.token_claims}
        return 200, {
            "access_token": "access",
            "token_type": "Bearer",
            "id_token": self._signed(claims) if self.id_token is None else self.id_token,
        }

    def _signed(self, claims: dict[str, Any]) -> str:
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm in {"none", "HS256"}:
            content = ".".join(_encoded(json.dumps(each).encode()) for each in ({"alg": self.algorithm}, claims))
            secret = self.signs_with or SECRET.encode()
            digest = hmac.new(secret, content.encode(), hashlib.sha256).digest()
            return f"{content}.{_encoded(digest) if self.algorithm == 'HS256' else ''}"
        key = self.signs_with or self.keys[self.algorithm]
        return jwt.encode({"alg": self.algorithm, "kid": self.keys[self.algorithm].thumbprint()}, claims, key)

    def _keys(self) -> tuple[int, Any]:
        if self.published is not None:
            return 200, {"keys": self.published}
        return 200, KeySet(list(self.keys.values())).as_dict(private=False)

    def _userinfo(self, handler: BaseHTTPRequestHandler) -> tuple[int, Any]:
        assert handler.headers["Authorization"] == "Bearer access"
        return 200, self.person | (self.userinfo or {})


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
