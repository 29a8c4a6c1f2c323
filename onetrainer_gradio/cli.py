"""Parse the command line. Imports nothing heavy."""

from __future__ import annotations

import argparse
import ipaddress
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from datetime import time as datetime_time
from pathlib import Path
from typing import Any, NoReturn

from onetrainer_gradio import __version__
from onetrainer_gradio.errors import CommandLineError
from onetrainer_gradio.panel_secrets import (
    ACCOUNTS_VARIABLE,
    OIDC_SECRET_VARIABLE,
    PASSWORD_VARIABLE,
    SSL_PASSWORD_VARIABLE,
    TOKEN_VARIABLE,
)
from onetrainer_gradio.service.people.provider_settings import (
    RULE_FORM,
    ProviderSettings,
    of_space,
    provider_settings,
    rules_in,
)
from onetrainer_gradio.service.service_settings import DATA_VARIABLE, PUSH_LIMIT_BYTES, default_data_folder

PROGRAM = "onetrainer-gradio"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7860
PORTS_TRIED = 20
# OneTrainer takes seconds to import; people who check a run before the next one return within minutes.
KEEP_LOADED_S = 600.0
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("critical", "error", "warning", "info", "debug")

# The value of --token without a value: the panel generates one.
GENERATE = "\0generate"

SPACE_VARIABLE = "SPACE_ID"
OIDC_ISSUER_VARIABLE = "ONETRAINER_GRADIO_OIDC_ISSUER"
OIDC_CLIENT_VARIABLE = "ONETRAINER_GRADIO_OIDC_CLIENT_ID"
OIDC_ALLOW_VARIABLE = "ONETRAINER_GRADIO_OIDC_ALLOW"
PUSH_VARIABLE = "ONETRAINER_GRADIO_PUSH_TO"
PUSH_LIMIT_VARIABLE = "ONETRAINER_GRADIO_PUSH_LIMIT_GB"
# The name that uvicorn and other servers use.
PROXIES_VARIABLE = "FORWARDED_ALLOW_IPS"

PANEL_DESCRIPTION = (
    "Open the panel: a web page to configure, start and monitor the training of diffusion models, with REST and WebSocket."
)
PANEL_EPILOG = f"""\
examples:
  {PROGRAM} --demo                          try everything with the included tiny model
  {PROGRAM} --config my_lora.json           open a configuration file
  {PROGRAM} --host 0.0.0.0 --token          allow access from the local network, with a new token
  {PROGRAM} --host 0.0.0.0 --token --ssl self    the same over HTTPS
  {PROGRAM} --onetrainer ~/OneTrainer       use OneTrainer: its models, presets and settings
  {PROGRAM} train my_lora.json              train without the page (see: {PROGRAM} train --help)
  {PROGRAM} queue add my_lora.json          add a run to the queue (see: {PROGRAM} queue --help)
  {PROGRAM} convert a.safetensors ...       convert a LoRA to another format (see: {PROGRAM} convert --help)
  {PROGRAM} memory my_lora.json             estimate the VRAM of a run (see: {PROGRAM} memory --help)
  {PROGRAM} backup panel.tar                back up the data folder (see: {PROGRAM} backup --help)
  {PROGRAM} restore panel.tar               restore it into an empty folder (see: {PROGRAM} restore --help)

environment:
  {DATA_VARIABLE}       data folder if --data is not set
  {PASSWORD_VARIABLE}   password if --password is not set
  {TOKEN_VARIABLE}      token if --token is not set
  {ACCOUNTS_VARIABLE}   1: the same as --accounts
  {OIDC_ISSUER_VARIABLE}, {OIDC_CLIENT_VARIABLE}, {OIDC_ALLOW_VARIABLE}
                               if --oidc-issuer, --oidc-client-id, --oidc-allow (separated by spaces) are not set
  {OIDC_SECRET_VARIABLE}   secret of the client at the OpenID Connect provider
  {SSL_PASSWORD_VARIABLE}   password of the private key for HTTPS
  {PROXIES_VARIABLE}          trusted proxies in addition to --trusted-proxy, separated by commas
  {PUSH_VARIABLE}    private repository on the Hugging Face Hub that the data folder is copied to
  ONETRAINER_PATH              OneTrainer folder to use, in addition to the default locations

Ctrl-C stops the panel. Runs in separate processes continue; restart the panel to see them.
"""
TRAIN_DESCRIPTION = "Train without the page. Ctrl-C stops gracefully and saves the model; a second Ctrl-C stops at once."
TRAIN_EPILOG = f"""\
examples:
  {PROGRAM} train my_lora.json --name "first try"
  {PROGRAM} train "Demo LoRA" --max-steps 50
  {PROGRAM} train my_lora.json --resume workspace/backup/2026-11-23_15-04-05-backup-100-2-20

exit status: 0 finished, 130 stopped, 1 failed or crashed, 2 invalid command line
"""
CONVERT_DESCRIPTION = "Convert a LoRA (also DoRA, LoHa, LoKr or OFT) to another file format."
CONVERT_EPILOG = f"""\
examples:
  {PROGRAM} convert from_onetrainer.safetensors for_comfyui.safetensors --format comfy
  {PROGRAM} convert workspace/backup/2026-11-23_15-04-05-backup-100-2-20 lora.safetensors --format kohya

exit status: 0 converted, 1 not possible, 2 invalid command line
"""
MEMORY_DESCRIPTION = (
    "Estimate the VRAM of a run: the peak of each phase, by category. Needs no GPU and no weights. Not yet calibrated."
)
MEMORY_EPILOG = f"""\
examples:
  {PROGRAM} memory my_lora.json
  {PROGRAM} memory my_lora.json --vram 12    what to change so that it fits into 12 GiB

exit status: 0 estimated, 1 not possible, or it doesn't fit into --vram, 2 invalid command line
"""
QUEUE_DESCRIPTION = (
    "List and change the queue of a data folder. Works with or without a running panel; only a panel starts the runs."
)
QUEUE_EPILOG = f"""\
examples:
  {PROGRAM} queue add my_lora.json --name tonight --not-before 23:00
  {PROGRAM} queue add my_lora.json --sweep "learning_rate=1e-4,3e-4" --sweep "lora_rank=8,16,32"
  {PROGRAM} queue list
  {PROGRAM} queue move q-0123456789ab 1

exit status: 0 done, 1 not possible, 2 invalid command line
"""
BACKUP_DESCRIPTION = (
    "Back up the data folder into one file with checksums. Works while a panel runs. "
    "Caches, and workspaces outside the data folder, are never included."
)
BACKUP_EPILOG = f"""\
examples:
  {PROGRAM} backup panel.tar
  {PROGRAM} backup panel.tar.gz --without samples --without backups
  {PROGRAM} backup - | ssh machine {PROGRAM} restore -

exit status: 0 complete, 1 not possible, 2 invalid command line, 130 interrupted
"""
RESTORE_DESCRIPTION = "Restore a backup into an empty or missing data folder. It is verified before anything is put in place."
RESTORE_EPILOG = f"""\
examples:
  {PROGRAM} restore panel.tar
  {PROGRAM} restore panel.tar --data /srv/onetrainer

exit status: 0 restored, 1 not possible, 2 invalid command line, 130 interrupted
"""
BACKUP_PARTS = ("samples", "backups", "datasets")
"""What ``backup --without`` can omit."""
# action -> help; all of them take the ID of a queued run
QUEUE_ITEM_ACTIONS = {
    "remove": "remove a waiting run",
    "hold": "hold a waiting run until it is released",
    "release": "let a held run start",
    "duplicate": "add a held copy of a run",
}
QUEUE_ACTIONS = {"pause": "start no further run", "resume": "start runs again"}
LORA_FORMATS = ("diffusers", "kohya", "original", "comfy", "legacy", "internal")
"""The words of ``--format``. Loading the output formats themselves would take longer than printing the help."""


@dataclass(frozen=True)
class PanelOptions:
    """Options of the panel. If ``port`` is None: the default port, or the next free one."""

    host: str = DEFAULT_HOST
    port: int | None = None
    share: bool = False
    password: str = ""
    token: str = ""
    demo: bool = False
    data: Path = field(default_factory=Path)
    config: Path | None = None
    in_process: bool = False
    backend: str = "builtin"
    checkouts: tuple[Path, ...] = ()
    find_checkouts: bool = True
    keep_loaded_s: float = KEEP_LOADED_S
    allow: tuple[Path, ...] = ()
    accounts: bool = False
    provider: ProviderSettings | None = None
    public_hosts: tuple[str, ...] = ()
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_password: str = ""
    ssl_own: bool = False
    redirect_port: int | None = None
    trusted_proxies: tuple[str, ...] = ()
    rate_limit: float = 1.0
    open_browser: bool | None = None
    log_level: str = "warning"
    log_format: str = "text"
    hosted: bool = False
    push_to: str = ""
    push_limit_bytes: int = PUSH_LIMIT_BYTES


@dataclass(frozen=True)
class TrainOptions:
    """Options of ``train``."""

    config: str
    data: Path
    in_process: bool = False
    detach: bool = False
    backend: str = "builtin"
    checkout: Path | None = None
    max_steps: int | None = None
    name: str = ""
    resume: str = ""
    log_level: str = "warning"


@dataclass(frozen=True)
class ConvertOptions:
    """Options of ``convert``. Without ``model_type``, it is recognized."""

    source: Path
    destination: Path
    model_format: str
    model_type: str = ""
    overwrite: bool = False
    log_level: str = "warning"


@dataclass(frozen=True)
class MemoryOptions:
    """Options of ``memory``. ``vram_gib``: the memory to fit into."""

    config: str
    data: Path
    vram_gib: float | None = None
    log_level: str = "warning"


@dataclass(frozen=True)
class QueueOptions:
    """Options of ``queue``. ``choices`` are fields of ``ItemChoices``; ``sweep`` are values by the path of a setting."""

    action: str
    data: Path
    item: str = ""
    place: int = 1
    config: str = ""
    choices: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, str] = field(default_factory=dict)
    ended: bool = False
    as_json: bool = False
    log_level: str = "warning"


@dataclass(frozen=True)
class BackupOptions:
    """Options of ``backup``. If ``destination`` is None: standard output."""

    destination: Path | None
    data: Path
    without: tuple[str, ...] = ()
    secrets: bool = False
    overwrite: bool = False
    log_level: str = "warning"


@dataclass(frozen=True)
class RestoreOptions:
    """Options of ``restore``. If ``source`` is None: standard input."""

    source: Path | None
    data: Path
    log_level: str = "warning"


Options = PanelOptions | TrainOptions | ConvertOptions | MemoryOptions | QueueOptions | BackupOptions | RestoreOptions


def parse(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Parse ``argv`` (without the program's name). Help and version are printed and end the program.

    :raises CommandLineError: if an argument is invalid.
    """
    command = _COMMANDS.get(argv[0]) if argv else None
    return command(argv[1:], environment) if command else _panel_options(panel_parser(), argv, environment)


def _stream_or_path(text: str) -> Path | None:
    return None if text == "-" else Path(text).expanduser().absolute()


def panel_parser() -> argparse.ArgumentParser:
    """Return the parser of the panel's command line."""
    parser = CheckedParser(
        prog=PROGRAM, description=PANEL_DESCRIPTION, epilog=PANEL_EPILOG, formatter_class=_Format, allow_abbrev=False
    )
    start = parser.add_argument_group("what to open")
    which = start.add_mutually_exclusive_group()
    which.add_argument("--demo", action="store_true", help="open the demo, ready to start")
    which.add_argument("--config", type=_file, metavar="FILE", help="open this configuration file")
    _add_data(start)
    start.add_argument(
        "--open", action=argparse.BooleanOptionalAction, dest="open_browser", help="open a browser (default: yes on a desktop)"
    )

    address = parser.add_argument_group("address and access")
    address.add_argument(
        "--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST}, this machine only)"
    )
    address.add_argument(
        "--port", type=_port, help=f"port to listen on (default: {DEFAULT_PORT}, or one of the next {PORTS_TRIED} if taken)"
    )
    address.add_argument(
        "--share", action="store_true", help="also create a public link through Gradio's relay; requires a password or token"
    )
    address.add_argument(
        "--accounts",
        action="store_true",
        help=f"let people sign in with accounts and roles (or set {ACCOUNTS_VARIABLE}=1); the first start prints a set-up code",
    )
    _add_provider(parser.add_argument_group("sign-in with OpenID Connect"))
    address.add_argument("--password", default="", help=f"require this password (better: set {PASSWORD_VARIABLE})")
    address.add_argument(
        "--token",
        nargs="?",
        const=GENERATE,
        default="",
        help=f"require this token, which programs send as Bearer (better: set {TOKEN_VARIABLE}); without a value: a new token",
    )
    address.add_argument(
        "--public-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name of the panel behind a reverse proxy; can be repeated",
    )
    address.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        type=_proxy,
        metavar="ADDRESS",
        help="address or network of a reverse proxy on another machine, whose X-Forwarded headers are used; can be repeated",
    )
    address.add_argument(
        "--rate-limit",
        type=_factor,
        default=1.0,
        metavar="FACTOR",
        help="multiply how many requests a person and an address may send per minute (default: 1; 0: no limits)",
    )
    _add_https(parser.add_argument_group("HTTPS"))
    address.add_argument(
        "--allow",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="restrict file access to this folder and the data folder; can be repeated",
    )

    training = parser.add_argument_group("training")
    _add_training(training)
    training.add_argument(
        "--onetrainer",
        action="append",
        default=[],
        type=existing_folder,
        metavar="FOLDER",
        help="OneTrainer folder to use; can be repeated",
    )
    training.add_argument(
        "--find-onetrainer",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="search for OneTrainer in the default locations, such as the home folder (default: yes)",
    )
    training.add_argument(
        "--keep-loaded",
        type=_seconds,
        default=KEEP_LOADED_S,
        metavar="SECONDS",
        help=f"how long a training process stays loaded for the next run (default: {KEEP_LOADED_S:.0f}; 0: unload at once)",
    )

    about = parser.add_argument_group("about")
    _add_log_level(about)
    about.add_argument(
        "--log-format", choices=LOG_FORMATS, default="text", help="log lines as text or as JSON objects (default: text)"
    )
    about.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def _add_provider(group: _Group) -> None:
    group.add_argument("--oidc-issuer", default="", metavar="URL", help="let people also sign in here; requires --accounts")
    group.add_argument("--oidc-client-id", default="", metavar="ID", help="ID of the panel at the provider")
    group.add_argument("--oidc-scopes", default="", metavar="SCOPES", help="scopes to request (default: openid profile email)")
    group.add_argument("--oidc-title", default="", metavar="TEXT", help="name of the provider on the login page")
    group.add_argument(
        "--oidc-allow", action="append", default=[], metavar="RULE", help=f"who may sign in: {RULE_FORM}; can be repeated"
    )


def _provider(given: argparse.Namespace, environment: Mapping[str, str], *, accounts: bool) -> ProviderSettings | None:
    """Return the provider of the options, or else of the Space."""
    issuer = given.oidc_issuer or environment.get(OIDC_ISSUER_VARIABLE, "")
    allowed = given.oidc_allow or rules_in(environment.get(OIDC_ALLOW_VARIABLE, ""))
    if not issuer:
        return of_space(environment, allowed) if accounts and environment.get(SPACE_VARIABLE) else None
    if not accounts:
        raise CommandLineError("--oidc-issuer requires --accounts.", suggestion="Add --accounts.")
    return provider_settings(
        issuer,
        given.oidc_client_id or environment.get(OIDC_CLIENT_VARIABLE, ""),
        environment.get(OIDC_SECRET_VARIABLE, ""),
        scopes=given.oidc_scopes,
        title=given.oidc_title,
        allowed=allowed,
    )


def _add_https(group: _Group) -> None:
    group.add_argument("--ssl-certfile", type=_file, metavar="FILE", help="serve over HTTPS with this certificate (PEM)")
    group.add_argument(
        "--ssl-keyfile", type=_file, metavar="FILE", help="private key of the certificate, if it is in another file"
    )
    group.add_argument(
        "--ssl-keyfile-password",
        default="",
        metavar="TEXT",
        help=f"password of the private key (better: set {SSL_PASSWORD_VARIABLE})",
    )
    group.add_argument(
        "--ssl",
        choices=("self",),
        help="serve over HTTPS with a certificate that the panel creates; browsers ask once whether to trust it",
    )
    group.add_argument(
        "--redirect-http",
        type=_port,
        metavar="PORT",
        dest="redirect_port",
        help="also listen on this port and redirect it to HTTPS",
    )


def _command_parser(command: str, description: str, epilog: str) -> CheckedParser:
    return CheckedParser(
        prog=f"{PROGRAM} {command}", description=description, epilog=epilog, formatter_class=_Format, allow_abbrev=False
    )


def train_parser() -> argparse.ArgumentParser:
    """Return the parser of ``train``."""
    parser = _command_parser("train", TRAIN_DESCRIPTION, TRAIN_EPILOG)
    parser.add_argument("config", metavar="CONFIG", help="configuration file, or name of a preset or saved configuration")
    parser.add_argument("--name", default="", help="name of the run (default: name of the configuration)")
    parser.add_argument("--max-steps", type=positive, metavar="N", help="stop after this many steps, regardless of epochs")
    parser.add_argument("--resume", default="", metavar="BACKUP", help="resume from this backup folder")
    _add_data(parser)
    where = parser.add_mutually_exclusive_group()
    _add_training(parser, where)
    parser.add_argument("--onetrainer", type=existing_folder, metavar="FOLDER", help="train with this OneTrainer folder")
    where.add_argument("--detach", action="store_true", help="start the run in the background and exit")
    _add_log_level(parser)
    return parser


def convert_parser() -> argparse.ArgumentParser:
    """Return the parser of ``convert``."""
    parser = _command_parser("convert", CONVERT_DESCRIPTION, CONVERT_EPILOG)
    parser.add_argument("source", type=_existing, metavar="LORA", help="LoRA file (.safetensors), or folder of a backup")
    parser.add_argument("destination", type=Path, metavar="OUTPUT", help="file to write")
    parser.add_argument("--format", choices=LORA_FORMATS, required=True, help="format of the new file")
    parser.add_argument(
        "--model-type", default="", metavar="TYPE", help="model type, such as FLUX_DEV_1 (default: recognized by the tensors)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    _add_log_level(parser)
    return parser


def memory_parser() -> argparse.ArgumentParser:
    """Return the parser of ``memory``."""
    parser = _command_parser("memory", MEMORY_DESCRIPTION, MEMORY_EPILOG)
    parser.add_argument("config", metavar="CONFIG", help="configuration file, or name of a preset or saved configuration")
    parser.add_argument("--vram", type=_gib, metavar="GIB", help="memory of the GPU; shows what to change if the run doesn't fit")
    _add_data(parser)
    _add_log_level(parser)
    return parser


def backup_parser() -> argparse.ArgumentParser:
    """Return the parser of ``backup``."""
    parser = _command_parser("backup", BACKUP_DESCRIPTION, BACKUP_EPILOG)
    parser.add_argument("file", metavar="FILE", help="file to write; compressed if it ends in .gz or .tgz; -: standard output")
    parser.add_argument("--without", action="append", default=[], choices=BACKUP_PARTS, help="omit these files; can be repeated")
    parser.add_argument(
        "--with-secrets", action="store_true", help="include tokens, sessions and accounts (the file then opens your panel)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    _add_data(parser)
    _add_log_level(parser)
    return parser


def restore_parser() -> argparse.ArgumentParser:
    """Return the parser of ``restore``."""
    parser = _command_parser("restore", RESTORE_DESCRIPTION, RESTORE_EPILOG)
    parser.add_argument("file", metavar="FILE", help="backup to restore; -: standard input")
    _add_data(parser)
    _add_log_level(parser)
    return parser


def queue_parser() -> argparse.ArgumentParser:
    """Return the parser of ``queue``."""
    parser = _command_parser("queue", QUEUE_DESCRIPTION, QUEUE_EPILOG)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shown = actions.add_parser("list", help="list the queue", allow_abbrev=False)
    shown.add_argument("--ended", action="store_true", help="list the ended runs instead, newest first")
    shown.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    add = actions.add_parser("add", help="add a run, or a sweep", allow_abbrev=False)
    add.add_argument("config", metavar="CONFIG", help="configuration file, or name of a preset or saved configuration")
    _add_choices(add)
    move = actions.add_parser("move", help="move a waiting run", allow_abbrev=False)
    move.add_argument("item", metavar="ID", help="ID of the queued run")
    move.add_argument("place", metavar="PLACE", type=positive, help="new place, from 1")
    for name, text in QUEUE_ITEM_ACTIONS.items():
        actions.add_parser(name, help=text, allow_abbrev=False).add_argument("item", metavar="ID", help="ID of the queued run")
    for name, text in QUEUE_ACTIONS.items():
        actions.add_parser(name, help=text, allow_abbrev=False)
    for action in actions.choices.values():
        _add_data(action)
        _add_log_level(action)
    return parser


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name of the run (default: name of the configuration)")
    parser.add_argument("--notes", help="notes for the reader of the queue")
    parser.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="tag to find the run by; can be repeated")
    parser.add_argument("--priority", type=int, metavar="N", help="runs with a higher priority start first (default: 0)")
    parser.add_argument("--device", help="device to train on, such as cuda:1 (default: as in the configuration)")
    parser.add_argument("--not-before", type=_start_time, metavar="TIME", help="earliest start: 23:00, or 2026-11-29T06:00")
    parser.add_argument("--after", metavar="ID", help="ID of a run or queued run that must finish first")
    parser.add_argument("--max-steps", type=positive, metavar="N", help="stop after this many steps, regardless of epochs")
    parser.add_argument("--on-failure", choices=("continue", "hold", "retry"), help="if the run fails (default: continue)")
    parser.add_argument(
        "--retries", type=positive, metavar="N", help="how often to retry a failed run; implies --on-failure retry"
    )
    parser.add_argument("--hold", action="store_true", default=None, dest="held", help="hold the run until it is released")
    parser.add_argument(
        "--sweep",
        action="append",
        type=_sweep,
        default=[],
        metavar="SETTING=VALUES",
        help="add one run for each value; can be repeated",
    )


def _sweep(text: str) -> tuple[str, str]:
    path, equals, values = text.partition("=")
    if not (path.strip() and equals and values.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a setting with values: use learning_rate=1e-4,3e-4")
    return path.strip(), values


def _start_time(text: str) -> float:
    """Return a start time in seconds since the epoch; a time without a date is its next occurrence."""
    now = datetime.now()
    try:
        if "-" not in text:
            at = datetime.combine(now.date(), datetime_time.fromisoformat(text))
            return (at if at > now else at + timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a time: use 23:00 or 2026-11-29T06:00") from error


def _queue_options(argv: Sequence[str], environment: Mapping[str, str]) -> QueueOptions:
    parser = queue_parser()
    given = vars(parser.parse_args(argv))
    if given.get("retries"):
        given["on_failure"] = given["on_failure"] or "retry"
    choices = {name: given[name] for name in _CHOICES if given.get(name) is not None}
    rest = {name: given[name] for name in ("item", "place", "config", "ended", "as_json") if name in given}
    data = _data(given["data"], environment)
    return QueueOptions(
        given["action"], data, choices=choices, sweep=dict(given.get("sweep") or ()), log_level=given["log_level"], **rest
    )


_CHOICES = ("name", "notes", "tags", "priority", "device", "not_before", "after", "max_steps", "on_failure", "retries", "held")


def _push_limit(text: str) -> int:
    if not text:
        return PUSH_LIMIT_BYTES
    gigabytes = _number(text)
    if not 0 < gigabytes < 1e6:
        raise CommandLineError(f"{PUSH_LIMIT_VARIABLE} is {text!r}. It must be a number of GB above 0.")
    return int(gigabytes * 1e9)


def _number(text: str) -> float:
    """Return the number of a text; NaN, which is in no range, if it isn't one."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _gib(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of GiB above 0")
    return value


class _Format(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=min(110, _columns()))


class CheckedParser(argparse.ArgumentParser):
    """Report invalid arguments as a `CommandLineError`."""

    def error(self, message: str) -> NoReturn:
        raise CommandLineError(f"{message} (see {self.prog} --help)")


_Group = argparse._ArgumentGroup | argparse.ArgumentParser | argparse._MutuallyExclusiveGroup


def _add_data(parser: _Group) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help=f"folder for runs, settings and caches (default: ${DATA_VARIABLE}, or ~/onetrainer_gradio)",
    )


def _add_training(parser: _Group, where: _Group | None = None) -> None:
    (where or parser).add_argument(
        "--in-process", action="store_true", help="train on a thread of this process instead of in a separate process"
    )
    parser.add_argument("--backend", default="builtin", metavar="NAME", help="training engine (default: builtin)")


def _add_log_level(parser: _Group) -> None:
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="warning", help="log level (default: warning)")


def _panel_options(parser: argparse.ArgumentParser, argv: Sequence[str], environment: Mapping[str, str]) -> PanelOptions:
    given = parser.parse_args(argv)
    _check_https(parser, given)
    accounts = given.accounts or environment.get(ACCOUNTS_VARIABLE, "") not in {"", "0"}
    return PanelOptions(
        host=given.host,
        port=given.port,
        share=given.share,
        password=given.password or environment.get(PASSWORD_VARIABLE, ""),
        token=given.token or environment.get(TOKEN_VARIABLE, ""),
        demo=given.demo,
        data=_data(given.data, environment),
        config=given.config,
        in_process=given.in_process,
        backend=given.backend,
        checkouts=tuple(given.onetrainer),
        find_checkouts=given.find_onetrainer,
        keep_loaded_s=given.keep_loaded,
        allow=tuple(path.expanduser().absolute() for path in given.allow),
        accounts=accounts,
        provider=_provider(given, environment, accounts=accounts),
        public_hosts=tuple(given.public_host),
        ssl_certfile=given.ssl_certfile,
        ssl_keyfile=given.ssl_keyfile,
        ssl_password=given.ssl_keyfile_password or environment.get(SSL_PASSWORD_VARIABLE, ""),
        ssl_own=given.ssl == "self",
        redirect_port=given.redirect_port,
        trusted_proxies=(*given.trusted_proxy, *_proxies(environment.get(PROXIES_VARIABLE, ""))),
        rate_limit=given.rate_limit,
        open_browser=given.open_browser,
        log_level=given.log_level,
        log_format=given.log_format,
        hosted=bool(environment.get(SPACE_VARIABLE)),
        push_to=environment.get(PUSH_VARIABLE, ""),
        push_limit_bytes=_push_limit(environment.get(PUSH_LIMIT_VARIABLE, "")),
    )


def _check_https(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if given.ssl and given.ssl_certfile:
        parser.error("--ssl self and --ssl-certfile can't be combined: use one of them")
    if given.ssl_keyfile and not given.ssl_certfile:
        parser.error("--ssl-keyfile requires --ssl-certfile")
    secure = bool(given.ssl or given.ssl_certfile)
    if given.redirect_port is not None and not secure:
        parser.error("--redirect-http requires --ssl-certfile or --ssl self")
    if given.share and secure:
        parser.error("--share can't be combined with --ssl-certfile or --ssl self: the link uses HTTPS without them")


def _factor(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a factor: use 0 to 1000")
    return value


def _proxies(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _proxy(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} isn't an address: use 10.0.0.5 or 10.0.0.0/24") from error


def _train_options(argv: Sequence[str], environment: Mapping[str, str]) -> TrainOptions:
    parser = train_parser()
    given = parser.parse_args(argv)
    if given.onetrainer and given.backend not in ("builtin", "onetrainer"):
        parser.error(f"--onetrainer and --backend {given.backend} can't be combined: use one of them")
    return TrainOptions(
        config=given.config,
        data=_data(given.data, environment),
        in_process=given.in_process,
        detach=given.detach,
        backend=given.backend,
        checkout=given.onetrainer,
        max_steps=given.max_steps,
        name=given.name,
        resume=str(Path(given.resume).expanduser().absolute()) if given.resume else "",
        log_level=given.log_level,
    )


def _convert_options(argv: Sequence[str], environment: Mapping[str, str]) -> ConvertOptions:
    given = convert_parser().parse_args(argv)
    return ConvertOptions(
        source=given.source,
        destination=given.destination.expanduser().absolute(),
        model_format=given.format,
        model_type=given.model_type,
        overwrite=given.overwrite,
        log_level=given.log_level,
    )


def _memory_options(argv: Sequence[str], environment: Mapping[str, str]) -> MemoryOptions:
    given = memory_parser().parse_args(argv)
    return MemoryOptions(given.config, _data(given.data, environment), given.vram, given.log_level)


def _backup_options(argv: Sequence[str], environment: Mapping[str, str]) -> BackupOptions:
    given = backup_parser().parse_args(argv)
    return BackupOptions(
        destination=_stream_or_path(given.file),
        data=_data(given.data, environment),
        without=tuple(dict.fromkeys(given.without)),
        secrets=given.with_secrets,
        overwrite=given.overwrite,
        log_level=given.log_level,
    )


def _restore_options(argv: Sequence[str], environment: Mapping[str, str]) -> RestoreOptions:
    given = restore_parser().parse_args(argv)
    return RestoreOptions(_stream_or_path(given.file), _data(given.data, environment), given.log_level)


_COMMANDS: Mapping[str, Callable[[Sequence[str], Mapping[str, str]], Options]] = {
    "train": _train_options,
    "convert": _convert_options,
    "memory": _memory_options,
    "queue": _queue_options,
    "backup": _backup_options,
    "restore": _restore_options,
}


def _data(given: Path | None, environment: Mapping[str, str]) -> Path:
    return given.expanduser().absolute() if given is not None else default_data_folder(environment)


def _file(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"the file {text!r} doesn't exist")
    return path


def _existing(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text!r} doesn't exist")
    return path


def existing_folder(text: str) -> Path:
    """Return the folder of an argument, which must exist."""
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(
            f"the folder {text!r} doesn't exist; specify the folder that OneTrainer was cloned or unpacked into"
        )
    return path


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a port: use 0 (any) to 65535")
    return int(text)


def positive(text: str) -> int:
    """Return the number of steps of an argument."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number of steps: use 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a duration: use 0 to 86400 seconds")
    return seconds


def _columns() -> int:
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 110


def enter_data_folder(folder: Path) -> None:
    """Create the data folder if it is missing, and make it the current one.

    Relative paths in settings start there, and Gradio may serve files of the current folder.

    :raises CommandLineError: if it can't be created, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandLineError(
            f"Can't create the data folder {folder}: {error.strerror}", suggestion="Choose another folder with --data."
        ) from error
    if not os.access(folder, os.W_OK):
        raise CommandLineError(f"Can't write to the data folder {folder}.", suggestion="Choose another folder with --data.")
    os.chdir(folder)
