"""Runs in separate processes survive failures of panel, supervisor and worker, or report them.

Uses real processes and signals. Covers ``service/processes/run_handle.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.commands import BackupNow, Stop
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.errors import CommandRefusedError, RunConflictError, StorageError
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.processes import run_handle
from onetrainer_gradio.service.runs import run_folder
from onetrainer_gradio.service.runs.control import CommandFolder
from onetrainer_gradio.service.runs.ending import recorded_end
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.trainer import TrainerService
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, MakeService, ended

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="speaks of Unix signals")]

LONG = "steps=100000"
QUICK_TIMEOUTS = {"finish_step_s": 0.3, "interrupt_s": 0.3, "terminate_s": 0.3}


def start(service: TrainerService, folder: Path, *tags: str, **options: Any) -> Run:
    run_id = service.start(small_config(folder), RunOptions(name="run", tags=tags, **options))
    return service.runs.get(run_id)


def training(state: dict[str, Any]) -> bool:
    return bool(state["update_step"] > 0)


def stuck(state: dict[str, Any]) -> bool:
    """Return whether a run that hangs after its third step has got there; before that, a stop would reach it."""
    return bool(state["update_step"] == 3)


def wait_until(done: Callable[[], Any], timeout_s: float = PATIENCE_S) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)


def pid(run: Run, role: str) -> int:
    identity = ProcessIdentity.from_dict(read_json(run.folder / f"{role}.json"))
    assert identity is not None
    assert identity.alive()
    return identity.pid


def bodies(run: Run, kind: str = "") -> list[dict[str, Any]]:
    return [entry.body for entry in run.journal.since(0, 100_000) if not kind or entry.body["type"] == kind]


def whole(run: Run) -> None:
    """Check that the journal has no gaps and ends with the only RunEnded, and that every step is present."""
    entries = run.journal.since(0, 100_000)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.body["type"] for entry in entries].index("run_ended") == len(entries) - 1
    steps = run.metrics.rows()[:, 0].tolist() if run.metrics.count() else []
    assert steps == list(range(1, len(steps) + 1))


def gone(run: Run) -> bool:
    identities = [ProcessIdentity.from_dict(read_json(run.folder / f"{role}.json")) for role in ("supervisor", "worker")]
    return not any(identity and identity.alive() for identity in identities)


def test_a_run_goes_its_way_in_a_process_of_its_own(make_service: MakeService, tmp_path: Path) -> None:
    """It is started, controlled, followed and ended from outside; console, record and exit are kept."""
    service = make_service(in_process=False)
    lines: list[str] = []
    service.feed.subscribe(lambda message: lines.extend(message["lines"]) if message["type"] == "log" else None)
    run = start(service, tmp_path, LONG, "step_s=0.01", "print=1", "write_s=0.5")
    service.wait_for(training, PATIENCE_S)
    worker = pid(run, "worker")
    assert worker != os.getpid()
    assert os.getpgid(worker) == worker
    assert os.readlink(f"/proc/{worker}/cwd") == str(tmp_path / "data") if sys.platform == "linux" else True
    assert {row["role"] for row in service.system.processes()} == {"panel", "supervisor", "worker"}
    answer = service.answer(service.sample_custom({"prompt": "a star"}), PATIENCE_S)
    assert answer is not None
    assert answer["outcome"] == "done"
    assert service.samples.latest()[0]["prompt"] == "a star"
    stop = service.stop_training()
    assert service.get_state()["status"] == "stopping"
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["status"], state["error"]) == ("stopped", "completed", None)
    assert service.answer(stop) is not None
    whole(run)
    assert gone(run)
    assert read_json(run.folder / "exit.json")["exit_code"] == 0
    assert "step 1" in lines
    assert "step 1\n" in run.log(0)["text"]
    assert bodies(run, "backup_created")
    assert Path(state["final_model"]).exists()


PANEL = """
import sys, time
from pathlib import Path
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service import ServiceSettings, TrainerService
from tests.fakes.configs import small_config

folder = Path(sys.argv[1])
service = TrainerService(ServiceSettings(data_folder=folder / "data", backend="tests.fakes.rehearsal:run"))
service.open()
run_id = service.start(small_config(folder), RunOptions(name="run", tags=tuple(sys.argv[2:])))
service.wait_for(lambda state: state["update_step"] > 0, 30)
print(run_id, flush=True)
time.sleep(600)
"""


def panel_that_is_killed(folder: Path, *tags: str) -> str:
    """Start a run in another panel and kill that panel while it trains."""
    command = [sys.executable, "-c", PANEL, str(folder), *tags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as panel:
        assert panel.stdout is not None
        run_id = panel.stdout.readline().strip()
        panel.kill()
    return run_id


def test_a_killed_panel_loses_nothing(make_service: MakeService, tmp_path: Path) -> None:
    """The run continues; the next panel follows it without a gap and can stop it; the one after finds it finished."""
    run_id = panel_that_is_killed(tmp_path, LONG, "step_s=0.005", "sample_every=50")
    second = make_service(in_process=False)
    run = second.runs.get(run_id)
    state = second.get_state()
    assert (state["run_id"], state["status"], state["is_training"]) == (run_id, "running", True)
    seen = state["update_step"]
    second.wait_for(lambda state: state["update_step"] > seen + 50, PATIENCE_S)
    with pytest.raises(RunConflictError, match="run"):
        second.start(small_config(tmp_path))
    answer = second.answer(second.backup(), PATIENCE_S)
    assert answer is not None
    assert answer["outcome"] == "done"
    second.stop_training()
    state = second.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "stopped"
    whole(run)
    second.close()
    third = make_service(in_process=False)
    assert third.get_state()["end_reason"] == "stopped"
    assert third.runs.list()[0]["global_step"] == state["progress"]["global_step"]


@pytest.mark.exhaustive
def test_a_run_that_ends_without_a_panel_is_found_ended(make_service: MakeService, tmp_path: Path) -> None:
    """The journal has the end and its cause when the next panel starts."""
    run_id = panel_that_is_killed(tmp_path, LONG, "hold=20", "signal_at=30:SIGSEGV")
    folder = tmp_path / "data" / "runs" / run_id
    (tmp_path / "workspace").mkdir(exist_ok=True)
    (tmp_path / "workspace" / "go").touch()
    wait_until(lambda: gone(Run(folder)))
    service = make_service(in_process=False)
    state = service.get_state()
    assert (state["run_id"], state["status"], state["end_signal"]) == (run_id, "error", "SIGSEGV")
    whole(service.runs.get(run_id))


@pytest.mark.parametrize(
    ("tag", "reason", "kind", "words"),
    [
        ("fail_at=5", "failed", "OutOfMemoryError", "The graphics memory is used up"),
        ("exit_at=5", "failed", "WorkerDiedError", "exited with code 3"),
        ("signal_at=5:SIGKILL", "failed", "WorkerDiedError", "SIGKILL"),
        ("signal_at=5:SIGSEGV", "failed", "WorkerDiedError", "segmentation fault"),
    ],
)
def test_a_death_is_named_everywhere(
    make_service: MakeService, tmp_path: Path, tag: str, reason: str, kind: str, words: str
) -> None:
    """The actual cause is in the state, in the journal, and in what the viewers receive."""
    service = make_service(in_process=False)
    messages: list[dict[str, Any]] = []
    service.feed.subscribe(messages.append)
    run = start(service, tmp_path, LONG, tag)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["status"], state["end_reason"], state["error_info"]["type"]) == ("error", reason, kind)
    assert words in state["error"]
    whole(run)
    assert bodies(run)[-1]["error"]["type"] == kind
    wait_until(lambda: messages[-1]["type"] == "training_state" or messages[-1]["type"] == "system")
    assert [message["error"] for message in messages if message["type"] == "training_state"][-1] == state["error"]
    if kind not in ("WorkerDiedError",):
        assert "Traceback" in run.log(0)["text"]


def test_a_hanging_run_is_interrupted(make_service: MakeService, tmp_path: Path) -> None:
    """A backend that takes no command ends at the second stage, as stopped."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "hang_at=3", **QUICK_TIMEOUTS)
    service.wait_for(stuck, PATIENCE_S)
    stop = service.stop_training()
    stage = service.wait_for(lambda state: state["stop"] and state["stop"]["deadline"], PATIENCE_S)["stop"]
    assert stage["stage"] in ("finish_step", "interrupt")
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["end_signal"]) == ("stopped", "SIGINT")
    answer = service.answer(stop)
    assert answer is not None
    assert answer["outcome"] == "done"
    assert [body["stage"] for body in bodies(run, "stop_escalated")] == ["finish_step", "interrupt"]
    whole(run)


@pytest.mark.exhaustive
def test_a_run_that_hears_nothing_is_terminated(make_service: MakeService, tmp_path: Path) -> None:
    """A process that ignores the interrupt ends at the third stage; Stop now skips the first."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "deaf_at=3", **QUICK_TIMEOUTS)
    service.wait_for(stuck, PATIENCE_S)
    service.stop_training(now=True)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["end_signal"]) == ("stopped", "SIGTERM")
    assert [body["stage"] for body in bodies(run, "stop_escalated")] == ["interrupt", "terminate"]
    whole(run)


@pytest.mark.exhaustive
def test_a_frozen_process_is_killed_by_a_panel_of_nobody(make_service: MakeService, tmp_path: Path) -> None:
    """A stopped process reacts only to the last signal; the supervisor sends it without a panel."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "step_s=0.01", **QUICK_TIMEOUTS)
    service.wait_for(training, PATIENCE_S)
    os.kill(pid(run, "worker"), signal.SIGSTOP)
    service.stop_training()
    service.close()
    wait_until(lambda: gone(run))
    assert bodies(run)[-1]["signal"] == "SIGKILL"
    assert bodies(run)[-1]["reason"] == "stopped"
    whole(run)


@pytest.mark.exhaustive
def test_a_stop_during_loading_ends_at_once(make_service: MakeService, tmp_path: Path) -> None:
    """Stop works before the first step, and nothing is saved."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "load_s=60")
    service.wait_for(lambda state: state["phase"] == "loading" and state["phase_done"], PATIENCE_S)
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["final_model"], state["update_step"]) == ("stopped", None, 0)
    whole(run)


def test_a_killed_supervisor_is_replaced_by_the_panel(make_service: MakeService, tmp_path: Path) -> None:
    """Without its supervisor the run continues, can be controlled, and a stop escalates as far as needed."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "step_s=0.002", "deaf_at=200", **QUICK_TIMEOUTS)
    service.wait_for(training, PATIENCE_S)
    os.kill(pid(run, "supervisor"), signal.SIGKILL)
    answer = service.answer(service.sample_default(), PATIENCE_S)
    assert answer is not None
    assert answer["outcome"] == "done"
    service.wait_for(lambda state: state["update_step"] == 200, PATIENCE_S)
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "stopped"
    assert [body["stage"] for body in bodies(run, "stop_escalated")][-1] == "terminate"
    whole(run)
    assert gone(run)


@pytest.mark.exhaustive
def test_a_run_whose_processes_were_all_killed_is_lost(make_service: MakeService, tmp_path: Path) -> None:
    """If no process saw the death, the run is marked as crashed with that reason; its commands are answered."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "hang_at=3")
    service.wait_for(stuck, PATIENCE_S)
    command = service.backup()
    os.kill(pid(run, "supervisor"), signal.SIGKILL)
    os.kill(pid(run, "worker"), signal.SIGKILL)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["status"], state["end_reason"]) == ("error", "lost")
    answer = service.answer(command)
    assert answer is not None
    assert answer["outcome"] == "refused"
    whole(run)


def test_a_power_cut_is_distinguished_from_a_kill(make_service: MakeService, tmp_path: Path) -> None:
    """A reboot in the meantime is the reported cause; the truncated last line does no harm."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, "steps=5", "step_s=0")
    service.wait_for(ended, PATIENCE_S)
    service.close()
    for role in ("supervisor", "worker"):
        identity = read_json(run.folder / f"{role}.json")
        write_json(run.folder / f"{role}.json", {**identity, "boot": "another boot"})
    journal = run.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    for name in ("exit.json", "summary.json"):  # written once a run has ended
        (run.folder / name).unlink()
    again = make_service(in_process=False)
    state = again.get_state()
    assert (state["end_reason"], state["is_training"]) == ("lost", False)
    assert "power" in state["error"]
    assert again.get_state()["can"]["start"]


@pytest.mark.exhaustive
def test_a_completed_run_stays_completed_whatever_became_of_its_journal(make_service: MakeService, tmp_path: Path) -> None:
    """exit.json records how a run ended: a truncated or missing journal doesn't change that."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, "steps=5", "step_s=0")
    service.wait_for(ended, PATIENCE_S)
    service.close()
    (run.folder / "summary.json").unlink()
    whole_journal = (run.folder / "journal.jsonl").read_bytes()
    end = bodies(run)[-1]
    cuts = [*range(0, len(whole_journal) - 1, 97), *range(len(whole_journal) - 150, len(whole_journal) - 1, 7)]
    for number, cut in enumerate([None, *cuts]):
        data = tmp_path / f"torn{number}"
        shutil.copytree(run.folder, data / "runs" / run.id)
        journal = data / "runs" / run.id / "journal.jsonl"
        journal.unlink() if cut is None else journal.write_bytes(whole_journal[:cut])
        with TrainerService(replace(service.settings, data_folder=data)) as again:
            state = again.get_state()
            assert (state["end_reason"], state["error"], state["ended_at"]) == ("completed", None, end["at"]), cut
            assert state["progress"]["global_step"] == 5
            line = again.runs.list()[0]
            assert (line["status"], line["active"]) == ("completed", False)
        assert bodies(Run(data / "runs" / run.id))[-1] == end


@pytest.mark.parametrize(
    ("note", "stops", "reason", "words"),
    [
        ({"exit_code": 0, "signal": "", "rung": None, "at": 5.0}, 0, "completed", ""),
        ({"exit_code": 0, "signal": "", "rung": "finish_step", "at": 5.0}, 1, "stopped", ""),
        ({"exit_code": None, "signal": "SIGKILL", "rung": "kill", "at": 5.0}, 1, "stopped", ""),
        ({"exit_code": None, "signal": "SIGSEGV", "rung": None, "at": 5.0}, 0, "failed", "segmentation fault"),
        ({"exit_code": 3, "signal": "", "rung": None, "at": 5.0}, 0, "failed", "exited with code 3"),
        ({"exit_code": None, "signal": "SIGKILL", "stage": "kill", "at": 5.0}, 1, "stopped", ""),
    ],
)
def test_an_exit_note_of_an_earlier_version_counts(
    tmp_path: Path, note: dict[str, Any], stops: int, reason: str, words: str
) -> None:
    """exit.json used to have only the exit code and the signal: both show how the run ended."""
    CommandFolder(tmp_path).create()
    for _ in range(stops):
        CommandFolder(tmp_path).send(Stop())
    write_json(tmp_path / "exit.json", note)
    end = recorded_end(tmp_path)
    assert end is not None
    assert end.reason == reason
    assert words in (end.error.message if end.error else "")


@pytest.mark.exhaustive
def test_a_worker_killed_between_taking_and_answering_leaves_no_command_unanswered(
    make_service: MakeService, tmp_path: Path
) -> None:
    """A command runs at most once and is always answered, whenever the worker dies."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "hold=5", "eat_die=1")
    service.wait_for(lambda state: state["update_step"] == 5, PATIENCE_S)
    commands = [service.backup() for _ in range(3)]
    service.wait_for(ended, PATIENCE_S)
    answers = bodies(run, "command_completed")
    assert sorted(body["command_id"] for body in answers) == sorted(commands)
    assert {body["outcome"] for body in answers} == {"refused"}
    whole(run)


@pytest.mark.exhaustive
def test_commands_that_the_backend_swallows_are_answered_at_the_end(make_service: MakeService, tmp_path: Path) -> None:
    """If a backend forgets an answer, the client doesn't wait forever."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, "steps=60", "step_s=0.01", "hold=5", "eat=1")
    service.wait_for(lambda state: state["update_step"] == 5, PATIENCE_S)
    command = service.save()
    (tmp_path / "workspace").mkdir(exist_ok=True)
    (tmp_path / "workspace" / "go").touch()
    service.wait_for(ended, PATIENCE_S)
    assert [(body["command_id"], body["outcome"]) for body in bodies(run, "command_completed")] == [(command, "refused")]
    with pytest.raises(CommandRefusedError):
        service.save()


@pytest.mark.exhaustive
def test_a_command_of_a_foreign_hand_is_executed(make_service: MakeService, tmp_path: Path) -> None:
    """Any program that may write into the run folder can send commands; a script needs no panel."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "step_s=0.01")
    service.wait_for(training, PATIENCE_S)
    command = BackupNow(by="a script")
    CommandFolder(run.folder).send(command)
    answer = service.answer(command.id, PATIENCE_S)
    assert answer is not None
    assert answer["outcome"] == "done"


@pytest.mark.exhaustive
def test_the_next_run_waits_until_the_process_of_the_last_is_gone(make_service: MakeService, tmp_path: Path) -> None:
    """A run started while another one is stopping is queued, is shown as queued,
    and starts when the other's processes have exited.
    """
    service = make_service(in_process=False)
    first = start(service, tmp_path, LONG, "step_s=0.005", "linger_s=1")
    service.wait_for(training, PATIENCE_S)
    service.stop_training()
    second = start(service, tmp_path, "steps=5")
    assert second.state()["phase"] == "queued"
    assert service.get_state()["queued_run_id"] == second.id
    with pytest.raises(RunConflictError):
        start(service, tmp_path, "steps=5")
    assert service.get_state()["run_id"] == second.id
    service.wait_for(lambda state: state["phase"] != "queued", PATIENCE_S)
    assert gone(first)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["run_id"], state["end_reason"]) == (second.id, "completed")
    whole(first)
    whole(second)


@pytest.mark.exhaustive
def test_a_worker_that_will_not_leave_is_removed(
    make_service: MakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's thread that never ends doesn't hold the GPU memory forever."""
    monkeypatch.setenv("ONETRAINER_GRADIO_LINGER_S", "0.3")
    service = make_service(in_process=False)
    run = start(service, tmp_path, "steps=5", "linger_s=600")
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["error"]) == ("completed", None)
    assert gone(run)
    whole(run)


@pytest.mark.exhaustive
def test_a_token_reaches_the_worker_and_no_file(make_service: MakeService, tmp_path: Path) -> None:
    """Secrets are passed in the process environment and in one file that only the owner can read."""
    service = make_service(in_process=False)
    service.secrets.set_huggingface_token("hf_verysecret")
    run = start(service, tmp_path, LONG, "step_s=0.01")
    service.wait_for(training, PATIENCE_S)
    if sys.platform == "linux":
        environment = Path(f"/proc/{pid(run, 'worker')}/environ").read_bytes().split(b"\0")
        assert b"HF_TOKEN=hf_verysecret" in environment
    service.stop_training()
    service.wait_for(ended, PATIENCE_S)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and b"hf_verysecret" in path.read_bytes()]
    assert files == [tmp_path / "data" / "secrets.json"]
    assert files[0].stat().st_mode & 0o077 == 0
    assert "hf_verysecret" not in json.dumps(service.feed.snapshot())


@pytest.mark.exhaustive
def test_a_shutdown_that_terminates_everything_is_named(make_service: MakeService, tmp_path: Path) -> None:
    """If supervisor and worker are terminated together, the supervisor stays long enough to record the worker's end."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "step_s=0.01")
    service.wait_for(training, PATIENCE_S)
    for role in ("supervisor", "worker"):
        os.kill(pid(run, role), signal.SIGTERM)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["end_signal"]) == ("failed", "SIGTERM")
    assert "terminated from outside" in state["error"]
    whole(run)


@pytest.mark.parametrize(
    ("program", "words"), [("/no/such/python", "Can't start the training process"), ("/bin/false", "ended with code 1")]
)
def test_a_process_that_cannot_be_started_is_named(
    make_service: MakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    """A broken installation fails the run with its cause, and the panel stays ready."""
    service = make_service(in_process=False)
    monkeypatch.setattr(sys, "executable", program)
    run = start(service, tmp_path, LONG)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["error_info"]["type"], state["can"]["start"]) == ("failed", "WorkerDiedError", True)
    assert words in state["error"]
    whole(run)


@pytest.mark.exhaustive
def test_a_stop_that_the_disk_does_not_take_reaches_the_worker(make_service: MakeService, tmp_path: Path) -> None:
    """If neither note nor command can be written, as on a full disk, the process gets a signal; other commands are rejected."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "step_s=0.01")
    service.wait_for(training, PATIENCE_S)
    shutil.rmtree(run.folder / "commands")
    (run.folder / "commands").write_text("no folder")
    with pytest.raises(StorageError):
        service.backup()
    (run.folder / "stops.jsonl").mkdir()
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["status"]) == ("stopped", "completed")
    whole(run)


def deleted(folder: Path) -> None:
    wait_until(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())  # the run still writes there


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def recreated(folder: Path) -> None:
    deleted(folder)
    folder.mkdir()


@pytest.mark.exhaustive
@pytest.mark.parametrize("fate", [deleted, moved, recreated])
@pytest.mark.parametrize("in_process", [False, True], ids=["process", "thread"])
def test_a_run_whose_folder_goes_backs_up_and_ends(
    make_service: MakeService,
    tmp_path: Path,
    fate: Callable[[Path], None],
    in_process: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Training doesn't continue unseen: the run writes a backup to its workspace and ends; state and Stop report so."""
    monkeypatch.setattr(run_folder, "GONE_AFTER_S", 0.5)
    monkeypatch.setenv("ONETRAINER_GRADIO_GONE_AFTER_S", "0.5")
    service = make_service(in_process=in_process)
    run = start(service, tmp_path, LONG, "step_s=0.01", "write_s=0.5")
    service.wait_for(training, PATIENCE_S)
    identities = [] if in_process else [pid(run, role) for role in ("supervisor", "worker")]
    fate(run.folder)
    state = service.wait_for(lambda state: state["status"] in ("stopping", "error"), PATIENCE_S)
    if state["is_training"]:
        assert (state["run_id"], state["can"]["start"], state["can"]["stop"]) == (run.id, True, True)
        assert "run's folder no longer exists" in state["phase_detail"]
        service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["run_id"], state["status"], state["can"]["start"]) == (run.id, "error", True)
    assert "The run's folder was deleted or moved" in state["error"]
    assert str(tmp_path / "workspace" / "backup") in state["error"]
    assert list((tmp_path / "workspace" / "backup").iterdir())
    assert not any(
        Path(f"/proc/{number}/cmdline").exists() and b"onetrainer" in Path(f"/proc/{number}/cmdline").read_bytes()
        for number in identities
    )
    assert fate is recreated or not run.folder.exists()
    again = start(service, tmp_path, "steps=3")
    assert service.wait_for(ended, PATIENCE_S)["run_id"] == again.id


@pytest.mark.exhaustive
@pytest.mark.parametrize("both", [False, True], ids=["supervisor", "supervisor and worker"])
def test_a_frozen_supervisor_does_not_keep_a_stop_from_ending(
    make_service: MakeService, tmp_path: Path, both: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The panel completes the stop itself, ends the frozen supervisor and records the end; then the next run starts."""
    monkeypatch.setattr(run_handle, "FROZEN_S", 2.0)
    service = make_service(in_process=False)
    run = start(service, tmp_path, LONG, "step_s=0.01", **QUICK_TIMEOUTS)
    service.wait_for(training, PATIENCE_S)
    for role in ("supervisor", "worker") if both else ("supervisor",):
        os.kill(pid(run, role), signal.SIGSTOP)
    service.stop_training()
    state = service.wait_for(ended, 2 * PATIENCE_S)
    assert (state["end_reason"], state["process_running"], state["can"]["start"]) == ("stopped", False, True)
    assert gone(run)
    whole(run)
    assert read_json(run.folder / "exit.json")["end"]["reason"] == "stopped"
    start(service, tmp_path, "steps=3")
    assert service.wait_for(ended, PATIENCE_S)["end_reason"] == "completed"
