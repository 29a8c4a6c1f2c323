"""The queue starts its runs: one per device, in order, and each once. The runs are rehearsals."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.config.machine import GIGABYTE, Gpu, Machine
from onetrainer_gradio.config.options import AutoResume
from onetrainer_gradio.errors import CommandRefusedError, ConfigInvalidError, RunConflictError
from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.queue.gpu_memory import GpuMemory
from onetrainer_gradio.service.queue.items import ItemChoices, QueueItem, item_from_json, summary_of
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from tests.fakes.configs import small_config
from tests.fakes.rehearsal import whole_model
from tests.service.conftest import REHEARSAL, MakeService
from tests.waiting import until

TWO_GPUS = Machine("cuda", (Gpu("fake", 24 * GIGABYTE, (8, 9)),) * 2)

pytestmark = pytest.mark.slow  # each of these trains


def add(
    service: TrainerService, folder: Path, name: str, *tags: str, settings: dict[str, object] | None = None, **more: Any
) -> str:
    options = RunOptions(name=name, tags=tags or ("steps=3",))
    return str(service.enqueue(small_config(folder, **settings or {}), options, **more)["id"])


def item(service: TrainerService, item_id: str) -> dict[str, Any]:
    return service.queue.get(item_id)


def state_of(service: TrainerService, item_id: str) -> str:
    return str(item(service, item_id)["state"])


def wait_code(service: TrainerService, item_id: str) -> str:
    return str((item(service, item_id)["wait"] or {}).get("code", ""))


def finished(service: TrainerService, *ids: str) -> None:
    until(lambda: all(state_of(service, each) in ("completed", "stopped", "failed") for each in ids))


def go(folder: Path) -> None:
    """Let the waiting rehearsals of a folder continue."""
    (folder / "workspace").mkdir(parents=True, exist_ok=True)
    (folder / "workspace" / "go").touch()


def starts(service: TrainerService) -> list[str]:
    """Return the names of the runs, oldest first."""
    return [run.record.name for run in reversed(service.runs.all())]


def test_queued_runs_train_one_after_another(make_service: MakeService, tmp_path):
    service = make_service()
    ids = [add(service, tmp_path, name, notes=f"note {name}") for name in ("one", "two", "three")]
    finished(service, *ids)
    runs = [service.runs.get(item(service, each)["run_id"]) for each in ids]
    assert starts(service) == ["one", "two", "three"]
    assert [run.labels.note for run in runs] == ["note one", "note two", "note three"]
    assert [run.state()["end_reason"] for run in runs] == ["completed"] * 3
    ends = [(run.state()["started_at"], run.state()["ended_at"]) for run in runs]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))
    assert all(run.options().queue_item == each for run, each in zip(runs, ids, strict=True))


@pytest.mark.exhaustive
def test_the_next_run_starts_when_the_device_is_free_and_not_at_the_next_look(make_service, tmp_path, monkeypatch):
    monkeypatch.setattr("onetrainer_gradio.service.queue.dispatcher.LOOK_EVERY_S", 600.0)
    service = make_service()
    ids = [add(service, tmp_path, name) for name in ("one", "two", "three")]
    finished(service, *ids)
    assert starts(service) == ["one", "two", "three"]


def test_a_paused_queue_starts_nothing_also_after_a_restart(make_service: MakeService, tmp_path):
    service = make_service()
    service.queue.pause()
    item_id = add(service, tmp_path, "one")
    until(lambda: wait_code(service, item_id) == "paused")
    service.close()
    again = make_service()
    until(lambda: wait_code(again, item_id) == "paused")
    assert again.runs.ids() == []
    again.queue.resume()
    finished(again, item_id)


@pytest.mark.exhaustive
def test_a_held_run_and_one_for_later_let_others_pass(make_service: MakeService, tmp_path):
    service = make_service()
    held = add(service, tmp_path, "held", held=True)
    later = add(service, tmp_path, "later", not_before=time.time() + 3600)
    last = add(service, tmp_path, "last")
    finished(service, last)
    until(lambda: (wait_code(service, held), wait_code(service, later)) == ("held", "not_before"))
    service.queue.edit(held, ItemChoices(held=False))
    service.queue.edit(later, ItemChoices(not_before=1))
    finished(service, held, later)
    assert starts(service)[0] == "last"


@pytest.mark.exhaustive
def test_a_run_waits_for_another_and_is_held_if_that_fails(make_service: MakeService, tmp_path):
    service = make_service()
    service.queue.pause()
    good, bad = add(service, tmp_path, "good"), add(service, tmp_path, "bad", "steps=5", "fail_at=1")
    after_good = add(service, tmp_path, "after good", after=good, priority=9)
    after_bad = add(service, tmp_path, "after bad", after=bad, priority=9)
    service.queue.resume()
    finished(service, good, bad, after_good)
    assert starts(service).index("after good") > starts(service).index("good")
    until(lambda: item(service, after_bad)["held"])
    assert "“bad” failed" in item(service, after_bad)["hold_reason"]


@pytest.mark.parametrize("policy", ["continue", "hold"])
def test_a_failure_does_what_its_owner_chose(make_service: MakeService, tmp_path, policy):
    service = make_service()
    service.queue.pause()
    bad = add(service, tmp_path, "bad", "steps=5", "fail_at=1", on_failure=policy)
    following = add(service, tmp_path, "following")
    service.queue.resume()
    finished(service, bad)
    assert "memory" in item(service, bad)["error"]["message"]
    if policy == "continue":
        finished(service, following)
    else:
        until(lambda: service.queue.summary()["paused"])
        assert "“bad” failed" in service.queue.summary()["pause_reason"]
        until(lambda: wait_code(service, following) == "paused")
        assert state_of(service, following) == "waiting"


def test_a_failed_run_is_tried_again_from_its_backup(make_service: MakeService, tmp_path, monkeypatch):
    monkeypatch.setattr("onetrainer_gradio.service.queue.dispatcher.RETRY_FIRST_S", 0.1)
    service = make_service()
    tags = ("steps=8", "backup_every=2", "fail_at=5")
    bad = add(service, tmp_path, "bad", *tags, on_failure="retry", retries=2)
    finished(service, bad)
    assert (state_of(service, bad), item(service, bad)["attempts"]) == ("failed", 2)
    runs = service.runs.all()
    assert len(runs) == 3
    assert [run.resumed_step() for run in runs] == [4, 4, None]


@pytest.mark.exhaustive
def test_a_run_killed_in_its_last_save_is_tried_again_to_save_its_result(make_service: MakeService, tmp_path, monkeypatch):
    """Its step limit is reached and its result is missing: the retry trains nothing and saves the model of the last backup."""
    monkeypatch.setattr("onetrainer_gradio.service.queue.dispatcher.RETRY_FIRST_S", 0.1)
    service = make_service(in_process=False)
    result = tmp_path / "lora.safetensors"
    killed = add(service, tmp_path, "killed", "write_s=1", max_steps=4, on_failure="retry", retries=1)
    until(lambda: service.get_state()["phase"] == "saving")
    first = service.runs.get(service.get_state()["run_id"])
    worker = ProcessIdentity.from_dict(read_json(first.folder / "worker.json"))
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: item(service, killed)["attempts"] == 1)
    assert not result.exists()
    finished(service, killed)
    assert state_of(service, killed) == "completed"
    again = service.runs.get(item(service, killed)["run_id"])
    assert (first.state()["end_signal"], first.state()["progress"]["global_step"]) == ("SIGKILL", 4)
    assert (again.resumed_step(), again.record.options["resumes_run"], len(again.metrics.rows())) == (4, first.id, 0)
    assert result.read_bytes() == b"weights"


@pytest.mark.exhaustive
@pytest.mark.parametrize("who", ["queue", "automatic resume", "person"])
def test_a_run_killed_once_its_result_is_written_is_resumed_to_its_end(who, make_service: MakeService, tmp_path, monkeypatch):
    """Its result is complete but not recorded: resuming it gives a finished run with the result, without an error."""
    monkeypatch.setattr("onetrainer_gradio.service.queue.dispatcher.RETRY_FIRST_S", 0.1)
    service = make_service(in_process=False)
    again = {"on_failure": "retry", "retries": 1} if who == "queue" else {}
    resumes = AutoResume(attempts=1 if who == "automatic resume" else 0, first_wait_s=0)
    options = RunOptions(name="killed", tags=("killed=written",), max_steps=4, auto_resume=resumes)
    first_item = str(service.enqueue(small_config(tmp_path), options, **again)["id"])
    until(lambda: service.runs.ids() and service.runs.all()[-1].ended())
    first = service.runs.all()[-1]
    assert (first.state()["end_signal"], first.state()["final_model"]) == ("SIGKILL", None)
    assert (tmp_path / "lora.safetensors").read_bytes() == whole_model()
    if who == "person":
        finished(service, first_item)
        service.start_or_enqueue(*service.settings_to_resume(first.id))
    until(lambda: len(service.runs.ids()) == 2 and service.runs.all()[0].ended(), 120)
    second = service.runs.all()[0]
    assert (second.state()["end_reason"], second.resumes_run(), len(second.metrics.rows())) == ("completed", first.id, 0)
    assert second.state()["final_model"]
    if who == "queue":
        finished(service, first_item)
        assert state_of(service, first_item) == "completed"
    with pytest.raises(ConfigInvalidError, match="nothing left to train"):  # and a complete result isn't saved again
        service.check(small_config(tmp_path), second.options().model_copy(update={"resumes_run": second.id}))


@pytest.mark.exhaustive
def test_a_run_killed_once_its_result_is_recorded_has_completed(make_service: MakeService, tmp_path):
    """Only the record of its end was missing: nothing waits for a person, nothing is resumed, and a warning has the cause."""
    service = make_service(in_process=False)
    tags = ("killed=recorded", "steps=4")
    options = RunOptions(name="killed", tags=tags, auto_resume=AutoResume(attempts=2, first_wait_s=0))
    killed = str(service.enqueue(small_config(tmp_path), options, on_failure="hold")["id"])
    finished(service, killed)
    run = service.runs.get(item(service, killed)["run_id"])
    assert (state_of(service, killed), run.state()["end_reason"]) == ("completed", "completed")
    assert "SIGKILL" in run.state()["warning"]
    assert "already saved" in run.state()["warning"]
    assert not service.queue.summary()["paused"]
    assert len(service.runs.ids()) == 1


@pytest.mark.exhaustive
def test_a_run_suspended_in_its_last_step_finishes_when_it_is_released(make_service: MakeService, tmp_path):
    """All its steps are done and its result is complete, but it waits in the queue; it finishes and isn't held."""
    service = make_service()
    item_id = add(service, tmp_path, "one", "hold=3", "killed=never", max_steps=4)
    until(lambda: service.get_state()["update_step"] == 3)
    assert service.suspend_training() == item_id
    until(lambda: state_of(service, item_id) == "waiting")
    assert (tmp_path / "lora.safetensors").read_bytes() == whole_model()
    service.queue.edit(item_id, ItemChoices(held=False))
    finished(service, item_id)
    second, first = service.runs.all()
    assert (state_of(service, item_id), second.resumes_run(), second.resumed_step()) == ("completed", first.id, 4)


def test_a_stopped_run_is_no_failure(make_service: MakeService, tmp_path):
    service = make_service()
    stopped = add(service, tmp_path, "one", "hold=1", on_failure="hold")
    until(lambda: service.get_state()["update_step"] == 1)
    service.stop_training()
    finished(service, stopped)
    assert state_of(service, stopped) == "stopped"
    assert not service.queue.summary()["paused"]


def test_settings_that_no_longer_pass_the_check_hold_the_run(make_service: MakeService, tmp_path):
    service = make_service()
    service.queue.pause()
    bad, good = add(service, tmp_path / "bad", "bad"), add(service, tmp_path / "good", "good")
    (tmp_path / "bad" / "images").rename(tmp_path / "bad" / "moved")
    service.queue.resume()
    finished(service, good)
    found = item(service, bad)
    assert found["held"]
    assert "pre-flight check" in found["hold_reason"]
    assert found["error"]["errors"][0]["path"].startswith("concepts")


def test_a_changed_dataset_is_reported_at_the_start(make_service: MakeService, tmp_path):
    service = make_service()
    service.queue.pause()
    same, changed = add(service, tmp_path / "same", "same"), add(service, tmp_path / "changed", "changed")
    (tmp_path / "changed" / "images" / "one.txt").write_text("another caption")
    (tmp_path / "changed" / "images" / "three.txt").write_text("a caption more")
    service.queue.resume()
    finished(service, same, changed)
    warned = {}
    for each in (same, changed):
        journal = service.runs.get(item(service, each)["run_id"]).journal
        warned[each] = [entry.body["message"] for entry in journal.since(0, 1000) if entry.body.get("code") == "dataset_changed"]
    assert warned[same] == []
    assert len(warned[changed]) == 1
    assert "4 files then, 5 now" in warned[changed][0]


def test_a_manual_start_conflicts_while_a_queued_run_trains(make_service: MakeService, tmp_path):
    service = make_service()
    add(service, tmp_path, "one", "hold=1")
    until(lambda: service.get_state()["update_step"] == 1)
    with pytest.raises(RunConflictError):
        service.start(small_config(tmp_path))
    service.stop_training()


@pytest.mark.exhaustive
def test_several_devices_train_side_by_side(make_service: MakeService, tmp_path):
    """Two runs for one device run one after the other; a third one for another device doesn't wait.

    Viewers get each run's state.
    """
    service = make_service(in_process=False, machine=TWO_GPUS)
    heard: list[dict[str, Any]] = []
    service.feed.subscribe(heard.append)
    a = add(service, tmp_path / "a", "a", "hold=1")
    b = add(service, tmp_path / "b", "b", "steps=2")
    c = add(service, tmp_path / "c", "c", "hold=1", settings={"train_device": "cuda:1"})
    until(lambda: (state_of(service, a), state_of(service, c)) == ("running", "running"))
    until(lambda: len(service.scheduler.occupants()) == 2)
    assert wait_code(service, b) in ("", "device")
    run_a, run_c = (service.runs.get(item(service, each)["run_id"]) for each in (a, c))
    until(lambda: run_a.state()["update_step"] == run_c.state()["update_step"] == 1)
    assert service.get_state()["run_id"] == run_a.id
    assert service.get_state()["also_running"] == [run_c.id]
    service.pause_training(run_c.id)
    until(lambda: run_c.state()["paused"])
    assert not run_a.state()["paused"]
    until(lambda: any(message["type"] == "run_state" and message["state"]["paused"] for message in heard))
    states = [(message["type"], message["state"]["run_id"]) for message in heard if message["type"].endswith("_state")]
    assert {run_id for kind, run_id in states if kind == "run_state"} == {run_c.id}
    assert run_c.id not in {run_id for kind, run_id in states if kind == "training_state"}
    service.resume_training(run_c.id)
    until(lambda: not run_c.state()["paused"])
    service.stop_training(run_id=run_a.id)
    finished(service, a, b)
    assert not run_c.ended()
    until(lambda: service.get_state()["run_id"] == run_c.id)
    go(tmp_path / "c")
    finished(service, c)
    assert run_c.state()["end_reason"] == "completed"


@pytest.mark.exhaustive
def test_runs_on_several_devices_are_found_after_a_restart(make_service: MakeService, tmp_path):
    service = make_service(in_process=False, machine=TWO_GPUS)
    a = add(service, tmp_path / "a", "a", "hold=1")
    c = add(service, tmp_path / "c", "c", "hold=1", settings={"train_device": "cuda:1"})
    until(lambda: (state_of(service, a), state_of(service, c)) == ("running", "running"))
    runs = [service.runs.get(item(service, each)["run_id"]) for each in (a, c)]
    until(lambda: all(run.state()["update_step"] == 1 for run in runs))
    service.close()
    again = make_service(in_process=False, machine=TWO_GPUS)
    assert {run.id for run in again.scheduler.occupants()} == {run.id for run in runs}
    waits = add(again, tmp_path / "w", "w", "steps=2", settings={"train_device": "cuda:1"})
    until(lambda: wait_code(again, waits) == "device")
    for name in ("a", "c"):
        go(tmp_path / name)
    finished(again, a, c, waits)
    assert [state_of(again, each) for each in (a, c, waits)] == ["completed"] * 3


def test_a_suspended_run_waits_and_resumes_where_it_was(make_service: MakeService, tmp_path):
    service = make_service()
    one = add(service, tmp_path, "one", "steps=10", "hold=4")
    until(lambda: service.get_state()["update_step"] == 4)
    assert service.suspend_training() == one
    until(lambda: state_of(service, one) == "waiting")
    found = item(service, one)
    assert found["held"]
    first = found["resumes_run"]
    assert service.runs.get(first).state()["end_reason"] == "stopped"
    go(tmp_path)
    service.queue.edit(one, ItemChoices(held=False))
    finished(service, one)
    run = service.runs.get(item(service, one)["run_id"])
    assert run.resumes_run() == first
    assert run.resumed_step() is not None
    assert run.state()["progress"]["global_step"] == 10


@pytest.mark.exhaustive
def test_a_run_that_was_started_without_the_queue_can_be_suspended(make_service: MakeService, tmp_path):
    service = make_service()
    run_id = service.start(small_config(tmp_path), RunOptions(name="manual", tags=("steps=10", "hold=4")))
    until(lambda: service.get_state()["update_step"] == 4)
    item_id = service.suspend_training(hold=False)
    until(lambda: service.runs.get(run_id).ended())
    go(tmp_path)
    finished(service, item_id)
    run = service.runs.get(item(service, item_id)["run_id"])
    assert (run.record.name, run.resumes_run()) == ("manual", run_id)
    with pytest.raises(CommandRefusedError):
        service.suspend_training()


def test_a_run_that_is_suspended_before_its_first_step_waits_again(make_service: MakeService, tmp_path):
    service = make_service()
    one = add(service, tmp_path, "one", "steps=3", "load_s=5")
    until(lambda: service.get_state()["phase"] == "loading")
    service.suspend_training()
    until(lambda: state_of(service, one) == "waiting")
    assert (item(service, one)["held"], item(service, one)["resume_from"]) == (True, "")


def claimed(service: TrainerService, folder: Path, run_id: str, by: ProcessIdentity) -> str:
    """Return an item that a process claimed for a run, as after a kill at that moment."""
    config = small_config(folder)

    def work(queue: Any) -> None:
        claimed_item = QueueItem(
            id="q-claimed",
            name="claimed",
            tags=("steps=3",),
            state="starting",
            run_id=run_id,
            claimed_by=by.as_dict(),
            **summary_of(config),
        )
        document = to_document(config, packed=True)
        queue.add(
            claimed_item, json.dumps(document), json.dumps(RunOptions(backend=service.settings.backend).model_dump(mode="json"))
        )

    service.queue.store.change(work)
    return "q-claimed"


DEAD = ProcessIdentity(pid=1, created="never", boot="none")


def test_a_panel_that_was_killed_before_it_made_the_run_loses_nothing(make_service: MakeService, tmp_path):
    service = make_service(runs_queue=False)
    item_id = claimed(service, tmp_path, "2026-01-01_00-00-00-0001", DEAD)
    service.close()
    again = make_service()
    finished(again, item_id)
    assert state_of(again, item_id) == "completed"
    assert len(again.runs.ids()) == 1


def test_a_claim_of_a_living_process_stays(make_service: MakeService, tmp_path):
    service = make_service(runs_queue=False)
    item_id = claimed(service, tmp_path, "2026-01-01_00-00-00-0001", ProcessIdentity.of(os.getppid()))
    service.dispatcher.look()
    assert state_of(service, item_id) == "starting"


class Gpus:
    """One GPU whose used memory a test sets."""

    def __init__(self) -> None:
        self.used = 1 << 30

    def read(self) -> list[dict[str, Any]]:
        return [{"index": 0, "name": "fake", "memory_used": self.used, "memory_total": 24 << 30}]


def test_gpu_memory_is_waited_for_with_a_limit_and_a_clear_state():
    gpus, now, freed = Gpus(), [0.0], []
    memory = GpuMemory(gpus.read, clock=lambda: now[0], wait_s=60, make_room=lambda: freed.append(now[0]))
    before = memory.in_use(["cuda:0"])
    assert before == {"cuda:0": 1 << 30}
    assert memory.in_use(["cpu"]) == {}
    gpus.used = 9 << 30
    waits = memory.wait(["cuda:0"], before)
    assert waits is not None
    assert not waits.late
    now[0] = 61.0
    waits = memory.wait(["cuda:0"], before)
    assert waits is not None
    assert waits.late
    assert "9.0 GiB are in use, 1.0 GiB before the last run" in waits.text
    assert freed == [0.0]  # what the panel itself has loaded, once
    gpus.used = (1 << 30) + (100 << 20)
    assert memory.wait(["cuda:0"], before) is None
    gpus.used = 9 << 30
    assert memory.wait(["cuda:1"], before) is None


@pytest.mark.exhaustive
def test_the_next_run_waits_for_the_memory_of_the_last_one(tmp_path, monkeypatch):
    """Nothing starts while the memory isn't free; resuming the queue starts it anyway."""
    gpus = Gpus()
    settings = ServiceSettings(data_folder=tmp_path / "data", backend=REHEARSAL, in_process=True)
    with TrainerService(settings, gpus=lambda: gpus, machine=lambda: TWO_GPUS) as service:
        one = add(service, tmp_path, "one", "hold=1", settings={"train_device": "cuda"})
        until(lambda: service.get_state()["update_step"] == 1)
        gpus.used = 12 << 30
        two = add(service, tmp_path, "two", settings={"train_device": "cuda"})
        go(tmp_path)
        finished(service, one)
        until(lambda: wait_code(service, two) == "memory")
        monkeypatch.setattr(service.dispatcher._memory, "_wait_s", 0.0)
        until(lambda: wait_code(service, two) == "memory_not_freed")
        assert state_of(service, two) == "waiting"
        service.queue.edit(two, ItemChoices(name="two, edited"))
        assert state_of(service, two) == "waiting"
        service.queue.resume()
        finished(service, two)


def test_a_disk_that_takes_no_run_makes_the_item_wait(make_service: MakeService, tmp_path):
    service = make_service()
    service.queue.pause()
    item_id = add(service, tmp_path, "one")
    runs = service.runs.folder
    runs.mkdir(parents=True, exist_ok=True)
    runs.rename(runs.with_name("aside"))
    runs.write_text("no folder")
    service.queue.resume()
    until(lambda: wait_code(service, item_id) == "trouble")
    runs.unlink()
    runs.with_name("aside").rename(runs)
    service.dispatcher._trouble = {key: (0.0, text) for key, (_, text) in service.dispatcher._trouble.items()}
    finished(service, item_id)


def test_an_item_of_a_later_version_is_read():
    body = {**dataclasses.asdict(QueueItem(id="q-1")), "new_field": 1}
    assert item_from_json(json.dumps(body)) == QueueItem(id="q-1")
