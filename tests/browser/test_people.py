"""A panel with accounts in the browser: it is set up, shows each role what it may do, and a link opens on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import BRISK, READY
from tests.browser.test_new_lora import shot
from tests.fakes.openid import CLIENT, SECRET, FakeProvider
from tests.panel_process import REHEARSAL, Running

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.exhaustive]

PASSWORD = "correct horse battery"
ROLES = {"Ada": "owner", "Otto": "operator", "Vera": "viewer"}
LONG = ["steps=100000", "epoch_steps=1000", "step_s=0.05", "load_s=0.1", "cache_s=0.1", "sample_every=500", "print=500"]
PHONE = {"width": 390, "height": 844}

# Everything on the page that acts and isn't disabled, by its text and the role that it declares.
ENABLED = """() => [...document.querySelectorAll('button, input, select, textarea, a[download]')]
  .filter((node) => !node.disabled && !node.readOnly && (node.tagName !== 'A' || node.href))
  .map((node) => [node.closest('#og-controls') ? 'operator' : node.closest('[data-og-needs]')?.dataset.ogNeeds, node])
  .filter(([needs]) => ['operator', 'owner'].includes(needs))
  .map(([needs, node]) => `${needs}: ${node.outerHTML.slice(0, 120)}`)"""
APART = """() => {
  const shown = [...document.querySelector('.og-topbar').querySelectorAll('button, .og-badge, .og-link')]
    .filter((node) => node.checkVisibility()).map((node) => [node, node.getBoundingClientRect()]);
  return shown.flatMap(([one, a], at) => shown.slice(at + 1)
    .filter(([, b]) => a.right > b.left + 0.5 && b.right > a.left + 0.5)
    .map(([two]) => `${one.outerHTML.slice(0, 90)} over ${two.outerHTML.slice(0, 90)}`));
}"""


class Studio:
    """A panel with an owner, an operator and a viewer, and a browser for each."""

    def __init__(self, folder: Path, chromium: Any) -> None:
        self.panel = Running(folder, "--accounts", "--backend", BRISK, "--in-process")
        self.chromium = chromium
        self.address = self.panel.address
        code = re.search(r"Set-up code[^:]*: (\S+)", self.panel.startup_output)[1]
        self.owner = httpx.Client(base_url=self.address, timeout=60)
        self.owner.post("/api/setup", json={"code": code, "name": "Ada", "password": PASSWORD}).raise_for_status()
        for name, role in list(ROLES.items())[1:]:
            self.owner.post("/api/people", json={"name": name, "password": PASSWORD, "role": role}).raise_for_status()
        self.refused: list[str] = []
        self.contexts: list[Any] = []

    def login(self, name: str, **options: Any) -> Page:
        """Open the login page in a new browser with name and password entered. Rejected requests are recorded."""
        context = self.chromium.new_context(**options)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("response", lambda reply: self.refused.append(reply.url) if reply.status == 403 else None)
        page.goto(f"{self.address}/login")
        page.fill("[name=name]", name)
        page.fill("[name=password]", PASSWORD)
        return page

    def enter(self, name: str, **options: Any) -> Page:
        page = self.login(name, **options)
        page.click("button[type=submit]")
        page.locator(".og-link[data-state=live]").wait_for()
        return page

    def start(self) -> str:
        reply = self.owner.post("/api/training/start", json={"config": "Demo LoRA", "options": {"tags": LONG}})
        reply.raise_for_status()
        self.wait(lambda state: (state.get("update_step") or 0) > 0)
        return str(self.owner.get("/api/training/status").json()["run_id"])

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        for _ in range(600):
            with self.owner.stream("GET", "/api/training/status") as reply:
                reply.read()
            if wanted(reply.json()):
                return
        raise AssertionError("the state did not come")

    def end(self) -> None:
        for context in self.contexts:
            context.close()
        self.owner.close()
        self.panel.end()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[Studio]:
    made = Studio(tmp_path_factory.mktemp("studio"), chromium)
    yield made
    made.end()


@pytest.fixture
def run_id(studio: Studio) -> Iterator[str]:
    studio.refused.clear()
    yield studio.start()
    studio.owner.post("/api/training/stop?now=true")
    studio.wait(lambda state: not state["process_running"])


def test_an_owner_is_set_up_adds_a_person_and_hands_out_a_link(tmp_path, chromium):
    """The way leads from the code in the terminal to the gallery on a phone, which shows nothing else."""
    panel = Running(tmp_path, "--accounts", "--backend", REHEARSAL)
    try:
        code = re.search(r"Set-up code[^:]*: (\S+)", panel.startup_output)[1]
        page = chromium.new_context().new_page()
        page.goto(panel.address)
        page.fill("#code", code)
        page.fill("#name", "Ada")
        page.fill("#password", PASSWORD)
        page.click("button[type=submit]")
        page.get_by_role("button", name="Account", exact=True).click()
        dialog = page.locator(".og-people")
        dialog.wait_for()
        assert dialog.locator("[name=current]").is_visible(), "what appears later moves what is about to be clicked"
        dialog.locator("summary", has_text="People").click()
        people = dialog.locator("form", has=page.get_by_role("button", name="Add person"))
        people.locator("[name=name]").fill("Bob")
        people.locator("[name=password]").fill(PASSWORD)
        people.get_by_role("button").click()
        dialog.get_by_role("button", name="Remove Bob").wait_for()
        dialog.locator("summary", has_text="Links").click()
        links = dialog.locator("form", has=page.get_by_role("button", name="Create link"))
        links.locator("[name=name]").fill("class")
        links.locator("[name=shows]").select_option("gallery")
        links.get_by_role("button").click()
        address = dialog.locator(".og-people-once code").inner_text()
        assert dialog.locator(".og-people-qr").evaluate("image => image.naturalWidth") > 0
        phone = chromium.new_context(viewport={"width": 390, "height": 800}).new_page()
        phone.goto(address)
        phone.get_by_role("heading", name="class").wait_for()
        assert phone.url.endswith("/shared")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        dialog.get_by_role("button", name="Revoke class").click()
        dialog.get_by_role("button", name="Revoke class").wait_for(state="detached")
        look_again(phone)
        phone.get_by_text("expired, was revoked").wait_for(timeout=15_000)
    finally:
        panel.end()


def look_again(phone: Page) -> None:
    """Let the page of a link do what it does when it is shown again."""
    phone.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def tabs(page: Page, run_id: str) -> Iterator[str]:
    """Open each tab and the page of the run, with everything unfolded."""
    for tab in (*READY, f"runs/{run_id}"):
        page.evaluate(f"location.hash = '{tab}'")
        ready = ".og-run-title" if "/" in tab else READY[tab]
        page.locator(ready).first.wait_for(state="attached")
        page.evaluate("document.querySelectorAll('details:not([open]) > summary').forEach((node) => node.click())")
        yield tab


def test_a_viewer_finds_nothing_enabled_that_is_rejected(studio: Studio, run_id: str) -> None:
    """This covers each tab and what loads later, without a single rejected request; the run is followed live."""
    page = studio.enter("Vera")
    for tab in tabs(page, run_id):
        page.wait_for_function(f"() => ({ENABLED})().length === 0")
        assert page.evaluate(ENABLED) == [], tab
    page.evaluate("location.hash = 'training'")
    start = page.locator("#og-start")
    expect(start).to_be_disabled()
    assert start.get_attribute("title") == "This requires the role operator. You have the role viewer."
    expect(page.locator("#og-stop")).to_be_disabled()
    line = page.locator(".og-topline")
    before = line.inner_text()
    expect(line).not_to_have_text(before)
    page.evaluate("location.hash = 'configuration'")
    model = page.locator("#og-f-base_model_name")
    expect(model).to_have_js_property("readOnly", True)
    expect(page.locator("#og-f-model_type")).to_be_disabled()
    page.evaluate("document.querySelector('.og-toolbar').append(document.createElement('button'))")
    expect(page.locator(".og-toolbar > button").last).to_be_disabled()
    page.keyboard.press("Control+Enter")
    assert studio.owner.get("/api/runs").json()["total"] >= 1
    assert studio.refused == []


def test_an_operator_starts_and_stops_but_does_not_delete(studio: Studio, run_id: str) -> None:
    page = studio.enter("Otto")
    page.evaluate("location.hash = 'training'")
    stop = page.locator("#og-stop")
    expect(stop).to_be_enabled()
    stop.click()
    studio.wait(lambda state: not state["process_running"])
    expect(page.locator("#og-start")).to_be_enabled()
    page.evaluate(f"location.hash = 'runs/{run_id}'")
    delete = page.get_by_role("button", name="Delete…").and_(page.locator("[data-og=history] .og-history-page button"))
    expect(delete).to_be_disabled()
    assert delete.get_attribute("title") == "This requires the role owner. You have the role operator."
    expect(page.get_by_role("button", name="Start again…")).to_be_enabled()
    for _ in tabs(page, run_id):
        page.wait_for_function(f"() => ({ENABLED})().every((text) => text.startsWith('operator'))")
    assert studio.refused == []
    page.evaluate("location.hash = 'training'")
    started = studio.owner.get("/api/runs").json()["total"]
    page.evaluate(f"location.hash = 'runs/{run_id}'")
    page.get_by_role("button", name="Start again…").click()
    page.locator("dialog").get_by_role("button", name="Start", exact=True).click()
    studio.wait(lambda state: bool(state["is_training"]))
    assert studio.owner.get("/api/runs").json()["total"] == started + 1
    run = studio.owner.get("/api/runs").json()["runs"][0]
    assert studio.owner.get(f"/api/runs/{run['id']}").json()["record"]["started_by"] == "Otto"


def test_an_owner_shares_a_run(studio: Studio, run_id: str) -> None:
    """The dialog has the run selected; the link opens the run on a phone, where nothing overlaps in the top bar."""
    page = studio.enter("Ada", permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(f"location.hash = 'runs/{run_id}'")
    page.get_by_role("button", name="Share…").click()
    dialog = page.locator("dialog[aria-label='Share run']")
    expect(dialog.locator("[name=run_id]")).to_have_value(run_id)
    dialog.get_by_role("button", name="Create link").click()
    address = dialog.locator(".og-people-once code").inner_text()
    assert dialog.locator(".og-people-qr").evaluate("image => image.naturalWidth") > 0
    dialog.get_by_role("button", name="Copy").click()
    expect(page.locator("#og-toasts")).to_contain_text("Text copied.")
    assert page.evaluate("navigator.clipboard.readText()") == address
    context = studio.chromium.new_context(viewport=PHONE)
    studio.contexts.append(context)
    phone = context.new_page()
    phone.goto(address)
    expect(phone.get_by_role("heading").first).to_be_visible()
    assert phone.url.endswith("/shared")
    dialog.get_by_role("button", name="Close").click()
    page.evaluate("location.hash = 'configuration'")
    for width in (390, 768, 1440):
        page.set_viewport_size({"width": width, "height": 844})
        expect(page.locator(".og-topstop")).to_be_visible()
        assert page.evaluate(APART) == [], width


def test_a_link_for_operators_offers_what_the_run_can_do_now(studio: Studio, run_id: str) -> None:
    """It shows Pause while the run trains and Resume while it is paused; numbers have the format of the other pages."""
    asked = {"name": "class", "shows": "run", "role": "operator", "days": 1, "run_id": run_id}
    context = studio.chromium.new_context(viewport=PHONE)
    studio.contexts.append(context)
    phone = context.new_page()
    phone.goto(studio.owner.post("/api/links", json=asked).json()["address"])
    pause, resume = (phone.get_by_role("button", name=name, exact=True) for name in ("Pause", "Resume"))
    expect(pause).to_be_visible()
    expect(resume).to_be_hidden()
    expect(phone.locator("#facts")).to_contain_text("of 100,000")
    pause.click()
    expect(resume).to_be_visible()
    expect(pause).to_be_hidden()
    resume.click()
    expect(pause).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_app_is_set_up_asked_for_and_turned_off(studio: Studio) -> None:
    """Recovery codes are shown once; sessions are listed and ended."""
    page = studio.enter("Vera")
    other = studio.enter("Vera")
    page.get_by_role("button", name="Account", exact=True).click()
    dialog = page.locator(".og-people")
    dialog.get_by_role("button", name="Set up…").click()
    assert dialog.get_by_alt_text("QR code for the authenticator app").evaluate("image => image.naturalWidth") > 0
    app = pyotp.TOTP(dialog.locator(".og-people-factor code").inner_text())
    dialog.locator("[name=code]").fill(app.now())
    dialog.locator(".og-people-factor [name=password]").fill(PASSWORD)
    dialog.get_by_role("button", name="Turn on").click()
    codes = dialog.locator(".og-people-once code").inner_text().split()
    assert len(codes) >= 8
    dialog.get_by_role("button", name="Done").click()
    expect(dialog.locator(".og-people-factor")).to_contain_text(f"On. Unused recovery codes: {len(codes)}.")
    expect(dialog).not_to_contain_text(codes[0])

    third = studio.login("Vera")
    third.click("button[type=submit]")
    third.fill("[name=password]", PASSWORD)
    third.fill("[name=code]", codes[0])
    third.click("button[type=submit]")
    third.locator(".og-link[data-state=live]").wait_for()

    sessions = dialog.get_by_role("list", name="Sessions")
    page.reload()
    page.locator(".og-link[data-state=live]").wait_for()
    page.get_by_role("button", name="Account", exact=True).click()
    expect(sessions.get_by_text("(this browser)")).to_have_count(1)
    ends = sessions.get_by_role("button", name="End")
    while ends.count():
        before = ends.count()
        ends.first.click()
        expect(ends).to_have_count(before - 1)
    other.wait_for_url("**/login**")
    third.wait_for_url("**/login**")
    dialog.locator(".og-people-factor [name=password]").fill(PASSWORD)
    dialog.get_by_role("button", name="Turn off").click()
    expect(dialog.locator(".og-people-factor")).to_contain_text("Off. Only the password is required.")


def test_an_owner_ends_the_sessions_of_a_person(studio: Studio) -> None:
    """Their open page goes to the login page immediately."""
    theirs = studio.enter("Otto")
    page = studio.enter("Ada")
    page.get_by_role("button", name="Account", exact=True).click()
    dialog = page.locator(".og-people")
    dialog.locator("summary", has_text="People").click()
    dialog.get_by_role("button", name="End sessions: Otto").click()
    theirs.wait_for_url("**/login**")


def test_an_owner_sets_quotas_and_fair_share(studio: Studio) -> None:
    """The list of people shows their usage, and an empty field removes a quota.

    Covers ``ui/assets/people-quotas.js``.
    """
    page = studio.enter("Ada", viewport=PHONE)
    page.get_by_role("button", name="Account", exact=True).click()
    dialog = page.locator(".og-people")
    dialog.locator("summary", has_text="People").click()
    line = dialog.get_by_role("list", name="People").locator("li", has_text="Otto")
    for hours, words in (("12.5", "of 12.5 GPU hours in 30 days"), ("", "GPU hours in 30 days")):
        line.get_by_role("button", name="Quotas: Otto").click()
        line.get_by_label("GPU hours in 30 days").fill(hours)
        line.get_by_label("Disk (GB)").fill("3" if hours else "")
        line.get_by_role("button", name="Save quotas").click()
        expect(line).to_contain_text(words)
        if hours:
            expect(line).to_contain_text("of 3 GB")
    expect(line).not_to_contain_text("of 12.5")  # only then the list is that after the second change
    (otto,) = (each for each in studio.owner.get("/api/people").json()["people"] if each["name"] == "Otto")
    assert (otto["gpu_hours"], otto["disk_bytes"]) == (None, None)
    share = dialog.get_by_label("Days (0: off)")
    expect(share).to_have_value("0")
    share.fill("7")
    dialog.get_by_role("button", name="Save fair share").click()
    expect(page.get_by_text("Fair share turned on.")).to_be_visible()
    assert studio.owner.get("/api/queue").json()["fair_share_days"] == 7
    assert dialog.evaluate("node => node.scrollWidth <= node.clientWidth")
    studio.owner.put("/api/queue/fair-share", json={"days": 0}).raise_for_status()


@pytest.mark.usefixtures("run_id")  # the button exists while a run trains
def test_too_many_requests_are_explained(studio: Studio) -> None:
    """The notice has the seconds to wait, and other people aren't slowed down. ``tests/js`` tests that it is sent again."""
    page = studio.enter("Otto", viewport=PHONE)
    address, invalid = f"{studio.address}/api/queue", {"item": 1}
    replies = (page.request.post(address, data=invalid) for _ in range(200))
    slowed = next(reply for reply in replies if reply.status != 422)
    assert slowed.status == 429
    assert 0 < int(slowed.headers["retry-after"]) <= 60
    sent: list[int] = []
    page.on("response", lambda reply: sent.append(reply.status) if reply.url == address else None)
    page.goto(f"{studio.address}/#training")
    page.get_by_role("button", name="Add to queue").click()
    notice = page.get_by_text(re.compile(r"Too many requests\. Trying again in \d+ seconds?…"))
    expect(notice).to_be_visible()
    assert sent == [429]
    box = notice.bounding_box()
    assert 0 <= box["x"] <= box["x"] + box["width"] <= PHONE["width"]
    assert studio.owner.post("/api/queue", json=invalid).status_code == 422


def test_a_link_for_an_operator_stops_its_run_from_a_phone(studio: Studio, run_id: str) -> None:
    """It needs no account and is recorded. The buttons exist while the run trains; a viewer has none."""
    phones = {}
    for role in ("viewer", "operator"):
        link = {"name": f"for a phone, {role}", "shows": "run", "run_id": run_id, "role": role, "days": 1}
        address = studio.owner.post("/api/links", json=link).raise_for_status().json()["address"]
        context = studio.chromium.new_context(viewport=PHONE)
        studio.contexts.append(context)
        phones[role] = context.new_page()
        phones[role].goto(address)
        expect(phones[role].locator("#state")).to_have_text("Training")
    controls = phones["operator"].locator("#controls")
    controls.get_by_role("button", name="Stop").click()
    studio.wait(lambda state: not state["is_training"])
    expect(controls).to_be_hidden()
    look_again(phones["viewer"])
    expect(phones["viewer"].locator("#state")).not_to_have_text("Training")
    expect(phones["viewer"].locator("#controls")).to_be_hidden()
    entries = studio.owner.get("/api/audit?search=shared").json()["entries"]
    (stop,) = (entry for entry in entries if entry["who"].startswith("link “for a phone"))
    assert (stop["who"], stop["target"], stop["status"]) == ("link “for a phone, operator”", "stop", 200)


def test_someone_signs_in_with_a_provider_and_sets_a_password(tmp_path: Path, chromium: Any) -> None:
    """The account has no password at first, so no current one is requested, and there is no authenticator app to set up."""
    provider = FakeProvider()
    words = (
        "--oidc-issuer",
        provider.issuer,
        "--oidc-client-id",
        CLIENT,
        "--oidc-title",
        "Example",
        "--oidc-allow",
        "owner=user:ada",
    )
    panel = Running(tmp_path, "--accounts", "--backend", REHEARSAL, *words, ONETRAINER_GRADIO_OIDC_CLIENT_SECRET=SECRET)
    context = chromium.new_context(viewport=PHONE)
    try:
        page = context.new_page()
        page.goto(panel.address)
        page.get_by_role("link", name="Sign in with Example").click()
        page.locator(".og-link[data-state=live]").wait_for()
        page.get_by_role("button", name="Account", exact=True).click()
        dialog = page.locator(".og-people")
        expect(dialog.get_by_role("heading", name="ada")).to_be_visible()
        expect(dialog.locator(".og-people-factor")).to_contain_text("Your account has no password.")
        expect(dialog.get_by_role("button", name="Set up…")).to_have_count(0)
        expect(dialog.get_by_label("Current password")).to_have_count(0)
        shot(page, "account-of-a-provider-390")
        dialog.get_by_label("New password").fill(PASSWORD)
        dialog.get_by_role("button", name="Set password").click()
        expect(dialog.get_by_role("button", name="Set up…")).to_be_visible()
        expect(dialog.get_by_label("Current password")).to_be_visible()
    finally:
        context.close()
        panel.end()
        provider.close()
