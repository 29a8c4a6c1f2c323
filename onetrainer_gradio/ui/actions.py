"""Streaming generators for the buttons: each reports progress until its action has an outcome, then returns.

A generator only observes. Gradio closes it when the browser disconnects, and what it started continues in the service.
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
from onetrainer_gradio.vocabulary import DONE, ENDS, PHASES, STOP_STAGES, requested

Message = dict[str, Any]

_ENDED = {"idle", "initialized", "completed", "error"}

# The state is checked at least this often: the countdown of a stop changes without a message.
_LOOK_S = 1.0

# watch yields at most this often.
_WATCH_EVERY_S = 0.5


class Actions:
    """Actions of the buttons, bound to a service."""

    def __init__(self, service: TrainerService) -> None:
        self._service = service

    async def start(self) -> AsyncIterator[Message]:
        """Start the current settings and report progress until the first step is done or the run has ended."""
        yield _message("start", "Running the pre-flight check")
        with _messages(self._service) as arrived:
            try:
                run_id = await in_thread(Threads.SLOW, self._service.start)
            except TrainerError as error:
                yield refused("start", error)
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
                    yield _message("start", text, done=True, run_id=run_id)
                    return
                text = "Waiting for the current run to finish" if waiting else _phase(state)
                if text != last:
                    yield _message("start", text, run_id=run_id)
                    last = text
                await _next(arrived)

    async def stop(self) -> AsyncIterator[Message]:
        """Stop the run, or escalate at once if it is already stopping. Stream each stage until the run has ended."""
        stopping = bool(self._service.get_state().get("stop"))
        with _messages(self._service) as arrived:
            try:
                await in_thread(Threads.CONTROL, self._service.stop_training, now=stopping)
            except TrainerError as error:
                yield refused("stop", error)
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
                    yield _message("stop", text, run_id=run_id)
                    last = text
                await _next(arrived)

    async def pause(self) -> AsyncIterator[Message]:
        """Pause after the current step. The model stays in memory."""
        async for message in self.command("pause", self._service.pause_training, DONE["pause"]):
            yield message

    async def resume(self) -> AsyncIterator[Message]:
        """Resume a paused run."""
        async for message in self.command("resume", self._service.resume_training, DONE["resume"]):
            yield message

    async def sample(self) -> AsyncIterator[Message]:
        """Generate samples for the configured prompts."""
        async for message in self.command("sample", self._service.sample_default, DONE["sample_default"]):
            yield message

    async def backup(self) -> AsyncIterator[Message]:
        """Write a backup."""
        async for message in self.command("backup", self._service.backup, DONE["backup_now"]):
            yield message

    async def save(self) -> AsyncIterator[Message]:
        """Save the model."""
        async for message in self.command("save", self._service.save, DONE["save_now"]):
            yield message

    async def watch(self) -> AsyncIterator[Message]:
        """Yield the state of the run after each change until the run has ended. For programs that use gradio_client."""
        with _messages(self._service) as arrived:
            last: Message = {}
            while True:
                state = self._service.get_state()
                if state != last:
                    yield state
                    last = state
                if not state["is_training"]:
                    return
                await asyncio.sleep(_WATCH_EVERY_S)
                await _next(arrived)

    async def command(self, name: str, give: Callable[[], str], done: str) -> AsyncIterator[Message]:
        """Give a command to the run and report until it is completed; ``done`` is the text for its success."""
        with _messages(self._service) as arrived:
            try:
                command_id = await in_thread(Threads.CONTROL, give)
            except TrainerError as error:
                yield refused(name, error)
                return
            yield _message(name, requested(self._service.get_state().get("phase")), command_id=command_id)
            while True:
                message = await _next(arrived)
                event = message.get("event") or {}
                if event.get("type") == "command_completed" and event.get("command_id") == command_id:
                    ok = event["outcome"] == "done"
                    text = done if ok else f"Couldn't complete: {event.get('reason') or 'the run rejected it'}"
                    yield _message(name, text, ok=ok, done=True, command_id=command_id, result=event.get("result", ""))
                    return
                state = self._service.get_state()
                if state["status"] in _ENDED:
                    yield _message(name, "The run ended before this could be done", ok=False, done=True, command_id=command_id)
                    return


def _message(action: str, text: str, *, ok: bool = True, done: bool = False, **more: Any) -> Message:
    return {"action": action, "ok": ok, "done": done, "text": text, **more}


def refused(action: str, error: TrainerError) -> Message:
    """Return the message of an action that was rejected."""
    errors = [
        {"path": found.path, "message": found.message, "expected": found.expected, "suggestion": found.suggestion}
        for found in error.findings()
        if found.severity == "error"
    ]
    return _message(action, error.message, ok=False, done=True, errors=errors)


def _ended(action: str, state: Message, run_id: str | None) -> Message:
    if state.get("run_id") != run_id:
        return _message(action, "Run ended", done=True, run_id=run_id)
    error = state.get("error")
    steps = state["progress"]["global_step"]
    text = f"{ENDS.get(state.get('end_reason') or '', 'Run ended')} after {steps} {'step' if steps == 1 else 'steps'}"
    # for someone who pressed Stop, an ended run is a success
    ok = not error or action == "stop"
    # the page shows the cause elsewhere and removes it from the text
    return _message(action, f"{text}: {error}" if error else text, ok=ok, done=True, run_id=run_id, error=error or "")


def _phase(state: Message) -> str:
    phase = state.get("phase") or "starting"
    text = PHASES.get(phase, phase)
    total = state.get("phase_total")
    return f"{text} {state.get('phase_done') or 0}/{total}" if total else text


def _stop_stage(state: Message) -> str:
    stop = state.get("stop")
    if not stop:
        return PHASES["stopping"]
    text = STOP_STAGES.get(stop["stage"], {}).get("text", stop["stage"])
    left = round(stop["deadline"] - time.time()) if stop.get("deadline") else 0
    return f"{text}; escalating in {left} s" if left > 0 else text


@contextmanager
def _messages(service: TrainerService) -> Iterator[asyncio.Queue[Message]]:
    """Queue the feed's new messages on the event loop. If the queue is full, the oldest are dropped."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Message] = asyncio.Queue(maxsize=512)

    def put(message: Message) -> None:
        if arrived.full():
            arrived.get_nowait()
        arrived.put_nowait(message)

    def bring(message: Message) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(put, message)

    leave = service.feed.subscribe(bring)
    try:
        yield arrived
    finally:
        leave()


async def _next(arrived: asyncio.Queue[Message]) -> Message:
    try:
        async with asyncio.timeout(_LOOK_S):
            return await arrived.get()
    except TimeoutError:
        return {}
