"""Measure the effect of the panel on a Python-bound training loop, with 0, 10 and 50 viewers on the WebSocket.

    python benchmarks/panel_cost.py [--rounds 5] [--seconds 4] [--in-process] [--viewers 0 10 50]

The loop does about 2 ms of plain Python per step and reports every step. This is the worst case, because a loop that waits for a
GPU doesn't use the CPU. Windows without a panel (the same loop, bare) and windows of a run with the panel alternate. The
speed is the median over the rounds, relative to the bare loop. Goal: at least 0.97 in a separate process.

The viewers are a process on the same machine and use part of its CPU. On a shared machine, wall-clock time is not reliable.
Therefore the script also compares the steps per second of CPU time of the training process, which shows the cost of journal,
metrics and heartbeat, and it prints the CPU time of the panel itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.events import Emit, Outcome, PhaseChanged, RunPlanned, RunStarted, StepDone
from onetrainer_gradio.service.runs.metrics import MetricsReader

ROOT = Path(__file__).resolve().parent.parent
GOAL = 0.97
WORK = 22_000


def one_step(numbers: list[float]) -> float:
    """Run about two milliseconds of Python."""
    total = 0.0
    for index in range(WORK):
        total += numbers[index & 63] * 1.000001
    return total


def loop(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Return a backend that steps as fast as it can until it is stopped."""
    emit(RunStarted(backend="bare loop", pid=os.getpid()))
    plan = {"total_steps": 10**7, "steps_per_epoch": 1000, "total_updates": 10**7, "epochs": 10**4, "first_step": 0}
    emit(RunPlanned(**plan, images=1000, trainable_parameters=1, learning_rates=("unet",)))
    emit(PhaseChanged(phase="training"))
    numbers = [float(number) for number in range(64)]
    step = 0
    while not control.stop_requested():
        begun = time.perf_counter()
        loss = one_step(numbers)
        step += 1
        emit(
            StepDone(
                update_step=step,
                global_step=step,
                epoch=step // 1000,
                epoch_step=step % 1000,
                epoch_sample=step % 1000,
                loss=1 / loss,
                smooth_loss=1 / loss,
                grad_norm=1.0,
                learning_rates=(1e-4,),
                seconds=time.perf_counter() - begun,
                images=1,
            )
        )
    return "stopped"


def bare(seconds: float) -> tuple[float, float]:
    """Return the steps per second, and per second of CPU time, of the bare loop."""
    code = f"""
import time
from benchmarks.panel_cost import one_step
numbers = [float(number) for number in range(64)]
for _ in range(50): one_step(numbers)
begun, cpu, steps = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - begun < {seconds}:
    one_step(numbers)
    steps += 1
print(steps / (time.perf_counter() - begun), steps / (time.process_time() - cpu))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    per_second, per_cpu_second = map(float, done.stdout.split())
    return per_second, per_cpu_second


async def watch(port: int, viewers: int) -> None:
    """Connect viewers and read messages until the input ends."""
    import websockets

    received = 0

    async def one() -> None:
        nonlocal received
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws", max_size=None) as socket:
            ready.release()
            async for message in socket:
                received += len(message)

    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(one()) for _ in range(viewers)]
    for _ in range(viewers):
        await ready.acquire()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(received, flush=True)


class Panel:
    """A panel in a separate process with a run."""

    def __init__(self, folder: Path, *, in_process: bool) -> None:
        from tests.fakes.configs import small_config

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        arguments = ["--port", str(self.port), "--data", str(folder / "data"), "--backend", "benchmarks.panel_cost:loop"]
        arguments += ["--in-process"] if in_process else []
        code = "import sys; from onetrainer_gradio.server import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._until(lambda: self.call("/api/training/status"))
        config = to_document(small_config(folder), packed=True)
        self.run_id = self.call("/api/training/start", {"config": config})["run_id"]
        self._until(lambda: self.call("/api/training/status")["update_step"])
        self.metrics = MetricsReader(folder / "data" / "runs" / self.run_id / "metrics.bin")

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def _until(self, done: Any) -> None:
        give_up_at = time.monotonic() + 60
        while True:
            try:
                if done():
                    return
            except OSError:
                pass
            if time.monotonic() > give_up_at:
                raise TimeoutError("the panel does not answer")
            time.sleep(0.1)

    def cpu(self) -> float:
        return sum(psutil.Process(self.process.pid).cpu_times()[:2])

    def worker(self) -> psutil.Process:
        note = self.folder / "data" / "runs" / self.run_id / "worker.json"
        return psutil.Process(json.loads(note.read_text())["pid"])

    def memory(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def window(self, viewers: int, seconds: float) -> tuple[float, float, float, float]:
        """Return steps per second and per CPU second, CPU time of the panel per second, kB per viewer and second."""
        watching = None
        if viewers:
            code = f"import asyncio; from benchmarks.panel_cost import watch; asyncio.run(watch({self.port}, {viewers}))"
            command = [sys.executable, "-c", code]
            watching = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert watching.stdout is not None
            watching.stdout.readline()
        time.sleep(0.5)
        worker = self.worker()
        begun, cpu, spent = time.time(), self.cpu(), sum(worker.cpu_times()[:2])
        time.sleep(seconds)
        ended, cpu, spent = time.time(), self.cpu() - cpu, sum(worker.cpu_times()[:2]) - spent
        received = 0
        if watching is not None:
            received = int(watching.communicate()[0])
        time.sleep(0.3)
        at = self.metrics.rows(max(0, self.metrics.count() - 20_000))[:, self.metrics.columns().index("at")]
        steps = ((at >= begun) & (at < ended)).sum()
        elapsed = ended - begun
        return steps / elapsed, steps / spent, cpu / elapsed, received / 1000 / max(viewers, 1) / (elapsed + 0.5)

    def pause(self, sign: int) -> None:
        """Suspend or resume the training, so that nothing else runs during a bare window."""
        for process in psutil.Process().children(recursive=True):
            process.send_signal(sign)
        worker = self.worker()
        if worker.pid != self.process.pid:
            worker.send_signal(sign)

    def close(self) -> None:
        self.call("/api/training/stop", {})
        self._until(lambda: not self.call("/api/training/status")["is_training"])
        self.process.terminate()
        self.process.wait(20)


def main() -> int:
    import signal

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--viewers", type=int, nargs="*", default=[0, 10, 50])
    parser.add_argument("--in-process", action="store_true")
    asked = parser.parse_args()
    ratios: dict[int, list[float]] = {viewers: [] for viewers in asked.viewers}
    per_cpu_second: dict[int, list[float]] = {viewers: [] for viewers in asked.viewers}
    loads: dict[int, list[float]] = {viewers: [] for viewers in asked.viewers}
    traffic: dict[int, list[float]] = {viewers: [] for viewers in asked.viewers}
    with tempfile.TemporaryDirectory() as folder:
        panel = Panel(Path(folder), in_process=asked.in_process)
        try:
            for _ in range(asked.rounds):
                for viewers in asked.viewers:
                    panel.pause(signal.SIGSTOP)
                    before, before_cpu = bare(asked.seconds / 2)
                    panel.pause(signal.SIGCONT)
                    speed, per_cpu, load, kilobytes = panel.window(viewers, asked.seconds)
                    panel.pause(signal.SIGSTOP)
                    after, after_cpu = bare(asked.seconds / 2)
                    panel.pause(signal.SIGCONT)
                    ratios[viewers].append(speed / ((before + after) / 2))
                    per_cpu_second[viewers].append(per_cpu / ((before_cpu + after_cpu) / 2))
                    loads[viewers].append(load)
                    traffic[viewers].append(kilobytes)
            memory = panel.memory() / 2**20
        finally:
            panel.pause(signal.SIGCONT)
            panel.close()
    print(f"{'thread of the panel' if asked.in_process else 'separate process'}; panel memory {memory:.0f} MiB")
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("viewers  speed  per CPU second  panel CPU (cores)  kB/s per viewer  rounds (speed)")
    for viewers, found in ratios.items():
        rounds = " ".join(f"{ratio:.3f}" for ratio in found)
        columns = [statistics.median(values[viewers]) for values in (per_cpu_second, loads, traffic)]
        print(
            f"{viewers:7d}  {statistics.median(found):.3f}  {columns[0]:14.3f}  {columns[1]:17.3f}  {columns[2]:15.1f}  {rounds}"
        )
    good = asked.in_process or all(statistics.median(found) >= GOAL for found in ratios.values())
    print("goal met" if good else f"goal of {GOAL} NOT met")
    return 0 if good else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
