"""Quotas: what people use, and what happens when a quota is used up.

Covers ``service/usage.py`` and ``service/quotas.py``.
"""

from __future__ import annotations

import os
import time
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.errors import QuotaError
from onetrainer_gradio.events import ModelSaved, RunEnded, RunStarted
from onetrainer_gradio.service.notifications.notification import Notification
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.roles import Identity, Kind, Role, act_as
from onetrainer_gradio.service.quotas import LOOK_EVERY_S, QUOTA_DAYS, Quotas
from onetrainer_gradio.service.runs.record import Run, RunRecord, RunStore
from onetrainer_gradio.service.usage import DAY_S, DISK_KEPT_S, TIME_KEPT_S, TOUCHED_KEPT_S, Usage
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, MakeService, ended

HOUR = 3600.0
NOW = time.time()  # folders have the machine's time


@dataclass
class Studio:
    """Runs and datasets of several people, in folders that the test creates."""

    folder: Path
    now: float = NOW
    notified: list[Notification] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people = People(self.folder / "data")
        self.runs = RunStore(self.folder / "data" / "runs")
        self.pending: dict[str, int] = {}
        self.datasets = self.folder / "data" / "datasets"
        accounts = self.people.accounts
        self.ada = accounts.add("Ada", Role.OPERATOR, subject="a").id
        self.bob = accounts.add("Bob", Role.OPERATOR, subject="b").id
        self.usage = Usage(
            self.runs, self.datasets, lambda account: self.pending.get(account, 0), accounts.id_of_name, lambda: self.now
        )
        self.quotas = Quotas(accounts, self.usage, self.notified.append)

    def run(self, account: str | None, started: float, until: float | None, *, device: str = "cuda", **config: object) -> Run:
        """Return a run that occupied a device from ``started`` to ``until``, in hours before now."""
        settings = small_config(self.folder, train_device=device, **config)
        options = RunOptions(account=account or "").model_dump(mode="json")
        if account is None:
            del options["account"]
        run_id = self.runs.new_id(self.now - started * HOUR)
        record = RunRecord(
            run_id, "run", self.now, "", str(self.folder), options, hardware={"gpu_0": "a", "gpu_1": "b"}, started_by="Ada"
        )
        made = self.runs.create(settings, record)
        made.journal.append(RunStarted(at=self.now - started * HOUR, backend="", pid=1))
        if until is not None:
            made.journal.append(RunEnded(at=self.now - until * HOUR, reason="completed"))
        return made

    def hours(self, account: str, days: float = QUOTA_DAYS, *, gpus_only: bool = True) -> float:
        self.now += TIME_KEPT_S + DISK_KEPT_S
        seconds = self.usage.device_seconds(days, gpus_only=gpus_only).get(account, 0.0)
        return round(seconds / HOUR, 1)


@pytest.fixture
def studio(tmp_path: Path):
    made = Studio(tmp_path)
    yield made
    made.runs.listing.close()
    made.people.close()


@pytest.mark.slow
def test_hours_are_the_time_of_runs_on_gpus_in_the_window(studio):
    """A run counts from the window's beginning and until now if it is still training, and each GPU counts."""
    studio.run(studio.ada, 10, 8)
    studio.run(studio.ada, 50, 20)
    studio.run(studio.bob, 3, None)
    studio.run(studio.bob, 900, 899, device="cuda")
    studio.run(studio.ada, 5, 4, device="cpu")
    assert (studio.hours(studio.ada), studio.hours(studio.bob)) == (32, 3.0)
    assert studio.hours(studio.ada, days=1) == 6.0
    assert studio.hours(studio.ada, gpus_only=False) == 33
    studio.run(studio.bob, 2, 1, multi_gpu=True)
    assert studio.hours(studio.bob) == 5.0


@pytest.mark.slow
def test_a_run_of_before_accounts_had_ids_counts_by_its_name_and_others_for_nobody(studio):
    """Old runs recorded only the name; a run without an account doesn't belong to someone with the same name."""
    studio.run(None, 3, 1)
    studio.run("", 3, 2)
    assert (studio.hours(studio.ada), studio.hours("")) == (2.0, 1.0)


@pytest.mark.slow
def test_deleted_runs_and_old_folders_do_not_count(studio):
    """Folders unchanged since the window began aren't read at all."""
    gone, old = studio.run(studio.ada, 10, 8), studio.run(studio.ada, 10, 9)
    assert studio.hours(studio.ada) == 3.0
    studio.runs.delete(gone.id)
    assert studio.hours(studio.ada) == 1.0
    (old.folder / "run.json").write_text("damaged")
    for path in (old.folder / "journal.jsonl", old.folder):
        os.utime(path, (0, NOW - 40 * DAY_S))
    assert studio.hours(studio.bob) == 0.0


@pytest.mark.slow
def test_a_run_that_was_idle_for_longer_than_the_window_counts_again_within_a_minute(studio):
    """Its folder's times aren't checked at each measurement."""
    run = studio.run(studio.ada, 41 * 24, None)
    for path in (run.folder / "journal.jsonl", run.folder):
        os.utime(path, (0, NOW - 40 * DAY_S))
    assert studio.hours(studio.ada) == 0.0
    run.journal.append(RunEnded(at=NOW, reason="completed"))
    studio.now += TOUCHED_KEPT_S
    assert studio.hours(studio.ada) == pytest.approx(24.0 * QUOTA_DAYS, abs=0.1)


@pytest.mark.slow
def test_disk_is_that_of_runs_what_they_wrote_datasets_and_uploads(studio):
    """Files with several names count once, and other people's files don't."""
    run = studio.run(studio.ada, 10, None)
    model = studio.folder / "model.safetensors"
    model.write_bytes(b"m" * 50_000)
    (run.folder / "files").mkdir()
    os.link(model, run.folder / "files" / "model.safetensors")
    run.journal.append(ModelSaved(path=str(model), final=True, global_step=1, bytes=50_000))
    (studio.datasets / "cats").mkdir(parents=True)
    (studio.datasets / "cats" / "a.png").write_bytes(b"a" * 20_000)
    before = studio.usage.disk_bytes(studio.ada)
    assert 50_000 < before < 90_000, "the model counts once"
    (studio.datasets / "cats" / ".created_by.json").write_text(f'{{"name": "Ada", "account": "{studio.ada}"}}')
    studio.pending = {studio.ada: 7}
    studio.usage.note_bytes(studio.ada, 5)
    assert studio.usage.disk_bytes(studio.ada) == before + 12
    studio.now += DISK_KEPT_S
    assert 20_000 < studio.usage.disk_bytes(studio.ada) - before - 7 < 20_200
    assert studio.usage.disk_bytes(studio.bob) == 0


@pytest.mark.slow
def test_a_quota_that_is_used_up_reports_what_is_used_and_what_to_do(studio):
    """Only the person with the quota is limited; the message has the usage and the limit."""
    studio.run(studio.ada, 10, 8)
    studio.run(studio.bob, 10, 8)
    accounts = studio.people.accounts
    studio.quotas.require(studio.ada)
    accounts.change(studio.ada, {"gpu_hours": 2.5})
    studio.quotas.require(studio.ada)
    accounts.change(studio.ada, {"gpu_hours": 1.5})
    with pytest.raises(QuotaError, match="used up") as error:
        studio.quotas.require(studio.ada)
    assert error.value.message == "The quota of Ada is used up: 2.0 of 1.5 GPU hours in the last 30 days."
    assert "ask an owner" in error.value.suggestion
    studio.quotas.require(studio.ada, 1000)
    studio.quotas.require(studio.bob)
    studio.quotas.require("")
    report = studio.quotas.report(accounts.get(studio.ada))
    assert (report["gpu_hours"], report["days"], report["exceeded"]) == (2.0, 30, str(error.value.message))
    assert report["disk_bytes"] > 0


def test_an_upload_has_to_fit_into_the_disk_quota(studio):
    """The quota is exact to the byte; without space, runs don't start either."""
    studio.pending = {studio.ada: 600}
    studio.people.accounts.change(studio.ada, {"disk_bytes": 1000})
    studio.quotas.require(studio.ada, 400)
    with pytest.raises(QuotaError, match="too small"):
        studio.quotas.require(studio.ada, 401)
    studio.quotas.require(studio.ada)
    studio.pending = {studio.ada: 1000}
    for more in (0, 1):
        with pytest.raises(QuotaError, match="used up"):
            studio.quotas.require(studio.ada, more)


def test_which_quota_is_used_up_does_not_depend_on_the_name_of_the_account(studio):
    studio.pending = {studio.ada: 1000}
    studio.people.accounts.change(studio.ada, {"name": "GPU hours", "disk_bytes": 1000})
    with pytest.raises(QuotaError) as error:
        studio.quotas.require(studio.ada)
    assert error.value.path == "disk_bytes"


@pytest.mark.slow
def test_whoever_trains_over_the_quota_is_notified_and_nothing_else_happens(studio):
    """There is one notification per run, and none for people within their quota."""
    run, other = studio.run(studio.ada, 3, None), studio.run(studio.bob, 3, None)
    studio.people.accounts.change(studio.ada, {"gpu_hours": 1})
    studio.people.accounts.change(studio.bob, {"gpu_hours": 100})
    studio.quotas.look([run, other])
    studio.quotas.look([run, other])
    assert [(each.kind, each.run_id) for each in studio.notified] == [("quota", run.id)]
    assert "Ada" in studio.notified[0].text
    assert LOOK_EVERY_S >= 1
    assert not run.ended()


def act(account: str, call):
    """Call a function as Ada, whose account has this ID."""

    def work():
        act_as(Identity(Role.OPERATOR, Kind.ACCOUNT, "Ada", account))
        return call()

    return copy_context().run(work)


@pytest.mark.slow
def test_the_start_and_the_queue_keep_to_the_quota_and_a_run_that_trains_continues(make_service: MakeService, tmp_path: Path):
    """Waiting runs start by themselves when there is room again; each run records its account."""
    service = make_service()
    ada = service.people.accounts.add("Ada", Role.OPERATOR, subject="a").id
    config, options = small_config(tmp_path), RunOptions(name="one", tags=("steps=100000", "step_s=0.01"))
    run = service.runs.get(act(ada, lambda: service.start(config, options)))
    assert (run.record.started_by, run.options().account) == ("Ada", ada)
    service.wait_for(lambda state: state["update_step"] > 0, PATIENCE_S)
    queued = act(ada, lambda: service.enqueue(config, RunOptions(name="two", tags=("steps=3",))))["id"]
    service.people.accounts.change(ada, {"disk_bytes": 1})
    with pytest.raises(QuotaError):
        act(ada, lambda: service.start(config, options))
    with pytest.raises(QuotaError):
        act(ada, lambda: service.enqueue(config, options))
    service.dispatcher.wake()
    limit = time.monotonic() + PATIENCE_S
    while (service.queue.get(queued)["wait"] or {}).get("code") != "quota":
        assert time.monotonic() < limit
        time.sleep(0.05)
    service.quotas.look([run])
    assert service.get_state()["is_training"], "a quota ends no run"
    service.stop_training()
    service.wait_for(ended, PATIENCE_S)
    assert service.queue.get(queued)["state"] == "waiting"
    service.people.accounts.change(ada, {"disk_bytes": None})
    while service.queue.get(queued)["state"] != "completed":
        assert time.monotonic() < limit + PATIENCE_S
        time.sleep(0.05)
    second = service.runs.get(service.queue.get(queued)["run_id"])
    assert (second.record.started_by, second.options().account) == ("Ada", ada)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_queue_starts_the_run_of_who_used_less_also_after_a_restart(make_service: MakeService, tmp_path: Path):
    """Ada's run was added first, and she used two hours before; the next panel has the setting and measures the same."""
    service = make_service()
    accounts = service.people.accounts
    ada, bob = (accounts.add(name, Role.OPERATOR, subject=name).id for name in ("Ada", "Bob"))
    config, now = small_config(tmp_path), time.time()
    record = RunRecord(service.runs.new_id(now - 3 * HOUR), "before", now, "", str(tmp_path), {"account": ada})
    before = service.runs.create(config, record)
    before.journal.append(RunStarted(at=now - 3 * HOUR, backend="", pid=1))
    before.journal.append(RunEnded(at=now - HOUR, reason="completed"))
    service.queue.pause()
    service.queue.set_fair_share(7)
    ids = [act(who, lambda: service.enqueue(config, RunOptions(tags=("steps=3",))))["id"] for who in (ada, ada, bob)]
    service.close()
    service = make_service()
    assert [item["id"] for item in service.queue.list()["items"]] == [ids[2], ids[0], ids[1]]
    service.queue.resume()
    limit = time.monotonic() + 3 * PATIENCE_S
    while any(service.queue.get(each)["state"] != "completed" for each in ids):
        assert time.monotonic() < limit
        time.sleep(0.05)
    started = [service.runs.get(service.queue.get(each)["run_id"]).record.created_at for each in ids]
    assert started[2] < started[0] < started[1]
