"""Serve metrics in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from onetrainer_gradio import __version__
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.trainer import TrainerService

router = APIRouter(tags=["system"])

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "onetrainer_gradio"

# metric -> help, key of the machine's reading
_MACHINE = {
    "cpu_percent": ("CPU usage of the machine in percent.", "cpu"),
    "memory_used_bytes": ("Used system RAM.", "memory_used"),
    "memory_total_bytes": ("Total system RAM.", "memory_total"),
    "disk_free_bytes": ("Free space on the disk of the data folder.", "disk_free"),
    "disk_total_bytes": ("Size of the disk of the data folder.", "disk_total"),
}
# metric -> help, key of a GPU's reading
_GPU = {
    "gpu_memory_used_bytes": ("Used VRAM.", "memory_used"),
    "gpu_memory_total_bytes": ("Total VRAM.", "memory_total"),
    "gpu_utilization_percent": ("GPU utilization in percent.", "utilization"),
    "gpu_temperature_celsius": ("GPU temperature.", "temperature"),
    "gpu_power_watts": ("GPU power.", "power"),
}
# metric -> help, key of the state of training
_RUN = {
    "run_step": ("Micro-batches of the current run since its start.", "global_step"),
    "run_total_steps": ("Planned micro-batches of the current run.", "total_steps"),
    "run_steps_per_second": ("Speed of the current run.", "speed"),
    "run_loss": ("Loss of the last step of the current run.", "loss"),
    "run_eta_seconds": ("Estimated time until the current run ends.", "eta_s"),
}


class PanelCollector(Collector):
    """Read runs, queue and machine at each scrape. A value that is unknown has no sample."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics but those of requests."""
        service: TrainerService = self._app.state.service
        yield _labelled("info", "Version of the panel.", "version", {__version__: 1})
        yield _labelled("runs", "Runs by status.", "status", service.runs.listing.counts_by_status())
        yield from _of_run(service.get_state())
        queue = service.queue.summary()
        counts = {"waiting": queue["waiting"] - queue["held"], "held": queue["held"], "running": queue["running"]}
        yield _labelled("queue_runs", "Runs in the queue by state.", "state", counts)
        yield _plain("queue_paused", "Whether the queue is paused (1) or not (0).", int(queue["paused"]))
        yield _plain("viewers", "Open WebSockets.", self._app.state.hub.viewers)
        reading = service.system.now()
        for name, (text, key) in _MACHINE.items():
            yield _plain(name, text, reading[key])
        for name, (text, key) in _GPU.items():
            yield _labelled(name, text, "gpu", {str(gpu["index"]): gpu[key] for gpu in reading["gpus"]})


def _of_run(state: dict[str, Any]) -> Iterator[Metric]:
    active = bool(state.get("is_training"))
    yield _plain("run_active", "Whether a run is active (1) or not (0).", int(active))
    values = {**state, **(state.get("progress") or {})} if active else {}
    for name, (text, key) in _RUN.items():
        yield _plain(name, text, values.get(key))


def _plain(name: str, text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text)
    if value is not None:
        family.add_metric([], value)
    return family


def _labelled(name: str, text: str, label: str, values: dict[str, Any]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=[label])
    for key, value in values.items():
        if value is not None:
            family.add_metric([key], value)
    return family


def install(app: FastAPI) -> CollectorRegistry:
    """Create the registry of an app, which belongs to it alone."""
    registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
    registry.register(PanelCollector(app))
    app.state.metrics = registry
    return registry


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
@slow
def metrics(request: Request) -> Response:
    """Return the metrics of runs, queue, machine and requests for Prometheus."""
    return Response(generate_latest(request.app.state.metrics), media_type=MEDIA_TYPE)
