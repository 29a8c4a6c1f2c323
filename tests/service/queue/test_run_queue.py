"""The operations on the queue, without a service."""

from __future__ import annotations

import threading

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.errors import (
    ConfigInvalidError,
    ConfigValueError,
    QueueItemNotFoundError,
    RevisionConflictError,
    RunConflictError,
)
from onetrainer_gradio.service.queue import run_queue
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.queue.run_queue import RunQueue, choices_of


@pytest.mark.slow
def test_runs_wait_in_the_order_in_which_they_were_added(plain):
    plain.add("one", "two", "three")
    page = plain.queue.list()
    assert [(item["name"], item["place"]) for item in page["items"]] == [("one", 1), ("two", 2), ("three", 3)]
    assert (page["waiting"], page["running"], page["paused"], page["total"]) == (3, 0, False, 3)


@pytest.mark.slow
def test_a_higher_priority_comes_first(plain):
    plain.add("one", "two")
    plain.add("urgent", priority=5)
    assert plain.names() == ["urgent", "one", "two"]


@pytest.mark.slow
def test_an_item_has_what_its_owner_chose_and_its_frozen_settings(plain):
    item_id, *_ = plain.add("one", notes="for Ann", tags=("a", "b"), not_before=5e9, max_steps=7, on_failure="retry", retries=2)
    item = plain.queue.get(item_id, with_config=True)
    assert (item["notes"], item["tags"], item["not_before"], item["max_steps"]) == ("for Ann", ("a", "b"), 5e9, 7)
    assert (item["on_failure"], item["retries"], item["model_type"]) == ("retry", 2, "STABLE_DIFFUSION_15")
    assert item["config"]["concepts"][0]["name"] == "red"
    assert item["config"]["samples"][0]["prompt"] == "a red square"


def test_options_are_the_choices_where_the_owner_chose_nothing(plain):
    item = plain.queue.add(None, RunOptions(name="from options", tags=("x",), max_steps=3))
    assert (item["name"], item["tags"], item["max_steps"]) == ("from options", ("x",), 3)


@pytest.mark.slow
def test_the_list_comes_in_pages(plain):
    plain.add(*"abcde")
    first = plain.queue.list(2)
    second = plain.queue.list(2, first["next_cursor"])
    third = plain.queue.list(2, second["next_cursor"])
    assert [item["name"] for page in (first, second, third) for item in page["items"]] == list("abcde")
    assert third["next_cursor"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"place": 1}, "cabd"),
        ({"place": 99}, "abdc"),
        ({"by": -1}, "acbd"),
        ({"by": 1}, "abdc"),
        ({"by": -99}, "cabd"),
    ],
)
def test_a_run_moves_to_a_place_or_by_some_places(plain, how, expected):
    ids = plain.add(*"abcd")
    plain.queue.move(ids[2], **how)
    assert "".join(plain.names()) == expected


@pytest.mark.slow
def test_a_run_moves_before_or_after_another(plain):
    a, _b, _c, d = plain.add(*"abcd")
    plain.queue.move(d, before=a)
    assert "".join(plain.names()) == "dabc"
    plain.queue.move(d, after=a)
    assert "".join(plain.names()) == "adbc"


@pytest.mark.slow
def test_a_run_gets_the_priority_of_its_new_neighbors(plain):
    high, higher = plain.add("high", "higher", priority=5)
    low, lower = plain.add("low", "lower")
    assert plain.queue.move(lower, before=higher)["priority"] == 5
    assert plain.names() == ["high", "lower", "higher", "low"]
    assert plain.queue.move(high, after=low)["priority"] == 0
    assert plain.names() == ["lower", "higher", "low", "high"]


@pytest.mark.slow
def test_a_move_needs_exactly_one_target(plain):
    a, b = plain.add("a", "b")
    with pytest.raises(ConfigValueError):
        plain.queue.move(a)
    with pytest.raises(ConfigValueError):
        plain.queue.move(a, by=1, before=b)
    with pytest.raises(QueueItemNotFoundError):
        plain.queue.move(a, before="q-none")


@pytest.mark.slow
def test_an_edit_changes_choices_and_counts_revisions(plain):
    (item_id,) = plain.add("one")
    before = plain.queue.get(item_id)
    after = plain.queue.edit(item_id, ItemChoices(name="new", priority=3))
    assert (after["name"], after["priority"]) == ("new", 3)
    assert after["revision"] > before["revision"]


@pytest.mark.slow
def test_an_edit_on_an_old_revision_changes_nothing(plain):
    (item_id,) = plain.add("one")
    old = plain.queue.get(item_id)["revision"]
    plain.queue.edit(item_id, ItemChoices(name="new"))
    with pytest.raises(RevisionConflictError):
        plain.queue.edit(item_id, ItemChoices(name="newer"), revision=old)
    assert plain.names() == ["new"]


@pytest.mark.slow
def test_an_edit_of_settings_is_checked_and_leaves_other_settings(plain):
    (item_id,) = plain.add("one")
    plain.queue.edit(item_id, ItemChoices(), changes={"learning_rate": 5e-5})
    assert plain.queue.get(item_id, with_config=True)["config"]["learning_rate"] == 5e-5
    with pytest.raises(ConfigInvalidError):
        plain.queue.edit(item_id, ItemChoices(name="never"), changes={"epochs": 5000})
    item = plain.queue.get(item_id, with_config=True)
    assert (item["name"], item["config"]["learning_rate"]) == ("one", 5e-5)


@pytest.mark.slow
def test_a_device_replaces_the_one_in_the_settings(plain):
    (item_id,) = plain.add("one", device="cuda:1")
    item = plain.queue.get(item_id, with_config=True)
    assert (item["devices"], item["config"]["train_device"]) == (("cuda:1",), "cuda:1")
    assert plain.queue.edit(item_id, ItemChoices(device="cpu"))["devices"] == ("cpu",)


@pytest.mark.slow
def test_a_copy_follows_its_original_and_is_held(plain):
    a, _b = plain.add("a", "b")
    copy = plain.queue.duplicate(a)
    assert plain.names() == ["a", "a (copy)", "b"]
    assert copy["held"]
    config = plain.queue.get(copy["id"], with_config=True)["config"]
    assert config == plain.queue.get(a, with_config=True)["config"]


@pytest.mark.slow
def test_a_removed_run_is_gone(plain):
    a, _b = plain.add("a", "b")
    plain.queue.remove(a)
    assert plain.names() == ["b"]
    with pytest.raises(QueueItemNotFoundError):
        plain.queue.remove(a)


@pytest.mark.slow
def test_a_pause_survives_another_process(plain):
    plain.queue.pause()
    other = RunQueue(plain.store.__class__(plain.folder / "queue.sqlite"), plain.freeze)
    assert other.summary()["paused"]
    other.resume()
    assert not plain.queue.summary()["paused"]
    other.store.close()


@pytest.mark.slow
def test_runs_cannot_wait_for_each_other(plain):
    a, b = plain.add("a", "b")
    plain.queue.edit(b, ItemChoices(after=a))
    with pytest.raises(ConfigValueError, match="itself"):
        plain.queue.edit(a, ItemChoices(after=b))
    with pytest.raises(ConfigValueError, match="itself"):
        plain.queue.edit(a, ItemChoices(after=a))
    with pytest.raises(ConfigValueError, match="exist"):
        plain.queue.edit(a, ItemChoices(after="2026-01-01_00-00-00-0000"))


@pytest.mark.slow
def test_a_full_queue_takes_no_more(plain, monkeypatch):
    monkeypatch.setattr(run_queue, "MAX_ITEMS", 2)
    plain.add("a", "b")
    with pytest.raises(RunConflictError):
        plain.add("c")
    assert plain.names() == ["a", "b"]


@pytest.mark.slow
def test_a_sweep_shows_its_runs_before_it_adds_them(plain):
    values = {"learning_rate": "1e-4, 3e-4", "lora_rank": [8, 16, 32]}
    shown = plain.queue.preview_sweep(None, None, ItemChoices(name="try"), values)
    assert (shown["count"], shown["valid"]) == (6, True)
    assert shown["runs"][1]["changes"] == {"learning_rate": 1e-4, "lora_rank": 16}
    assert shown["runs"][1]["name"] == "try learning_rate=0.0001, lora_rank=16"
    assert plain.names() == []
    added = plain.queue.add_sweep(None, None, ItemChoices(name="try"), values)
    assert added["count"] == 6
    items = plain.queue.list()["items"]
    assert [item["changes"] for item in items] == [run["changes"] for run in shown["runs"]]
    assert all(added["sweep"] in item["tags"] for item in items)
    config = plain.queue.get(items[5]["id"], with_config=True)["config"]
    assert (config["learning_rate"], config["lora_rank"]) == (3e-4, 32)


@pytest.mark.slow
def test_a_sweep_with_a_wrong_value_adds_nothing(plain):
    shown = plain.queue.preview_sweep(None, None, None, {"epochs": [1, 5000]})
    assert not shown["valid"]
    assert [bool(run["errors"]) for run in shown["runs"]] == [False, True]
    with pytest.raises(ConfigInvalidError):
        plain.queue.add_sweep(None, None, None, {"epochs": [1, 5000]})
    with pytest.raises(ConfigInvalidError):
        plain.queue.add_sweep(None, None, None, {"no_such_setting": [1]})
    assert plain.names() == []


@pytest.mark.slow
def test_the_runs_of_a_sweep_do_not_continue_each_other(plain):
    plain.config = plain.config.model_copy(update={"continue_last_backup": True})
    added = plain.queue.add_sweep(None, None, None, {"epochs": [1, 2]})
    assert any("Continue from last backup" in note for note in added["notes"])
    for item_id in added["ids"]:
        assert plain.queue.get(item_id, with_config=True)["config"]["continue_last_backup"] is False


def test_wrong_choices_are_named():
    with pytest.raises(ConfigInvalidError) as caught:
        choices_of({"priority": 1000, "device": "tpu", "on_failure": "panic", "color": "red"})
    assert {finding.path for finding in caught.value.findings()} == {"priority", "device", "on_failure", "color"}


@pytest.mark.slow
def test_many_clients_at_once_lose_nothing(plain):
    """Each client adds, moves and removes its own runs; every run that wasn't removed exists once."""

    def client(number: int) -> None:
        kept, gone = plain.add(f"{number} kept", f"{number} gone")
        plain.queue.move(kept, place=1)
        plain.queue.remove(gone)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(plain.names()) == [f"{number} kept" for number in range(6)]
