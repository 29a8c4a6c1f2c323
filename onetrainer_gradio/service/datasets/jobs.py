"""Run long work on datasets in threads: with progress, one of each kind at a time, and a stop between two images."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.errors import BusyError, PathNotFoundError, TrainerError

_MAX_JOBS = 50


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


@dataclass
class Job:
    """Work on a dataset. ``state`` is running, done, stopped or failed; ``result`` is what it found so far."""

    kind: str
    folder: str
    id: str = field(default_factory=_new_id)
    state: str = "running"
    doing: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    suggestion: str = ""
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    result: dict[str, Any] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it without its result."""
        names = ("id", "kind", "folder", "state", "doing", "done", "total", "error", "suggestion", "started_at", "ended_at")
        return {name: getattr(self, name) for name in names}


class Jobs:
    """The work of this panel on datasets. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._threads: dict[str, threading.Thread] = {}

    def start(
        self,
        kind: str,
        folder: str,
        work: Callable[[Job], None],
        result: Mapping[str, Any] = MappingProxyType({}),
        continues: str = "",
    ) -> Job:
        """Start work in a thread. ``result`` is what is there from the beginning, ``continues`` the ID of an ended job.

        :raises BusyError: if work of this kind is running.
        """
        job = Job(kind, folder, continues or _new_id(), result=dict(result))
        with self._lock:
            if any(each.kind == kind and each.state == "running" for each in self._jobs.values()):
                raise BusyError("Another job of this kind is running.", suggestion="Wait until it has finished, or stop it.")
            self._jobs[job.id] = job
            while len(self._jobs) > _MAX_JOBS:
                old = next(each for each in self._jobs.values() if each.state != "running")
                del self._jobs[old.id]
            self._threads = {key: thread for key, thread in self._threads.items() if thread.is_alive()}
            thread = self._threads[job.id] = threading.Thread(target=_run, args=(job, work), name=f"dataset-{kind}", daemon=True)
        thread.start()
        return job

    def get(self, job_id: str) -> Job:
        """Return a job.

        :raises PathNotFoundError: if there is none with this ID.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise PathNotFoundError(f"The job {job_id[:100]!r} doesn't exist", value=job_id[:100])
        return job

    def list(self) -> list[dict[str, Any]]:
        """Return the jobs of this panel, newest first."""
        with self._lock:
            return [job.as_dict() for job in reversed(self._jobs.values())]

    def running(self) -> Job | None:
        """Return the newest job that is running, if any."""
        with self._lock:
            return next((job for job in reversed(self._jobs.values()) if job.state == "running"), None)

    def stop(self, job_id: str) -> Job:
        """End a job after the current image."""
        job = self.get(job_id)
        job.stopping.set()
        return job

    def wait(self, job_id: str, seconds: float) -> Job:
        """Return a job when it has ended, or after some seconds."""
        if (thread := self._threads.get(job_id)) is not None:
            thread.join(seconds)
        return self.get(job_id)

    def close(self) -> None:
        """End all jobs."""
        with self._lock:
            jobs, threads = list(self._jobs.values()), list(self._threads.values())
        for job in jobs:
            job.stopping.set()
        for thread in threads:
            thread.join()


def _run(job: Job, work: Callable[[Job], None]) -> None:
    state = "failed"
    try:
        work(job)
        state = "stopped" if job.stopping.is_set() else "done"
    except TrainerError as error:
        job.error, job.suggestion = error.message, error.suggestion
    except OSError as error:
        job.error = f"Can't read or write the dataset: {error.strerror or error}."
    finally:
        job.ended_at, job.doing, job.state = time.time(), "", state
