"""Presets, saved settings, comparisons and files in a browser."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor, becomes
from tests.browser.test_settings import field, group

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]


@pytest.fixture
def tidy(panel: Panel) -> Iterator[None]:
    """Remove what was saved and added."""
    yield
    for item in panel.get("api/config/list")["configs"]:
        if item["kind"] == "saved":
            with contextlib.suppress(urllib.error.HTTPError):
                panel.send("DELETE", f"api/config/{item['name'].replace(' ', '%20')}")
    for library in panel.get("api/config/libraries")["libraries"]:
        panel.send("DELETE", f"api/config/libraries/{library['title'].replace(' ', '%20')}")


def dialog(page: Any, name: str) -> Any:
    return page.get_by_role("dialog", name=name, exact=True)


def rehearsed(panel: Panel, name: str) -> None:
    """Return a finished run with the current settings."""
    panel.send("POST", "api/training/start", {"options": {"name": name, "tags": ["steps=2"]}})
    panel.wait(lambda state: state["status"] == "completed" and not state["process_running"])


def test_settings_are_next_to_those_of_a_run(visitor: Visitor, panel: Panel) -> None:
    """Each difference has both values as text; one press uses the other value; sides can be selected and swapped."""
    rehearsed(panel, "first try")
    panel.change(epochs=7, concepts=[*panel.document["concepts"], {"name": "blue"}])
    page = visitor.open()
    page.get_by_role("button", name="Compare").click()
    compare = dialog(page, "Compare settings")
    expect(compare.locator("thead th")).to_have_text(["Setting", "first try", "Current form", ""])
    row = compare.locator("tbody tr", has_text="Epochs")
    expect(row.locator("td").nth(0)).to_have_text("100")
    expect(row.locator("td").nth(1)).to_have_text("7")
    added = compare.locator("tbody tr", has_text="Concept 2")
    expect(added.locator("td").nth(0)).to_have_text("not set")
    expect(added.locator("td").nth(1)).to_have_text("blue")
    compare.get_by_role("button", name="Swap sides").click()
    expect(compare.locator("thead th").nth(1)).to_have_text("Current form")
    row.get_by_role("button", name="Use").click()
    expect(row).to_have_count(0)
    panel.expect_settings(epochs=100)
    compare.get_by_label("Right side").select_option("preset:SDXL/LoRA 8 GB")
    expect(compare.locator("tbody")).to_contain_text("Model type")
    compare.get_by_label("Left side").select_option("run:latest")
    expect(compare.get_by_role("button", name="Use")).to_have_count(0)


def test_marks_compare_with_the_last_run(visitor: Visitor, panel: Panel) -> None:
    """Marks, list and reset follow what they are compared with; the choice is remembered, and one press reverts all."""
    panel.change(epochs=20)
    rehearsed(panel, "second try")
    panel.change(epochs=7, batch_size=3)
    page = visitor.open()
    group(page, "changed")
    expect(page.locator("[data-row=epochs] .og-was")).to_have_text("was 100")
    page.get_by_label("Compared with").select_option("run:latest")
    expect(page.locator("[data-row=epochs] .og-was")).to_have_text("was 20")
    expect(page.locator(".og-group-card")).to_contain_text("Settings that differ from the run second try.")
    page.reload()
    expect(page.locator("[data-row=epochs] .og-was")).to_have_text("was 20")
    page.get_by_role("button", name="Revert all").click()
    expect(page.locator("[data-row=epochs]")).to_have_count(0)
    panel.expect_settings(epochs=20, batch_size=1)
    page.get_by_role("button", name="Undo").click()
    expect(field(page, "epochs")).to_have_value("7")
    page.get_by_label("Compared with").select_option("")
    expect(page.locator("[data-row=epochs] .og-was")).to_have_text("was 100")


def test_a_run_in_the_list_leads_to_the_comparison(visitor: Visitor, panel: Panel) -> None:
    """Its button opens the comparison with that run on the left."""
    rehearsed(panel, "third try")
    panel.change(epochs=8)
    page = visitor.open("training")
    run = page.locator(".og-run", has_text="third try").first
    run.locator("summary").click()
    run.get_by_role("button", name="Compare settings").click()
    compare = dialog(page, "Compare settings")
    expect(compare.locator("thead th").nth(1)).to_have_text("third try")
    expect(compare.locator("tbody tr", has_text="Epochs").locator("td").nth(1)).to_have_text("8")


@pytest.mark.usefixtures("tidy")
def test_saved_settings_are_renamed_copied_exported_and_deleted(visitor: Visitor, panel: Panel, tmp_path: Path) -> None:
    """Everything happens in the dialog; an existing name is reported there, and nothing is overwritten without confirmation."""
    panel.send("POST", "api/config/save", {"name": "mine"})
    panel.send("POST", "api/config/save", {"name": "taken"})
    page = visitor.open()
    page.get_by_role("button", name="Save as").click()
    dialog(page, "Save as").get_by_label("Name").fill("Mine")
    dialog(page, "Save as").get_by_role("button", name="Save").click()
    dialog(page, "Overwrite “mine”?").get_by_role("button", name="Overwrite").click()
    expect(page.locator("#og-config")).to_contain_text("mine")

    page.locator("#og-config").click()
    chooser = dialog(page, "Presets and saved configurations")
    chooser.locator('[data-preset="mine"]').click()
    chooser.get_by_role("button", name="Rename").click()
    rename = dialog(page, "Rename")
    rename.get_by_label("Name").fill("taken")
    rename.get_by_role("button", name="Rename").click()
    expect(rename.get_by_role("alert")).to_contain_text("A saved configuration with the name 'taken' already exists")
    rename.get_by_label("Name").fill("yours")
    rename.get_by_role("button", name="Rename").click()
    expect(chooser.locator('[data-preset="yours"]')).to_contain_text("Open")
    expect(page.locator("#og-config")).to_contain_text("yours")

    chooser.get_by_role("button", name="Duplicate").click()
    dialog(page, "Save a copy").get_by_role("button", name="Save").click()
    expect(chooser.locator('[data-preset="yours copy"]')).to_have_attribute("aria-pressed", "true")
    chooser.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        dialog(page, "Export").get_by_role("link", name="Settings only").click()
    assert download.value.suggested_filename == "yours copy.json"
    assert json.loads(Path(download.value.path()).read_text())["concepts"] is None
    chooser.get_by_role("button", name="Delete").click()
    dialog(page, "Delete “yours copy”?").get_by_role("button", name="Delete").click()
    expect(chooser.locator('[data-preset="yours copy"]')).to_have_count(0)
    ours = {"taken", "yours", "mine", "yours copy"}
    becomes(
        lambda: ours & {item["name"] for item in panel.get("api/config/list")["configs"] if item["kind"] == "saved"},
        {"taken", "yours"},
    )


@pytest.mark.usefixtures("tidy")
def test_a_folder_of_presets_is_added_with_the_picker(visitor: Visitor, panel: Panel) -> None:
    """Its presets are listed read-only, open like the others, and disappear when the folder is removed."""
    folder = panel.folder / "OneTrainer" / "training_presets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "#flux.json").write_text(json.dumps({"model_type": "FLUX_DEV_1", "training_method": "LORA", "epochs": 77}))
    page = visitor.open()
    page.locator("#og-config").click()
    chooser = dialog(page, "Presets and saved configurations")
    chooser.get_by_role("button", name="Add folder").click()
    picker = dialog(page, "Folder of presets")
    picker.get_by_role("button", name="OneTrainer").click()
    picker.get_by_role("button", name="training_presets").click()
    expect(picker.get_by_role("textbox", name="Folder")).to_have_value(str(folder))
    picker.get_by_role("button", name="Choose this folder").click()
    chooser.locator('[data-preset="OneTrainer/#flux"]').click()
    expect(chooser.locator(".og-preset-detail")).to_contain_text("Read-only")
    expect(chooser.get_by_role("button", name="Rename")).to_have_count(0)
    chooser.get_by_role("button", name="Open").click()
    expect(page.locator("#og-config")).to_contain_text("OneTrainer/#flux")
    panel.expect_settings(epochs=77)
    page.locator("#og-config").click()
    chooser.get_by_role("button", name="Remove OneTrainer from this list").click()
    dialog(page, "Remove “OneTrainer” from the list?").get_by_role("button", name="Remove").click()
    expect(chooser.locator('[data-preset="OneTrainer/#flux"]')).to_have_count(0)
    assert (folder / "#flux.json").exists()


def test_a_path_that_is_typed_while_a_folder_is_being_read_stays(visitor: Visitor, panel: Panel) -> None:
    """On a slow disk, the first folder's response arrives after another path was typed."""
    wanted = panel.folder / "elsewhere"
    wanted.mkdir(exist_ok=True)
    (wanted / "here.safetensors").write_text("x")
    page = visitor.open()
    group(page, "output")
    held: list[Any] = []
    page.route("**/api/files?*", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/api/files?*"):
        page.locator("[data-row=output_model_destination]").get_by_role("button", name="Browse").click()
    picker = page.get_by_role("dialog")
    folder = picker.get_by_role("textbox", name="Folder")
    folder.fill(str(wanted))
    held[0].continue_()
    expect(picker.locator(".og-places button").first).to_be_visible()
    expect(folder).to_have_value(str(wanted))
    folder.press("Enter")
    expect(picker.locator(".og-entry-name").first).to_have_text("here.safetensors")


def test_what_no_engine_can_train_is_marked_and_can_be_hidden(visitor: Visitor, panel: Panel) -> None:
    """The preset shows the reason; hiding it also hides such choices in the settings."""
    reason = "This engine cannot do that."
    visitor.context.route(
        "**/api/engines/unavailable/presets",
        lambda route: route.fulfill(json={"presets": [{"kind": "preset", "name": "Anima/LoRA 8 GB", "why": reason}]}),
    )
    visitor.context.route(
        "**/api/engines/unavailable/choices*",
        lambda route: route.fulfill(json={"choices": {"optimizer.optimizer": {"PRODIGY": reason}}}),
    )
    page = visitor.open()
    page.locator("#og-config").click()
    preset = page.locator('[data-preset="Anima/LoRA 8 GB"]')
    expect(preset).to_contain_text("Not trainable here")
    preset.click()
    expect(page.get_by_text(reason)).to_be_visible()
    page.locator('[data-preset="Anima/LoRA 12 GB"]').click()
    page.get_by_label("Hide what can’t be trained here").check()
    expect(preset).to_have_count(0)
    page.keyboard.press("Escape")
    group(page, "optimization")
    options = page.locator("[data-row='optimizer.optimizer'] option")
    expect(options.filter(has_text="Adafactor")).to_have_count(1)
    expect(options.filter(has_text="Prodigy advanced")).to_have_count(1)
    expect(options.get_by_text("Prodigy", exact=True)).to_have_count(0)
    page.locator("#og-config").click()
    page.get_by_label("Hide what can’t be trained here").uncheck()
    page.keyboard.press("Escape")
    expect(options.get_by_text("Prodigy (not available here)", exact=True)).to_have_count(1)


def test_the_picker_shows_the_images_of_a_folder(visitor: Visitor, panel: Panel) -> None:
    """A folder of 20 images and their captions has a count and thumbnails."""
    images = panel.folder / "images"
    images.mkdir(exist_ok=True)
    for number in range(20):
        Image.new("RGB", (48, 32), (10 * number, 90, 120)).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text("a caption")
    page = visitor.open()
    group(page, "general")
    page.locator("[data-row=workspace_dir]").get_by_role("button", name="Browse").click()
    picker = page.get_by_role("dialog")
    picker.get_by_role("button", name="Data folder").click()
    picker.get_by_role("button", name="images").click()
    expect(picker.get_by_text("20 images and 20 other files in this folder.")).to_be_visible()
    expect(picker.locator(".og-thumbs img")).to_have_count(12)
    expect(picker.locator(".og-thumbs img").last).to_have_js_property("complete", True)


def test_paths_are_chosen_on_the_machine_of_the_panel(visitor: Visitor, panel: Panel) -> None:
    """A model is a folder or a file of its kind; an output has a name; a file list can be filtered and shown in full."""
    models = panel.folder / "models"
    models.mkdir(exist_ok=True)
    for name in ("a.safetensors", "b.safetensors", "notes.txt"):
        (models / name).write_text("x")
    page = visitor.open()
    group(page, "model")
    row = page.locator("[data-row=base_model_name]")
    row.get_by_role("button", name="Browse: Base model").click()
    picker = dialog(page, "Base model")
    picker.get_by_role("button", name="Data folder").click()
    picker.get_by_role("button", name="models").click()
    entries = picker.locator(".og-entry-name")
    expect(entries).to_have_text(["a.safetensors", "b.safetensors"])
    picker.get_by_label("Show all files").check()
    expect(entries).to_have_text(["a.safetensors", "b.safetensors", "notes.txt"])
    picker.get_by_label("Filter names").fill("B.")
    expect(entries).to_have_text(["b.safetensors"])
    picker.locator(".og-entry").click()
    picker.get_by_role("button", name="Choose this file").click()
    expect(field(page, "base_model_name")).to_have_value(str(models / "b.safetensors"))
    expect(row).to_have_class("og-row changed")
    panel.expect_settings(base_model_name=str(models / "b.safetensors"))

    group(page, "output")
    page.locator("[data-row=output_model_destination]").get_by_role("button", name="Browse").click()
    picker = page.get_by_role("dialog")
    picker.get_by_role("textbox", name="Folder").fill(str(models))
    picker.get_by_role("textbox", name="Folder").press("Enter")
    expect(picker.locator(".og-entry-name").first).to_have_text("a.safetensors")
    picker.get_by_label("File name").fill("mine.safetensors")
    picker.get_by_role("button", name="Choose", exact=True).click()
    expect(field(page, "output_model_destination")).to_have_value(str(models / "mine.safetensors"))


def test_a_folder_is_made_in_the_picker(visitor: Visitor, panel: Panel) -> None:
    """An existing name is reported and can be corrected; the picker then opens
    the new folder; it isn't offered where files are read.
    """
    (panel.folder / "taken").mkdir(exist_ok=True)
    page = visitor.open()
    group(page, "general")
    row = page.locator("[data-row=workspace_dir]")
    row.get_by_role("button", name="Browse: Workspace").click()
    picker = page.get_by_role("dialog")
    picker.get_by_role("button", name="Data folder").click()
    expect(picker.locator(".og-entry-name").filter(has_text="taken")).to_be_visible()
    picker.get_by_role("button", name="New folder").click()
    name = picker.get_by_label("Name of the new folder")
    expect(name).to_be_focused()
    name.fill("taken")
    name.press("Enter")
    expect(picker).to_contain_text("A folder 'taken' already exists")
    expect(name).to_have_value("taken")
    name.press("Escape")
    expect(name).to_be_hidden()
    picker.get_by_role("button", name="New folder").click()
    name.fill("first run")
    picker.get_by_role("button", name="Create").click()
    expect(picker.get_by_role("textbox", name="Folder", exact=True)).to_have_value(str(panel.folder / "first run"))
    expect(name).to_be_hidden()
    picker.get_by_role("button", name="Choose this folder").click()
    expect(field(page, "workspace_dir")).to_have_value(str(panel.folder / "first run"))
    assert (panel.folder / "first run").is_dir()
    group(page, "model")
    page.locator("[data-row=base_model_name]").get_by_role("button", name="Browse").click()
    expect(page.get_by_role("dialog").get_by_role("button", name="Data folder")).to_be_visible()
    expect(page.get_by_role("dialog").get_by_role("button", name="New folder")).to_have_count(0)


def test_a_protected_panel_can_be_left(visitor: Visitor, tmp_path: Path) -> None:
    """With a password the top line has a logout, after which the page asks for the password again; without one it has none."""
    expect(visitor.open().get_by_role("button", name="Log out")).to_be_hidden()
    (tmp_path / "data").mkdir()
    password = "correct horse battery"
    locked = Panel(
        tmp_path / "data",
        arguments=("--backend", "tests.browser.brisk:run", "--in-process", "--password", password),
        token=password,
    )
    try:
        locked.start()
        page = visitor.context.new_page()
        page.goto(locked.url)
        page.get_by_label("Password").fill(password)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        page.goto(locked.url)
        expect(page.get_by_label("Password")).to_be_visible()
    finally:
        locked.stop()


def test_a_preset_keeps_concepts_and_samples_and_undo_crosses_it_and_a_reload(visitor: Visitor, panel: Panel) -> None:
    """Opening, importing and resetting can each be undone in one step, also after a reload, and others' edits stay."""
    panel.change(concepts=[{"name": "dog", "path": "/images/dog"}], samples=[{"prompt": "my own prompt"}])
    page = visitor.open()
    group(page, "optimization")
    field(page, "epochs").fill("7")
    field(page, "epochs").press("Tab")
    expect(page.locator("[data-row=epochs]")).to_have_class("og-row changed")
    before = panel.get("api/config/current")
    page.locator("#og-config").click()
    page.locator('[data-preset="SDXL/LoRA 12 GB"]').click()
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.locator("#og-config")).to_contain_text("SDXL/LoRA 12 GB")

    def lists() -> tuple[list[str], list[str]]:
        config = panel.get("api/config/current")["config"]
        return [each["name"] for each in config["concepts"]], [each["prompt"] for each in config["samples"]]

    becomes(lists, (["dog"], ["my own prompt"]))
    undo = page.get_by_role("button", name="Undo", exact=True)
    expect(undo).to_have_attribute("title", "Undo: opened “SDXL/LoRA 12 GB”")
    file = panel.folder / "theirs.json"
    file.write_text('{"epochs": 9, "model_type": "FLUX_DEV_1"}')
    page.get_by_label("Settings file").set_input_files(file)
    group(page, "optimization")
    expect(field(page, "epochs")).to_have_value("9")
    page.get_by_role("button", name="Reset", exact=True).first.click()
    with page.expect_response(lambda reply: reply.url.endswith("api/config/reset")):
        page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    becomes(lists, (["dog"], ["my own prompt"]))
    page.reload()
    panel.change(debug_dir="theirs")
    taken_back, give_up_at = 0, time.monotonic() + 30
    while taken_back < 3:  # an undo across someone else's change is rejected, and requested again
        with page.expect_response(lambda reply: reply.url.endswith("api/config/undo")) as undone:
            undo.click()
        taken_back += undone.value.ok
        assert time.monotonic() < give_up_at
    after = panel.get("api/config/current")
    assert after["name"] == before["name"]
    assert after["config"] == before["config"] | {"debug_dir": "theirs"}
