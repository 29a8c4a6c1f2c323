"""Build the service, mount the API and the page on one app, and serve it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from onetrainer_gradio import cli
from onetrainer_gradio.cli import (
    GENERATE,
    PORTS_TRIED,
    PROGRAM,
    BackupOptions,
    ConvertOptions,
    MemoryOptions,
    PanelOptions,
    QueueOptions,
    RestoreOptions,
    TrainOptions,
)
from onetrainer_gradio.errors import CommandLineError, ConfigError, InsecureBindError, TrainerError
from onetrainer_gradio.service.host.access import Access, AccessSettings, check_bind, is_loopback
from onetrainer_gradio.service.host.data_folder_lock import DataFolderLock
from onetrainer_gradio.service.host.logs import configure_log
from onetrainer_gradio.service.host.redaction import redact_logs
from onetrainer_gradio.service.host.storage import is_temporary
from onetrainer_gradio.service.service_settings import PUSH_LIMIT_BYTES
from onetrainer_gradio.ui.gradio_import import shorten_import

if TYPE_CHECKING:
    import gradio
    import uvicorn
    from fastapi import FastAPI

    from onetrainer_gradio.https import HttpsOptions
    from onetrainer_gradio.service import TrainerService
    from onetrainer_gradio.service.host.certificates import Certificate
    from onetrainer_gradio.service.people.people import People
    from onetrainer_gradio.service.people.provider_settings import ProviderSettings

GRACE_S = 2
# Gradio's queue polls for work a thousand times a second; the page's events can wait this long.
QUEUE_SLEEP_S = 0.05
QUEUE_SLEEPS = ("sleep_when_free", "progress_update_sleep_when_free")
# Components that receive or show files by Gradio's own paths, and these paths.
FILE_COMPONENTS = frozenset(
    {"audio", "chatbot", "file", "fileexplorer", "downloadbutton", "gallery", "image", "imageeditor", "imageslider", "model3d"}
    | {"multimodaltextbox", "uploadbutton", "video"}
)
UNUSED_PATHS = (
    *(f"/gradio_api/{name}" for name in ("upload", "upload/", "upload_progress", "component_server", "component_server/")),
    *(f"/gradio_api/{name}{{path:path}}" for name in ("file=", "file/", "proxy=", "stream/", "deep_link", "custom_component/")),
)
# Gradio runs at most 40 actions at the same time; ours only observe, and a Stop must never wait.
QUEUE_LIMIT = "max_thread_count"
QUEUE_ACTIONS = 1000

# Parts of the data folder that Gradio never serves.
CLOSED_FILES = ("config", "configs", "https", "runs", "secrets.json", "sessions.json", "people.sqlite")

EXIT_WRONG_COMMAND_LINE = 2


@dataclass(frozen=True)
class PanelSettings:
    """Settings of a panel: data folder, how runs are started, access, and what it opens."""

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
    provider: ProviderSettings | None = None
    push_to: str = ""
    push_limit_bytes: int = PUSH_LIMIT_BYTES
    rate_limit: float = 1.0


def make_app(settings: PanelSettings, *, access: Access | None = None, certificate: Certificate | None = None) -> FastAPI:
    """Return the panel as one ASGI app: guard, API, and the page at ``/``.

    Its service is ``app.state.service``; it is opened and closed with the app.
    """
    _prepare_environment(settings.data_folder)
    from onetrainer_gradio.api.app import create_api
    from onetrainer_gradio.service import ServiceSettings, TrainerService
    from onetrainer_gradio.service.host.rate_limits import RateLimiter

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
            push_to=settings.push_to,
            push_limit_bytes=settings.push_limit_bytes,
        )
    )
    open_with(service, settings)
    access = access or Access(settings.access)
    app = create_api(service, access, RateLimiter(settings.rate_limit), settings.provider)
    app.state.certificate = certificate
    mount_page(app, service, settings.data_folder, protected=access.required)
    return app


def open_with(service: TrainerService, settings: PanelSettings) -> None:
    """Open the requested file. Without one, the panel opens the last settings or the demo.

    :raises ConfigError: if the file can't be read.
    """
    from onetrainer_gradio.config.files.documents import read_file

    if settings.config_file is not None:
        service.configs.replace(read_file(settings.config_file), settings.config_file.stem)


def mount_page(app: FastAPI, service: TrainerService, data_folder: Path, *, protected: bool = False) -> None:
    """Mount the page at ``/``, after all routes of the API. The API responds while the page's app is still being built."""
    from onetrainer_gradio.ui.assets import assets_route
    from onetrainer_gradio.ui.late import LatePage

    app.router.routes.append(assets_route())

    def build() -> FastAPI:
        built = make_page(service, data_folder, protected=protected)
        _collect_garbage_again()
        return built

    page = app.state.page = LatePage(build)
    app.state.not_ready.append(lambda: "" if page.ready else "The page is being built.")
    before = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[Any]:
        async with before(started) as state, page.running():
            yield state

    app.router.lifespan_context = lifespan
    app.mount("/", page)


def make_page(service: TrainerService, data_folder: Path, *, protected: bool = False) -> FastAPI:
    """Return the page as a separate app. Imports Gradio, which takes longer than everything else."""
    import gradio as gr
    from fastapi import FastAPI

    from onetrainer_gradio.api import replies
    from onetrainer_gradio.api.bodies import MAX_BODY_BYTES
    from onetrainer_gradio.ui import page as ui
    from onetrainer_gradio.ui.first_view import FirstView
    from onetrainer_gradio.ui.storage_notice import storage_notice

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    replies.install(app)
    blocks = ui.build_page(service)
    close_unused(app, blocks)
    reduce_queue_polling(blocks)
    wanted: dict[str, Any] = {
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
        "blocked_paths": [str(data_folder / name) for name in CLOSED_FILES],
    }
    known = inspect.signature(gr.mount_gradio_app).parameters
    gr.mount_gradio_app(app, blocks, "/", **{key: value for key, value in wanted.items() if key in known})
    notice = storage_notice(os.environ.get(cli.SPACE_VARIABLE, ""), service.settings.push_to) if is_temporary(data_folder) else ""
    app.add_middleware(FirstView, head=ui.HEAD + (ui.PROTECTED if protected else ""), body=ui.FIRST_VIEW + notice)
    return app


def _collect_garbage_again() -> None:
    """Turn the collection on if `serve` turned it off. What the imports created stays for good and is exempt from it."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def close_unused(app: FastAPI, blocks: gradio.Blocks) -> None:
    """Close those paths of Gradio that no component of the page uses: they receive, fetch and serve files."""
    kinds = {type(block).__name__.lower() for block in blocks.blocks.values()}
    if kinds & FILE_COMPONENTS:
        return

    from starlette.exceptions import HTTPException

    async def unused(path: str = "") -> None:
        raise HTTPException(404, "This path is disabled because the page doesn't use it.")

    for path in UNUSED_PATHS:
        app.add_api_route(path, unused, methods=["GET", "HEAD", "POST", "PUT", "DELETE"], include_in_schema=False)


def reduce_queue_polling(blocks: gradio.Blocks) -> tuple[str, ...]:
    """Let the page's queue poll less often and run more actions at the same time.

    Return the names of its (private) settings that were found.
    """
    queue = getattr(blocks, "_queue", None)
    wanted = {**dict.fromkeys(QUEUE_SLEEPS, QUEUE_SLEEP_S), QUEUE_LIMIT: QUEUE_ACTIONS}
    found = tuple(name for name in wanted if hasattr(queue, name))
    for name in found:
        setattr(queue, name, wanted[name])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    try:
        options = cli.parse(sys.argv[1:] if argv is None else argv)
        configure_log(options.log_level, options.log_format if isinstance(options, PanelOptions) else "text")
        if isinstance(options, ConvertOptions):
            return convert(options)
        if isinstance(options, MemoryOptions):
            from onetrainer_gradio.terminal import memory

            return memory(options)
        if isinstance(options, QueueOptions):
            from onetrainer_gradio.queue_commands import change_queue

            return change_queue(options)
        if isinstance(options, BackupOptions | RestoreOptions):
            from onetrainer_gradio.data_commands import change_data

            return change_data(options)
        check_backend(options.backend)
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


def convert(options: ConvertOptions) -> int:
    """Convert a LoRA file, and print what it was and what the new format can't express.

    :raises TrainerError: if it can't be converted.
    """
    from onetrainer_gradio.config.families.models import MODELS
    from onetrainer_gradio.engine.keys.convert import convert_lora
    from onetrainer_gradio.engine.keys.lora_files import LORA_FORMATS

    wanted = next(name for name in LORA_FORMATS if name.value.removesuffix("_LORA").lower() == options.model_format)
    done = convert_lora(options.source, options.destination, wanted, options.model_type, overwrite=options.overwrite)
    print(f"{options.destination}: a LoRA for {MODELS[done.model_type].label}, {done.tensors} tensors")
    if done.warning:
        print(f"{PROGRAM}: warning: {done.warning}", file=sys.stderr)
    return 0


def check_backend(name: str) -> None:
    """Check that a backend is registered or given as module:function.

    :raises CommandLineError: if it is neither.
    """
    from onetrainer_gradio.backends import BACKENDS

    if name not in BACKENDS and ":" not in name:
        known = ", ".join(BACKENDS)
        raise CommandLineError(
            f"The backend {name!r} doesn't exist.", value=name, expected=f"one of: {known}; or module:function"
        )


def serve(options: PanelOptions) -> int:
    """Serve the panel until a signal ends it.

    :raises InsecureBindError: if others could reach it without a password or token.
    :raises CommandLineError: if the port is taken or the data folder can't be used.
    """
    from onetrainer_gradio.https import certificate_of

    began = time.monotonic()
    generated = options.token == GENERATE
    token = secrets.token_urlsafe(24) if generated else options.token
    settings = panel_settings(replace(options, token=token))
    check_bind(settings.access, host=options.host, share=options.share)
    _restore_copy(options)
    cli.enter_data_folder(options.data)
    https = https_options(options)
    certificate = certificate_of(https, options.data, options.host, options.public_hosts)
    listener = listen(options.host, options.port)
    port = listener.getsockname()[1]
    address = address_of(options.host, port, secure=https.enabled)
    with contextlib.closing(listener), DataFolderLock(options.data, address), contextlib.ExitStack() as sockets:
        redirect = (
            sockets.enter_context(contextlib.closing(listen(options.host, https.redirect_port))) if https.redirect_port else None
        )
        gc.disable()  # imports create no garbage to speak of, and looking for it takes a tenth of the start
        access = Access(settings.access)
        app = make_app(settings, access=access, certificate=certificate)
        people = app.state.service.people
        setup_code = people.new_setup_code() if options.accounts and people.needs_setup else ""
        shown = token if generated else ""
        notice = Notice(access, options, port, shown, began, certificate=certificate, setup_code=setup_code, people=people)
        server = _server(app, options, notice, redirect)
        with _signals_end_quietly(), contextlib.ExitStack() as afterwards:
            afterwards.callback(redact_logs(*_secrets(settings)))
            server.run(sockets=[listener])
    return 0 if server.started and app.state.page.failure is None else 1


def _secrets(settings: PanelSettings) -> tuple[str, ...]:
    return settings.access.password, settings.access.token, settings.provider.client_secret if settings.provider else ""


def https_options(options: PanelOptions) -> HttpsOptions:
    """Return the options of HTTPS of a command line."""
    from onetrainer_gradio.https import HttpsOptions

    return HttpsOptions(
        certfile=options.ssl_certfile,
        keyfile=options.ssl_keyfile,
        password=options.ssl_password,
        own=options.ssl_own,
        redirect_port=options.redirect_port,
    )


def panel_settings(options: PanelOptions) -> PanelSettings:
    """Return the settings for a command line."""
    from onetrainer_gradio.api.guard import allowed_hosts

    hosts = allowed_hosts(options.public_hosts)
    return PanelSettings(
        data_folder=options.data,
        in_process=options.in_process,
        backend=options.backend,
        checkouts=options.checkouts,
        find_checkouts=options.find_checkouts,
        # a checkout is a program to run: if others can reach the panel, only its operator may choose one
        closed_checkouts=options.share or options.hosted or not all(map(is_loopback, (options.host, *hosts))),
        keep_loaded_s=options.keep_loaded_s,
        allowed_roots=options.allow,
        demo=options.demo,
        config_file=options.config,
        push_to=options.push_to,
        push_limit_bytes=options.push_limit_bytes,
        rate_limit=options.rate_limit,
        access=AccessSettings(
            password=options.password,
            token=options.token,
            hosts=hosts,
            hosted=options.hosted,
            sessions_file=options.data / "sessions.json",
            accounts=options.accounts,
        ),
        provider=options.provider,
    )


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on ``host``, on the given port or on the next free one.

    :raises CommandLineError: if the address doesn't exist or no port is free.
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
            f"No port from {wanted[0]} to {wanted[-1]} is free on {host}: {refused}", suggestion="Set another one with --port."
        )
    raise CommandLineError(f"Can't listen on {host} port {port}: {refused}", suggestion="Set another --port, or omit it.")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows, this option would share a port that is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # bind alone doesn't show whether another process listens there
    except OSError:
        listener.close()
        raise
    return listener


def address_of(host: str, port: int, *, secure: bool = False) -> str:
    """Return the panel's URL for a browser on this machine."""
    if host in {"0.0.0.0", "::", ""}:
        host = "127.0.0.1"
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


@dataclass
class Notice:
    """Print the panel's address at the start and the state of the run at the end.

    ``generated`` is the token that was generated for this start, and ``setup_code`` makes the owner of a new panel.
    """

    access: Access
    options: PanelOptions
    port: int
    generated: str
    began: float
    out: TextIO = sys.stdout
    certificate: Certificate | None = None
    setup_code: str = ""
    people: People | None = None

    def started(self) -> None:
        """Print the panel's address, and open a browser on a desktop."""
        address = address_of(self.options.host, self.port, secure=self.certificate is not None)
        if self.options.hosted and self.options.public_hosts:
            address = f"https://{self.options.public_hosts[0]}/"
        link = f"{address}?token={self.access.new_link()}" if self.options.token else address
        self._print(f"OneTrainer panel is ready after {time.monotonic() - self.began:.1f} s: {link}")
        if self.options.token:
            self._print("  This link works once. Afterwards, log in with the token or password.")
        if self.generated:
            self._print(f"  Token (shown only once): {self.generated}")
        if self.setup_code:
            self._print(f"  Set-up code (works once, until the panel stops): {self.setup_code}")
            self._print(f"  Open {address}setup and enter it to make the owner's account.")
        if not is_loopback(self.options.host):
            self._print("  Reachable from other devices at this machine's hostname or IP address.")
        for line in self._about_certificate():
            self._print(f"  {line}")
        self._print("  Press Ctrl-C to stop the panel.")
        if self._opens_browser():
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
        if self.options.share:
            threading.Thread(target=self._share, daemon=True).start()

    def stopping(self, get_state: Callable[[], dict[str, Any]]) -> None:
        """Print whether a run continues."""
        state = get_state()
        if state["is_training"]:
            name = state.get("name") or state.get("run_id")
            if self.options.in_process:
                self._print(f"The panel is stopping. Run {name} finishes its step and saves (up to a minute).")
            else:
                self._print(f"The panel is stopping. Run {name} keeps training; restart the panel to see it.")
        else:
            self._print("The panel is stopping.")

    def _about_certificate(self) -> Iterator[str]:
        from onetrainer_gradio.api.guard import hostname

        if self.certificate is None:
            return
        if self.certificate.own:
            yield f"The panel's own certificate has the SHA-256 fingerprint {self.certificate.fingerprint}"
            yield "Browsers ask once whether to trust it. Compare the fingerprint first."
        for name in filter(None, self.options.public_hosts):
            if not self.certificate.covers(hostname(name)):
                yield f"The certificate isn't valid for {name}. It is valid for: {', '.join(self.certificate.names)}"

    def _share(self) -> None:
        from onetrainer_gradio.share import LINK_DAYS, open_link, viewer_link

        self._print("  Creating a public link…")
        shared = open_link(self.port)
        if shared.problem:
            self._print(f"  No public link: {shared.problem}")
            self._print("  The panel continues without it.")
            return
        self._print(f"  Public link: {shared.address} (valid for up to a week while the panel runs)")
        self._print("  It asks everyone to sign in. All traffic passes through the relay's servers.")
        address = f"{shared.address.rstrip('/')}/?token="
        if self.options.token:
            self._print(f"  For you, works once: {address}{self.access.new_link()}")
        if self.people is not None:
            self._print(
                f"  For others, who see runs and samples (expires in {LINK_DAYS} days): {address}{viewer_link(self.people)}"
            )
        self._print(f"  {shared.ended()}")

    def _opens_browser(self) -> bool:
        if self.options.open_browser is not None:
            return self.options.open_browser
        display = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        remote = bool(os.environ.get("SSH_CONNECTION"))
        return display and not remote and not self.options.hosted and is_loopback(self.options.host) and self.out.isatty()

    def _print(self, text: str) -> None:
        print(text, file=self.out, flush=True)


def _isnt_cancelled(record: logging.LogRecord) -> bool:
    """Return False for the traceback of a request that the shutdown cancelled."""
    return not (record.exc_info and record.exc_info[0] is asyncio.CancelledError)


def _server(app: FastAPI, options: PanelOptions, notice: Notice, redirect: socket.socket | None = None) -> uvicorn.Server:
    import uvicorn

    from onetrainer_gradio.api.forwarded import ANYONE, LOCAL_PROXIES, Forwarded
    from onetrainer_gradio.api.header_timeout import TimedH11Protocol
    from onetrainer_gradio.https import CertificateWatch, RedirectToHttps, certificate_of

    certificate, https = notice.certificate, https_options(options)
    log_config = None if options.log_format == "json" else uvicorn.config.LOGGING_CONFIG

    class PanelServer(uvicorn.Server):
        """Print notices at startup and shutdown."""

        _watching: asyncio.Task[None] | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                app.state.page.on_failure = self._give_up
                if certificate is not None and self.config.ssl is not None:
                    self._watch(certificate, self.config.ssl)
                if redirect is not None:
                    await self._redirect(redirect)
                notice.started()

        def _watch(self, certificate: Certificate, context: ssl.SSLContext) -> None:
            def read() -> Certificate | None:
                return certificate_of(https, options.data, options.host, options.public_hosts)

            watch = CertificateWatch(certificate, context, read, lambda new: setattr(app.state, "certificate", new))
            self._watching = asyncio.create_task(watch.run())

        async def _redirect(self, listener: socket.socket) -> None:
            config = uvicorn.Config(RedirectToHttps(notice.port), log_config=log_config, access_log=False, server_header=False)
            config.load()

            def protocol() -> TimedH11Protocol:
                return TimedH11Protocol(config=config, server_state=self.server_state, app_state={})

            self.servers.append(await asyncio.get_running_loop().create_server(protocol, sock=listener))

        def _give_up(self) -> None:
            """A panel whose page cannot be built is none."""
            self.should_exit = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            notice.stopping(app.state.service.get_state)
            if self._watching is not None:
                self._watching.cancel()
            app.state.stopping.set()
            logging.getLogger("uvicorn.error").addFilter(_isnt_cancelled)
            try:
                await super().shutdown(sockets)
            finally:
                logging.getLogger("uvicorn.error").removeFilter(_isnt_cancelled)

    return PanelServer(
        uvicorn.Config(
            Forwarded(app, (ANYONE,) if options.hosted else (*LOCAL_PROXIES, *options.trusted_proxies)),
            http=TimedH11Protocol,
            host=options.host,
            log_level=options.log_level,
            log_config=log_config,
            access_log=options.log_level == "debug" and options.log_format == "text",
            timeout_graceful_shutdown=GRACE_S,
            ws_max_size=64 * 1024,  # viewers send small messages only
            ws_per_message_deflate=False,  # small messages to many viewers: compressing each one costs more than it saves
            proxy_headers=False,  # Forwarded uses them
            ssl_certfile=certificate.certfile if certificate else None,
            ssl_keyfile=certificate.keyfile if certificate else None,
            ssl_keyfile_password=certificate.password or None if certificate else None,
            server_header=False,
        )
    )


@contextlib.contextmanager
def _signals_end_quietly() -> Any:
    """Ignore the signal that the server raises again after a clean shutdown."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _restore_copy(options: PanelOptions) -> None:
    """Restore an empty data folder from its copy on the Hugging Face Hub, if it has one."""
    if options.push_to:
        from onetrainer_gradio.service.hub.data_copy import pull_at_start

        message = pull_at_start(options.push_to, options.data)
        if message:
            print(message, flush=True)


def _prepare_environment(data_folder: Path) -> None:
    """Set variables that Gradio reads at import."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GRADIO_TEMP_DIR", str(data_folder / "cache" / "gradio"))
    shorten_import()
