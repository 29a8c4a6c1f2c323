"""A panel notifies once of each end, stall, pause, crash and full disk, with the cause and the newest sample."""

from __future__ import annotations

import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.events import ErrorInfo, PhaseChanged, RunEnded, RunPlanned, RunStarted, SampleGenerated, StepDone
from onetrainer_gradio.service.host.secret_store import SecretStore
from onetrainer_gradio.service.notifications.center import Notifications
from onetrainer_gradio.service.notifications.delivery import Outcome
from onetrainer_gradio.service.runs.feed import Feed
from onetrainer_gradio.service.runs.record import Run, RunRecord, RunStore
from onetrainer_gradio.service.runs.recorder import Recorder
from tests.fakes.configs import small_config


class Panel:
    """A data folder with runs, and the notifications of successive panels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[dict[str, Any]] = []
        self.fed: list[dict[str, Any]] = []
        self.feed = Feed()
        self.feed.subscribe(lambda message: self.fed.append(message) if message["type"] == "notification" else None)
        self.restart()

    def restart(self, **more: Any) -> None:
        self.runs = RunStore(self.folder / "runs")
        self.center = Notifications(
            self.folder, self.runs, self.feed, SecretStore(self.folder / "secrets.json"), send=self.send, environment={}, **more
        )
        if self.center._history.after_run is None:
            self.center._begin()

    def send(self, request: dict[str, Any]) -> Outcome:
        self.sent.append(request)
        return Outcome(ok=True, service="JSON")

    def run(self, name: str = "cat", steps: int = 3, loss: float = 0.5) -> tuple[Run, Recorder]:
        config = small_config(self.folder / "material")
        record = RunRecord(
            id=self.runs.new_id(),
            name=name,
            created_at=time.time(),
            backend="builtin",
            workspace=str(self.folder),
            options=RunOptions(name=name).model_dump(mode="json"),
        )
        run = self.runs.create(config, record)
        recorder = Recorder(run.folder)
        recorder(RunStarted(backend="builtin", pid=1))
        recorder(
            RunPlanned(
                total_steps=10,
                steps_per_epoch=10,
                total_updates=10,
                epochs=1,
                first_step=0,
                images=1,
                trainable_parameters=1,
                learning_rates=("unet",),
            )
        )
        recorder(PhaseChanged(phase="training"))
        for step in range(1, steps + 1):
            self.step(recorder, step, loss)
        return run, recorder

    def step(self, recorder: Recorder, step: int, loss: float = 0.5) -> None:
        recorder(
            StepDone(
                update_step=step,
                global_step=step,
                epoch=0,
                epoch_step=step,
                epoch_sample=step,
                loss=loss,
                smooth_loss=loss,
                grad_norm=None,
                learning_rates=(1e-4,),
                seconds=1.0,
                images=1,
            )
        )
        recorder.flush()

    def listed(self) -> list[dict[str, Any]]:
        return self.center.page(50)["notifications"]

    def kinds(self) -> list[str]:
        return [each["kind"] for each in self.listed()]


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Panel:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100e9, 50e9, 50e9))
    return Panel(tmp_path)


def end(recorder: Recorder, reason: str, error: ErrorInfo | None = None) -> None:
    recorder(RunEnded(reason=reason, error=error))  # type: ignore[arg-type]
    recorder.close()


@pytest.mark.slow
def test_a_finished_run_is_reported_once_with_steps_loss_and_sample(panel: Panel) -> None:
    run, recorder = panel.run()
    recorder(
        SampleGenerated(
            path=str(panel.folder / "cat.png"),
            kind="default",
            index=0,
            prompt="a cat",
            negative_prompt="",
            width=8,
            height=8,
            seed=1,
            diffusion_steps=1,
            cfg_scale=1.0,
            noise_scheduler="DDIM",
            global_step=3,
            epoch=0,
            epoch_step=3,
            seconds=1.0,
        )
    )
    assert panel.center.look()
    assert panel.listed() == []
    end(recorder, "completed")
    assert not panel.center.look()
    panel.center.look()
    [listed] = panel.listed()
    assert (listed["kind"], listed["level"], listed["run_id"], listed["show"]) == ("finished", "success", run.id, True)
    assert listed["title"] == "Run “cat” finished"
    assert listed["text"].startswith("Step 3 of 10")
    assert "Smooth loss: 0.5." in listed["text"]
    assert listed["thumbnail"] == f"/api/samples/{run.id}.4/thumbnail"
    assert str(panel.folder) not in str(listed)
    assert [message["notification"]["id"] for message in panel.fed] == [listed["id"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "error", "kind", "words"),
    [
        (
            "failed",
            ErrorInfo(type="OutOfMemoryError", message="Out of GPU memory.", suggestion="Lower it."),
            "failed",
            "Lower it.",
        ),
        ("lost", ErrorInfo(type="WorkerDiedError", message="The machine was turned off."), "failed", "turned off"),
        ("failed", ErrorInfo(type="NonFiniteLossError", message="The loss is NaN."), "loss_not_finite", "NaN"),
        ("stopped", None, "stopped", "Step 3"),
    ],
)
def test_an_end_is_reported_with_its_cause(panel: Panel, reason: str, error: ErrorInfo | None, kind: str, words: str) -> None:
    _, recorder = panel.run()
    end(recorder, reason, error)
    panel.center.look()
    [listed] = panel.listed()
    assert listed["kind"] == kind
    assert words in listed["text"]


@pytest.mark.slow
def test_what_follows_an_end_is_part_of_it(panel: Panel) -> None:
    panel.restart(follow_up=lambda run: f"{run.record.name} resumes at 03:12, attempt 2 of 3.")
    _, recorder = panel.run()
    end(recorder, "failed", ErrorInfo(type="OutOfMemoryError", message="Out of GPU memory."))
    panel.center.look()
    assert "cat resumes at 03:12, attempt 2 of 3." in panel.listed()[0]["text"]


@pytest.mark.slow
def test_nothing_is_reported_twice_by_the_next_panel_and_nothing_is_missed(panel: Panel) -> None:
    _, first = panel.run("first")
    _, second = panel.run("second")
    end(first, "completed")
    panel.center.look()
    end(second, "failed")  # while no panel is running
    panel.restart()
    panel.center.look()
    panel.restart()
    panel.center.look()
    assert [each["title"] for each in panel.listed()] == ["Run “second” failed", "Run “first” finished"]


@pytest.mark.slow
def test_runs_that_ended_before_the_first_notification_are_no_news(panel: Panel) -> None:
    """After an upgrade, old runs send no messages; a run that is still training is reported."""
    _, old = panel.run("old")
    end(old, "completed")
    _, training = panel.run("training")
    (panel.folder / "notifications.json").unlink()
    panel.restart()
    panel.center.look()
    end(training, "completed")
    panel.center.look()
    assert [each["title"] for each in panel.listed()] == ["Run “training” finished"]


def test_a_run_that_was_removed_from_the_queue_is_no_news(panel: Panel) -> None:
    record = RunRecord(id=panel.runs.new_id(), name="queued", created_at=time.time(), backend="builtin", workspace="")
    run = panel.runs.create(small_config(panel.folder / "material"), record)
    run.record_end(RunEnded(reason="stopped"))
    panel.center.look()
    assert panel.listed() == []


def test_a_run_that_was_made_elsewhere_is_no_news(panel: Panel) -> None:
    """Importing the runs of a workspace sends nothing, however many there are."""
    imported = {"source": "x", "workspace": "x"}
    record = RunRecord(id=panel.runs.new_id(), name="old", created_at=1.0, backend="onetrainer", workspace="", imported=imported)
    run = panel.runs.create(small_config(panel.folder / "material"), record)
    run.record_end(RunEnded(reason="completed"))
    panel.center.look()
    assert panel.listed() == []


def look_for(panel: Panel, seconds: float) -> None:
    """Check every 5 seconds for this long, by the panel's own clock."""
    for _ in range(int(seconds / 5)):
        panel.center._looked_at -= 5.0
        panel.center.look()


@pytest.mark.slow
def test_a_stalled_run_is_reported_once_for_each_stall(panel: Panel) -> None:
    run, recorder = panel.run()
    look_for(panel, 100)
    assert panel.kinds() == []
    look_for(panel, 60)  # 120 seconds without a step, when one second is typical
    assert panel.kinds() == ["stalled"]
    panel.restart()
    look_for(panel, 200)
    assert panel.kinds() == ["stalled"]
    panel.step(recorder, 4)
    look_for(panel, 200)
    assert panel.kinds() == ["stalled", "stalled"]
    assert "step 4 of 10" in panel.listed()[0]["text"]
    assert not run.ended()


@pytest.mark.slow
def test_a_run_that_stays_paused_waits_for_someone(panel: Panel) -> None:
    panel.center.change_settings({"paused_s": 60})
    _, recorder = panel.run()
    recorder(PhaseChanged(phase="paused"))
    look_for(panel, 90)
    assert panel.kinds() == ["waiting"]
    assert "Resume or stop it" in panel.listed()[0]["text"]


def test_a_loss_that_is_not_finite_is_reported_while_the_run_continues(panel: Panel) -> None:
    panel.run(loss=float("nan"))
    panel.center.look()
    panel.center.look()
    panel.center.look()
    assert panel.kinds() == ["loss_not_finite"]


def test_a_run_that_ends_for_its_loss_is_reported_once(panel: Panel) -> None:
    _, recorder = panel.run(loss=float("inf"))
    panel.center.look()
    end(recorder, "failed", ErrorInfo(type="NonFiniteLossError", message="The loss is infinite."))
    panel.center.look()
    assert panel.kinds() == ["loss_not_finite"]


def test_a_disk_is_reported_when_it_fills_up_again_only(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")

    def free(gigabytes: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100e9, 0, gigabytes * 1e9))
        panel.center.look()

    for gigabytes in (11, 9, 8, 10.5, 9):
        free(gigabytes)
    assert panel.kinds() == ["disk_low"]
    panel.restart()
    free(9)
    assert panel.kinds() == ["disk_low"]
    free(13)
    free(9)
    assert panel.kinds() == ["disk_low", "disk_low"]
    panel.center.change_settings({"disk_free_gb": 0})
    free(0)
    assert panel.kinds() == ["disk_low", "disk_low"]


@pytest.mark.slow
def test_each_channel_gets_the_kinds_that_were_chosen(panel: Panel) -> None:
    failures = panel.center.add_channel("json://a", {"kinds": ["failed"], "label": "Failures"})
    panel.center.add_channel("json://b", {"kinds": ["finished"], "sample": False})
    panel.center.add_channel("json://c", {"on": False})
    _, recorder = panel.run()
    end(recorder, "failed")
    panel.center.look()
    assert [(each["channel"], each["label"]) for each in panel.listed()[0]["deliveries"]] == [(failures["id"], "Failures")]


def test_a_test_reaches_the_channel_and_leaves_no_entry(panel: Panel) -> None:
    channel = panel.center.add_channel("json://a", {})
    panel.sent.clear()
    assert panel.center.test_channel(channel["id"]).ok
    assert panel.sent[0]["address"] == "json://a"
    assert panel.listed() == []


def test_settings_never_hold_an_address(panel: Panel) -> None:
    panel.center.add_channel("json://someone:hunter2secret@host/key", {})
    shown = panel.center.settings()
    assert "hunter2" not in str(shown)
    assert [each["address"] for each in shown["channels"]] == ["••••••••"]
    assert {each["kind"] for each in shown["all_kinds"]} >= {"finished", "failed", "stalled", "waiting", "disk_low"}


def wait_until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


@pytest.mark.slow
def test_the_threads_report_an_end_when_the_feed_does(panel: Panel) -> None:
    """They don't wait for the next check, and they don't count as a viewer."""
    panel.center.add_channel("json://a", {})
    panel.restart(look_every_s=60.0)
    panel.feed = Feed()
    panel.restart(look_every_s=60.0)
    run, recorder = panel.run()
    panel.center.open()
    try:
        assert not panel.feed.watched
        wait_until(lambda: panel.center._stalls)
        end(recorder, "completed")
        panel.feed.publish("event", run_id=run.id, event={"type": "run_ended"})
        wait_until(lambda: panel.listed() and panel.listed()[0]["deliveries"][0]["state"] == "sent")
    finally:
        panel.center.close()
        panel.center.close()
