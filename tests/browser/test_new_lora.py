"""The New LoRA tab: from images to a run in four questions."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from onetrainer_gradio.demo import MODEL_FOLDER
from tests.browser.conftest import Panel, Visitor, becomes, forget
from tests.browser.test_axe import violations
from tests.models.annotators import write_blip

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def png(shade: int) -> bytes:
    out = BytesIO()
    image = Image.linear_gradient("L").resize((96, 96)).rotate(shade * 37)
    Image.merge("RGB", (image, image.point(lambda value: value * shade % 256), image)).save(out, "PNG")
    return out.getvalue()


def files(*shades: int) -> list[dict[str, Any]]:
    return [{"name": f"photo {number}.png", "mimeType": "image/png", "buffer": png(shade)} for number, shade in enumerate(shades)]


def shot(page: Any, name: str) -> None:
    """With SCREENSHOTS=FOLDER, take a screenshot."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("width", [1440, pytest.param(390, marks=pytest.mark.exhaustive)])
def test_from_images_to_a_run(visitor: Visitor, panel: Panel, width: int) -> None:
    """With images, a trigger word and the demo model, Start trains these images with samples of the word."""
    page = visitor.open("new-lora")
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_label("Upload files", exact=True).last.set_input_files(files(3, 5, 7, 5))
    expect(page.locator(".og-new-thumbs img")).to_have_count(4, timeout=20_000)
    problem = page.locator(".og-new-problem", has_text="1 image is the same image twice")
    expect(problem).to_be_visible(timeout=20_000)
    problem.get_by_role("button", name="Move the copies to the trash").click()
    expect(page.locator(".og-new-thumbs img")).to_have_count(3)
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("cat")
    expect(page.get_by_text("“cat” is a common word")).to_be_visible()
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
    page.locator(".og-new-option", has_text="Demo model").click()
    expect(page.locator(".og-new-summary")).to_contain_text("a photo of zorble")
    expect(page.locator(".og-new-summary")).to_contain_text("There are only 3 images")
    page.get_by_role("textbox", name="Name", exact=True).fill("My cat")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    shot(page, f"new-lora-{width}")
    page.get_by_role("button", name="Start", exact=True).last.click()
    panel.wait(lambda state: bool(state["is_training"]))
    config = panel.send("GET", "api/config/current")["config"]
    assert config["output_model_destination"].endswith("my-cat.safetensors")
    assert config["samples"][0]["prompt"] == "a photo of zorble"
    expect(page.get_by_role("tab", name="Training", selected=True)).to_have_count(1)


@pytest.mark.exhaustive
def test_what_is_missing_is_reported_where_it_is_asked(visitor: Visitor, panel: Panel) -> None:
    """Start without images and trigger word starts and changes nothing."""
    before = panel.send("GET", "api/config/current")["config"]
    page = visitor.open("new-lora")
    page.locator(".og-new-option", has_text="Demo model").click()
    page.get_by_role("button", name="Start", exact=True).last.click()
    expect(page.locator(".og-new-error:visible").first).to_contain_text("no name")
    assert panel.send("GET", "api/config/current")["config"] == before


@pytest.mark.exhaustive
def test_the_settings_open_in_the_form(visitor: Visitor, panel: Panel) -> None:
    """All decisions are settings there."""
    page = visitor.open("new-lora")
    page.get_by_label("Upload files", exact=True).last.set_input_files(files(3, 5))
    expect(page.locator(".og-new-thumbs img")).to_have_count(2, timeout=20_000)
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
    page.locator(".og-new-option", has_text="Demo model").click()
    expect(page.locator(".og-new-summary")).to_contain_text("zorble")
    page.get_by_role("button", name="Open in the form").click()
    expect(page.get_by_role("tab", name="Configuration", selected=True)).to_have_count(1)
    assert panel.send("GET", "api/config/current")["config"]["concepts"][0]["path"].startswith("datasets/")


@pytest.mark.exhaustive
def test_captions_are_generated_and_written_here(visitor: Visitor, panel: Panel) -> None:
    """A local model is preselected; its captions can be edited, and missing captions are counted."""
    write_blip(panel.folder / "captioners" / "tiny")
    page = visitor.open("new-lora")
    page.get_by_label("Upload files", exact=True).last.set_input_files(files(3, 5))
    expect(page.locator(".og-new-thumbs img")).to_have_count(2, timeout=20_000)
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
    page.locator(".og-new-option", has_text="Demo model").click()
    page.get_by_role("radio", name="Automatic").check()
    expect(page.get_by_label("Caption model")).to_have_value("0")
    expect(page.locator(".og-new-summary").first).to_contain_text("Of 2 images, none have a caption")
    page.get_by_role("button", name="Caption the images").click()
    expect(page.get_by_text("Finished: 2 of 2 images.")).to_be_visible(timeout=180_000)
    expect(page.locator(".og-new-examples ins").first).to_contain_text("zorble, ")
    expect(page.locator(".og-new-examples del").first).to_contain_text("No caption")
    expect(page.locator(".og-new-summary").first).not_to_contain_text("have a caption")
    field = page.get_by_role("textbox", name="Caption of photo 0.png")
    assert field.input_value().startswith("zorble, ")
    page.get_by_role("radio", name="Manual").check()
    field.fill("zorble, a red cat")
    field.press("Tab")
    folder = panel.folder / panel.send("POST", "api/datasets/images", {"folder": page_folder(page)})["folder"]
    becomes((folder / "photo 0.txt").read_text, "zorble, a red cat")
    assert violations(page) == []
    shot(page, "new-lora-captions")


PASTE = """data => {
  const clipboardData = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), each => each.charCodeAt(0));
  clipboardData.items.add(new File([bytes], 'image.png', { type: 'image/png' }));
  document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }));
}"""


@pytest.mark.exhaustive
def test_an_image_is_pasted_whatever_has_the_focus(visitor: Visitor, panel: Panel) -> None:
    """It becomes an image of a new dataset."""
    page = visitor.open("new-lora")
    page.evaluate(PASTE, base64.b64encode(png(3)).decode())
    expect(page.locator(".og-new-thumbs img")).to_have_count(1, timeout=60_000)
    assert (panel.folder / page_folder(page) / "image.png").read_bytes() == png(3)


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Return a smooth random image unlike any other."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def flawed(seed: int) -> list[dict[str, Any]]:
    """Return two good images, and one with each problem."""
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate to show
    one = saved(scene(seed), "PNG")
    found = {
        "one.png": one,
        "two.png": saved(scene(seed + 1), "PNG"),
        "copy.png": one,
        "similar.jpg": saved(scene(seed).resize((170, 128)), "JPEG", quality=80),
        "small.png": saved(scene(seed + 2, (40, 32)), "PNG"),
        "rotated.jpg": saved(scene(seed + 3), "JPEG", exif=exif),
        "scan.gif": saved(scene(seed + 4), "GIF"),
        "broken.png": b"no image",
    }
    return [{"name": f"{seed} {name}", "mimeType": "image/png", "buffer": data} for name, data in found.items()]


PROBLEMS = [
    ("the same image twice", "Move the copies to the trash"),
    ("almost the same image", "Move the copies to the trash"),
    ("unreadable", "Move to the trash"),
    ("smaller than the model needs", "Exclude"),
    ("rotated by its metadata only", "Rotate"),
    ("in a format that the engine may not read", "Convert"),
]


@pytest.mark.exhaustive
def test_each_problem_of_the_images_is_dealt_with_by_one_click(visitor: Visitor, panel: Panel) -> None:
    """Problems are fixed one at a time, and then all those of another upload at once."""
    page = visitor.open("new-lora")
    page.locator(".og-new-option", has_text="Demo model").click()
    chooser = page.get_by_label("Upload files", exact=True).last
    problems = page.locator(".og-new-problem")
    chooser.set_input_files(flawed(10))
    for what, remedy in PROBLEMS:
        problem = problems.filter(has_text=what)
        expect(problem).to_be_visible(timeout=60_000)
        problem.get_by_role("button", name=remedy, exact=True).click()
        expect(problem).to_have_count(0, timeout=60_000)
    expect(problems).to_have_count(0)
    chooser.set_input_files(flawed(20))
    for what, _ in PROBLEMS:
        expect(problems.filter(has_text=what)).to_be_visible(timeout=60_000)
    shot(page, "new-lora-problems")
    page.get_by_role("button", name="Fix all").click()
    expect(problems).to_have_count(0, timeout=60_000)
    left = {file.name for file in (panel.folder / page_folder(page)).iterdir() if file.is_file()}
    assert not any("broken" in name or name.endswith(".gif") for name in left), left
    assert {f"{seed} {name}" for seed in (10, 20) for name in ("two.png", "rotated.png", "scan.png")} <= left, left


@pytest.mark.exhaustive
def test_images_that_are_added_during_an_upload_follow_it(visitor: Visitor, panel: Panel) -> None:
    """They go into the same dataset; the page counts the waiting ones."""
    page = visitor.open("new-lora")
    chooser = page.get_by_label("Upload files", exact=True).last
    pieces = re.compile(r"/api/datasets/uploads/\w+\?")
    held: list[Any] = []
    page.route(pieces, lambda route: held.append(route))
    with page.expect_request(pieces):
        chooser.set_input_files(files(3))
    chooser.set_input_files([{**each, "name": f"later {each['name']}"} for each in files(5, 7)])
    expect(page.get_by_text("2 more files are waiting.")).to_be_visible()
    for route in held:
        route.continue_()
    page.unroute(pieces)
    expect(page.locator(".og-new-thumbs img")).to_have_count(3, timeout=60_000)
    folder = panel.folder / page_folder(page)
    assert {file.name for file in folder.glob("*.png")} == {"photo 0.png", "later photo 0.png", "later photo 1.png"}


# A dropped folder: entries as the browser provides them.
DROP_FOLDER = """(node, files) => {
  const bytes = (data) => Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const entries = files.map(([name, data]) => ({
    isFile: true,
    name,
    file: (resolve) => resolve(new File([bytes(data)], name)),
  }));
  const folder = (name, inside) => {
    const parts = [inside.slice(0, 1), inside.slice(1), []];
    return { isFile: false, name, createReader: () => ({ readEntries: (resolve) => resolve(parts.shift()) }) };
  };
  const top = folder('holiday', [...entries.slice(0, -1), folder('beach', entries.slice(-1))]);
  const drop = new DragEvent('drop', { bubbles: true, cancelable: true });
  Object.defineProperty(drop, 'dataTransfer', { value: { items: [{ webkitGetAsEntry: () => top }], files: [] } });
  node.dispatchEvent(drop);
}"""


@pytest.mark.exhaustive
def test_a_dropped_folder_is_uploaded_with_its_subfolders(visitor: Visitor, panel: Panel) -> None:
    """All batches of a folder's listing are read, with captions, and nothing else."""
    dropped = [("one.png", png(3)), ("one.txt", b"zorble, one"), ("notes.exe", b"no image"), ("two.png", png(5))]
    page = visitor.open("new-lora")
    zone = page.locator(".og-new-drop")
    zone.evaluate(DROP_FOLDER, [[name, base64.b64encode(data).decode()] for name, data in dropped])
    expect(page.locator(".og-new-thumbs img")).to_have_count(2, timeout=60_000)
    folder = panel.folder / page_folder(page)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and "/." not in f"/{path}"}
    assert found == {"holiday/one.png", "holiday/one.txt", "holiday/beach/two.png"}
    assert (folder / "holiday/beach/two.png").read_bytes() == png(5)


DROP_FILE = """(node, [name, data]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], name));
  node.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.mark.exhaustive
def test_a_dropped_zip_is_unpacked(visitor: Visitor, panel: Panel) -> None:
    """Its images and captions are in the dataset, and the zip file isn't."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in {"a/one.png": png(3), "a/one.txt": b"zorble, one", "two.png": png(5), "three.png": png(7)}.items():
            archive.writestr(name, data)
    page = visitor.open("new-lora")
    page.locator(".og-new-drop").evaluate(DROP_FILE, ["photos.zip", base64.b64encode(packed.getvalue()).decode()])
    expect(page.locator(".og-new-thumbs img")).to_have_count(3, timeout=60_000)
    folder = panel.folder / page_folder(page)
    assert (folder / "a/one.txt").read_bytes() == b"zorble, one"
    assert {path.name for path in folder.rglob("*.png")} == {"one.png", "two.png", "three.png"}
    assert not list(folder.rglob("*.zip"))


@pytest.mark.exhaustive
def test_a_base_model_in_a_folder_of_this_machine_is_trained(visitor: Visitor, panel: Panel) -> None:
    """It is chosen in the file picker, is a row of the list, and is trained; the list leads back to the others."""
    own = panel.folder / "models" / "my model"
    shutil.copytree(MODEL_FOLDER, own, dirs_exist_ok=True)
    page = visitor.open("new-lora")
    page.get_by_label("Upload files", exact=True).last.set_input_files(files(3, 5))
    expect(page.locator(".og-new-thumbs img")).to_have_count(2, timeout=20_000)
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
    demo = page.locator(".og-new-option", has=page.locator("b", has_text="Demo model"))
    demo.click()
    page.get_by_role("button", name="Folder or file on this machine…").click()
    picker = page.get_by_role("dialog", name="Base model of type Demo model")
    picker.get_by_role("textbox", name="Folder").fill(str(own))
    picker.get_by_role("textbox", name="Folder").press("Enter")
    expect(picker.get_by_role("button", name="unet")).to_be_visible()
    picker.get_by_role("button", name="Choose this folder").click()
    added = page.get_by_role("radiogroup", name="Base model", exact=True).locator(".og-new-option", has_text="my model")
    expect(added.get_by_role("radio")).to_be_checked()
    expect(page.get_by_text("of memory. Estimate")).to_be_visible(timeout=180_000)
    assert violations(page) == []
    shot(page, "new-lora-own-model")
    with page.expect_response(plan_of("")):  # responses with earlier plans may still arrive
        demo.click()
    added.click()
    page.get_by_role("button", name="Open in the form").click()
    expect(page.get_by_role("tab", name="Configuration", selected=True)).to_have_count(1)
    panel.expect_settings(base_model_name=str(own))


def plan_of(base_model: str) -> Callable[[Any], bool]:
    """Return whether a response is the plan for this base model."""
    return lambda response: (
        response.url.endswith("/api/new_lora/plan") and response.request.post_data_json["base_model"] == base_model
    )


def page_folder(page: Any) -> str:
    """Return the folder of the images, as the page shows it."""
    return str(page.locator(".og-new-drop [role=status]").text_content()).split(" in ")[1].rstrip(".")


@pytest.mark.exhaustive
def test_the_check_and_the_differences_are_shown_before_the_start(visitor: Visitor, panel: Panel, tmp_path: Path) -> None:
    """It shows memory, time and the differences from the preset, and exports everything as a file for OneTrainer."""
    for run in panel.get("api/runs")["runs"]:  # the time follows an earlier run of the model
        panel.send("DELETE", f"api/runs/{run['id']}")
    page = visitor.open("new-lora")
    page.get_by_label("Upload files", exact=True).last.set_input_files(files(3, 5))
    expect(page.locator(".og-new-thumbs img")).to_have_count(2, timeout=20_000)
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
    page.locator(".og-new-option", has_text="Demo model").click()
    expect(page.get_by_text("of memory. Estimate")).to_be_visible(timeout=180_000)
    expect(page.get_by_text("The time isn’t known before the first run")).to_be_visible()
    page.locator("summary", has_text="settings differ from the preset").click()
    expect(page.locator(".og-new .og-difference-table tr", has_text="Epochs").first).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export for OneTrainer").click()
    document = json.loads(Path(waiting.value.path()).read_text())
    assert document["concepts"][0]["path"].startswith("datasets/")
    assert violations(page) == []


@pytest.fixture(scope="module")
def another_panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    panel = Panel(tmp_path_factory.mktemp("unused")).start()
    yield panel
    panel.stop()


@pytest.fixture
def unused(another_panel: Panel, profile: Any) -> Panel:
    """An unused panel."""
    another_panel.as_new()
    forget(profile, another_panel)
    return another_panel


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [1440, 390])
def test_a_new_panel_shows_three_ways_to_begin(profile: Any, unused: Panel, width: int) -> None:
    """They are New LoRA, OneTrainer settings, and the demo; a user with settings isn't asked."""
    with Visitor(profile, unused.url).watched() as visitor:
        page = visitor.open("configuration")
        page.set_viewport_size({"width": width, "height": 900})
        ways = page.locator(".og-begin-way")
        expect(ways).to_have_count(3)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []
        shot(page, f"begin-{width}")
        with page.expect_file_chooser() as chosen:
            page.get_by_role("button", name="Open OneTrainer settings").click()
        chosen.value.set_files(
            {"name": "mine.json", "mimeType": "application/json", "buffer": b'{"model_type": "STABLE_DIFFUSION_15"}'}
        )
        expect(page.get_by_text("Imported “mine.json”.")).to_be_visible()
        expect(page.locator(".og-begin")).to_be_hidden()
        page.get_by_role("button", name="Undo").first.click()
        expect(ways.first).to_be_visible()
        page.get_by_role("button", name="New LoRA", exact=True).click()
        expect(page.locator(".og-new")).to_be_visible()
        unused.change(epochs=3)
        page.goto(f"{unused.url}#configuration")
        expect(page.locator(".og-begin")).to_be_hidden()


@pytest.mark.exhaustive
def test_one_click_starts_the_demo(profile: Any, unused: Panel) -> None:
    """Its run is on the Training tab; once there is a run, the page starts with the settings."""
    with Visitor(profile, unused.url).watched() as visitor:
        page = visitor.open("configuration")
        page.get_by_role("button", name="Try the demo").click()
        unused.wait(lambda state: bool(state["run_id"]))
        expect(page.get_by_role("tab", name="Training", selected=True)).to_have_count(1)
        page.goto(f"{unused.url}#configuration")
        page.reload()
        page.locator(".og-rows > *").first.wait_for()
        expect(page.locator(".og-begin")).to_be_hidden()


@pytest.mark.exhaustive
def test_the_first_view_of_a_new_panel_is_light(chromium: Any, unused: Panel) -> None:
    """With the three ways to begin, it stays within the limits of every first view."""
    page = chromium.new_context().new_page()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    loaded: list[float] = []
    session.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page.goto(unused.url)
    page.locator(".og-begin-way").first.wait_for()
    page.locator("#og-tabs").wait_for()
    page.wait_for_load_state("networkidle")
    assert len(loaded) <= 60
    assert sum(loaded) < 350_000
    page.context.close()
