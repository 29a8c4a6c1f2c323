"""The Training tab: the cause of an end, the console, the newest samples, a run's files, and its curve."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def finished(panel: Panel, name: str, *tags: str) -> str:
    options = {"name": name, "tags": ["step_s=0.001", *tags]}
    run_id = str(panel.send("POST", "api/training/start", {"options": options})["run_id"])
    panel.wait(lambda state: not state["process_running"])
    return run_id


def contrast(page: Any, what: str) -> float:
    """Return the contrast of a text with its card's background, as WCAG defines it."""
    return float(
        page.locator(what).first.evaluate(
            """node => {
              const light = (color) => {
                const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((each) => each / 255)
                  .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const card = node.closest('.og-card');
              const [a, b] = [getComputedStyle(node).color, getComputedStyle(card).backgroundColor].map(light);
              return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            }"""
        )
    )


def test_a_failure_is_reported_in_full_once(visitor: Visitor, panel: Panel) -> None:
    """The cause is among the warnings and errors; the state, the list of runs and the console link to it."""
    finished(panel, "too large", "fail_at=3", "print=1")
    page = visitor.open("training")
    expect(page.locator("#og-cause")).to_contain_text("The graphics memory is used up")
    page.locator(".og-run summary").first.click()
    expect(page.locator(".og-log")).to_contain_text("Run failed. Show the error")
    expect(page.locator(".og-run-body").first).to_contain_text("Show the error")
    expect(page.get_by_text("The graphics memory is used up").locator("visible=true")).to_have_count(1)
    links = page.get_by_role("link", name="Show the error")
    expect(links).to_have_count(3)
    for at in range(3):
        links.nth(at).click()
        expect(page.locator("#og-cause")).to_be_focused()
        expect(page.locator("#og-cause")).to_be_in_viewport()
    page.get_by_text("Traceback", exact=True).click()
    expect(page.locator(".og-trace pre")).to_contain_text("OutOfMemoryError")


@pytest.mark.exhaustive
def test_a_failure_while_start_streams_is_reported_in_full_once(visitor: Visitor, panel: Panel) -> None:
    """The button's stream names the end and leaves the cause to the list."""
    page = visitor.open("training")
    page.evaluate(
        """() => document.dispatchEvent(new CustomEvent('og-outcome', {detail: {
          action: 'start', ok: false, done: true, text: 'Failed after 3 steps: No room', error: 'No room'}}))"""
    )
    expect(page.locator(".og-outcome")).to_have_text("Failed after 3 steps")


@pytest.mark.exhaustive
def test_the_console_of_a_successful_run_reports_what_it_did(visitor: Visitor, panel: Panel) -> None:
    """It has lines for phases, epochs, samples, backups and the model; the log can be downloaded in full."""
    finished(panel, "fine", "steps=20", "sample_every=10", "backup_every=10")
    page = visitor.open("training")
    for part in (
        "Loading the model",
        "Epoch 1 of 2",
        "Sample generated at step 10",
        "Backup written",
        "Model saved",
        "Run finished.",
    ):
        expect(page.locator(".og-log")).to_contain_text(part)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download log").click()
    assert "Run finished." in Path(download.value.path()).read_text()


@pytest.mark.exhaustive
def test_the_newest_samples_are_next_to_the_curve(visitor: Visitor, panel: Panel) -> None:
    """They arrive while the run is active, also after a reload, as thumbnails; below the chart on a narrow page.

    A click opens that sample's large view.
    """
    panel.send("POST", "api/training/start", {"options": {"tags": ["steps=400", "step_s=0.02", "sample_every=30"]}})
    page = visitor.open("training")
    tiles = page.locator(".og-newest .og-new")
    expect(tiles).to_have_count(2)
    chart, newest = (page.locator(each).bounding_box() for each in ("#og-chart", "#og-newest"))
    assert abs(chart["y"] - newest["y"]) < 2
    assert newest["x"] > chart["x"] + chart["width"]
    page.reload()
    expect(tiles.first).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    chart, newest = (page.locator(each).bounding_box() for each in ("#og-chart", "#og-newest"))
    assert newest["y"] >= chart["y"] + chart["height"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sources = tiles.locator("img").evaluate_all("images => images.map(image => image.src)")
    assert sources
    assert all("thumbnail?w=256" in source for source in sources)
    page.set_viewport_size({"width": 1440, "height": 900})
    panel.idle()
    label = str(tiles.first.get_attribute("aria-label"))
    tiles.first.click()
    view = page.get_by_role("dialog", name="Sample")
    expect(view.locator("dd").first).to_have_text(label.removeprefix("Step ").split(":")[0])
    page.keyboard.press("Escape")
    expect(page.get_by_role("tab", name="Samples", selected=True)).to_have_count(1)


@pytest.mark.exhaustive
def test_a_run_offers_all_its_files(visitor: Visitor, panel: Panel) -> None:
    """All samples have thumbnails, in pages; a zip contains all of them, a kind, or the selected ones."""
    finished(panel, "many", "steps=30", "sample_every=1", "backup_every=10")
    page = visitor.open("training")
    run = page.locator(".og-run", has_text="many").first
    run.locator("summary").first.click()
    shots = run.locator(".og-shot")
    expect(shots).to_have_count(24)
    run.get_by_role("button", name="Show 6 more of 6").click()
    expect(shots).to_have_count(30)
    expect(run.locator(".og-shot img").first).to_have_js_property("naturalWidth", 32)
    with page.expect_download() as download:
        run.locator(".og-card-head", has_text="Samples").get_by_role("link", name="Download as zip").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert len(archive.namelist()) == 30
    for at in (0, 3):
        shots.nth(at).get_by_role("checkbox").check()
    with page.expect_download() as download:
        run.get_by_role("link", name="Download 2 selected").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert len(archive.namelist()) == 2
    finished(panel, "another", "steps=3")
    expect(page.locator(".og-run", has_text="another").first).to_be_visible()
    expect(shots.nth(3).get_by_role("checkbox")).to_be_checked()


@pytest.mark.exhaustive
def test_the_legend_is_readable_in_both_themes(visitor: Visitor, panel: Panel) -> None:
    """Names of curves have a contrast of at least 4.5 to 1."""
    finished(panel, "short", "steps=10")
    page = visitor.open("training")
    expect(page.locator(".og-legend li")).to_have_text(["Loss", "Smooth loss"])
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        expect(page.locator("html")).to_have_class("og-dark" if theme == "dark" else "")
        assert contrast(page, ".og-legend span:last-child") >= 4.5


@pytest.mark.exhaustive
def test_smoothed_is_one_number_and_a_resumed_curve_has_what_came_before(visitor: Visitor, panel: Panel) -> None:
    """The tile, the sentence below the chart and REST have the same value,
    whatever the chart's own average; the resume is marked.
    """
    first = finished(panel, "first", "steps=20", "backup_every=10")
    backup = next(each for each in panel.get(f"api/runs/{first}/files")["files"] if each["kind"] == "backup")
    panel.send("POST", f"api/runs/{first}/resume", {"backup": backup["id"]})
    panel.wait(lambda state: not state["process_running"])
    state = panel.get("api/training/status")
    assert state["run_id"] != first
    page = visitor.open("training")
    summary = page.locator("#og-chart-summary")
    expect(summary).to_contain_text("Resumed after step")
    expect(summary).to_contain_text(f"now {state['smooth_loss']:.4g},")
    expect(page.locator(".og-tiles > div", has_text="Smooth loss").locator("dd")).to_have_text(f"{state['smooth_loss']:.4g}")
    page.locator("#og-smooth").select_option("0.9")
    expect(page.locator(".og-legend li")).to_have_text(["Loss", "Average 0.9"])
    expect(summary).to_contain_text(f"Smooth loss up to step {state['progress']['global_step']}: now {state['smooth_loss']:.4g},")


@pytest.mark.exhaustive
def test_a_finished_run_is_resumed_with_more_epochs(visitor: Visitor, panel: Panel) -> None:
    """The page asks for the number of epochs if the backup has none left."""
    first = finished(panel, "all-trained", "steps=4", "backup_every=2")
    config = panel.get(f"api/runs/{first}")["config"]
    epochs, backups = config["epochs"], Path(config["workspace_dir"]) / "backup"
    names = [each["name"] for each in panel.get(f"api/runs/{first}/files")["files"] if each["kind"] == "backup"]
    progress = {"epoch": epochs, "epoch_step": 0, "epoch_sample": 0, "global_step": 4}
    for name in names:
        (backups / name / "meta.json").write_text(json.dumps({"train_progress": progress}))
    page = visitor.open("training")
    run = page.locator(".og-run", has_text="all-trained").first
    run.locator("summary").first.click()
    run.get_by_role("button", name="Resume from last backup").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"is already at epoch {epochs} of {epochs}")
    dialog.get_by_label("Total epochs").fill(str(epochs + 3))
    dialog.get_by_role("button", name="Resume").click()
    panel.wait(lambda state: state["run_id"] != first and not state["process_running"])
    resumed = panel.get("api/training/status")["run_id"]
    assert panel.get(f"api/runs/{resumed}")["config"]["epochs"] == epochs + 3
    for name in names:  # other tests share the workspace
        (backups / name / "meta.json").unlink()


@pytest.mark.exhaustive
def test_resuming_while_another_run_trains_adds_to_the_queue(visitor: Visitor, panel: Panel) -> None:
    """The list's button resumes immediately only if nothing trains."""
    panel.send("POST", "api/queue/pause")
    first = finished(panel, "resumed-later", "steps=4", "backup_every=2", "fail_at=3")
    panel.send("POST", "api/training/start", {"options": {"name": "trains", "tags": ["steps=100000", "step_s=0.01"]}})
    page = visitor.open("training")
    run = page.locator(".og-run", has_text="resumed-later").first
    run.locator("summary").first.click()
    run.get_by_role("button", name="Resume from last backup").click()
    expect(page.locator("#og-toasts, .og-toast").first).to_contain_text("Added to the queue at place 1.")
    (item,) = panel.get("api/queue")["items"]
    assert (item["resumes_run"], item["state"]) == (first, "waiting")
    assert panel.get("api/training/status")["is_training"]
    panel.send("DELETE", f"api/queue/{item['id']}")
    panel.send("POST", "api/queue/resume")


@pytest.mark.exhaustive
def test_a_command_given_while_the_run_loads_is_shown(visitor: Visitor, panel: Panel) -> None:
    """The state shows the accepted command as pending until it is done."""
    page = visitor.open("training")
    panel.send("POST", "api/training/start", {"options": {"tags": ["steps=500", "step_s=0.02", "load_s=6"], "name": "loads"}})
    panel.send("POST", "api/samples/default")
    waiting = page.locator(".og-status .og-waiting")
    expect(waiting).to_have_text("Requested: sample.")
    expect(waiting).to_be_hidden(timeout=20_000)
    panel.send("POST", "api/training/stop")
    panel.wait(lambda state: not state["process_running"])


@pytest.mark.exhaustive
def test_a_stopped_run_has_no_final_model(visitor: Visitor, panel: Panel) -> None:
    """Next to the state and in the list, its output shows at which of how many steps it was stopped."""
    panel.send("POST", "api/training/start", {"options": {"tags": ["steps=500", "step_s=0.02"], "name": "halved"}})
    panel.wait(lambda state: state["update_step"] > 3)
    panel.send("POST", "api/training/stop")
    panel.wait(lambda state: not state["process_running"])
    page = visitor.open("training")
    expect(page.locator(".og-status .og-files")).to_contain_text("of 500: model so far")
    run = page.locator(".og-run", has_text="halved").first
    run.locator("summary").first.click()
    expect(run.locator(".og-run-files")).to_contain_text("of 500: model so far")
    expect(page.get_by_text("Final model")).to_have_count(0)
