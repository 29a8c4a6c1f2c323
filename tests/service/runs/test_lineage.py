"""Chains of resumed runs and their joined curves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from onetrainer_gradio.errors import RunNotFoundError
from onetrainer_gradio.events import Resumed, RunEnded
from onetrainer_gradio.service.runs.lineage import chain_of, chain_series
from onetrainer_gradio.service.runs.metrics import MetricsWriter
from onetrainer_gradio.service.runs.record import Run, RunStore, new_run_id
from tests.service.runs.test_metrics import step
from tests.service.runs.test_record import create


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def trained(
    store: RunStore, number: int, steps: range, resumes: str = "", *, groups: tuple[str, ...] = ("unet",), loss: float = 1.0
) -> Run:
    """Create a run with one metrics row for each update in ``steps`` (an update is two global steps)."""
    run = create(store, new_run_id(1_000_000 + number), resumes_run=resumes)
    if resumes:
        run.journal.append(Resumed(path="backup", global_step=2 * (steps.start - 1)))
    writer = MetricsWriter(run.folder / "metrics.bin")
    writer.plan(groups)
    for update in steps:
        writer.add(step(update, loss, rates=(1e-4,) * len(groups)))
    writer.flush()
    writer.close()
    return run


def series(store: RunStore, run: Run, columns: tuple[str, ...] = ("loss",), buckets: int = 1000, first=None, last=None) -> dict:
    return chain_series(chain_of(store, run.id), columns, buckets, first, last)


@pytest.mark.slow
def test_a_resumed_run_begins_where_its_backup_was_made(store: RunStore) -> None:
    """What the earlier run did after the backup isn't in the curve, because the later run repeated it."""
    first = trained(store, 1, range(1, 11), loss=1.0)
    second = trained(store, 2, range(7, 16), first.id, loss=2.0)
    joined = series(store, second)
    assert joined["x"] == [2 * update for update in range(1, 16)]
    assert joined["max"]["loss"] == [1.0] * 6 + [2.0] * 9
    assert joined["resumes"] == [{"step": 12, "run_id": second.id}]
    assert [(item["run_id"], item["first_step"], item["last_step"], item["rows"]) for item in joined["chain"]] == [
        (first.id, 2, 12, 6),
        (second.id, 14, 30, 9),
    ]
    assert (joined["run_id"], joined["rows"], joined["first_step"], joined["last_step"]) == (second.id, 15, 2, 30)


def test_a_run_that_resumes_nothing_is_its_own_chain(store: RunStore) -> None:
    """The series is the run's own, without a mark."""
    run = trained(store, 1, range(1, 6))
    joined = series(store, run)
    own = run.metrics_series(("loss",))
    assert {key: joined[key] for key in own} == own
    assert joined["resumes"] == []


@pytest.mark.slow
def test_a_run_resumed_from_an_early_backup_hides_every_later_step(store: RunStore) -> None:
    """The third run resumes from before the second one began, so its curve has nothing of the second."""
    first = trained(store, 1, range(1, 11), loss=1.0)
    second = trained(store, 2, range(9, 16), first.id, loss=2.0)
    third = trained(store, 3, range(4, 8), second.id, loss=3.0)
    joined = series(store, third)
    assert joined["x"] == [2 * update for update in range(1, 8)]
    assert joined["max"]["loss"] == [1.0] * 3 + [3.0] * 4
    assert joined["chain"][1]["rows"] == 0


@pytest.mark.slow
def test_a_chain_is_thinned_as_a_whole(store: RunStore) -> None:
    """The number of buckets applies to the chain, and each run has its share."""
    first = trained(store, 1, range(1, 901))
    second = trained(store, 2, range(901, 1001), first.id)
    joined = series(store, second, buckets=50)
    assert 40 <= joined["buckets"] <= 50
    assert len(joined["x"]) == len(joined["max"]["loss"]) == joined["buckets"]
    assert (joined["x"][0], joined["x_last"][-1]) == (2, 2000)


@pytest.mark.slow
def test_a_stretch_of_a_chain_may_lie_in_one_run(store: RunStore) -> None:
    """The first and last step select across runs."""
    first = trained(store, 1, range(1, 11))
    second = trained(store, 2, range(11, 21), first.id)
    assert series(store, second, first=4, last=8)["x"] == [4, 6, 8]
    assert series(store, second, first=18, last=24)["x"] == [18, 20, 22, 24]
    assert series(store, second, first=1000)["x"] == []


@pytest.mark.slow
def test_runs_with_other_parameter_groups_share_a_curve(store: RunStore) -> None:
    """A column that one run doesn't have is null there."""
    first = trained(store, 1, range(1, 3), groups=("unet",))
    second = trained(store, 2, range(3, 5), first.id, groups=("unet", "text"))
    joined = series(store, second, ("lr/text",))
    assert joined["max"]["lr/text"] == [None, None, 1e-4, 1e-4]
    assert "lr/text" in joined["all_columns"]


@pytest.mark.slow
def test_a_deleted_run_ends_the_chain(store: RunStore) -> None:
    """The rest is shown, and a chain that leads back to itself ends."""
    first = trained(store, 1, range(1, 11))
    second = trained(store, 2, range(7, 16), first.id)
    shutil.rmtree(first.folder)
    assert [link.run.id for link in chain_of(store, second.id)] == [second.id]
    assert series(store, second)["x"][0] == 14
    loop = trained(store, 3, range(1, 3), new_run_id(1_000_004))
    other = trained(store, 4, range(3, 5), loop.id)
    assert [link.run.id for link in chain_of(store, other.id)] == [loop.id, other.id]
    with pytest.raises(RunNotFoundError):
        chain_of(store, first.id)


@pytest.mark.slow
def test_a_run_that_has_not_loaded_its_backup_shows_what_came_before(store: RunStore) -> None:
    """Until the resume step is known, the curve of the earlier run is complete."""
    first = trained(store, 1, range(1, 4))
    second = create(store, new_run_id(1_000_009), resumes_run=first.id)
    joined = series(store, second)
    assert joined["x"] == [2, 4, 6]
    assert (joined["resumes"], joined["chain"][1]["first_step"]) == ([], None)


@pytest.mark.slow
def test_a_run_that_continues_the_last_backup_belongs_to_its_chain(store: RunStore) -> None:
    """Nobody named the resumed run, but its backup does."""
    first = trained(store, 1, range(1, 6))
    second = create(store, new_run_id(1_000_009))
    second.journal.append(Resumed(path="backup", global_step=4, run=first.id))
    assert [link.run.id for link in chain_of(store, second.id)] == [first.id, second.id]
    assert series(store, second)["x"] == [2, 4]
    second.journal.append(RunEnded(reason="stopped"))
    assert second.summary()["resumes_run"] == first.id
