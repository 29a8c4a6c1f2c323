"""Displays next to settings: timestep sampling, the layers of a filter, images and captions of concepts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from onetrainer_gradio.demo import MODEL_FOLDER
from tests.browser.conftest import Panel, Visitor, becomes
from tests.browser.test_page import UNNAMED
from tests.browser.test_settings import field, group

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# How much of a canvas has its own color, so that an empty one is detected.
INKED = """canvas => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let inked = 0;
    for (let at = 3; at < data.length; at += 4) if (data[at]) inked += 1;
    return inked / (data.length / 4);
}"""


def expert(visitor: Visitor) -> Any:
    page = visitor.open()
    page.get_by_role("button", name="Expert").click()
    return page


@pytest.mark.exhaustive
def test_the_first_view_loads_no_editor(newcomer: Visitor, panel: Panel) -> None:
    """Plot, layers and concept cards cost nothing before someone opens them."""
    asked: list[str] = []
    newcomer.context.on("request", lambda request: asked.append(request.url))
    page = newcomer.open()
    page.wait_for_load_state("networkidle")
    late = ("editors", "timesteps", "layers", "concepts", "memory", "config/memory")
    assert [url for url in asked if any(f"/{name}." in url or f"api/{name}" in url for name in late)] == []


@pytest.mark.exhaustive
def test_the_memory_meter_follows_what_is_typed(visitor: Visitor, panel: Panel) -> None:
    """Its bar has a text alternative with every part, a larger batch raises the activations, and its reliability is shown."""
    panel.change(base_model_name=str(MODEL_FOLDER))  # a small one: the estimate is a dry run of its layers
    page = visitor.open()
    group(page, "optimization")
    meter = page.get_by_role("figure", name="Estimated VRAM")
    bar = meter.get_by_role("img")
    expect(bar).to_have_attribute("aria-label", re.compile("Weights .* Activations"), timeout=90_000)
    expect(meter).to_contain_text("Estimate, not yet calibrated")
    expect(meter.get_by_role("button")).to_be_hidden()
    before = bar.get_attribute("aria-label")
    field(page, "batch_size").fill("8")
    expect(bar).not_to_have_attribute("aria-label", str(before), timeout=90_000)
    expect(meter.get_by_role("status")).to_contain_text("while training")
    assert panel.setting("batch_size") != 8


@pytest.mark.exhaustive
def test_what_makes_a_run_fit_is_shown_next_to_the_model(visitor: Visitor, panel: Panel) -> None:
    """It appears on request below the base model, because the first view
    requests nothing: what doesn't fit, and what to change.
    """
    panel.change(base_model_name=str(MODEL_FOLDER), batch_size=16)
    page = visitor.open()
    gpu_bytes: list[int] = []

    def on_a_small_gpu(route: Any) -> None:
        body = route.request.post_data_json | ({"limit_bytes": gpu_bytes[0]} if gpu_bytes else {})
        answer = route.fetch(post_data=json.dumps(body), timeout=90_000).json()
        gpu_bytes[:] = gpu_bytes or [int(answer["peak_bytes"] * 0.9)]
        route.fulfill(json=answer | {"gpu_bytes": gpu_bytes[0]})

    page.route("**/api/config/memory", on_a_small_gpu)
    page.get_by_role("button", name="Estimate VRAM").click()
    meter = page.get_by_role("figure", name="Estimated VRAM")
    expect(meter.get_by_role("status")).to_contain_text("doesn’t fit", timeout=90_000)
    meter.get_by_role("button", name="Show what makes it fit").click()
    steps = meter.locator(".og-memory-steps li")
    expect(steps.last).to_have_text(re.compile(r"(Turn on|Lower|Choose|Set) .*, fits$"), timeout=90_000)


@pytest.mark.exhaustive
def test_the_draw_of_timesteps_follows_what_is_typed(visitor: Visitor, panel: Panel) -> None:
    """The plot follows a number being typed before it is saved; invalid settings are explained."""
    page = expert(visitor)
    group(page, "noise")
    keys = page.locator(".og-draw-keys")
    expect(keys).to_contain_text("median 499")
    assert page.locator(".og-draw canvas").evaluate(INKED) > 0.1
    field(page, "timestep_shift").fill("3")
    expect(keys).to_contain_text("median 749")
    assert panel.setting("timestep_shift") == 1.0
    field(page, "timestep_shift").press("Tab")
    expect(page.locator("[data-row=timestep_shift]")).to_have_class("og-row changed")
    field(page, "timestep_distribution").select_option("LOGIT_NORMAL")
    field(page, "noising_weight").fill("-1")
    expect(page.locator(".og-below-problem")).to_contain_text("Noising weight must be more than -1")
    field(page, "noising_weight").fill("0.5")
    expect(page.locator(".og-below-problem")).to_be_hidden()


@pytest.mark.exhaustive
def test_dynamic_shifting_shows_a_curve_for_each_resolution(visitor: Visitor, panel: Panel) -> None:
    """The resolutions and their shifts are below the plot."""
    panel.change(model_type="FLUX_DEV_1", resolution="512,1024", dynamic_timestep_shifting=True)
    page = expert(visitor)
    group(page, "noise")
    expect(page.locator(".og-draw-keys li")).to_have_count(2)
    expect(page.locator(".og-draw-keys")).to_contain_text("1024 × 1024 shift 3.16")


@pytest.mark.exhaustive
def test_a_layer_filter_reports_what_it_takes(visitor: Visitor, panel: Panel) -> None:
    """It shows how many layers a preset selects, pattern by pattern as it is typed, and the list of them on demand."""
    page = expert(visitor)
    group(page, "layers")
    count = page.locator(".og-layer-count")
    expect(count).to_have_text("All 282 layers of the UNet")
    field(page, "layer_filter_preset").select_option("attn-mlp")
    expect(count).to_have_text("192 of 282 layers of the UNet")
    field(page, "layer_filter").fill("attn2, nowhere")
    expect(page.locator(".og-layer-patterns")).to_contain_text("attn264 layers")
    expect(page.locator(".og-layer-patterns .bad")).to_have_text("nowhereno match")
    assert page.locator(".og-layer-list").is_hidden()
    page.get_by_role("button", name="Show layers").click()
    expect(page.locator(".og-layer-list")).to_contain_text("mid_block.attentions.*.transformer_blocks.*.attn2.to_q")


def write_images(folder: Path, *sizes: tuple[int, int], captions: str | None = "sks cat, red, sitting") -> None:
    """Write images of these sizes (width, height), with a caption next to each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(sizes):
        Image.linear_gradient("L").resize(size).convert("RGB").save(folder / f"{number}.png")
        if captions is not None:
            (folder / f"{number}.txt").write_text(captions)


def concepts(visitor: Visitor, panel: Panel, *made: dict[str, Any], **settings: Any) -> Any:
    """Open the page at the list of these concepts, which are in a separate folder."""
    document = panel.document | {"resolution": "64", **settings}
    document["concepts"] = [{"image": {}, "text": {}, **concept} for concept in made]
    panel.send("PUT", "api/config/current", {"config": document, "name": "concepts"})
    page = visitor.open()
    group(page, "concepts")
    return page


@pytest.fixture
def images(panel: Panel, tmp_path: Path) -> Path:
    write_images(tmp_path / "cats", (64, 64), (128, 64), (64, 64))
    write_images(tmp_path / "dogs", (64, 64), captions=None)
    return tmp_path


@pytest.mark.exhaustive
def test_a_card_shows_an_image_and_the_contents_of_its_folder(visitor: Visitor, panel: Panel, images: Path) -> None:
    """It has thumbnail, counts, captions, aspect ratios and totals; a missing folder is reported."""
    page = concepts(
        visitor,
        panel,
        {"name": "cats", "path": str(images / "cats"), "balancing": 4},
        {"name": "dogs", "path": str(images / "dogs")},
        {"name": "gone", "path": str(images / "gone")},
        batch_size=2,
    )
    lines = page.locator(".og-concept-line")
    expect(lines.nth(0)).to_have_text("3 images12 per epoch")
    expect(lines.nth(1)).to_have_text("1 image1 without caption")
    expect(lines.nth(2)).to_have_text("The folder doesn't exist.")
    image = page.locator(".og-concept-thumb img").first
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => image.naturalWidth") == 64
    expect(page.locator(".og-concept-sums")).to_contain_text("4 images in 3 enabled concepts · 13 per epoch in 6 steps")
    expect(page.locator(".og-concept-head .og-note")).to_contain_text("1 image per epoch is dropped")
    page.locator(".og-item > summary").first.click()
    card = page.locator(".og-item-wrap").first
    expect(card.locator(".og-shapes li")).to_have_count(2)
    expect(card.locator(".og-shapes li").first).to_have_text("64 × 642")
    expect(card.locator(".og-tags li").first).to_have_text("sks cat3")
    expect(card.locator(".og-folder-list")).to_contain_text("one per image")


@pytest.mark.exhaustive
def test_an_edit_is_followed_by_a_new_look(visitor: Visitor, panel: Panel, images: Path) -> None:
    """A new folder or balancing appears on the card without a request."""
    page = concepts(visitor, panel, {"name": "cats", "path": str(images / "cats")})
    line = page.locator(".og-concept-line")
    expect(line).to_have_text("3 images")
    field(page, "concepts.0.balancing").fill("2")
    field(page, "concepts.0.balancing").press("Tab")
    expect(line).to_have_text("3 images6 per epoch")
    field(page, "concepts.0.path").fill(str(images / "dogs"))
    field(page, "concepts.0.path").press("Tab")
    expect(line).to_have_text("1 image2 per epoch1 without caption")
    (images / "dogs" / "0.txt").write_text("a dog")
    page.get_by_role("button", name="Rescan").click()
    expect(line).to_have_text("1 image2 per epoch")


@pytest.mark.exhaustive
def test_concepts_are_filtered_sorted_and_switched_together(visitor: Visitor, panel: Panel, images: Path) -> None:
    """Filters hide cards and change nothing; sorting and switching are one change each, and can be undone."""
    page = concepts(
        visitor,
        panel,
        {"name": "b", "path": str(images / "dogs"), "enabled": False},
        {"name": "c", "path": str(images / "cats")},
        {"name": "a", "path": str(images / "gone"), "type": "VALIDATION"},
    )
    names = page.locator(".og-card-title:visible")
    expect(names).to_have_text(["b", "c", "a"])
    page.get_by_label("Filter by type").select_option("VALIDATION")
    expect(names).to_have_text(["a"])
    page.get_by_label("Filter by type").select_option("")
    page.get_by_label("Filter by enabled").select_option("off")
    expect(names).to_have_text(["b"])
    page.get_by_label("Filter by enabled").select_option("")
    expect(page.locator(".og-concept-line").nth(1)).to_contain_text("3 images")
    page.get_by_label("Sort concepts").select_option("images")
    expect(names).to_have_text(["c", "b", "a"])
    expect(page.locator(".og-concept-line").nth(0)).to_contain_text("3 images")
    page.get_by_label("Sort concepts").select_option("name")
    expect(names).to_have_text(["a", "b", "c"])
    page.get_by_role("button", name="Enable all").click()
    expect(page.get_by_role("button", name="Disable all")).to_be_visible()
    becomes(lambda: [concept["enabled"] for concept in panel.setting("concepts")], [True] * 3)


@pytest.mark.exhaustive
def test_a_preview_draws_what_the_settings_define(visitor: Visitor, panel: Panel, images: Path) -> None:
    """Without random augmentation there is one sample; with it several, new ones
    on demand, and immediately while a number is typed.
    """
    page = concepts(visitor, panel, {"name": "cats", "path": str(images / "cats")})
    page.get_by_role("button", name="Advanced").click()
    page.locator("[data-part=draw] > summary").click()
    drawn = page.locator(".og-drawn")
    expect(drawn).to_have_count(2)
    expect(page.locator("[data-part=draw]")).to_contain_text("every image looks like this")
    page.locator(".og-section > summary", has_text="Text augmentation").click()
    field(page, "concepts.0.text.enable_tag_shuffling").check()
    expect(drawn).to_have_count(6)
    expect(drawn.locator("p", has_text="sks cat, sitting, red").first).to_be_visible()
    page.locator(".og-section > summary", has_text="Image augmentation").click()
    field(page, "concepts.0.image.enable_fixed_brightness").check()
    field(page, "concepts.0.image.random_brightness_max_strength").fill("0.5")
    expect(drawn.nth(1)).to_contain_text("brightness +50%")
    assert panel.setting("concepts.0.image.random_brightness_max_strength") == 0
    drawn.nth(1).locator("img").evaluate("image => image.decode()")
    page.get_by_title("Next image").click()
    expect(page.locator(".og-draw-file")).to_have_text("1.png · 2 of 3")
    before = drawn.locator("p").all_text_contents()
    page.get_by_role("button", name="New preview").click()
    page.wait_for_function(
        "before => [...document.querySelectorAll('.og-drawn p')].map((p) => p.textContent).join() !== before.join()", arg=before
    )


def test_texts_of_files_reach_the_page_as_texts(visitor: Visitor, panel: Panel, tmp_path: Path) -> None:
    """Markup in a caption or file name is shown, not executed."""
    bad = "<img src=x onerror=document.title='run'>"
    write_images(tmp_path / "x", (64, 64), (64, 64), captions=f"{bad}, other")
    for kind in ("png", "txt"):
        (tmp_path / "x" / f"0.{kind}").rename(tmp_path / "x" / f"<b>0.{kind}")
    page = concepts(visitor, panel, {"name": bad, "path": str(tmp_path / "x")})
    page.locator("[data-part=draw] > summary").click()
    expect(page.locator(".og-drawn p").first).to_have_text(f"{bad}, other")
    page.get_by_title("Next image").click()
    expect(page.locator(".og-draw-file")).to_contain_text("<b>0.png")
    expect(page.locator(".og-tags li").first).to_have_text(f"{bad}2")
    assert page.title() != "run"


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [390, 1440])
def test_editors_fit_their_window_and_name_their_controls(visitor: Visitor, panel: Panel, images: Path, width: int) -> None:
    """Nothing scrolls sideways on a phone or a desktop, and every control has a name, with everything expanded."""
    cats = {"name": "cats", "path": str(images / "cats"), "image": {"enable_random_flip": True}}
    page = concepts(visitor, panel, cats, {**cats, "name": "c" * 80}, cats)
    page.set_viewport_size({"width": width, "height": 844})
    page.locator(".og-item > summary").nth(1).click()
    page.locator("[data-part=draw] > summary").click()
    expect(page.locator(".og-drawn")).to_have_count(6)
    for key in ("concepts", "noise", "layers"):
        if key != "concepts":
            page.get_by_role("button", name="Expert").click()
            if width < 820:
                page.locator("#og-group").select_option(key)
            else:
                group(page, key)
            expect(page.locator(".og-draw-keys li, .og-layer-count:not(:empty)")).to_have_count(1)
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
