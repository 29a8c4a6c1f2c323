"""Data folders whose files were damaged while no panel was running, and full disks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.errors import ConfigInvalidError, RunConflictError, StorageError
from onetrainer_gradio.service import ServiceSettings, TrainerService
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.chaos.conftest import ROUNDS, Tally
from tests.chaos.panels import REHEARSAL, copied, end_all, ended, leftovers, panel, until
from tests.fakes.configs import small_config

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

ADDRESS = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of a panel: three finished runs and saved settings."""
    folder = tmp_path_factory.mktemp("whole")
    with panel(folder) as service:
        for _ in range(3):
            service.start(small_config(folder), RunOptions(name="run", tags=("steps=20", "sample_every=10", "backup_every=10")))
            assert until(lambda: ended(service.get_state()))
        service.configs.save("mine")
    return folder


def damage(random: Random, path: Path) -> str:
    """Damage one file and return how."""
    content = path.read_bytes()
    at = random.randrange(len(content) + 1)
    ways = {
        "cut": content[:at],
        "emptied": b"",
        "zeros": content[:at] + b"\\0" * (len(content) - at),
        "noise": content[:at] + random.randbytes(64) + content[at + 64 :],
        "other JSON": random.choice([b"[]", b"{}", b"null", b'"x"', b"1", b'{"id": 1, "created_at": "x"}', b"[" * 3000]),
        "no UTF-8": b"\\xff\\xfe" + content,
        "long line": content + b"x" * 300_000,
    }
    way = random.choice([*ways, "gone", "folder"])
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way != "gone":
        path.write_bytes(ways[way])
    return f"{path.name} {way}"


def look(tally: Tally, client: TestClient, what: str) -> None:
    """Request everything that the page reads."""
    paths = ["/api/training/status", "/api/runs", "/api/config/current", "/api/config/list", "/api/samples/list", "/api/events"]
    paths += ["/api/engines", "/api/config/libraries", "/api/onetrainer/checkouts", "/api/system/resources", "/api/secrets"]
    listed = client.get("/api/runs")
    for run in listed.json().get("runs", []) if listed.status_code == 200 else []:
        for part in ("", "/journal", "/metrics", "/log", "/files"):
            paths.append(f"/api/runs/{run['id']}{part}")
        files = client.get(f"/api/runs/{run['id']}/files")
        paths += [f"/api/runs/{run['id']}/files/{file['id']}" for file in files.json().get("files", [])]
    samples = client.get("/api/samples/list").json().get("samples", [])
    paths += [f"/api/samples/{sample['id']}{part}" for sample in samples[:4] for part in ("", "/image", "/thumbnail")]
    for path in paths:
        reply = client.get(path)
        tally.check("unreachable", reply.status_code < 500, f"{path} after {what}: {reply.text[:200]}")
    with client.websocket_connect("ws://127.0.0.1:7860/ws") as socket:
        tally.check("unreachable", socket.receive_json()["type"] == "connected", f"the live view after {what}")


def test_damaged_files(tally, whole, tmp_path):
    """With one to three random files damaged, the panel starts, shows the undamaged runs unchanged, and trains."""
    with panel(whole, in_process=True) as service:
        before = {row["id"]: row["end_reason"] for row in service.runs.list()}
    for number in range(6 * ROUNDS):
        random, folder = tally.round(number), copied(whole, tmp_path / str(number))
        files = [path for path in sorted((folder / "data").rglob("*")) if path.is_file() and path.name != "panel.json"]
        chosen = random.sample(files, random.randint(1, 3))
        what = ", ".join(damage(random, path) for path in chosen)
        touched = {part for path in chosen for part in path.relative_to(folder).parts}
        service = TrainerService(ServiceSettings(data_folder=folder / "data", backend=REHEARSAL, in_process=True))
        try:
            client = TestClient(create_api(service, Access(AccessSettings())), base_url=ADDRESS)
            client.__enter__()
        except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is what is counted
            tally.count("unreachable", f"no start after {what}: {type(error).__name__}: {error}")
            continue
        with contextlib.ExitStack() as stack:
            stack.push(client.__exit__)
            look(tally, client, what)
            listed = client.get("/api/runs")
            after = {run["id"]: run["end_reason"] for run in listed.json().get("runs", [])} if listed.status_code == 200 else {}
            for run_id, reason in before.items():
                if run_id not in touched:
                    tally.check("mislabelled", after.get(run_id) == reason, f"{run_id} is {after.get(run_id)} after {what}")
                else:
                    tally.check("lost", run_id in after, f"{run_id} is not listed after {what}")
            with contextlib.suppress(AssertionError):
                service.start(small_config(folder), RunOptions(tags=("steps=2",)))
                tally.check("unreachable", until(lambda service=service: ended(service.get_state()), 20), f"no run after {what}")


def test_torn_journals(tally, whole, tmp_path):
    """A completed run stays completed wherever its journal is cut, because the end of its process was recorded separately."""
    newest = max(path for path in (whole / "data" / "runs").iterdir())
    content = (newest / "journal.jsonl").read_bytes()
    for number in range(4 * ROUNDS):
        random, folder = tally.round(number), copied(whole, tmp_path / str(number))
        run_folder = folder / "data" / "runs" / newest.name
        at = random.randrange(len(content))
        (run_folder / "journal.jsonl").write_bytes(content[:at])
        (run_folder / "summary.json").unlink(missing_ok=True)
        with panel(folder) as service:
            state = service.runs.get(newest.name).state()
            tally.check(
                "mislabelled", state["end_reason"] == "completed", f"{state['end_reason']} when cut at {at} of {len(content)}"
            )
            row = next((row for row in service.runs.list() if row["id"] == newest.name), {})
            tally.check("mislabelled", row.get("end_reason") == "completed", f"list: {row.get('end_reason')}, cut at {at}")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_disk_full(tally, tmp_path):
    """When the disk fills up at a random moment, the run's end is correct, the
    panel responds, and works again when there is space.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "none", str(disk)], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        for number in range(ROUNDS):
            random, folder = tally.round(number), disk / str(number)
            folder.mkdir()
            with panel(folder) as service:
                run_id = service.start(
                    small_config(folder), RunOptions(tags=("steps=150", "step_s=0.01", "sample_every=10", "backup_every=20"))
                )
                time.sleep(random.uniform(0.2, 2.5))
                fill(disk)
                time.sleep(random.uniform(0.5, 2.5))
                before = {path.name for path in (folder / "data" / "runs").iterdir()}
                began = time.monotonic()
                with contextlib.suppress(StorageError, RunConflictError, ConfigInvalidError):
                    service.start(small_config(tmp_path / "elsewhere"), RunOptions(tags=("steps=2",)))
                    before |= set(service.runs.ids())
                if service.get_state()["can"]["stop"]:
                    service.stop_training()
                tally.check("unreachable", time.monotonic() - began < 5, f"{time.monotonic() - began:.1f} s on a full disk")
                tally.check("stray", {path.name for path in (folder / "data" / "runs").iterdir()} == before, "a folder of no run")
                (disk / "filler").unlink()
                tally.check("unstopped", until(lambda service=service: ended(service.get_state())), service.get_state()["phase"])
            with panel(folder) as service:
                tally.check("lost", run_id in service.runs.ids(), "the run is gone")
                state = service.runs.get(run_id).state()
                # if the disk took no record at all, not even that the worker started, the cause of the end is unknown
                tally.check("mislabelled", state["end_reason"] in {"completed", "failed", "stopped", "lost"}, state["end_reason"])
                run_id = service.start(small_config(folder), RunOptions(tags=("steps=3",)))
                tally.check("unstopped", until(lambda service=service: ended(service.get_state())), "the next run")
                state = service.runs.get(run_id).state()
                tally.check("mislabelled", state["end_reason"] == "completed", f"{state['end_reason']}: {state['error']}")
                tally.check("stray", not leftovers(folder), leftovers(folder))
            end_all(folder)
            subprocess.run(["rm", "-r", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(disk: Path) -> None:
    """Fill the disk."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(b"\\0" * 4096):
            pass
