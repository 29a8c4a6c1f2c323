"""The buttons' generators, over a real service with a rehearsed run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service import TrainerService
from onetrainer_gradio.ui.actions import Actions
from tests.fakes.configs import small_config

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel

Message = dict[str, Any]


def collected(stream: AsyncIterator[Message]) -> list[Message]:
    """Return everything that a generator yields."""

    async def collect() -> list[Message]:
        async with asyncio.timeout(20):
            return [message async for message in stream]

    return asyncio.run(collect())


def texts(messages: list[Message]) -> list[str]:
    return [each["text"] for each in messages]


def rehearse(service: TrainerService, tmp_path: Path, **behavior: object) -> str:
    tags = tuple(f"{name}={value}" for name, value in behavior.items())
    return service.start(small_config(tmp_path), RunOptions(tags=tags))


def at_step(service: TrainerService, step: int) -> None:
    service.wait_for(lambda state: state["update_step"] >= step, 10)


def test_start_reports_what_happens_until_the_first_step(service: TrainerService) -> None:
    """The stream begins with the check, and ends with the first step or the end of a short run."""
    messages = collected(Actions(service).start())
    assert messages[0]["text"] == "Running the pre-flight check"
    assert [each["done"] for each in messages] == [False] * (len(messages) - 1) + [True]
    assert messages[-1]["ok"]
    assert messages[-1]["text"].startswith(("First step done, loss", "Finished after 20 steps"))
    assert messages[-1]["run_id"] == service.get_state()["run_id"]


def test_start_names_what_has_to_change(service: TrainerService, tmp_path: Path) -> None:
    """If the check finds errors, the start ends with the findings, each with its path."""
    service.configs.patch({"base_model_name": str(tmp_path / "nowhere")})
    messages = collected(Actions(service).start())
    assert messages[-1]["done"]
    assert not messages[-1]["ok"]
    assert [error["path"] for error in messages[-1]["errors"]] == ["base_model_name"]
    assert service.get_state()["status"] == "idle"


@pytest.mark.parametrize("backend", ["tests.ui.failing:run"])
def test_start_reports_why_a_run_failed_on_its_way(service: TrainerService) -> None:
    """A run that ends before its first step has the actual cause as its outcome."""
    messages = collected(Actions(service).start())
    assert not messages[-1]["ok"]
    assert messages[-1]["text"] == "Failed after 0 steps: No graphics memory is left for loading"


def test_start_is_rejected_while_a_run_is_active(service: TrainerService, tmp_path: Path) -> None:
    """Nothing is started twice; the outcome names the active run."""
    rehearse(service, tmp_path, hold=1)
    messages = collected(Actions(service).start())
    assert not messages[-1]["ok"]
    assert "still running" in messages[-1]["text"]


def test_commands_stream_their_outcome(service: TrainerService, tmp_path: Path) -> None:
    """Pause, sample, backup, save and resume each end with done when the run has answered."""
    rehearse(service, tmp_path, hold=1)
    at_step(service, 1)
    actions = Actions(service)
    outcomes: list[tuple[Callable[[], AsyncIterator[Message]], str]] = [
        (actions.pause, "Paused"),
        (actions.sample, "Samples generated"),
        (actions.backup, "Backup written"),
        (actions.save, "Model saved"),
        (actions.resume, "Resumed"),
    ]
    for action, outcome in outcomes:
        messages = collected(action())
        assert (messages[-1]["text"], messages[-1]["ok"], messages[-1]["done"]) == (outcome, True, True)
        assert [each["command_id"] for each in messages] == [messages[0]["command_id"]] * len(messages)


def test_a_command_without_a_run_is_rejected_with_the_reason(service: TrainerService) -> None:
    """Without a run there is one message with the reason."""
    assert texts(collected(Actions(service).pause())) == ["No run is active."]


def test_a_command_that_is_never_taken_ends_with_the_run(service: TrainerService, tmp_path: Path) -> None:
    """A run that ends before it answers leaves no stream open."""
    rehearse(service, tmp_path, hold=1, eat=1)
    at_step(service, 1)

    async def ask_and_end() -> list[Message]:
        stream = Actions(service).backup()
        messages = [await anext(stream)]
        (tmp_path / "workspace").mkdir(exist_ok=True)
        (tmp_path / "workspace" / "go").touch()
        async with asyncio.timeout(20):
            messages += [each async for each in stream]
        return messages

    messages = asyncio.run(ask_and_end())
    assert not messages[-1]["ok"]
    assert messages[-1]["done"]


def test_stop_streams_the_escalation_and_the_end(service: TrainerService, tmp_path: Path) -> None:
    """Stop shows its current stage and, at the end, after how many steps the run was stopped."""
    rehearse(service, tmp_path, hold=1, write_s=0.3)
    at_step(service, 1)
    messages = texts(collected(Actions(service).stop()))
    assert any("Finishing the current step" in text for text in messages)
    assert messages[-1] == "Stopped after 2 steps"


def test_a_closed_stream_leaves_the_run_alone(service: TrainerService, tmp_path: Path) -> None:
    """A closed browser closes its generator; the run continues without a listener."""
    rehearse(service, tmp_path, hold=1)

    async def leave() -> None:
        stream = Actions(service).watch()
        await anext(stream)
        await stream.aclose()

    asyncio.run(leave())
    at_step(service, 1)
    assert service.get_state()["is_training"]
    assert not service.feed.watched


@pytest.mark.exhaustive
def test_watch_streams_states_to_the_end(service: TrainerService, tmp_path: Path) -> None:
    """The last state is that of the ended run."""
    rehearse(service, tmp_path, steps=5)
    states = collected(Actions(service).watch())
    assert states[-1]["status"] == "completed"
    assert states[-1]["progress"]["global_step"] == 5


def test_a_start_while_another_run_stops_waits_for_it(service: TrainerService, tmp_path: Path) -> None:
    """The stream shows that the new run waits, and continues to its first step when the other one has ended."""
    first = rehearse(service, tmp_path, hold=1, write_s=0.4)
    at_step(service, 1)
    service.stop_training()
    messages = collected(Actions(service).start())
    assert "Waiting for the current run to finish" in texts(messages)
    assert messages[-1]["ok"]
    assert messages[-1]["run_id"] == service.get_state()["run_id"] != first
