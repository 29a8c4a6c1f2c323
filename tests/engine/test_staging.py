"""Replacing folders, and what a kill at any moment leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.engine import staging
from onetrainer_gradio.engine.files import whole_file, whole_folder
from onetrainer_gradio.engine.staging import REPLACED, UNFINISHED, free_name, staged, tidy_up
from onetrainer_gradio.errors import OutputProtectedError

GONE = 999999999


def fill(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def made(target: Path, **files: str) -> None:
    with whole_folder(target) as folder:
        fill(folder, **files)


def tree(folder: Path) -> dict[str, str]:
    """Return every file with its text and every link with its target, without the marker."""
    found = {}
    for here, _, names in os.walk(folder):
        for name in names:
            path = Path(here, name)
            if name != marker.MARKER:
                found[str(path.relative_to(folder))] = os.readlink(path) if path.is_symlink() else path.read_text()
    return found


def owner(pid: int = GONE, born: str = "1", *, host: str = "", boot: str = "") -> str:
    here, now = staging._machine()
    return f"{pid}@{born}@{host or here}@{boot or now}@1"


def test_files_of_others_are_carried_over(tmp_path):
    """A replaced folder keeps every file, link and empty folder that no run wrote; what the last run wrote is deleted."""
    target = tmp_path / "model"
    made(target, old="1", both="1")
    fill(target, notes="mine")
    (target / "sub").mkdir()
    fill(target / "sub", deep="mine too")
    (target / "empty").mkdir()
    (target / "link").symlink_to("notes")
    (target / "dangling").symlink_to("/nowhere")
    made(target, new="2", both="2")
    assert tree(target) == {
        "new": "2", "both": "2", "notes": "mine", "sub/deep": "mine too", "link": "notes", "dangling": "/nowhere"
    }  # fmt: skip
    assert (target / "empty").is_dir()
    assert os.listdir(tmp_path) == ["model"]
    made(target, third="3")
    assert tree(target).keys() == {"third", "notes", "sub/deep", "link", "dangling"}


@pytest.mark.parametrize("links", [True, False])
def test_files_are_carried_over_without_hard_links_too(tmp_path, monkeypatch, links):
    """A file system without hard links gets copies."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *paths, **named: (_ for _ in ()).throw(OSError("no links")))
    made(tmp_path / "model", a="1")
    fill(tmp_path / "model", notes="mine")
    made(tmp_path / "model", a="2")
    assert tree(tmp_path / "model") == {"a": "2", "notes": "mine"}


def refused(target: Path, **files: str) -> str:
    before = tree(target.parent)
    with pytest.raises(OutputProtectedError) as caught:
        made(target, **files)
    assert tree(target.parent) == before
    return caught.value.message


@pytest.mark.slow
def test_what_no_run_wrote_is_not_replaced(tmp_path):
    """This covers a folder without a marker, with a changed file, or with other files in the way, a file, and a link."""
    (tmp_path / "foreign").mkdir()
    fill(tmp_path / "foreign", notes="mine")
    assert "no run wrote" in refused(tmp_path / "foreign", a="1")
    made(tmp_path / "changed", a="1")
    fill(tmp_path / "changed", a="by hand")
    assert "was changed" in refused(tmp_path / "changed", a="2")
    made(tmp_path / "crossed", a="1")
    fill(tmp_path / "crossed", b="mine")
    assert "b in it" in refused(tmp_path / "crossed", a="2", b="2")
    fill(tmp_path, file="mine")
    refused(tmp_path / "file", a="1")
    (tmp_path / "link").symlink_to(tmp_path / "crossed")
    refused(tmp_path / "link", a="1")


def test_an_empty_folder_is_filled(tmp_path):
    """It contains nothing that could be lost."""
    (tmp_path / "model").mkdir()
    made(tmp_path / "model", a="1")
    assert tree(tmp_path / "model") == {"a": "1"}


def test_a_marker_that_lists_other_folders_removes_nothing_there(tmp_path):
    """A marker only counts for what is in its own folder."""
    fill(tmp_path, victim="mine")
    made(tmp_path / "model", a="1")
    status = (tmp_path / "victim").stat()
    text = (tmp_path / "model" / marker.MARKER).read_text()
    stamp = f'"../victim": [{status.st_size}, {status.st_mtime_ns}], "a"'
    (tmp_path / "model" / marker.MARKER).write_text(text.replace('"a"', stamp, 1))
    made(tmp_path / "model", a="2")
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    """A single file is never written through a link."""
    fill(tmp_path, precious="mine")
    (tmp_path / "out").symlink_to("precious")
    with whole_file(tmp_path / "out") as path:
        path.write_text("new")
    assert tree(tmp_path) == {"precious": "mine", "out": "new"}


def test_names_as_long_as_they_can_be_are_written(tmp_path):
    """The temporary file's name is no longer than the file's own."""
    with whole_file(tmp_path / ("x" * 255)) as path:
        path.write_text("1")
    made(tmp_path / ("y" * 255), a="1")
    made(tmp_path / ("y" * 255), a="2")


@pytest.mark.slow
def test_what_dead_processes_left_is_removed_and_all_else_stays(tmp_path):
    """Files of living processes and other machines, links, and other names are left alone."""
    import psutil

    mine, parent = os.getpid(), os.getppid()
    gone = [UNFINISHED + owner(), UNFINISHED + owner(mine), UNFINISHED + owner(parent, "0"), UNFINISHED + owner(boot="ffffff")]
    gone += [f"{UNFINISHED}{GONE}-model.safetensors"]
    stay = [UNFINISHED + owner(parent, staging.created(parent)), UNFINISHED + owner(host="ffffff"), f"{UNFINISHED}1-x"]
    stay += [f"{UNFINISHED}notes", ".unfinished", f"x{UNFINISHED}{owner()}"]
    assert psutil.pid_exists(1)
    for name in (*gone, *stay):
        (tmp_path / name).mkdir()
        fill(tmp_path / name, a="1")
    (tmp_path / "outside").mkdir()
    fill(tmp_path / "outside", a="1")
    (tmp_path / (UNFINISHED + owner(GONE - 1))).symlink_to("outside")
    tidy_up(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*stay, "outside", UNFINISHED + owner(GONE - 1)])
    assert (tmp_path / "outside" / "a").exists()


def test_what_another_machine_left_goes_after_a_day(tmp_path):
    """Its processes can't be checked from here."""
    left = tmp_path / (UNFINISHED + owner(host="ffffff"))
    left.mkdir()
    fill(left, a="1")
    yesterday = time.time() - 25 * 3600
    for path in (left / "a", left):
        os.utime(path, (yesterday, yesterday))
    tidy_up(tmp_path)
    assert os.listdir(tmp_path) == []


def test_what_is_being_written_stays(tmp_path):
    """The process removes its own earlier leftovers, too."""
    with staged(tmp_path / "model") as place:
        place.write_text("half")
        tidy_up(tmp_path)
        assert place.exists()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_was_moved_aside_comes_back(tmp_path):
    """The process died before the new folder was in place, so the old one is the only one."""
    made(tmp_path / "model", a="1")
    fill(tmp_path / "model", notes="mine")
    aside = tmp_path / (REPLACED + owner())
    aside.mkdir()
    (tmp_path / "model").rename(aside / "model")
    tidy_up(tmp_path)
    assert os.listdir(tmp_path) == ["model"]
    assert tree(tmp_path / "model") == {"a": "1", "notes": "mine"}


@pytest.mark.slow
def test_a_folder_that_was_replaced_goes_but_nothing_is_lost_with_it(tmp_path):
    """The process died after the new one was in place; files that only the old one has stay under a visible name."""
    for number, extra in enumerate(("", "appeared later")):
        place = tmp_path / str(number)
        made(place / "old", a="1")
        fill(place / "old", notes="mine")
        made(place / "model", a="2")
        fill(place / "model", notes="mine")
        if extra:
            fill(place / "old", late=extra)
        aside = place / (REPLACED + owner())
        aside.mkdir()
        (place / "old").rename(aside / "model")
        tidy_up(place)
        assert tree(place / "model") == {"a": "2", "notes": "mine"}
        assert sorted(os.listdir(place)) == (["model", "model-2"] if extra else ["model"])
    assert tree(tmp_path / "1" / "model-2")["late"] == "appeared later"


def test_free_names_keep_the_ending(tmp_path):
    """Broken links occupy a name, too."""
    assert free_name(tmp_path / "a.safetensors").name == "a-2.safetensors"
    (tmp_path / "a-2.safetensors").symlink_to("/nowhere")
    assert free_name(tmp_path / "a.safetensors").name == "a-3.safetensors"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing(tmp_path):
    """A process that replaces a folder again and again is killed; after the
    next start the folder is complete, without leftovers.
    """
    body = f"""
        from pathlib import Path
        from onetrainer_gradio.engine.files import whole_folder
        target = Path({str(tmp_path / "model")!r})
        number = 0
        while True:
            number += 1
            with whole_folder(target) as folder:
                for name in "abc":
                    (folder / name).write_text(str(number))
            if number == 1:
                (target / "notes").write_text("mine")
                print("ready", flush=True)
    """
    for delay in (0.0, 0.003, 0.011, 0.017, 0.029, 0.041):
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(body)], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(delay)
            process.kill()
        tidy_up(tmp_path)
        left = tree(tmp_path / "model")
        assert left.pop("notes") == "mine"
        assert left.keys() == {"a", "b", "c"}
        assert len(set(left.values())) == 1
        assert os.listdir(tmp_path) == ["model"]
        (tmp_path / "model").rename(tmp_path / "gone")
        import shutil

        shutil.rmtree(tmp_path / "gone")
