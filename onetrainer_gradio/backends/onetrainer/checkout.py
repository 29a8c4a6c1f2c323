"""Describe a OneTrainer checkout on this machine: its folder, whether it can be used, and its revision.

Everything here reads files and runs at most ``git status``; nothing of OneTrainer is imported.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.errors import CheckoutError, Finding

PATH_VARIABLE = "ONETRAINER_PATH"
PYTHON_VARIABLE = "ONETRAINER_PYTHON"
OLDEST_PYTHON = (3, 10)

# Files that determine a checkout's facts; the facts cache checks when they changed.
CONFIG_FOLDERS = ("modules/util/config", "modules/util/enum", "modules/modelSetup")
# What the bridge imports, and so what a checkout needs to have.
NEEDED_FILES = (
    "modules/util/create.py",
    "modules/util/config/TrainConfig.py",
    "modules/util/config/SampleConfig.py",
    "modules/util/callbacks/TrainCallbacks.py",
    "modules/util/commands/TrainCommands.py",
)
_CONFIG_VERSION = re.compile(r"config_version\s*=\s*(\d+)")
_ENVIRONMENTS = ("venv", ".venv", "conda_env", ".pixi/envs/default", ".pixi/envs/cuda", ".pixi/envs/rocm", ".pixi/envs/cpu")
_INTERPRETERS = ("Scripts/python.exe", "python.exe") if os.name == "nt" else ("bin/python", "bin/python3")
_GIT_S = 5.0


@dataclass(frozen=True)
class Checkout:
    """A folder that contains OneTrainer, or should.

    ``python`` is the interpreter of its environment, ``config_version`` the version of its configuration files, ``revision`` and
    ``branch`` come from git (empty for an unpacked archive), ``modified`` is whether tracked files were changed.
    """

    folder: Path
    python: Path | None
    config_version: int | None
    revision: str
    branch: str
    modified: bool
    problems: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Return whether nothing is known that would keep it from training."""
        return not any(problem.severity == "error" for problem in self.problems)

    @property
    def label(self) -> str:
        """Return a short name for people: the folder and the revision."""
        changed = " with changes" if self.modified else ""
        return f"{self.folder} ({self.revision[:8]}{changed})" if self.revision else str(self.folder)


def inspect(folder: Path, python: Path | None = None) -> Checkout:
    """Return what a folder is according to its files; ``python`` is an interpreter to use instead of that of its environment."""
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    problems = list(_folder_problems(folder))
    if problems:
        return Checkout(folder, None, None, "", "", modified=False, problems=tuple(problems))
    interpreter, found = _interpreter(folder, python)
    problems.extend(found)
    version = _config_version(folder)
    if version is None:
        problems.append(
            Finding(
                "warning",
                "",
                "The configuration version of this OneTrainer revision can't be read from its files.",
                expected="config_version in modules/util/config/TrainConfig.py",
                code="checkout_version",
            )
        )
    revision, branch = _git_head(folder)
    return Checkout(
        folder, interpreter, version, revision, branch, modified=bool(revision) and _modified(folder), problems=tuple(problems)
    )


def state_of_modules(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and modification time of every Python file of OneTrainer: what an import would load."""
    found = []
    for place, _, names in os.walk(folder / "modules"):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(place, name)
                with contextlib.suppress(OSError):  # gone in the meantime: an update is running
                    stat = os.stat(path)
                    found.append((path, stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(found))


def default_places() -> Iterator[Path]:
    """Return the folders where a checkout is usually found, those of the environment first; they don't have to exist."""
    if named := os.environ.get(PATH_VARIABLE):
        yield Path(named).expanduser()
    home = Path(os.path.expanduser("~"))
    package_parent = Path(__file__).resolve().parents[3]
    for parent in (Path.cwd(), Path.cwd().parent, package_parent.parent, home, home / "git", home / "src", home / "Documents"):
        yield parent / "OneTrainer"
    yield Path("/workspace/OneTrainer")
    yield Path("/opt/OneTrainer")


def find() -> Checkout | None:
    """Return the first checkout in the usual places, usable ones before others; None where there is none at all."""
    known = [inspect(place) for place in dict.fromkeys(default_places()) if os.path.isfile(place / NEEDED_FILES[0])]
    return next((checkout for checkout in known if checkout.usable), known[0] if known else None)


def require(checkout: Checkout) -> Path:
    """Return the interpreter of a usable checkout.

    :raises CheckoutError: naming what is missing.
    """
    wrong = next((problem for problem in checkout.problems if problem.severity == "error"), None)
    if wrong is not None or checkout.python is None:
        raise CheckoutError(
            wrong.message if wrong else f"{checkout.folder} has no Python environment.",
            value=str(checkout.folder),
            expected=wrong.expected if wrong else "",
            suggestion=wrong.suggestion if wrong else "",
        )
    return checkout.python


def _folder_problems(folder: Path) -> Iterator[Finding]:
    if not os.path.isdir(folder):
        yield Finding(
            "error",
            "checkout",
            f"The folder {folder} {_what_it_is(folder)}.",
            str(folder),
            "the folder that OneTrainer was cloned or unpacked into",
            "Choose the folder that contains start-ui and modules.",
            code="checkout_missing",
        )
        return
    missing = [name for name in NEEDED_FILES if not os.path.isfile(folder / name)]
    if len(missing) == len(NEEDED_FILES):
        yield Finding(
            "error",
            "checkout",
            f"The folder {folder} doesn't contain OneTrainer.",
            str(folder),
            f"a folder with {NEEDED_FILES[0]} in it",
            "Choose the folder that OneTrainer was cloned or unpacked into.",
            code="checkout_not_onetrainer",
        )
    elif missing:
        yield Finding(
            "error",
            "checkout",
            f"The panel doesn't support the module layout of this OneTrainer revision: {missing[0]} doesn't exist.",
            str(folder),
            ", ".join(missing),
            "Update the panel, or check out a supported revision of OneTrainer.",
            code="checkout_moved",
        )


def _what_it_is(path: Path) -> str:
    try:
        os.stat(path)
    except PermissionError:
        return "can't be opened: permission denied"
    except (OSError, ValueError):
        return "doesn't exist"
    return "is a file"


def _interpreter(folder: Path, python: Path | None) -> tuple[Path | None, list[Finding]]:
    if python is None and (named := os.environ.get(PYTHON_VARIABLE)):
        python = Path(named)
    if python is not None:
        python = Path(os.path.abspath(python.expanduser()))
        if not os.access(python, os.X_OK) or os.path.isdir(python):
            text = f"{python} isn't an executable program."
            expected, suggestion = "a Python interpreter", "Choose OneTrainer's Python interpreter."
            return None, [Finding("error", "checkout_python", text, str(python), expected, suggestion, code="checkout_no_python")]
        return python, _version_problems(python)
    broken: Path | None = None
    for environment in _environments(folder):
        for name in _INTERPRETERS:
            candidate = environment / name
            if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
                return candidate, _version_problems(candidate)
            if os.path.islink(candidate):
                broken = candidate
    if broken is not None:
        text = f"The Python of OneTrainer's environment doesn't exist: {broken} points to {os.path.realpath(broken)}."
    else:
        text = f"OneTrainer in {folder} has no Python environment."
    suggestion = "Run OneTrainer's installer (install.sh or install.bat), or choose a Python interpreter with its libraries."
    expected = f"one of {', '.join(_ENVIRONMENTS[:3])} in that folder"
    return None, [Finding("error", "checkout", text, str(folder), expected, suggestion, code="checkout_no_python")]


def _environments(folder: Path) -> Iterator[Path]:
    for variable in ("OT_PYTHON_VENV", "OT_CONDA_ENV"):
        if named := os.environ.get(variable):
            yield folder / named
    for name in _ENVIRONMENTS:
        yield folder / name


def _version_problems(python: Path) -> list[Finding]:
    version = python_version(python)
    if version is None or version >= OLDEST_PYTHON:
        return []
    oldest = ".".join(map(str, OLDEST_PYTHON))
    text = f"OneTrainer requires Python {oldest} or newer, but {python} is Python {version[0]}.{version[1]}."
    suggestion = f"Reinstall OneTrainer's environment with Python {oldest} or newer."
    return [
        Finding("error", "checkout", text, str(python), f"Python {oldest} or newer", suggestion, code="checkout_python_version")
    ]


def python_version(python: Path) -> tuple[int, int] | None:
    """Return the major and minor version of an interpreter from its environment's files; None if they lack it."""
    for folder in (python.parent, python.parent.parent):
        try:
            text = (folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if found := re.search(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)", text, re.MULTILINE):
            return int(found[1]), int(found[2])
    for record in sorted(python.parent.parent.glob("conda-meta/python-[0-9]*.json")):
        if found := re.match(r"python-(\d+)\.(\d+)", record.name):
            return int(found[1]), int(found[2])
    own = os.path.realpath(python) == os.path.realpath(sys.executable)
    return (sys.version_info[0], sys.version_info[1]) if own else None


def _config_version(folder: Path) -> int | None:
    try:
        text = (folder / "modules/util/config/TrainConfig.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _CONFIG_VERSION.search(text)
    return int(found[1]) if found else None


def _git_head(folder: Path) -> tuple[str, str]:
    """Return revision and branch from git's own files."""
    git = folder / ".git"
    try:
        if git.is_file():  # a worktree or submodule
            git = folder / git.read_text().partition("gitdir:")[2].strip()
        head = (git / "HEAD").read_text().strip()
    except OSError:
        return "", ""
    if not head.startswith("ref:"):
        return head, ""
    name = head.partition(":")[2].strip()
    branch = name.removeprefix("refs/heads/")
    return _git_reference(git, name), branch


def _git_reference(git: Path, name: str) -> str:
    folders = [git]
    with contextlib.suppress(OSError):
        folders.append(git / (git / "commondir").read_text().strip())
    for folder in folders:
        with contextlib.suppress(OSError):
            return (folder / name).read_text().strip()
        try:
            lines = (folder / "packed-refs").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            revision, _, known = line.partition(" ")
            if known == name:
                return revision
    return ""


def _modified(folder: Path) -> bool:
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=_GIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
