"""Labels that people add to a run afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.errors import ConfigValueError, RunConflictError
from onetrainer_gradio.events import RunEnded
from onetrainer_gradio.service.host.atomic import write_json
from onetrainer_gradio.service.runs.changes import RunChanges
from onetrainer_gradio.service.runs.index import RunQuery
from onetrainer_gradio.service.runs.labels import LABELS, MAX_TAGS, Labels, changed, read_labels, tidy_tags
from onetrainer_gradio.service.runs.record import Run, RunStore, new_run_id
from tests.service.runs.test_record import create


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def changes(store: RunStore) -> RunChanges:
    return RunChanges(store, store.delete, lambda ids: None)


def ended(store: RunStore, number: int, **options: object) -> Run:
    run = create(store, new_run_id(1_000_000 + number), **options)
    run.journal.append(RunEnded(reason="completed"))
    return run


def listed(store: RunStore, query: RunQuery) -> list[str]:
    return [line["id"] for line in store.page(50, None, query)["runs"]]


@pytest.mark.slow
def test_labels_replace_what_the_run_was_started_with_and_survive_the_panel(store: RunStore, changes: RunChanges) -> None:
    """Name, tags and note are in the line, in the state and in the search; the record of the start is unchanged."""
    run = ended(store, 1, tags=("a",))
    line = changes.label(run.id, {"name": "  better ", "tags": ["x y", "x  y", ""], "note": "gray cats"})
    assert (line["name"], line["tags"], line["note"]) == ("better", ["x y"], "gray cats")
    assert run.state()["name"] == "better"
    again = RunStore(store.folder).get(run.id)
    assert (again.name, again.tags, again.record.name) == ("better", ("x y",), "name")
    for search in ("better", "cats", "x"):
        assert listed(store, RunQuery(search=search)) == [run.id]
    assert listed(store, RunQuery(tag="a")) == []
    line = changes.label(run.id, {"name": None, "tags": None})
    assert (line["name"], line["tags"]) == ("name", ["a"])


@pytest.mark.slow
def test_an_archived_run_is_listed_only_on_request(store: RunStore, changes: RunChanges) -> None:
    """Archiving only changes which lists show a run."""
    first, second = ended(store, 1), ended(store, 2)
    changes.label(first.id, {"archived": True})
    assert listed(store, RunQuery(archived=False)) == [second.id]
    assert listed(store, RunQuery(archived=True)) == [first.id]
    assert listed(store, RunQuery()) == [second.id, first.id]


def test_labels_that_are_damaged_or_too_long_change_nothing(store: RunStore) -> None:
    """A file with values of wrong types counts as empty; a value that is too long is an error that names it."""
    run = ended(store, 1)
    write_json(run.folder / LABELS, {"name": 3, "tags": "x", "note": [], "archived": "yes"})
    assert read_labels(run.folder) == Labels()
    for wrong in (
        {"name": "x" * 201},
        {"note": "x" * 10_001},
        {"tags": [f"{n}" for n in range(MAX_TAGS + 1)]},
        {"tags": ["x" * 101]},
    ):
        with pytest.raises(ConfigValueError):
            changed(Labels(), wrong)
    assert tidy_tags(["a\nb", " a b "]) == ("a b",)


@pytest.mark.slow
def test_many_runs_change_at_once_and_a_failure_keeps_none_of_the_others(store: RunStore, changes: RunChanges) -> None:
    """A run that doesn't exist, or is still training, is named with the reason."""
    runs = [ended(store, number) for number in range(3)]
    active = create(store, new_run_id(1_000_009))
    ids = [run.id for run in runs]
    tagged = changes.apply([*ids, "nothing"], "add_tags", ["new"])
    assert (tagged["done"], [item["id"] for item in tagged["failed"]]) == (ids, ["nothing"])
    assert listed(store, RunQuery(tag="new")) == ids[::-1]
    changes.apply(ids[:1], "remove_tags", ["new"])
    assert listed(store, RunQuery(tag="new")) == [ids[2], ids[1]]
    preview = changes.preview_delete([*ids, active.id])
    assert (preview["deletable"], preview["active"]) == (ids, [active.id])
    deleted = changes.apply([*ids, active.id], "delete")
    assert deleted["freed_bytes"] == preview["freed_bytes"] > 0
    assert [item["id"] for item in deleted["failed"]] == [active.id]
    with pytest.raises(RunConflictError):
        store.delete(active.id)
    assert store.ids() == [active.id]


@pytest.mark.slow
def test_a_deletion_names_the_runs_that_continue_the_deleted_one(store: RunStore, changes: RunChanges) -> None:
    """Their curves lose the earlier part."""
    first = ended(store, 1)
    second = ended(store, 2, resumes_run=first.id)
    assert changes.preview_delete([first.id])["continued_by"] == [{"id": second.id, "name": "name"}]
    assert changes.preview_delete([first.id, second.id])["continued_by"] == []


@pytest.mark.slow
def test_the_list_has_what_it_can_be_filtered_by(store: RunStore, changes: RunChanges) -> None:
    """It has values with the number of runs, the most frequent ones first."""
    for number in range(3):
        ended(store, number, tags=("a", "b") if number else ("b",))
    store.page()
    facets = store.listing.facets()
    assert facets["tags"] == [("b", 3), ("a", 2)]
    assert facets["statuses"] == [("completed", 3)]
    assert [count for _, count in facets["models"]] == [3]
    assert [count for _, count in facets["methods"]] == [3]
