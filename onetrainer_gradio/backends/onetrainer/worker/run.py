"""Train one configuration with OneTrainer, from its settings to the end."""

from __future__ import annotations

import contextlib
import gc
import sys
import traceback
from typing import Any

from .commands import close, with_same
from .errors import NO_SPACE, attempt, cause_of, problem_of
from .processes import end_child, interrupt_main_thread
from .progress import Progress
from .run_state import INTERRUPTED
from .sampling import STOPPING
from .wire import plain_document


class RunDriver(Progress):
    """One run: turns what OneTrainer calls and writes into events, and passes the commands of the parent to it."""

    def execute_run(self) -> None:
        """Execute the run from its settings to ``run_done``, which is sent whatever happens."""
        outcome: str = "failed"
        failure: dict[str, Any] | None = {"kind": "BridgeError", "message": "the outcome of the run is unknown"}
        try:
            outcome, failure = self.outcome_of(*attempt(self.run_and_end))
        finally:
            try:
                self.report_left(attempt(self.finish)[1])
            finally:
                self.wire.send("run_done", outcome=outcome, error=failure, phase=self.phase)

    def run_and_end(self) -> str:
        """Train and end; a run that our stop interrupted is ended as after any stop."""
        try:
            return self.run()
        except KeyboardInterrupt:
            if not self.interrupted:
                raise
        return self.end_stopped()

    def outcome_of(self, outcome: str, error: BaseException | None) -> tuple[str, dict[str, Any] | None]:
        """Return the outcome for ``run_done``. The error isn't kept, because its frames hold the model."""
        if error is None:
            return outcome, None
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", None
        traceback.print_exception(error)
        return "failed", {**cause_of(error), "printed": self.printed()}

    def finish(self) -> None:
        """Report what is complete, answer the commands that are left, and clean up."""
        with self.inbox.changed:
            self.inbox.driver = None
            left, self.inbox.commands = self.inbox.commands, []
        with contextlib.ExitStack() as last:  # called from the last to the first, whatever the others raise
            last.callback(close, self.descriptors)
            last.callback(self.clean_up)
            last.callback(self.refuse, left)
            self.settle()

    def refuse(self, left: list[dict[str, Any]]) -> None:
        """Reject the commands that are left: the run can't execute them any more."""
        reason = STOPPING if self.stopping else "the run has ended"
        customs = (one for body in self.custom.values() for one in with_same(body))
        for body in (*left, *customs, *(one for asked in self.asked.values() for one in asked)):
            self.inbox.answer(body, "refused", reason)

    def report_left(self, error: BaseException | None) -> None:
        """Warn about what couldn't be cleaned up. The run isn't affected, and the next one can be tried."""
        if error is None:
            return
        traceback.print_exception(error)
        if isinstance(error, Exception):
            text = f"Can't clean up after the run ({problem_of(error)}). The next run may fail because of it."
            self.warn("clean_up", text)

    def run(self) -> str:
        """Train; return the outcome."""
        try:
            self.enter("loading")
            if self.stopping:
                return "stopped"
            self.read_config()
            self.trainer = self.onetrainer["create_trainer"](self.config, self.callbacks(), self.commands())
            self.listen_to_scalars(self.trainer.tensorboard)
            self.trainer.start()
            self.hook_trainer()
            if not self.stopping:
                self.trainer.train()
        finally:
            with self.inbox.changed:
                self.closing = True
        return self.end_stopped() if self.stopping else self.end("completed")

    def end_stopped(self) -> str:
        """End after a stop: back up and save what was trained."""
        if self.inbox.orphaned and self.config is not None:
            self.config.backup_before_save = True
        return self.end("stopped")

    def end(self, outcome: str) -> str:
        with self.inbox.changed:
            self.ending = True
            if outcome == "stopped":
                self.phase_is("stopping")
        trained = bool(getattr(self.trainer, "one_step_trained", False))
        if self.save_untrained and outcome == "completed" and not trained:
            # all steps were done before, and the backup that was resumed from has them: OneTrainer only saves what it trained
            self.trainer.one_step_trained = trained = True
            self.config.backup_before_save, self.end_backed_up = False, True
        if self.trainer is not None and getattr(self.trainer, "model", None) is not None:
            self.trainer.end()
        self.settle()
        if trained and not self.saved_finally:
            raise OSError(28, NO_SPACE, str(self.config.output_model_destination))
        return outcome

    def clean_up(self) -> None:
        """End its TensorBoard server, and free its memory."""
        trainer, self.trainer, self.config = self.trainer, None, None
        board, child = getattr(trainer, "tensorboard", None), getattr(trainer, "tensorboard_subprocess", None)
        with contextlib.ExitStack() as last:  # called from the last to the first, whatever the others raise
            last.callback(self.free_memory)
            last.callback(self.norms.close)
            if child is not None:
                last.callback(end_child, child)
            if board is not None:
                last.callback(board.close)
            trainer = board = child = None

    def free_memory(self) -> None:
        """Free the memory for the next run, here or in another process."""
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def read_config(self) -> None:
        """Turn the settings into OneTrainer's, and report them as it read them."""
        self.config = self.onetrainer["TrainConfig"].default_values().from_dict(self.document)
        try:
            used = self.config.to_pack_dict(secrets=False)
        except (AttributeError, TypeError, OSError, ValueError):
            # older revisions know no such method or no such word; newer ones read the files of concepts and prompts for it
            used = {key: value for key, value in self.config.to_dict().items() if key != "secrets"}
        self.wire.send("config", config=plain_document(used))
        if self.resume_from:
            self.config.continue_last_backup = True
            self.config.get_last_backup_path = lambda: self.resume_from
        elif self.config.continue_last_backup and self.config.get_last_backup_path() is None:
            self.warn("no_backup", "There is no backup to resume from, so the run starts from scratch.", "continue_last_backup")

    def hook_trainer(self) -> None:
        """Listen to gradient clipping, sampling and saving, now that the model is loaded."""
        trainer = self.trainer
        self.norms.listen()
        trainer.model_saver.save = self.listen_to_saver(trainer.model_saver.save)
        trainer.model_sampler.sample = self.listen_to_sampler(trainer.model_sampler.sample)
        self.keep_foreign_backups(trainer)
        self.first_step = trainer.model.train_progress.global_step
        self.limit_reached = bool(self.max_steps) and self.first_step >= self.max_steps
        path = self.resume_from or (self.config.get_last_backup_path() if self.config.continue_last_backup else None)
        if path:
            self.wire.event("resumed", path=str(path), global_step=self.first_step)

    def request_stop(self) -> None:
        """Stop, or react to the death of the parent: at once before the training, else at the end of the step."""
        with self.inbox.changed:
            first, self.stopping = not self.stopping, True
            self.stops += 1
            interrupt = first and self.phase in INTERRUPTED and not self.closing
            self.phase_is("stopping")
            if interrupt:
                self.interrupted = True
                interrupt_main_thread()
            self.inbox.changed.notify_all()

    def commands(self) -> Any:
        """Return OneTrainer's commands, which take the parent's commands when it asks."""
        driver = self
        kind: Any = self.onetrainer["TrainCommands"]

        class Commands(kind):  # type: ignore[misc]
            def get_stop_command(self) -> bool:
                return driver.stopping or driver.limit_reached or bool(super().get_stop_command())

            def get_and_reset_sample_default_command(self) -> bool:
                asked = super().get_and_reset_sample_default_command()
                return driver.collect("sample_default") or bool(asked)

            def get_and_reset_sample_custom_commands(self) -> list[Any]:
                return [*super().get_and_reset_sample_custom_commands(), *driver.collect_custom()]

            def get_and_reset_backup_command(self) -> bool:
                asked = super().get_and_reset_backup_command()
                return driver.collect("backup_now") or bool(asked)

            def get_and_reset_save_command(self) -> bool:
                asked = super().get_and_reset_save_command()
                return driver.collect("save_now") or bool(asked)

        return Commands()
