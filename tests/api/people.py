"""A panel with accounts, and a client for each way to sign in."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service.host.access import Access, AccessSettings
from onetrainer_gradio.service.people.roles import Role, Scope
from tests.api.conftest import ADDRESS, rehearsal_service

PASSWORD = "correct horse battery"
HTML = {"Accept": "text/html,application/xhtml+xml"}


def panel_with_accounts(folder: Path, **settings) -> FastAPI:
    """The API of a panel with an owner, an operator and a viewer, each named after their role."""
    app = create_api(rehearsal_service(folder), Access(AccessSettings(accounts=True, **settings)))
    accounts = app.state.service.people.accounts
    for role in (Role.OWNER, Role.OPERATOR, Role.VIEWER):
        accounts.add(role.word, role, PASSWORD)
    return app


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=ADDRESS, follow_redirects=False)


def signed_in(app: FastAPI, name: str) -> TestClient:
    """Return a client with a session, created without a sign-in because hashing takes time."""
    people, client = app.state.service.people, client_of(app)
    secret = people.signed_in(people.accounts.named(name), "test")
    client.cookies.set("onetrainer_gradio_7860", secret)
    return client


def by_link(app: FastAPI, shows: str, role: Role, run_id: str = "") -> TestClient:
    people, client = app.state.service.people, client_of(app)
    _, secret = people.links.add("owner", shows, shows, role, 1, run_id)
    client.cookies.set("onetrainer_gradio_7860", people.open_link(secret, "test")[1])
    return client


def with_token(app: FastAPI, name: str, scope: Scope) -> TestClient:
    people, client = app.state.service.people, client_of(app)
    _, secret = people.tokens.add(people.accounts.named(name).id, scope.value, scope, 1)
    client.headers["Authorization"] = f"Bearer {secret}"
    return client
