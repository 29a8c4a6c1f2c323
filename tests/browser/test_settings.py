"""The settings form in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor, becomes

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def group(page: Any, key: str) -> None:
    page.locator(f".og-nav button[data-group={key}]").click()


def field(page: Any, path: str) -> Any:
    return page.locator(f"#og-f-{path.replace('.', '-')}")


def test_an_edit_is_one_patch_and_outlives_a_reload(visitor: Visitor, panel: Panel) -> None:
    """Leaving a changed field sends one PATCH with only that setting; a reload shows it, marked and with its old value."""
    page = visitor.open()
    patches: list[Any] = []
    page.on("request", lambda request: patches.append(request.post_data_json) if request.method == "PATCH" else None)
    group(page, "optimization")
    field(page, "epochs").fill("7")
    field(page, "epochs").press("Tab")
    expect(page.locator("[data-row=epochs]")).to_have_class("og-row changed")
    assert [patch["changes"] for patch in patches] == [{"epochs": 7}]
    panel.expect_settings(epochs=7)

    page.reload()
    expect(field(page, "epochs")).to_have_value("7")
    expect(page.locator("[data-row=epochs] .og-was")).to_have_text("was 100")
    page.locator("[data-row=epochs] .og-reset").click()
    expect(field(page, "epochs")).to_have_value("100")


def test_a_rejected_value_is_explained_at_its_field_and_kept_there(visitor: Visitor, panel: Panel) -> None:
    """The value stays in the field with the reason below it; the settings don't change."""
    page = visitor.open()
    group(page, "optimization")
    for typed, reason in (("-3", "more than 0"), ("lots", "a number")):
        field(page, "learning_rate").fill(typed)
        field(page, "learning_rate").press("Enter")
        expect(page.locator("#og-f-learning_rate-error")).to_contain_text(reason)
        expect(field(page, "learning_rate")).to_have_value(typed)
        expect(field(page, "learning_rate")).to_have_attribute("aria-invalid", "true")
    assert panel.setting("learning_rate") == 3e-06
    field(page, "learning_rate").fill("1e-4")
    field(page, "learning_rate").press("Enter")
    expect(page.locator("#og-f-learning_rate-error")).to_be_empty()


@pytest.mark.exhaustive
def test_a_setting_that_depends_on_another_comes_and_goes(visitor: Visitor, panel: Panel) -> None:
    """Changing the method hides the adapter's settings; search still finds them and shows why they are not used."""
    page = visitor.open()
    expect(page.locator(".og-nav button[data-group=lora]")).to_be_visible()
    field(page, "training_method").select_option("FINE_TUNE")
    expect(page.locator(".og-nav button[data-group=lora]")).to_have_count(0)
    page.locator("#og-search").fill("rank")
    expect(page.locator("[data-row=lora_rank] .og-note")).to_contain_text("requires Training method to be LoRA")


@pytest.mark.exhaustive
def test_concepts_are_cards(visitor: Visitor, panel: Panel) -> None:
    """A concept can be added, filled, switched off, duplicated and removed; each is one change of the settings."""
    page = visitor.open()
    group(page, "concepts")
    page.get_by_role("button", name="Add concept").click()
    expect(page.locator(".og-item-wrap")).to_have_count(2)
    field(page, "concepts.1.name").fill("second")
    field(page, "concepts.1.name").press("Tab")
    expect(page.locator(".og-card-title").nth(1)).to_have_text("second")
    field(page, "concepts.1.enabled").uncheck()
    page.locator(".og-item-wrap").nth(1).get_by_role("button", name="Duplicate").click()
    expect(page.locator(".og-item-wrap")).to_have_count(3)
    page.locator(".og-item-wrap").nth(2).get_by_role("button", name="Remove").click()
    expect(page.locator(".og-item-wrap")).to_have_count(2)
    wanted = [("red", True), ("second", False)]
    becomes(lambda: [(concept["name"], concept["enabled"]) for concept in panel.setting("concepts")], wanted)


@pytest.mark.exhaustive
def test_an_edit_that_is_taken_back_on_its_way_is_taken_back(visitor: Visitor, panel: Panel) -> None:
    """Typed and reverted before the panel has answered, the old value is kept."""
    page = visitor.open()
    group(page, "optimization")
    held: list[Any] = []
    page.route("**/api/config/current", lambda route: held.append(route), times=1)
    epochs = field(page, "epochs")
    for typed in ("7", "100"):
        epochs.fill(typed)
        epochs.press("Tab")
    patches: list[Any] = []
    page.on("request", lambda request: patches.append(request.post_data_json) if request.method == "PATCH" else None)
    held[0].continue_()
    becomes(lambda: page.wait_for_timeout(50) or [patch["changes"] for patch in patches], [{"epochs": 100}])
    panel.expect_settings(epochs=100)
    expect(epochs).to_have_value("100")


@pytest.mark.exhaustive
def test_a_click_is_not_lost_while_the_form_changes(visitor: Visitor, panel: Panel) -> None:
    """The counts next to the groups change between pressing and releasing the button, and the group still opens."""
    page = visitor.open()
    group(page, "optimization")
    field(page, "epochs").fill("7")
    page.locator('nav [data-group="changed"]').hover()
    page.mouse.down()  # takes the focus from the field, which saves it
    panel.expect_settings(epochs=7)
    panel.change(batch_size=3)
    page.wait_for_timeout(300)
    page.mouse.up()
    expect(page.locator("#og-group-title")).to_have_text("Changed")
    expect(page.locator("[data-row=batch_size]")).to_have_class("og-row changed")


@pytest.mark.exhaustive
def test_edits_of_others_arrive_and_do_not_take_ones_own(visitor: Visitor, panel: Panel) -> None:
    """Another person's change appears; if both change the same field, the page asks which value to keep."""
    page = visitor.open()
    group(page, "optimization")
    expect(field(page, "epochs")).to_have_value("100")
    panel.change(epochs=12)
    expect(field(page, "epochs")).to_have_value("12")

    field(page, "epochs").press("End")
    field(page, "epochs").press_sequentially("3")  # typed, not yet left
    panel.change(batch_size=2)
    expect(field(page, "batch_size")).to_have_value("2")
    expect(field(page, "epochs")).to_have_value("123")
    page.route("**/api/config/current", lambda route: (panel.change(epochs=50), route.continue_()), times=1)
    field(page, "epochs").press("Tab")
    expect(page.locator("#og-f-epochs-error")).to_contain_text("Someone else changed this to 50")
    page.get_by_role("button", name="Keep mine").click()
    expect(page.locator("#og-f-epochs-error")).to_be_empty()
    panel.expect_settings(epochs=123)


@pytest.mark.exhaustive
def test_what_was_typed_before_a_reload_is_not_lost_and_not_forced_on_others(visitor: Visitor, panel: Panel) -> None:
    """A field that was still focused before the reload is saved, unless someone else changed it in the meantime."""
    page = visitor.open()
    group(page, "optimization")
    page.route("**/current", lambda route: route.abort() if route.request.method == "PATCH" else route.continue_())
    field(page, "epochs").fill("5")
    field(page, "batch_size").fill("6")
    field(page, "batch_size").press("Tab")
    expect(page.locator("#og-f-batch_size-error")).to_contain_text("Not saved yet")
    panel.change(epochs=50)
    page.unroute_all()
    page.reload()
    expect(field(page, "batch_size")).to_have_value("6")
    expect(page.locator("#og-f-epochs-error")).to_contain_text("Someone else changed this to 50")
    expect(page.locator("[data-row=batch_size]")).to_have_class("og-row changed")  # the server has it
    panel.expect_settings(epochs=50, batch_size=6)
    page.get_by_role("button", name="Use theirs").click()
    expect(field(page, "epochs")).to_have_value("50")


@pytest.mark.exhaustive
def test_presets_are_opened_saved_exported_and_imported(visitor: Visitor, panel: Panel, tmp_path: Path) -> None:
    """A preset opens; changes can be saved under a name, exported to a file, and imported from it."""
    page = visitor.open()
    page.locator("#og-config").click()
    chooser = page.get_by_role("dialog")
    chooser.get_by_label("Search presets").fill("1.5 lora 8")
    chooser.locator('[data-preset="SD 1.5/LoRA 8 GB"]').click()
    expect(chooser.locator(".og-differs")).to_contain_text("settings differ from those in the form")
    expect(chooser.locator(".og-preset-detail")).to_contain_text("8 GB VRAM")
    chooser.get_by_role("button", name="Open").click()
    expect(page.locator(".og-toast")).to_contain_text("Opened “SD 1.5/LoRA 8 GB”")
    group(page, "optimization")
    field(page, "epochs").fill("9")
    field(page, "epochs").press("Tab")
    expect(page.locator("[data-row=epochs]")).to_have_class("og-row changed")
    page.get_by_role("button", name="Save as").click()
    page.get_by_label("Name").fill("my own")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#og-config")).to_contain_text("my own")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
        page.get_by_role("dialog").get_by_role("link", name="All-in-one file").click()
    file = tmp_path / "exported.json"
    download.value.save_as(file)
    panel.change(epochs=1)
    expect(field(page, "epochs")).to_have_value("1")
    page.locator("input[type=file]").set_input_files(file)
    expect(field(page, "epochs")).to_have_value("9")
