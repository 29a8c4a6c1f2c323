"""Measure a data folder with many runs: the start of the service, the first page of the list, and a later page.

    python benchmarks/run_list.py [NUMBER_OF_RUNS]

Every run has a record, a configuration, a journal with its end and an exit note, as an ended run has. The lines of the list
(summary.json) don't exist at first, as after an update: that is the slow case.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from onetrainer_gradio.events import RunEnded, RunStarted
from onetrainer_gradio.service.runs.journal import encode_line
from onetrainer_gradio.service.runs.record import new_run_id
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService


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
    """Print the times of one start."""
    began = time.perf_counter()
    service = TrainerService(ServiceSettings(data_folder=data))
    service.open()
    print(f"start            {time.perf_counter() - began:7.3f} s")
    cursor = None
    for name in ("first page", "second page", "first page again"):
        began = time.perf_counter()
        page = service.runs.page(cursor=None if name.endswith("again") else cursor)
        print(f"{name:16s} {time.perf_counter() - began:7.3f} s, {len(json.dumps(page)):,} bytes of {page['total']:,} runs")
        cursor = page["next_cursor"]
    began = time.perf_counter()
    service.feed.snapshot()
    print(f"snapshot         {time.perf_counter() - began:7.3f} s")
    service.close()
    print(f"resident         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:7.0f} MB at most")


def main() -> None:
    """Fill a folder, then start twice."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20_001
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        fill(data / "runs", number)
        for _ in range(2):
            measure(data)


if __name__ == "__main__":
    main()
