"""What the page shows beside settings: the draw of timesteps, the layers of a filter, pictures and captions of concepts."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor
from tests.browser.test_settings import field, group

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# How much of a canvas is painted in its own colour, so that an empty one is seen.
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


def test_the_first_view_loads_no_editor(visitor: Visitor, panel: Panel) -> None:
    """Plot, layers and cards of concepts cost nothing before somebody looks at them."""
    asked: list[str] = []
    visitor.context.on("request", lambda request: asked.append(request.url))
    page = visitor.open()
    page.wait_for_load_state("networkidle")
    late = ("editors", "timesteps", "layers", "concepts")
    assert [url for url in asked if any(f"/{name}." in url or f"api/{name}" in url for name in late)] == []
    assert len(asked) <= 60


def test_the_draw_of_timesteps_follows_what_is_typed(visitor: Visitor, panel: Panel) -> None:
    """The plot moves while a number is being typed, before it is saved; what cannot be drawn is explained."""
    page = expert(visitor)
    group(page, "noise")
    keys = page.locator(".og-draw-keys")
    expect(keys).to_contain_text("half of the draws lie above 499")
    assert page.locator(".og-draw canvas").evaluate(INKED) > 0.1
    field(page, "timestep_shift").fill("3")
    expect(keys).to_contain_text("half of the draws lie above 749")
    assert panel.get("api/config/current")["config"]["timestep_shift"] == 1.0
    field(page, "timestep_shift").press("Tab")
    expect(page.locator("[data-row=timestep_shift]")).to_have_class("og-row changed")
    field(page, "timestep_distribution").select_option("LOGIT_NORMAL")
    field(page, "noising_weight").fill("-1")
    expect(page.locator(".og-below-problem")).to_contain_text("no width")
    field(page, "noising_weight").fill("0.5")
    expect(page.locator(".og-below-problem")).to_be_hidden()


def test_dynamic_shifting_shows_a_curve_for_each_resolution(visitor: Visitor, panel: Panel) -> None:
    """Sizes and their shifts stand below the plot."""
    panel.change(model_type="FLUX_DEV_1", resolution="512,1024", dynamic_timestep_shifting=True)
    page = expert(visitor)
    group(page, "noise")
    expect(page.locator(".og-draw-keys li")).to_have_count(2)
    expect(page.locator(".og-draw-keys")).to_contain_text("1024 × 1024 shift 3.16")


def test_a_layer_filter_says_what_it_takes(visitor: Visitor, panel: Panel) -> None:
    """How many layers a preset takes, pattern by pattern as it is typed, and the list of them on demand."""
    page = expert(visitor)
    group(page, "layers")
    count = page.locator(".og-layer-count")
    expect(count).to_have_text("All 282 layers of the UNet")
    field(page, "layer_filter_preset").select_option("attn-mlp")
    expect(count).to_have_text("192 of 282 layers of the UNet")
    field(page, "layer_filter").fill("attn2, nowhere")
    expect(page.locator(".og-layer-patterns")).to_contain_text("attn264 layers")
    expect(page.locator(".og-layer-patterns .bad")).to_have_text("nowherefits no layer")
    assert page.locator(".og-layer-list").is_hidden()
    page.get_by_role("button", name="List the layers").click()
    expect(page.locator(".og-layer-list")).to_contain_text("mid_block.attentions.*.transformer_blocks.*.attn2.to_q")
