"""What is reported about a folder before any of its code runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from onetrainer_gradio.backends.onetrainer import checkout
from onetrainer_gradio.errors import CheckoutError
from tests.backends.onetrainer.standin import environment, set_up

pytestmark = pytest.mark.slow


def codes(found: checkout.Checkout) -> list[str]:
    return [problem.code for problem in found.problems]


def test_a_whole_checkout_is_usable(tmp_path):
    """Its Python and the version of its settings are found without running anything."""
    folder = set_up(tmp_path / "OneTrainer")
    found = checkout.inspect(folder)
    assert found.usable, found.problems
    assert (found.python, found.config_version, found.revision) == (folder / "venv" / "bin" / "python", 11, "")
    assert checkout.require(found) == found.python


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda folder: folder.rename(folder.with_name("elsewhere")), "checkout_missing", "doesn't exist"),
        (
            lambda folder: subprocess.run(["rm", "-r", folder / "modules"], check=True),
            "checkout_not_onetrainer",
            "doesn't contain OneTrainer",
        ),
        (lambda folder: (folder / "modules/util/create.py").unlink(), "checkout_moved", "modules/util/create.py"),
        (lambda folder: subprocess.run(["rm", "-r", folder / "venv"], check=True), "checkout_no_python", "no Python environment"),
    ],
    ids=["no folder", "no OneTrainer", "moved modules", "no environment"],
)
def test_what_is_missing_is_named(tmp_path, spoil, code, words):
    """Each missing part has its own message and suggestion; a run fails with the same message."""
    folder = set_up(tmp_path / "OneTrainer")
    spoil(folder)
    found = checkout.inspect(folder)
    assert codes(found) == [code]
    assert words in found.problems[0].message
    assert found.problems[0].suggestion
    with pytest.raises(CheckoutError) as caught:
        checkout.require(found)
    assert caught.value.message == found.problems[0].message


def test_an_environment_whose_python_is_gone_is_distinguished_from_none(tmp_path):
    """The broken link is named."""
    folder = set_up(tmp_path / "OneTrainer", python=False)
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "python").symlink_to(tmp_path / "uninstalled" / "python3.10")
    found = checkout.inspect(folder)
    assert codes(found) == ["checkout_no_python"]
    assert "uninstalled/python3.10" in found.problems[0].message


def test_too_old_a_python_is_rejected_before_it_runs(tmp_path):
    """The environment contains its version."""
    folder = set_up(tmp_path / "OneTrainer", python=False)
    environment(folder / "venv", version="3.8.10")
    found = checkout.inspect(folder)
    assert codes(found) == ["checkout_python_version"]
    assert "Python 3.8" in found.problems[0].message


def test_another_interpreter_can_be_named(tmp_path, monkeypatch):
    """An argument or an environment variable sets it; one that can't be run is rejected."""
    folder = set_up(tmp_path / "OneTrainer", python=False)
    other = environment(tmp_path / "other")
    assert checkout.inspect(folder, other).python == other
    assert codes(checkout.inspect(folder, tmp_path / "nothing")) == ["checkout_no_python"]
    monkeypatch.setenv(checkout.PYTHON_VARIABLE, str(other))
    assert checkout.inspect(folder).python == other


def test_git_shows_revision_branch_and_changes(tmp_path):
    """They are read from git's files, including packed references and a detached head."""
    folder = set_up(tmp_path / "OneTrainer")

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "master")
    git("add", "modules")
    git("commit", "-q", "-m", "one")
    revision = git("rev-parse", "HEAD")
    found = checkout.inspect(folder)
    assert (found.revision, found.branch, found.modified) == (revision, "master", False)
    assert revision[:8] in found.label
    git("pack-refs", "--all")
    assert checkout.inspect(folder).revision == revision
    git("checkout", "-q", "--detach")
    found = checkout.inspect(folder)
    assert (found.revision, found.branch) == (revision, "")
    create = folder / "modules" / "util" / "create.py"
    create.write_text(create.read_text() + "\n# mine\n")
    assert checkout.inspect(folder).modified


def test_the_place_in_the_environment_comes_first(tmp_path, monkeypatch):
    """Usable checkouts in the default locations come first; one without its
    environment is used only if there is no better one.
    """
    folder = set_up(tmp_path / "here" / "OneTrainer", python=False)
    better = set_up(tmp_path / "home" / "OneTrainer")
    monkeypatch.setenv(checkout.PATH_VARIABLE, str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert next(checkout.default_places()) == folder
    found = checkout.find()
    assert found is not None
    assert found.folder == better
    subprocess.run(["rm", "-r", better], check=True)
    found = checkout.find()
    assert found is not None
    assert found.folder == folder
    assert isinstance(found.folder, Path)
