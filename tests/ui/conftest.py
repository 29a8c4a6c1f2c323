"""A service whose runs are rehearsals on a thread, and the page over it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from onetrainer_gradio.errors import CommandRefusedError
from onetrainer_gradio.service import ServiceSettings, TrainerService
from tests.fakes.configs import small_config


@pytest.fixture
def backend() -> str:
    """Return the backend of the runs; a test may replace it."""
    return "tests.fakes.rehearsal:run"


@pytest.fixture
def service(tmp_path: Path, backend: str) -> Iterator[TrainerService]:
    """An opened service with small settings that pass the check; at the end everything of it is stopped."""
    settings = ServiceSettings(data_folder=tmp_path / "data", in_process=True, backend=backend)
    with TrainerService(settings) as service:
        service.configs.replace(small_config(tmp_path), "small")
        yield service
        with suppress(CommandRefusedError):  # nothing is running, or it has just ended
            service.stop_training()
        service.wait_for(lambda state: not state["process_running"], 10)


@pytest.fixture(scope="session", autouse=True)
def no_garbage() -> Iterator[None]:
    """Disable the garbage collector: collecting Gradio's cycles inside a later import trips CPython 3.11's recursion count."""
    yield
    if "gradio" in sys.modules:
        gc.collect()
