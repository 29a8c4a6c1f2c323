"""Track the child process of a run's worker: OneTrainer's own Python, in a separate process group.

Its identity is in ``child_process.json`` in the run's folder, so that it can be ended when the run is killed.
"""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.process_birth import boot_id
from onetrainer_gradio.service.host import process
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.runs.run_folder import process_file


def record_child_process(run_folder: Path, pid: int) -> None:
    """Record the child process of the run.

    :raises OSError: if the disk can't be written.
    """
    write_json(run_folder / "child_process.json", ProcessIdentity.of(pid).as_dict(), durable=False)


class ChildProcess:
    """The child process of a run, if it has one."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._known: ProcessIdentity | None = None

    @property
    def identity(self) -> ProcessIdentity:
        """Return its identity; ID 0 if there is none yet."""
        if self._known is None:
            self._known = ProcessIdentity.from_dict(read_json(process_file(self._folder, "child_process.json")))
        return self._known or ProcessIdentity(0, "", "")

    def alive(self) -> bool:
        """Return whether it still runs."""
        return self.identity.alive()

    def interrupt(self) -> None:
        """Interrupt it, as Ctrl-C does."""
        if self.alive():
            process.interrupt(self.identity.pid)

    def terminate(self) -> None:
        """Terminate it and its group."""
        if self.alive():
            process.terminate(self.identity.pid)

    def kill(self) -> bool:
        """Kill the remaining processes of its group. Return whether there were any.

        After its end, its ID refers to the group only while a process is left in it: an ID that was reused by another process
        is ignored.
        """
        known = self.identity
        if not known.created or known.boot != boot_id():
            return False
        now = ProcessIdentity.of(known.pid)
        if now.created and now.created != known.created:
            return False
        return process.kill_group(known.pid) and process.group_living(known.pid)
