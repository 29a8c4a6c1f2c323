"""Estimate the VRAM of a run in a helper process, so that the panel stays without torch, and find what makes it fit."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.config.files.resolve import resolve_paths
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.config.memory_estimate import NOT_CALIBRATED, PHASES, MemoryEstimate
from onetrainer_gradio.errors import BusyError, Finding, UnsupportedError
from onetrainer_gradio.service.host.module_process import end_answering, exchange, start_answering

LIMIT_S = 120.0
_KEPT = 128
_MAX_WAITING = 3
_GIB = 1 << 30
_WITHOUT_EFFECT = frozenset(
    {
        "concepts",
        "concept_file_name",
        "workspace_dir",
        "cache_dir",
        "output_model_destination",
        "learning_rate",
        "epochs",
        "secrets",
        "cloud",
        "save_filename_prefix",
        "tensorboard",
        "sample_definition_file_name",
        "include_train_config",
    }
)
"""Settings that an estimate doesn't depend on."""

Changes = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A change toward a run that fits, with the estimate after it and all changes before it."""

    label: str
    changes: Changes
    estimate: MemoryEstimate


class NewestFirst:
    """Lets one thread at a time in; of those that wait, the newest, since older ones ask about settings before a change.

    At most ``max_waiting`` wait: one more ends the wait of the oldest.

    :raises BusyError: in a thread whose wait was ended.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._waiting: list[object] = []
        self._taken = False

    def __enter__(self) -> None:
        place = object()
        with self._changed:
            self._waiting.append(place)
            if len(self._waiting) > self._max_waiting:
                del self._waiting[0]
                self._changed.notify_all()
            self._changed.wait_for(lambda: place not in self._waiting or (not self._taken and self._waiting[-1] is place))
            if place not in self._waiting:
                raise BusyError("Too many memory estimates are waiting.", suggestion="Try again in a moment.")
            self._waiting.remove(place)
            self._taken = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()


class MemoryEstimator:
    """Estimates for the page, the pre-flight check and REST: one process, one estimate at a time, each configuration once."""

    def __init__(self, base_folder: Path = Path(), roots: tuple[Path, ...] = (), limit_s: float = LIMIT_S) -> None:
        self._base_folder, self._roots, self._limit_s = base_folder, roots, limit_s
        self._turn = NewestFirst(_MAX_WAITING)
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def estimate(self, config: TrainConfig) -> MemoryEstimate:
        """Return the estimate for a configuration; the first one takes some seconds more, because torch is imported.

        :raises UnsupportedError: if there is none for these settings.
        :raises BusyError: if more requests came meanwhile than may wait, or the estimate takes too long.
        """
        request = self._request(config)
        key = json.dumps(request, sort_keys=True)
        if (known := self._known.get(key)) is None:
            with self._turn:
                known = self._known.get(key) or self._ask(request)
                self._known[key] = known
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return _read(known)

    def known(self, config: TrainConfig) -> MemoryEstimate | None:
        """Return the estimate if it was computed already."""
        answer = self._known.get(json.dumps(self._request(config), sort_keys=True))
        return MemoryEstimate.from_json(answer["estimate"]) if answer and "estimate" in answer else None

    def known_within(self, config: TrainConfig, wait_s: float) -> MemoryEstimate | None:
        """Return the estimate if it is known or computed within the time; otherwise it is computed for the next request."""
        if (estimate := self.known(config)) is None and wait_s > 0:
            asking = threading.Thread(target=self._ask_later, args=(config,), name="memory-estimate", daemon=True)
            asking.start()
            asking.join(wait_s)
            estimate = self.known(config)
        return estimate

    def _ask_later(self, config: TrainConfig) -> None:
        with contextlib.suppress(BusyError, UnsupportedError):  # no estimate, no warning
            self.estimate(config)

    def findings(self, config: TrainConfig, gpu_bytes: int | None, wait_s: float = 0.0) -> tuple[Finding, ...]:
        """Return a warning if a run is expected to need more memory than the GPU has, as far as an estimate is known.

        If it isn't known yet, it is computed for at most ``wait_s`` seconds.
        """
        estimate = self.known_within(config, wait_s) if gpu_bytes else None
        if estimate is None or not gpu_bytes or estimate.peak.total <= gpu_bytes:
            return ()
        need, has = estimate.peak.total / _GIB, gpu_bytes / _GIB
        return (
            found(
                "memory-exceeds-gpu",
                "batch_size",
                f"The run is expected to need {need:.1f} GiB of VRAM in the phase “{PHASES[estimate.peak.phase]}”, "
                f"but the GPU has {has:.1f} GiB. {NOT_CALIBRATED}",
                value=config.batch_size,
                expected=f"less than {has:.1f} GiB",
                suggestion="Turn on gradient checkpointing, lower the batch size, or offload a fraction of the layers.",
            ),
        )

    def steps_to_fit(self, config: TrainConfig, limit_bytes: int) -> Iterator[Step]:
        """Yield changes, cheap ones first, each on top of those before it, until the run fits."""
        estimate = self.estimate(config)
        for label, changes in memory_changes(config):
            if estimate.peak.total <= limit_bytes:
                return
            changed = apply(config, changes)
            after = self.estimate(changed)
            if _less(after, estimate):
                config, estimate = changed, after
                yield Step(label, changes, after)

    def saves(self, config: TrainConfig, changed: TrainConfig) -> bool:
        """Return whether changed settings are estimated to need less memory, at most or in training steps.

        :raises UnsupportedError: if there is no estimate for these settings.
        :raises BusyError: if too many requests are waiting, or the estimate takes too long.
        """
        return _less(self.estimate(changed), self.estimate(config))

    def close(self) -> None:
        """End the process, even if it is computing."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        with contextlib.suppress(BusyError), self._turn:  # later calls find it closed, and end the process too
            self._end()

    # -- the process ----------------------------------------------------------------------------------------------------

    def _request(self, config: TrainConfig) -> dict[str, Any]:
        config = resolve_paths(config, self._base_folder)
        document = {name: value for name, value in to_document(config, packed=True).items() if name not in _WITHOUT_EFFECT}
        base = Path(config.base_model_name)
        if self._roots and base.exists() and not any(base.resolve().is_relative_to(root.resolve()) for root in self._roots):
            document["base_model_name"] = ""
        return {"config": document}

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        give_up_at = time.monotonic() + self._limit_s
        for process in (self._process, None):  # an existing one may have exited in the meantime
            if process is None:
                self._end()
                if self._closed or time.monotonic() >= give_up_at:
                    break
                process = self._process = self._started()
            timer = threading.Timer(max(0.0, give_up_at - time.monotonic()), process.kill)
            timer.start()
            try:
                answer = exchange(process, request)
            finally:
                timer.cancel()
            if answer is not None:
                return answer
        self._end()
        raise BusyError("The memory of the run couldn't be estimated in time.", suggestion="Try again in a moment.")

    def _started(self) -> subprocess.Popen[bytes]:
        return start_answering(
            "onetrainer_gradio.backends.memory_worker", "estimate memory", {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        end_answering(process)


def _read(answer: Mapping[str, Any]) -> MemoryEstimate:
    if "estimate" not in answer:
        raise UnsupportedError(answer["error"], suggestion=answer["suggestion"])
    return MemoryEstimate.from_json(answer["estimate"])


def _less(after: MemoryEstimate, before: MemoryEstimate) -> bool:
    return after.peak.total < before.peak.total or _training(after) < _training(before)


def _training(estimate: MemoryEstimate) -> int:
    return max((phase.total for phase in estimate.phases if phase.phase == "training"), default=0)


def memory_changes(config: TrainConfig) -> Iterator[tuple[str, Changes]]:
    """Yield what saves memory and isn't set yet, with its label: first what costs least."""
    facts = MODELS.get(config.model_type, UNFAMILIAR)
    denoiser = next(name for name in facts.parts if name in ("unet", "prior", "transformer"))
    part = getattr(config, denoiser)
    if not part.gradient_checkpointing:
        path = f"{denoiser}.gradient_checkpointing"
        yield f"Turn on {title_of(path)}", {path: True}
    smaller = config.batch_size
    while smaller > 1:
        smaller //= 2
        yield f"Lower {title_of('batch_size')} to {smaller}", {"batch_size": smaller}
    if config.optimizer.optimizer in (Optimizer.ADAM, Optimizer.ADAMW):
        name = f"{config.optimizer.optimizer.value}_8BIT"
        yield "Choose the 8-bit optimizer", {"optimizer.optimizer": name}
    rank = config.lora_rank
    while config.training_method == "LORA" and rank > 8:
        rank //= 2
        yield f"Lower {title_of('lora_rank')} to {rank}", {"lora_rank": rank}
    if denoiser in facts.offloaded:
        path = f"{denoiser}.offload_fraction"
        for fraction in (0.5, 0.9):
            if part.offload_fraction < fraction:
                yield f"Set {title_of(path)} to {fraction}", {path: fraction}
