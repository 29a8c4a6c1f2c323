"""Publishing over REST, to a stand-in for the Hugging Face Hub.

Covers ``service/hub/publishing.py``.
"""

from __future__ import annotations

import pytest

from tests.fakes.hub import FakeHub

pytestmark = pytest.mark.slow


@pytest.fixture
def published(panel, monkeypatch):
    """A panel with a finished run and a token, and the stand-in."""
    with FakeHub() as hub:
        hub.account("hf_writer", "ada")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        panel.client.put("/api/secrets", json={"huggingface_token": "hf_writer"})
        panel.run_id = panel.finished(steps=2)
        panel.hub = hub
        yield panel


def test_a_run_is_previewed_published_and_listed(published):
    """The preview contains the card; a publication has its progress; the list has its address."""
    path = f"/api/runs/{published.run_id}"
    shown = published.client.post(f"{path}/publish", json={"preview": True}).json()
    assert shown["account"]["name"] == "ada"
    assert shown["card"].startswith("---\n")
    started = published.client.post(f"{path}/publish", json={"repository": "cat"})
    assert started.status_code == 200, started.text
    publication = started.json()["id"]
    published.service.publishing.wait(publication, 30)
    done = published.client.get(f"{path}/publications/{publication}").json()
    assert (done["state"], done["repository"], done["done"]) == ("done", "ada/cat", done["total"])
    listed = published.client.get(f"{path}/publications").json()["publications"]
    assert [each["url"] for each in listed] == [f"{published.hub.url}/ada/cat"]
    again = published.client.post(f"{path}/publish", json={"repository": "cat"})
    assert again.status_code == 409
    assert "already exists" in again.json()["error"]


def test_errors_of_the_hub_are_not_those_of_the_panel(published):
    """A token that the Hugging Face Hub rejects is 403, not 401, which would mean a login to the panel."""
    published.client.put("/api/secrets", json={"huggingface_token": "hf_wrong"})
    reply = published.client.post(f"/api/runs/{published.run_id}/publish", json={})
    assert reply.status_code == 403
    assert "token" in reply.json()["error"]
    assert published.client.post("/api/runs/none/publish", json={"preview": True}).status_code == 404
    assert published.client.get(f"/api/runs/{published.run_id}/publications/none").status_code == 404


def test_inputs_are_bounded(published):
    for wrong in ({"license": "A License!"}, {"description": "x" * 10_001}, {"samples": ["x"] * 13}):
        assert published.client.post(f"/api/runs/{published.run_id}/publish", json=wrong).status_code == 422
