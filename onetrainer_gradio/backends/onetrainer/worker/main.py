"""Report the facts of the checkout, or execute runs."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from functools import partial
from typing import Any

from .commands import CommandInbox
from .console import Console
from .errors import attempt, cause_of, problem_of
from .facts import library_versions, read_facts, read_methods
from .processes import end_with
from .run import RunDriver
from .wire import Wire

PROTOCOL = 1


def clean_output() -> tuple[Wire, Console]:
    """Reserve standard output for JSON lines; all other output goes to standard error."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    wire, console = Wire(descriptor), Console(2)
    sys.stdout = sys.stderr = console
    return wire, console


def answer_facts(wire: Wire) -> int:
    """Report the facts of the checkout."""
    facts, error = attempt(read_facts)
    if error is not None:
        return import_failed(wire, error)
    methods, error = attempt(read_methods)
    facts["methods"], facts["problem"] = methods or {}, problem_of(error) if error is not None else ""
    wire.send(facts.pop("type"), **facts)
    return 0


def import_failed(wire: Wire, error: BaseException) -> int:
    """Report why there are no facts. Return the exit status."""
    traceback.print_exception(error)
    wire.send("import_failed", **cause_of(error))
    return 4


def import_onetrainer() -> dict[str, Any]:
    """Import the modules of OneTrainer that are used. The working directory must be the checkout."""
    from modules.trainer import GenericTrainer  # noqa: F401 - imported before gc.freeze()
    from modules.util import create
    from modules.util.callbacks.TrainCallbacks import TrainCallbacks
    from modules.util.commands.TrainCommands import TrainCommands
    from modules.util.config.SampleConfig import SampleConfig
    from modules.util.config.TrainConfig import TrainConfig

    return {
        "create_trainer": create.create_trainer,
        "TrainCallbacks": TrainCallbacks,
        "TrainCommands": TrainCommands,
        "SampleConfig": SampleConfig,
        "TrainConfig": TrainConfig,
    }


def serve(wire: Wire, console: Console, place: int | None) -> int:
    """Import OneTrainer and execute runs until the parent ends or needs no more."""
    inbox = CommandInbox(wire, place)
    wire.send("hello", protocol=PROTOCOL, pid=os.getpid(), versions=library_versions())
    threading.Thread(target=inbox.listen, name="listen", daemon=True).start()
    began = time.monotonic()
    onetrainer, error = attempt(import_onetrainer)
    if error is not None:
        return import_failed(wire, error)
    # Half a million imported objects live as long as the process, and OneTrainer collects garbage at every turn.
    gc.collect()
    gc.freeze()
    wire.send("imported", seconds=time.monotonic() - began)
    while (driver := inbox.next_run(partial(RunDriver, inbox, onetrainer))) is not None:
        console.continue_in(driver.descriptors[0] if driver.descriptors else None)
        console.on_bar, console.raised = driver.on_bar, []
        driver.printed = lambda: console.raised
        driver.execute_run()
        console.settle()
        del driver
        console.on_bar = lambda name, done, total: None
    return 0


def main(arguments: list[str]) -> int:
    """Run the given mode. Return 0 if it succeeded."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wire, console = clean_output()
    if arguments[:1] == ["facts"]:
        if len(arguments) > 1 and os.name == "posix":
            threading.Thread(target=end_with, args=(int(arguments[1]),), name="parent", daemon=True).start()
        return answer_facts(wire)
    if arguments[:1] == ["serve"]:
        return serve(wire, console, int(arguments[1]) if len(arguments) > 1 else None)
    return 2
