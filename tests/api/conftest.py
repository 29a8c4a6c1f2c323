"""An app over a real service whose runs are rehearsals on a thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api, put_service
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.service import ServiceSettings, TrainerService
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.fakes.configs import small_config
from tests.fakes.passwords import cheap_passwords  # noqa: F401

ADDRESS = "http://127.0.0.1:7860"


class Panel:
    """A client of the API, the service behind it, and the steps that many tests perform."""

    def __init__(self, client: TestClient, service: TrainerService, folder: Path) -> None:
        self.client = client
        self.service = service
        self.document = to_document(small_config(folder), packed=True)
        self.folder = folder

    def start(self, **behavior: object) -> str:
        """Start a rehearsal; ``behavior`` as in tests/fakes/rehearsal.py."""
        tags = [f"{name}={value}" for name, value in behavior.items()]
        reply = self.client.post("/api/training/start", json={"config": self.document, "options": {"tags": tags, "name": "try"}})
        assert reply.status_code == 200, reply.text
        return reply.json()["run_id"]

    def finished(self, **behavior: object) -> str:
        """Run a rehearsal to its end."""
        run_id = self.start(**behavior)
        self.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
        return run_id

    def training(self, **behavior: object) -> str:
        """Start a run that waits at its second step for commands."""
        run_id = self.start(**{"hold": 1, **behavior})
        self.service.wait_for(lambda state: state["update_step"] == 1, 10)
        return run_id

    def socket(self, query: str = ""):
        return self.client.websocket_connect(f"ws://127.0.0.1:7860/ws{query}")


def rehearsal_service(folder: Path, **parts: Any) -> TrainerService:
    """A service whose runs are rehearsals on a thread."""
    return TrainerService(ServiceSettings(data_folder=folder, in_process=True, backend="tests.fakes.rehearsal:run"), **parts)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """One app for all tests, because its first request is slow; each test puts its own service behind it."""
    return create_api(rehearsal_service(tmp_path_factory.mktemp("unused")), Access(AccessSettings()))


@pytest.fixture
def panel(app: FastAPI, tmp_path: Path) -> Iterator[Panel]:
    service = rehearsal_service(tmp_path / "data")
    put_service(app, service)
    with TestClient(app, base_url=ADDRESS) as client:
        yield Panel(client, service, tmp_path / "material")
