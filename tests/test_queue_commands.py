"""The queue from the command line."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from onetrainer_gradio import cli
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.errors import CommandLineError, ConfigInvalidError, QueueItemNotFoundError
from onetrainer_gradio.queue_commands import change_queue
from tests.fakes.configs import small_config


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a configuration file; the command changes the current one."""
    before = Path.cwd()
    (tmp_path / "mine.json").write_text(json.dumps(to_document(small_config(tmp_path / "material"), packed=True)))
    yield tmp_path
    os.chdir(before)


def call(folder: Path, *words: str) -> str:
    out = io.StringIO()
    options = cli.parse(["queue", *words, "--data", str(folder / "data")], {})
    assert isinstance(options, cli.QueueOptions)
    assert change_queue(options, out) == 0
    return out.getvalue()


def listed(folder: Path) -> list[dict[str, object]]:
    items: list[dict[str, object]] = json.loads(call(folder, "list", "--json"))["items"]
    return items


@pytest.mark.slow
def test_runs_are_added_listed_moved_and_removed(folder):
    config = str(folder / "mine.json")
    assert "at place 1" in call(folder, "add", config)
    call(folder, "add", config, "--name", "two", "--tag", "a", "--tag", "b", "--priority", "0", "--max-steps", "5")
    call(folder, "add", config, "--name", "three", "--retries", "2", "--hold", "--not-before", "2036-01-02T03:04")
    one, two, three = listed(folder)
    assert (one["name"], one["added_by"]) == ("mine", "command line")
    assert (two["tags"], two["max_steps"]) == (["a", "b"], 5)
    assert (three["on_failure"], three["retries"], three["held"]) == ("retry", 2, True)
    assert three["not_before"] == datetime(2036, 1, 2, 3, 4).timestamp()
    assert "place 1" in call(folder, "move", str(three["id"]), "1")
    call(folder, "remove", str(one["id"]))
    call(folder, "hold", str(two["id"]))
    call(folder, "release", str(three["id"]))
    call(folder, "duplicate", str(two["id"]))
    assert [(item["name"], item["held"]) for item in listed(folder)] == [("three", False), ("two", True), ("two (copy)", True)]
    text = call(folder, "list")
    assert "3 waiting, 0 running" in text
    assert "not before 2036-01-02 03:04" in text
    with pytest.raises(QueueItemNotFoundError):
        call(folder, "remove", str(one["id"]))


@pytest.mark.slow
def test_the_queue_is_paused_and_resumed(folder):
    call(folder, "pause")
    assert "paused" in call(folder, "list")
    call(folder, "resume")
    assert "paused" not in call(folder, "list")


@pytest.mark.slow
def test_a_sweep_is_added(folder):
    config = str(folder / "mine.json")
    text = call(folder, "add", config, "--sweep", "learning_rate=1e-4,3e-4", "--sweep", "lora_rank=8,16,32")
    assert "Added 6 runs" in text
    assert len(listed(folder)) == 6


@pytest.mark.slow
def test_settings_that_cannot_work_are_not_added(folder):
    document = json.loads((folder / "mine.json").read_text()) | {"concepts": []}
    (folder / "bad.json").write_text(json.dumps(document))
    with pytest.raises(ConfigInvalidError):
        call(folder, "add", str(folder / "bad.json"))
    with pytest.raises(CommandLineError):
        call(folder, "add", "no such file")
    assert listed(folder) == []


def test_a_time_without_a_date_is_the_next_one():
    options = cli.parse(["queue", "add", "x", "--not-before", "23:00"], {})
    assert isinstance(options, cli.QueueOptions)
    at = options.choices["not_before"]
    assert time.time() < at <= time.time() + 25 * 3600
    assert datetime.fromtimestamp(at).hour == 23


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["add"], ["add", "x", "--sweep", "a"], ["add", "x", "--not-before", "soon"], ["move", "q-1", "0"], ["remove"]],
)
def test_a_wrong_command_line_is_an_error(words):
    with pytest.raises(CommandLineError):
        cli.parse(["queue", *words], {})
