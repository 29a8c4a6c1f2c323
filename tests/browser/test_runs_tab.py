"""The Runs tab: the table, the page of a run, several runs in one chart, and the replay."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from onetrainer_gradio.config.paths.backup_chain import chain_of_run, write_chain
from tests.browser.conftest import Panel, Visitor, becomes
from tests.browser.test_axe import violations
from tests.service.runs.test_imports import write_workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

QUICK = ("steps=60", "step_s=0.001")


def finished(panel: Panel, name: str, *tags: str, **changes: Any) -> str:
    if changes:
        panel.change(**changes)
    run_id = str(panel.send("POST", "api/training/start", {"options": {"name": name, "tags": [*QUICK, *tags]}})["run_id"])
    panel.wait(lambda state: not state["process_running"])
    return run_id


def rows(page: Any) -> Any:
    return page.locator(".og-run-table tbody tr")


def names(page: Any) -> list[str]:
    return page.locator(".og-run-link").all_text_contents()


def opened(page: Any, panel: Panel, place: str) -> Any:
    """Open an address of the tab, like a link from elsewhere."""
    page.goto(f"{panel.url}#runs/{place}")
    page.reload()
    page.locator(".og-run-plot canvas").first.wait_for()
    return page


def test_the_table_searches_filters_and_sorts(visitor: Visitor, panel: Panel) -> None:
    """The server does it for all runs; the order is announced, and clicking a heading changes it."""
    for name, tag in (("alpha zebra", "cats"), ("beta zebra", "dogs"), ("gamma zebra", "cats")):
        finished(panel, name, tag)
    page = visitor.open("runs")
    page.get_by_label("Search runs").fill("zebra")
    expect(rows(page)).to_have_count(3)
    assert names(page) == ["gamma zebra", "beta zebra", "alpha zebra"]
    page.get_by_role("button", name="Name", exact=True).click()
    expect(page.locator("th[data-key=name]")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(".og-run-link").first).to_have_text("alpha zebra")
    page.get_by_label("Tag", exact=True).select_option("cats")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Search runs").fill("nothing like this")
    expect(page.get_by_text("No run matches.")).to_be_visible()


@pytest.mark.exhaustive
def test_columns_are_chosen_and_kept(visitor: Visitor, panel: Panel) -> None:
    """A reload shows the same columns."""
    finished(panel, "columns")
    page = visitor.open("runs")
    expect(page.locator("th[data-key=size]")).to_have_count(0)
    page.locator(".og-columns summary").click()
    page.get_by_label("Size", exact=True).check()
    expect(page.locator("th[data-key=size]")).to_be_visible()
    page.reload()
    expect(page.locator("th[data-key=size]")).to_be_visible()


@pytest.mark.exhaustive
def test_many_runs_are_tagged_archived_and_deleted_at_once(visitor: Visitor, panel: Panel) -> None:
    """It works with the keyboard alone; the deletion first shows what it frees."""
    for name in ("bulk one", "bulk two"):
        finished(panel, name)
    page = visitor.open("runs")
    page.get_by_label("Search runs").fill("bulk")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Select all runs on this page").press("Space")
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Add tags…").press("Enter")
    page.keyboard.type("together")
    page.keyboard.press("Enter")
    expect(page.locator(".og-run-table .og-tag", has_text="together")).to_have_count(2)
    page.get_by_label("Select all runs on this page").press("Space")
    page.get_by_role("button", name="Archive", exact=True).press("Enter")
    expect(rows(page)).to_have_count(0)
    page.get_by_label("Archived runs").select_option("yes")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Select all runs on this page").press("Space")
    page.get_by_role("button", name="Delete…").press("Enter")
    question = page.get_by_role("dialog", name="Delete 2 runs?")
    expect(question).to_contain_text("This frees")
    question.get_by_role("button", name="Delete").press("Enter")
    expect(rows(page)).to_have_count(0)
    assert panel.get("api/runs?archived=all&search=bulk")["matches"] == 0


@pytest.mark.exhaustive
def test_a_run_has_a_page_with_an_address(visitor: Visitor, panel: Panel) -> None:
    """A link opens it, Back returns to the table, and changes there are in the table."""
    run_id = finished(panel, "linked", "sample_every=20", "backup_every=20", "print=1")
    page = visitor.open("runs")
    page.get_by_role("link", name="linked").first.click()
    expect(page.get_by_role("heading", name="linked")).to_be_visible()
    assert page.url.endswith(f"#runs/{run_id}")
    page.get_by_role("button", name="Edit…").click()
    dialog = page.get_by_role("dialog", name="Edit run")
    dialog.get_by_label("Name").fill("renamed")
    dialog.get_by_label("Note").fill("the good one")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="renamed")).to_be_visible()
    expect(page.get_by_text("the good one")).to_be_visible()
    expect(page.locator(".og-run-section .og-tile")).to_have_count(3)
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_role("region", name="Log of the run")).to_contain_text("Run finished.")
    page.get_by_text("Files", exact=True).click()
    expect(page.locator(".og-run-section .og-file")).to_contain_text(["lora.safetensors"])
    page.go_back()
    expect(page.get_by_role("link", name="renamed")).to_be_visible()


@pytest.mark.exhaustive
def test_a_resumed_run_is_one_curve_with_a_mark(visitor: Visitor, panel: Panel) -> None:
    """The page of the later run starts where the first one did, and links to it."""
    first = finished(panel, "before", "backup_every=20")
    backup = next(each for each in panel.get(f"api/runs/{first}/files")["files"] if each["kind"] == "backup")
    second = panel.send("POST", f"api/runs/{first}/resume", {"backup": backup["id"]})["run_id"]
    panel.wait(lambda state: not state["process_running"])
    page = opened(visitor.blank(), panel, str(second))
    expect(page.get_by_text(f"Continues {first}")).to_be_visible()
    series = panel.get(f"api/runs/series?ids={second}")["runs"][0]
    assert (series["x"][0], series["resumes"][0]["x"]) == (1, 20)


@pytest.mark.exhaustive
def test_backups_are_deleted_by_a_rule_with_a_preview(visitor: Visitor, panel: Panel) -> None:
    """The preview lists what is deleted and kept; a pinned backup stays."""
    run_id = finished(panel, "rules", "backup_every=10")
    for backup in panel.get(f"api/runs/{run_id}/backups")["backups"]:
        folder = Path(backup["written_to"])
        progress = {"epoch": 0, "epoch_step": 0, "epoch_sample": 0, "global_step": backup["global_step"]}
        (folder / "meta.json").write_text(json.dumps({"train_progress": progress}))
        write_chain(folder, chain_of_run(run_id, None))
    page = opened(visitor.blank(), panel, run_id)
    page.get_by_text("Backups", exact=True).click()
    page.get_by_label("Pin the backup at step 20").check()
    page.get_by_label("Keep the newest").fill("1")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("Deletes 4, frees")).to_be_visible()
    page.locator(".og-prune").get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".og-backup-table tbody tr", has_text="The backup was deleted.")).to_have_count(4)
    kept = [each["global_step"] for each in panel.get(f"api/runs/{run_id}/backups")["backups"] if each["exists"]]
    assert kept == [20, 60]


@pytest.mark.exhaustive
def test_a_run_is_started_again_or_resumed_through_the_queue_while_another_trains(visitor: Visitor, panel: Panel) -> None:
    """Both dialogs offer “Add to queue”, and change back when the other run has ended."""
    run_id = finished(panel, "again", "backup_every=20")
    panel.send("POST", "api/queue/pause")
    body = {"config": panel.document, "options": {"name": "other", "tags": ["steps=100000", "step_s=0.01"]}}
    panel.send("POST", "api/training/start", body)
    try:
        page = opened(visitor.blank(), panel, run_id)
        page.get_by_role("button", name="Start again…").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("status")).to_have_text("Another run is training, so the new run waits in the queue.")
        dialog.get_by_role("button", name="Add to queue").click()
        expect(page.get_by_text("Added to the queue at place 1.")).to_be_visible()
        expect(dialog).to_have_count(0)
        page.get_by_text("Backups", exact=True).click()
        page.get_by_role("button", name="Resume…").last.click()
        dialog.get_by_role("button", name="Add to queue").click()
        expect(page.get_by_text("Added to the queue at place 2.")).to_be_visible()
        assert [item["resumes_run"] for item in panel.get("api/queue")["items"]] == ["", run_id]
        page.get_by_role("button", name="Start again…").click()
        expect(dialog.get_by_role("button", name="Add to queue")).to_be_visible()
        panel.send("POST", "api/training/stop")
        expect(dialog.get_by_role("button", name="Start", exact=True)).to_be_visible()
        expect(dialog.get_by_role("status")).to_have_count(0)
    finally:
        panel.send("POST", "api/training/stop") if panel.get("api/training/status")["is_training"] else None
        panel.wait(lambda state: not state["process_running"])
        for item in panel.get("api/queue")["items"]:
            panel.send("DELETE", f"api/queue/{item['id']}")
        panel.send("POST", "api/queue/resume")


@pytest.mark.exhaustive
def test_a_resume_shows_how_the_settings_in_the_form_differ(visitor: Visitor, panel: Panel) -> None:
    """It starts from any backup; the new run has the selected settings."""
    run_id = finished(panel, "differs", "backup_every=20", learning_rate=1e-4)
    panel.change(learning_rate=2e-4)
    page = opened(visitor.blank(), panel, run_id)
    page.get_by_text("Backups", exact=True).click()
    page.get_by_role("button", name="Resume…").first.click()
    dialog = page.get_by_role("dialog", name="Resume from a backup")
    expect(dialog).to_contain_text("The new run has the settings of this run.")
    dialog.get_by_label("Settings of the new run").select_option("Those in the form")
    expect(dialog.locator(".og-diff-body tbody tr")).to_have_count(1)
    expect(dialog.locator(".og-diff-body")).to_contain_text("Learning rate")
    dialog.get_by_role("button", name="Resume", exact=True).click()
    expect(dialog).to_have_count(0)
    panel.wait(lambda state: state["run_id"] != run_id and not state["process_running"])
    resumed = panel.get(f"api/runs/{panel.get('api/training/status')['run_id']}")
    assert (resumed["config"]["learning_rate"], resumed["record"]["options"]["resumes_run"]) == (2e-4, run_id)


@pytest.mark.exhaustive
def test_runs_are_compared_in_charts_and_a_table(visitor: Visitor, panel: Panel) -> None:
    """All metrics share zoom and pointer; the table has the differing setting and is ordered by a result; CSV has the points."""
    ids = [finished(panel, f"overlay {rate}", f"steps={steps}", learning_rate=rate) for rate, steps in ((1e-4, 60), (2e-4, 40))]
    page = opened(visitor.blank(), panel, f"compare/{','.join(ids)}")
    expect(page.locator(".og-compare-table thead")).to_contain_text("Learning rate")
    page.get_by_role("button", name="Learning rate").click()
    expect(page.locator("th[data-key=learning_rate]")).to_have_attribute("aria-sort", "ascending")
    page.locator(".og-compare-table th[data-key=steps] button").click()
    compared = page.locator(".og-compare-table tbody tr")
    expect(compared).to_contain_text(["overlay 0.0002", "overlay 0.0001"])
    page.locator(".og-compare-table th[data-key=steps] button").click()
    expect(compared).to_contain_text(["overlay 0.0001", "overlay 0.0002"])
    page.get_by_label("Layout").select_option("all")
    plots = page.locator(".og-run-plot")
    expect(plots).to_have_count(6)
    box = plots.first.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 50)
    shown = page.locator(".u-cursor-x").evaluate_all("all => all.filter((each) => !each.classList.contains('u-off')).length")
    assert shown == 6
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Reset zoom")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    table = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert {row["run_id"] for row in table} == set(ids)
    assert {"loss", "speed"} <= {row["metric"] for row in table}
    with page.expect_download() as image:
        page.get_by_role("button", name="PNG").click()
    assert Path(image.value.path()).read_bytes().startswith(b"\x89PNG")
    plots.first.focus()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Reset zoom")).to_be_hidden()
    page.get_by_role("button", name="overlay 0.0001").click()
    expect(page.get_by_role("button", name="overlay 0.0001")).to_have_attribute("aria-pressed", "false")


def drawn(page: Any) -> str:
    """Return the image of the first chart."""
    return str(page.locator(".og-run-plot canvas").first.evaluate("canvas => canvas.toDataURL()"))


@pytest.mark.exhaustive
def test_axis_smoothing_and_scale_change_the_chart_and_are_remembered(visitor: Visitor, panel: Panel) -> None:
    ids = [finished(panel, f"drawn {number}") for number in range(2)]
    page = opened(visitor.blank(), panel, f"compare/{','.join(ids)}")
    seen = {drawn(page)}
    for change in (
        lambda: page.get_by_label("Horizontal axis").select_option("Epochs"),
        lambda: page.get_by_label("Smoothing").select_option(index=2),
        lambda: page.get_by_label("Log scale").check(),
        lambda: page.get_by_label("Horizontal axis").select_option("Time"),
    ):
        change()
        becomes(lambda: drawn(page) in seen, False)
        seen.add(drawn(page))
    page.reload()
    page.locator(".og-run-plot canvas").first.wait_for()
    expect(page.get_by_label("Horizontal axis")).to_have_value("time")
    expect(page.get_by_label("Log scale")).to_be_checked()


@pytest.mark.exhaustive
def test_the_settings_of_a_run_are_compared_with_those_of_another(visitor: Visitor, panel: Panel) -> None:
    """Any run can be found by search; only differences are listed."""
    finished(panel, "something else")
    first = finished(panel, "slow learner", learning_rate=1e-5)
    second = finished(panel, "fast learner", learning_rate=3e-3)
    page = opened(visitor.blank(), panel, second)
    page.get_by_text("Settings", exact=True).click()
    fold = page.locator(".og-run-fold", has_text="Compare with")
    expect(fold.locator("optgroup option").nth(1)).to_be_attached()
    fold.get_by_label("Search runs to compare with").fill("slow learner")
    expect(fold.locator("optgroup option")).to_have_count(1)
    fold.get_by_role("combobox", name="Compare with").select_option(f"run:{first}")
    table = page.get_by_role("region", name="Differences")
    expect(table).to_contain_text("Learning rate")
    expect(table).to_contain_text("0.003")
    expect(table.locator("tbody tr")).to_have_count(1)
    fold.get_by_label("Search runs to compare with").fill("no run has these words")
    expect(fold.locator("optgroup option")).to_have_count(1)  # the selected one stays
    expect(fold.get_by_role("combobox", name="Compare with")).to_have_value(f"run:{first}")


@pytest.mark.exhaustive
def test_runs_of_onetrainer_are_added_from_their_workspace(visitor: Visitor, panel: Panel, tmp_path: Path) -> None:
    """The dialog lists each start; an imported run has its curve and samples, and can be compared with the panel's own."""
    own = finished(panel, "own", "sample_every=20")
    write_workspace(tmp_path)
    page = visitor.open("runs")
    page.get_by_role("button", name="Add OneTrainer runs…").click()
    dialog = page.get_by_role("dialog", name="Add OneTrainer runs")
    dialog.get_by_label("Workspace folder").fill(str(tmp_path / "empty"))
    dialog.get_by_role("button", name="Look for runs").click()
    expect(dialog.get_by_role("alert")).not_to_be_empty()
    dialog.get_by_label("Workspace folder").fill(str(tmp_path / "OneTrainer" / "workspace"))
    dialog.get_by_role("button", name="Look for runs").click()
    expect(dialog.locator(".og-import-line")).to_have_count(2)
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("2 added, 0 read again.")).to_be_visible()
    added = panel.get("api/runs?search=mine")["runs"]
    assert [run["imported"] for run in added] == [True, True]
    first = added[-1]["id"]
    opened(page, panel, first)
    expect(page.locator(".og-run-section .og-tile")).to_have_count(1)
    opened(page, panel, f"compare/{first},{own}")
    expect(page.get_by_label("Runs in the chart").get_by_role("listitem")).to_have_count(2)
    for run in added:
        panel.send("DELETE", f"api/runs/{run['id']}")


@pytest.mark.exhaustive
def test_a_run_is_replayed_by_keyboard(visitor: Visitor, panel: Panel) -> None:
    """The slider moves through the steps, each with its values, samples and events."""
    run_id = finished(panel, "replayed", "sample_every=20")
    page = opened(visitor.blank(), panel, run_id)
    page.get_by_text("Replay", exact=True).click()
    slider = page.get_by_role("slider", name="Step")
    expect(slider).to_have_attribute("aria-valuetext", "Step 60")
    expect(page.get_by_text("The settings of this run applied.")).to_be_visible()
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "Step 1")
    expect(page.locator(".og-replay-samples .og-tile")).to_have_count(0)
    for _ in range(24):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "Step 25")
    expect(page.locator(".og-replay-samples .og-tile")).to_have_attribute("aria-label", "Step 20: a red square")
    expect(page.locator(".og-replay-events li").first).to_contain_text("Training")


@pytest.mark.exhaustive
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_of_the_tab_fits_and_has_no_violation(visitor: Visitor, panel: Panel, width: int, theme: str) -> None:
    """Table, run and comparison, unfolded, are no wider than the window, and axe finds nothing."""
    ids = [finished(panel, name, "sample_every=20", "backup_every=20") for name in ("fits one", "fits two")]
    page = visitor.open("runs")
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=theme)
    rows(page).first.wait_for()
    for place in ("", ids[0], f"compare/{','.join(ids)}"):
        if place:
            opened(page, panel, place)
            page.evaluate("for (const each of document.querySelectorAll('.og-run-fold')) each.open = true")
            page.locator(".og-replay-slider, .og-compare-table").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
        assert violations(page) == [], (place, width, theme)


@pytest.mark.exhaustive
def test_the_list_on_the_training_tab_leads_to_the_page_of_a_run(visitor: Visitor, panel: Panel) -> None:
    """The queue is above the table and not above a run; the way back shows it again."""
    run_id = finished(panel, "from training")
    page = visitor.open("training")
    page.locator(".og-run summary").first.click()
    page.get_by_role("button", name="Open page").click()
    expect(page.get_by_role("heading", name="from training")).to_be_visible()
    assert page.url.endswith(f"#runs/{run_id}")
    expect(page.locator("#og-queue")).to_be_hidden()
    page.get_by_role("button", name="All runs").click()
    expect(page.locator("#og-queue")).to_be_visible()
    expect(rows(page).first).to_be_visible()


@pytest.mark.exhaustive
def test_a_lora_of_a_run_is_converted_in_a_dialog(visitor: Visitor, panel: Panel) -> None:
    """The format is selected, the new file is offered for download, and a file without weights is explained."""
    run_id = finished(panel, "to convert")
    page = opened(visitor.open("runs"), panel, run_id)
    page.get_by_text("Files", exact=True).click()
    page.get_by_role("button", name="Convert…").first.click()
    dialog = page.get_by_role("dialog", name="Convert LoRA")
    dialog.get_by_label("Format").select_option("COMFY_LORA")
    dialog.get_by_role("button", name="Convert", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("safetensors", timeout=60_000)
    done = {"name": "mine-comfy.safetensors", "bytes": 1000, "tensors": 2, "warning": "", "download": "api/runs/x/converted/y"}
    page.route("**/convert", lambda route: route.fulfill(json={"ok": True, "model_type": "FLUX_DEV_1", **done}))
    dialog.get_by_role("button", name="Convert", exact=True).click()
    expect(dialog.get_by_role("link", name="mine-comfy.safetensors")).to_have_attribute(
        "href", re.compile("api/runs/x/converted/y$")
    )
    expect(dialog.get_by_role("alert")).to_be_empty()
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
