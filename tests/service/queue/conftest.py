"""Fixtures for the tests of the queue: a queue without a service, whose settings always pass the pre-flight check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.errors import ConfigInvalidError, Finding
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.queue.run_queue import Frozen, RunQueue
from onetrainer_gradio.service.queue.store import QueueStore
from tests.fakes.configs import small_config


class Plain:
    """A queue in a file, and the reasons of its changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = small_config(folder)
        self.store = QueueStore(folder / "queue.sqlite")
        self.reasons: list[str] = []
        self.queue = RunQueue(self.store, self.freeze, changed=lambda reason, item_id: self.reasons.append(reason))

    def freeze(self, config: TrainConfig | None, options: RunOptions | None, device: str) -> Frozen:
        config = self.config if config is None else config
        if config.epochs > 1000:
            raise ConfigInvalidError([Finding("error", "epochs", "Too many epochs.", config.epochs)])
        if device:
            config = config.model_copy(update={"train_device": device})
        return Frozen(config, options or RunOptions())

    def names(self) -> list[str]:
        """Return the names of the waiting runs in order."""
        return [item["name"] for item in self.queue.list()["items"]]

    def add(self, *names: str, **choices: object) -> list[str]:
        """Add runs with these names and return their IDs."""
        return [self.queue.add(None, None, ItemChoices(name=name, **choices))["id"] for name in names]  # type: ignore[arg-type]


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Plain]:
    made = Plain(tmp_path)
    yield made
    made.store.close()
