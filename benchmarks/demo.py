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

from onetrainer_gradio.demo.end_to_end import EndToEndResult, run_end_to_end

COLUMNS = (
    "| seed | trigger word before | after | at the requested place | known words before | after | lost "
    "| steps | first step | first sample | whole run | of which computing |"
)


def row(result: EndToEndResult) -> str:
    before, after = result.before, result.after
    counts = [result.seed, sum(before.new), sum(after.new), sum(after.placed), sum(before.old), sum(after.old)]
    times = [
        f"{seconds:.1f} s"
        for seconds in (result.clock.first_step, result.clock.first_sample, result.clock.total, result.processor.total)
    ]
    return "| " + " | ".join([*map(str, counts), str(after.lost_since(before)), str(result.steps), *times]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; counts are of 16 prompts\n")
    print(COLUMNS)
    print("|" + "---|" * (COLUMNS.count("|") - 1))
    results = []
    for number in range(options.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            results.append(run_end_to_end(Path(scratch), seed=42 + number, evaluation_seed=1000 + number))
        print(row(results[-1]), flush=True)
    print(
        f"\ntrigger word: at most {max(sum(result.before.new) for result in results)} before, "
        f"at least {min(sum(result.after.new) for result in results)} after; "
        f"known words lost: at most {max(result.after.lost_since(result.before) for result in results)}; "
        f"median time {statistics.median(result.clock.total for result in results):.0f} s"
    )


if __name__ == "__main__":
    main()
