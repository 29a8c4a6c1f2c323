"""Define the provider that people sign in with, and the list of who may, each with a role.

Only words are parsed here; nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from onetrainer_gradio.errors import CommandLineError
from onetrainer_gradio.service.people.roles import Role

DEFAULT_SCOPES = "openid profile email"
HUGGING_FACE = "https://huggingface.co"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# claims that a rule may compare
KINDS = ("subject", "email", "domain", "user", "org")
RULE_FORM = "ROLE=KIND:VALUE, such as operator=email:ada@example.org"
_MAX_RULES = 1000


@dataclass(frozen=True)
class Profile:
    """The person who signed in at a provider. ``email`` is empty unless the provider verified it."""

    issuer: str
    subject: str
    username: str = ""
    name: str = ""
    email: str = ""
    orgs: frozenset[str] = frozenset()
    unverified: bool = False

    @property
    def key(self) -> str:
        """Return what identifies the person for good: a subject is unique at its issuer only."""
        return f"{self.issuer} {self.subject}"

    @property
    def shown(self) -> str:
        """Return the name to show."""
        return self.username or self.name or self.email or self.subject


@dataclass(frozen=True)
class AllowRule:
    """Let in whoever ``kind`` and ``value`` describe, with ``role``."""

    role: Role
    kind: str
    value: str

    def matches(self, profile: Profile) -> bool:
        """Return whether the rule is about this person. Only email addresses are compared in any case."""
        email = profile.email.lower()
        found = {
            "subject": profile.subject == self.value,
            "email": email == self.value.lower(),
            "domain": bool(email) and email.rpartition("@")[2] == self.value.lower(),
            "user": profile.username == self.value,
            "org": self.value in profile.orgs,
        }
        return found[self.kind]


@dataclass(frozen=True)
class ProviderSettings:
    """The OpenID Connect provider of a panel. ``title`` is on the button of the login page."""

    issuer: str
    client_id: str
    client_secret: str = ""
    scopes: str = DEFAULT_SCOPES
    title: str = ""
    allowed: tuple[AllowRule, ...] = ()

    def role_of(self, profile: Profile) -> Role:
        """Return the highest role that the list gives someone; ``Role.NOBODY`` if it doesn't name them."""
        return max((rule.role for rule in self.allowed if rule.matches(profile)), default=Role.NOBODY)


def provider_settings(
    issuer: str, client_id: str, client_secret: str, *, scopes: str = "", title: str = "", allowed: Iterable[str] = ()
) -> ProviderSettings:
    """Return the checked settings of a provider.

    :raises CommandLineError: if something is missing or invalid.
    """
    issuer = issuer.strip()
    if not is_safe_address(issuer) or urlsplit(issuer).query or urlsplit(issuer).fragment:
        raise CommandLineError(
            f"The issuer {issuer!r} isn't an https address.", suggestion="Set --oidc-issuer to that of your provider."
        )
    if not client_id.strip():
        raise CommandLineError("--oidc-issuer requires a client ID.", suggestion="Set --oidc-client-id.")
    rules = tuple(parsed_rule(text) for text in allowed)
    if not rules:
        raise CommandLineError(
            "--oidc-issuer requires a list of who may sign in.", suggestion=f"Set --oidc-allow to {RULE_FORM}."
        )
    if len(rules) > _MAX_RULES:
        raise CommandLineError(f"--oidc-allow has {len(rules)} rules. The maximum is {_MAX_RULES}.")
    words = list(dict.fromkeys(["openid", *(scopes or DEFAULT_SCOPES).split()]))
    named = title.strip() or ("Hugging Face" if issuer.rstrip("/") == HUGGING_FACE else urlsplit(issuer).netloc)
    return ProviderSettings(issuer, client_id.strip(), client_secret.strip(), " ".join(words), named[:60], rules)


def parsed_rule(text: str) -> AllowRule:
    """Return the rule of a word such as ``operator=email:ada@example.org``.

    :raises CommandLineError: if it isn't a rule.
    """
    word, _, what = text.strip().partition("=")
    kind, _, value = what.partition(":")
    roles = {role.word: role for role in Role if role is not Role.NOBODY}
    if word not in roles or kind not in KINDS or not value.strip():
        raise CommandLineError(
            f"{text!r} isn't a rule for --oidc-allow: use {RULE_FORM}",
            expected=f"a role ({', '.join(roles)}) and one of {', '.join(KINDS)}",
        )
    value = value.strip()
    return AllowRule(roles[word], kind, value.lstrip("@") if kind == "domain" else value)


def rules_in(text: str) -> list[str]:
    """Return the rules in the text of an environment variable, separated by spaces, commas or lines."""
    return [word for word in re.split(r"[\s,]+", text) if word]


def of_space(environment: Mapping[str, str], allowed: Sequence[str]) -> ProviderSettings | None:
    """Return the provider that a Space with ``hf_oauth: true`` sets in its environment, or None.

    Without a list, the account that the Space belongs to is its owner: it can read the secrets of the Space anyway.

    :raises CommandLineError: if something is invalid.
    """
    issuer, client_id = environment.get("OPENID_PROVIDER_URL", ""), environment.get("OAUTH_CLIENT_ID", "")
    if not (issuer and client_id):
        return None
    author = environment.get("SPACE_ID", "").partition("/")[0]
    if not allowed and author and issuer.rstrip("/") == HUGGING_FACE:
        allowed = [f"owner=user:{author}"]
    if not allowed:
        return None
    secret, scopes = environment.get("OAUTH_CLIENT_SECRET", ""), environment.get("OAUTH_SCOPES", "") or "openid profile"
    return provider_settings(issuer, client_id, secret, scopes=scopes, allowed=allowed)


def is_safe_address(address: str) -> bool:
    """Return whether an address uses https or is on this machine, so that nobody else can read or change what is sent."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        valid = bool(host) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    printable = not any(letter.isspace() or ord(letter) < 33 for letter in address)
    return valid and printable and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
