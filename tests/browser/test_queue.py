"""The queue in a browser: order by drag and by keyboard, edit, copy, hold, remove, pause and sweep."""

from __future__ import annotations

import contextlib
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor, becomes, tab_button

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]
SIZES = [(1440, 900), (390, 844)]


@pytest.fixture
def paused(panel: Panel) -> Iterator[Panel]:
    """The shared panel with a paused queue, which is empty before and after."""
    panel.send("POST", "api/queue/pause")
    clear(panel)
    yield panel
    clear(panel)
    panel.send("POST", "api/queue/resume")


def clear(panel: Panel) -> None:
    for item in panel.get("api/queue")["items"]:
        with contextlib.suppress(urllib.error.HTTPError):
            panel.send("DELETE", f"api/queue/{item['id']}")


def add(panel: Panel, *names: str) -> None:
    for name in names:
        body = {"config": panel.document, "options": {"name": name, "tags": ["steps=2"]}}
        panel.send("POST", "api/queue", body)


def names(panel: Panel) -> list[str]:
    return [item["name"] for item in panel.get("api/queue")["items"]]


def line(page: Any, name: str) -> Any:
    return page.locator(".og-queue-item").filter(has=page.locator(".og-queue-name", has_text=name))


def shown(visitor: Visitor, size: tuple[int, int], count: int) -> Any:
    """Open the tab with the queue, with this many rows."""
    page = visitor.open("runs")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    expect(page.locator(".og-queue-item")).to_have_count(count)
    return page


def drag(page: Any, name: str, to: str, below: bool) -> None:
    """Drag a row by its handle to the upper or lower part of another."""
    line(page, name).scroll_into_view_if_needed()
    handle = line(page, name).locator(".og-queue-handle").bounding_box()
    target = line(page, to).bounding_box()
    page.mouse.move(handle["x"] + 8, handle["y"] + 8)
    page.mouse.down()
    page.mouse.move(handle["x"] + 8, handle["y"] + 20)
    page.mouse.move(target["x"] + 20, target["y"] + target["height"] * (0.9 if below else 0.1), steps=4)
    page.mouse.up()


@pytest.mark.parametrize("size", SIZES)
def test_runs_are_reordered_by_drag(visitor: Visitor, paused: Panel, size: tuple[int, int]) -> None:
    add(paused, "one", "two", "three")
    page = shown(visitor, size, 3)
    page.locator(".og-queue").scroll_into_view_if_needed()
    drag(page, "three", "two", below=False)
    becomes(lambda: names(paused), ["one", "three", "two"])
    expect(page.locator(".og-queue-name")).to_have_text(["one", "three", "two"])
    expect(page.locator("section[aria-label=Queue] [aria-live]").last).to_have_text("“three” moved to place 2 of 3.")
    drag(page, "one", "three", below=True)
    becomes(lambda: names(paused), ["three", "one", "two"])


@pytest.mark.parametrize("size", SIZES)
def test_runs_are_reordered_by_keyboard(visitor: Visitor, paused: Panel, size: tuple[int, int]) -> None:
    """Alt with an arrow key moves the run and keeps its focus; the buttons do the same; both are announced."""
    add(paused, "one", "two", "three")
    page = shown(visitor, size, 3)
    line(page, "three").focus()
    page.keyboard.press("Alt+ArrowUp")
    becomes(lambda: names(paused), ["one", "three", "two"])
    expect(line(page, "three")).to_be_focused()
    page.keyboard.press("Alt+ArrowUp")
    becomes(lambda: names(paused), ["three", "one", "two"])
    page.keyboard.press("Alt+ArrowDown")
    becomes(lambda: names(paused), ["one", "three", "two"])
    down = page.get_by_role("button", name="Move down “one”")
    down.focus()
    page.keyboard.press("Enter")
    becomes(lambda: names(paused), ["three", "one", "two"])
    expect(page.locator("section[aria-label=Queue] [aria-live]").last).to_have_text("“one” moved to place 2 of 3.")
    expect(page.get_by_role("button", name="Move up “three”")).to_be_disabled()


def test_a_run_is_edited_copied_held_and_removed(visitor: Visitor, paused: Panel) -> None:
    add(paused, "one", "two")
    page = shown(visitor, SIZES[0], 2)
    page.get_by_role("button", name="Edit “one”").click()
    dialog = page.get_by_role("dialog", name="Edit queued run")
    dialog.get_by_label("Name").fill("first")
    dialog.get_by_label("Step limit").fill("77")
    dialog.get_by_label("If it fails").select_option("Retry the run")
    dialog.get_by_label("Retries").fill("3")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(line(page, "first")).to_contain_text("77 steps at most")
    item = paused.get("api/queue")["items"][0]
    assert (item["max_steps"], item["on_failure"], item["retries"]) == (77, "retry", 3)
    page.get_by_role("button", name="Duplicate “first”").click()
    expect(page.locator(".og-queue-name")).to_have_text(["first", "first (copy)", "two"])
    expect(line(page, "first (copy)")).to_contain_text("Held")
    page.get_by_role("button", name="Release “first (copy)”").click()
    expect(line(page, "first (copy)").locator(".og-badge")).to_have_text("Waiting")
    page.get_by_role("button", name="Remove “two”").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator(".og-queue-name")).to_have_text(["first", "first (copy)"])


def test_a_run_is_added_with_a_start_time_and_a_run_to_wait_for(visitor: Visitor, paused: Panel) -> None:
    """The dialog sets everything that REST does, and the row shows what the run waits for."""
    add(paused, "one")
    page = shown(visitor, SIZES[0], 1)
    page.get_by_role("button", name="Add run…").click()
    dialog = page.get_by_role("dialog", name="Add to queue")
    for label, value in (
        ("Name", "later"),
        ("Notes", "for tonight"),
        ("Tags", "night, cats"),
        ("Priority", "-2"),
        ("Device", "cpu"),
    ):
        dialog.get_by_label(label).fill(value)
    dialog.get_by_label("Not before").fill("2099-01-02T03:04")
    dialog.get_by_label("After").select_option("one")
    dialog.get_by_label("Hold until it is released").check()
    dialog.get_by_role("button", name="Add", exact=False).last.click()
    expect(dialog).to_have_count(0)
    expect(line(page, "later").locator(".og-badge")).to_have_text("Held")
    one, later = paused.get("api/queue")["items"]
    assert {name: later[name] for name in ("notes", "tags", "priority", "device", "after", "held")} == {
        "notes": "for tonight",
        "tags": ["night", "cats"],
        "priority": -2,
        "device": "cpu",
        "after": one["id"],
        "held": True,
    }
    assert later["not_before"] > 4_070_000_000
    paused.send("POST", "api/queue/resume")
    page.get_by_role("button", name="Release “later”").click()
    becomes(
        lambda: [(item["name"], (item["wait"] or {}).get("code")) for item in paused.get("api/queue")["items"]],
        [("later", "not_before")],
    )
    expect(line(page, "later")).to_contain_text("2099")
    paused.send("POST", "api/queue/pause")


def test_an_edit_of_a_run_that_someone_else_changed_stays_open_with_the_reason(visitor: Visitor, paused: Panel) -> None:
    add(paused, "one")
    page = shown(visitor, SIZES[0], 1)
    page.get_by_role("button", name="Edit “one”").click()
    dialog = page.get_by_role("dialog", name="Edit queued run")
    item = paused.get("api/queue")["items"][0]
    paused.send("PATCH", f"api/queue/{item['id']}", {"name": "theirs"})
    dialog.get_by_label("Name").fill("mine")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Someone else changed")
    assert names(paused) == ["theirs"]


def test_a_sweep_is_shown_and_then_added(visitor: Visitor, paused: Panel) -> None:
    page = visitor.open("runs")
    page.get_by_role("button", name="Sweep…").click()
    dialog = page.get_by_role("dialog", name="Add a sweep")
    dialog.get_by_label("Setting", exact=True).fill("learning_rate")
    dialog.get_by_label("Values", exact=True).fill("1e-4, 3e-4")
    dialog.get_by_role("button", name="Add setting").click()
    dialog.get_by_label("Setting", exact=True).nth(1).fill("lora_rank")
    dialog.get_by_label("Values", exact=True).nth(1).fill("8, 16")
    dialog.get_by_role("button", name="Show runs").click()
    expect(dialog.locator("ol > li")).to_have_count(4)
    assert names(paused) == []
    dialog.get_by_role("button", name="Add 4 runs").click()
    expect(dialog).to_have_count(0)
    expect(page.locator(".og-queue-item")).to_have_count(4)
    assert len(names(paused)) == 4


def test_while_a_run_trains_another_is_added_and_starts_after_it(visitor: Visitor, paused: Panel) -> None:
    """Add to queue exists only while something trains; the next run starts when the queue is resumed."""
    page = visitor.open("training")
    expect(page.locator("#og-add-to-queue")).to_be_hidden()
    page.locator("#og-start").click()
    expect(page.locator("#og-add-to-queue")).to_be_visible()
    page.locator("#og-add-to-queue").click()
    expect(page.locator("#og-toasts")).to_contain_text("Added to the queue at place 1.")
    tab_button(page, "runs").click()
    expect(page.locator(".og-queue-item")).to_have_count(1)
    expect(page.locator(".og-queue-note")).to_contain_text("The queue is paused")
    first = paused.get("api/training/status")["run_id"]
    page.get_by_role("button", name="Resume queue").click()
    expect(page.get_by_role("button", name="Pause queue")).to_be_visible()
    paused.send("POST", "api/training/stop")
    becomes(lambda: paused.get("api/training/status")["run_id"] != first, True)
    expect(page.locator(".og-queue-item .og-badge")).to_have_text("Running")
    page.get_by_role("button", name="Suspend").click()
    expect(page.locator(".og-queue-item .og-badge")).to_have_text("Held", timeout=20_000)
    expect(page.locator(".og-queue-item")).to_contain_text("Suspended. Release it to resume it.")
