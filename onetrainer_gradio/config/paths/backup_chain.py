"""Record which run created a backup, so that a run with rolling backups deletes only its own and those it was resumed from.

A small JSON file in each backup names the run and the runs before it. OneTrainer ignores the file, and a backup without it
was made by OneTrainer itself or by an older release: no run of this panel deletes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onetrainer_gradio.config.paths.marker import entries

MARKER = "onetrainer_gradio_run.json"
PIN = "onetrainer_gradio_pinned"
"""A backup that contains this file is never deleted."""


@dataclass(frozen=True)
class ChainLink:
    """A run of a chain, and the name of its backup that the next run was resumed from (empty for the last run)."""

    run: str
    resumed_from: str = ""


Chain = tuple[ChainLink, ...]


def read_chain(backup: Path | None) -> Chain:
    """Return the chain of the run that made a backup, oldest run first; empty when that isn't known."""
    if backup is None:
        return ()
    try:
        body = json.loads((backup / MARKER).read_bytes())
        links = tuple(ChainLink(str(item["run"]), str(item.get("resumed_from", ""))) for item in body["chain"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
    return links if all(link.run for link in links) else ()


def run_of(backup: Path | None) -> str:
    """Return the id of the run that made a backup; empty when that isn't known."""
    chain = read_chain(backup)
    return chain[-1].run if chain else ""


def chain_of_run(run_id: str, resumed_from: Path | None) -> Chain:
    """Return the chain of a run that starts from the beginning, or from a backup."""
    earlier = read_chain(resumed_from)
    if not earlier or resumed_from is None:
        return (ChainLink(run_id),)
    return (*earlier[:-1], ChainLink(earlier[-1].run, resumed_from.name), ChainLink(run_id))


def write_chain(backup: Path, chain: Chain) -> None:
    """Write the chain and the list of files into a complete backup.

    :raises OSError: when it can't be written.
    """
    files = sorted({MARKER, *(name for name, _ in entries(backup))})
    body = {"chain": [asdict(link) for link in chain], "files": files}
    (backup / MARKER).write_text(json.dumps(body, indent=2), encoding="utf-8")


def added_files(backup: Path) -> tuple[str, ...]:
    """Return the files in a backup that were added after its creation, as relative paths.

    :raises OSError: when a folder can't be read.
    """
    try:
        made = set(json.loads((backup / MARKER).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()  # created by an older release, which listed nothing
    return tuple(name for name, _ in entries(backup) if name not in made)


def is_pinned(backup: Path) -> bool:
    """Return whether someone pinned a backup."""
    return (backup / PIN).is_file()


def belongs(backup: Path, chain: Chain) -> bool:
    """Return whether a run of the chain made the backup, before the chain left that run.

    Backups that a run created after the backup that the next run resumed from belong to another branch.
    """
    made_by = run_of(backup)
    return any(link.run == made_by and (not link.resumed_from or backup.name <= link.resumed_from) for link in chain if made_by)


def to_delete(backups: Iterable[Path], chain: Chain, keep: int, newest: Path | None = None) -> Sequence[Path]:
    """Return the backups of the chain that rolling backups delete: all but the last ``keep`` by name, and never ``newest``.

    Pinned ones are kept in addition.
    """
    own = sorted(
        (backup for backup in backups if belongs(backup, chain) and not is_pinned(backup)), key=lambda backup: backup.name
    )
    if keep < 1:
        return ()
    if newest is not None:
        own = [backup for backup in own if backup.name != newest.name]
        return own[: len(own) - (keep - 1)] if len(own) >= keep else ()
    return own[:-keep]
