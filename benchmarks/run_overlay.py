"""Measure a chart of several long runs: the first answer, later ones, zooms, all metrics, and the memory that they take.

    python benchmarks/run_overlay.py [RUNS [STEPS]]

The first answer summarizes the metrics of each run (service/runs/metric_blocks.py); later ones, also after a restart, read only
the summaries. Each later time is the best of three, because other programs may use the CPU.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from onetrainer_gradio.service.runs.metric_blocks import MetricBlocks
from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS, column_names
from onetrainer_gradio.service.runs.overlay import ALL, Overlay, View
from onetrainer_gradio.service.runs.record import RunStore, new_run_id

ROWS_AT_ONCE = 100_000
COLUMNS = column_names(["unet", "text_encoder"])


def write_run(folder: Path, steps: int, seed: int) -> None:
    """Write the folder of a run with one row per step."""
    folder.mkdir(parents=True)
    record = {"id": folder.name, "name": f"run {seed}", "created_at": 1_700_000_000.0, "backend": "builtin", "workspace": "w"}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "config.json").write_text("{}")
    (folder / "journal.jsonl").write_text('{"type":"run_ended","reason":"completed","at":1.0}\n')
    random = np.random.default_rng(seed)
    header = json.dumps({"format": "onetrainer_gradio.metrics", "version": 1, "dtype": "<f8", "columns": COLUMNS}).encode()
    with (folder / "metrics.bin").open("wb") as file:
        file.write(header + b"\n")
        for first in range(0, steps, ROWS_AT_ONCE):
            step = np.arange(first + 1, min(first + ROWS_AT_ONCE, steps) + 1, dtype=float)
            rows = np.full((len(step), len(COLUMNS)), 1e-4)
            loss = 0.1 + random.gamma(2.0, 0.02, len(step)) + 1 / (1 + step / 1000)
            values = (
                step,
                step,
                step // 1000,
                step % 1000,
                step % 1000,
                1_700_000_000 + step,
                loss,
                loss,
                loss,
                np.ones(len(step)),
            )
            for name, column in zip(FIXED_COLUMNS, values, strict=False):
                rows[:, FIXED_COLUMNS.index(name)] = column
            rows[:, FIXED_COLUMNS.index("images")] = 4.0
            file.write(rows.astype("<f8").tobytes())


def timed(call: Callable[[], Any], repeat: int = 3) -> tuple[float, Any]:
    """Return the shortest time of some calls, and the last answer."""
    times, answer = [], None
    for _ in range(repeat):
        began = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - began)
    return min(times), answer


def main() -> None:
    """Fill a folder and print the times."""
    number, steps = (int(sys.argv[1]) if len(sys.argv) > 1 else 10), (int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder, "runs"))
        for seed in range(number):
            write_run(store.folder / new_run_id(1_700_000_000 + 60 * seed), steps, seed)
        ids = store.ids()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        overlay = Overlay(store, MetricBlocks(Path(folder, "cache")))
        middle = {"first": steps * 0.5, "last": steps * 0.5 + 1000}
        cases = (
            ("first answer", View(points=700), 1),
            ("later answers", View(points=700), 3),
            ("by time", View(axis="time", points=700), 3),
            ("zoom to a tenth", View(first=steps * 0.4, last=steps * 0.5, points=700), 3),
            ("zoom to 1,000 steps", View(**middle, points=700), 3),
            ("all metrics", View(metrics=(ALL,), points=700), 3),
        )
        for title, view, repeat in cases:
            took, answer = timed(lambda view=view: overlay.series(ids, view), repeat)
            points = len(answer["runs"][0]["x"])
            size = len(json.dumps(answer, separators=(",", ":")))
            print(f"{title:20} {took:7.3f} s, {size:7,} bytes, {points:4} points for each of {number} runs of {steps:,} steps")
        cache, whole = (
            sum(path.stat().st_size for path in Path(folder).rglob(pattern)) / 1e6 for pattern in ("*.blocks", "metrics.bin")
        )
        print(f"summaries            {cache:7.1f} MB of {whole:.0f} MB")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"resident             {after / 1024:7.0f} MB at most, {(after - before) / 1024:.0f} MB of them for the charts")


if __name__ == "__main__":
    main()
