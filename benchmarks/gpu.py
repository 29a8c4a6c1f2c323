"""Measure step time, memory and utilization of the engine on a GPU, for LoRA and full fine-tune.

    python benchmarks/gpu.py [--device cuda] [--model sd15 sdxl flux|demo] [--steps 12] [--batch 1] [--json FILE]

The models are full-size with random weights, which are created first: nothing is downloaded. Stable Diffusion 1.5 runs in fp32,
bf16 and fp16; SDXL (LoRA and full fine-tune) and FLUX.1 dev (LoRA) in bf16 with gradient checkpointing at 1024 px. Each row is a
separate run: load, cache, ``--steps`` optimizer steps, save. The step time is the median of all steps but the first two;
*estimate* is what the dry run expects as the peak of the training, *left* what is still allocated after the run. With
``--device cpu`` the models are tiny and the peak is that of the process: a rehearsal, whose numbers are not meaningful.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gpu_runs import (
    DEMO_MODEL,
    DTYPES,
    FULL_SIZE,
    METHODS,
    REDUCED,
    TYPES,
    configuration,
    random_model,
    random_sd15,
    settings_of,
    write_images,
)

WARM_UP_STEPS = 2
MIB = 1 << 20


class Silent:
    """A control without commands."""

    def take(self):
        return ()

    def stop_requested(self):
        return False

    def wait(self, timeout_s):
        return False


@dataclass(frozen=True)
class Row:
    """The measurements of one run."""

    model: str
    method: str
    dtype: str
    step_ms: float
    images_per_s: float
    peak_mib: float
    load_s: float
    total_s: float
    first_loss: float
    last_loss: float
    estimate_mib: float
    """What the dry run expects as the peak of the training; 0 if it can't tell."""
    left_mib: float
    """What is allocated on the GPU after the run."""
    utilization: float | None
    """Mean utilization of the GPU in percent; None where it can't be read."""


def measure(
    folder: Path,
    model: Path,
    images: Path,
    *,
    name: str,
    method: str,
    dtype: str,
    device: str,
    steps: int,
    batch: int,
    resolution: int,
) -> Row:
    """Measure one run."""
    import torch

    from onetrainer_gradio import engine
    from onetrainer_gradio.config import RunOptions
    from onetrainer_gradio.events import RunPlanned, StepDone

    config = configuration(
        folder,
        model,
        images,
        method=method,
        dtype=dtype,
        device=device,
        batch_size=batch,
        resolution=str(resolution),
        epochs=steps,
        **settings_of(name, method, dtype),
    )
    expected = estimated_bytes(config)
    events, planned_at = [], []
    gc.collect()
    if device != "cpu":
        torch.empty(1, device=device)  # the counters are there once the device is in use
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()

    def take(event) -> None:
        if isinstance(event, RunPlanned):
            planned_at.append(time.perf_counter() - began)
        if isinstance(event, StepDone):
            events.append(event)

    with Utilization(device) as utilization:
        engine.run(config, take, Silent(), RunOptions(max_steps=steps))
    peak = peak_bytes(device)
    step_s = statistics.median(event.seconds for event in events[WARM_UP_STEPS:] or events)
    return Row(
        model=name,
        method=method,
        dtype=dtype,
        step_ms=1000 * step_s,
        images_per_s=batch / step_s,
        peak_mib=peak / MIB,
        load_s=planned_at[0],
        total_s=time.perf_counter() - began,
        first_loss=events[0].loss,
        last_loss=events[-1].loss,
        estimate_mib=expected / MIB,
        left_mib=0.0 if device == "cpu" else torch.cuda.memory_allocated(device) / MIB,
        utilization=utilization.mean(),
    )


def estimated_bytes(config) -> int:
    """Return the peak of the training that the dry run expects."""
    from onetrainer_gradio.engine.dry_run import estimate

    return max((phase.total for phase in estimate(config).phases if phase.phase == "training"), default=0)


class Utilization:
    """The utilization of a GPU within the block, read twice a second."""

    def __init__(self, device: str) -> None:
        self._device, self._seen, self._done = device, [], threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Utilization:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def mean(self) -> float | None:
        return statistics.mean(self._seen) if self._seen else None

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while self._device != "cpu" and not self._done.wait(0.5):
            try:
                said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
                self._seen.append(float(said.splitlines()[0]))
            except (OSError, subprocess.SubprocessError, ValueError, IndexError):
                return


def peak_bytes(device: str) -> int:
    """Return the peak memory of tensors on the GPU since the start of the run, or on a CPU that of the process."""
    import torch

    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return torch.cuda.max_memory_allocated(device)


def machine(device: str) -> dict[str, str]:
    """Return a description of the machine."""
    import diffusers
    import torch

    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "device": device,
    }
    if device != "cpu":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
    return found


def benchmark(device: str, model_name: str, steps: int, batch: int, methods=METHODS, dtypes=DTYPES) -> dict:
    """Measure all runs of a model, one after the other."""
    reduced = device == "cpu"
    size = REDUCED if reduced else FULL_SIZE
    resolution = {"sd15": size["resolution"], "demo": 128}.get(model_name, 128 if reduced else 1024)
    if model_name in TYPES:  # at full size, other data types say nothing more
        dtypes = [dtype for dtype in dtypes if dtype == "BFLOAT_16"] or dtypes
        methods = [method for method in methods if method == "LORA"] if model_name == "flux" else methods
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpu-benchmark-") as folder:
        place = Path(folder)
        model = model_of(place / "model", model_name, reduced=reduced, device=device)
        images = write_images(place / "images", count=max(2 * batch, 4), side=resolution)
        for method in methods:
            for dtype in dtypes:
                row = measure(
                    place / f"{method}-{dtype}",
                    model,
                    images,
                    name=model_name,
                    method=method,
                    dtype=dtype,
                    device=device,
                    steps=steps,
                    batch=batch,
                    resolution=resolution,
                )
                rows.append(asdict(row))
                print(line(row), flush=True)
    return {
        "machine": machine(device),
        "model": model_name,
        "batch": batch,
        "resolution": resolution,
        "steps": steps,
        "runs": rows,
    }


def model_of(folder: Path, name: str, *, reduced: bool, device: str) -> Path:
    """Return the folder of a model, which is created unless it is the demo's."""
    if name == "demo":
        return DEMO_MODEL
    return (random_model if name in TYPES else random_sd15)(
        folder, *([name] if name in TYPES else []), reduced=reduced, device=device
    )


HEAD = (
    f"{'model':<6}{'method':<10} {'data type':<10} {'step':>9} {'images/s':>9} {'peak':>10} {'estimate':>10} {'left':>9} "
    f"{'used':>5} {'load':>7} {'total':>7}  loss"
)


def line(row: Row) -> str:
    """Return a row of the table."""
    used = "" if row.utilization is None else f"{row.utilization:.0f}%"
    return (
        f"{row.model:<6}{row.method:<10} {row.dtype:<10} {row.step_ms:>6.1f} ms {row.images_per_s:>9.2f} "
        f"{row.peak_mib:>6.0f} MiB {row.estimate_mib:>6.0f} MiB {row.left_mib:>5.0f} MiB {used:>5} "
        f"{row.load_s:>5.1f} s {row.total_s:>5.1f} s  {row.first_loss:.4f} -> {row.last_loss:.4f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", nargs="+", choices=("sd15", "sdxl", "flux", "demo"), default=["sd15", "sdxl", "flux"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    asked = parser.parse_args()
    import torch

    if asked.device != "cpu" and not torch.cuda.is_available():
        print(f"No GPU: torch {torch.__version__} finds no CUDA device. To rehearse on the CPU: --device cpu", file=sys.stderr)
        return 2
    print(", ".join(f"{name} {value}" for name, value in machine(asked.device).items()))
    print(HEAD)
    found = [benchmark(asked.device, name, asked.steps, asked.batch) for name in asked.model]
    text = json.dumps(found, indent=2)
    if asked.json is not None:
        asked.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
