"""Train without the page: the same service and run folder, with a progress bar in the terminal."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO

from onetrainer_gradio.cli import MemoryOptions, TrainOptions, enter_data_folder
from onetrainer_gradio.config import RunOptions, TrainConfig, memory_estimate
from onetrainer_gradio.config.files.documents import from_document, read_file
from onetrainer_gradio.config.memory_estimate import CATEGORIES, NOT_CALIBRATED, MemoryEstimate
from onetrainer_gradio.errors import CommandLineError, ConfigNotFoundError, Finding, RunConflictError, sentence
from onetrainer_gradio.service.host.data_folder_lock import DataFolderLock
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from onetrainer_gradio.vocabulary import ENDS, PHASES

COMPLETED, FAILED, STOPPED = 0, 1, 130
EXIT_BY_REASON = {"completed": COMPLETED, "stopped": STOPPED, "failed": FAILED, "lost": FAILED}

GIB = 1 << 30
LOOK_S = 0.5
PLAIN_EVERY_S = 10.0

STOPPING = "Stopping: finishing the current step, then saving. Press Ctrl-C again to stop at once."


def train(options: TrainOptions, out: TextIO | None = None) -> int:
    """Train and return the exit status: 0 finished, 130 stopped, 1 failed or crashed.

    :raises CommandLineError: if the configuration doesn't exist or the data folder can't be used.
    :raises ConfigError: if the configuration is invalid.
    """
    out = out or sys.stdout
    given = Path(options.config).expanduser().absolute()
    enter_data_folder(options.data)
    settings = ServiceSettings(
        data_folder=options.data,
        in_process=options.in_process,
        backend=options.backend,
        checkouts=(options.checkout,) if options.checkout else (),
        find_checkouts=options.backend == "onetrainer",
        runs_queue=False,
    )
    with DataFolderLock(options.data, f"training {options.config}"), TrainerService(settings) as service:
        config, name, notes = configuration(service, options.config, given)
        refuse_second_run(service)
        arrived: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        unsubscribe = service.feed.subscribe(arrived.put)
        try:
            with signals_stop() as signals:  # from here on, a signal stops the run
                run_id = service.start(config, run_options(options, name))
                reporter = Bar(out) if has_screen(out) else Lines(out)
                for note in notes:
                    reporter.warn(note.message)
                reporter.print_line(f"Run {run_id} in {options.data / 'runs' / run_id}")
                if options.detach:
                    reporter.print_line("The run continues in the background. You can follow it in the panel.")
                    return COMPLETED
                with contextlib.closing(reporter):
                    state = follow(service, run_id, arrived, reporter, signals)
        finally:
            unsubscribe()
        return report_end(state, out)


def memory(options: MemoryOptions, out: TextIO | None = None) -> int:
    """Print the memory that a run is expected to need. Return the exit status: 1 if it doesn't fit into ``vram_gib``.

    :raises CommandLineError: if the configuration doesn't exist.
    :raises ConfigError: if the configuration is invalid.
    :raises UnsupportedError: if there is no estimate for these settings.
    """
    out = out or sys.stdout
    given = Path(options.config).expanduser().absolute()
    service = TrainerService(ServiceSettings(data_folder=options.data, find_checkouts=False))
    try:
        config, _, _ = configuration(service, options.config, given)
        found = service.memory.estimate(config)
        print_memory(found, out)
        limit = None if options.vram_gib is None else int(options.vram_gib * GIB)
        if limit is None or found.peak.total <= limit:
            return COMPLETED
        print(f"\nDoesn't fit into {options.vram_gib:g} GiB. What saves memory, one on top of the other:", file=out)
        for step in service.memory.steps_to_fit(config, limit):
            fits = "fits" if step.estimate.peak.total <= limit else "doesn't fit yet"
            print(f"  {step.label}: {step.estimate.peak.total / GIB:.1f} GiB, {fits}", file=out)
        return 1
    finally:
        service.close()


def print_memory(found: MemoryEstimate, out: TextIO) -> None:
    """Print an estimate as a table in GiB, the highest phase marked."""
    head = "".join(f"{title:>17}" for title in CATEGORIES.values())
    counts = f"{found.trained / 1e6:,.1f} of {found.parameters / 1e6:,.1f} million parameters are trained"
    print(f"{NOT_CALIBRATED}. Peaks in GiB; {counts}.", file=out)
    print(f"{'':<18}{'Total':>8}{head}", file=out)
    for phase in found.phases:
        parts = "".join(f"{phase.bytes.get(name, 0) / GIB:>17.2f}" for name in CATEGORIES)
        mark = "  <- peak" if phase == found.peak else ""
        print(f"{memory_estimate.PHASES[phase.phase]:<18}{phase.total / GIB:>8.2f}{parts}{mark}", file=out)
    for assumption in found.assumptions:
        print(assumption, file=out)


def configuration(service: TrainerService, name: str, path: Path) -> tuple[TrainConfig, str, tuple[Finding, ...]]:
    """Return the configuration from a file or by name, the name for the run, and notes.

    :raises CommandLineError: if neither exists.
    """
    if path.is_file():
        config, notes = from_document(read_file(path))
        return config, path.stem, notes
    try:
        config, _ = from_document(service.configs.read(name))  # no notes for files that the panel wrote
    except ConfigNotFoundError as error:
        message = f"No file or configuration is named {name!r}"
        raise CommandLineError(message, expected=f"a file, or {error.expected}") from error
    return config, name, ()


def run_options(options: TrainOptions, name: str) -> RunOptions:
    """Return the run options of a command line."""
    return RunOptions(
        name=options.name or name,
        checkout=str(options.checkout or ""),
        max_steps=options.max_steps,
        resume_from=options.resume,
        started_by="command line",
    )


def refuse_second_run(service: TrainerService) -> None:
    """Allow one run at a time in a data folder.

    :raises RunConflictError: if a run is active.
    """
    state = service.get_state()
    if state["is_training"]:
        raise RunConflictError(
            f"Run {state['name'] or state['run_id']} is active in this data folder",
            suggestion="Stop it in the panel, or choose another folder with --data.",
        )


class StopSignals:
    """Count stop signals."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, *_: object) -> None:
        """Count one signal."""
        self.times += 1


@contextlib.contextmanager
def signals_stop() -> Iterator[StopSignals]:
    """Count interrupts and terminations instead of exiting. A run in a separate process doesn't receive them."""
    signals = StopSignals()
    before = {number: signal.signal(number, signals) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ProgressReporter(Protocol):
    """Show a run in the terminal."""

    def print_line(self, text: str) -> None:
        """Print a line."""

    def warn(self, text: str) -> None:
        """Print a warning."""

    def show(self, state: dict[str, Any]) -> None:
        """Show the current state."""

    def close(self) -> None:
        """End the output."""


def has_screen(out: TextIO) -> bool:
    """Return whether a progress bar can be drawn: on a terminal with a size."""
    if not out.isatty():
        return False
    try:
        return min(os.get_terminal_size(out.fileno())) > 0
    except OSError:
        return True


class Bar:
    """A progress bar below the printed lines."""

    def __init__(self, out: TextIO) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

        self._out = out
        self._bar = tqdm(total=None, file=out, dynamic_ncols=True, bar_format="{desc}", leave=True)

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=self._out)

    def warn(self, text: str) -> None:
        """Print a warning above the bar."""
        self.print_line(f"Warning: {text}")

    def show(self, state: dict[str, Any]) -> None:
        """Update the bar: progress of the phase if it has a total, otherwise of the run."""
        phase = state["phase"]
        in_phase = phase not in {"training", "stopping", None} and state["phase_total"]
        done, total = (
            (state["phase_done"], state["phase_total"]) if in_phase else (state["progress"]["global_step"], state["total_steps"])
        )
        self._bar.total = total or None
        self._bar.n = done
        self._bar.bar_format = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}" if total else "{desc}{postfix}"
        self._bar.set_description_str(title(state), refresh=False)
        self._bar.set_postfix_str(numbers(state), refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Close the bar and keep it on screen."""
        self._bar.close()


class Lines:
    """Plain lines for a file or pipe: each phase, and metrics at intervals."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._phase = ""
        self._printed_at = 0.0

    def print_line(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._out, flush=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.print_line(f"Warning: {text}")

    def show(self, state: dict[str, Any]) -> None:
        """Print a line if the phase changed or some time has passed."""
        phase = title(state)
        due = time.monotonic() - self._printed_at >= PLAIN_EVERY_S
        if phase == self._phase and not due:
            return
        self._phase, self._printed_at = phase, time.monotonic()
        step, total = state["progress"]["global_step"], state["total_steps"]
        parts = [phase, f"step {step}/{total}" if total else "", numbers(state)]
        self.print_line("  ".join(part for part in parts if part))

    def close(self) -> None:
        """Do nothing: nothing is open."""


def follow(
    service: TrainerService,
    run_id: str,
    arrived: queue.SimpleQueue[dict[str, Any]],
    reporter: ProgressReporter,
    signals: StopSignals,
) -> dict[str, Any]:
    """Show the run until it has ended and its process has exited. Return its last state."""
    handled = 0
    while True:
        state = service.get_state()
        reporter.show(state)
        if state["run_id"] == run_id and not state["is_training"] and not state["process_running"]:
            report_events(arrived, run_id, reporter)
            return state
        if signals.times > handled and state["can"]["stop"]:
            handled += 1
            service.stop_training(now=handled > 1)
            reporter.print_line(STOPPING if handled == 1 else "Stopping at once.")
        with contextlib.suppress(queue.Empty):
            report(arrived.get(timeout=LOOK_S), run_id, reporter)
        report_events(arrived, run_id, reporter)


def report_events(arrived: queue.SimpleQueue[dict[str, Any]], run_id: str, reporter: ProgressReporter) -> None:
    """Print all messages that have arrived."""
    with contextlib.suppress(queue.Empty):
        while True:
            report(arrived.get_nowait(), run_id, reporter)


def report(message: dict[str, Any], run_id: str, reporter: ProgressReporter) -> None:
    """Print the events of the feed that matter to a person."""
    if message["type"] != "event" or message["run_id"] != run_id:
        return
    event = message["event"]
    kind = event["type"]
    if kind == "warning_issued":
        reporter.warn(event["message"])
    elif kind in {"backup_failed", "save_failed"}:
        reporter.warn(event["error"]["message"])
    elif kind in PRODUCTS:
        reporter.print_line(f"{PRODUCTS[kind]}: {event['path']}")


PRODUCTS = {"backup_created": "Backup", "model_saved": "Model", "sample_generated": "Sample"}


def title(state: dict[str, Any]) -> str:
    """Return the phase as text."""
    phase = PHASES.get(state["phase"] or "", ENDS.get(state["end_reason"] or "", "Finished"))
    return f"{phase}: {state['phase_detail']}" if state["phase"] == "queued" and state["phase_detail"] else phase


def numbers(state: dict[str, Any]) -> str:
    """Return loss, speed and remaining time, if available."""
    shown = []
    if state["loss"] is not None:
        shown.append(f"loss {state['loss']:.4f}")
    if state["smooth_loss"] is not None:
        shown.append(f"smooth {state['smooth_loss']:.4f}")
    if state["speed"]:
        shown.append(f"{state['speed']:.2f} steps/s")
    if state["eta_s"] is not None:
        shown.append(f"{clock(state['eta_s'])} left")
    return "  ".join(shown)


def clock(seconds: float) -> str:
    """Return a duration as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def report_end(state: dict[str, Any], out: TextIO) -> int:
    """Print how the run ended. Return the exit status."""
    reason = state["end_reason"]
    step = state["progress"]["global_step"]
    took = clock(state["elapsed_s"] or 0)
    if reason in {"completed", "stopped"}:
        print(f"{ENDS[reason]} after step {step} in {took}.", file=out, flush=True)
    else:
        error = state["error_info"] or {}
        remedy = f" {sentence(error['suggestion'])}" if error.get("suggestion") else ""
        print(
            f"onetrainer-gradio: error: the run {ENDS[reason].lower()} at step {step}: {state['error']}{remedy}",
            file=sys.stderr,
            flush=True,
        )
    return EXIT_BY_REASON[reason]
