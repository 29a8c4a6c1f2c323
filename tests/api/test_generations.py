"""Images from the results of a run over REST.

Covers ``service/generations.py``, ``service/runs/kept_samples.py`` and ``backends/answering.py``.
"""

from __future__ import annotations

import io
import sys
import time
import zipfile

import psutil
import pytest

from onetrainer_gradio.service.generations import Generations
from onetrainer_gradio.service.runs.samples import SampleStore
from tests.waiting import until

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


@pytest.mark.exhaustive
def test_a_grid_is_generated_next_to_the_base_model(finished):
    """Each prompt is generated once with the base model and at each strength, all with one seed; images load one by one."""
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


@pytest.mark.exhaustive
def test_a_grid_is_still_there_after_a_restart_and_can_be_deleted(finished):
    made = start(finished)
    finished.service.generations.wait(made["id"], 30)
    later = Generations(finished.folder / "generations", finished.service.runs, worker=WORKER)
    assert later.get(made["id"])["state"] == "done"
    assert finished.client.delete(f"/api/generations/{made['id']}").json() == {"ok": True}
    assert finished.client.get(f"/api/generations/{made['id']}/images/0").status_code == 404
    assert later.list() == {"generations": [], "next": None}


@pytest.mark.exhaustive
def test_a_stop_ends_it_within_an_image_and_keeps_finished_ones(finished):
    made = start(finished, prompts=["a", "b", "c"], sample={"diffusion_steps": 30}, base=False)
    generations = finished.service.generations
    until(lambda: generations.get(made["id"])["cells"][0]["done"])
    finished.client.post(f"/api/generations/{made['id']}/stop")
    ended = generations.wait(made["id"], 20)
    assert ended["state"] == "stopped"
    assert ended["cells"][0]["done"]
    assert not ended["cells"][2]["done"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("prompt", "text"), [("fail", "It failed"), ("die", "The process that generates images ended")])
def test_a_failure_is_reported_and_the_next_grid_works(finished, prompt, text):
    made = start(finished, prompts=[prompt])
    ended = finished.service.generations.wait(made["id"], 30)
    assert ended["state"] == "failed"
    assert ended["error"].startswith(text)
    again = start(finished)
    assert finished.service.generations.wait(again["id"], 30)["state"] == "done"


@pytest.mark.exhaustive
def test_a_stopped_grid_is_resumed_also_by_a_later_panel(finished):
    """Finished images stay the same, and the missing ones are generated."""
    made = start(finished, prompts=["a", "b"], sample={"diffusion_steps": 30}, base=False)
    generations = finished.service.generations
    until(lambda: generations.get(made["id"])["cells"][0]["done"])
    generations.stop(made["id"])
    assert generations.wait(made["id"], 20)["state"] == "stopped"
    first = finished.folder / "generations" / made["id"] / "000.png"
    written = first.stat().st_mtime_ns
    generations.close()
    later = finished.service.generations = Generations(finished.folder / "generations", finished.service.runs, worker=WORKER)
    assert finished.client.post(f"/api/generations/{made['id']}/resume").json()["state"] == "running"
    ended = later.wait(made["id"], 20)
    assert ended["state"] == "done"
    assert all(cell["done"] for cell in ended["cells"])
    assert first.stat().st_mtime_ns == written
    finished.service.delete_run(finished.run_id)
    assert finished.client.post(f"/api/generations/{made['id']}/resume").status_code == 404


@pytest.mark.exhaustive
def test_lists_are_paged_and_end_with_the_run(finished):
    """The newest is first; deleting a run deletes its grids."""
    made = []
    for _ in range(3):
        made.append(start(finished)["id"])
        finished.service.generations.wait(made[-1], 30)
    page = finished.client.get(f"/api/generations?limit=2&run_id={finished.run_id}").json()
    assert [grid["id"] for grid in page["generations"]] == made[:0:-1]
    assert finished.client.delete(f"/api/generations/{made[1]}").status_code == 200  # the last one of the page
    rest = finished.client.get(f"/api/generations?limit=2&before={page['next']}").json()
    assert [grid["id"] for grid in rest["generations"]] == made[:1]
    assert rest["next"] is None
    wrong = finished.client.get("/api/generations?before=elsewhere")
    assert wrong.status_code == 422
    assert "Use the `next` of the previous page" in wrong.json()["error"]
    finished.service.delete_run(finished.run_id)
    assert finished.client.get("/api/generations").json()["generations"] == []
    assert list((finished.folder / "generations").iterdir()) == []


@pytest.mark.exhaustive
def test_a_grid_of_a_run_that_is_deleted_ends_and_is_deleted(finished):
    made = start(finished, prompts=["a", "b", "c"], sample={"diffusion_steps": 30}, base=False)
    until(lambda: finished.service.generations.get(made["id"])["cells"][0]["done"])
    finished.service.delete_run(finished.run_id)
    finished.service.generations.wait(made["id"], 20)
    assert list((finished.folder / "generations").iterdir()) == []


def test_images_come_with_their_parameters_and_as_a_zip(finished):
    """The text is the one in the file; the zip contains only finished images, with descriptive names."""
    made = start(finished, prompts=["a cat, red"], strengths=[0.5], seed=9)
    done = finished.service.generations.wait(made["id"], 30)
    assert done["cells"][1]["parameters"].splitlines()[0] == "a cat, red <lora:lora:0.5>"
    assert "Seed: 9, Size: 32x32, Model: model" in done["cells"][0]["parameters"]
    small = finished.client.get(f"/api/generations/{made['id']}/images/1/thumbnail?w=100")
    assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
    assert finished.client.get(f"/api/generations/{made['id']}/images/9/thumbnail").status_code == 404
    reply = finished.client.get(f"/api/generations/{made['id']}/images.zip")
    names = zipfile.ZipFile(io.BytesIO(reply.content)).namelist()
    assert names == ["000 a cat red (base model).png", "001 a cat red (lora at 0.5).png"]
    assert finished.client.get("/api/generations/none/images.zip").status_code == 404


@pytest.mark.exhaustive
def test_an_image_is_kept_as_a_sample_of_the_run(finished):
    """It is kept once, with its parameters. It becomes the newest sample, has a thumbnail, and outlives the grid."""
    before = finished.client.get("/api/samples/list").json()
    made = start(finished, prompts=["a cat"], strengths=[0.5], seed=4)
    finished.service.generations.wait(made["id"], 30)
    kept = finished.client.post(f"/api/generations/{made['id']}/images/1/keep").json()
    assert (kept["run_id"], kept["prompt"], kept["strength"], kept["seed"]) == (finished.run_id, "a cat", 0.5, 4)
    assert finished.client.post(f"/api/generations/{made['id']}/images/1/keep").json()["id"] == kept["id"]
    other = finished.client.post(f"/api/generations/{made['id']}/images/0/keep").json()
    finished.client.delete(f"/api/generations/{made['id']}")
    for query in ("", f"?run_id={finished.run_id}"):
        listed = finished.client.get(f"/api/samples/list{query}").json()
        assert [sample["id"] for sample in listed["samples"]][:2] == [other["id"], kept["id"]]
        assert listed["total"] == before["total"] + 2
    page = finished.client.get("/api/samples/list?limit=1").json()
    assert finished.client.get(f"/api/samples/list?limit=1&before={page['next']}").json()["samples"][0]["id"] == kept["id"]
    assert finished.client.get(kept["path"]).headers["content-type"] == "image/png"
    assert finished.client.get(kept["thumbnail"]).headers["content-type"] == "image/webp"
    assert finished.client.post(f"/api/generations/{made['id']}/images/0/keep").status_code == 404
    unknown = kept["id"][:-1] + "7"
    assert finished.client.get(f"/api/samples/{unknown}").status_code == 404
    later = SampleStore(finished.service.runs, finished.folder / "thumbnails")
    assert [sample["id"] for sample in later.latest(2)] == [other["id"], kept["id"]]


@pytest.mark.exhaustive
def test_a_run_that_starts_gets_the_memory(finished):
    """A grid on the GPU ends with the reason and an idle process exits; a grid on
    the CPU continues, or one whose run is on the CPU.
    """
    generations = finished.service.generations
    run = finished.service.runs.get(finished.run_id)
    made = start(finished)
    generations.wait(made["id"], 30)
    idle = generations._process
    generations.make_room("cpu")
    assert idle.poll() not in {None, 0}, "the next grid would be sent to a process that is about to end"
    slow = start(finished, sample={"diffusion_steps": 100}, base=False)
    generations.make_room("cuda:0")
    assert generations.wait(slow["id"], 30)["state"] == "done"
    gpu = (run.folder / "config.json").read_text().replace('"train_device": "cpu"', '"train_device": "cuda"')
    (run.folder / "config.json").write_text(gpu)
    slow = start(finished, sample={"diffusion_steps": 500}, base=False)
    generations.make_room("cpu")
    assert generations.get(slow["id"])["state"] == "running"
    generations.make_room("cuda")
    ended = generations.wait(slow["id"], 10)
    assert ended["state"] == "failed"
    assert ended["error"] == "A run started to train on the GPU"
    assert generations.resume(slow["id"])["state"] == "running"
    ended = generations.wait(slow["id"], 30)
    assert ended["state"] == "done", ended.get("error")


@pytest.mark.exhaustive
def test_no_process_is_left_behind(finished):
    """A process that exits by itself is no zombie, and the next grid starts another one without an error."""
    generations = finished.service.generations
    made = start(finished, prompts=["leave"])
    generations.wait(made["id"], 30)
    process = generations._process.pid
    give_up_at = time.monotonic() + 10
    while psutil.pid_exists(process) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert not psutil.pid_exists(process)
    made = start(finished)
    assert generations.wait(made["id"], 30)["state"] == "done"
    last = generations._process.pid
    generations.close()
    assert not psutil.pid_exists(last)


def test_a_full_disk_is_named(finished, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onetrainer_gradio.service.generations.write_json", full)
    made = start(finished)
    job = finished.service.generations._jobs.wait(made["id"], 10)
    assert job.state == "failed"
    assert "no space left" in job.error


def test_while_a_run_trains_on_the_gpu_only_the_cpu_generates(finished):
    """A run of the tests trains on the CPU, so its configuration is set to another device."""
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
def test_a_wrong_request_is_rejected(finished, changes, status):
    start(finished, status, **changes)


@pytest.mark.parametrize("grid", ["none", "..", "0" * 12])
def test_unknown_grids_are_not_found(panel, grid):
    assert panel.client.get(f"/api/generations/{grid}").status_code == 404
