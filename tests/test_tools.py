"""The targets of the Makefile are documented and work; the workflow and the hooks are valid and call existing files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import fast

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("setup", "run", "demo", "test", "exhaustive", "fast", "lint", "types", "docs", "bench", "coverage")
YAML = sorted([*ROOT.glob(".*.yaml"), *ROOT.glob(".github/**/*.yml")])


def words() -> dict[str, str]:
    """Return the targets of the Makefile with their descriptions."""
    return dict(re.findall(r"^(\w+): *## (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_each_task_is_one_word_and_documented() -> None:
    """The Makefile has these targets with a description each, and CONTRIBUTING.md mentions them all."""
    assert set(words()) == set(WORDS)
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert [word for word in WORDS if f"`make {word}`" not in guide] == []


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("word", WORDS)
def test_a_word_calls_files_that_exist(word: str) -> None:
    """The commands of a target are scripts of this project."""
    output = subprocess.run(["make", "--dry-run", word], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output.strip()
    for script in re.findall(r"python (\w\S*\.py)", output):
        assert (ROOT / script).is_file(), script


def test_the_fast_part_has_every_file_of_tests_in_one_of_its_processes() -> None:
    """What the first process tests is what the second one omits."""
    first, second = fast.halves()
    assert all(any(Path(path).rglob("test_*.py")) for path in first)
    assert second == [str(fast.TESTS), *(f"--ignore={path}" for path in first)]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_can_be_read(path: Path) -> None:
    assert yaml.safe_load(path.read_text("utf-8"))


def test_the_workflow_covers_the_systems_and_calls_the_same_commands() -> None:
    """Linux with each Python, Windows and macOS run .ci/run and the Makefile's targets."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
    ran = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in ran
    cells = jobs["tests"]["strategy"]["matrix"]["include"]
    assert {cell["os"].partition("-")[0] for cell in cells} == {"ubuntu", "windows", "macos"}
    assert {cell["task"] for cell in cells} <= set(WORDS)
    first = next(step["with"] for step in jobs["checks"]["steps"] if "setup-python" in step.get("uses", ""))
    tested = {first["python-version"], *(cell["python"] for cell in cells)}
    assert tested == set(re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.cfg").read_text("utf-8")))


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_processes_of_tests_keep_what_they_compiled(tmp_path: Path) -> None:
    """`.ci/run` and the Makefile let Python write bytecode regardless of the
    environment; imports take twice as long without it.
    """
    assert re.search(r"^unset PYTHONDONTWRITEBYTECODE$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    asking = tmp_path / "python"
    asking.write_text('#!/bin/sh\necho "bytecode: ${PYTHONDONTWRITEBYTECODE-written}"\n')
    asking.chmod(0o755)
    output = subprocess.run(
        ["make", f"PYTHON={asking}", "fast"],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "bytecode: written" in output


def test_what_is_left_out_of_each_change_runs_each_night() -> None:
    """`.ci/run` and `make test` omit only what is marked exhaustive; the nightly job omits nothing."""
    left_out = re.compile(r"""pytest .*-m ("[^"]+"|'[^']+')""")
    targets = (ROOT / "Makefile").read_text("utf-8")
    for text in ((ROOT / ".ci/run").read_text("utf-8"), targets):
        assert set(left_out.findall(text)) == {'"not exhaustive"'}
    assert not left_out.search(targets.partition("\nexhaustive:")[2].partition("\n\n")[0])
    rounds = [int(number) for number in re.findall(r"CHAOS_ROUNDS=(\d+)", targets)]
    assert 0 < rounds[0] < rounds[1]
    workflow = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text("utf-8"))
    assert workflow[True]["schedule"]  # YAML 1.1 reads “on” as true
    ran = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert "make exhaustive" in ran


def test_all_tests_run_for_each_pull_request() -> None:
    """The parallel jobs together have each folder and file of tests once."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
    parts = [part for parts in jobs["exhaustive"]["strategy"]["matrix"]["parts"] for part in parts.split()]
    tested = [
        file for part in parts for path in ROOT.glob(part) for file in ([path] if path.is_file() else path.rglob("test_*.py"))
    ]
    assert sorted(tested) == sorted(file for file in fast.TESTS.rglob("test_*.py") if "fixtures" not in file.parts)


def test_hooks_need_no_network() -> None:
    """Each hook is local and runs what the environment provides."""
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert {hook["language"] for hook in repos[0]["hooks"]} == {"system"}


@pytest.mark.slow
def test_generated_docs_are_current() -> None:
    """`make docs` changes nothing."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import generate
    finally:
        sys.path.pop(0)
    for name in generate.TABLES:
        assert generate.page(name) == (ROOT / "docs" / name).read_text("utf-8"), name


def test_no_function_of_the_page_is_longer_than_60_lines() -> None:
    """Biome counts the lines, CI calls Biome, and no script is exempt."""
    settings = json.loads((ROOT / "biome.json").read_text("utf-8"))
    rule = settings["linter"]["rules"]["complexity"]["noExcessiveLinesPerFunction"]
    assert rule == {"level": "error", "options": {"maxLines": 60}}
    assert "overrides" not in settings
    assert "biome ci --error-on-warnings" in (ROOT / ".ci/run").read_text("utf-8")
    scripts = (ROOT / "onetrainer_gradio/ui/assets").glob("*.js")
    assert [path.name for path in scripts if re.search("biome-ignore(?! format)", path.read_text("utf-8"))] == []
