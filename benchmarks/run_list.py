"""Measure a data folder with many runs: the start, and the list in pages, searched and sorted.

    python benchmarks/run_list.py [NUMBER_OF_RUNS]

Every run has a record, a configuration, a journal with its end and an exit note, as an ended run has. The entries of the list
(summary.json) and the index don't exist at first, as after an update: that is the slow case. The second start has both.
Each list is the best of three, because other programs may use the CPU.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from onetrainer_gradio.events import RunEnded, RunStarted
from onetrainer_gradio.service.runs.index import SORTS, RunQuery
from onetrainer_gradio.service.runs.journal import encode_line
from onetrainer_gradio.service.runs.record import new_run_id
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService

ROOT = Path(__file__).parent.parent


def fill(runs: Path, number: int) -> None:
    """Write the folders of ended runs, a minute apart."""
    lines = encode_line(RunStarted(backend="builtin", pid=1)) + encode_line(RunEnded(reason="completed"))
    for minute in range(number):
        folder = runs / new_run_id(1_700_000_000 + 60 * minute)
        folder.mkdir(parents=True)
        record = {"id": folder.name, "name": f"run {minute}", "created_at": 1_700_000_000 + 60 * minute, "backend": "builtin"}
        (folder / "run.json").write_text(json.dumps(record | {"workspace": str(runs.parent / "workspace")}))
        (folder / "config.json").write_text("{}")
        (folder / "journal.jsonl").write_bytes(lines)
        (folder / "exit.json").write_text(json.dumps({"exit_code": 0, "signal": "", "stage": None, "at": record["created_at"]}))


def measure(data: Path) -> None:
    """Print the times of one start of the service."""
    began = time.perf_counter()
    service = TrainerService(ServiceSettings(data_folder=data))
    service.open()
    print(f"start            {time.perf_counter() - began:7.3f} s")
    began = time.perf_counter()
    page = service.runs.page()
    print(f"first page       {time.perf_counter() - began:7.3f} s, {len(json.dumps(page)):,} bytes of {page['total']:,} runs")
    while service.runs.page(limit=1)["unread"]:
        time.sleep(1)
    print(f"index complete   {time.perf_counter() - began:7.3f} s after the start")
    print(f"list             {best(lambda: service.runs.page()):7.3f} s")
    print(f"search           {best(lambda: service.runs.page(50, None, RunQuery(search='run 19'))):7.3f} s")
    slowest = max((best(lambda sort=sort: service.runs.page(50, None, RunQuery(sort=sort))), sort) for sort in SORTS)
    print(f"slowest order    {slowest[0]:7.3f} s ({slowest[1]})")
    print(f"samples          {best(lambda: service.samples.list()):7.3f} s")
    print(f"snapshot         {best(service.feed.snapshot):7.3f} s")
    service.close()
    print(f"resident         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:7.0f} MB at most")


def best(call: Callable[[], object]) -> float:
    """Return the shortest time of three calls."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def first_answer(data: Path) -> tuple[float, float]:
    """Start the panel; return the seconds until it answers ``GET /api/runs``, and the CPU seconds that it used for it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--data", str(data), "--no-open"]
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as panel:
        while panel.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/api/runs?limit=50", timeout=60).raise_for_status()
                break
            time.sleep(0.02)
        took = time.perf_counter() - began
        assert panel.poll() is None, "the panel ended"
        used = sum(psutil.Process(panel.pid).cpu_times()[:2])
        panel.terminate()
    return took, used


def main() -> None:
    """Fill a folder, then start the service twice and the whole panel with and without runs."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20_001
    with tempfile.TemporaryDirectory() as folder:
        data, empty = Path(folder, "data"), Path(folder, "empty")
        empty.mkdir()
        fill(data / "runs", number)
        for _ in range(2):
            measure(data)
        for name, place in (("no runs", empty), (f"{number:,} runs", data)):
            took, used = zip(*(first_answer(place) for _ in range(5)), strict=True)
            print(f"whole panel, {name}: {min(took):.2f} s until it answers, {min(used):.2f} s of CPU time (best of five)")


if __name__ == "__main__":
    main()
