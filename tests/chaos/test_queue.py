"""The queue under kills, races, a full disk, clock jumps and a device that keeps its memory: no run is lost or runs twice."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.machine import GIGABYTE, Gpu, Machine
from onetrainer_gradio.errors import DiskFullError, QueueItemNotFoundError, RunConflictError
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from tests.chaos.conftest import ROUNDS, Tally
from tests.chaos.panels import REHEARSAL, ROOT, end_all, panel, until
from tests.fakes.configs import small_config

pytestmark = pytest.mark.slow

# A panel that starts the runs of a queue until it is killed.
PANEL = """
import sys, time
from pathlib import Path
from onetrainer_gradio.service import ServiceSettings, TrainerService

service = TrainerService(ServiceSettings(data_folder=Path(sys.argv[1]), backend=sys.argv[2]))
service.open()
print("open", flush=True)
time.sleep(600)
"""
ENDED = ("completed", "stopped", "failed")


def add(service: TrainerService, folder: Path, name: str, *tags: str, **choices: Any) -> str:
    options = RunOptions(name=name, tags=tags or ("steps=2",))
    return str(service.enqueue(small_config(folder), options, **choices)["id"])


def states(service: TrainerService, ids: list[str]) -> list[str]:
    return [service.queue.get(each)["state"] for each in ids]


def wait_code(service: TrainerService, item_id: str) -> str:
    return str((service.queue.get(item_id)["wait"] or {}).get("code", ""))


def all_ended(service: TrainerService, ids: list[str], timeout_s: float = 90.0) -> bool:
    return until(lambda: all(state in ENDED for state in states(service, ids)), timeout_s)


def examine(tally: Tally, service: TrainerService, ids: list[str]) -> None:
    """Check that each item was one run, which completed, and that every run belongs to an item."""
    runs = {run.id: run for run in service.runs.all()}
    named = Counter(service.queue.get(each)["run_id"] for each in ids)
    for run_id, count in named.items():
        tally.check("lost", run_id in runs, f"the run {run_id!r} of an item is not there")
        tally.check("mislabelled", count == 1, f"{count} items name the run {run_id}")
    trained = Counter(run.options().queue_item for run in runs.values())
    for item_id, count in trained.items():
        tally.check("stray", count == 1 and item_id in ids, f"{item_id} has {count} runs")
    for run in runs.values():
        tally.check("mislabelled", run.state()["end_reason"] == "completed", f"{run.id}: {run.state()['end_reason']}")


def killed(folder: Path, wait_s: float) -> None:
    """Let a panel work on the queue, and kill it this long after it opened."""
    command = [sys.executable, "-c", PANEL, str(folder), REHEARSAL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_s)
        process.kill()


@pytest.mark.exhaustive
def test_panels_killed_while_items_start(tally, tmp_path):
    """Whatever moment a panel dies in, each item runs once and to its end."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        try:
            with panel(folder, runs_queue=False) as service:
                ids = [add(service, folder, str(each)) for each in range(4)]
            for _ in range(4):
                killed(folder / "data", random.uniform(0.0, 1.6))
            with panel(folder) as service:
                tally.check("unstopped", all_ended(service, ids), states(service, ids))
                examine(tally, service, ids)
        finally:
            end_all(folder)


def test_two_clients_reorder_and_remove_at_once(tally, tmp_path):
    """Every item that was not removed exists once, with a unique position; removed items are gone."""
    with panel(tmp_path, in_process=True) as service:
        service.queue.pause()
        for number in range(ROUNDS):
            random = tally.round(number)
            ids = [add(service, tmp_path, str(each)) for each in range(12)]
            removed: list[str] = []

            def client(random: Random, ids: list[str] = ids, removed: list[str] = removed) -> None:
                for _ in range(15):
                    item_id = random.choice(ids)
                    with contextlib.suppress(QueueItemNotFoundError, RunConflictError):
                        if random.random() < 0.2:
                            service.queue.remove(item_id)
                            removed.append(item_id)
                        elif random.random() < 0.5:
                            service.queue.move(item_id, place=random.randint(1, 12))
                        else:
                            service.queue.move(item_id, before=random.choice(ids))

            clients = [threading.Thread(target=client, args=(Random(random.random()),)) for _ in range(2)]
            for thread in clients:
                thread.start()
            for thread in clients:
                thread.join()
            items = service.queue.list(1000)["items"]
            left = [item["id"] for item in items]
            tally.check(
                "lost", sorted(left) == sorted(set(ids) - set(removed)), f"{len(left)} left of {len(ids)} - {len(removed)}"
            )
            tally.check("mislabelled", len(removed) == len(set(removed)), "one item was removed twice")
            tally.check("torn", [item["place"] for item in items] == list(range(1, len(items) + 1)), "places")
            for item_id in left:
                service.queue.remove(item_id)


@pytest.mark.exhaustive
def test_two_hundred_items(tally, tmp_path):
    """All of them run in order, and the list responds immediately in the meantime."""
    count = 200 if ROUNDS > 2 else 25
    tally.round(0)
    with panel(tmp_path, in_process=True) as service:
        service.queue.pause()
        ids = [add(service, tmp_path, f"{each:03}", "steps=1") for each in range(count)]
        extra = [add(service, tmp_path, f"held {each:03}", held=True) for each in range(200 - count)]
        began = time.monotonic()
        page = service.queue.list(1000)
        tally.check("unreachable", time.monotonic() - began < 0.5, f"the list took {time.monotonic() - began:.2f} s")
        tally.check("lost", page["total"] == 200, page["total"])
        service.queue.resume()
        tally.check("unstopped", all_ended(service, ids, 10.0 * count), Counter(states(service, ids)))
        tally.check("mislabelled", set(states(service, extra)) <= {"waiting"}, Counter(states(service, extra)))
        examine(tally, service, ids)
        names = [run.record.name for run in reversed(service.runs.all())]
        tally.check("torn", names == sorted(names), "the order of the starts")


def test_full_disk_at_adding(tally, tmp_path):
    """Adding fails with an error, nothing else changes, and the queue continues when there is space again."""
    with panel(tmp_path, in_process=True) as service:
        service.queue.pause()
        for number in range(ROUNDS):
            random = tally.round(number)
            kept = [add(service, tmp_path, str(each)) for each in range(random.randint(1, 4))]
            before = [item["id"] for item in service.queue.list()["items"]]
            database = service.queue.store._database()
            (pages,) = database.execute("PRAGMA page_count").fetchone()
            database.execute(f"PRAGMA max_page_count = {pages}")
            for _ in range(200):  # free pages in the file are used up first
                try:
                    kept.append(add(service, tmp_path, "more"))
                except DiskFullError:
                    break
            else:
                tally.count("mislabelled", "the disk never became full")
            after = [item["id"] for item in service.queue.list(1000)["items"]]
            tally.check("lost", after[: len(before)] == before and set(kept) <= set(after), f"{len(after)} of {len(kept)}")
            database.execute("PRAGMA max_page_count = 1000000")
            last = add(service, tmp_path, "after")
            tally.check("unreachable", service.queue.get(last)["place"] == len(after) + 1, "no addition after the disk was full")


@pytest.mark.exhaustive
def test_clock_jumps(tally, tmp_path):
    """A clock jump neither starts a run before the others nor keeps it from starting."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        with panel(folder, in_process=True) as service:
            jump = [0.0]
            service.dispatcher._clock = lambda jump=jump: time.time() + jump[0]
            service.queue.pause()
            later = add(service, folder, "later", not_before=time.time() + 3600)
            ids = [add(service, folder, str(each)) for each in range(4)]
            bad = add(service, folder, "bad", "steps=3", "fail_at=1", on_failure="retry", retries=1)
            service.queue.resume()
            for _ in range(8):
                jump[0] = random.choice([-1e6, -3000.0, 0.0, 1000.0])
                time.sleep(0.2)
            jump[0] = -1e6
            tally.check("unstopped", all_ended(service, ids), states(service, ids))
            tally.check("mislabelled", states(service, [later]) == ["waiting"], "a run started before its time")
            tally.check("unstopped", all_ended(service, [bad], 40), f"the retry waits for the clock: {states(service, [bad])}")
            jump[0] = 7200.0
            tally.check("unstopped", all_ended(service, [later]), "a run doesn't start when its time has come")


class StuckGpu:
    """A GPU that never frees the memory of its last run."""

    used = 1 << 30

    def read(self) -> list[dict[str, Any]]:
        return [{"index": 0, "name": "stuck", "memory_used": self.used, "memory_total": 24 << 30}]


def test_a_device_that_never_frees_its_memory(tally, tmp_path):
    """Nothing starts there, the reason is shown, runs for other devices overtake it, and the owner can start it anyway."""
    machine = Machine("cuda", (Gpu("stuck", 24 * GIGABYTE, (8, 9)),))
    for number in range(ROUNDS):
        tally.round(number)
        folder, gpu = tmp_path / str(number), StuckGpu()
        folder.mkdir()
        settings = ServiceSettings(data_folder=folder / "data", backend=REHEARSAL, in_process=True)
        with TrainerService(settings, gpus=lambda gpu=gpu: gpu, machine=lambda: machine) as service:
            service.dispatcher._memory._wait_s = 0.5
            first = add(service, folder, "first", "steps=30", "step_s=0.02", device="cuda")
            until(lambda service=service: service.get_state()["update_step"] > 0)
            gpu.used = 20 << 30
            stuck, passes = add(service, folder, "stuck", device="cuda"), add(service, folder, "passes", device="cpu")
            tally.check("unstopped", all_ended(service, [first, passes]), states(service, [first, passes]))
            late = until(lambda service=service, stuck=stuck: wait_code(service, stuck) == "memory_not_freed", 10)
            tally.check("mislabelled", late, f"the state is {wait_code(service, stuck)}")
            service.queue.edit(stuck, ItemChoices(priority=1))
            time.sleep(0.5)
            tally.check("stray", states(service, [stuck]) == ["waiting"], "a run started on a full device")
            service.queue.resume()
            tally.check("unstopped", all_ended(service, [stuck]), states(service, [stuck]))
