"""Processes are killed while they replace a result or clear a cache: the old
or the new version is complete, and other files stay.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.conftest import ROUNDS
from tests.chaos.panels import checksums

pytestmark = pytest.mark.slow

# Each round is a kill in a fork of one process that has imported the engine: cheap.
KILLS = 10 * ROUNDS


@pytest.fixture(scope="module")
def forks() -> Any:
    """Processes that start immediately, because torch is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.writing"])
    return context


def killed(forks: Any, function: Callable[..., None], *args: object, wait_s: float) -> None:
    """Run a function in a separate process, and kill it this long after it started working."""
    started = forks.Event()
    process = forks.Process(target=function, args=(*args, started), daemon=True)
    process.start()
    assert started.wait(60)
    time.sleep(wait_s)
    process.kill()
    process.join()


def neighbors(folder: Path) -> dict[str, bytes]:
    """Write other files next to the result, and return them."""
    for name in ("images/1.png", "images/1.txt", ".git/HEAD", "models/other.safetensors", "models/LICENSE", "models/.hidden"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return checksums(folder)


@pytest.mark.parametrize("single", [False, True], ids=["folder", "file"])
def test_killed_while_a_result_is_replaced(tally, tmp_path, forks, single):
    """The result is one complete version, other files in and next to it stay, and the next run leaves no partial file."""
    from tests.chaos import writing

    for number in range(KILLS):
        random, folder = tally.round(number), tmp_path / str(number)
        before = neighbors(folder)
        target = folder / "models" / ("mine.safetensors" if single else "mine")
        config = writing.settings(folder, target, single=single)
        writing.outputs(config).save_final(writing.TrainState())
        if not single:
            (target / "notes").mkdir()
            (target / "notes" / "mine.txt").write_text("notes")
        killed(forks, writing.replace_for_ever, str(folder), str(target), single, wait_s=random.uniform(0, 0.1))
        at_rest = target if target.exists() else next(iter(target.parent.glob(f".replaced-*/{target.name}")), target)
        tally.check("lost", at_rest.exists(), f"neither old nor new is there in round {number}")
        writing.tidy_places(config)  # as the next run does before it writes
        files = [target] if single else sorted(target.glob("*.safetensors"))
        tally.check("torn", single or len(files) == writing.PARTS, f"{len(files)} of {writing.PARTS} files in round {number}")
        versions = set().union(*(writing.numbers_in(file) for file in files if file.is_file()))
        tally.check("torn", len(versions) == 1 and -1 not in versions, f"versions {versions} in round {number}")
        after = checksums(folder)
        if not single:
            tally.check("lost", after.get("models/mine/notes/mine.txt") == b"notes", f"the notes in round {number}")
        changed = [name for name, content in before.items() if after.get(name) != content]
        tally.check("lost", not changed, f"{changed} in round {number}")
        leftovers = {name.split("/")[1] for name in after if name.startswith("models/") and name not in before} - {target.name}
        tally.check("stray", not leftovers, f"{leftovers} in round {number}")
        shutil.rmtree(folder)


def test_killed_while_a_cache_is_cleared(tally, tmp_path, forks):
    """Other images and captions in the cache stay; the next clearing removes all of ours and nothing else."""
    from tests.chaos import writing

    for number in range(KILLS):
        random, cache = tally.round(number), tmp_path / str(number)
        for name in ("image/mine.png", "image/deep/mine.txt", "text/mine.safetensors", "other/mine.pt", "mine.json"):
            (cache / name).parent.mkdir(parents=True, exist_ok=True)
            (cache / name).write_text(name)
        before = checksums(cache)
        killed(forks, writing.encode_and_clear_for_ever, str(cache), wait_s=random.uniform(0, 0.05))
        after = checksums(cache)
        changed = [name for name, content in before.items() if after.get(name) != content]
        tally.check("lost", not changed, f"{changed} in round {number}")
        for path in cache.glob(".*.tmp"):  # newer files could belong to another run that is writing at this moment
            os.utime(path, (0, 0))
        writing.clear(cache)
        left = {name for name in checksums(cache) if os.path.basename(name) != writing.marker.MARKER}
        tally.check("lost", left >= before.keys(), f"{before.keys() - left} after the next clearing in round {number}")
        tally.check("stray", left <= before.keys(), f"{left - before.keys()} after the next clearing in round {number}")
        shutil.rmtree(cache)
