"""The provider and its list on the command line and in the environment are complete and safe, or rejected by name."""

from __future__ import annotations

import pytest

from onetrainer_gradio.cli import PanelOptions, parse
from onetrainer_gradio.errors import CommandLineError
from onetrainer_gradio.panel_secrets import without_panel_secrets
from onetrainer_gradio.service.people.provider_settings import AllowRule, Profile, is_safe_address, parsed_rule, rules_in
from onetrainer_gradio.service.people.roles import Role

ISSUER = ["--accounts", "--oidc-issuer", "https://id.example.org/realms/lab", "--oidc-client-id", "panel"]
SPACE = {
    "SPACE_ID": "ada/panel",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
    "OAUTH_CLIENT_ID": "space-client",
    "OAUTH_CLIENT_SECRET": "space-secret",
    "OAUTH_SCOPES": "openid profile",
    "ONETRAINER_GRADIO_ACCOUNTS": "1",
}


def provider_of(arguments, environment=None):
    options = parse(arguments, environment or {})
    assert isinstance(options, PanelOptions)
    return options.provider


def test_the_command_line_sets_a_provider_and_the_environment_its_secret():
    rules = ["--oidc-allow", "owner=subject:a=b:c", "--oidc-allow", "viewer=domain:@example.org"]
    found = provider_of([*ISSUER, *rules], {"ONETRAINER_GRADIO_OIDC_CLIENT_SECRET": "hush"})
    assert (found.issuer, found.client_id, found.client_secret) == ("https://id.example.org/realms/lab", "panel", "hush")
    assert (found.scopes, found.title) == ("openid profile email", "id.example.org")
    assert found.allowed == (AllowRule(Role.OWNER, "subject", "a=b:c"), AllowRule(Role.VIEWER, "domain", "example.org"))


def test_everything_can_be_in_the_environment():
    environment = {
        "ONETRAINER_GRADIO_ACCOUNTS": "1",
        "ONETRAINER_GRADIO_OIDC_ISSUER": "https://id.example.org",
        "ONETRAINER_GRADIO_OIDC_CLIENT_ID": "panel",
        "ONETRAINER_GRADIO_OIDC_ALLOW": "owner=user:ada, viewer=org:lab\noperator=email:b@c.example",
    }
    assert [rule.kind for rule in provider_of([], environment).allowed] == ["user", "org", "email"]
    assert rules_in("") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (ISSUER[1:], "--oidc-issuer requires --accounts"),
        (ISSUER[:3], "requires a client ID"),
        (ISSUER, "requires a list of who may sign in"),
        ([*ISSUER, "--oidc-allow", "ada"], "isn't a rule"),
        ([*ISSUER, "--oidc-allow", "nobody=user:ada"], "isn't a rule"),
        ([*ISSUER, "--oidc-allow", "owner=name:ada"], "isn't a rule"),
        ([*ISSUER, "--oidc-allow", "owner=user:"], "isn't a rule"),
        ([*ISSUER[:2], "http://id.example.org", *ISSUER[3:]], "isn't an https address"),
        ([*ISSUER[:2], "https://id.example.org/?a=1", *ISSUER[3:]], "isn't an https address"),
        ([*ISSUER[:2], "https://user@id.example.org", *ISSUER[3:]], "isn't an https address"),
    ],
)
def test_an_incomplete_or_unsafe_provider_is_rejected_before_the_start(arguments, words):
    with pytest.raises(CommandLineError, match=words):
        parse(arguments, {})


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://id.example.org:8443/a"]
)
def test_plain_http_is_only_for_this_machine(address):
    assert is_safe_address(address)
    for other in ("http://127.0.0.1.example.org", "ftp://localhost", "https://", "https://a b", "http://localhost@evil.example"):
        assert not is_safe_address(other)


def test_a_space_with_accounts_uses_what_it_sets_itself():
    found = provider_of([], SPACE)
    assert (found.issuer, found.client_id, found.client_secret) == ("https://huggingface.co", "space-client", "space-secret")
    assert (found.scopes, found.title) == ("openid profile", "Hugging Face")
    assert found.role_of(Profile(found.issuer, "1", username="ada")) is Role.OWNER
    assert found.role_of(Profile(found.issuer, "2", username="eve")) is Role.NOBODY


def test_the_list_of_a_space_replaces_its_owner():
    found = provider_of([], SPACE | {"ONETRAINER_GRADIO_OIDC_ALLOW": "viewer=org:lab"})
    assert found.allowed == (parsed_rule("viewer=org:lab"),)


@pytest.mark.parametrize("without", ["SPACE_ID", "ONETRAINER_GRADIO_ACCOUNTS", "OAUTH_CLIENT_ID", "OPENID_PROVIDER_URL"])
def test_outside_a_space_or_without_accounts_its_variables_do_nothing(without):
    assert provider_of([], {name: value for name, value in SPACE.items() if name != without}) is None


def test_a_space_with_another_provider_needs_a_list():
    """Hugging Face names mean nothing at another provider."""
    assert provider_of([], SPACE | {"OPENID_PROVIDER_URL": "https://id.example.org"}) is None


def test_no_process_of_a_run_gets_the_secrets_of_the_provider():
    left = without_panel_secrets(SPACE | {"ONETRAINER_GRADIO_OIDC_CLIENT_SECRET": "hush"})
    assert "hush" not in left.values()
    assert "space-secret" not in left.values()
