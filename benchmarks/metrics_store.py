"""Measure how long the chart of a completed run takes to open, and how many bytes it sends.

    python benchmarks/metrics_store.py [STEPS]

Write the metrics of a run (a million steps by default), open it as a newly started panel does, and request what the
page draws: loss, smoothed loss and two learning rates in 1000 buckets. Goals: under one second, under 100 kB.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from onetrainer_gradio.events import StepDone
from onetrainer_gradio.service.runs.metrics import MetricsReader, MetricsWriter

GROUPS = ("unet", "text_encoder")
SHOWN = ("loss", "smooth_loss", "lr/unet", "lr/text_encoder")


def write(path: Path, steps: int) -> float:
    """Write the steps as a recorder does, and return the seconds per step."""
    numbers = random.Random(1)
    writer = MetricsWriter(path)
    writer.plan(GROUPS)
    spent = 0.0
    smooth = 0.2
    for step in range(1, steps + 1):
        loss = 0.1 + 0.1 * numbers.random() + 1000 / (step + 5000)
        smooth = 0.99 * smooth + 0.01 * loss
        event = StepDone(
            update_step=step,
            global_step=step,
            epoch=step // 1000,
            epoch_step=step % 1000,
            epoch_sample=step % 1000,
            loss=loss,
            smooth_loss=smooth,
            grad_norm=loss * 3,
            learning_rates=(1e-4 * (1 - step / steps), 1e-5),
            seconds=0.5,
            images=4,
        )
        begun = time.perf_counter()
        writer.add(event)
        if step % 4 == 0:
            writer.flush()
        spent += time.perf_counter() - begun
    writer.flush()
    writer.close()
    return spent / steps


def main() -> int:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.bin"
        print(f"written: {steps} steps, {1e6 * write(path, steps):.1f} us each, {path.stat().st_size / 1e6:.0f} MB on disk")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        text = json.dumps(MetricsReader(path).series(SHOWN, buckets=1000))
        opened = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"whole run: {1000 * opened:.0f} ms, {len(text) / 1000:.1f} kB, {(after - before) / 1024:.0f} MB more at the peak")
        reader = MetricsReader(path)
        begun = time.perf_counter()
        zoomed = json.dumps(reader.series(SHOWN, buckets=1000, first=steps // 2, last=steps // 2 + 5000))
        print(f"zoom on 5000 steps: {1000 * (time.perf_counter() - begun):.0f} ms, {len(zoomed) / 1000:.1f} kB")
    good = opened < 1 and len(text) < 100_000
    print("goals met" if good else "goals NOT met")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
