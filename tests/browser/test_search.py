"""Search in the settings shows the most likely result first."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]

# search text -> path of the first result
FIRST = {
    "optimizer": "optimizer.optimizer",
    "lr": "learning_rate",
    "learning rate": "learning_rate",
    "network dim": "lora_rank",
    "network_alpha": "lora_alpha",
    "xformers": "attention_mechanism",
    "batch size": "batch_size",
    "BATCH_SIZE": "batch_size",
    "epochs": "epochs",
    "max_train_steps": "epochs",
    "clip skip": "text_encoder_layer_skip",
    "min_snr_gamma": "loss_weight_fn",
    "mixed_precision": "train_dtype",
    "noise_offset": "offset_noise_weight",
    "warmup": "learning_rate_warmup_steps",
    "pretrained_model_name_or_path": "base_model_name",
    "ema_decay": "ema_decay",
}


def test_the_closest_setting_comes_first(visitor: Visitor, panel: Panel) -> None:
    """The order is exact label, another trainer's name, key, help texts; a part inside a word doesn't match."""
    page = visitor.open()
    search = page.locator("#og-search")
    search.fill("loads the search")
    expect(page.get_by_text("No results.")).to_be_visible()
    found = {}
    for typed in FIRST:
        search.fill(typed)
        found[typed] = page.locator(".og-rows [data-row]").first.get_attribute("data-row")
    assert found == FIRST
    search.fill("lr")
    named = page.locator(".og-rows [data-row]").evaluate_all("rows => rows.map(row => row.dataset.row)")
    assert all({"lr", "learning", "scheduler"} & set(re.split(r"[._]", path)) for path in named), named


def test_all_results_are_one_click_away(visitor: Visitor, panel: Panel) -> None:
    """The 40 closest are shown first, all of them after a click."""
    page = visitor.open()
    page.locator("#og-search").fill("t")
    expect(page.locator(".og-rows [data-row]")).to_have_count(40)
    page.get_by_role("button", name="Show all").click()
    assert page.locator(".og-rows [data-row]").count() > 100
