"""The journal is numbered, durable, and read by position."""

from __future__ import annotations

import json
import math
import multiprocessing
import threading
from pathlib import Path

import pytest

from onetrainer_gradio.events import EVENT_BY_TAG, PhaseChanged, RunEnded, ValidationCompleted, WarningIssued
from onetrainer_gradio.service.runs.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def warn(number: int) -> WarningIssued:
    return WarningIssued(code="n", message=str(number))


def test_entries_are_numbered_by_their_lines(journal: Journal) -> None:
    """A position is the number of the last line read; later lines are returned in order."""
    for number in range(1, 6):
        journal.append(warn(number))
    assert [(entry.seq, entry.body["message"]) for entry in journal.since(2)] == [(3, "3"), (4, "4"), (5, "5")]
    assert [entry.seq for entry in journal.since(0, limit=2)] == [1, 2]
    assert journal.since(5) == []
    assert journal.length() == 5


def test_a_journal_that_is_not_there_is_empty(journal: Journal) -> None:
    """Reading before the first event is no error."""
    assert (journal.since(0), journal.length(), journal.ended(), journal.tail_lines()) == ([], 0, None, [])


def test_a_reader_follows_a_writer_of_another_object(journal: Journal) -> None:
    """Readers and writers share only the file."""
    reader = Journal(journal.path)
    assert reader.since(0) == []
    journal.append(warn(1))
    assert [entry.seq for entry in reader.since(0)] == [1]
    journal.append(warn(2))
    assert [entry.seq for entry in reader.since(1)] == [2]


def test_a_torn_last_line_is_ignored_and_closed_by_the_next_writer(journal: Journal) -> None:
    """After a power cut, the events before and after the damaged line are readable, and numbers never change."""
    journal.append(warn(1))
    journal.append(warn(2))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-9])
    reader = Journal(journal.path)
    assert [entry.seq for entry in reader.since(0)] == [1]
    journal.close()
    journal.append(warn(3))
    assert [(entry.seq, entry.body["message"]) for entry in reader.since(0)] == [(1, "1"), (3, "3")]
    assert [entry.seq for entry in Journal(journal.path).since(1)] == [3]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_no_tear_loses_more_than_its_line(journal: Journal, cut: int) -> None:
    """Wherever the last line was cut, the lines before it stay readable and writing continues."""
    for number in range(3):
        journal.append(warn(number))
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    again = Journal(journal.path)
    again.append(warn(9))
    messages = [entry.body["message"] for entry in again.since(0)]
    assert messages[:2] == ["0", "1"]
    assert messages[-1] == "9"


@pytest.mark.slow
def test_positions_far_in_a_long_journal(journal: Journal) -> None:
    """The index of offsets gives the right line for every position of a long journal."""
    lines = [
        json.dumps({"type": "warning_issued", "code": "n", "message": "é" * (number % 40), "at": 1.0}) for number in range(3000)
    ]
    journal.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for position in (0, 1, 255, 256, 257, 511, 512, 2047, 2999):
        entry = journal.since(position, limit=1)[0]
        assert entry.seq == position + 1
        assert len(entry.body["message"]) == position % 40
    assert journal.since(3000) == []


def test_entries_of_some_types_only(journal: Journal) -> None:
    """A reader of samples or answers doesn't have to read the rest; text that looks like a type is not mistaken for one."""
    for number in range(600):
        journal.append(PhaseChanged(phase="training", detail='"type":"warning_issued"'))
        if number % 200 == 0:
            journal.append(warn(number))
    found = journal.since(0, 1000, only=("warning_issued",))
    assert [entry.body["message"] for entry in found] == ["0", "200", "400"]
    assert [entry.seq for entry in journal.since(found[0].seq, 1, only=("warning_issued",))] == [found[1].seq]
    assert journal.since(0, 1000, without=("phase_changed",)) == found


def test_numbers_that_are_not_finite_become_null(journal: Journal) -> None:
    """Every line is valid JSON for any reader."""
    journal.append(ValidationCompleted(global_step=3, losses={"a": math.nan}, total=math.inf))
    body = json.loads(journal.path.read_text())
    assert (body["losses"], body["total"]) == ({"a": None}, None)


def test_the_end_is_the_last_line(journal: Journal) -> None:
    """The last readable line shows whether a run has ended."""
    journal.append(PhaseChanged(phase="training"))
    assert journal.ended() is None
    journal.append(RunEnded(reason="stopped"))
    ended = journal.ended()
    assert ended is not None
    assert ended.body["reason"] == "stopped"
    journal.path.write_bytes(journal.path.read_bytes() + b'{"type":"war')
    assert Journal(journal.path).ended() is not None


def test_lines_of_unknown_kinds_are_kept_as_objects(journal: Journal) -> None:
    """A journal of a newer version is readable; unknown events have no class."""
    journal.path.write_text('{"type":"tomorrow","at":1.0}\n{"type":"warning_issued","code":"x","message":"y","new":1}\n')
    first, second = journal.since(0)
    assert first.event() is None
    assert isinstance(second.event(), WarningIssued)


OLD_NAMES = Path(__file__).parents[2] / "fixtures" / "old_names"


def test_a_journal_of_an_earlier_version_reads_as_one_of_this_version() -> None:
    """Old tags and fields are returned under today's names, also when only some types are requested."""
    journal = Journal(OLD_NAMES / "journal.jsonl")
    bodies = {entry.body["type"]: entry.body for entry in journal.since(0, 1000)}
    assert bodies.keys() == EVENT_BY_TAG.keys()
    assert (bodies["run_planned"]["images"], bodies["stop_escalated"]["stage"]) == (12, "interrupt")
    (sample,) = journal.since(0, 1000, only=("sample_generated",))
    assert sample.body["path"].endswith("a.jpg")
    kinds = {entry.body["type"] for entry in journal.since(0, 1000, without=("sample_generated", "phase_progress"))}
    assert kinds == EVENT_BY_TAG.keys() - {"sample_generated", "phase_progress"}


def _append_many(path: Path, start: int) -> None:
    journal = Journal(path)
    for number in range(start, start + 200):
        journal.append(warn(number))


@pytest.mark.slow
def test_two_processes_append_without_mixing_lines(journal: Journal) -> None:
    """Worker and supervisor write the same file; no line is lost or broken."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(journal.path, start)) for start in (0, 1000)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    numbers = [int(entry.body["message"]) for entry in journal.since(0, limit=10_000)]
    assert sorted(numbers) == [*range(200), *range(1000, 1200)]
    assert [number for number in numbers if number < 1000] == list(range(200))


@pytest.mark.slow
def test_threads_append_and_read_at_once(journal: Journal) -> None:
    """A concurrent reader always gets a complete beginning of the journal."""
    threads = [threading.Thread(target=_append_many, args=(journal.path, start)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    seen, reader = 0, Journal(journal.path)
    while any(thread.is_alive() for thread in threads):
        for entry in reader.since(seen):
            assert entry.seq == seen + 1
            seen = entry.seq
    for thread in threads:
        thread.join()
    assert len(reader.since(0, limit=10_000)) == 600
