"""Hold a run between two steps, and do meanwhile what is asked for."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from .commands import with_same
from .errors import problem_of
from .sampling import STOPPING
from .saving import Saving

TOTAL = "total_average"


def not_there(*_: Any) -> NoReturn:
    """Stand in for a function that a revision doesn't have."""
    raise NotImplementedError


class Pausing(Saving):
    """The part of a run that happens between steps."""

    def settle(self) -> None:
        """Report what is complete now: a backup that OneTrainer has finished, a round of samples, a validation."""
        if self.backup is not None:
            (path, failure), self.backup = self.backup, None
            self.report_backup(path, failure)
        if self.validation:
            losses, self.validation = self.validation, {}
            total = losses.pop(TOTAL, None)
            mean = total if total is not None else sum(losses.values()) / len(losses)
            self.wire.event(
                "validation_completed", global_step=self.trainer.model.train_progress.global_step, losses=losses, total=mean
            )
        if self.round_open:
            self.round_open = False
            if not self.round_custom:
                self.answer_default()
        if self.phase in ("sampling", "backing_up", "saving", "validating"):
            self.step_at = time.monotonic()

    def hold(self) -> None:
        """Wait on the training thread while the run is paused; images, backups and models can be asked for meanwhile."""
        for body in self.inbox.take("resume"):
            self.inbox.answer(body, "refused", "the run is not paused")
        pauses = self.inbox.take("pause")
        if not pauses or self.stopping:
            for body in pauses:
                self.inbox.answer(body, "refused", STOPPING)
            return
        self.enter("paused")
        for body in pauses:
            self.inbox.answer(body)
        try:
            while not self.stopping:
                with self.inbox.changed:
                    self.inbox.changed.wait_for(lambda: self.stopping or self.inbox.commands)
                for body in self.inbox.take("pause"):
                    self.inbox.answer(body, "refused", "the run is paused already")
                resumes = self.inbox.take("resume")
                for body in resumes:
                    self.inbox.answer(body)
                if resumes:
                    break
                if not self.stopping:
                    self.serve_paused()
                    self.enter("paused")
        finally:  # OneTrainer continues training after an error, which is reported
            self.enter("training")
            self.step_at = time.monotonic()

    def serve_paused(self) -> None:
        """Do what OneTrainer's loop would do at its next step, with its own functions."""
        progress = self.trainer.model.train_progress
        device = getattr(self.trainer, "train_device", None) or self.config.train_device
        if self.collect("sample_default"):
            self.do_now("sample_default", partial(self.own("sample_during_training"), progress, device))
        if samples := self.collect_custom():
            self.do_now("", partial(self.own("sample_during_training"), progress, device, samples))
        for name, kind in (("backup", "backup_now"), ("save", "save_now")):
            if self.collect(kind):
                self.do_now(kind, partial(self.write_now, self.own(name), progress))
        self.settle()

    def own(self, name: str) -> Callable[..., Any]:
        """Return a function of the trainer that it keeps to itself."""
        function: Callable[..., Any] = getattr(self.trainer, f"_{type(self.trainer).__name__}__{name}", not_there)
        return function

    def write_now(self, write: Callable[..., Any], progress: Any) -> None:
        """Write as OneTrainer's loop does: the model leaves the VRAM meanwhile."""
        model = self.trainer.model
        if hasattr(model, "evict"):
            model.evict()
        else:  # the word of older revisions
            model.to(self.trainer.temp_device)
        try:
            write(progress, True)
        finally:
            self.trainer.model_setup.setup_train_device(model, self.config)

    def do_now(self, kind: str, function: Callable[[], Any]) -> None:
        """Execute it; report the reason to the sender if it fails. The run stays paused."""
        reason = "OneTrainer did nothing"
        try:
            function()
        except (AttributeError, TypeError, NotImplementedError):
            traceback.print_exc()
            reason = "this OneTrainer version can't do that while the run is paused. Resume it first"
        except (OSError, RuntimeError) as error:  # the disk's errors, and torch's: its memory, its device
            traceback.print_exc()
            reason = problem_of(error)
        self.settle()
        customs = [one for body in self.custom.values() for one in with_same(body)]
        for body in self.asked.get(kind, []) if kind else customs:
            self.inbox.answer(body, "refused", reason)
        if kind:
            self.asked[kind] = []
        else:
            self.custom.clear()
