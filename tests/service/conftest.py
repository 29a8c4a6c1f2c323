"""Fixtures shared by the tests of the service."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onetrainer_gradio.config.machine import Machine
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.process import ProcessIdentity, kill
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService

REHEARSAL = "tests.fakes.rehearsal:run"
PATIENCE_S = 30.0

MakeService = Callable[..., TrainerService]


class NoGpu:
    """A machine without a GPU."""

    def read(self) -> list[dict[str, object]]:
        return []


@pytest.fixture(scope="session")
def decoder() -> Iterator[ImageDecoder]:
    """One decoder for all tests that only need images decoded: each has a process, which takes half a second to start."""
    decoder = ImageDecoder()
    yield decoder
    decoder.close()


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Return a function that opens services on one data folder; they are closed, and running runs stopped, at the end."""
    made: list[TrainerService] = []

    def make(*, in_process: bool = True, machine: Machine | None = None, **settings: object) -> TrainerService:
        given = {"data_folder": tmp_path / "data", "backend": REHEARSAL, "in_process": in_process} | settings
        here = Machine.here if machine is None else lambda: machine
        service = TrainerService(ServiceSettings(**given), gpus=NoGpu, machine=here)  # type: ignore[arg-type]
        service.open()
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()
    for folder in (tmp_path / "data" / "runs").glob("*"):
        for role in ("supervisor", "worker", "child_process"):
            identity = ProcessIdentity.from_dict(read_json(folder / f"{role}.json"))
            if identity is not None and identity.alive() and identity.pid != os.getpid():
                kill(identity.pid)


def ended(state: dict[str, object]) -> bool:
    """Return whether the run has ended and none of its processes is running."""
    return not state["is_training"] and not state["process_running"]
