"""Compare both engines with the same input: ``python -m onetrainer_gradio.compare CONFIG --steps N --onetrainer FOLDER``.

The built-in engine and a OneTrainer checkout train the same settings for some steps, one after the other, each in a separate
process and in separate folders. The results are compared: the loss of each step, the files and their weights, the speed.

OneTrainer initializes adapters with random numbers that no setting controls. So the first engine writes an adapter that is still
untrained, and both start from it.
"""

from __future__ import annotations

import math
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from onetrainer_gradio.cli import CheckedParser, existing_folder, positive
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.declarations.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.declarations.part import TrainModelPartConfig
from onetrainer_gradio.config.enums import EMAMode, LearningRateScaler, LearningRateScheduler, Optimizer
from onetrainer_gradio.config.families.models import FOLDER_FORMATS
from onetrainer_gradio.config.files.documents import from_document, read_file, to_document
from onetrainer_gradio.config.files.presets import load_preset
from onetrainer_gradio.config.files.resolve import pack, resolve_paths
from onetrainer_gradio.errors import CommandLineError, ConfigError, TrainerError
from onetrainer_gradio.events import RunPlanned, tag
from onetrainer_gradio.service.engines.selection import BUILTIN, ONETRAINER
from onetrainer_gradio.service.host.atomic import write_json
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from onetrainer_gradio.tensor_files import WeightDifference, tensors_of, weight_difference
from onetrainer_gradio.terminal import STOPPED, StopSignals, signals_stop

PROGRAM = "python -m onetrainer_gradio.compare"
DEFAULT_STEPS = 20
LOOK_S = 0.5
READ_S = 120.0
# Steps at the start that are slow for other reasons: kernels are selected, memory is allocated for the first time.
WARM_UP = 2
KEEP_LOADED_S = 600.0

ADAPTER_FILE = Path("lora") / "lora.safetensors"
NOTHING_DONE = {"epoch": 0, "epoch_step": 0, "epoch_sample": 0, "global_step": 0}

# Turned off in a comparison: it would cost time on one side that has nothing to do with the steps.
QUIET: dict[str, Any] = {
    "tensorboard": False,
    "sample_after_unit": "NEVER",
    "backup_after_unit": "NEVER",
    "save_every_unit": "NEVER",
    "validation": False,
    "backup_before_save": False,
    "continue_last_backup": False,
    "clear_cache_before_training": True,
}


@dataclass(frozen=True)
class Produced:
    """A file of a run: its kind, its size in bytes, where it is, and for safetensors its tensors by name, type and shape."""

    kind: str
    name: str
    bytes: int
    tensors: int = 0
    keys: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Side:
    """The result of one engine; times in seconds, losses and gradient norms by step from the first one."""

    engine: str
    run_id: str
    end: str
    error: str = ""
    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    first_step_s: float | None = None
    total_s: float | None = None
    trainable_parameters: int = 0
    files: tuple[Produced, ...] = ()
    checkout: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Produced | None:
        """Return the final model."""
        return next((file for file in self.files if file.kind == "model"), None)

    @property
    def steps_per_s(self) -> float | None:
        """Return the speed after the warmup, from the median of the steps."""
        steady = [value for value in self.seconds[WARM_UP:] or self.seconds if value > 0]
        return 1 / statistics.median(steady) if steady else None


@dataclass(frozen=True)
class Comparison:
    """Both sides of a comparison of ``steps`` steps; ``weights`` is None unless both wrote a model that can be read."""

    name: str
    steps: int
    sides: tuple[Side, Side]
    weights: WeightDifference | None = None

    @property
    def differences(self) -> tuple[float, ...]:
        """Return the loss difference of each step."""
        return _differences(*(side.losses for side in self.sides))

    @property
    def norm_differences(self) -> tuple[float, ...]:
        """Return the difference of the gradient norm of each step."""
        return _differences(*(side.norms for side in self.sides))

    @property
    def same_keys(self) -> bool | None:
        """Return whether both final models have the same tensors, or None if they can't be read."""
        left, right = (side.model.keys if side.model else () for side in self.sides)
        return left == right if left and right else None

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON object; of the tensors, only those that one side lacks."""
        left, right = self.sides
        differences, norms = self.differences, self.norm_differences
        return {
            "configuration": self.name,
            "steps": self.steps,
            "engines": [_side_dict(side) for side in self.sides],
            "loss": {
                "steps_compared": len(differences),
                "largest_difference": max(filter(math.isfinite, differences), default=None),
                "first_difference": next(filter(math.isfinite, differences[:1]), None),
            },
            "grad_norm": {"largest_difference": max(filter(math.isfinite, norms), default=None)},
            "model": {"same_keys": self.same_keys, **_alone(left, right)},
            "weights": asdict(self.weights) if self.weights else None,
        }


def _differences(left: Sequence[float], right: Sequence[float]) -> tuple[float, ...]:
    return tuple(abs(one - other) for one, other in zip(left, right, strict=False))


def _side_dict(side: Side) -> dict[str, Any]:
    values = asdict(side) | {"steps_per_s": side.steps_per_s}
    for name in ("losses", "norms"):
        values[name] = [value if math.isfinite(value) else None for value in values[name]]
    values["files"] = [{key: value for key, value in asdict(file).items() if key != "keys"} for file in side.files]
    return values


def _alone(left: Side, right: Side) -> dict[str, list[str]]:
    ours, theirs = ({key for file in side.files if file.kind == "model" for key in file.keys} for side in (left, right))
    return {"only_first": sorted(ours - theirs), "only_second": sorted(theirs - ours)}


@dataclass(frozen=True)
class Request:
    """What to compare: settings, steps, the checkout, the output folder, and the backend to compare with OneTrainer."""

    name: str
    config: TrainConfig
    steps: int
    out: Path
    checkout: Path | None = None
    python: Path | None = None
    first: str = BUILTIN
    in_process: bool = False


def compare(request: Request, output: TextIO, signals: StopSignals | None = None) -> Comparison:
    """Train with both engines, one after the other. ``signals`` counts the stop signals.

    :raises KeyboardInterrupt: after a stop signal, when the active run has ended.
    :raises CheckoutNotFoundError: if no checkout is given and none is found.
    :raises ConfigInvalidError: if one of them doesn't support these settings; nothing is trained then.
    """
    signals = signals or StopSignals()
    with _service(request, signals) as service:
        settled = tuple(_settled(service, request, backend) for backend in (request.first, ONETRAINER))
        for config, options in settled:  # both are asked before the first one trains
            service.check(config, options)
        adapter = _initial_adapter(service, request, output, signals)
        first, second = (_train(service, _from(adapter, config), options, output, signals) for config, options in settled)
        return _comparison(request, first, second)


def compare_all(requests: Sequence[Request], output: TextIO, signals: StopSignals | None = None) -> Iterator[Comparison]:
    """Compare several configurations with the engines of the first request. Each engine stays loaded for its runs.

    So the times aren't those of a single run. An engine that can't train a configuration, or fails, has its reason as ``error``.

    :raises KeyboardInterrupt: after a stop signal, when the active run has ended.
    :raises CheckoutNotFoundError: if no checkout is given and none is found.
    """
    signals = signals or StopSignals()
    with _service(requests[0], signals, KEEP_LOADED_S) as service:
        firsts = []
        for request in requests:
            adapter = ""
            try:
                adapter = _initial_adapter(service, request, output, signals)
            except TrainerError as error:
                side = Side(request.first, "", "failed", str(error))
            else:
                side = _attempt(service, request, request.first, adapter, output, signals)
            firsts.append((request, adapter, side))
        for request, adapter, first in firsts:
            yield _comparison(request, first, _attempt(service, request, ONETRAINER, adapter, output, signals))


def _attempt(service: TrainerService, request: Request, backend: str, adapter: str, output: TextIO, signals: StopSignals) -> Side:
    config, options = _settled(service, request, backend)
    try:
        return _train(service, _from(adapter, config), options, output, signals)
    except ConfigError as error:
        found = next((finding for finding in error.findings() if finding.severity == "error"), None)
        return Side(backend, "", "rejected", f"{found.path}: {found.message}" if found else str(error))


def _service(request: Request, signals: StopSignals, keep_loaded_s: float = 0.0) -> TrainerService:
    settings = ServiceSettings(
        data_folder=request.out / "panel",
        backend=request.first,
        in_process=request.in_process,
        checkouts=(request.checkout,) if request.checkout else (),
        find_checkouts=request.checkout is None,
        keep_loaded_s=keep_loaded_s,
    )
    service = TrainerService(settings)
    if request.checkout and request.python:
        service.checkouts.add(request.checkout, request.python)
    give_up_at = time.monotonic() + READ_S
    while not (service.checkouts.wait(LOOK_S) or signals.times or time.monotonic() >= give_up_at):
        pass
    return service


def _settled(service: TrainerService, request: Request, backend: str) -> tuple[TrainConfig, RunOptions]:
    options = RunOptions(
        backend=backend,
        checkout=str(request.checkout or "") if backend == ONETRAINER else "",
        max_steps=request.steps,
        name=f"comparison of {request.name}",
    )
    config = own_folders(request.config, request.out / backend.partition(":")[0], request.steps)
    return config, service.engines.settled(config, options)


def _comparison(request: Request, first: Side, second: Side) -> Comparison:
    models = [tensors_of(Path(side.model.path)) if side.model else {} for side in (first, second)]
    return Comparison(request.name, request.steps, (first, second), weight_difference(*models))


# the initial adapter


def draws_adapter(config: TrainConfig) -> bool:
    """Return whether the settings begin with an adapter of random numbers."""
    return config.training_method == "LORA" and not config.lora_model_name


def untrained(config: TrainConfig) -> TrainConfig:
    """Return the settings of a run whose backup contains the adapter as it was initialized: all learning rates are 0."""
    parts = {name: part for name, part in config if isinstance(part, TrainModelPartConfig)}
    changed: dict[str, Any] = {name: part.model_copy(update={"learning_rate": 0.0}) for name, part in parts.items()}
    changed |= {
        "optimizer": TrainOptimizerConfig(optimizer=Optimizer.SGD),
        "learning_rate_scheduler": LearningRateScheduler.CONSTANT,
        "learning_rate_scaler": LearningRateScaler.NONE,
        "learning_rate_warmup_steps": 0.0,
        "gradient_accumulation_steps": 1,
        "ema": EMAMode.OFF,
    }
    return config.model_copy(update=changed)


def _initial_adapter(service: TrainerService, request: Request, output: TextIO, signals: StopSignals) -> str:
    """Return the folder of an untrained adapter that the first engine wrote; empty if the settings need none.

    :raises TrainerError: if the engine can't train these settings or fails.
    """
    if not draws_adapter(request.config):
        return ""
    folder = request.out / "initial"
    own = own_folders(untrained(request.config), folder, 1).model_copy(update={"backup_before_save": True})
    options = service.engines.settled(own, RunOptions(backend=request.first, max_steps=1, name=f"adapter of {request.name}"))
    print("Writing the initial adapter …", file=output, flush=True)
    side = _train(service, own, options, output, signals, announced=True)
    written = next((Path(file.path) / ADAPTER_FILE for file in side.files if file.kind == "backup"), None)
    if written is None or not written.is_file():
        raise TrainerError(f"No initial adapter was written: {side.error or 'the run has no backup with one'}")
    # OneTrainer resumes from a backup that is its initial LoRA: it takes the step count and the state of the optimizer, too
    adapter = folder / "adapter"
    (adapter / "lora").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(written, adapter / ADAPTER_FILE)
    write_json(adapter / "meta.json", {"train_progress": NOTHING_DONE})
    return str(adapter)


def _from(adapter: str, config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"lora_model_name": adapter}) if adapter else config


def own_folders(config: TrainConfig, folder: Path, steps: int) -> TrainConfig:
    """Return the settings without samples and backups, writing only to ``folder``, with enough epochs for the steps."""
    single = config.output_model_format not in FOLDER_FORMATS
    document = to_document(config, packed=config.concepts is not None) | QUIET
    document |= {
        "epochs": max(config.epochs, steps),
        "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"),
        "output_model_destination": str(folder / ("model.safetensors" if single else "model")),
    }
    changed, _ = from_document(document)
    return changed


def _train(
    service: TrainerService,
    config: TrainConfig,
    options: RunOptions,
    output: TextIO,
    signals: StopSignals,
    *,
    announced: bool = False,
) -> Side:
    if signals.times:
        raise KeyboardInterrupt
    engine = service.engines.title(service.engines.for_run(config, options))
    if not announced:
        print(f"Training with {engine} …", file=output, flush=True)
    began = time.time()
    run_id = service.start(config, options)
    handled = 0
    while True:
        state = service.get_state()
        if state["run_id"] == run_id and not state["is_training"] and not state["process_running"]:
            break
        if signals.times > handled and state["can"]["stop"]:
            handled += 1
            print("Stopping ...", file=output, flush=True)
            service.stop_training(now=True)  # its output is no longer needed
        time.sleep(LOOK_S)
    if handled:
        raise KeyboardInterrupt
    return _side(service.runs.get(run_id), engine, began)


def _side(run: Run, engine: str, began: float) -> Side:
    state, rows = run.state(), run.metrics.rows(0, run.metrics.count())
    columns = {name: index for index, name in enumerate(run.metrics.columns())}
    names = ("loss", "grad_norm", "seconds", "at")
    losses, norms, seconds, at = ([float(row[columns[name]]) for row in rows] for name in names)
    planned = next((entry.event() for entry in run.journal.since(0, 1, only=(tag(RunPlanned),))), None)
    return Side(
        engine=engine,
        run_id=run.id,
        end=str(state["end_reason"]),
        error=str(state["error"] or ""),
        losses=tuple(losses),
        norms=tuple(norms),
        seconds=tuple(seconds),
        first_step_s=at[0] - began if at else None,
        total_s=state["ended_at"] - began if state["ended_at"] else None,
        trainable_parameters=planned.trainable_parameters if isinstance(planned, RunPlanned) else 0,
        files=tuple(produced(file["kind"], run.open_file(file["id"]).path) for file in run.files() if file["kind"] != "sample"),
        checkout=dict(run.record.checkout),
    )


def produced(kind: str, path: Path) -> Produced:
    """Return the content at a path: a file, or a folder with the files of a model."""
    try:
        inside = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
        size = sum(part.stat().st_size for part in inside)
    except OSError:
        return Produced(kind, path.name, 0, path=str(path))
    keys = tuple(sorted(f"{name} {tensor}" for name, tensor in tensors_of(path).items()))
    return Produced(kind, path.name, size, len(keys), keys, str(path))


# reporting


def table(comparison: Comparison) -> str:
    """Return the comparison as text."""
    left, right = comparison.sides
    lines = [f"{comparison.name}, {comparison.steps} steps", ""]
    lines += _columns([("step", left.engine, right.engine, "difference"), *_loss_rows(comparison)])
    lines += ["", *_columns([("", left.engine, right.engine), *_fact_rows(left, right)])]
    lines += ["", *_file_lines(comparison), *_weight_lines(comparison)]
    for side in comparison.sides:
        if side.end != "completed":
            lines += ["", f"{side.engine}: {side.end}{f': {side.error}' if side.error else ''}"]
    return "\n".join(lines) + "\n"


def _loss_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    left, right = (side.losses for side in comparison.sides)
    rows, differences = [], comparison.differences
    for step in range(max(len(left), len(right))):
        pair = [losses[step] if step < len(losses) else None for losses in (left, right)]
        difference = f"{differences[step]:.2e}" if None not in pair else ""
        rows.append((str(step + 1), *("" if value is None else f"{value:.6f}" for value in pair), difference))
    return rows


def _fact_rows(left: Side, right: Side) -> list[tuple[str, ...]]:
    facts: dict[str, tuple[Any, Any, str]] = {
        "steps per second": (left.steps_per_s, right.steps_per_s, ".2f"),
        "until the first step (s)": (left.first_step_s, right.first_step_s, ".1f"),
        "whole run (s)": (left.total_s, right.total_s, ".1f"),
        "trained parameters": (left.trainable_parameters or None, right.trainable_parameters or None, ",d"),
    }
    return [
        (name, *("–" if value is None else format(value, form) for value in (one, other)))
        for name, (one, other, form) in facts.items()
    ]


def _file_lines(comparison: Comparison) -> list[str]:
    rows = [("file", "engine", "bytes", "tensors")]
    for side in comparison.sides:
        rows += [(file.name, side.engine, f"{file.bytes:,}", str(file.tensors or "–")) for file in side.files]
    same = comparison.same_keys
    texts = {True: "Both models have the same tensors: names, types and shapes.", False: "The models have different tensors."}
    if len(rows) == 1:
        return ["No files were written."]
    return [*_columns(rows), *([texts[same]] if same is not None else [])]


def _weight_lines(comparison: Comparison) -> list[str]:
    found, norms = comparison.weights, [value for value in comparison.norm_differences if math.isfinite(value)]
    lines = [f"Largest difference of a gradient norm: {max(norms):.2e}."] if norms else []
    if found is None:
        return lines
    lines.append(f"Largest difference of a weight: {found.largest:.2e} ({found.name}).")
    lines.append(f"Root mean square of the differences, relative to the weights: {found.relative:.2e}.")
    return lines


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


# command line


def main(argv: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Run the command line. Return the exit status: 0 both completed, 1 one didn't, 2 invalid command line, 130 stopped."""
    out = out or sys.stdout
    try:
        request, json_file = _request(sys.argv[1:] if argv is None else argv)
        with signals_stop() as signals:
            comparison = compare(request, sys.stderr, signals)
    except KeyboardInterrupt:
        print("Stopped: nothing is compared.", file=sys.stderr)
        return STOPPED
    except (CommandLineError, ConfigError) as error:
        return _complain(error, 2)
    except TrainerError as error:
        return _complain(error, 1)
    out.write(table(comparison))
    write_json(json_file, comparison.as_dict())
    print(f"\nEverything is in {request.out}, the numbers in {json_file}.", file=out, flush=True)
    return 0 if all(side.end == "completed" for side in comparison.sides) else 1


def _complain(error: TrainerError, status: int) -> int:
    print(f"{PROGRAM}: error: {error}", file=sys.stderr)
    for finding in error.findings() if isinstance(error, ConfigError) else ():
        if finding.severity == "error":
            print(f"  {finding.path}: {finding.message}", file=sys.stderr)
    return status


def _request(argv: Sequence[str]) -> tuple[Request, Path]:
    parser = CheckedParser(
        prog=PROGRAM,
        description="Train the same settings for some steps with the built-in engine and with OneTrainer, and compare.",
    )
    parser.add_argument("config", metavar="CONFIG", help="a configuration file, or the name of a preset")
    parser.add_argument("--steps", type=positive, default=DEFAULT_STEPS, help=f"steps of each (default: {DEFAULT_STEPS})")
    parser.add_argument("--onetrainer", type=existing_folder, metavar="FOLDER", help="the checkout (default: one that is found)")
    parser.add_argument("--python", type=Path, metavar="FILE", help="an interpreter for it (default: that of its environment)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where everything goes (default: a new folder here)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go (default: comparison.json in there)")
    given = parser.parse_args(argv)
    if given.python and not given.onetrainer:
        raise CommandLineError("--python is an interpreter for a checkout that is named", suggestion="Add --onetrainer FOLDER.")
    name, config = _configuration(given.config)
    out = (given.out or Path(f"comparison-{time.strftime('%Y-%m-%d_%H-%M-%S')}")).expanduser().absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandLineError(
            f"The folder {out} cannot be made: {error.strerror}", suggestion="Choose another folder with --out."
        ) from error
    request = Request(name, config, given.steps, out, given.onetrainer, given.python)
    return request, (given.json or out / "comparison.json").expanduser().absolute()


def _configuration(text: str) -> tuple[str, TrainConfig]:
    path = Path(text).expanduser().absolute()
    name, document = (path.stem, read_file(path)) if path.is_file() else (text, load_preset(text))
    config, _ = from_document(document)
    here = Path.cwd()  # paths of a command line are relative to it
    return name, resolve_paths(pack(config, here), here)


if __name__ == "__main__":
    sys.exit(main())
