"""The settings form in a browser: every setting of OneTrainer, with editors for lists and structures."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from onetrainer_gradio.config.declarations.catalog import CATALOGUE, is_shown
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document
from tests.browser.conftest import Panel, Visitor
from tests.browser.test_settings import field, group

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# For each type and method: change the settings as another person would, wait until the page shows that, then open each group
# of the navigation and record its rows outside of cards, and the settings that the server reports.
ROWS = """async (pairs) => {
  const headers = { 'Content-Type': 'application/json' };
  const send = async (method, path, body) => (await fetch(path, { method, headers, body: JSON.stringify(body) })).json();
  const shows = (path, value) => document.querySelector(`#og-f-${path}`)?.value === value;
  const open = (key) => document.querySelector(`.og-nav [data-group="${key}"]`).click();
  const found = [];
  let { revision } = await send('GET', 'api/config/current');
  for (const [model_type, training_method] of pairs) {
    open('model');
    let config;
    ({ revision, config } = await send('PATCH', 'api/config/current', { revision, changes: { model_type, training_method } }));
    const until = performance.now() + 15000;
    while (!(shows('model_type', model_type) && shows('training_method', training_method))) {
      if (performance.now() > until) throw new Error(`the page does not show ${model_type} ${training_method}`);
      await new Promise((done) => setTimeout(done, 5));
    }
    const rows = [];
    for (const key of [...document.querySelectorAll('.og-nav-groups button')].map((each) => each.dataset.group)) {
      open(key);
      for (const row of document.querySelectorAll('.og-rows [data-row]')) {
        if (!row.parentElement.closest('[data-row]')) rows.push(row.dataset.row);
      }
    }
    found.push({ rows, config });
  }
  return found;
}"""

# Kept apart from the settings, and for now nowhere.
MACHINE_SECRETS = "secrets.cloud."


def expert(visitor: Visitor) -> Any:
    visitor.script = "localStorage.setItem('og-level', 'expert')"
    return visitor.open()


def commit(control: Any, text: str) -> None:
    control.fill(text)
    control.press("Tab")


def saved(page: Any, edit: Callable[[], None]) -> None:
    """Make an edit and wait until the server has it."""
    with page.expect_response(lambda reply: reply.request.method == "PATCH" and reply.ok):
        edit()


def expected_rows(document: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the settings that apply to a document, except for units, which are next to their number."""
    config, _ = from_document(document)
    units = {entry.setting.unit_of for entry in CATALOGUE.values()}
    found = set()
    for path, entry in CATALOGUE.items():
        if entry.nested or not entry.offered or path in units or path.startswith(MACHINE_SECRETS):
            continue
        place = path.replace("concepts[].", "concepts.0.") if prefix else path
        if place.startswith(prefix) and "[]" not in place and is_shown(config, place):
            found.add(place)
    return found


PAIRS = [(model_type.value, method.value) for model_type, model in MODELS.items() for method in model.methods]


@pytest.mark.exhaustive
def test_every_setting_that_applies_has_its_row(visitor: Visitor, panel: Panel) -> None:
    """At expert level the groups together show each setting that applies, once, and no other, for every type and method."""
    assert len(PAIRS) == 88
    page = expert(visitor)
    group(page, "model")
    for pair, found in zip(PAIRS, page.evaluate(ROWS, PAIRS), strict=True):
        rows = found["rows"]
        assert (found["config"]["model_type"], found["config"]["training_method"]) == pair
        assert len(rows) == len(set(rows)), pair
        assert set(rows) == expected_rows(found["config"]), pair


@pytest.mark.exhaustive
def test_a_concept_shows_all_its_settings(visitor: Visitor, panel: Panel) -> None:
    """The sections of a card expand to every setting of the concept that applies, and collapse again."""
    page = expert(visitor)
    group(page, "concepts")
    card = page.locator(".og-item-wrap")
    for title in ("Image augmentation", "Text augmentation"):
        card.locator(".og-section summary", has_text=title).click()
    expect(field(page, "concepts.0.image.enable_random_flip")).to_be_visible()
    rows = set(card.locator("[data-row]").evaluate_all("all => all.map((each) => each.dataset.row)"))
    # the switch of a concept is on its card
    assert rows | {"concepts.0.enabled"} == expected_rows(panel.get("api/config/current")["config"], "concepts.0.")
    field(page, "concepts.0.image.enable_resolution_override").check()
    expect(field(page, "concepts.0.image.resolution_override")).to_be_visible()


@pytest.mark.exhaustive
def test_cards_move_and_copies_get_their_own_seed(visitor: Visitor, panel: Panel) -> None:
    """A copied concept has all settings of the original except the seed; cards can be moved, and many can be filtered."""
    panel.change(**{"concepts.0.seed": 7})
    page = visitor.open()
    group(page, "concepts")
    saved(page, page.get_by_role("button", name="Duplicate").click)
    expect(page.locator(".og-item-wrap")).to_have_count(2)
    page.locator(".og-item-wrap").nth(1).locator("summary").first.click()
    saved(page, lambda: commit(field(page, "concepts.1.name"), "copy"))
    saved(page, page.locator(".og-item-wrap").nth(1).get_by_role("button", name="Move this concept up").click)
    expect(page.locator(".og-card-title").first).to_have_text("copy")
    panel.expect_settings(**{"concepts.0.name": "copy", "concepts.1.name": "red", "concepts.1.seed": 7})
    copy, first = panel.setting("concepts")
    assert copy["seed"] not in (7, None)
    assert copy["path"] == first["path"]


def test_a_layer_preset_writes_its_pattern(visitor: Visitor, panel: Panel) -> None:
    """Choosing a preset is one change of preset, pattern and kind of pattern; editing the pattern makes it custom."""
    page = expert(visitor)
    patches: list[Any] = []
    page.on("request", lambda request: patches.append(request.post_data_json["changes"]) if request.method == "PATCH" else None)
    group(page, "layers")
    field(page, "layer_filter_preset").select_option("attn-only")
    expect(field(page, "layer_filter")).to_have_value("attn")
    commit(field(page, "layer_filter"), "attn,mlp")
    expect(field(page, "layer_filter_preset")).to_have_value("custom")
    assert patches == [
        {"layer_filter_preset": "attn-only", "layer_filter": "attn", "layer_filter_regex": False},
        {"layer_filter": "attn,mlp", "layer_filter_preset": "custom"},
    ]
    field(page, "layer_filter_preset").select_option("full")
    expect(field(page, "layer_filter")).to_have_value("")


@pytest.mark.exhaustive
def test_choices_follow_the_model_and_a_strange_one_stays_visible(visitor: Visitor, panel: Panel) -> None:
    """Only what the model supports is offered, by its label; an invalid value is marked and not lost."""
    panel.change(training_method="EMBEDDING")
    page = visitor.open()
    options = page.locator("#og-f-training_method option")
    expect(options).to_have_text(["Full fine-tune", "LoRA", "Embedding", "Fine-tune VAE"])
    field(page, "model_type").select_option("SANA")
    expect(options).not_to_contain_text(["Fine-tune VAE"])
    panel.change(model_type="WUERSTCHEN_2", training_method="FINE_TUNE_VAE")
    expect(options.last).to_have_text("Fine-tune VAE (not available with these settings)")
    expect(field(page, "training_method")).to_have_value("FINE_TUNE_VAE")


def test_an_optimizer_shows_its_parameters_and_remembers_them(visitor: Visitor, panel: Panel) -> None:
    """Switching to another optimizer and back restores an edit; one button sets the defaults; Muon's Adam can be edited too."""
    panel.change(**{"optimizer.optimizer": "PRODIGY"})
    page = expert(visitor)
    group(page, "optimizer")
    for path, text in (("growth_rate", "1.02"), ("growth_rate", "inf"), ("d_coef", "0.7")):
        saved(page, lambda control=field(page, f"optimizer.{path}"), text=text: commit(control, text))
    panel.change(**{"optimizer.optimizer": "MUON_ADV"})
    expect(field(page, "optimizer.growth_rate")).to_have_count(0)
    beta = page.locator("[data-row='optimizer.muon_adam_config']").get_by_label("Beta 1", exact=True)
    saved(page, lambda: commit(beta, "0.8"))
    expect(page.locator("[data-row='optimizer.muon_adam_config']")).to_have_class("og-row wide changed")
    panel.expect_settings(**{"optimizer.muon_adam_config.beta1": 0.8})

    panel.change(**{"optimizer.optimizer": "PRODIGY"})
    expect(field(page, "optimizer.d_coef")).to_have_value("0.7")
    expect(field(page, "optimizer.growth_rate")).to_have_value("inf")
    page.get_by_role("button", name="Load defaults").click()
    expect(field(page, "optimizer.d_coef")).to_have_value("1")


def test_findings_lead_to_their_setting_and_are_fixed_by_a_button(visitor: Visitor, panel: Panel) -> None:
    """Each finding links to its field; if one change is right, a button makes it and the finding disappears."""
    panel.change(train_device="cuda", base_model_name="/nowhere/model")
    page = visitor.open()
    group(page, "problems")
    finding = page.locator(".og-findings li", has_text="no GPU")
    finding.get_by_role("button", name="Set to “cpu”").click()
    expect(finding).to_have_count(0)
    panel.expect_settings(train_device="cpu")
    page.locator(".og-findings li", has_text="/nowhere/model").get_by_role("button", name="Base model").click()
    expect(field(page, "base_model_name")).to_be_focused()
    expect(page.locator("#og-f-base_model_name-error")).to_contain_text("The model /nowhere/model doesn't exist")


@pytest.mark.exhaustive
def test_search_finds_what_is_hidden_and_reports_why(visitor: Visitor, panel: Panel) -> None:
    """JSON paths, settings of each concept, and paths without a control are found; unused ones show the reason."""
    page = visitor.open()
    search = page.locator("#og-search")
    search.fill("transformer.attention_mask")
    expect(page.locator("[data-row='transformer.attention_mask'] .og-note")).to_contain_text("only applies to models")
    search.fill("optimizer_defaults")
    expect(page.locator(".og-hit.off")).to_contain_text("Not editable here: Stores the last parameters of each optimizer")
    search.fill("random mirror")
    page.locator(".og-hit").click()
    expect(field(page, "concepts.0.image.enable_random_flip")).to_be_focused()
    expect(search).to_have_value("")


@pytest.mark.exhaustive
def test_edits_are_taken_back_and_made_again(visitor: Visitor, panel: Panel) -> None:
    """Undo and redo go through the user's own edits, one change at a time; edits of others stay."""
    page = visitor.open()
    group(page, "optimization")
    commit(field(page, "epochs"), "7")
    commit(field(page, "batch_size"), "3")
    expect(page.locator("[data-row=batch_size]")).to_have_class("og-row changed")
    panel.change(learning_rate=0.5)
    page.get_by_role("button", name="Undo").click()
    expect(field(page, "batch_size")).to_have_value("1")
    page.get_by_role("button", name="Undo").click()
    expect(field(page, "epochs")).to_have_value("100")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.get_by_role("button", name="Redo").click()
    expect(field(page, "epochs")).to_have_value("7")
    panel.expect_settings(learning_rate=0.5)


@pytest.mark.exhaustive
def test_the_settings_can_be_edited_as_json(visitor: Visitor, panel: Panel) -> None:
    """Invalid JSON is rejected with its path and nothing changes; valid JSON is applied, and can be undone."""
    page = visitor.open()
    group(page, "optimization")
    page.get_by_role("button", name="JSON").click()
    dialog = page.get_by_role("dialog")
    text = dialog.get_by_label("Settings as JSON")
    document = json.loads(text.input_value())
    text.fill("{")
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_contain_text("Invalid JSON")
    text.fill(json.dumps(document | {"epochs": "many"}))
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog.locator(".og-errors")).to_contain_text("epochs")
    text.fill(json.dumps(document | {"epochs": 8}))
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    expect(field(page, "epochs")).to_have_value("8")
    page.get_by_role("button", name="Undo").click()
    expect(field(page, "epochs")).to_have_value("100")


@pytest.mark.exhaustive
def test_arguments_of_a_schedule_are_pairs(visitor: Visitor, panel: Panel) -> None:
    """Names and values are added row by row and are stored as OneTrainer does."""
    panel.change(learning_rate_scheduler="CUSTOM")
    page = expert(visitor)
    group(page, "optimization")
    row = page.locator("[data-row=scheduler_params]")
    row.get_by_role("button", name="Add").click()
    saved(page, lambda: commit(row.get_by_label("Name"), "T_max"))
    saved(page, lambda: commit(row.get_by_label("Value"), "%TOTAL_STEPS%"))
    expect(row).to_have_class("og-row wide changed")
    panel.expect_settings(scheduler_params=[{"key": "T_max", "value": "%TOTAL_STEPS%"}])


@pytest.mark.exhaustive
def test_a_value_that_cannot_be_used_is_an_issue_and_rejects_every_start(visitor: Visitor, panel: Panel) -> None:
    """It is counted and listed with its field; no page starts with the old value until it is corrected or its page is closed."""
    page = visitor.open()
    group(page, "optimization")
    commit(field(page, "epochs"), "abc")
    expect(field(page, "epochs")).to_have_attribute("aria-invalid", "true")
    issues = page.locator("[data-group=problems] .og-count")
    expect(issues).to_be_visible()
    count = int(issues.text_content())
    group(page, "problems")
    expect(page.locator(".og-findings")).to_contain_text("Epochs must be a whole number, not 'abc'")

    def refused() -> list[str]:
        try:
            panel.send("POST", "api/training/start", {})
        except urllib.error.HTTPError as error:
            return [each["message"] for each in json.loads(error.read())["errors"]]
        return []

    assert any("Epochs is “abc” on an open page" in message for message in refused())
    page.reload()
    group(page, "optimization")
    expect(field(page, "epochs")).to_have_attribute("aria-invalid", "true")
    assert any("Epochs is “abc”" in message for message in refused()), "what was typed outlives a reload"
    field(page, "epochs").fill("9")
    field(page, "epochs").press("Tab")
    expect(page.locator("[data-row=epochs] .og-errors")).to_be_empty()
    assert not any("open page" in message for message in refused())
    expect(issues).to_have_text(str(count - 1)) if count > 1 else expect(issues).to_have_count(0)
    field(page, "batch_size").fill("many")  # and the focus stays there
    page.wait_for_timeout(300)
    assert any("Batch size is “many”" in message for message in refused())
    page.close()
    for _ in range(50):
        if not any("open page" in message for message in refused()):
            return
        time.sleep(0.1)
    raise AssertionError("the page is closed and still counts")
