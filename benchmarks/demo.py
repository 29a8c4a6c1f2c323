"""Evaluate the demo for several seeds: trigger word before and after training, known words, times.

    python benchmarks/demo.py --seeds 3

Each seed has its own LoRA initialization, prompts and noise. Times are those of the run alone, from the start
of its process to the saved file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from onetrainer_gradio.demo.trial import Trial, attempt

COLUMNS = (
    "| seed | trigger word before | after | at the requested place | known words before | after | lost "
    "| steps | first step | first sample | whole run | of which computing |"
)


def row(trial: Trial) -> str:
    before, after = trial.before, trial.after
    counts = [trial.seed, sum(before.new), sum(after.new), sum(after.placed), sum(before.old), sum(after.old)]
    times = [
        f"{seconds:.1f} s"
        for seconds in (trial.clock.first_step, trial.clock.first_sample, trial.clock.total, trial.processor.total)
    ]
    return "| " + " | ".join([*map(str, counts), str(after.lost_since(before)), str(trial.steps), *times]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; counts are of 16 prompts\n")
    print(COLUMNS)
    print("|" + "---|" * (COLUMNS.count("|") - 1))
    trials = []
    for number in range(options.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            trials.append(attempt(Path(scratch), seed=42 + number, exam_seed=1000 + number))
        print(row(trials[-1]), flush=True)
    print(
        f"\ntrigger word: at most {max(sum(trial.before.new) for trial in trials)} before, "
        f"at least {min(sum(trial.after.new) for trial in trials)} after; "
        f"known words lost: at most {max(trial.after.lost_since(trial.before) for trial in trials)}; "
        f"median time {statistics.median(trial.clock.total for trial in trials):.0f} s"
    )


if __name__ == "__main__":
    main()
