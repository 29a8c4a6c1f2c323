"""Start each run of the queue when its turn comes and its device is free, and record how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import (
    CommandRefusedError,
    QueueItemNotFoundError,
    RunConflictError,
    RunNotFoundError,
    StorageError,
    TrainerError,
)
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.processes.worker import final_commands
from onetrainer_gradio.service.queue.fair_share import fair_order, fair_share_days
from onetrainer_gradio.service.queue.fingerprint import changed_folders, fingerprints_of
from onetrainer_gradio.service.queue.gpu_memory import GpuMemory
from onetrainer_gradio.service.queue.items import (
    ON_DEVICE,
    QueueItem,
    devices_of,
    in_order,
    new_item_id,
    overlap,
    summary_of,
)
from onetrainer_gradio.service.queue.run_queue import error_body
from onetrainer_gradio.service.queue.store import QueueStore, Transaction
from onetrainer_gradio.service.runs.backups import newest_whole_backup
from onetrainer_gradio.service.runs.labels import MAX_NOTE
from onetrainer_gradio.service.runs.record import Run, RunStore
from onetrainer_gradio.service.scheduler import RunScheduler

_LOG = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
# After an error of the disk, the next attempt waits this long.
TROUBLE_S = 10.0
# A run that is killed together with its panel before it began is started again this often.
MAX_UNSTARTED = 3
RETRY_FIRST_S = 10.0
RETRY_LONGEST_S = 600.0

Wait = dict[str, Any]


class Start(Protocol):
    """Starts a run of the queue."""

    def __call__(
        self, config: TrainConfig, options: RunOptions, devices: tuple[str, ...], claim: Callable[[str], bool], notes: list[str]
    ) -> Run | None:
        """Start a run on its devices and return it, or None if they aren't free or ``claim`` of its ID returns False.

        ``notes`` become warnings of the run.

        :raises TrainerError: if the pre-flight check finds errors, or the run's folder can't be written.
        """
        ...


class Dispatcher:
    """The thread that starts runs of the queue. Only one process per data folder may have one.

    ``changed`` is called with a reason and the ID of an item after each change. ``used_s`` returns for each account how many
    seconds it used devices in some days, and ``over_quota`` why an account may not start runs; empty if it may.
    """

    def __init__(
        self,
        store: QueueStore,
        runs: RunStore,
        scheduler: RunScheduler,
        start: Start,
        memory: GpuMemory,
        *,
        changed: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
        in_process: bool = False,
        used_s: Callable[[float], Mapping[str, float]] = lambda days: {},
        over_quota: Callable[[str], str] = lambda account: "",
    ) -> None:
        self._store = store
        self._runs = runs
        self._scheduler = scheduler
        self._start_run = start
        self._memory = memory
        self._changed = changed
        self._clock = clock
        self._in_process = in_process
        self._used_s = used_s
        self._over_quota = over_quota
        self._waits: dict[str, Wait] = {}
        self._devices: dict[str, tuple[str, ...]] = {}
        self._trouble: dict[str, tuple[float, str]] = {}
        self._revision = -1
        self._wake = threading.Condition()
        self._woken = False
        self._starts = False
        self._closing = False
        self._thread: threading.Thread | None = None

    # life

    def start(self) -> None:
        """Begin to start runs. Without a run in the queue, no thread works."""
        self._starts = True
        self.look_for_changes()

    def close(self) -> None:
        """End the thread and wait for it; closing twice is harmless."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=10.0)

    def wake(self) -> None:
        """Look at the queue at once."""
        with self._wake:
            self._woken = True
            if self._thread is None and self._starts and not self._closing:
                self._thread = threading.Thread(target=self._loop, name="queue", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def look_soon(self) -> None:
        """Look at the queue at once if it is being looked at, because a device may be free."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def look_for_changes(self) -> None:
        """Look at the queue if another process changed it, such as the command line."""
        try:
            if self._starts and self._store.revision() != max(0, self._revision):
                self.wake()
        except StorageError as error:
            _LOG.warning("Can't process the queue: %s", error)

    def waits(self) -> Mapping[str, Wait]:
        """Return why each waiting item doesn't start now: ``code`` and ``text``."""
        return self._waits

    def _loop(self) -> None:
        while not self._closing:
            pause_s = None
            try:
                if self.look():
                    pause_s = LOOK_EVERY_S
            except (TrainerError, OSError) as error:  # a disk that fails for a while must not end the queue
                _LOG.warning("Can't process the queue: %s", error)
                pause_s = TROUBLE_S
            with self._wake:
                if not self._woken and not self._closing:
                    self._wake.wait(pause_s)
                self._woken = False

    def look(self) -> bool:
        """Record ended runs and start what can start. Return whether there is anything to look at again soon."""
        items, paused, before, days = self._store.read(_snapshot)
        revision = self._store.revision()
        if revision != self._revision:
            if self._revision >= 0:
                self._changed("changed", "")
            self._revision = revision
        if not items:
            self._note_waits({})
            return False
        settled = [self._settle(item) for item in items if item.state in ON_DEVICE]
        if any(settled):
            items, paused, before, days = self._store.read(_snapshot)
        waits: dict[str, Wait] = {}
        used_s = self._used_s(days) if days else {}
        waiting = fair_order(items, used_s) if days else in_order(items)
        taken: list[tuple[str, tuple[str, ...]]] = [(run.id, self.devices_of(run)) for run in self._scheduler.occupants()]
        started: list[QueueItem] = []
        while waiting:
            item = waiting.pop(0)
            wait = self._wait_of(item, paused=bool(paused), taken=taken, before=before)
            if wait is None:
                wait = self._start(item)
            if wait is None:
                taken.append((item.id, item.devices))
                started.append(item)
                if days:  # a second device goes to someone else
                    left = {each.id for each in waiting}
                    on_device = [each for each in items if each.state in ON_DEVICE]
                    waiting = fair_order((each for each in items if each.id in left), used_s, [*on_device, *started])
            else:
                waits[item.id] = wait
        self._note_waits(waits)
        self._revision = self._store.revision()
        return True

    def _note_waits(self, waits: dict[str, Wait]) -> None:
        before, self._waits = self._waits, waits
        if {key: wait["code"] for key, wait in before.items()} != {key: wait["code"] for key, wait in waits.items()}:
            self._changed("waits", "")

    # waiting

    def _wait_of(
        self, item: QueueItem, *, paused: bool, taken: list[tuple[str, tuple[str, ...]]], before: Mapping[str, int]
    ) -> Wait | None:
        if item.held:
            return _wait("held", item.hold_reason or "Held. Release it to start it.")
        if item.id in self._trouble:
            until, text = self._trouble[item.id]
            if time.monotonic() < until:
                return _wait("trouble", text)
            del self._trouble[item.id]
        if item.not_before > self._clock():
            return _wait("not_before", "Waiting for its start time.", until=item.not_before)
        # a clock that was set back must not make a retry wait for longer
        if self._clock() < item.retry_at <= self._clock() + RETRY_LONGEST_S:
            return _wait("retry", "Waiting before the next attempt.", until=item.retry_at)
        if item.after and (wait := self._wait_for_other(item)) is not None:
            return wait
        if paused:
            return _wait("paused", "The queue is paused.")
        if text := self._over_quota(item.account):
            return _wait("quota", text)
        for run_id, devices in taken:
            if self._in_process or overlap(devices, item.devices):
                self._scheduler.unload()
                return _wait("device", f"Waiting for {', '.join(item.devices)}.", run_id=run_id)
        memory = self._memory.wait(item.devices, before)
        if memory is not None:
            return _wait("memory_not_freed" if memory.late else "memory", memory.text, device=memory.device)
        return None

    def _wait_for_other(self, item: QueueItem) -> Wait | None:
        """Return the wait for the run that must finish first; hold the item if that run didn't finish."""

        def find(queue: Transaction) -> tuple[QueueItem | None, QueueItem | None]:
            active = queue.items.get(item.after)
            if active is None:
                active = next((each for each in queue.items.values() if each.run_id == item.after), None)
            return active, queue.ended_item(item.after) if active is None else None

        active, ended = self._store.read(find)
        if active is not None:
            return _wait("after", f"Waiting for “{active.name or active.id}” to finish.", item_id=active.id)
        if ended is not None:
            if ended.state != "failed":
                return None
            return self._hold(item, f"“{ended.name or ended.id}” failed, so this run is held. Release it to start it anyway.")
        try:
            run = self._runs.get(item.after)
        except RunNotFoundError:
            return self._hold(item, f"{item.after} was removed, so this run is held. Release it to start it anyway.")
        name = run.name or run.id
        if not run.ended():
            return _wait("after", f"Waiting for “{name}” to finish.", run_id=run.id)
        if run.state()["end_reason"] in ("completed", "stopped"):
            return None
        return self._hold(item, f"“{name}” failed, so this run is held. Release it to start it anyway.")

    def _hold(self, item: QueueItem, reason: str, error: Mapping[str, Any] | None = None) -> Wait:
        """Hold an item; what it waited for no longer counts when its owner releases it."""

        def work(queue: Transaction) -> None:
            now = queue.items.get(item.id)
            if now is not None and now.state == "waiting":
                queue.put(dataclasses.replace(now, held=True, hold_reason=reason, after="", error=error))

        self._store.change(work)
        self._changed("held", item.id)
        return _wait("held", reason)

    # starting

    def _start(self, item: QueueItem) -> Wait | None:
        """Start an item. Return None if it started, else why it still waits."""
        try:
            config_text, options_text = self._store.read(lambda queue: queue.texts(item.id))
            config, _ = from_document(json.loads(config_text))
            options = _options_of(item, RunOptions(**json.loads(options_text)))
            run = self._start_run(
                config, options, item.devices, lambda run_id: self._claim(item, run_id), changed_folders(item.fingerprints)
            )
        except QueueItemNotFoundError:
            return _wait("gone", "Removed.")
        except StorageError as error:
            self._unclaim(item.id)
            self._trouble[item.id] = (time.monotonic() + TROUBLE_S, str(error))
            return _wait("trouble", str(error))
        except TrainerError as error:
            return self._reject(item, error)
        if run is None:
            return _wait("device", f"Waiting for {', '.join(item.devices)}.")
        self._devices[run.id] = item.devices
        if item.notes:
            with contextlib.suppress(StorageError):  # the note stays with the item
                run.set_labels(dataclasses.replace(run.labels, note=item.notes[:MAX_NOTE]))
        self._running(item.id)
        self._changed("started", item.id)
        return None

    def _reject(self, item: QueueItem, error: TrainerError) -> Wait:
        """Hold an item that no longer passes the pre-flight check, and the queue if its owner wants that."""
        self._unclaim(item.id)
        wait = self._hold(item, f"The second pre-flight check failed: {error.message}", error_body(error))
        if item.on_failure == "hold":
            self._pause(f"“{item.name or item.id}” failed its pre-flight check.")
        return wait

    def _claim(self, item: QueueItem, run_id: str) -> bool:
        """Note durably, before anything of it exists, which run the item becomes. Return False if it changed meanwhile."""
        used = self._memory.in_use(item.devices)

        def work(queue: Transaction) -> bool:
            now = queue.items.get(item.id)
            if now is None or now.revision != item.revision or now.state != "waiting" or queue.fact("paused"):
                return False
            me = ProcessIdentity.of(os.getpid()).as_dict()
            queue.put(dataclasses.replace(now, state="starting", run_id=run_id, claimed_by=me, error=None))
            if used:
                queue.set_fact("memory_before", json.dumps(_memory_before(queue) | used))
            return True

        return self._store.change(work)

    def _unclaim(self, item_id: str) -> None:
        def work(queue: Transaction) -> None:
            now = queue.items.get(item_id)
            if now is not None and now.state == "starting":
                queue.put(dataclasses.replace(now, state="waiting", run_id="", claimed_by=None))

        self._store.change(work)

    def _running(self, item_id: str) -> None:
        def work(queue: Transaction) -> None:
            now = queue.items.get(item_id)
            if now is not None and now.state == "starting":
                queue.put(dataclasses.replace(now, state="running", claimed_by=None))

        self._store.change(work)

    def note_start(self, devices: tuple[str, ...]) -> None:
        """Note the memory in use before a run that isn't from the queue starts."""
        if used := self._memory.in_use(devices):
            self._store.change(lambda queue: queue.set_fact("memory_before", json.dumps(_memory_before(queue) | used)))

    # ending

    def _settle(self, item: QueueItem) -> bool:
        """Record what became of the run of an item. Return whether the item changed."""
        try:
            run = self._runs.get(item.run_id)
        except RunNotFoundError:
            run = None
        if item.state == "starting":
            claimer = ProcessIdentity.from_dict(item.claimed_by)
            if claimer is not None and claimer.alive() and claimer.pid != os.getpid():
                return False
            if run is None:
                self._unclaim(item.id)
            else:
                self._running(item.id)
            return True
        if run is None:
            text = f"The folder of the run {item.run_id} was deleted."
            self._fail(item, {"type": "RunNotFoundError", "message": text}, run=None)
            return True
        if not run.ended() or any(other.id == run.id for other in self._scheduler.occupants()):
            return False
        self._ended(item, run)
        return True

    def _ended(self, item: QueueItem, run: Run) -> None:
        state = run.state()
        reason = state["end_reason"]
        if reason == "lost" and state["started_at"] is None and item.unstarted < MAX_UNSTARTED:
            self._start_again(item, run)
        elif reason == "stopped" and item.state == "suspending":
            self._suspended(item, run)
        elif reason in ("completed", "stopped"):
            self._end(item, reason)
        else:
            error = state["error_info"] or {"type": "WorkerDiedError", "message": state["error"] or "The run crashed."}
            self._fail(item, error, run=run)

    def _start_again(self, item: QueueItem, run: Run) -> None:
        """Return an item to the queue whose run was killed before it began, and remove the empty run."""
        try:
            self._runs.delete(run.id)
        except (RunConflictError, StorageError) as error:
            _LOG.warning("Can't remove the run %s, which never began: %s", run.id, error)
        self._put_back(item, unstarted=item.unstarted + 1)

    def _suspended(self, item: QueueItem, run: Run) -> None:
        backup = newest_whole_backup(run)
        if backup is not None:
            self._put_back(item, resume_from=str(backup), resumes_run=run.id)
        elif run.metrics.count():
            reason = "Suspended without a backup. Release it to start it from the beginning."
            self._put_back(item, held=True, hold_reason=reason)
        else:  # it had not trained a step
            self._put_back(item)
        self._changed("suspended", item.id)

    def _end(self, item: QueueItem, state: Any, error: Mapping[str, Any] | None = None) -> None:
        def work(queue: Transaction) -> None:
            now = queue.items.get(item.id)
            if now is not None:
                queue.put(dataclasses.replace(now, state=state, ended_at=self._clock(), error=error, claimed_by=None))

        self._store.change(work)
        self._changed(state, item.id)

    def _fail(self, item: QueueItem, error: Mapping[str, Any], *, run: Run | None) -> None:
        saved = run is not None and run.has_result()  # killed between its last save and its end
        if item.on_failure == "retry" and item.attempts < item.retries and not saved:
            backup = newest_whole_backup(run) if run is not None else None
            resumes = {"resume_from": str(backup), "resumes_run": run.id} if backup and run is not None else {}
            wait_s = min(RETRY_LONGEST_S, RETRY_FIRST_S * 3**item.attempts)
            self._put_back(item, attempts=item.attempts + 1, error=error, held=False, retry_at=self._clock() + wait_s, **resumes)
            self._changed("retry", item.id)
            return
        self._end(item, "failed", error)
        if item.on_failure == "hold":
            self._pause(f"“{item.name or item.id}” failed: {error.get('message', '')}")

    def _put_back(self, item: QueueItem, **changes: Any) -> None:
        """Let an item wait again, at its former place."""

        def work(queue: Transaction) -> None:
            now = queue.items.get(item.id)
            if now is not None and now.state in ON_DEVICE:
                queue.put(dataclasses.replace(now, state="waiting", run_id="", claimed_by=None, **changes))

        self._store.change(work)

    def _pause(self, reason: str) -> None:
        self._store.change(lambda queue: queue.set_fact("paused", reason))
        self._changed("paused", "")

    # suspending

    def suspend(self, run: Run, *, hold: bool) -> str:
        """Back up a run, end it, and let it wait in the queue to be resumed. Return the ID of its item.

        The item is noted first, so it isn't lost if the panel is killed in between.

        :raises CommandRefusedError: if the run isn't active.
        """
        if run.ended():
            raise CommandRefusedError(f"The run {run.id} has already ended", value="suspend")
        config, _ = from_document(run.config())
        options = run.options()

        def work(queue: Transaction) -> tuple[QueueItem, QueueItem | None]:
            item = next((each for each in queue.items.values() if each.run_id == run.id), None)
            if item is not None:
                return queue.put(dataclasses.replace(item, state="suspending", held=hold, hold_reason=_SUSPENDED)), item
            item = QueueItem(
                id=new_item_id(),
                name=run.name,
                tags=run.tags,
                max_steps=options.max_steps or 0,
                state="suspending",
                held=hold,
                hold_reason=_SUSPENDED,
                run_id=run.id,
                position=queue.next_position(),
                added_at=self._clock(),
                added_by=options.started_by,
                account=options.account,
                fingerprints=fingerprints,
                **summary_of(config),
            )
            queue.add(item, json.dumps(to_document(config, packed=True)), json.dumps(options.model_dump(mode="json")))
            return item, None

        fingerprints = fingerprints_of(config)
        item, before = self._store.change(work)
        try:
            self._scheduler.send_all(run.id, final_commands(config))
        except TrainerError:
            self._store.change(lambda queue: _take_back(queue, item.id, before))
            raise
        self._changed("suspending", item.id)
        self.wake()
        return item.id

    def devices_of(self, run: Run) -> tuple[str, ...]:
        """Return the devices of a run."""
        if run.id not in self._devices:
            config, _ = from_document(run.config())
            self._devices[run.id] = devices_of(config)
        return self._devices[run.id]


_SUSPENDED = "Suspended. Release it to resume it."


def _take_back(queue: Transaction, item_id: str, before: QueueItem | None) -> None:
    """Undo the note of a suspension that the run rejected."""
    item = queue.items.get(item_id)
    if item is None or item.state != "suspending":
        return
    if before is None:
        queue.remove(item)
    else:
        queue.put(dataclasses.replace(item, state=before.state, held=before.held, hold_reason=before.hold_reason))


def _snapshot(queue: Transaction) -> tuple[list[QueueItem], str, dict[str, int], int]:
    """Return the items that haven't ended, why the queue is paused, memory before the last runs, and the days of fair share."""
    return list(queue.items.values()), queue.fact("paused"), _memory_before(queue), fair_share_days(queue)


def _memory_before(queue: Transaction) -> dict[str, int]:
    try:
        found = json.loads(queue.fact("memory_before") or "{}")
    except ValueError:
        return {}
    return {str(device): int(used) for device, used in found.items() if isinstance(used, int | float)}


def _options_of(item: QueueItem, options: RunOptions) -> RunOptions:
    """Return the options of an item's run: the frozen ones with what its owner chose."""
    changes = {
        "name": item.name,
        "tags": item.tags,
        "max_steps": item.max_steps or None,
        "resume_from": item.resume_from,
        "resumes_run": item.resumes_run,
        "queue_item": item.id,
    }
    return options.model_copy(update=changes)


def _wait(code: str, text: str, **more: Any) -> Wait:
    return {"code": code, "text": text, **more}
