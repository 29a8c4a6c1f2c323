"""Measure the built-in engine against OneTrainer: time to the first step, median step, whole run with samples, backups and saves.

    python benchmarks/engines.py --onetrainer FOLDER [--python FILE] [--rounds 3] [--warm] [--plain] [--script]

Both train the tiny Stable Diffusion 1.5 model of the tests (0.8 million parameters, one thread) for 12 steps through the service,
as from the panel: time counts from the start of the run, with its processes. The rounds alternate between the engines, so that
other programs on the machine affect both; the processor time of all processes hardly depends on them. Each round is a cold run
and, with ``--warm``, a second one in the process that stays loaded, with a filled cache. With ``--script``, each round also runs
the same configuration with OneTrainer's own script for the command line: the bridge keeps OneTrainer's imports out of garbage
collection, so OneTrainer by itself is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from onetrainer_gradio.compare import Side, _train  # noqa: E402
from onetrainer_gradio.config import RunOptions, TrainConfig  # noqa: E402
from onetrainer_gradio.config.files.documents import from_document, to_document  # noqa: E402
from onetrainer_gradio.service.runs.event_files import read_scalars  # noqa: E402
from onetrainer_gradio.service.service_settings import ServiceSettings  # noqa: E402
from onetrainer_gradio.service.trainer import TrainerService  # noqa: E402
from onetrainer_gradio.terminal import StopSignals  # noqa: E402

GOLDEN = ROOT / "tests" / "fixtures" / "golden"
ENGINES = ("builtin", "onetrainer")
STEPS = 12
EPOCHS = 3  # 16 images
SAMPLE = {"prompt": "a red circle", "width": 64, "height": 64, "diffusion_steps": 10, "seed": 1, "random_seed": False}
BUSY = {
    "samples": [SAMPLE, SAMPLE | {"prompt": "a blue square"}],
    "sample_after": 4,
    "sample_after_unit": "STEP",
    "backup_after": 6,
    "backup_after_unit": "STEP",
    "save_every": 6,
    "save_every_unit": "STEP",
    "backup_before_save": True,
    "validation": False,
}


FACTS: dict[str, Callable[[Side], float]] = {
    "first step after (s)": lambda side: side.first_step_s,
    "median step (ms)": lambda side: 1e3 / side.steps_per_s,
    "whole run (s)": lambda side: side.total_s,
}


def settings(folder: Path, engine: str, *, plain: bool) -> TrainConfig:
    from tests.golden.cases import Case, _full

    case = Case("STABLE_DIFFUSION_15", "speed", _full("STABLE_DIFFUSION_15"), "data")
    document = case.document(GOLDEN / "model", GOLDEN, folder / engine)
    config, _ = from_document(document | {"batch_size": 4, "epochs": EPOCHS} | ({} if plain else BUSY))
    return config


def run(service: TrainerService, config: TrainConfig, engine: str, checkout: Path) -> Side:
    wanted = RunOptions(backend=engine, checkout=str(checkout) if engine == "onetrainer" else "", max_steps=STEPS)
    side = _train(service, config, service.engines.settled(config, wanted), sys.stderr, StopSignals())
    if side.end != "completed":
        raise SystemExit(f"{engine}: {side.end}: {side.error}")
    return side


def run_script(config: TrainConfig, folder: Path, checkout: Path, python: Path) -> tuple[float, float, float]:
    """Train with OneTrainer's own script. Return the same facts as ``FACTS``, the steps by the times in its event file.

    A sample, backup or save falls between two steps of that file, so the median step is exact only with ``--plain``.
    """
    file = folder / "config.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(to_document(config, packed=True)), "utf-8")
    begun = time.time()
    done = subprocess.run(
        [python, "scripts/train.py", "--config-path", file], cwd=checkout, capture_output=True, text=True, check=False
    )
    ended = time.time()
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    events = next(Path(config.workspace_dir).glob("tensorboard/*"))
    at = [scalars.at for scalars in read_scalars(events) if "loss/train_step" in scalars.values]
    return at[0] - begun, 1e3 * statistics.median(later - one for one, later in pairwise(at)), ended - begun


def processor_s() -> float:
    """Return the processor time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(title: str, found: dict[str, list[Side]]) -> None:
    """Print medians of both engines, and the median of the ratios of the pairs."""
    print(f"\n{title}\n| | built-in | OneTrainer | ratio |\n|---|---|---|---|")
    for name, value in FACTS.items():
        ours, theirs = ([value(side) for side in found[engine]] for engine in ENGINES)
        ratio = statistics.median(other / one for one, other in zip(ours, theirs, strict=True))
        print(f"| {name} | {statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | {ratio:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onetrainer", type=Path, required=True)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--script", action="store_true", help="also time OneTrainer's own script")
    parser.add_argument("--plain", action="store_true", help="without samples, backups and saves")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold: dict[str, list[Side]] = {engine: [] for engine in ENGINES}
        warm: dict[str, list[Side]] = {engine: [] for engine in ENGINES}
        used: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        scripts: list[tuple[float, float, float]] = []
        for number in range(arguments.rounds):
            for engine in ENGINES[:: -1 if number % 2 else 1]:
                place = folder / f"{number}"
                keep = 600.0 if arguments.warm else 0.0
                own = ServiceSettings(
                    data_folder=place / f"panel-{engine}", checkouts=(arguments.onetrainer,), keep_loaded_s=keep
                )
                with TrainerService(own) as service:
                    if arguments.python:
                        service.checkouts.add(arguments.onetrainer, arguments.python)
                    while not service.checkouts.wait(1.0):
                        pass
                    before = processor_s()  # the panel has read the checkout by now
                    config = settings(place, engine, plain=arguments.plain)
                    cold[engine].append(run(service, config, engine, arguments.onetrainer))
                    if arguments.warm:
                        warm[engine].append(run(service, config, engine, arguments.onetrainer))
                used[engine].append(processor_s() - before)
            if arguments.script:
                place = folder / f"{number}-script"
                config = settings(place, "onetrainer", plain=arguments.plain)
                scripts.append(run_script(config, place, arguments.onetrainer, arguments.python or Path(sys.executable)))
        report(f"cold start, {arguments.rounds} rounds", cold)
        ours, theirs = (statistics.median(used[engine]) for engine in ENGINES)
        for (name, value), theirs_of in zip(FACTS.items(), zip(*scripts, strict=True), strict=False):
            ratio = statistics.median(other / value(one) for one, other in zip(cold["builtin"], theirs_of, strict=True))
            print(f"| {name}, OneTrainer's own script | | {statistics.median(theirs_of):.2f} | {ratio:.2f} |")
        if arguments.warm:  # processes that stay loaded haven't ended, so their processor time isn't known
            report("process loaded, cache filled", warm)
        else:
            print(f"| processor time of all processes (s) | {ours:.2f} | {theirs:.2f} | {theirs / ours:.2f} |")


if __name__ == "__main__":
    main()
