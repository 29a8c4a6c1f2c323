"""Sign people in with an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

Authlib prepares the requests and checks the claims of the ID token; joserfc, which belongs to it, checks signatures. The HTTP
client is httpx2, as in the rest of the panel: Authlib has no client for it, and its clients don't limit the size of an answer.
Source: OpenID Connect Core 1.0 and Discovery 1.0, RFC 6749, RFC 7636 and RFC 9207.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from onetrainer_gradio.errors import NotAuthenticatedError, SignInProviderError
from onetrainer_gradio.service.people.provider_settings import Profile, ProviderSettings, is_safe_address

if TYPE_CHECKING:
    import httpx2

# Signatures that need the provider's private key. "none" and those with a shared secret aren't among them.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
ATTEMPT_S = 600.0
LEEWAY_S = 60
_TIMEOUT_S, _DEADLINE_S = 10.0, 20.0
_MAX_BYTES = 1 << 20
_METADATA_S = 300.0
_MAX_USED = 10_000
_LONGEST_NEXT = 1000
_MAX_KEYS = 50
_CODE = re.compile(r"[a-z_]{1,60}")
_AGAIN = "Start again from the login page."


@dataclass(frozen=True)
class Attempt:
    """A sign-in that has begun. Only the browser keeps it, in a signed cookie."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    following: str
    until: float


class IdentityProvider:
    """The provider of a panel. Safe from any thread. ``clock`` gives seconds since the epoch."""

    def __init__(self, settings: ProviderSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._used: dict[str, float] = {}
        self._metadata: tuple[float, dict[str, Any]] | None = None

    def begin(self, redirect_uri: str, following: str) -> tuple[str, Attempt]:
        """Return the address at the provider to send the browser to, and the attempt.

        ``redirect_uri`` is where the provider sends it back to, and ``following`` the path to open afterwards.

        :raises SignInProviderError: if the provider can't be reached or used.
        """
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        state, nonce, verifier = secrets.token_hex(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        kept = following if len(following) <= _LONGEST_NEXT else "/"
        attempt = Attempt(state, nonce, verifier, redirect_uri, kept, self._clock() + ATTEMPT_S)
        address = prepare_grant_uri(
            self._endpoint("authorization_endpoint"),
            client_id=self.settings.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=self.settings.scopes,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return str(address), attempt

    def sealed(self, attempt: Attempt) -> str:
        """Return an attempt as the value of a cookie, which nobody else can make."""
        from joserfc import jwt
        from joserfc.jwk import OctKey

        return jwt.encode({"alg": "HS256"}, asdict(attempt), OctKey.import_key(self._key))

    def opened(self, sealed: str, state: str) -> Attempt:
        """Return the attempt of a cookie, once.

        :raises NotAuthenticatedError: if it is missing, expired, used, or of another browser or panel.
        """
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import OctKey

        try:
            attempt = Attempt(**jwt.decode(sealed, OctKey.import_key(self._key), algorithms=["HS256"]).claims)
        except (JoseError, ValueError, TypeError) as error:
            raise NotAuthenticatedError("This browser hasn't started this sign-in.", suggestion=_AGAIN) from error
        if not hmac.compare_digest(attempt.state.encode(), state.encode(errors="replace")):
            raise NotAuthenticatedError("This browser hasn't started this sign-in.", suggestion=_AGAIN)
        now = self._clock()
        with self._lock:
            self._used = {each: until for each, until in self._used.items() if until > now}
            used = attempt.state in self._used or len(self._used) >= _MAX_USED
            self._used.setdefault(attempt.state, attempt.until)
        if used or attempt.until <= now:
            raise NotAuthenticatedError("This sign-in has expired or was already used.", suggestion=_AGAIN)
        return attempt

    def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> Profile:
        """Return who signed in, from the ``answer`` that the provider sent through the browser.

        :raises NotAuthenticatedError: if the person declined, or what the provider sent isn't valid for this attempt.
        :raises SignInProviderError: if the provider can't be reached or used.
        """
        if answer.get("iss", self.settings.issuer) != self.settings.issuer:
            raise NotAuthenticatedError("The answer is from another sign-in provider.", suggestion=_AGAIN)
        if "error" in answer:
            raise self._declined(answer["error"])
        if not answer.get("code"):
            raise NotAuthenticatedError("The sign-in provider sent no code.", suggestion=_AGAIN)
        tokens = self._tokens(attempt, answer["code"])
        claims = self._claims(tokens, attempt.nonce)
        return self._profile(claims, self._userinfo(tokens, str(claims["sub"])))

    # steps

    def _tokens(self, attempt: Attempt, code: str) -> dict[str, Any]:
        from authlib.oauth2.auth import ClientAuth
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        body = prepare_token_request(
            "authorization_code", redirect_uri=attempt.redirect_uri, code=code, code_verifier=attempt.verifier
        )
        known = self._discovered().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = not isinstance(known, list) or "client_secret_basic" in known or "client_secret_post" not in known
        method = ("client_secret_basic" if basic else "client_secret_post") if self.settings.client_secret else "none"
        name, secret = self.settings.client_id, self.settings.client_secret
        if method == "client_secret_basic":  # RFC 6749, section 2.3.1
            name, secret = quote(name, safe=""), quote(secret, safe="")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        address, headers, body = ClientAuth(name, secret, method).prepare("POST", self._endpoint("token_endpoint"), headers, body)
        status, tokens = self._json("POST", address, headers, body)
        if status != 200:
            reason = str(tokens.get("error", ""))
            shown = reason if _CODE.fullmatch(reason) else f"status {status}"
            if reason == "invalid_grant":
                raise NotAuthenticatedError("The sign-in provider doesn't accept the code.", suggestion=_AGAIN)
            raise self._unusable(f"rejected the request for the tokens ({shown})")
        return tokens

    def _claims(self, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of the ID token after checking signature, issuer, audience, times and nonce."""
        from authlib.oidc.core import CodeIDToken
        from joserfc.errors import JoseError

        client = self.settings.client_id
        wanted = {"iss": {"essential": True, "value": self.settings.issuer}, "aud": {"essential": True, "value": client}}
        checks = {"client_id": client, "nonce": nonce, "access_token": tokens.get("access_token")}
        try:
            header, claims = self._verified(str(tokens.get("id_token", "")))
            token = CodeIDToken(claims, header, wanted, checks)
            token.validate(now=int(self._clock()), leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise NotAuthenticatedError(
                f"The ID token of the sign-in provider isn't valid ({type(error).__name__}: {_short(error)}).", suggestion=_AGAIN
            ) from error
        if not isinstance(token["sub"], str) or not 0 < len(token["sub"]) <= 255 or not token["sub"].isprintable():
            raise NotAuthenticatedError("The ID token of the sign-in provider has no valid subject.", suggestion=_AGAIN)
        return dict(token)

    def _verified(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        from joserfc import jws, jwt
        from joserfc.errors import BadSignatureError, InvalidKeyIdError, InvalidKeyTypeError, KeyParameterError
        from joserfc.jwk import KeySet

        header = jws.extract_compact(token.encode()).headers()
        status, published = self._json("GET", self._endpoint("jwks_uri"))
        if status != 200 or not isinstance(published.get("keys"), list) or len(published["keys"]) > _MAX_KEYS:
            raise self._unusable("doesn't publish its keys")
        keys = [key for key in KeySet.import_key_set({"keys": published["keys"]}) if header.get("kid") in {None, key.kid}]
        if not keys:
            raise InvalidKeyIdError("no key with this ID")
        for key in keys:
            try:
                found = jwt.decode(token, key, algorithms=ALGORITHMS)
            except (BadSignatureError, InvalidKeyTypeError, KeyParameterError):  # another key may be the right one
                continue
            return dict(found.header), dict(found.claims)
        raise BadSignatureError("no key matches the signature")

    def _userinfo(self, tokens: Mapping[str, Any], subject: str) -> dict[str, Any]:
        """Return further claims about the person, or nothing if the provider has no endpoint for them."""
        if not self._discovered().get("userinfo_endpoint"):
            return {}
        headers = {"Authorization": f"Bearer {tokens.get('access_token', '')}"}
        status, info = self._json("GET", self._endpoint("userinfo_endpoint"), headers)
        if status != 200:
            raise self._unusable(f"doesn't return who signed in (status {status})")
        if info.get("sub") != subject:
            raise NotAuthenticatedError("The sign-in provider returned another person.", suggestion=_AGAIN)
        return info

    def _profile(self, claims: Mapping[str, Any], info: Mapping[str, Any]) -> Profile:
        merged = {**claims, **info}
        # both from the same source: the address of one isn't verified by the mark of the other
        source = info if "email" in info else claims
        email, verified = _text(source.get("email")), source.get("email_verified") in (True, "true")
        return Profile(
            issuer=self.settings.issuer,
            subject=str(claims["sub"]),
            username=_text(merged.get("preferred_username")),
            name=_text(merged.get("name")),
            email=email if verified else "",
            orgs=_orgs(merged.get("orgs")) | _orgs(merged.get("groups")),
            unverified=bool(email) and not verified,
        )

    # requests

    def _endpoint(self, name: str) -> str:
        return self._safe(self._discovered(), name)

    def _safe(self, metadata: Mapping[str, Any], name: str) -> str:
        address = metadata.get(name)
        if not isinstance(address, str) or not is_safe_address(address):
            raise self._unusable(f"has no {name} with https")
        return address

    def _discovered(self) -> dict[str, Any]:
        """Return the provider's metadata, which is kept for a few minutes."""
        from authlib.oidc.discovery import get_well_known_url

        now = self._clock()
        with self._lock:
            known = self._metadata
        if known is not None and now - known[0] < _METADATA_S:
            return known[1]
        status, found = self._json("GET", get_well_known_url(self.settings.issuer, external=True))
        if status != 200:
            raise self._unusable(f"has no configuration (status {status})")
        if found.get("issuer") != self.settings.issuer:
            raise self._unusable(f"has the issuer {_text(found.get('issuer'))!r} in its configuration")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            self._safe(found, name)
        with self._lock:
            self._metadata = (now, found)
        return found

    def _json(self, method: str, address: str, headers: Mapping[str, str] = {}, body: str = "") -> tuple[int, dict[str, Any]]:
        import httpx2

        try:
            with (
                httpx2.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client,
                client.stream(method, address, headers={"Accept": "application/json", **headers}, content=body or None) as reply,
            ):
                text = self._body(reply)
                status = reply.status_code
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SignInProviderError(
                f"{self.settings.title} can't be reached ({type(error).__name__})", suggestion="Try again later."
            ) from error
        if status >= 500:
            raise self._unusable(f"reports an error (status {status})")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return status, found
        if status == 200:
            raise self._unusable("sent something else than a JSON object")
        return status, {}

    def _body(self, reply: httpx2.Response) -> bytes:
        began, parts, size = time.monotonic(), [], 0
        for part in reply.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _MAX_BYTES or time.monotonic() - began > _DEADLINE_S:
                raise self._unusable("sends too much or too slowly")
        return b"".join(parts)

    def _declined(self, reason: str) -> NotAuthenticatedError:
        if reason == "access_denied":
            return NotAuthenticatedError(f"The sign-in was declined at {self.settings.title}.", suggestion=_AGAIN)
        shown = reason if _CODE.fullmatch(reason) else "unknown error"
        return NotAuthenticatedError(f"{self.settings.title} rejected the sign-in ({shown}).", suggestion=_AGAIN)

    def _unusable(self, why: str) -> SignInProviderError:
        return SignInProviderError(f"{self.settings.title} {why}", suggestion="Check the settings of the sign-in provider.")


def _text(value: Any) -> str:
    """Return a claim as a short text on one line; anything else is empty."""
    return "".join(letter for letter in value if letter.isprintable())[:255].strip() if isinstance(value, str) else ""


def _short(error: Exception) -> str:
    return _text(str(error))[:120]


def _orgs(value: Any) -> frozenset[str]:
    """Return names and IDs of organizations: texts, or objects as Hugging Face sends them.

    Their ``name`` isn't used, because anyone can choose the same one.
    """
    found: set[str] = set()
    for each in value if isinstance(value, list) else ():
        texts = [each.get("preferred_username"), each.get("sub")] if isinstance(each, dict) else [each]
        found |= {_text(text) for text in texts} - {""}
    return frozenset(found)
