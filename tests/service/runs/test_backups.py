"""The backups of a run: complete or not, pinned, and deleted by a rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config.paths.backup_chain import PIN, chain_of_run, to_delete, write_chain
from onetrainer_gradio.errors import BackupNotFoundError, RunConflictError
from onetrainer_gradio.events import BackupCreated, RunEnded
from onetrainer_gradio.service.runs.backups import BackupPruning, PruneRule, backups_of, pin
from onetrainer_gradio.service.runs.record import Run, RunStore, new_run_id
from tests.service.runs.test_record import create

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def backed_up(store: RunStore, folder: Path, steps: range, *, foreign: tuple[int, ...] = (), number: int = 1) -> Run:
    """Create an ended run with a backup at each of ``steps``; those in ``foreign`` lack the note of their creator."""
    run = create(store, new_run_id(1_000_000 + number))
    for step in steps:
        path = folder / "backup" / f"2026-01-01_00-00-{step:02d}-backup-{step}-0-{step}"
        path.mkdir(parents=True)
        (path / "meta.json").write_text(json.dumps({"train_progress": {"epoch": 0, "epoch_step": step, "global_step": step}}))
        (path / "weights").write_bytes(b"x" * 100)
        if step not in foreign:
            write_chain(path, chain_of_run(run.id, None))
        run.journal.append(BackupCreated(at=float(step), path=str(path), global_step=step, epoch=0, epoch_step=step, bytes=100))
    run.journal.append(RunEnded(reason="stopped"))
    return run


def pruning(*in_use: Path) -> BackupPruning:
    return BackupPruning(lambda: in_use)


def steps_of(entries: list[dict]) -> list[int]:
    return [entry["global_step"] for entry in entries]


def test_a_backup_shows_whether_a_run_can_resume_from_it(store: RunStore, tmp_path: Path) -> None:
    """Missing or damaged files are named; a deleted backup stays in the list without a size."""
    run = backed_up(store, tmp_path, range(1, 5))
    one, two, three, four = (Path(backup.path) for backup in backups_of(run))
    (two / "meta.json").write_text("{")
    (three / "meta.json").unlink()
    for file in four.iterdir():
        file.unlink()
    four.rmdir()
    found = backups_of(run)
    assert [backup.problem for backup in found] == [
        "",
        "meta.json is damaged.",
        "meta.json is missing.",
        "The backup was deleted.",
    ]
    assert [backup.as_dict()["whole"] for backup in found] == [True, False, False, False]
    assert (found[0].bytes, found[3].bytes, found[3].as_dict()["deletable"]) == (100, 0, False)
    assert one.is_dir()


def test_a_rule_keeps_the_newest_and_one_of_each_stretch(store: RunStore, tmp_path: Path) -> None:
    """The preview deletes nothing; the deletion removes exactly what the preview lists."""
    run = backed_up(store, tmp_path, range(1, 10))
    preview = pruning().preview(run, PruneRule(keep_last=2, keep_every=4))
    assert steps_of(preview["keep"]) == [1, 4, 8, 9]
    assert steps_of(preview["delete"]) == [2, 3, 5, 6, 7]
    assert preview["freed_bytes"] == 500
    assert len(list((tmp_path / "backup").iterdir())) == 9
    ids = [entry["id"] for entry in preview["delete"][:2]]
    result = pruning().delete(run, PruneRule(keep_last=2, keep_every=4), ids)
    assert (steps_of(result["deleted"]), result["freed_bytes"]) == ([2, 3], 200)
    assert len(list((tmp_path / "backup").iterdir())) == 7


def test_only_what_the_run_made_is_deleted(store: RunStore, tmp_path: Path) -> None:
    """Backups of OneTrainer or of another run, pinned ones, those in use, and files that someone put into a backup stay."""
    run = backed_up(store, tmp_path, range(1, 8), foreign=(2,))
    paths = {backup.global_step: backup.path for backup in backups_of(run)}
    write_chain(paths[3], chain_of_run("another", None))
    pin(run, next(backup.id for backup in backups_of(run) if backup.global_step == 4), True)
    (paths[6] / "notes.txt").write_text("mine")
    every = [backup.id for backup in backups_of(run)]
    rule = PruneRule(keep_last=1)
    reasons = {entry["global_step"]: entry["reason"] for entry in pruning(paths[5]).preview(run, rule)["keep"]}
    assert reasons == {2: "not made by this run", 3: "not made by this run", 4: "pinned", 5: "in use", 7: "newest"}
    assert steps_of(pruning(paths[5]).delete(run, rule, every)["deleted"]) == [1, 6]
    assert [item.name for item in paths[6].rglob("*")] == ["notes.txt"]
    assert all((paths[step] / "meta.json").is_file() for step in (2, 3, 4, 5, 7))


def test_rolling_backups_keep_a_pinned_one(store: RunStore, tmp_path: Path) -> None:
    """The engine deletes backups older than the newest ones, and a pinned backup doesn't count among these."""
    run = backed_up(store, tmp_path, range(1, 6))
    paths = [backup.path for backup in backups_of(run)]
    (paths[1] / PIN).touch()
    assert list(to_delete(paths, chain_of_run(run.id, None), keep=2)) == [paths[0], paths[2]]


def test_a_backup_is_pinned_and_unpinned(store: RunStore, tmp_path: Path) -> None:
    """Nothing is written into a backup of another program, and a missing backup is an error."""
    run = backed_up(store, tmp_path, range(1, 3), foreign=(2,))
    mine, foreign = backups_of(run)
    assert pin(run, mine.id, True).pinned
    assert not pin(run, mine.id, False).pinned
    with pytest.raises(RunConflictError):
        pin(run, foreign.id, True)
    with pytest.raises(BackupNotFoundError):
        pin(run, "77", True)


def test_backups_of_an_active_run_stay(store: RunStore, tmp_path: Path) -> None:
    """The preview works, the deletion is an error."""
    run = create(store, new_run_id(5))
    assert pruning().preview(run, PruneRule())["delete"] == []
    with pytest.raises(RunConflictError):
        pruning().delete(run, PruneRule(), [])
