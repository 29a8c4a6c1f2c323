"""Create or update a Space with the panel: ``python -m onetrainer_gradio.deploy space NAME``.

The Space contains this checkout's package and presets, and the files of ``deploy/space``.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from onetrainer_gradio.cli import CheckedParser
from onetrainer_gradio.errors import CommandLineError, HubExistsError, TrainerError
from onetrainer_gradio.panel_secrets import PASSWORD_VARIABLE, TOKEN_VARIABLE

if TYPE_CHECKING:
    from huggingface_hub import SpaceHardware

PROGRAM = "python -m onetrainer_gradio.deploy"
ROOT = Path(__file__).resolve().parents[1]
SPACE_FILES = ("README.md", "app.py")
# What a new Space has, and a file that only a Space with the panel has.
_NEW_FILES = frozenset({".gitattributes", "README.md"})
_MARK = "onetrainer_gradio/__init__.py"
SECRETS = (PASSWORD_VARIABLE, TOKEN_VARIABLE, "HF_TOKEN")
# What the panel uses beyond what it requires.
_EXTRAS = ("notifications",)
_REPOSITORY = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")
_SKIPPED = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
EPILOG = f"""\
examples:
  {PROGRAM} space my-panel --dry-run                 list the files, upload nothing
  {PROGRAM} space my-panel                           create or update a private Space
  {PROGRAM} space my-panel --secret {PASSWORD_VARIABLE}

Log in first with: hf auth login, or set HF_TOKEN to a token that may write.
"""


@dataclass(frozen=True)
class SpaceOptions:
    """Options of ``space``. ``secrets`` are names of environment variables; ``bucket`` is mounted at ``/data``."""

    name: str
    dry_run: bool = False
    public: bool = False
    hardware: str = ""
    bucket: str = ""
    secrets: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


def requirements(root: Path = ROOT) -> str:
    """Return the requirements file of a Space: what the package needs, in the versions of ``constraints.txt``."""
    settings = configparser.ConfigParser()
    settings.read(root / "setup.cfg", encoding="utf-8")
    wanted = settings["options"]["install_requires"].splitlines()
    for extra in _EXTRAS:
        wanted += settings["options.extras_require"][extra].splitlines()
    pinned = {}
    for line in (root / "constraints.txt").read_text("utf-8").splitlines():
        if "==" in line:
            pinned[_normalized(line.split("==")[0])] = line.strip()
    names = sorted(_normalized(re.split(r"[^\w.-]", line.strip())[0]) for line in wanted if line.strip())
    head = "# Written by docs/generate.py. The default build of torch runs on CPU and GPU hardware."
    return "\n".join([head, *(pinned[name] for name in names)]) + "\n"


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def space_files(root: Path = ROOT) -> dict[str, Path | bytes]:
    """Return the files of a Space by their path in it.

    :raises CommandLineError: if this isn't a checkout.
    """
    if not (root / "deploy" / "space" / "app.py").is_file():
        raise CommandLineError(
            f"{root} isn't a checkout of the project: deploy/space is missing.",
            suggestion="Run this command from a checkout that was installed with pip install -e.",
        )
    files: dict[str, Path | bytes] = {name: root / "deploy" / "space" / name for name in SPACE_FILES}
    files["requirements.txt"] = requirements(root).encode()
    files["LICENSE"] = root / "LICENSE"
    for folder in ("onetrainer_gradio", "configs"):
        files.update((path.relative_to(root).as_posix(), path) for path in _sources(root / folder))
    return dict(sorted(files.items()))


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _SKIPPED or path.name.startswith(".") or path.suffix in (".pyc", ".pyo"):
            continue
        if path.is_dir():
            yield from _sources(path)
        elif path.is_file():
            yield path


def parse(argv: Sequence[str]) -> SpaceOptions:
    """Parse the command line.

    :raises CommandLineError: if an argument is invalid.
    """
    parser = CheckedParser(prog=PROGRAM, description="Create or update a hosted panel.", allow_abbrev=False)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    space = kinds.add_parser(
        "space",
        help="a Hugging Face Space",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    space.add_argument("name", metavar="NAME", type=_repository, help="name of the Space, such as my-panel or someone/my-panel")
    space.add_argument("--dry-run", action="store_true", help="list the files without uploading anything")
    space.add_argument("--public", action="store_true", help="let everyone see the Space (default: private)")
    space.add_argument("--hardware", default="", metavar="NAME", help="hardware of a new Space, such as t4-small (billed)")
    space.add_argument(
        "--bucket", default="", metavar="NAME", help="bucket of a new Space to keep the data in, such as me/panel-data"
    )
    space.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="VARIABLE",
        help=f"set a secret from this environment variable, such as {PASSWORD_VARIABLE}; can be repeated",
    )
    space.add_argument(
        "--variable", action="append", default=[], type=_variable, metavar="NAME=VALUE", help="set a variable; can be repeated"
    )
    given = parser.parse_args(argv)
    return SpaceOptions(
        name=given.name,
        dry_run=given.dry_run,
        public=given.public,
        hardware=given.hardware,
        bucket=given.bucket,
        secrets=tuple(given.secret),
        variables=tuple(given.variable),
    )


def _repository(text: str) -> str:
    if not _REPOSITORY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} isn't the name of a Space: use my-panel or someone/my-panel")
    return text


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and re.fullmatch(r"[A-Za-z_]\w*", name)):
        raise argparse.ArgumentTypeError(f"{text!r} isn't NAME=VALUE")
    if name in SECRETS:
        raise argparse.ArgumentTypeError(f"{name} is a secret: use --secret {name}")
    return name, value


def deploy_space(options: SpaceOptions, environment: Mapping[str, str], out: TextIO, root: Path = ROOT) -> str:
    """Create the Space if it doesn't exist, upload its files in one commit, and return its address; empty after a dry run.

    :raises CommandLineError: if this isn't a checkout, or a secret isn't set.
    :raises HubExistsError: if the Space has something else than the panel.
    :raises TrainerError: if the Hub can't be reached or rejects it.
    """
    files = space_files(root)
    secrets = {name: _secret(name, environment) for name in options.secrets}
    if options.dry_run:
        for name, content in files.items():
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            print(f"{size:>10}  {name}", file=out)
        print(f"{len(files)} files for the Space {options.name}. Nothing was uploaded.", file=out)
        return ""
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, Volume

    from onetrainer_gradio.service.hub.client import HubClient, raising_hub_error

    api = HubClient(lambda: environment.get("HF_TOKEN", "")).api()
    with raising_hub_error(options.name):
        url = api.create_repo(
            options.name,
            repo_type="space",
            space_sdk="gradio",
            private=not options.public,
            exist_ok=True,
            space_hardware=cast("SpaceHardware", options.hardware) if options.hardware else None,
            space_volumes=[Volume(type="bucket", source=options.bucket, mount_path="/data")] if options.bucket else None,
        )
        name = url.repo_id
        present = api.list_repo_files(name, repo_type="space")
        if _MARK not in present and not _NEW_FILES.issuperset(present):
            raise HubExistsError(
                f"The Space {name} already exists and doesn't contain the panel, so it isn't changed.",
                value=name,
                suggestion="Choose another name.",
            )
        for key, value in secrets.items():  # before the files: the first start already needs them
            api.add_space_secret(name, key, value)
        for key, value in options.variables:
            api.add_space_variable(name, key, value)
        ours = ("onetrainer_gradio/", "configs/")
        former = [path for path in present if path.startswith(ours) and path not in files]
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationDelete(path) for path in former),
            *(CommitOperationAdd(path, content) for path, content in files.items()),
        ]
        api.create_commit(name, operations, commit_message="Update the panel", repo_type="space")
    print(f"{url} has {len(files)} files ({'public' if options.public else 'private'} if it is new).", file=out)
    if not {PASSWORD_VARIABLE, TOKEN_VARIABLE} & set(secrets):
        print(f"  If it has no secret {PASSWORD_VARIABLE} yet, its log shows a token to log in with.", file=out)
    return str(url)


def _secret(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "")
    if not value:
        raise CommandLineError(f"The environment variable {name} isn't set.", suggestion=f"Set it, or remove --secret {name}.")
    return value


def main(argv: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 1 not possible, 2 invalid command line."""
    try:
        deploy_space(parse(sys.argv[1:] if argv is None else argv), os.environ, out or sys.stdout)
    except CommandLineError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return error.exit_status
    except TrainerError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
