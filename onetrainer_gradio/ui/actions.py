"""The buttons' streaming generators: each says what happens until its action has an outcome, then returns.

A generator only observes. Gradio closes it when the browser goes away; whatever it started goes on in the service.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from onetrainer_gradio.errors import TrainerError
from onetrainer_gradio.service import TrainerService
from onetrainer_gradio.service.host.threads import Threads, in_thread

Said = dict[str, Any]

_ENDED = {"idle", "initialized", "completed", "error"}

# The longest silence before the state is looked at again: the ladder's countdown moves without a message.
_LOOK_S = 1.0

# Nobody has to be told more often than this what phase a run is in.
_WATCH_EVERY_S = 0.5

_PHASES = {
    "queued": "Waiting for its turn",
    "starting": "Starting the training process",
    "loading": "Loading the model",
    "caching": "Caching pictures and captions",
    "training": "Training",
    "sampling": "Painting samples",
    "validating": "Measuring the validation loss",
    "backing_up": "Writing a backup",
    "saving": "Saving the model",
    "paused": "Paused",
    "stopping": "Stopping",
}

# Commands wait during these: there is nothing to sample or save yet.
_BEFORE_TRAINING = frozenset({"queued", "starting", "loading", "caching"})

_STOP_STAGES = {
    "finish_step": "Finishing the step, then saving",
    "interrupt": "Interrupting",
    "terminate": "Terminating the process",
    "kill": "Killing the process",
}


_ENDS = {"completed": "Finished", "stopped": "Stopped", "failed": "Failed", "lost": "The training process was lost"}


class Actions:
    """What the buttons do, bound to a service."""

    def __init__(self, service: TrainerService) -> None:
        self._service = service

    async def start(self) -> AsyncIterator[Said]:
        """Start the current settings and say what happens until the first step is done or the run has ended."""
        yield _said("start", "Checking the settings")
        with _messages(self._service) as arrived:
            try:
                run_id = await in_thread(Threads.SLOW, self._service.start)
            except TrainerError as error:
                yield _refused("start", error)
                return
            last = ""
            while True:
                state = self._service.get_state()
                waiting = state.get("queued_run_id") == run_id
                if not waiting and (state.get("run_id") != run_id or state["status"] in _ENDED):
                    yield _ended("start", state, run_id)
                    return
                if state.get("update_step") and not waiting:
                    loss = state.get("loss")
                    text = "First step done" if loss is None else f"First step done, loss {loss:.4f}"
                    yield _said("start", text, done=True, run_id=run_id)
                    return
                text = "Waiting for the present run to end" if waiting else _phase(state)
                if text != last:
                    yield _said("start", text, run_id=run_id)
                    last = text
                await _next(arrived)

    async def stop(self) -> AsyncIterator[Said]:
        """Stop the run; pressed again, climb the ladder at once. Streams the stage and its countdown until the run is over."""
        stopping = bool(self._service.get_state().get("stop"))
        with _messages(self._service) as arrived:
            try:
                await in_thread(Threads.CONTROL, self._service.stop_training, now=stopping)
            except TrainerError as error:
                yield _refused("stop", error)
                return
            run_id = self._service.get_state().get("run_id")
            last = ""
            while True:
                state = self._service.get_state()
                if state.get("run_id") != run_id or state["status"] in _ENDED:
                    yield _ended("stop", state, run_id)
                    return
                text = _stop_stage(state)
                if text != last:
                    yield _said("stop", text, run_id=run_id)
                    last = text
                await _next(arrived)

    async def pause(self) -> AsyncIterator[Said]:
        """Pause after the present step, the model stays in memory."""
        async for said in self._command("pause", self._service.pause_training, "Paused"):
            yield said

    async def resume(self) -> AsyncIterator[Said]:
        """Go on after a pause."""
        async for said in self._command("resume", self._service.resume_training, "Going on"):
            yield said

    async def sample(self) -> AsyncIterator[Said]:
        """Paint the configured prompts now."""
        async for said in self._command("sample", self._service.sample_default, "Samples are painted"):
            yield said

    async def backup(self) -> AsyncIterator[Said]:
        """Write a backup now."""
        async for said in self._command("backup", self._service.backup, "Backup written"):
            yield said

    async def save(self) -> AsyncIterator[Said]:
        """Save the model now."""
        async for said in self._command("save", self._service.save, "Model saved"):
            yield said

    async def watch(self) -> AsyncIterator[Said]:
        """The state of the run, whenever it changed, until the run is over; for programs that use gradio_client."""
        with _messages(self._service) as arrived:
            last: Said = {}
            while True:
                state = self._service.get_state()
                if state != last:
                    yield state
                    last = state
                if not state["is_training"]:
                    return
                await asyncio.sleep(_WATCH_EVERY_S)
                await _next(arrived)

    async def _command(self, name: str, give: Callable[[], str], done: str) -> AsyncIterator[Said]:
        with _messages(self._service) as arrived:
            try:
                command_id = await in_thread(Threads.CONTROL, give)
            except TrainerError as error:
                yield _refused(name, error)
                return
            yield _said(name, _accepted(self._service.get_state()), command_id=command_id)
            while True:
                message = await _next(arrived)
                event = message.get("event") or {}
                if event.get("type") == "command_completed" and event.get("command_id") == command_id:
                    ok = event["outcome"] == "done"
                    text = done if ok else f"Not done: {event.get('reason') or 'the run refused it'}"
                    yield _said(name, text, ok=ok, done=True, command_id=command_id, result=event.get("result", ""))
                    return
                state = self._service.get_state()
                if state["status"] in _ENDED:
                    yield _said(name, "Not done: the run ended before", ok=False, done=True, command_id=command_id)
                    return


def _said(action: str, text: str, *, ok: bool = True, done: bool = False, **more: Any) -> Said:
    return {"action": action, "ok": ok, "done": done, "text": text, **more}


def _accepted(state: Said) -> str:
    """Say that a command was accepted, and when it is carried out."""
    if state.get("phase") in _BEFORE_TRAINING:
        return "Accepted. It waits until the first step can start"
    return "Accepted. It runs after the current step"


def _refused(action: str, error: TrainerError) -> Said:
    errors = [
        {"path": found.path, "message": found.message, "expected": found.expected, "suggestion": found.suggestion}
        for found in error.findings()
        if found.severity == "error"
    ]
    return _said(action, error.message, ok=False, done=True, errors=errors)


def _ended(action: str, state: Said, run_id: str | None) -> Said:
    if state.get("run_id") != run_id:
        return _said(action, "The run is over", done=True, run_id=run_id)
    error = state.get("error")
    steps = state["progress"]["global_step"]
    text = f"{_ENDS.get(state.get('end_reason') or '', 'The run is over')} after {steps} {'step' if steps == 1 else 'steps'}"
    # to somebody who pressed Stop, an ended run is what was asked for
    ok = not error or action == "stop"
    # the page shows the cause elsewhere: it takes it out of the text
    return _said(action, f"{text}: {error}" if error else text, ok=ok, done=True, run_id=run_id, error=error or "")


def _phase(state: Said) -> str:
    phase = state.get("phase") or "starting"
    text = _PHASES.get(phase, phase)
    total = state.get("phase_total")
    return f"{text} {state.get('phase_done') or 0}/{total}" if total else text


def _stop_stage(state: Said) -> str:
    stop = state.get("stop")
    if not stop:
        return "Stopping"
    text = _STOP_STAGES.get(stop["stage"], stop["stage"])
    left = round(stop["deadline"] - time.time()) if stop.get("deadline") else 0
    return f"{text}; the next rung comes in {left} s" if left > 0 else text


@contextmanager
def _messages(service: TrainerService) -> Iterator[asyncio.Queue[Said]]:
    """The feed's messages from now on, brought to the event loop; the oldest are dropped when nobody looks."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Said] = asyncio.Queue(maxsize=512)

    def put(message: Said) -> None:
        if arrived.full():
            arrived.get_nowait()
        arrived.put_nowait(message)

    def bring(message: Said) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(put, message)

    leave = service.feed.subscribe(bring)
    try:
        yield arrived
    finally:
        leave()


async def _next(arrived: asyncio.Queue[Said]) -> Said:
    try:
        return await asyncio.wait_for(arrived.get(), _LOOK_S)
    except TimeoutError:
        return {}
