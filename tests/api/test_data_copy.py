"""The data folder's copy is shown and can be requested over REST."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


def test_without_a_repository_nothing_is_pushed(panel) -> None:
    reply = panel.client.get("/api/data-copy").json()
    assert (reply["ok"], reply["repository"], reply["pushed_at"], reply["error"]) == (True, "", None, "")
    assert panel.client.post("/api/data-copy").json()["limit_bytes"] == 20 * 10**9
