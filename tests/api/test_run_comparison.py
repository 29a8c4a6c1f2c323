"""Several runs side by side over REST."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel


def test_curves_of_several_runs_come_in_one_answer(panel):
    """Each metric has its extremes; missing runs are named; a metric that no run has is a gap."""
    ids = [panel.finished(steps=200), panel.finished(steps=50)]
    path = "/api/runs/series"
    body = panel.client.get(path, params={"ids": ",".join([*ids, "none"]), "metrics": "loss,validation", "points": 20}).json()
    assert [run["run_id"] for run in body["runs"]] == ids
    assert body["missing"] == ["none"]
    assert [len(run["x"]) for run in body["runs"]] == [20, 20]
    assert {"loss", "smooth_loss", "speed"} <= set(body["available"])
    zoom = panel.client.get(path, params={"ids": ids[0], "first": 5, "last": 9}).json()["runs"][0]
    assert zoom["x"] == [5, 6, 7, 8, 9]
    for wrong in ({}, {"ids": ids[0], "axis": "moon"}, {"ids": ids[0], "points": 1}, {"ids": ",".join(map(str, range(40)))}):
        assert panel.client.get(path, params=wrong).status_code == 422


def test_runs_are_compared_by_their_settings_and_results(panel):
    """Only settings that differ are listed, with their titles and one value per run."""
    first = panel.finished(steps=2)
    panel.document = panel.document | {"learning_rate": 0.125, "epochs": 7}
    second = panel.finished(steps=3)
    body = panel.client.get("/api/runs/compare", params={"ids": f"{first},{second}"}).json()
    rows = {row["path"]: row for row in body["settings"]}
    assert rows["learning_rate"]["title"] == "Learning rate"
    assert rows["learning_rate"]["values"][1] == 0.125
    assert {"learning_rate", "epochs"} == set(rows)
    assert [run["global_step"] for run in body["runs"]] == [2, 3]
    assert panel.client.get("/api/runs/compare", params={"ids": f"{first},none"}).status_code == 404
