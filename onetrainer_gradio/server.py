"""The composition root: builds the service, mounts API and page on one app, and serves it."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from onetrainer_gradio import cli
from onetrainer_gradio.cli import GENERATE, PORTS_TRIED, PROGRAM, PanelOptions, TrainOptions
from onetrainer_gradio.errors import CommandLineError, ConfigError, InsecureBindError, TrainerError
from onetrainer_gradio.service.host.access import Access, AccessSettings, check_bind, is_loopback
from onetrainer_gradio.service.host.redaction import redact_logs
from onetrainer_gradio.service.host.tenancy import Tenancy
from onetrainer_gradio.ui.stubs import skip_stubs

if TYPE_CHECKING:
    import gradio
    import uvicorn
    from fastapi import FastAPI

    from onetrainer_gradio.service import TrainerService

GRACE_S = 2
# Gradio's queue looks for work a thousand times a second; every event of our page can wait this long.
QUEUE_SLEEP_S = 0.05
QUEUE_SLEEPS = ("sleep_when_free", "progress_update_sleep_when_free")
# Gradio runs 40 actions at the same time, whatever they are; ours only watch, and a Stop has to find room.
# Components that receive or show files by Gradio's own paths, and these paths.
FILE_COMPONENTS = frozenset(
    {"audio", "chatbot", "file", "fileexplorer", "downloadbutton", "gallery", "image", "imageeditor", "imageslider", "model3d"}
    | {"multimodaltextbox", "uploadbutton", "video"}
)
UNUSED_PATHS = (
    *(f"/gradio_api/{name}" for name in ("upload", "upload/", "upload_progress", "component_server", "component_server/")),
    *(f"/gradio_api/{name}{{path:path}}" for name in ("file=", "file/", "proxy=", "stream/", "deep_link", "custom_component/")),
)
QUEUE_LIMIT = "max_thread_count"
QUEUE_ACTIONS = 1000

EXIT_WRONG_COMMAND_LINE = 2


@dataclass(frozen=True)
class PanelSettings:
    """What a panel is made of: where its data lies, how runs are started, who may use it, what it opens with."""

    data_folder: Path
    in_process: bool = False
    backend: str = "builtin"
    checkouts: tuple[Path, ...] = ()
    find_checkouts: bool = False
    closed_checkouts: bool = False
    keep_loaded_s: float = 0.0
    allowed_roots: tuple[Path, ...] = ()
    demo: bool = False
    config_file: Path | None = None
    access: AccessSettings = field(default_factory=AccessSettings)


def make_app(settings: PanelSettings, *, access: Access | None = None) -> FastAPI:
    """The whole panel as one ASGI app: guard, API, and the page at ``/``.

    Its service is ``app.state.service``; it is opened and closed with the app.
    """
    _prepare_environment(settings.data_folder)
    from onetrainer_gradio.api.app import create_api
    from onetrainer_gradio.service import ServiceSettings, TrainerService

    service = TrainerService(
        ServiceSettings(
            data_folder=settings.data_folder,
            in_process=settings.in_process,
            backend=settings.backend,
            checkouts=settings.checkouts,
            find_checkouts=settings.find_checkouts,
            closed_checkouts=settings.closed_checkouts,
            keep_loaded_s=settings.keep_loaded_s,
            allowed_roots=settings.allowed_roots,
            demo=settings.demo,
        )
    )
    open_with(service, settings)
    access = access or Access(settings.access)
    app = create_api(service, access)
    mount_page(app, service, settings.data_folder, protected=access.required)
    return app


def open_with(service: TrainerService, settings: PanelSettings) -> None:
    """Make the file that was asked for the current settings; otherwise they are those of the last time, or the demo's.

    :raises ConfigError: when the file cannot be read.
    """
    from onetrainer_gradio.config.files.documents import read_file

    if settings.config_file is not None:
        service.configs.replace(read_file(settings.config_file), settings.config_file.stem)


def mount_page(app: FastAPI, service: TrainerService, data_folder: Path, *, protected: bool = False) -> None:
    """Put the page at ``/``, behind everything that the API already has. The API answers while the page's app is still built."""
    from onetrainer_gradio.ui.assets import assets_route
    from onetrainer_gradio.ui.head import head
    from onetrainer_gradio.ui.late import LatePage

    app.router.routes.append(assets_route())
    app.state.head = head()
    page = app.state.page = LatePage(lambda: make_page(service, data_folder, protected=protected))
    before = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[Any]:
        async with before(started) as state, page.running():
            yield state

    app.router.lifespan_context = lifespan
    app.mount("/", page)


def make_page(service: TrainerService, data_folder: Path, *, protected: bool = False) -> FastAPI:
    """The page as an app of its own. Imports Gradio, which takes longer than everything else together."""
    import gradio as gr
    from fastapi import FastAPI

    from onetrainer_gradio.api import replies
    from onetrainer_gradio.api.bodies import MAX_BODY_BYTES
    from onetrainer_gradio.ui import page as ui

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    replies.install(app)
    blocks = ui.build_page(service)
    close_unused(app, blocks)
    calm_queue(blocks)
    wanted: dict[str, Any] = {
        "head": ui.HEAD + (ui.PROTECTED if protected else ""),
        "css": ui.CSS,
        "theme": getattr(ui, "THEME", None),
        "ssr_mode": False,
        "run_history": False,
        "pwa": False,
        "footer_links": [],
        "show_error": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "max_file_size": MAX_BODY_BYTES,
        "allowed_paths": [],
        "blocked_paths": [str(data_folder / name) for name in ("config", "configs", "runs", "secrets.json", "sessions.json")],
    }
    known = inspect.signature(gr.mount_gradio_app).parameters
    gr.mount_gradio_app(app, blocks, "/", **{key: value for key, value in wanted.items() if key in known})
    return app


def close_unused(app: FastAPI, blocks: gradio.Blocks) -> None:
    """Refuse those paths of Gradio that no component of the page needs: they take, fetch and hand out files."""
    kinds = {type(block).__name__.lower() for block in blocks.blocks.values()}
    if kinds & FILE_COMPONENTS:
        return

    from starlette.exceptions import HTTPException

    async def unused(path: str = "") -> None:
        raise HTTPException(404, "No component of the page uses this path, so it is closed.")

    for path in UNUSED_PATHS:
        app.add_api_route(path, unused, methods=["GET", "HEAD", "POST", "PUT", "DELETE"], include_in_schema=False)


def calm_queue(blocks: gradio.Blocks) -> tuple[str, ...]:
    """Let the page's queue look for work less often and take more at the same time.

    Returns which of its (private) settings were found.
    """
    queue = getattr(blocks, "_queue", None)
    wanted = {**dict.fromkeys(QUEUE_SLEEPS, QUEUE_SLEEP_S), QUEUE_LIMIT: QUEUE_ACTIONS}
    found = tuple(name for name in wanted if hasattr(queue, name))
    for name in found:
        setattr(queue, name, wanted[name])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command line and return the exit status."""
    try:
        options = cli.parse(sys.argv[1:] if argv is None else argv)
        check_backend(options.backend)
        logging.basicConfig(level=options.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
        if isinstance(options, TrainOptions):
            from onetrainer_gradio.terminal import train

            return train(options)
        return serve(options)
    except (CommandLineError, InsecureBindError, ConfigError) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        wrong = [finding for finding in error.findings() if finding.severity == "error"]
        for finding in wrong if len(wrong) > 1 else ():
            print(f"  {finding.path}: {finding.message}", file=sys.stderr)
        return EXIT_WRONG_COMMAND_LINE
    except TrainerError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1


def check_backend(name: str) -> None:
    """Refuse a backend that is neither known nor the place of one.

    :raises CommandLineError: when there is none of that name.
    """
    from onetrainer_gradio.backends import BACKENDS

    if name not in BACKENDS and ":" not in name:
        known = ", ".join(BACKENDS)
        raise CommandLineError(f"There is no backend {name!r}.", value=name, expected=f"one of: {known}; or module:function")


def serve(options: PanelOptions) -> int:
    """Serve the panel until a signal ends it.

    :raises InsecureBindError: when others could reach it without a password or token.
    :raises CommandLineError: when the port is taken or the data folder cannot be used.
    """
    began = time.monotonic()
    generated = options.token == GENERATE
    token = secrets.token_urlsafe(24) if generated else options.token
    settings = panel_settings(replace(options, token=token))
    check_bind(settings.access, host=options.host, share=options.share)
    _prepare_data_folder(options.data)
    listener = listen(options.host, options.port)
    port = listener.getsockname()[1]
    with contextlib.closing(listener), Tenancy(options.data, address_of(options.host, port)):
        access = Access(settings.access)
        app = make_app(settings, access=access)
        notice = Notice(access, options, port, token if generated else "", began)
        server = _server(app, options, notice)
        with _signals_end_quietly(), contextlib.ExitStack() as afterwards:
            afterwards.callback(redact_logs(settings.access.password, settings.access.token))
            server.run(sockets=[listener])
    return 0 if server.started and app.state.page.failure is None else 1


def panel_settings(options: PanelOptions) -> PanelSettings:
    """The settings that a command line stands for."""
    from onetrainer_gradio.api.guard import allowed_hosts

    hosts = allowed_hosts(options.public_hosts)
    return PanelSettings(
        data_folder=options.data,
        in_process=options.in_process,
        backend=options.backend,
        checkouts=options.checkouts,
        find_checkouts=options.find_checkouts,
        # whoever names a checkout names a program to run: elsewhere than on this machine that is the operator's alone
        closed_checkouts=options.share or options.hosted or not all(map(is_loopback, (options.host, *hosts))),
        keep_loaded_s=options.keep_loaded_s,
        allowed_roots=options.allow,
        demo=options.demo,
        config_file=options.config,
        access=AccessSettings(
            password=options.password,
            token=options.token,
            hosts=hosts,
            hosted=options.hosted,
            sessions_file=options.data / "sessions.json",
        ),
    )


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens at ``host``. A port that was asked for is taken or refused; otherwise the next free one is taken.

    :raises CommandLineError: when there is no such address or no free port.
    """
    wanted = range(cli.DEFAULT_PORT, cli.DEFAULT_PORT + PORTS_TRIED + 1) if port is None else [port]
    refused: OSError | None = None
    for number in wanted:
        try:
            return _bound(host, number)
        except OSError as error:
            refused = error
    if port is None:
        raise CommandLineError(
            f"No port from {wanted[0]} to {wanted[-1]} is free at {host}: {refused}", suggestion="Give --port."
        )
    raise CommandLineError(f"Cannot listen at {host} port {port}: {refused}", suggestion="Give another --port, or none.")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows this option would share a port that is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # only this shows that nobody else listens there
    except OSError:
        listener.close()
        raise
    return listener


def address_of(host: str, port: int) -> str:
    """Where a browser on this machine finds the panel."""
    if host in {"0.0.0.0", "::", ""}:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@dataclass
class Notice:
    """What the terminal says: the address at the start, what goes on at the end.

    ``generated`` is a token that was made up for this start.
    """

    access: Access
    options: PanelOptions
    port: int
    generated: str
    began: float
    out: TextIO = sys.stdout

    def started(self) -> None:
        """Print where the panel is, and open a browser where that makes sense."""
        address = address_of(self.options.host, self.port)
        link = f"{address}?token={self.access.new_link()}" if self.options.token else address
        self._say(f"OneTrainer panel is ready after {time.monotonic() - self.began:.1f} s: {link}")
        if self.options.token:
            self._say("  This link works once; afterwards log in with the token or the password.")
        if self.generated:
            self._say(f"  Token (shown only now): {self.generated}")
        if not is_loopback(self.options.host):
            self._say("  Others reach it under this machine's name or address.")
        self._say("  Ctrl-C stops the panel.")
        if self._opens_browser():
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
        if self.options.share:
            threading.Thread(target=self._share, daemon=True).start()

    def stopping(self, get_state: Callable[[], dict[str, Any]]) -> None:
        """Say what becomes of a run."""
        state = get_state()
        if state["is_training"]:
            name = state.get("name") or state.get("run_id")
            if self.options.in_process:
                self._say(f"The panel stops, and with it the run {name}: it finishes its step and saves (up to a minute).")
            else:
                self._say(f"The panel stops. The run {name} goes on; start the panel again to see it.")
        else:
            self._say("The panel stops.")

    def _share(self) -> None:
        self._say("  Making the public link ...")
        self._say("  " + open_link(self.port))

    def _opens_browser(self) -> bool:
        if self.options.open_browser is not None:
            return self.options.open_browser
        display = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        remote = bool(os.environ.get("SSH_CONNECTION"))
        return display and not remote and not self.options.hosted and is_loopback(self.options.host) and self.out.isatty()

    def _say(self, text: str) -> None:
        print(text, file=self.out, flush=True)


def open_link(port: int) -> str:
    """Open a public link to the panel at ``port`` by Gradio's relay; returns what to tell, also when there is no link."""
    import httpx
    from gradio.networking import setup_tunnel

    try:
        address = setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except (RuntimeError, ValueError, OSError, httpx.HTTPError) as error:
        cause = error.__cause__ or error  # Gradio puts an error of its own around the reason
        return f"No public link: the relay cannot be reached ({type(cause).__name__}). The panel goes on without it."
    return f"Public link: {address} (for up to a week, and as long as the panel runs)"


def _server(app: FastAPI, options: PanelOptions, notice: Notice) -> uvicorn.Server:
    import uvicorn

    class PanelServer(uvicorn.Server):
        """Says when it is ready and what happens when it goes down."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                app.state.page.on_failure = self._give_up
                notice.started()

        def _give_up(self) -> None:
            """A panel whose page cannot be built is none."""
            self.should_exit = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            notice.stopping(app.state.service.get_state)
            await super().shutdown(sockets)

    return PanelServer(
        uvicorn.Config(
            app,
            host=options.host,
            log_level=options.log_level,
            access_log=options.log_level == "debug",
            timeout_graceful_shutdown=GRACE_S,
            ws_max_size=64 * 1024,  # viewers say "ping" and nothing else
            ws_per_message_deflate=False,  # small messages, sent to many: compressing each anew costs more than it saves
            forwarded_allow_ips="*" if options.hosted else None,
            server_header=False,
        )
    )


@contextlib.contextmanager
def _signals_end_quietly() -> Any:
    """The server raises a signal again after it has ended in good order; that is no error of the program."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare_data_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandLineError(
            f"The data folder {folder} cannot be made: {error.strerror}", suggestion="Give another --data."
        ) from error
    if not os.access(folder, os.W_OK):
        raise CommandLineError(f"The data folder {folder} cannot be written to", suggestion="Give another --data.")
    # Gradio may hand out files of the current folder; relative paths of settings are meant from the data folder.
    os.chdir(folder)


def _prepare_environment(data_folder: Path) -> None:
    """Gradio reads these when it is imported."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GRADIO_TEMP_DIR", str(data_folder / "cache" / "gradio"))
    skip_stubs()
