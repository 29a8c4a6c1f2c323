"""A real browser with a real panel: the server is a separate process, and its runs are rehearsals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.ui.tabs import TABS
from tests.fakes.configs import small_config

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = "ONETRAINER_GRADIO_REQUIRE_BROWSER"
BROWSER = "ONETRAINER_GRADIO_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
DESKTOP = {"width": 1440, "height": 900}
UP_WITHIN_S = 40.0
BRISK = "tests.browser.brisk:run"


def no_browser(reason: str) -> None:
    """Skip, or fail where a browser is required."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason} ({REQUIRED}=1 asks for one)")
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


ABSENT = "(absent)"


def becomes(read: Callable[[], Any], wanted: Any, timeout_s: float = 15.0) -> None:
    """Wait until the value becomes the expected one: the page shows a change before the panel has it."""
    give_up_at = time.monotonic() + timeout_s
    while (found := read()) != wanted and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert found == wanted


def at(value: Any, place: str) -> Any:
    for key in place.split("."):
        try:
            value = value[int(key) if isinstance(value, list) else key]
        except (LookupError, TypeError):
            return ABSENT
    return value


@dataclass
class Panel:
    """A panel in a separate process, which can be ended and started again at the same address."""

    folder: Path
    arguments: tuple[str, ...] = ("--backend", BRISK, "--in-process")
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, *, page: bool = True) -> Panel:
        """Start it and wait until it answers and, unless a page is open already, until it can serve one."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(self.port), "--data", str(self.folder), "--no-open"]
        command.append("--no-find-onetrainer")  # whatever is on the machine that runs the tests
        self.log = (self.folder / "panel.log").open("ab")
        self.process = subprocess.Popen(
            [*command, *self.arguments], cwd=self.folder, env=environment, stdout=self.log, stderr=self.log
        )
        give_up_at = time.monotonic() + UP_WITHIN_S
        while time.monotonic() < give_up_at:
            try:
                self.get("api/training/status")
                if page:
                    self.get("config")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
            else:
                return self
        self.stop()
        raise RuntimeError(f"the panel did not come up: {(self.folder / 'panel.log').read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        self.log.close()

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=self.headers), timeout=10) as reply:
            return json.loads(reply.read())

    def send(self, method: str, path: str, body: Any = None, timeout_s: float = 10) -> dict[str, Any]:
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=self.headers)
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            return json.loads(reply.read())

    def change(self, **changes: Any) -> dict[str, Any]:
        """Change settings as another person would."""
        give_up_at = time.monotonic() + 30
        while True:
            revision = self.get("api/config/current")["revision"]
            try:
                return self.send("PATCH", "api/config/current", {"revision": revision, "changes": changes})
            except urllib.error.HTTPError as error:
                if error.code != 409 or time.monotonic() > give_up_at:  # the page changed something in between
                    raise

    def settings(self, *places: str) -> dict[str, Any]:
        """Return the settings at dotted paths; `ABSENT` if there is none."""
        config = self.get("api/config/current")["config"]
        return {place: at(config, place) for place in places}

    def setting(self, place: str) -> Any:
        return self.settings(place)[place]

    def expect_settings(self, **wanted: Any) -> None:
        """Wait until the settings have these values, by dotted path."""
        becomes(lambda: self.settings(*wanted), wanted)

    def wait(self, predicate: Callable[[dict[str, Any]], bool], timeout_s: float = 20.0) -> None:
        """Wait until the state satisfies the condition."""
        give_up_at = time.monotonic() + timeout_s
        while not predicate(self.get("api/training/status")):
            assert time.monotonic() < give_up_at, "the panel's state did not come"
            time.sleep(0.05)

    def stop_run(self) -> None:
        """Stop what runs, and wait until its processes are gone."""
        if self.get("api/training/status")["is_training"]:
            with contextlib.suppress(urllib.error.HTTPError):  # it has ended or is stopping in the meantime
                self.send("POST", "api/training/stop")
        self.wait(lambda state: not state["process_running"])

    def idle(self) -> None:
        """Stop what runs and restore the settings."""
        self.stop_run()
        self.send("PUT", "api/config/current", {"config": self.document, "name": "small"})

    def as_new(self) -> None:
        """Delete the runs and undo every change: the panel is as unused."""
        self.stop_run()
        for run in self.get("api/runs")["runs"]:
            self.send("DELETE", f"api/runs/{run['id']}")
        while self.get("api/config/current")["undo"]:
            self.send("POST", "api/config/undo")

    def shorten(self, **changes: Any) -> None:
        """Shorten runs of the demo: the images of one concept, no latent cache, and one quick sample."""
        config = self.get("api/config/current")["config"]
        sample = {**config["samples"][0], "diffusion_steps": 4}
        self.change(**{"concepts": config["concepts"][:1], "samples": [sample], "latent_caching": False, **changes})

    @property
    def document(self) -> dict[str, Any]:
        return to_document(small_config(self.folder / "work"), packed=True)


@pytest.fixture(scope="package")
def launcher() -> Iterator[Any]:
    """Return Playwright's Chromium, or skip with the reason if it isn't installed.

    It ends with this folder's tests: as long as it runs, no other test can run an event loop in this thread.
    """
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        no_browser("playwright is not installed")
    expect.set_options(timeout=15_000)  # the machines that run this are shared; only the awaited result counts
    with sync_playwright() as playwright:
        yield playwright.chromium


def launched(launch: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Start Chromium, or skip with the reason if it can't be started."""
    from playwright.sync_api import Error

    path = os.environ.get(BROWSER) or next(filter(None, map(shutil.which, NAMES)), None)
    try:
        return launch(*arguments, executable_path=path, args=FLAGS, **options)
    except Error as error:
        return no_browser(f"no Chromium can be started: {str(error).splitlines()[0]} (install one, or name it in {BROWSER})")


@pytest.fixture(scope="package")
def chromium(launcher: Any) -> Iterator[Any]:
    """A Chromium whose contexts are independent, and load and compile all scripts again."""
    browser = launched(launcher.launch)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def profile(launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The profile of a returning user: the page's scripts are cached and compiled.

    A page opens with 0.7 s of CPU time instead of 1.9 s.
    """
    context = launched(launcher.launch_persistent_context, tmp_path_factory.mktemp("profile"), viewport=DESKTOP)
    yield context
    context.close()


@pytest.fixture(scope="package")
def shared_panel(profile: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    panel = Panel(tmp_path_factory.mktemp("panel")).start()
    yield panel
    panel.stop()


@pytest.fixture
def panel(shared_panel: Panel) -> Panel:
    """The panel that most tests share, without a run and with the small settings."""
    shared_panel.idle()
    return shared_panel


@dataclass
class Visitor:
    """A person with a browser that records forbidden events."""

    context: Any
    base: str
    faults: list[str] = field(default_factory=list)
    script: str = ""
    """JavaScript that runs on each page before the page's own."""
    ready: Any = None
    """An empty page whose process is running: the first page opens in it with half of the processor time."""
    listening: list[tuple[Any, str, Callable[[Any], None]]] = field(default_factory=list)

    def open(self, tab: str = "configuration", panel: Panel | None = None) -> Any:
        """Open a page that shows the tab and is connected."""
        page = self.blank()
        page.goto(f"{panel.url if panel else self.base}#{tab}")
        page.locator(".og-link[data-state=live]").wait_for()
        page.get_by_role("tab", name=TITLES[tab], selected=True).wait_for()
        page.locator(READY[tab]).first.wait_for(state="attached")
        return page

    def blank(self) -> Any:
        """Open a page on which errors and violations of the Content-Security-Policy are recorded."""
        reuse = self.ready is not None and not self.listening and not self.script  # a script can't be removed
        page = self.ready if reuse else self.context.new_page()
        if self.script:
            page.add_init_script(self.script)
        page.set_default_timeout(20_000)  # of an action, not of an expectation
        self.listen(page, "pageerror", lambda error: self.faults.append(f"page error: {error}"))
        self.listen(
            page,
            "console",
            lambda message: self.faults.append(message.text) if "Content Security Policy" in message.text else None,
        )
        return page

    def listen(self, page: Any, event: str, handler: Callable[[Any], None]) -> None:
        page.on(event, handler)
        self.listening.append((page, event, handler))

    def leave(self) -> None:
        """Close the pages. The first one is emptied, with nothing left of the visit."""
        from playwright.sync_api import Error

        for page in self.context.pages[1:]:
            if page != self.ready:
                page.close()
        if self.ready is None or not self.listening:
            return
        for page, event, handler in self.listening:
            if page == self.ready:
                page.remove_listener(event, handler)
        try:
            self.ready.unroute_all(behavior="ignoreErrors")
            self.ready.evaluate("sessionStorage.clear()")
            self.ready.goto("about:blank")
            self.ready.set_viewport_size(DESKTOP)
            self.ready.emulate_media(media="null", color_scheme="null", reduced_motion="null")
        except Error:  # it crashed, hangs or is closed: the next visit gets a new one
            self.ready.close()

    def note(self, request: Any) -> None:
        """Record a request that leaves this machine."""
        if "://127.0.0.1:" not in request.url and not request.url.startswith(("data:", "blob:")):
            self.faults.append(f"request off this machine: {request.url}")

    @contextlib.contextmanager
    def watched(self) -> Iterator[Visitor]:
        """Watch the requests; at the end there may be no errors."""
        self.context.on("request", self.note)
        yield self
        self.context.remove_listener("request", self.note)
        self.leave()
        self.context.unroute_all()
        assert self.faults == []


# What a tab contains when its scripts have filled it.
READY = {tab.key: f"[data-og={tab.places[-1]}][data-og-filled=yes]" for tab in TABS} | {
    "configuration": ".og-rows > *",
    "training": "#og-start",
    "samples": ".og-groups",
    "system": ".og-meter",
}
TITLES = {tab.key: tab.title for tab in TABS}
MORE_TABS = ".overflow-menu:visible"


def tab_button(page: Any, tab: str) -> Any:
    """Return the button of a tab. In a narrow window Gradio puts tabs into a menu, which is then opened."""
    page.locator("#og-tabs [role=tab]").first.wait_for()
    button = page.get_by_role("tab", name=TITLES[tab], exact=True)
    if not button.count():
        menu = page.locator(MORE_TABS)
        button = menu.get_by_role("button", name=TITLES[tab], exact=True)
        if not button.count():
            menu.get_by_role("button", name="More tabs").click()
    return button


STORED = "local_storage,session_storage,indexeddb,service_workers,cache_storage,websql,file_systems"


def forget(profile: Any, panel: Panel) -> None:
    """Clear what a browser stores of earlier visits to a panel, except the page's cached scripts."""
    profile.clear_cookies()
    session = profile.new_cdp_session(profile.pages[0])  # the empty page that keeps the profile open
    session.send("Storage.clearDataForOrigin", {"origin": panel.url.rstrip("/"), "storageTypes": STORED})
    session.detach()


@pytest.fixture
def visitor(profile: Any, panel: Panel) -> Iterator[Visitor]:
    """A desktop browser with the page's scripts cached, and nothing else of an earlier visit."""
    forget(profile, panel)
    ready = profile.pages[1] if len(profile.pages) > 1 else profile.new_page()
    with Visitor(profile, panel.url, ready=ready).watched() as visitor:
        yield visitor


@pytest.fixture
def newcomer(chromium: Any, panel: Panel) -> Iterator[Visitor]:
    """A desktop browser that has never opened the page: everything is loaded and compiled."""
    context = chromium.new_context(viewport=DESKTOP)
    with Visitor(context, panel.url).watched() as visitor:
        yield visitor
    context.close()
