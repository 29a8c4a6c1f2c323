"""Report the backups and models that OneTrainer writes, and keep the files that are not its own."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .errors import NO_SPACE, OutcomeProbe, is_disk_full, problem_of, storage_error, write_errors
from .files import delete_backup, free_bytes, measured, move_linked_aside, rename_file
from .sampling import Sampling


class Saving(Sampling):
    """The part of a run that concerns backups and models."""

    def report_backup(self, path: str, failure: str) -> None:
        progress = self.trainer.model.train_progress
        size, unread = measured(path)
        failure = failure or unread or ("" if os.path.isdir(path) and size else NO_SPACE)
        asked = [*self.asked["backup_now"], *self.inbox.take("backup_now")]
        self.asked["backup_now"] = []
        if failure:
            self.wire.event("backup_failed", path=path, error=storage_error(failure, path))
        else:
            steps = {"global_step": progress.global_step, "epoch": progress.epoch, "epoch_step": progress.epoch_step}
            self.wire.event("backup_created", path=path, bytes=size, **steps)
        for body in asked:
            if failure:
                self.inbox.answer(body, "refused", failure)
            else:
                self.inbox.answer(body, result=path)

    def listen_to_saver(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap its saver, which writes backups, intermediate and final models; its outcome is checked."""

        def save(*values: Any, **named: Any) -> Any:
            model_format = str(named.get("output_model_format", values[2] if len(values) > 2 else ""))
            path = str(named.get("output_model_destination", values[3] if len(values) > 3 else ""))
            known = os.path.lexists(path)
            final = self.ending and model_format != "INTERNAL"
            aside = move_linked_aside(path) if model_format != "INTERNAL" else {}
            renamed = rename_file(path) if final and path == self.foreign_file and path not in aside else ""
            report = self.guarded(partial(self.report_written, model_format, path, known, aside, renamed))
            with OutcomeProbe(report):
                write = partial(original, *values, **named)
                return self.write_finally(path, write) if final else write()

        return save

    def write_finally(self, path: str, write: Callable[[], Any]) -> Any:
        """Write the final model; on a full disk, wait for space unless a backup of this step has the weights."""
        pause_s, stops, stopped = 1.0, self.stops, False
        while True:
            try:
                return write()
            except write_errors() as error:
                if self.end_backed_up or stopped or not is_disk_full(error):
                    raise
                stopped = not self.space_appeared(path, pause_s, stops)  # tried once more even then: there may be room by now
            pause_s = min(2 * pause_s, 30.0)

    def space_appeared(self, path: str, pause_s: float, stops: int) -> bool:
        """Wait until it is worth another try; False if more than ``stops`` stops arrive before."""
        name = os.path.basename(path)
        self.wire.event("phase_changed", phase="saving", detail=f"No space left on disk. Waiting for space to save {name}")
        text = (
            f"No space left on disk for the final model {path}. The run keeps the weights in memory and tries again until there "
            "is space. Free up space, or stop the run to give up the weights."
        )
        self.warn("waiting_for_space", text, path)
        before, give_up_at = free_bytes(path), time.monotonic() + pause_s
        with self.inbox.changed:
            while self.stops == stops and time.monotonic() < give_up_at and free_bytes(path) < before + 1_000_000:
                self.inbox.changed.wait(min(0.5, pause_s))
            return self.stops == stops

    def report_written(
        self, model_format: str, path: str, known: bool, aside: dict[str, str], renamed: str, error: BaseException | None
    ) -> None:
        """Report that the saver has returned, with an error or without; ``known`` is whether the name existed before.

        ``aside`` names the files that were renamed to make room for what was written, by where they were; ``renamed`` is the new
        name of a file that no run wrote, empty if there was none.
        """
        failure = problem_of(error) if error is not None else "" if os.path.exists(path) else NO_SPACE
        internal = model_format == "INTERNAL"
        # of a backup that failed OneTrainer removes what was written, unless it was interrupted
        if failure and not known and not (internal and isinstance(error, Exception)):
            self.remove_half(path)
        self.settle_aside(aside, put_back=bool(failure))
        if renamed and failure:
            os.replace(renamed, path)
        elif renamed:
            name = os.path.basename(renamed)
            self.warn("output_kept", f"{path} was not written by a run. It was renamed to {name}.", path)
        if internal:
            self.backup = (path, failure)  # OneTrainer is not done with it yet
            if not failure:
                self.own_backups.append(path)
                self.end_backed_up = self.ending
            return
        size, unread = measured(path) if not failure else (0, "")
        self.report_save(path, failure or unread, size)

    def settle_aside(self, aside: dict[str, str], *, put_back: bool) -> None:
        """Put back what was there before a save that failed; after one that succeeded, another link holds its bytes."""
        for path, renamed in aside.items():
            try:
                if put_back:
                    os.replace(renamed, path)
                else:
                    os.unlink(renamed)
            except OSError as error:
                self.warn("replaced_file", f"The earlier {path} is now in {renamed}: {problem_of(error)}.")

    def remove_half(self, path: str) -> None:
        """Remove a file that wasn't written to its end, so that it isn't mistaken for a whole one."""
        if not os.path.lexists(path):
            return
        try:
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError as error:
            self.warn("half_written", f"{path} is incomplete and can't be removed: {problem_of(error)}.")

    def report_save(self, path: str, failure: str, size: int) -> None:
        final = self.ending
        asked = [*self.asked["save_now"], *self.inbox.take("save_now")]
        self.asked["save_now"] = []
        if failure:
            if not final:
                self.wire.event("save_failed", path=path, error=storage_error(failure, path))
        else:
            self.saved_finally = self.saved_finally or final
            step = self.trainer.model.train_progress.global_step
            self.wire.event("model_saved", path=path, final=final, global_step=step, bytes=size)
        for body in asked:
            if failure:
                self.inbox.answer(body, "refused", failure)
            else:
                self.inbox.answer(body, result=path)

    def keep_foreign_backups(self, trainer: Any) -> None:
        """Let rolling backups delete only those of this run and of the runs that it resumes, if the revision can."""
        for kind in type(trainer).__mro__:
            name = f"_{kind.__name__.lstrip('_')}__prune_backups"
            if hasattr(trainer, name):
                setattr(trainer, name, self.prune)

    def prune(self, *_: Any, **__: Any) -> None:
        """Delete the oldest of the run's own backups, as many as are above the number to keep."""
        keep = int(self.config.rolling_backup_count)
        while len(self.own_backups) > keep > 0:
            delete_backup(self.own_backups.pop(0))
