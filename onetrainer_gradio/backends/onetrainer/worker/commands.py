"""Receive commands from the parent, and answer them."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .processes import leave
from .wire import Wire, document_in

COMMANDS = frozenset({"stop", "pause", "resume", "sample_default", "sample_custom", "backup_now", "save_now"})


AnyRun = TypeVar("AnyRun", bound="Run")


def receive(place: int | None, count: int) -> list[int]:
    """Return the descriptors that the parent sends with a run."""
    if place is None or not count:
        return []
    with socket.socket(fileno=os.dup(place)) as way:
        descriptors = list(socket.recv_fds(way, 1, count)[1])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors


def close(descriptors: list[int]) -> None:
    """Close descriptors."""
    while descriptors:
        os.close(descriptors.pop())


class Run(Protocol):
    """The part of the current run that commands affect."""

    def request_stop(self) -> None:
        """Stop at the end of the step, or at once if OneTrainer accepts no commands."""
        ...


class CommandInbox:
    """The messages of the parent, added by the reading thread and taken by the training thread."""

    def __init__(self, wire: Wire, place: int | None = None) -> None:
        self.wire = wire
        self.place = place
        self.changed = threading.Condition(threading.RLock())
        self.runs: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.driver: Run | None = None
        self.orphaned = False
        self.over = False

    def listen(self) -> None:
        """Read until the parent is gone; if reading fails, no more messages can arrive either."""
        try:
            for line in sys.stdin:
                if isinstance(body := document_in(line), dict):
                    self.receive_message(body)
        finally:
            self.on_parent_gone()

    def on_parent_gone(self) -> None:
        """End the current run, and accept no other."""
        with self.changed:
            self.orphaned = self.over = True
            driver = self.driver
            if driver is None:
                leave(0)
            driver.request_stop()
            self.changed.notify_all()

    def receive_message(self, body: dict[str, Any]) -> None:
        """Handle one line from the parent."""
        kind = body.get("type")
        with self.changed:
            if kind == "run":
                body["descriptors"] = receive(self.place, body.get("descriptors", 0))
                self.runs.append(body)
            elif kind == "shutdown":
                self.over = True
            elif self.driver is None and kind == "stop" and self.runs:
                for run in self.runs:
                    close(run["descriptors"])
                self.runs.clear()
                self.answer(body)
                self.wire.send("run_done", outcome="stopped", error=None, phase="starting")
            elif self.driver is None and not self.runs:
                self.answer(body, "refused", "no run is active")
            elif kind not in COMMANDS:
                self.answer(body, "refused", "OneTrainer doesn't support this command")
            elif kind == "stop" and self.driver is not None:
                self.driver.request_stop()
                self.answer(body)
            else:
                self.commands.append(body)
            self.changed.notify_all()

    def next_run(self, begin: Callable[[dict[str, Any]], AnyRun]) -> AnyRun | None:
        """Wait for a run. Return None if there will be none."""
        with self.changed:
            self.changed.wait_for(lambda: self.runs or self.over)
            if not self.runs or self.orphaned:
                return None
            driver = begin(self.runs.pop(0))
            self.driver = driver
            return driver

    def take(self, kind: str) -> list[dict[str, Any]]:
        """Return the waiting commands of a kind."""
        with self.changed:
            taken = [body for body in self.commands if body.get("type") == kind]
            self.commands = [body for body in self.commands if body.get("type") != kind]
            return taken

    def answer(self, body: dict[str, Any], outcome: str = "done", reason: str = "", result: str = "") -> None:
        """Send the one answer to a command."""
        kind = body.get("type", "")
        self.wire.event(
            "command_completed", command_id=body.get("id", ""), command=kind, outcome=outcome, reason=reason, result=result
        )


def merged(commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the commands for a sample; one with the same parameters as an earlier one is kept there, under ``same``."""
    first: dict[str, dict[str, Any]] = {}
    for body in commands:
        params = body.get("params")
        random_seed = not isinstance(params, dict) or params.get("random_seed")
        key = str(body.get("id")) if random_seed else json.dumps(params, sort_keys=True)
        if (earlier := first.setdefault(key, body)) is not body:
            earlier.setdefault("same", []).append(body)
    return list(first.values())


def with_same(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a command and the equal ones that it also answers."""
    return [body, *body.get("same", [])]
