"""Measure the overhead of the engine compared with the bare computation of a training step, and the phases of a run.

    python benchmarks/engine.py [--rounds 8] [--steps 10] [--model tiny|small|both|families] [--threads 1]

Two measurements:

* Step time of the engine's loop (data, forward, backward, clipping, optimizer, loss read-out, charts, events) against a
  bare torch loop of the same computation on the same model and batches, in one process, in alternating rounds.
  Goal: at most 1.05 times the bare loop. The measure is the CPU time of the process. Wall-clock time is shown, too,
  but other programs on the machine affect it.
* The time from the start of the process to the first optimizer step, by phase.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "fixtures" / "golden"
sys.path.insert(0, str(ROOT))

SMALL = {  # about 30 M parameters: the channels of a quarter of Stable Diffusion 1.5
    "block_out_channels": [96, 192, 288],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 16,
}


class Silent:
    """A control without commands."""

    def take(self):
        return ()

    def stop_requested(self):
        return False

    def wait(self, timeout_s):
        return False


def document(folder: Path, model: Path, resolution: int) -> dict:
    recorded = json.loads((GOLDEN / "run.json").read_text())["config"]
    return {
        **recorded,
        "base_model_name": str(model),
        "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"),
        "output_model_destination": str(folder / "lora.safetensors"),
        "concepts": [{"__version": 2, "path": str(GOLDEN / "data"), "seed": 1}],
        "samples": [],
        "clear_cache_before_training": False,
        "resolution": str(resolution),
        "layer_filter": "attentions",
        "epochs": 100_000,
    }


def small_model(folder: Path) -> Path:
    """Return the tiny model with a larger UNet of random weights."""
    import shutil

    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    target = folder / "model"
    shutil.copytree(GOLDEN / "model", target)
    config = json.loads((target / "unet" / "config.json").read_text()) | SMALL
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config(config)
    shutil.rmtree(target / "unet")
    unet.save_pretrained(target / "unet")
    print(f"small model: {sum(p.numel() for p in unet.parameters()) / 1e6:.1f} M parameters")
    return target


class EngineLoop:
    """The engine's own loop, one micro-batch at a time."""

    def __init__(self, config) -> None:
        from onetrainer_gradio.config import RunOptions
        from onetrainer_gradio.engine import training
        from onetrainer_gradio.engine.reporter import RunReporter

        self.events = 0
        self.training = training.load(config, RunOptions(), RunReporter(self.take, Silent()))
        self.training.plan()
        self.training._set_training()
        self.steps = self.loop()

    def take(self, event) -> None:
        self.events += 1

    def loop(self):
        training = self.training
        for epoch in range(100_000):
            for batch in training.data.batches(epoch):
                training.step_actions.note(training.state)
                training.step_actions.act()
                training.reporter.enter("training")
                training.micro_step(batch)
                yield
            training.state.next_epoch()

    def step(self) -> None:
        next(self.steps)


class BareLoop:
    """The same computation alone: tensors in memory, two matrices per layer, one .item()."""

    def __init__(self, config, model: Path) -> None:
        import torch
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler
        from safetensors.torch import load_file
        from torch import nn
        from torch.nn import functional

        self.torch, self.nn = torch, nn
        self.unet = UNet2DConditionModel.from_pretrained(model / "unet")
        self.unet.requires_grad_(False)
        self.unet.train()
        self.parameters = []

        def adapt(module):
            conv = isinstance(module, nn.Conv2d)
            if conv:
                down = nn.Conv2d(module.in_channels, 4, module.kernel_size, module.stride, module.padding, bias=False)
                up = nn.Conv2d(4, module.out_channels, 1, bias=False)
            else:
                down, up = nn.Linear(module.in_features, 4, bias=False), nn.Linear(4, module.out_features, bias=False)
            nn.init.zeros_(up.weight)
            self.parameters += [down.weight, up.weight]

            def linear(x):
                weight = functional.linear(x, module.weight, module.bias)
                return weight + functional.linear(functional.linear(x, down.weight), up.weight)

            def convolution(x):
                return module._conv_forward(x, module.weight, module.bias) + functional.conv2d(
                    functional.conv2d(x, down.weight, None, down.stride, down.padding), up.weight
                )

            module.forward = convolution if conv else linear

        chosen = [
            module
            for name, module in self.unet.named_modules()
            if "attentions" in name and isinstance(module, nn.Linear | nn.Conv2d)
        ]
        for module in chosen:
            adapt(module)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, weight_decay=0.01, foreach=False)
        alphas = torch.cumprod(1 - DDIMScheduler.from_pretrained(model / "scheduler").betas, 0)
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()
        cache = Path(config.cache_dir)
        latents = [load_file(file)["latents"] for file in sorted((cache / "image").iterdir())]
        texts = [load_file(file)["hidden"] for file in sorted((cache / "text").iterdir())]
        self.batches = [(torch.stack(latents[i : i + 4]), torch.stack(texts[i : i + 4])) for i in range(0, len(latents) - 3, 4)]
        self.generator = torch.Generator()
        self.number = 0

    def step(self) -> None:
        torch = self.torch
        latents, text = self.batches[self.number % len(self.batches)]
        self.generator.manual_seed(self.number)
        self.number += 1
        latents = latents * 0.18215
        t = (1000 * torch.rand(len(latents), generator=self.generator)).int()
        noise = torch.randn(latents.shape, generator=self.generator)
        index = t.long()
        noised = latents * self.signal[index][:, None, None, None] + noise * self.noise[index][:, None, None, None]
        predicted = self.unet(noised, t, text, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(predicted, noise, reduction="none").mean((1, 2, 3)).mean()
        loss.backward()
        self.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss.item()


def compare(name: str, model: Path, resolution: int, folder: Path, rounds: int, steps: int) -> None:
    from onetrainer_gradio.config.files.documents import from_document

    config = from_document(document(folder, model, resolution))[0]
    loops = {"engine": EngineLoop(config)}
    loops["bare"] = BareLoop(config, model)
    layers = len(loops["bare"].parameters) // 2
    processor = {key: [] for key in loops}
    wall = {key: [] for key in loops}
    for loop in loops.values():
        loop.step()
    for number in range(rounds):
        for key in sorted(loops, reverse=bool(number % 2)):
            began, used = time.perf_counter(), time.process_time()
            for _ in range(steps):
                loops[key].step()
            processor[key].append((time.process_time() - used) / steps * 1e3)
            wall[key].append((time.perf_counter() - began) / steps * 1e3)
    ratios = [one / other for one, other in zip(processor["engine"], processor["bare"], strict=True)]
    print(f"\n{name}: {layers} adapted layers, batch 4, {resolution} px, {rounds} rounds of {steps} steps")
    print("| loop | processor ms/step, best | median | wall ms/step, best | median |")
    print("|---|---|---|---|---|")
    for key in ("bare", "engine"):
        numbers = [min(processor[key]), statistics.median(processor[key]), min(wall[key]), statistics.median(wall[key])]
        print(f"| {key} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")
    best = min(processor["engine"]) / min(processor["bare"])
    print(f"engine / bare: {best:.3f} of the best rounds, {statistics.median(ratios):.3f} median of the pairs (goal 1.05)")
    loops["engine"].training.close()


class RepeatedCalls:
    """The bare computation of any family: the denoiser's own calls of the engine, repeated with new noise.

    It shares model and adapters with the engine's loop, but neither its data, noise schedule, loss, nor its charts.
    """

    def __init__(self, engine: EngineLoop, calls: int) -> None:
        import torch

        self.torch, training = torch, engine.training
        self.denoiser, self.parameters = training.model.denoiser, training.parameters
        self.calls: list[tuple[tuple, dict]] = []
        hook = self.denoiser.register_forward_pre_hook(
            lambda module, values, named: self.calls.append((values, dict(named))), with_kwargs=True
        )
        for _ in range(calls):
            engine.step()
        hook.remove()
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, weight_decay=0.01, foreach=False)
        self.number = 0

    def step(self) -> None:
        torch = self.torch
        values, named = self.calls[self.number % len(self.calls)]
        self.number += 1
        first = next(name for name in ("hidden_states", "sample", None) if name in named or name is None)
        latents = values[0] if first is None else named[first]
        noise = torch.randn(latents.shape)
        noised = latents * 0.5 + noise * 0.5
        if first is None:
            values = (noised, *values[1:])
        else:
            named = named | {first: noised}
        predicted = self.denoiser(*values, **(named | {"return_dict": False}))[0]
        loss = torch.nn.functional.mse_loss(predicted, torch.zeros_like(predicted), reduction="none").mean((1, 2)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss.item()


def families(folder: Path, rounds: int, steps: int) -> None:
    """Measure a LoRA of each family on its tiny model against the calls of its denoiser alone."""
    from onetrainer_gradio.config.files.documents import from_document
    from tests.golden.cases import Case, _lora, write_data
    from tests.models.tiny import write_model

    images = write_data(folder / "images")
    print("\nLoRA of each family, tiny models, processor time")
    print("| model type | bare, best ms/step | engine | ratio of the best | median of the pairs |")
    print("|---|---|---|---|---|")
    for model_type in ("STABLE_DIFFUSION_15", "STABLE_DIFFUSION_XL_10_BASE", "STABLE_DIFFUSION_3", "FLUX_DEV_1"):
        place = folder / model_type
        case = Case(model_type, "speed", _lora(model_type))
        document = case.document(write_model(model_type, place / "model"), images, place) | {"epochs": 100_000}
        engine = EngineLoop(from_document(document)[0])
        loops = {"bare": RepeatedCalls(engine, 3), "engine": engine}
        used: dict[str, list[float]] = {name: [] for name in loops}
        for number in range(rounds):
            for name in sorted(loops, reverse=bool(number % 2)):
                began = time.process_time()
                for _ in range(steps):
                    loops[name].step()
                used[name].append((time.process_time() - began) / steps * 1e3)
        ratios = [one / other for one, other in zip(used["engine"], used["bare"], strict=True)]
        bare, ours = min(used["bare"]), min(used["engine"])
        print(f"| {model_type} | {bare:.2f} | {ours:.2f} | {ours / bare:.3f} | {statistics.median(ratios):.3f} |", flush=True)
        engine.training.close()


def where(model: Path, resolution: int, folder: Path, steps: int) -> None:
    """Print the shares of the engine's step time."""
    import cProfile
    import pstats

    from onetrainer_gradio.config.files.documents import from_document

    loop = EngineLoop(from_document(document(folder, model, resolution))[0])
    loop.step()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(steps):
        loop.step()
    profile.disable()
    stats = pstats.Stats(profile)
    whole = stats.total_tt
    parts = {
        "forward": "prediction.py:predict",
        "loss": "training.py:loss",
        "backward": "_tensor.py:backward",
        "clipping": "clip_grad.py:clip_grad_norm_",
        "optimizer": "optimizer.py:wrapper",
        "batch": "dataset.py:batch",
        "charts": "tensorboard.py:__call__",
        "actions": "step_actions.py:act",
    }
    found = dict.fromkeys(parts, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items():
        for part, place in parts.items():
            if f"{Path(file).name}:{function}" == place:
                found[part] = max(found[part], cumulative)
    print("\nwhere the engine's step goes (profiler on)")
    print("| part | share |\n|---|---|")
    for part, seconds in sorted(found.items(), key=lambda pair: -pair[1]):
        print(f"| {part} | {seconds / whole:.1%} |")
    print(f"| everything else | {1 - sum(found.values()) / whole:.1%} |")
    loop.training.close()


CHILD = """
import sys, time
began = float(sys.argv[2])
sys.path.insert(0, sys.argv[3])
said = []
def emit(event):
    said.append((time.time() - began, type(event).__name__, getattr(event, "phase", "")))
    if type(event).__name__ == "StepDone":
        raise KeyboardInterrupt
class Silent:
    take = lambda self: ()
    stop_requested = lambda self: False
    wait = lambda self, timeout_s: False
import json
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.backends.backend import RunContext
from onetrainer_gradio.backends.builtin import BACKEND
config = from_document(json.load(open(sys.argv[1])))[0]
try:
    BACKEND.run(config, RunContext(emit, Silent(), RunOptions()))
except KeyboardInterrupt:
    pass
seen = set()
print(json.dumps([entry for entry in said if entry[1] != "PhaseProgress" and not (entry[1:] in seen or seen.add(entry[1:]))]))
"""


def start(folder: Path) -> None:
    """Measure the time from the start of a process to its first optimizer step, with an empty and with a filled cache."""
    path = folder / "config.json"
    path.write_text(json.dumps(document(folder, GOLDEN / "model", 64)))
    print("\nseconds from the start of the process (tiny model, 24 images)")
    print("| cache | " + "event, and when |\n|---|---|")
    for name in ("empty", "filled"):
        command = [sys.executable, "-c", CHILD, str(path), str(time.time()), str(ROOT)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        said = ", ".join(f"{phase or kind} {seconds:.2f}" for seconds, kind, phase in json.loads(output))
        print(f"| {name} | {said} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--model", choices=("tiny", "small", "both", "families"), default="both")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(arguments.threads))
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.model == "families":
            families(folder, arguments.rounds, arguments.steps)
            return
        start(folder)
        if arguments.model in ("tiny", "both"):
            compare("tiny, 0.8 M parameters", GOLDEN / "model", 64, folder, arguments.rounds, arguments.steps)
            where(GOLDEN / "model", 64, folder, arguments.steps * 2)
        if arguments.model in ("small", "both"):
            (folder / "small").mkdir()
            model = small_model(folder / "small")
            steps = max(1, arguments.steps // 5)
            compare("small", model, 128, folder / "small", arguments.rounds, steps)


if __name__ == "__main__":
    main()
