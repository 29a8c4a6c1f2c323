"""Find out what is worth a notification, record it once, and pass it to pages and channels.

One thread reads the runs every few seconds, and at once when the feed reports an end. It only reads: whatever fails here or at a
service, no run is affected. Runs that ended while no panel ran are reported by the next one.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import BusyError, ConfigValueError, NonFiniteLossError, RunNotFoundError, TrainerError, sentence
from onetrainer_gradio.events import SampleGenerated, tag
from onetrainer_gradio.service.host.secret_store import SecretStore
from onetrainer_gradio.service.notifications.delivery import WAITS_S, Deliverer, Outcome, Send
from onetrainer_gradio.service.notifications.history import Entry, NotificationHistory
from onetrainer_gradio.service.notifications.notification import KINDS, Kind, Notification
from onetrainer_gradio.service.notifications.preferences import MAX_CHARACTERS, Channel, Preferences, PreferenceStore
from onetrainer_gradio.service.notifications.sender import NOT_INSTALLED
from onetrainer_gradio.service.notifications.stall import USUAL_STEPS, StallWatch
from onetrainer_gradio.service.runs.feed import Feed, Message
from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS
from onetrainer_gradio.service.runs.record import Run, RunStore

_LOG = logging.getLogger(__name__)
LOOK_EVERY_S = 5.0
IDLE_EVERY_S = 60.0
# This many of the newest runs are checked for an end that isn't reported yet.
_NEWEST_RUNS = 300
# A disk counts as having space again when it has this much more than the limit, or it would be reported again and again.
_ENOUGH_AGAIN = 1.2
_GB = 1_000_000_000
_LOSS, _SECONDS = FIXED_COLUMNS.index("loss"), FIXED_COLUMNS.index("seconds")
_TITLES = {"completed": "finished", "stopped": "was stopped", "failed": "failed", "lost": "crashed"}
_KINDS: Mapping[str, Kind] = {"completed": "finished", "stopped": "stopped"}


class Notifications:
    """The notifications of a panel. ``follow_up`` gives a sentence about what follows a run's end, such as an automatic resume.

    ``each_look`` is called each time before the runs are looked at.
    """

    def __init__(
        self,
        data: Path,
        runs: RunStore,
        feed: Feed,
        secrets: SecretStore,
        *,
        public_only: bool = False,
        follow_up: Callable[[Run], str] = lambda run: "",
        each_look: Callable[[], None] = lambda: None,
        send: Send | None = None,
        environment: Mapping[str, str] = os.environ,
        look_every_s: float = LOOK_EVERY_S,
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        self._data = data
        self._runs = runs
        self._feed = feed
        self._follow_up = follow_up
        self._each_look = each_look
        self._look_every_s = look_every_s
        self._public_only = public_only
        self._history = NotificationHistory(data / "notifications.json")
        self._preferences = PreferenceStore(data / "config" / "notifications.json", secrets, environment)
        self._deliverer = Deliverer(
            self._history, self._preferences, public_only=public_only, send=send, changed=self._publish, waits_s=waits_s
        )
        self._stalls: dict[str, StallWatch] = {}
        self._rows: dict[str, int] = {}
        self._not_finite: set[str] = set()
        self._asked = threading.Condition()
        self._woken = False
        self._starts = False
        self._closing = False
        self._looked_at = time.monotonic()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None

    # life

    def open(self) -> None:
        """Start watching and sending. While no run is active and nothing is due, no thread works."""
        if self._history.after_run is None:
            self._begin()
        self._unsubscribe = self._feed.subscribe(self._on_message, viewer=False)
        self._deliverer.start()
        self._starts = True
        if any(self._unreported()):
            self.wake()

    def close(self) -> None:
        """End the threads. Closing twice is harmless."""
        self._unsubscribe()
        with self._asked:
            self._closing = True
            self._asked.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5.0)
        self._deliverer.close()

    def _begin(self) -> None:
        """On a data folder without notifications, what ended before isn't news."""
        ids = self._runs.ids()
        newest = ids[:_NEWEST_RUNS]
        ended = [run_id for run_id in newest if (run := self._run(run_id)) is not None and run.ended()]
        self._history.begin(ids[_NEWEST_RUNS] if len(ids) > _NEWEST_RUNS else "", [_end_key(run_id) for run_id in ended])

    # what happens

    def post(self, notification: Notification) -> bool:
        """Record a notification, show it on the pages and send it. Return False if there is one with its key already."""
        preferences = self._preferences.preferences()
        channels = [each.id for each in preferences.channels if each.on and notification.kind in each.kinds]
        entry = self._history.add(notification, channels)
        if entry is None:
            return False
        self._publish(entry)
        self._deliverer.wake()
        return True

    def look(self) -> bool:
        """Look at the runs and disks once. Return whether any run is unfinished."""
        self._each_look()
        now = time.monotonic()
        passed_s, self._looked_at = now - self._looked_at, now
        preferences = self._preferences.preferences()
        unfinished = []
        for run in self._unreported():
            if run.ended():
                self._report_end(run)
            else:
                unfinished.append(run)
        for run in unfinished:
            self._look_at(run, passed_s, preferences)
        known = {run.id for run in unfinished}
        for gone in self._stalls.keys() - known:
            self._stalls.pop(gone, None)
            self._rows.pop(gone, None)
            self._not_finite.discard(gone)
        self._look_at_disks([Path(run.record.workspace) for run in unfinished], preferences)
        return bool(unfinished)

    def _unreported(self) -> Iterable[Run]:
        after = self._history.after_run or ""
        for run_id in reversed(self._runs.ids()[:_NEWEST_RUNS]):
            if run_id > after and not self._history.known(_end_key(run_id)) and (run := self._run(run_id)) is not None:
                yield run

    def _run(self, run_id: str) -> Run | None:
        try:
            return self._runs.get(run_id)
        except RunNotFoundError:
            return None

    def _report_end(self, run: Run) -> None:
        state = run.state()
        reason, error = state["end_reason"], state["error_info"]
        # removed from the queue by anyone, or created by OneTrainer elsewhere and imported now
        if run.record.imported or (reason == "stopped" and state["started_at"] is None):
            self._history.note(_end_key(run.id))
            return
        not_finite = error is not None and error["type"] == NonFiniteLossError.__name__
        kind: Kind = "loss_not_finite" if not_finite else _KINDS.get(reason, "failed")
        parts = [" ".join(sentence(error[name]) for name in ("message", "suggestion") if error[name])] if error else []
        parts += [_progress(state), self._follow_up(run)]
        self.post(
            Notification(
                key=_end_key(run.id),
                kind=kind,
                at=state["ended_at"] or time.time(),
                title=f"Run “{_name(run)}” {_TITLES.get(reason, 'failed')}",
                text="\n".join(part for part in parts if part),
                run_id=run.id,
                **self._sample(run),
            )
        )

    def _look_at(self, run: Run, passed_s: float, preferences: Preferences) -> None:
        state = run.state()
        name = _name(run)
        at = f"step {state['progress']['global_step']} of {state['total_steps']}"
        trouble = self._stalls.setdefault(run.id, StallWatch()).look(state, self._typical_s(run), passed_s, preferences)
        if trouble == "waiting":
            text = f"It has been paused at {at}. Resume or stop it."
            self._report(run, f"{run.id}:paused:{state['row']}", "waiting", f"Run “{name}” is paused and waits for you", text)
        elif trouble == "stalled":
            text = f"It is in the phase “{state['phase']}” at {at}. Check the console, or stop the run."
            key = f"{run.id}:stalled:{state['row']}:{state['phase']}"
            self._report(run, key, "stalled", f"Run “{name}” makes no progress", text)
        if run.id in self._not_finite:  # a run that ends because of it reports its end instead
            text = f"The run continues at {at}. Lower the learning rate, or resume from an earlier backup."
            self._report(run, f"{run.id}:loss", "loss_not_finite", f"The loss of run “{name}” is NaN or infinite", text)
        elif self._loss_not_finite(run):
            self._not_finite.add(run.id)

    def _report(self, run: Run, key: str, kind: Kind, title: str, text: str) -> None:
        if not self._history.known(key):
            self.post(
                Notification(key=key, kind=kind, at=time.time(), title=title, text=text, run_id=run.id, **self._sample(run))
            )

    @staticmethod
    def _typical_s(run: Run) -> float | None:
        """Return the median of the newest steps' seconds; None before there are some."""
        count = run.metrics.count()
        seconds = run.metrics.rows(max(0, count - USUAL_STEPS), count)[:, _SECONDS] if count else ()
        finite = [float(value) for value in seconds if math.isfinite(value)]
        return statistics.median(finite) if finite else None

    def _loss_not_finite(self, run: Run) -> bool:
        count = run.metrics.count()
        first = max(self._rows.get(run.id, 0), count - 10_000)
        self._rows[run.id] = count
        losses = run.metrics.rows(first, count)[:, _LOSS] if count > first else ()
        return not all(math.isfinite(value) for value in losses)

    def _look_at_disks(self, workspaces: Iterable[Path], preferences: Preferences) -> None:
        limit = preferences.disk_free_gb * _GB
        seen: set[int] = set()
        for folder in (self._data, *workspaces):
            try:
                device = folder.stat().st_dev
                free = shutil.disk_usage(folder).free
            except OSError:
                continue
            if device in seen:
                continue
            seen.add(device)
            key = f"disk:{device}"
            if free < limit and not self._history.known(key):
                title = f"The disk of {folder} is nearly full"
                text = f"{free / _GB:.1f} GB are free. Free up space, or runs can't write backups and samples."
                self.post(Notification(key=key, kind="disk_low", at=time.time(), title=title, text=text))
            elif free > limit * _ENOUGH_AGAIN:
                self._history.forget(key)

    @staticmethod
    def _sample(run: Run) -> dict[str, str]:
        found = run.journal.since(0, run.journal.length(), only=(tag(SampleGenerated),))
        if not found:
            return {}
        return {"sample_id": f"{run.id}.{found[-1].seq}", "sample_file": str(found[-1].body.get("path", ""))}

    # the thread

    def wake(self) -> None:
        """Look at once."""
        with self._asked:
            self._woken = True
            if self._thread is None and self._starts and not self._closing:
                self._thread = threading.Thread(target=self._loop, name="notifications", daemon=True)
                self._thread.start()
            self._asked.notify_all()

    def remind(self) -> None:
        """Look if the last look is long enough ago; to be called now and then."""
        if self._thread is None and time.monotonic() - self._looked_at >= IDLE_EVERY_S:
            self.wake()

    def _on_message(self, message: Message) -> None:
        kind = message["type"]
        ended = kind == "event" and message["event"]["type"] == "run_ended"
        if ended or (kind == "training_state" and (self._thread is None or not message["is_training"])):
            self.wake()

    def _loop(self) -> None:
        while True:
            try:
                busy = self.look()
            except (OSError, TrainerError) as error:  # a disk that fails for a while
                _LOG.warning("Can't look for notifications: %s", error)
                busy = True
            with self._asked:
                self._asked.wait_for(lambda: self._woken or self._closing, self._look_every_s if busy else 0.0)
                if self._closing or not (busy or self._woken):
                    self._thread = None
                    return
                self._woken = False

    # pages and REST

    def _publish(self, entry: Entry) -> None:
        self._feed.publish("notification", notification=self._public(entry))

    def _public(self, entry: Entry) -> dict[str, Any]:
        labels = {each.id: each.label or each.service for each in self._preferences.preferences().channels}
        return {
            "id": entry.number,
            "show": entry.notification.kind in self._preferences.preferences().kinds,
            **entry.notification.public(),
            "deliveries": [
                {
                    "channel": channel,
                    "label": labels.get(channel, ""),
                    "state": delivery.state,
                    "attempts": delivery.attempts,
                    "due_at": delivery.due_at or None,
                    "error": delivery.error,
                }
                for channel, delivery in entry.deliveries.items()
            ],
        }

    def newest(self) -> dict[str, Any] | None:
        """Return the newest notification, as in ``page``."""
        entry = self._history.newest()
        return self._public(entry) if entry is not None else None

    def page(self, limit: int, before: int | None = None) -> dict[str, Any]:
        """Return the newest notifications, or those before the ID ``before``, with the outcome of each channel."""
        entries, following = self._history.page(limit, before)
        return {"notifications": [self._public(entry) for entry in entries], "next": following}

    def clear(self) -> None:
        """Remove all notifications from the list."""
        self._history.clear()

    def settings(self) -> dict[str, Any]:
        """Return the preferences and channels, without addresses."""
        preferences = self._preferences.preferences()
        return {
            **preferences.model_dump(mode="json", exclude={"channels"}),
            "all_kinds": [{"kind": kind, "label": facts.label, "level": facts.level} for kind, facts in KINDS.items()],
            "channels": [self._described(channel) for channel in preferences.channels],
            "installed": find_spec("apprise") is not None,
            "public_only": self._public_only,
        }

    def _described(self, channel: Channel) -> dict[str, Any]:
        there = bool(self._preferences.address(channel.id))
        return {**channel.model_dump(mode="json"), "fixed": channel.fixed, "address": "••••••••" if there else ""}

    def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Change preferences other than the channels.

        :raises ConfigInvalidError: with a finding for each invalid value.
        """
        self._preferences.change(changes)

    def add_channel(self, address: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a channel and return it.

        :raises ConfigValueError: if Apprise is missing or doesn't support the address.
        :raises ConfigInvalidError: with a finding for each other invalid value.
        """
        address = address.strip()
        return self._described(self._preferences.add(address, self._recognized(address).service, values))

    def change_channel(self, channel_id: str, address: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change a channel and return it; an empty address keeps the current one.

        :raises ConfigValueError: if there is no such channel, or Apprise doesn't support the address.
        :raises ConfigInvalidError: with a finding for each other invalid value.
        """
        address = address.strip()
        service = self._recognized(address).service if address else ""
        return self._described(self._preferences.change_channel(channel_id, changes, address=address, service=service))

    def remove_channel(self, channel_id: str) -> None:
        """Remove a channel and its address.

        :raises ConfigValueError: if there is no such channel.
        """
        self._preferences.remove(channel_id)

    def test_channel(self, channel_id: str) -> Outcome:
        """Send a test notification through a channel, with the newest sample of all runs, and return the outcome.

        :raises ConfigValueError: if there is no such channel.
        """
        channel = self._preferences.channel(channel_id)
        newest = next((run for run_id in self._runs.ids()[:20] if (run := self._run(run_id)) and self._sample(run)), None)
        text = "Notifications of your training runs arrive here."
        sample = self._sample(newest) if newest is not None else {}
        test = Notification(
            key="test", kind="finished", at=time.time(), title="Test from the OneTrainer panel", text=text, **sample
        )
        return self._deliverer.send_now(channel_id, test, sample=channel.sample)

    def _recognized(self, address: str) -> Outcome:
        if not address or len(address) > MAX_CHARACTERS:  # never with the value: it is a secret
            raise ConfigValueError("The address is empty or too long.", path="address", expected="SERVICE://...")
        outcome = self._deliverer.check(address)
        if not outcome.ok and outcome.reason == NOT_INSTALLED:
            suggestion = "Install apprise in the panel's environment with pip."
            raise ConfigValueError(NOT_INSTALLED, path="address", suggestion=suggestion)
        if not outcome.ok and not outcome.reason.startswith(("Apprise", "The address", "An address")):
            raise BusyError(outcome.reason, suggestion="Try again in a moment.")
        if not outcome.ok:
            raise ConfigValueError(outcome.reason, path="address", expected="an address such as discord://… or mailto://…")
        return outcome


def _end_key(run_id: str) -> str:
    return f"{run_id}:end"


def _name(run: Run) -> str:
    return run.record.name or run.id


def _progress(state: Mapping[str, Any]) -> str:
    if not state["total_steps"]:
        return ""
    took = f" in {_span(state['elapsed_s'])}" if state["elapsed_s"] else ""
    loss = state["smooth_loss"] if state["smooth_loss"] is not None else state["loss"]
    shown = f" Smooth loss: {loss:.4g}." if loss is not None else ""
    return f"Step {state['progress']['global_step']} of {state['total_steps']}{took}.{shown}"


def _span(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole} s" if minutes else f"{whole} s"
