"""The process that works for a run beside its worker: OneTrainer's own Python, in a group of its own.

Its identity lies in ``child_process.json`` of the run's folder, so that whoever ends the run by force can end it, too.
"""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.process_birth import boot_id
from onetrainer_gradio.service.host import process
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.runs.run_folder import process_file


def record_child_process(run_folder: Path, pid: int) -> None:
    """Write down who works for the run.

    :raises OSError: when the disk takes nothing.
    """
    write_json(run_folder / "child_process.json", ProcessIdentity.of(pid).as_dict(), durable=False)


class ChildProcess:
    """The child process of a run, if it has one."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._known: ProcessIdentity | None = None

    @property
    def identity(self) -> ProcessIdentity:
        """Who it is; nobody (number 0) where none is known yet."""
        if self._known is None:
            self._known = ProcessIdentity.from_dict(read_json(process_file(self._folder, "child_process.json")))
        return self._known or ProcessIdentity(0, "", "")

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.identity.alive()

    def interrupt(self) -> None:
        """Ask it to stop, as Ctrl-C does."""
        if self.alive():
            process.interrupt(self.identity.pid)

    def terminate(self) -> None:
        """End it and its group."""
        if self.alive():
            process.terminate(self.identity.pid)

    def kill(self) -> bool:
        """End at once what is left of it and its group; says whether something was.

        Once it has ended, its number names the group only as long as somebody is left in it: a number that was given to
        another process since is left alone.
        """
        known = self.identity
        if not known.created or known.boot != boot_id():
            return False
        now = ProcessIdentity.of(known.pid)
        if now.created and now.created != known.created:
            return False
        return process.kill_group(known.pid) and process.group_living(known.pid)
