"""Images with the results of a run over REST. Covers ``service/generations.py`` and ``backends/answering.py``."""

from __future__ import annotations

import sys

import pytest

from onetrainer_gradio.service.generations import Generations

pytestmark = pytest.mark.slow

WORKER = "tests.fakes.generation_worker"


@pytest.fixture
def finished(panel, monkeypatch):
    """A panel with a finished run, and a worker that writes pixels."""
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    panel.service.generations.close()
    panel.training_now = False
    panel.service.generations = Generations(
        panel.folder / "generations", panel.service.runs, training=lambda: panel.training_now, worker=WORKER
    )
    panel.run_id = panel.finished(steps=2)
    yield panel
    panel.service.generations.close()


def start(panel, status: int = 200, **changes: object) -> dict:
    body = {"run_id": panel.run_id, "prompts": ["a cat"], "sample": {"diffusion_steps": 1}, **changes}
    reply = panel.client.post("/api/generations", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


def test_a_grid_is_generated_beside_the_base_model(finished):
    """Each prompt once with the base model and at each strength, all with one seed; images can be loaded one by one."""
    made = start(finished, prompts=["a cat", "a dog"], strengths=[0.5, 1.0])
    assert [(cell["prompt"], bool(cell["file"]), cell["strength"]) for cell in made["cells"]] == [
        ("a cat", False, 0.0),
        ("a cat", True, 0.5),
        ("a cat", True, 1.0),
        ("a dog", False, 0.0),
        ("a dog", True, 0.5),
        ("a dog", True, 1.0),
    ]
    done = finished.service.generations.wait(made["id"], 30)
    assert done["state"] == "done", done
    assert all(cell["done"] for cell in done["cells"])
    for number in range(6):
        reply = finished.client.get(f"/api/generations/{made['id']}/images/{number}")
        assert reply.headers["content-type"] == "image/png"
    assert [grid["id"] for grid in finished.client.get("/api/generations").json()["generations"]] == [made["id"]]
    assert finished.client.get("/api/generations?run_id=other").json()["generations"] == []


def test_a_grid_is_still_there_after_a_restart_and_can_be_deleted(finished):
    made = start(finished)
    finished.service.generations.wait(made["id"], 30)
    later = Generations(finished.folder / "generations", finished.service.runs, worker=WORKER)
    assert later.get(made["id"])["state"] == "done"
    assert finished.client.delete(f"/api/generations/{made['id']}").json() == {"ok": True}
    assert finished.client.get(f"/api/generations/{made['id']}/images/0").status_code == 404
    assert later.list() == []


def test_a_stop_ends_it_within_an_image_and_keeps_finished_ones(finished):
    made = start(finished, prompts=["a", "b", "c"], sample={"diffusion_steps": 30}, base=False)
    generations = finished.service.generations
    while not generations.get(made["id"])["cells"][0]["done"]:
        generations.wait(made["id"], 0.05)
    finished.client.post(f"/api/generations/{made['id']}/stop")
    ended = generations.wait(made["id"], 20)
    assert ended["state"] == "stopped"
    assert ended["cells"][0]["done"]
    assert not ended["cells"][2]["done"]


@pytest.mark.parametrize(("prompt", "text"), [("fail", "It failed"), ("die", "The process that generates images ended")])
def test_a_failure_is_reported_and_the_next_grid_works(finished, prompt, text):
    made = start(finished, prompts=[prompt])
    ended = finished.service.generations.wait(made["id"], 30)
    assert ended["state"] == "failed"
    assert ended["error"].startswith(text)
    again = start(finished)
    assert finished.service.generations.wait(again["id"], 30)["state"] == "done"


def test_while_a_run_trains_on_the_gpu_only_the_cpu_generates(finished):
    """A run of the tests trains on the CPU, so its configuration is told another device."""
    finished.training_now = True
    run = finished.service.runs.get(finished.run_id)
    (run.folder / "config.json").write_text(
        (run.folder / "config.json").read_text().replace('"train_device": "cpu"', '"train_device": "cuda"')
    )
    assert "GPU" in start(finished, 409)["error"]
    assert start(finished, device="cpu")["state"] == "running"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"run_id": "none"}, 404),
        ({"files": ["999"]}, 404),
        ({"strengths": [0.1] * 64, "prompts": ["a", "b"]}, 422),
        ({"strengths": [99]}, 422),
        ({"sample": {"width": "wide"}}, 422),
    ],
)
def test_a_wrong_request_is_refused(finished, changes, status):
    start(finished, status, **changes)


@pytest.mark.parametrize("grid", ["none", "..", "0" * 12])
def test_unknown_grids_are_not_found(panel, grid):
    assert panel.client.get(f"/api/generations/{grid}").status_code == 404
