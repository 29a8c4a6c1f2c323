"""Compare both engines with the same input: ``python -m onetrainer_gradio.compare CONFIG --steps N --onetrainer FOLDER``.

The built-in engine and a OneTrainer checkout train the same settings for some steps, one after the other, each in a separate
process and in separate folders. The results are compared: the loss of each step, the files, the speed.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from onetrainer_gradio.cli import CheckedParser, existing_folder, positive
from onetrainer_gradio.config import RunOptions, TrainConfig
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
from onetrainer_gradio.terminal import STOPPED, StopSignals, signals_stop

PROGRAM = "python -m onetrainer_gradio.compare"
DEFAULT_STEPS = 20
LOOK_S = 0.5
READ_S = 120.0
# Steps at the start that are slow for reasons of their own: kernels are chosen, memory is taken for the first time.
WARM_UP = 2
MOST_HEADER_BYTES = 100 << 20

# What a comparison does without: it would cost time on one side that has nothing to do with the steps.
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
    """A file of a run: its kind, its size in bytes, and for safetensors its tensors by name, type and shape."""

    kind: str
    name: str
    bytes: int
    tensors: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """The result of one engine; times in seconds, losses by step from the first one."""

    engine: str
    run_id: str
    end: str
    error: str = ""
    losses: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    first_step_s: float | None = None
    total_s: float | None = None
    trainable_parameters: int = 0
    files: tuple[Produced, ...] = ()
    checkout: dict[str, Any] = field(default_factory=dict)

    @property
    def steps_per_s(self) -> float | None:
        """Return the speed after the warmup, from the median of the steps."""
        steady = [value for value in self.seconds[WARM_UP:] or self.seconds if value > 0]
        return 1 / statistics.median(steady) if steady else None


@dataclass(frozen=True)
class Comparison:
    """Both sides of a comparison of ``steps`` steps."""

    name: str
    steps: int
    sides: tuple[Side, Side]

    @property
    def differences(self) -> tuple[float, ...]:
        """Return the loss difference of each step."""
        left, right = self.sides
        return tuple(abs(one - other) for one, other in zip(left.losses, right.losses, strict=False))

    @property
    def same_keys(self) -> bool | None:
        """Return whether both final models have the same tensors, or None if they can't be read."""
        left, right = (next((file.keys for file in side.files if file.kind == "model" and file.keys), ()) for side in self.sides)
        return left == right if left and right else None

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON object; of the tensors, only those that one side lacks."""
        left, right = self.sides
        differences = self.differences
        return {
            "configuration": self.name,
            "steps": self.steps,
            "engines": [_side_dict(side) for side in self.sides],
            "loss": {
                "steps_compared": len(differences),
                "largest_difference": max(filter(math.isfinite, differences), default=None),
                "first_difference": next(filter(math.isfinite, differences[:1]), None),
            },
            "model": {"same_keys": self.same_keys, **_alone(left, right)},
        }


def _side_dict(side: Side) -> dict[str, Any]:
    told = asdict(side) | {"steps_per_s": side.steps_per_s}
    told["losses"] = [value if math.isfinite(value) else None for value in side.losses]
    told["files"] = [{key: value for key, value in asdict(file).items() if key != "keys"} for file in side.files]
    return told


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
    settings = ServiceSettings(
        data_folder=request.out / "panel",
        backend=request.first,
        in_process=request.in_process,
        checkouts=(request.checkout,) if request.checkout else (),
        find_checkouts=request.checkout is None,
    )
    with TrainerService(settings) as service:
        if request.checkout and request.python:
            service.checkouts.add(request.checkout, request.python)
        signals = signals or StopSignals()
        give_up_at = time.monotonic() + READ_S
        while not (service.checkouts.wait(LOOK_S) or signals.times or time.monotonic() >= give_up_at):
            pass
        wanted = [RunOptions(backend=request.first), RunOptions(backend=ONETRAINER, checkout=str(request.checkout or ""))]
        plans = []
        for options in wanted:
            options = options.model_copy(update={"max_steps": request.steps, "name": f"comparison of {request.name}"})
            config = own_folders(request.config, request.out / options.backend.partition(":")[0], request.steps)
            plans.append((config, service.engines.settled(config, options)))
        for config, options in plans:  # both are asked before the first one trains
            service.check(config, options)
        first, second = (_train(service, config, options, output, signals) for config, options in plans)
        return Comparison(request.name, request.steps, (first, second))


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


def _train(service: TrainerService, config: TrainConfig, options: RunOptions, output: TextIO, signals: StopSignals) -> Side:
    if signals.times:
        raise KeyboardInterrupt
    engine = service.engines.title(service.engines.for_run(config, options))
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
            service.stop_training(now=True)  # nothing of it is wanted any more
        time.sleep(LOOK_S)
    if handled:
        raise KeyboardInterrupt
    return _side(service.runs.get(run_id), engine, began)


def _side(run: Run, engine: str, began: float) -> Side:
    state, rows = run.state(), run.metrics.rows(0, run.metrics.count())
    columns = {name: index for index, name in enumerate(run.metrics.columns())}
    losses, seconds, at = ([float(row[columns[name]]) for row in rows] for name in ("loss", "seconds", "at"))
    planned = next((entry.event() for entry in run.journal.since(0, 1, only=(tag(RunPlanned),))), None)
    return Side(
        engine=engine,
        run_id=run.id,
        end=str(state["end_reason"]),
        error=str(state["error"] or ""),
        losses=tuple(losses),
        seconds=tuple(seconds),
        first_step_s=at[0] - began if at else None,
        total_s=state["ended_at"] - began if state["ended_at"] else None,
        trainable_parameters=planned.trainable_parameters if isinstance(planned, RunPlanned) else 0,
        files=tuple(produced(file["kind"], run.open_file(file["id"]).path) for file in run.files() if file["kind"] != "sample"),
        checkout=dict(run.record.checkout),
    )


def produced(kind: str, path: Path) -> Produced:
    """Return the content at a path: a file, or a folder with the files of a model."""
    if path.is_dir():
        parts = sorted(part for part in path.rglob("*") if part.is_file())
        names = (
            (part.relative_to(path).parent.as_posix(), tensor_names(part)) for part in parts if part.suffix == ".safetensors"
        )
        inside = tuple(sorted(f"{folder}: {name}" for folder, found in names for name in found))
        return Produced(kind, path.name, sum(part.stat().st_size for part in parts), len(inside), inside)
    try:
        size = path.stat().st_size
    except OSError:
        return Produced(kind, path.name, 0)
    keys = tensor_names(path) if path.suffix == ".safetensors" else ()
    return Produced(kind, path.name, size, len(keys), keys)


def tensor_names(path: Path) -> tuple[str, ...]:
    """Return names, types and shapes of the tensors in a safetensors file, from its header; empty if it has none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length < MOST_HEADER_BYTES else {}
    except (OSError, ValueError):
        return ()
    tensors = header.items() if isinstance(header, dict) else ()
    return tuple(sorted(f"{name} {item.get('dtype')} {item.get('shape')}" for name, item in tensors if name != "__metadata__"))


# reporting


def table(comparison: Comparison) -> str:
    """Return the comparison as text."""
    left, right = comparison.sides
    lines = [f"{comparison.name}, {comparison.steps} steps", ""]
    lines += _columns([("step", left.engine, right.engine, "difference"), *_loss_rows(comparison)])
    lines += ["", *_columns([("", left.engine, right.engine), *_fact_rows(left, right)])]
    lines += ["", *_file_lines(comparison)]
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
    told = {True: "Both models have the same tensors: names, types and shapes.", False: "The models have different tensors."}
    if len(rows) == 1:
        return ["No files were written."]
    return [*_columns(rows), *([told[same]] if same is not None else [])]


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
    here = Path.cwd()  # where paths of a command line are meant from
    return name, resolve_paths(pack(config, here), here)


if __name__ == "__main__":
    sys.exit(main())
