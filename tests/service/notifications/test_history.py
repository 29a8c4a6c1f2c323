"""The history of notifications has each key once, is bounded, and prevents duplicates after a restart."""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.notifications import history as kept
from onetrainer_gradio.service.notifications.history import INTERRUPTED, Delivery, NotificationHistory
from onetrainer_gradio.service.notifications.notification import Notification


def note(key: str) -> Notification:
    return Notification(key=key, kind="finished", at=1.0, title=f"Run {key}")


def opened(folder: Path) -> NotificationHistory:
    return NotificationHistory(folder / "notifications.json")


def test_a_key_is_reported_once_also_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.begin("", [])
    assert first.add(note("a:end"), ["x"]) is not None
    assert first.add(note("a:end"), ["x"]) is None
    first.note("b:end")
    second = opened(tmp_path)
    assert second.after_run == ""
    assert second.add(note("a:end"), ["x"]) is None
    assert second.known("b:end")
    second.forget("b:end")
    assert not opened(tmp_path).known("b:end")


def test_what_was_being_sent_when_the_panel_ended_is_not_sent_again(tmp_path: Path) -> None:
    """It may have arrived; pending messages are still sent."""
    first = opened(tmp_path)
    first.begin("", [])
    entry = first.add(note("a:end"), ["x", "y", "z"])
    assert entry is not None
    first.update(entry.number, "x", Delivery(state="sending", attempts=1))
    first.update(entry.number, "z", Delivery(state="sent", attempts=1))
    second = opened(tmp_path)
    assert [channel for _, channel, _ in second.waiting()] == ["y"]
    [[same], _] = second.page(10)
    assert same.deliveries["x"] == Delivery(state="failed", attempts=1, error=INTERRUPTED)
    assert same.deliveries["z"].state == "sent"
    assert same.notification == note("a:end")


def test_entries_and_keys_are_bounded_and_old_runs_stay_reported(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT", 3)
    monkeypatch.setattr(kept, "MAX_KEYS", 5)
    history = opened(tmp_path)
    history.begin("", [])
    for number in range(9):
        history.add(note(f"2026-01-0{number}:end"), [])
    again = opened(tmp_path)
    assert [entry.notification.key for entry in again.page(10)[0]] == [f"2026-01-0{number}:end" for number in (8, 7, 6)]
    assert again.after_run == "2026-01-03"  # its key is gone: nothing up to this run is reported


def test_pages_go_from_the_newest_to_the_oldest(tmp_path: Path) -> None:
    history = opened(tmp_path)
    history.begin("", [])
    for number in range(5):
        history.add(note(str(number)), [])
    first, following = history.page(2)
    second, _ = history.page(2, following)
    last, end = history.page(2, second[-1].number)
    assert [entry.notification.key for entry in (*first, *second, *last)] == ["4", "3", "2", "1", "0"]
    assert end is None
    history.clear()
    assert history.page(2) == ([], None)
    assert history.newest() is None
    assert history.known("4")


def test_a_damaged_file_starts_again_and_damaged_entries_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "notifications.json"
    path.write_text("{ torn")
    assert opened(tmp_path).after_run is None
    write_json(path, {"after_run": "", "number": "many", "keys": [], "entries": []})
    assert opened(tmp_path).after_run is None
    good = {"number": 2, "notification": {"key": "k", "kind": "finished", "at": 1, "title": "t", "more": 1}, "deliveries": {}}
    bad = [{}, 5, {**good, "number": None}, {**good, "notification": {**good["notification"], "kind": "else"}}]
    write_json(path, {"after_run": "x", "number": 2, "keys": ["k", 5], "entries": [*bad, good]})
    history = opened(tmp_path)
    assert [entry.number for entry in history.page(10)[0]] == [2]


def test_a_disk_that_takes_nothing_costs_only_the_memory(tmp_path: Path) -> None:
    history = NotificationHistory(tmp_path / "a_file" / "notifications.json")
    (tmp_path / "a_file").write_text("in the way")
    history.begin("", [])
    assert history.add(note("a"), []) is not None
    assert history.known("a")


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    history = opened(tmp_path)
    history.begin("", [])
    assert (tmp_path / "notifications.json").stat().st_mode & 0o077 == 0
    assert read_json(tmp_path / "notifications.json")["version"] == 1
