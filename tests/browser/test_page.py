"""What applies to the page as a whole: size, layout, names of controls, no motion, many viewers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BRISK, READY, Panel, Visitor, tab_button

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TABS = tuple(READY)
# a control of each tab that exists once the others do
LATE = READY | {
    "configuration": "#og-f-base_model_name",
    "training": ".og-run > summary",
    "samples": ".og-tile, #og-gallery-kind",
    "system": "#og-checkout-folder",
}
# the focused element, whether the focus is visible, and its markup
FOCUSED = """() => {
  const [node, style] = [document.activeElement, getComputedStyle(document.activeElement)];
  return [node.tagName, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, node.outerHTML.slice(0, 160)];
}"""

# where the form is
PLACE = "(({ x, y, width }) => [x, y, width])(document.querySelector('.og-rows').getBoundingClientRect())"

UNNAMED = """() => [...document.querySelectorAll('button, input, select, textarea, a[href], canvas, [role=progressbar]')]
  .filter(node => node.checkVisibility() && !node.closest('[aria-hidden=true]'))
  .filter(node => !(node.textContent.trim() || node.getAttribute('aria-label') || node.title || node.labels?.length))
  .map(node => node.outerHTML.slice(0, 160))"""


@pytest.mark.exhaustive
def test_the_first_view_is_light(newcomer: Visitor, panel: Panel) -> None:
    """It takes at most 350 kB and 60 requests, none of them twice, fewer than 1500 elements, and no heartbeat connection."""
    page = newcomer.context.new_page()
    session = newcomer.context.new_cdp_session(page)
    session.send("Network.enable")
    loaded: list[float] = []
    session.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(f"{request.method} {request.url}"))
    page.goto(panel.url)
    page.locator(READY["configuration"]).first.wait_for()
    page.locator("#og-tabs").wait_for()
    page.wait_for_timeout(1000)  # late requests count as well
    assert len(requests) <= 60, "\n".join(requests)
    assert [request for request, times in Counter(requests).items() if times > 1] == []
    assert sum(loaded) < 350_000
    assert page.evaluate("document.querySelectorAll('*').length") < 1500
    assert page.evaluate("window.gradio_config.connect_heartbeat") is False


@pytest.mark.exhaustive
def test_the_form_is_there_before_gradio(newcomer: Visitor, panel: Panel) -> None:
    """It accepts input while Gradio's front end is loading, and keeps text and focus when that arrives."""
    page = newcomer.context.new_page()
    waiting = []
    page.route("**/assets/Blocks-*.js", lambda route: waiting.append(route))
    page.goto(panel.url)
    page.locator(READY["configuration"]).first.wait_for()
    assert page.locator("#og-tabs").count() == 0
    page.locator("#og-search").fill("learning rate")
    page.locator("#og-f-learning_rate").wait_for()
    before = page.evaluate(PLACE)
    assert waiting
    for route in waiting:
        route.continue_()
    page.locator("#og-tabs").wait_for()
    expect(page.locator("#og-first")).to_have_count(0)
    assert page.evaluate(PLACE) == before
    assert page.locator("#og-search").input_value() == "learning rate"
    expect(page.locator("#og-search")).to_be_focused()


@pytest.mark.exhaustive
def test_a_tab_can_be_chosen_before_gradio(newcomer: Visitor, panel: Panel) -> None:
    page = newcomer.context.new_page()
    waiting = []
    page.route("**/assets/Blocks-*.js", lambda route: waiting.append(route))
    page.goto(panel.url)
    page.get_by_role("link", name="System").click()
    expect(page.locator(READY["configuration"]).first).to_be_hidden()
    for route in waiting:
        route.continue_()
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_role("tab", name="System")).to_have_attribute("aria-selected", "true")
    page.locator(READY["system"]).first.wait_for()


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [390, 1440])
def test_every_tab_fits_its_window_and_names_its_controls(visitor: Visitor, panel: Panel, width: int) -> None:
    """Nothing scrolls sideways on a phone or a desktop, all tabs can be reached,
    and every control has a name, with and without a run.
    """
    page = visitor.open("configuration")
    page.set_viewport_size({"width": width, "height": 844})
    for started in (False, True):
        if started:
            panel.send("POST", "api/training/start")
            page.locator(".og-topbar .og-badge[data-tone=busy]").wait_for()
        for tab in TABS:
            tab_button(page, tab).click()
            page.locator(READY[tab]).first.wait_for(state="attached")
            for other in TABS:
                expect(tab_button(page, other)).to_be_in_viewport()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{tab} at {width}"
            assert page.evaluate(UNNAMED) == [], tab


@pytest.mark.exhaustive
def test_whoever_uses_the_keyboard_sees_where_they_are(visitor: Visitor, panel: Panel) -> None:
    """Each control of each tab that the Tab key reaches shows a focus ring, from the tab's button to the end of the page."""
    panel.send("POST", "api/training/start", {"options": {"tags": ["steps=30", "step_s=0.001", "print=1"]}})
    panel.wait(lambda state: not state["process_running"])
    page = visitor.open("training")
    for tab, late in LATE.items():
        tab_button(page, tab).click()
        page.locator(late).first.wait_for()
        seen = 0
        for _ in range(80):
            page.keyboard.press("Tab")
            tag, ring, markup = page.evaluate(FOCUSED)
            if tag == "BODY":
                break
            assert ring, markup
            seen += 1
        assert seen > 2, tab


@pytest.mark.exhaustive
def test_nothing_moves_by_itself(visitor: Visitor, panel: Panel) -> None:
    """No animation and no transition runs, neither idle nor while a run streams its start."""
    page = visitor.open("training")
    assert page.evaluate("document.getAnimations().length") == 0
    page.locator("#og-start").click()
    expect(page.locator(".og-outcome")).to_contain_text("First step done")
    moving = page.evaluate(
        """() => new Promise(done => {
          let most = 0;
          const until = performance.now() + 800;
          const look = () => {
            most = Math.max(most, document.getAnimations().length);
            performance.now() < until ? setTimeout(look, 50) : done(most);
          };
          look();
        })"""
    )
    assert moving == 0


@pytest.mark.exhaustive
def test_ten_pages_follow_a_run_at_once(visitor: Visitor, panel: Panel) -> None:
    """Ten tabs of one browser load and stay live, and the last one's buttons work."""
    panel.send("POST", "api/training/start")
    pages = [visitor.open("training") for _ in range(10)]
    for page in pages:
        page.wait_for_function("og.store.state.update_step > 0")
    pages[-1].locator("#og-pause").click()
    for page in (pages[0], pages[-1]):
        page.bring_to_front()
        expect(page.locator(".og-status .og-badge")).to_have_text("Paused")


@pytest.mark.exhaustive
def test_where_sockets_are_blocked_the_page_polls(visitor: Visitor, panel: Panel) -> None:
    """A proxy without WebSockets only costs a second of delay."""
    visitor.script = """window.WebSocket = class {
      static OPEN = 1;
      readyState = 3;
      constructor() { setTimeout(() => this.onclose?.({}), 5); }
      close() {}
    };"""
    page = visitor.open("training")
    assert page.evaluate("og.store.via") == "polling"
    panel.send("POST", "api/training/start")
    page.wait_for_function("og.store.state.update_step > 0")
    expect(page.locator("#og-chart-summary")).to_contain_text("Smooth loss up to step")


def test_text_from_outside_stays_text(visitor: Visitor, panel: Panel) -> None:
    """Markup and template syntax in names, prompts and logs are shown unchanged and never executed."""
    evil = "<img src=x onerror='window.ran=1'>${window.ran=1}{{constructor}}"
    concept = {**panel.document["concepts"][0], "name": evil}
    panel.change(concepts=[concept], samples=[{**panel.document["samples"][0], "prompt": evil}])
    panel.send("POST", "api/training/start", {"options": {"name": evil}})
    page = visitor.open("configuration")
    page.locator(".og-nav button[data-group=concepts]").click()
    expect(page.locator(".og-card-title")).to_have_text(evil)
    page.get_by_role("tab", name="Training").click()
    expect(page.locator(".og-status .og-run-name")).to_have_text(evil)
    assert page.evaluate("window.ran") is None


@pytest.mark.exhaustive
def test_light_and_dark_are_a_choice_that_stays(visitor: Visitor, panel: Panel) -> None:
    """The switch changes the page and Gradio's parts, and a reload keeps it."""
    page = visitor.open()
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    page.get_by_role("button", name="Switch between light and dark").click()
    dark = page.evaluate(color)
    assert dark != light
    page.reload()
    page.locator(READY["configuration"]).first.wait_for()
    assert page.evaluate(color) == dark
    expect(page.locator("body")).to_have_class("dark")


def keyboard(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.exhaustive
def test_the_gallery_works_by_keyboard(visitor: Visitor, panel: Panel) -> None:
    """Enter opens a sample, arrow keys switch between them, Esc closes it and restores the focus."""
    run_id = panel.send("POST", "api/training/start", {"options": {"tags": ["steps=6", "sample_every=2"]}})["run_id"]
    page = visitor.open("samples")
    page.locator("#og-gallery-run").select_option(run_id)
    tiles = page.locator(".og-tile")
    expect(tiles).to_have_count(3)
    expect(page.locator(".og-tile img").first).to_have_js_property("complete", True)
    tiles.first.focus()
    keyboard(page, "Enter")
    view = page.get_by_role("dialog")
    expect(view).to_contain_text("a red square")
    expect(view).to_contain_text(run_id)
    expect(view.locator("dd").first).to_have_text("6")
    keyboard(page, "ArrowRight")
    expect(view.locator("dd").first).to_have_text("4")
    with page.expect_download() as download:
        view.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.endswith(".png")
    keyboard(page, "Escape")
    expect(view).to_have_count(0)
    expect(tiles.nth(1)).to_be_focused()


@pytest.mark.exhaustive
def test_a_failed_run_names_its_cause_and_the_setting_to_change(visitor: Visitor, panel: Panel) -> None:
    """The cause and what to change are on the Training tab; the setting's name links to its field."""
    tags = ["fail_at=3", "step_s=0.01"]
    panel.send("POST", "api/training/start", {"options": {"tags": tags, "name": "too large"}})
    page = visitor.open("training")
    expect(page.locator(".og-status .og-badge")).to_have_text("Failed")
    problem = page.locator(".og-problems li.bad")
    expect(problem).to_contain_text("Run failed: The graphics memory is used up")
    expect(problem).to_contain_text("Lower the batch size.")
    problem.get_by_role("link", name="batch_size").click()
    expect(page.locator("#og-f-batch_size")).to_be_focused()


@pytest.mark.exhaustive
def test_what_ended_a_process_is_reported_once(visitor: Visitor, tmp_path: Path) -> None:
    """The signal is in the sentence and not repeated; an unfinished command of a killed process has its label."""
    panel = Panel(tmp_path, arguments=("--backend", BRISK)).start()
    try:
        panel.send("PUT", "api/config/current", {"config": panel.document, "name": "small"})
        tags = ["steps=100", "step_s=0.05", "eat_die=1"]
        panel.send("POST", "api/training/start", {"options": {"tags": tags, "name": "killed"}})
        panel.wait(lambda state: state["can"]["sample"] and state["update_step"] > 0)
        panel.send("POST", "api/samples/default")
        panel.wait(lambda state: not state["process_running"])
        page = visitor.open("training", panel)
        expect(page.locator(".og-problems li.bad")).to_contain_text("SIGKILL: it was killed from outside.")
        expect(page.locator(".og-problems li.bad")).not_to_contain_text("(signal")
        expect(page.locator(".og-problems li.warn")).to_contain_text("Sampling failed:")
    finally:
        panel.stop()


def test_a_rejected_start_reports_what_to_change(visitor: Visitor, panel: Panel) -> None:
    """The findings are shown before Start is pressed, and then by Start itself with the setting's name, in one place each."""
    page = visitor.open("training")
    panel.change(base_model_name="/nowhere/model")
    expect(page.locator(".og-ready")).to_contain_text("Can’t start yet: The model /nowhere/model doesn't exist")
    page.locator("#og-start").click()
    expect(page.locator(".og-outcome")).to_contain_text("These settings can't be used")
    expect(page.locator(".og-outcome-errors")).to_contain_text("base_model_name")
    expect(
        page.locator(".og-status").get_by_text("The model /nowhere/model doesn't exist").locator("visible=true")
    ).to_have_count(1)
    expect(page.locator(".og-ready")).to_be_hidden()
    panel.change(base_model_name="/nowhere/else")
    expect(page.locator(".og-outcome-errors")).to_be_hidden()
    expect(page.locator(".og-ready")).to_contain_text("Can’t start yet: The model /nowhere/else doesn't exist")


@pytest.mark.exhaustive
def test_graphics_cards_show_what_they_tell(visitor: Visitor, panel: Panel) -> None:
    """Each available reading of a GPU has a row with history; without GPUs there is none."""
    page = visitor.open("system")
    expect(page.locator(".og-meter")).to_have_count(3)
    readings = panel.get("api/system/resources")
    card = {
        "index": 0,
        "name": "Card",
        "utilization": 93,
        "memory_used": 6e9,
        "memory_total": 8e9,
        "temperature": 71,
        "power": None,
    }
    readings["now"]["gpus"] = [card]
    columns = {name: [value] * len(readings["history"]["seconds"]["at"]) for name, value in card.items()}
    readings["history"]["seconds"]["gpus"] = [columns]
    page.route("**/api/system/resources", lambda route: route.fulfill(json=readings))
    page.reload()
    meters = page.locator(".og-meter")
    expect(meters).to_have_count(6)
    for place, text in enumerate(("93%", "75%", "71 °C"), start=3):
        expect(meters.nth(place)).to_contain_text(text)


@pytest.mark.exhaustive
def test_the_curve_of_an_earlier_run_can_be_shown(visitor: Visitor, panel: Panel) -> None:
    """From the list of runs, the chart, console and problems switch to another run and back to the current one."""
    for name, steps in (("earlier", 30), ("later", 50)):
        panel.send("POST", "api/training/start", {"options": {"name": name, "tags": [f"steps={steps}", "step_s=0.001"]}})
        panel.wait(lambda state: not state["process_running"])
    page = visitor.open("training")
    summary = page.locator("#og-chart-summary")
    expect(summary).to_contain_text("up to step 50")
    earlier = page.locator(".og-run", has_text="earlier")
    earlier.locator("summary").click()
    earlier.get_by_role("button", name="Show chart").click()
    expect(page.locator(".og-which")).to_contain_text("earlier")
    expect(summary).to_contain_text("up to step 30")
    page.get_by_role("button", name="Learning rate").click()
    expect(summary).to_contain_text("Learning rate up to step 30")
    page.get_by_role("button", name="Back to the current run").click()
    expect(summary).to_contain_text("up to step 50")


@pytest.mark.exhaustive
def test_the_list_shows_what_a_run_does_like_the_top_of_the_page_does(visitor: Visitor, panel: Panel) -> None:
    """It doesn't show that the run is starting while its model is loading."""
    options = {"name": "slow to load", "tags": ["load_s=60", "steps=5"]}
    panel.send("POST", "api/training/start", {"options": options})
    page = visitor.open("training")
    run = page.locator(".og-run", has_text="slow to load")
    expect(run.locator(".og-badge")).to_have_text("Loading model")
    panel.send("POST", "api/training/stop", {"now": True})
    panel.wait(lambda state: not state["process_running"])
    expect(run.locator(".og-badge")).to_have_text("Stopped")


@pytest.mark.exhaustive
def test_only_a_run_with_a_backup_offers_to_resume_from_it(visitor: Visitor, panel: Panel) -> None:
    """For a run that failed before its first backup, the list offers only chart, settings and removal."""
    for name, tags in (("with", ["backup_every=5"]), ("without", ["fail_at=2"])):
        options = {"name": f"{name} a backup", "tags": ["steps=10", "step_s=0.001", *tags]}
        panel.send("POST", "api/training/start", {"options": options})
        panel.wait(lambda state: not state["process_running"])
    page = visitor.open("training")
    for name, offered in (("with", 1), ("without", 0)):
        run = page.locator(".og-run", has_text=f"{name} a backup")
        run.locator("summary").click()
        expect(run.get_by_role("button", name="Delete")).to_be_visible()
        expect(run.get_by_role("button", name="Resume from last backup")).to_have_count(offered)


@pytest.mark.exhaustive
def test_deleting_a_run_reports_what_is_lost(visitor: Visitor, panel: Panel) -> None:
    """The question names the run, the freed space, and models that exist only here."""
    for weights in ("first", "other"):
        options = {"name": f"the {weights} one", "tags": ["steps=3", f"weights={weights * 400}"]}
        panel.send("POST", "api/training/start", {"options": options})
        panel.wait(lambda state: not state["process_running"])
    page = visitor.open("training")
    run = page.locator(".og-run", has_text="the first one")
    run.locator("summary").click()
    run.get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog", name="Delete “the first one”?")
    expect(question).to_contain_text("exist only here")
    question.get_by_role("button", name="Delete").click()
    expect(page.locator(".og-run", has_text="the first one")).to_have_count(0)
    expect(page.locator(".og-run", has_text="the other one")).to_have_count(1)


@pytest.mark.exhaustive
def test_a_custom_sample_begins_with_values_that_fit(visitor: Visitor, panel: Panel) -> None:
    """The form uses size and steps of the first sample prompt, is disabled without a run, and shows why."""
    page = visitor.open("samples")
    page.get_by_text("Generate a sample").click()
    expect(page.get_by_label("Width")).to_have_value("32")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_disabled()
    expect(page.get_by_text("No run is active.")).to_be_visible()
    panel.send("POST", "api/training/start")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
    page.get_by_label("Prompt", exact=True).fill("mine")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".og-group h4", has_text="mine")).to_be_visible()


@pytest.mark.exhaustive
def test_what_is_drawn_follows_the_last_word_about_its_visibility(visitor: Visitor) -> None:
    """A busy page gets several changes in one message; hidden first and shown last means shown."""
    page = visitor.open()
    drawn = page.evaluate(
        """async () => {
          const scripts = [...document.querySelectorAll('script[type=module]')].map(node => node.src);
          const { paced } = (await import(scripts.find(src => src.includes('first.js')))).$dom;
          const real = window.IntersectionObserver;
          window.IntersectionObserver = class {
            constructor(callback) { this.callback = callback; }
            observe() { setTimeout(() => this.callback([{ isIntersecting: false }, { isIntersecting: true }]), 10); }
            disconnect() {}
          };
          let drawn = 0;
          const pace = paced(document.body, () => { drawn += 1; }, 0);
          window.IntersectionObserver = real;
          pace.ask();
          await new Promise(done => setTimeout(done, 200));
          pace.leave();
          return drawn;
        }"""
    )
    assert drawn == 1
