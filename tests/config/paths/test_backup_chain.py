"""Which run created a backup, and which backups rolling backups delete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config.paths.backup_chain import (
    MARKER,
    ChainLink,
    belongs,
    chain_of_run,
    read_chain,
    run_of,
    to_delete,
    write_chain,
)


def backup(folder: Path, name: str, run: str, resumed_from: Path | None = None) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    if run:
        write_chain(made, chain_of_run(run, resumed_from))
    return made


def test_a_chain_is_a_run_and_what_it_was_resumed_from(tmp_path: Path) -> None:
    """Each backup lists the earlier runs, with the backup where each was left."""
    first = backup(tmp_path, "01", "a")
    second = backup(tmp_path, "02", "b", first)
    third = backup(tmp_path, "03", "c", second)
    assert read_chain(third) == (ChainLink("a", "01"), ChainLink("b", "02"), ChainLink("c"))
    assert (run_of(first), run_of(third)) == ("a", "c")


def test_only_backups_of_the_chain_are_deleted(tmp_path: Path) -> None:
    """Backups of another run, of a branch, of OneTrainer itself, and of unknown origin stay."""
    first = [backup(tmp_path, name, "a") for name in ("01", "02", "05")]
    other = backup(tmp_path, "03", "x")
    foreign = backup(tmp_path, "04", "")
    chain = chain_of_run("b", first[1])  # resumed from 02, though run a continued to 05
    own = [backup(tmp_path, name, "b", first[1]) for name in ("06", "07")]
    every = [*first, other, foreign, *own]
    assert [belongs(item, chain) for item in every] == [True, True, False, False, False, True, True]
    assert [item.name for item in to_delete(every, chain, 2)] == ["01", "02"]
    assert [item.name for item in to_delete(every, chain, 3)] == ["01"]
    assert to_delete(every, chain, 4) == []
    assert to_delete(every, (), 1) == []


@pytest.mark.parametrize(
    ("keep", "left"), [(1, ["00"]), (2, ["00", "03"]), (3, ["00", "02", "03"]), (9, ["00", "01", "02", "03"])]
)
def test_the_newest_backup_stays_whatever_its_name(tmp_path: Path, keep: int, left: list[str]) -> None:
    """If the clock was set back, the new backup sorts first."""
    every = [backup(tmp_path, name, "a") for name in ("01", "02", "03")]
    newest = backup(tmp_path, "00", "a")
    gone = to_delete([newest, *every], chain_of_run("a", None), keep, newest)
    assert sorted(item.name for item in {newest, *every} - set(gone)) == left


@pytest.mark.parametrize("keep", [0, -1])
def test_a_count_that_keeps_none_deletes_none(tmp_path: Path, keep: int) -> None:
    """A run without a backup is never intended."""
    made = backup(tmp_path, "01", "a")
    assert to_delete([made], chain_of_run("a", None), keep, made) == ()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b'{"chain": 3}', b'{"chain": [{}]}', b'{"chain": [{"run": ""}]}', b"\xff"]
)
def test_a_damaged_marker_makes_a_backup_foreign(tmp_path: Path, content: bytes) -> None:
    """A backup of an unknown run is never deleted, and resuming from it begins a new chain."""
    made = backup(tmp_path, "01", "a")
    (made / MARKER).write_bytes(content)
    assert (read_chain(made), run_of(made)) == ((), "")
    assert not belongs(made, chain_of_run("a", None))
    assert chain_of_run("b", made) == (ChainLink("b"),)
    assert chain_of_run("b", tmp_path / "missing") == (ChainLink("b"),)


def test_the_marker_is_plain_json(tmp_path: Path) -> None:
    """Other programs may read it."""
    made = backup(tmp_path, "01", "a")
    assert json.loads((made / MARKER).read_text()) == {"chain": [{"run": "a", "resumed_from": ""}], "files": [MARKER]}
