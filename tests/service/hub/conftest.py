"""A stand-in for the Hugging Face Hub, and a panel that uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.hub import FakeHub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The stand-in that the library contacts instead of the real Hugging Face Hub. The token ``hf_writer`` belongs to ``ada``."""
    with FakeHub() as stand_in:
        stand_in.account("hf_writer", "ada", organizations=("lovelace",))
        stand_in.account("hf_reader", "ada", writes=False)
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield stand_in
