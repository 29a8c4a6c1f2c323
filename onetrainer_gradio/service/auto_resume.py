"""Resume runs that failed or crashed by themselves, if their owner asked for it: through the queue, after growing waits.

The queue keeps what waits, so it survives a restart and can be seen, moved and removed there. A note in the folder of the ended
run keeps the decision, so that no run is resumed twice.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.options import AutoResume, Resumption, RunOptions
from onetrainer_gradio.errors import (
    BackupMismatchError,
    ConfigError,
    ConfigInvalidError,
    ConfigValueError,
    Finding,
    NonFiniteLossError,
    OutOfMemoryError,
    QueueItemNotFoundError,
    RunConflictError,
    RunNotFoundError,
    StorageError,
    TrainerError,
    UnsupportedError,
)
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.runs.backups import newest_whole_backup
from onetrainer_gradio.service.runs.record import Run, RunStore

_LOG = logging.getLogger(__name__)
LONGEST_WAIT_S = 86400.0
NOTE = "auto_resume.json"
_NEVER = AutoResume(attempts=0)
# What would fail again in the same way, because a resumed run continues exactly.
_FAIL_AGAIN: tuple[type[TrainerError], ...] = (
    NonFiniteLossError,
    UnsupportedError,
    BackupMismatchError,
    ConfigError,
    ConfigValueError,
    ConfigInvalidError,
)
_REPEATS = frozenset(kind.__name__ for kind in _FAIL_AGAIN)

Decision = Literal["queued", "exhausted", "repeats", "rejected", "saved", "cancelled"]
LowerMemory = Callable[[TrainConfig], tuple[str, TrainConfig] | None]


class Queue(Protocol):
    """The operations of the queue that an automatic resume needs."""

    def add(self, config: TrainConfig | None, options: RunOptions | None, choices: ItemChoices | None) -> dict[str, Any]: ...
    def get(self, item_id: str) -> dict[str, Any]: ...
    def with_notes(self, notes: str) -> str: ...
    def edit(self, item_id: str, choices: ItemChoices) -> dict[str, Any]: ...
    def remove(self, item_id: str) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What was decided about an ended run: resume ``attempt`` of ``of`` at ``at`` as the queued run ``item``, or why not."""

    decision: Decision
    attempt: int
    of: int
    at: float = 0.0
    item: str = ""
    reason: str = ""


class AutoResumer:
    """Decides once for each ended run whether it is resumed. Safe from any thread.

    ``lower_memory`` returns settings with the next change that saves memory. ``initial`` applies until someone changes it.
    """

    def __init__(
        self,
        path: Path,
        runs: RunStore,
        queue: Queue,
        lower_memory: LowerMemory,
        clock: Callable[[], float] = time.time,
        initial: AutoResume = _NEVER,
    ) -> None:
        self._path = path
        self._initial = initial
        self._runs = runs
        self._queue = queue
        self._lower_memory = lower_memory
        self._clock = clock
        self._lock = threading.RLock()
        self._later: set[str] = set()

    # for all runs

    def default(self) -> AutoResume:
        """Return what applies to runs that are started without their own choice."""
        document = read_json(self._path)
        try:
            return AutoResume.model_validate(document) if isinstance(document, dict) else self._initial
        except ValidationError as error:
            _LOG.warning("Can't use %s: %s values are invalid", self._path, error.error_count())
            return self._initial

    def set_default(self, changes: dict[str, Any]) -> AutoResume:
        """Change what applies to runs that are started without their own choice.

        :raises ConfigInvalidError: with a finding for each invalid value.
        :raises StorageError: if it can't be written.
        """
        try:
            changed = AutoResume.model_validate(self.default().model_dump() | changes)
        except ValidationError as error:
            raise ConfigInvalidError(
                [Finding("error", ".".join(map(str, item["loc"])), item["msg"], item.get("input")) for item in error.errors()]
            ) from error
        with raising_storage_error("the settings of automatic resumes"):
            write_json(self._path, changed.model_dump(mode="json"))
        return changed

    # one run

    def plan(self, run: Run) -> Plan | None:
        """Decide what follows the end of a run, once; None if nobody asked for a resume or the run needs none.

        The queue gets the resume before the decision is noted. A panel that is killed in between finds it there.

        :raises OSError: if the disk can't be read.
        """
        with self._lock:
            if (known := self._noted(run)) is not None:
                return known
            state, options = run.state(), run.options()
            wanted = options.auto_resume
            if wanted is None or not wanted.attempts or state["end_reason"] not in ("failed", "lost"):
                return None
            if options.queue_item and self._queue_handles(options.queue_item, run.id):
                return None
            plan = self._decided(run, state, wanted)
            self._note(run, plan)
            return plan

    def _queue_handles(self, item_id: str, run_id: str) -> bool:
        """Return whether the queue itself starts a run again: it retries, or starts what never began."""
        try:
            item = self._queue.get(item_id)
        except QueueItemNotFoundError:
            return False
        return bool(item["on_failure"] == "retry") or bool(item["state"] == "waiting" and item["run_id"] != run_id)

    def _decided(self, run: Run, state: dict[str, Any], wanted: AutoResume) -> Plan:
        options = run.options()
        attempt = (options.resumption.attempt if options.resumption else 0) + 1
        error = state["error_info"] or {}
        if run.has_result():  # it was killed between its last save and its end
            return Plan("saved", attempt, wanted.attempts, reason="Its final model is saved.")
        if attempt > wanted.attempts:
            return Plan("exhausted", wanted.attempts, wanted.attempts, reason="All automatic resumes are used up.")
        if error.get("type") in _REPEATS:
            return Plan("repeats", attempt, wanted.attempts, reason="It would fail again in the same way.")
        if item := self._queue.with_notes(_notes(attempt, wanted, run)):  # the panel was killed before it noted this
            return Plan("queued", attempt, wanted.attempts, self._queue.get(item)["not_before"], item)
        at = self._clock() + min(LONGEST_WAIT_S, wanted.first_wait_s * 2 ** (attempt - 1))
        try:
            return self._queued(run, wanted, attempt, at, state)
        except StorageError:
            raise
        except TrainerError as refused:  # the settings no longer pass the check, or the queue is full
            return Plan("rejected", attempt, wanted.attempts, reason=refused.message)

    def _queued(self, run: Run, wanted: AutoResume, attempt: int, at: float, state: dict[str, Any]) -> Plan:
        options = run.options()
        config, _ = from_document(run.config())
        config = config.model_copy(update={"continue_last_backup": False})
        changes = options.resumption.changes if options.resumption else ()
        if wanted.lower_memory and self._out_of_gpu_memory(state) and (step := self._lower_memory(config)) is not None:
            label, config = step
            changes = (*changes, label)
        backup = newest_whole_backup(run)
        resumption = Resumption(run=run.id, attempt=attempt, of=wanted.attempts, because=state["error"] or "", changes=changes)
        resumed = options.model_copy(
            update={
                "name": run.name,
                "tags": run.tags,
                "resume_from": str(backup) if backup else "",
                "resumes_run": run.id if backup else "",
                "resumption": resumption,
                "queue_item": "",
            }
        )
        choices = ItemChoices(not_before=at, notes=_notes(attempt, wanted, run), priority=1)
        item = self._queue.add(config, resumed, choices)
        return Plan("queued", attempt, wanted.attempts, at, item["id"])

    @staticmethod
    def _out_of_gpu_memory(state: dict[str, Any]) -> bool:
        """Return whether the GPU's memory ran out; the kernel kills a process if the machine's memory does."""
        error = state["error_info"] or {}
        return error.get("type") == OutOfMemoryError.__name__ and not state["end_signal"]

    def follow_up(self, run: Run) -> str:
        """Return a sentence about what follows the end of a run; empty if nothing does."""
        try:
            plan = self.plan(run)
        except (StorageError, OSError) as error:
            _LOG.warning("Can't plan the automatic resume of the run %s yet: %s", run.id, error)
            self._later.add(run.id)
            return ""
        if plan is None:
            return ""
        if plan.decision == "queued":
            clock = time.strftime("%H:%M", time.localtime(plan.at))
            return f"It resumes by itself at {clock}, attempt {plan.attempt} of {plan.of}."
        return f"It isn't resumed by itself. {plan.reason}" if plan.reason else ""

    def catch_up(self) -> None:
        """Decide about runs whose end came while the disk rejected writes."""
        for run_id in tuple(self._later):
            self._later.discard(run_id)
            with contextlib.suppress(RunNotFoundError):
                self.follow_up(self._runs.get(run_id))

    def status(self, run_id: str) -> dict[str, Any]:
        """Return what is planned for an ended run: ``state`` is ``none``, ``waiting``, ``resumed``, or why it isn't resumed.

        :raises RunNotFoundError: if there is no run with this ID.
        """
        run = self._runs.get(run_id)
        plan = self._noted(run)
        if plan is None:
            return {"state": "none", "attempt": 0, "of": 0, "at": None, "item": "", "run_id": "", "reason": ""}
        state, resumed = str(plan.decision), ""
        at: float | None = None
        if plan.decision == "queued":
            try:
                item = self._queue.get(plan.item)
                state = "waiting" if item["state"] == "waiting" else "resumed"
                resumed, at = item["run_id"], item["not_before"] or None
            except QueueItemNotFoundError:
                state = "cancelled"
        return {
            "state": state,
            "attempt": plan.attempt,
            "of": plan.of,
            "at": at,
            "item": plan.item,
            "run_id": resumed,
            "reason": plan.reason,
        }

    def cancel(self, run_id: str) -> None:
        """Don't resume a run by itself. What has started already continues.

        :raises RunConflictError: if no resume waits.
        :raises RunNotFoundError: if there is no run with this ID.
        """
        with self._lock:
            run = self._runs.get(run_id)
            plan = self._waiting(run)
            self._queue.remove(plan.item)
            self._note(run, Plan("cancelled", plan.attempt, plan.of))

    def resume_now(self, run_id: str) -> None:
        """Let a run that waits for its automatic resume start as soon as its device is free.

        :raises RunConflictError: if no resume waits.
        :raises RunNotFoundError: if there is no run with this ID.
        """
        plan = self._waiting(self._runs.get(run_id))
        self._queue.edit(plan.item, ItemChoices(not_before=0, held=False))

    def _waiting(self, run: Run) -> Plan:
        plan = self._noted(run)
        if plan is None or self.status(run.id)["state"] != "waiting":
            raise RunConflictError(f"No automatic resume of the run {run.id} is waiting", value=run.id)
        return plan

    def _noted(self, run: Run) -> Plan | None:
        document = read_json(run.folder / NOTE)
        try:
            return Plan(**document) if isinstance(document, dict) else None
        except TypeError:
            return None

    @staticmethod
    def _note(run: Run, plan: Plan) -> None:
        try:
            write_json(run.folder / NOTE, vars(plan), make_folder=False)
        except OSError as error:  # the queue has the resume; without the note it is found there
            _LOG.warning("Can't note the automatic resume of the run %s: %s", run.id, error)


def _notes(attempt: int, wanted: AutoResume, run: Run) -> str:
    return f"Automatic resume {attempt} of {wanted.attempts} of the run {run.id}."


def message_of(resumption: Resumption) -> str:
    """Return what the record of a run shows about its automatic resume."""
    because = f" {resumption.because.rstrip('.')}." if resumption.because else ""
    changed = f" Changed to save memory: {'; '.join(resumption.changes)}." if resumption.changes else ""
    return f"Automatic resume {resumption.attempt} of {resumption.of} of the run {resumption.run}.{because}{changed}"
