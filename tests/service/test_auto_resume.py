"""A failed run resumes by itself, if requested: from its newest complete backup, with growing delays, and once per end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config.options import AutoResume, Resumption, RunOptions
from onetrainer_gradio.errors import ConfigInvalidError, DiskFullError, QueueItemNotFoundError, RunConflictError
from onetrainer_gradio.events import BackupCreated, ErrorInfo, Event, ModelSaved, PhaseChanged, RunEnded, RunPlanned, RunStarted
from onetrainer_gradio.service.auto_resume import NOTE, AutoResumer, message_of
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.runs.record import Run, RunRecord, RunStore
from tests.fakes.configs import small_config, write_result
from tests.service.conftest import MakeService, ended

OUT_OF_MEMORY = ErrorInfo(type="OutOfMemoryError", message="Out of GPU memory.")


class FakeQueue:
    """The operations of a queue, in memory."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.configs: list[Any] = []
        self.options: list[RunOptions] = []
        self.error: Exception | None = None

    def add(self, config: Any, options: RunOptions | None, choices: ItemChoices | None) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        assert options is not None
        assert choices is not None
        self.configs.append(config)
        self.options.append(options)
        item = {"id": f"q-{len(self.items)}", "state": "waiting", "run_id": "", "on_failure": "continue", **choices.model_dump()}
        self.items[item["id"]] = item
        return item

    def get(self, item_id: str) -> dict[str, Any]:
        if item_id not in self.items:
            raise QueueItemNotFoundError("gone")
        return self.items[item_id]

    def with_notes(self, notes: str) -> str:
        return next((item["id"] for item in self.items.values() if item["notes"] == notes), "")

    def edit(self, item_id: str, choices: ItemChoices) -> dict[str, Any]:
        self.items[item_id] |= choices.given()
        return self.items[item_id]

    def remove(self, item_id: str) -> None:
        del self.items[item_id]


class Panel:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = RunStore(folder / "runs")
        self.queue = FakeQueue()
        self.now = 1e9
        self.steps = iter(("Lower it", "Offload it"))
        self.restart()

    def restart(self) -> None:
        self.resumer = AutoResumer(
            self.folder / "auto_resume.json",
            self.runs,
            self.queue,
            lambda config: (next(self.steps), config.model_copy(update={"batch_size": 1})),
            lambda: self.now,
        )

    def run(
        self,
        reason: str = "failed",
        error: ErrorInfo | None = OUT_OF_MEMORY,
        signal: str = "",
        before_end: tuple[Event, ...] = (),
        **options: Any,
    ) -> Run:
        wanted = RunOptions(name="cat", **{"auto_resume": AutoResume(attempts=3), **options})
        record = RunRecord(
            id=self.runs.new_id(),
            name="cat",
            created_at=time.time(),
            backend="builtin",
            workspace="",
            options=wanted.model_dump(mode="json"),
        )
        run = self.runs.create(small_config(self.folder / "material", batch_size=4), record)
        run.journal.append(RunStarted(backend="builtin", pid=1))
        run.journal.append(PhaseChanged(phase="training"))
        self.backup(run, 10)
        for event in before_end:
            run.journal.append(event)
        run.record_end(RunEnded(reason=reason, error=error, signal=signal))  # type: ignore[arg-type]
        return run

    def backup(self, run: Run, step: int, *, whole: bool = True) -> Path:
        folder = self.folder / f"backup-{run.id}-{step}"
        folder.mkdir()
        if whole:
            write_json(
                folder / "meta.json", {"train_progress": {"epoch": 0, "epoch_step": 0, "epoch_sample": 0, "global_step": step}}
            )
        run.journal.append(BackupCreated(path=str(folder), global_step=step, epoch=0, epoch_step=0, bytes=1))
        return folder


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    return Panel(tmp_path)


def test_a_failed_run_waits_in_the_queue_for_its_resume(panel: Panel) -> None:
    run = panel.run()
    clock = time.strftime("%H:%M", time.localtime(1e9 + 60))
    assert panel.resumer.follow_up(run) == f"It resumes by itself at {clock}, attempt 1 of 3."
    [item], [options] = panel.queue.items.values(), panel.queue.options
    assert (item["not_before"], options.resumes_run, options.auto_resume) == (1e9 + 60, run.id, AutoResume(attempts=3))
    assert options.resume_from == str(panel.folder / f"backup-{run.id}-10")
    assert options.resumption == Resumption(run=run.id, attempt=1, of=3, because="Out of GPU memory.")
    status = panel.resumer.status(run.id)
    assert (status["state"], status["attempt"], status["of"], status["at"]) == ("waiting", 1, 3, 1e9 + 60)
    item |= {"state": "running", "run_id": "the next"}
    assert panel.resumer.status(run.id)["run_id"] == "the next"
    with pytest.raises(RunConflictError):
        panel.resumer.cancel(run.id)


@pytest.mark.slow
def test_a_decision_is_made_once_also_by_the_next_panel(panel: Panel) -> None:
    run = panel.run()
    for _ in range(3):
        panel.resumer.plan(run)
        panel.restart()
    assert len(panel.queue.items) == 1
    (run.folder / NOTE).unlink()  # as if the panel had been killed between the queue and the note
    plan = panel.resumer.plan(run)
    assert plan is not None
    assert (plan.decision, len(panel.queue.items)) == ("queued", 1)
    assert read_json(run.folder / NOTE)["item"] == plan.item


def test_a_run_killed_after_its_last_save_is_not_resumed(panel: Panel) -> None:
    """Its result exists: a resume would train nothing, or train the last steps again."""
    result = panel.folder / "lora.safetensors"
    write_result(result)
    run = panel.run("lost", None, before_end=(ModelSaved(path=str(result), final=True, global_step=12, bytes=1),))
    assert panel.resumer.follow_up(run) == "It isn't resumed by itself. Its final model is saved."
    assert panel.queue.items == {}
    assert panel.resumer.status(run.id)["state"] == "saved"


@pytest.mark.slow
def test_a_model_that_was_saved_in_the_middle_is_no_result(panel: Panel) -> None:
    """If its worker dies, OneTrainer backs up, saves and exits; the remaining steps are trained."""
    saved = panel.folder / "lora.safetensors"
    write_result(saved)
    plan = {"total_steps": 40, "steps_per_epoch": 10, "total_updates": 40, "epochs": 4, "first_step": 0, "images": 10}
    events = (
        RunPlanned(**plan, trainable_parameters=1, learning_rates=("unet",)),
        ModelSaved(path=str(saved), final=True, global_step=12, bytes=1),
    )
    run = panel.run("failed", None, before_end=events)
    assert run.state()["final_model"] == str(saved)
    found = panel.resumer.plan(run)
    assert found is not None
    assert found.decision == "queued"


@pytest.mark.slow
def test_waits_grow_and_attempts_end(panel: Panel) -> None:
    waits = []
    for attempt in (1, 2, 3):
        before = Resumption(run="x", attempt=attempt, of=3)
        plan = panel.resumer.plan(panel.run(resumption=before))
        assert plan is not None
        waits.append((plan.decision, round(plan.at - 1e9)))
    assert waits == [("queued", 120), ("queued", 240), ("exhausted", -1000000000)]
    assert "used up" in panel.resumer.follow_up(panel.run(resumption=Resumption(run="x", attempt=3, of=3)))


@pytest.mark.parametrize("reason", ["completed", "stopped"])
def test_a_run_that_did_not_fail_is_not_resumed(panel: Panel, reason: str) -> None:
    run = panel.run(reason, None)
    assert panel.resumer.plan(run) is None
    assert panel.resumer.follow_up(run) == ""
    assert panel.resumer.status(run.id)["state"] == "none"


@pytest.mark.parametrize("wanted", [None, AutoResume(attempts=0)])
def test_nobody_is_resumed_who_did_not_ask(panel: Panel, wanted: AutoResume | None) -> None:
    assert panel.resumer.plan(panel.run(auto_resume=wanted)) is None
    assert panel.queue.items == {}


@pytest.mark.parametrize("kind", ["NonFiniteLossError", "UnsupportedError", "ConfigInvalidError", "BackupMismatchError"])
def test_what_would_fail_again_in_the_same_way_is_not_repeated(panel: Panel, kind: str) -> None:
    run = panel.run(error=ErrorInfo(type=kind, message="no"))
    assert "fail again in the same way" in panel.resumer.follow_up(run)
    assert panel.queue.items == {}


@pytest.mark.slow
def test_a_lost_run_resumes_from_its_newest_whole_backup(panel: Panel) -> None:
    run = panel.run("failed", None)
    other = panel.runs.create(
        small_config(panel.folder / "material"),
        RunRecord(
            id=panel.runs.new_id(),
            name="",
            created_at=time.time(),
            backend="builtin",
            workspace="",
            options=RunOptions(auto_resume=AutoResume()).model_dump(mode="json"),
        ),
    )
    whole = panel.backup(other, 20)
    panel.backup(other, 30, whole=False)
    other.record_end(RunEnded(reason="lost", error=ErrorInfo(type="WorkerDiedError", message="The machine was turned off.")))
    panel.resumer.plan(run)
    panel.resumer.plan(other)
    assert [Path(options.resume_from).name for options in panel.queue.options] == [f"backup-{run.id}-10", whole.name]


@pytest.mark.slow
def test_a_run_without_backup_starts_from_the_beginning(panel: Panel) -> None:
    record = RunRecord(
        id=panel.runs.new_id(),
        name="",
        created_at=time.time(),
        backend="builtin",
        workspace="",
        options=RunOptions(auto_resume=AutoResume()).model_dump(mode="json"),
    )
    run = panel.runs.create(small_config(panel.folder / "material"), record)
    run.record_end(RunEnded(reason="lost"))
    panel.resumer.plan(run)
    [options] = panel.queue.options
    assert (options.resume_from, options.resumes_run) == ("", "")
    assert options.resumption is not None
    assert options.resumption.run == run.id


@pytest.mark.slow
def test_memory_is_lowered_only_if_asked_and_only_after_it_ran_out(panel: Panel) -> None:
    """Each change is recorded with the run; kills by the kernel concern system RAM."""
    saving = AutoResume(attempts=5, lower_memory=True)
    panel.resumer.plan(panel.run())
    panel.resumer.plan(panel.run(error=ErrorInfo(type="WorkerDiedError", message="died"), auto_resume=saving))
    panel.resumer.plan(panel.run(signal="SIGKILL", auto_resume=saving))
    assert [config.batch_size for config in panel.queue.configs] == [4, 4, 4]
    panel.resumer.plan(panel.run(auto_resume=saving))
    first = panel.queue.options[-1].resumption
    panel.resumer.plan(panel.run(auto_resume=saving, resumption=first))
    second = panel.queue.options[-1].resumption
    assert first is not None
    assert second is not None
    assert (first.changes, second.changes) == (("Lower it",), ("Lower it", "Offload it"))
    assert panel.queue.configs[-1].batch_size == 1
    assert message_of(second) == (
        f"Automatic resume 2 of 5 of the run {second.run}. Out of GPU memory. Changed to save memory: Lower it; Offload it."
    )


@pytest.mark.slow
def test_a_resume_can_be_cancelled_and_brought_forward(panel: Panel) -> None:
    one, two = panel.run(), panel.run()
    panel.resumer.plan(one)
    panel.resumer.plan(two)
    panel.resumer.resume_now(two.id)
    assert panel.resumer.status(two.id)["at"] is None
    panel.resumer.cancel(one.id)
    assert panel.resumer.status(one.id)["state"] == "cancelled"
    panel.restart()
    assert panel.resumer.follow_up(one) == ""
    assert len(panel.queue.items) == 1
    panel.queue.remove(panel.resumer.status(two.id)["item"])  # in the queue itself
    assert panel.resumer.status(two.id)["state"] == "cancelled"
    with pytest.raises(RunConflictError):
        panel.resumer.resume_now(two.id)


@pytest.mark.slow
def test_a_full_disk_puts_the_decision_off(panel: Panel) -> None:
    run = panel.run()
    panel.queue.error = DiskFullError("full")
    assert panel.resumer.follow_up(run) == ""
    panel.resumer.catch_up()
    assert panel.resumer.status(run.id)["state"] == "none"
    panel.queue.error = None
    panel.resumer.catch_up()
    assert panel.resumer.status(run.id)["state"] == "waiting"


@pytest.mark.slow
def test_settings_that_no_longer_pass_the_check_are_named(panel: Panel) -> None:
    panel.queue.error = RunConflictError("The queue can't have more than 1000 runs")
    assert panel.resumer.follow_up(panel.run()) == "It isn't resumed by itself. The queue can't have more than 1000 runs"


@pytest.mark.slow
def test_a_run_that_the_queue_retries_is_left_to_it(panel: Panel) -> None:
    item = panel.queue.add(None, RunOptions(), ItemChoices(on_failure="retry"))
    assert panel.resumer.plan(panel.run(queue_item=item["id"])) is None
    item |= {"on_failure": "continue", "state": "failed"}
    assert panel.resumer.plan(panel.run(queue_item=item["id"])) is not None


def test_the_default_of_the_panel_is_kept_and_checked(panel: Panel) -> None:
    assert panel.resumer.default().attempts == 0
    panel.resumer.set_default({"attempts": 2, "lower_memory": True})
    panel.restart()
    assert panel.resumer.default() == AutoResume(attempts=2, lower_memory=True)
    with pytest.raises(ConfigInvalidError):
        panel.resumer.set_default({"attempts": 99})
    (panel.folder / "auto_resume.json").write_text('{"attempts": "many"}')
    assert panel.resumer.default().attempts == 0


@pytest.mark.slow
def test_a_run_resumes_until_its_attempts_are_used_up(make_service: MakeService, tmp_path: Path) -> None:
    """There are three real runs, each from the backup of the one before, and the last failure ends the resumes."""
    service = make_service(in_process=False)
    wanted = AutoResume(attempts=2, first_wait_s=0)
    options = RunOptions(name="cat", tags=("fail_at=8", "backup_every=5", "steps=20"), auto_resume=wanted)
    first = service.start(small_config(tmp_path), options)
    give_up_at = time.monotonic() + 60
    while len(service.runs.ids()) < 3 or not ended(service.get_state()):
        assert time.monotonic() < give_up_at, (service.runs.ids(), service.get_state())
        time.sleep(0.1)
    third, second, found = [service.runs.get(run_id) for run_id in service.runs.ids()]
    assert found.id == first
    assert (second.resumes_run(), third.resumes_run()) == (first, second.id)
    assert [run.resumed_step() for run in (found, second, third)] == [None, 5, 5]
    while service.auto_resume.status(third.id)["state"] == "none":
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    assert service.auto_resume.status(third.id)["state"] == "exhausted"
    assert service.auto_resume.status(first)["run_id"] == second.id
    warned = [entry.body["message"] for entry in third.journal.since(0, 1000, only=("warning_issued",))]
    assert warned == [f"Automatic resume 2 of 2 of the run {second.id}. The graphics memory is used up."]
    texts = [each["text"] for each in service.notifications.page(10)["notifications"]]
    assert "attempt 1 of 2" in texts[2]
    assert "used up" in texts[0]
