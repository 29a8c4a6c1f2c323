"""Passwords that cost nearly nothing: the real cost slows down guessing, and tests would pay it hundreds of times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2.profiles import CHEAPEST

from onetrainer_gradio.service.people import accounts


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Whatever is made from now on hashes at the least cost. A module that imports this fixture uses it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "PASSWORD_COST", CHEAPEST)
        yield
