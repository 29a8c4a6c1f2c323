"""Measure step time and peak memory of the engine on a GPU, for LoRA and full fine-tune in fp32, bf16 and fp16.

    python benchmarks/gpu.py [--device cuda] [--model sd15|demo] [--steps 12] [--batch 1] [--json FILE]

The model is a full-size Stable Diffusion 1.5 with random weights, which is created first: nothing is downloaded. Each row is a
separate run: load, cache, ``--steps`` optimizer steps, save. The step time is the median of all steps but the first two. With
``--device cpu`` the model has few channels and the peak is that of the process: a rehearsal, whose numbers are not meaningful.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gpu_runs import DEMO_MODEL, DTYPES, FULL_SIZE, METHODS, REDUCED, configuration, random_sd15, write_images

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

    method: str
    dtype: str
    step_ms: float
    images_per_s: float
    peak_mib: float
    load_s: float
    total_s: float
    first_loss: float
    last_loss: float


def measure(
    folder: Path, model: Path, images: Path, *, method: str, dtype: str, device: str, steps: int, batch: int, resolution: int
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
    )
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

    engine.run(config, take, Silent(), RunOptions(max_steps=steps))
    step_s = statistics.median(event.seconds for event in events[WARM_UP_STEPS:] or events)
    return Row(
        method=method,
        dtype=dtype,
        step_ms=1000 * step_s,
        images_per_s=batch / step_s,
        peak_mib=peak_bytes(device) / MIB,
        load_s=planned_at[0],
        total_s=time.perf_counter() - began,
        first_loss=events[0].loss,
        last_loss=events[-1].loss,
    )


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
    """Measure all runs, one after the other."""
    size = REDUCED if device == "cpu" else FULL_SIZE
    resolution = size["resolution"] if model_name == "sd15" else 128
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpu-benchmark-") as folder:
        place = Path(folder)
        model = random_sd15(place / "model", reduced=device == "cpu", device=device) if model_name == "sd15" else DEMO_MODEL
        images = write_images(place / "images", count=max(2 * batch, 4), side=resolution)
        for method in methods:
            for dtype in dtypes:
                run = place / f"{method}-{dtype}"
                row = measure(
                    run, model, images, method=method, dtype=dtype, device=device, steps=steps, batch=batch, resolution=resolution
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


HEAD = f"{'method':<10} {'data type':<10} {'step':>9} {'images/s':>9} {'peak':>10} {'load':>7} {'total':>7}  loss"


def line(row: Row) -> str:
    """Return a row of the table."""
    return (
        f"{row.method:<10} {row.dtype:<10} {row.step_ms:>6.1f} ms {row.images_per_s:>9.2f} {row.peak_mib:>6.0f} MiB "
        f"{row.load_s:>5.1f} s {row.total_s:>5.1f} s  {row.first_loss:.4f} -> {row.last_loss:.4f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", choices=("sd15", "demo"), default="sd15")
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
    found = benchmark(asked.device, asked.model, asked.steps, asked.batch)
    text = json.dumps(found, indent=2)
    if asked.json is not None:
        asked.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
