"""The page with a OneTrainer checkout: the training engine, additional settings in the form, and the card on the System tab."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.backends.onetrainer.standin import behave, set_up
from tests.browser.conftest import ABSENT, Panel, Visitor, becomes

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return set_up(tmp_path_factory.mktemp("later") / "OneTrainer", newer=True)


@pytest.fixture(scope="module")
def panel(profile: Any, tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Panel]:
    """A panel with the built-in engine that has a checkout of a later revision registered."""
    arguments = ("--onetrainer", str(checkout))
    panel = Panel(tmp_path_factory.mktemp("panel"), arguments).start()
    panel.wait(lambda _: panel.get("api/onetrainer/checkouts")["checkouts"][0]["settings"]["state"] == "ready")
    yield panel
    panel.stop()


@pytest.fixture(autouse=True)
def settings(panel: Panel) -> None:
    panel.send("PUT", "api/engines", {"engine": "auto"})
    precise = {part: {"weight_dtype": "FLOAT_32"} for part in ("unet", "text_encoder", "vae")}
    panel.send("PUT", "api/config/current", {"config": {**panel.document, "train_dtype": "FLOAT_32", **precise}, "name": "small"})


@contextlib.contextmanager
def made_again(control: Any) -> Iterator[None]:
    """Wait until the form follows the declarations of another engine, which replaces every control."""
    before = control.element_handle()
    yield
    control.page.wait_for_function("control => !control.isConnected", arg=before)


def test_the_page_shows_who_trains_and_lets_choose(visitor: Visitor, panel: Panel) -> None:
    """Without a choice it is the first that can train; choosing one that can't is explained, with the way to one that can."""
    page = visitor.open()
    words = page.locator(".og-engine-words")
    expect(words).to_contain_text("Runs will use the built-in engine")
    page.locator("#og-f-model_type").select_option("NEW_MODEL_9")
    expect(words).to_contain_text("The built-in engine can’t")
    page.locator("#og-engine").select_option("builtin")
    expect(words).to_contain_text("The built-in engine can’t train this")
    becomes(lambda: panel.get("api/engines")["choice"], "builtin")
    words.get_by_role("button", name="Use OneTrainer").click()
    expect(words).to_contain_text("Runs will use OneTrainer")
    becomes(lambda: panel.get("api/engines")["choice"].partition(":")[0], "onetrainer")


def test_without_a_checkout_the_way_to_one_is_shown(visitor: Visitor, panel: Panel) -> None:
    """If there is only the built-in engine and it can't train the model type, the page leads to where OneTrainer is added."""
    (known,) = panel.get("api/onetrainer/checkouts")["checkouts"]
    panel.send("DELETE", f"api/onetrainer/checkouts/{known['id']}")
    page = visitor.open()
    expect(page.locator("#og-f-model_type")).to_be_visible()
    expect(page.locator(".og-engine")).to_have_count(0)
    page.locator("#og-f-model_type").select_option("SANA")
    words = page.locator(".og-engine-words")
    expect(words).to_contain_text("The built-in engine can’t train this")
    words.get_by_role("link", name="Add OneTrainer to train it").click()
    page.locator("#og-checkout-folder").fill(known["folder"])
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".og-checkout")).to_contain_text("Ready")


def test_a_setting_that_only_the_checkout_has_is_edited_like_any_other(visitor: Visitor, panel: Panel) -> None:
    """It is in a separate group under Expert, can be saved, marked as changed, and reset; missing ones are marked."""
    page = visitor.open()
    page.get_by_role("button", name="Expert", exact=True).click()
    page.locator('[data-group="checkout"]').click()
    row = page.locator('[data-row="sharpness"]')
    expect(row).to_contain_text("does not describe yet")
    field = page.locator("#og-f-sharpness")
    expect(field).to_have_value("0.5")
    field.fill("0.75")
    field.press("Tab")
    expect(row).to_contain_text("was 0.5")
    expect(page.locator(".og-engine-words")).to_contain_text("would ignore settings that only OneTrainer supports")
    panel.expect_settings(sharpness=0.75)
    row.get_by_role("button", name=re.compile("Reset")).click()
    expect(row).not_to_have_class(re.compile("changed"))
    panel.expect_settings(sharpness=ABSENT)
    page.locator("#og-search").fill("force_circular_padding")
    expect(page.locator('[data-row="force_circular_padding"]')).to_contain_text("OneTrainer doesn’t support this setting")


def test_lists_and_objects_that_only_the_checkout_has_are_edited_as_json(visitor: Visitor, panel: Panel) -> None:
    """An invalid value is reported and stays in its field, also after a reload; a valid one is saved and reset."""
    page = visitor.open()
    page.get_by_role("button", name="Expert", exact=True).click()
    page.locator('[data-group="checkout"]').click()
    row, field = page.locator('[data-row="rules"]'), page.locator("#og-f-rules")
    expect(field).to_have_value("[]")
    expect(row).to_contain_text("a list of objects with word, strength, steps")
    expect(page.locator("#og-f-extra_arguments")).to_have_value('{"depth": 2}')
    broken = '[{"word": "x",\n  "strength": }]'
    field.fill(broken)
    field.press("Tab")
    expect(row.locator(".og-errors")).to_contain_text(
        "rules isn't valid JSON: Expecting value in line 2, column 15. Enter a list of"
    )
    expect(field).to_have_attribute("aria-invalid", "true")
    page.reload()
    expect(field).to_have_value(broken)
    expect(row.locator(".og-errors")).to_contain_text("rules isn't valid JSON")
    field.fill('[{"word": "x", "colour": 3}]')
    field.press("Tab")
    expect(row.locator(".og-errors")).to_contain_text("rules.0 has no setting 'colour'")
    expect(field).to_have_value('[{"word": "x", "colour": 3}]')
    field.fill('[ {"word": "x", "steps": [1, 2]} ]')
    field.press("Tab")
    expect(row.locator(".og-errors")).to_be_empty()
    expect(row).to_contain_text("was []")
    expect(field).to_have_value('[ {"word": "x", "steps": [1, 2]} ]')  # as it was typed
    panel.expect_settings(rules=[{"word": "x", "steps": [1, 2]}])
    row.get_by_role("button", name=re.compile("Reset")).click()
    expect(field).to_have_value("[]")
    panel.expect_settings(rules=ABSENT)
    page.locator("#og-f-tag_weights").fill('{"face": 1.5}')
    page.locator("#og-f-tag_weights").press("Tab")
    expect(page.locator('[data-row="tag_weights"]')).to_contain_text("was not set")
    page.locator("#og-f-tag_weights").fill("")
    page.locator("#og-f-tag_weights").press("Tab")
    expect(page.locator('[data-row="tag_weights"]')).not_to_have_class(re.compile("changed"))
    # within the elements of one of our lists
    page.locator('[data-group="concepts"]').click()
    expect(page.locator("#og-f-concepts-0-neighbours")).to_have_value("[]")
    page.locator("#og-f-concepts-0-neighbours").fill('["left", "right"]')
    page.locator("#og-f-concepts-0-neighbours").press("Tab")
    expect(page.locator('[data-row="concepts.0.neighbours"]')).to_contain_text("was []")
    panel.expect_settings(**{"concepts.0.neighbours": ["left", "right"]})


def test_a_new_sample_prompt_begins_as_the_model_wants_it(visitor: Visitor, panel: Panel) -> None:
    """It has the model type's values, or the checkout's; so does a custom sample without a prompt."""
    panel.change(samples=[])
    page = visitor.open("samples")
    page.get_by_text("Generate a sample").click()
    expect(page.locator("#og-custom-cfg_scale")).to_have_value("7.5")
    page.locator("#og-custom-seed").fill("7")
    panel.change(model_type="NEW_MODEL_9")
    expect(page.locator("#og-custom-width")).to_have_value("640")
    expect(page.locator("#og-custom-negative_prompt")).to_have_value("grainy")
    expect(page.locator("#og-custom-seed")).to_have_value("7")
    page.get_by_role("tab", name="Configuration").click()
    for count, (engine, model, values) in enumerate(
        (
            ("auto", "NEW_MODEL_9", [640, 512, 12]),
            ("auto", "STABLE_DIFFUSION_XL_10_BASE", [896, 1024, 22]),
            ("builtin", "FLUX_2", [1024, 1024, 30]),
        )
    ):
        page.locator('[data-group="model"]').click()
        model_type = page.locator("#og-f-model_type")
        # each engine's declarations define a new prompt
        with made_again(model_type) if engine == "builtin" else contextlib.nullcontext():
            page.locator("#og-engine").select_option(engine)
        model_type.select_option(model)
        page.locator('[data-group="sampling"]').click()
        page.get_by_role("button", name="Add sample prompt").click()
        expect(page.locator(f"#og-f-samples-{count}-width")).to_have_value(str(values[0]))
        keys = ("width", "height", "diffusion_steps")
        panel.expect_settings(**{f"samples.{count}.{key}": value for key, value in zip(keys, values, strict=True)})


def test_a_card_stays_open_when_the_form_follows_another_engine(visitor: Visitor, panel: Panel) -> None:
    """The other engine's declarations may arrive late: additions, typed text and the focus stay."""
    panel.change(samples=[{"prompt": "a"}, {"prompt": "b"}])
    page = visitor.open()
    held: list[Any] = []
    page.route("**/api/config/schema", lambda route: held.append((route, route.fetch())))
    page.locator("#og-engine").select_option("builtin")
    page.locator("#og-f-model_type").select_option("FLUX_2")
    page.locator('[data-group="sampling"]').click()
    page.get_by_role("button", name="Add sample prompt").click()
    width = page.locator("#og-f-samples-2-width")
    width.fill("768")
    give_up_at = time.monotonic() + 15
    while not held:  # on a busy machine the request comes after the click
        assert time.monotonic() < give_up_at
        page.wait_for_timeout(50)
    with made_again(width):
        for route, answer in held:
            route.fulfill(response=answer)
    expect(width).to_have_value("768")
    expect(width).to_be_focused()
    width.press("Tab")
    panel.expect_settings(**{"samples.1.prompt": "b", "samples.2.width": 768})


def test_the_form_follows_another_choice_at_once(visitor: Visitor, panel: Panel) -> None:
    """With the built-in engine the checkout's settings leave the form, and come back with it."""
    page = visitor.open()
    page.get_by_role("button", name="Expert", exact=True).click()
    group = page.locator('[data-group="checkout"]')
    expect(group).to_be_visible()
    panel.send("PUT", "api/engines", {"engine": "builtin"})
    expect(group).to_have_count(0)
    panel.send("PUT", "api/engines", {"engine": "auto"})
    expect(group).to_be_visible()


def test_the_training_tab_shows_who_trains(visitor: Visitor, panel: Panel) -> None:
    """The same choice is next to the Start button."""
    page = visitor.open("training")
    select = page.locator("#og-engine-run")
    expect(page.locator("#og-status .og-engine-words")).to_contain_text("Runs will use the built-in engine")
    select.select_option(label="OneTrainer")
    expect(page.locator("#og-status .og-engine-words")).to_contain_text("Runs will use OneTrainer")


def test_a_run_shows_who_trains_it_while_it_continues_and_after(visitor: Visitor, panel: Panel, checkout: Path) -> None:
    """It is in the state card and in the list of runs, whatever is selected in the meantime."""
    (known,) = panel.get("api/onetrainer/checkouts")["checkouts"]
    panel.send("PUT", "api/engines", {"engine": f"onetrainer:{known['id']}"})
    panel.change(tensorboard=False)
    workspace = Path(panel.get("api/config/current")["config"]["workspace_dir"])
    behave(checkout, hold=1)
    page = visitor.open("training")
    by = page.locator("#og-status .og-run-engine")
    expect(by).to_be_hidden()
    panel.send("POST", "api/training/start", {"options": {"max_steps": 3}})
    expect(by).to_have_text("Training engine: OneTrainer")
    panel.wait(lambda state: state["progress"]["global_step"] == 1)
    expect(page.locator(".og-run").first).to_contain_text("Training engine: OneTrainer")
    panel.send("PUT", "api/engines", {"engine": "builtin"})
    (workspace / "go").touch()
    panel.wait(lambda state: not state["process_running"])
    expect(page.locator("#og-status .og-badge")).to_have_text("Finished")
    expect(by).to_have_text("Training engine: OneTrainer")
    page.reload()
    expect(by).to_have_text("Training engine: OneTrainer")
    expect(page.locator(".og-run").first).to_contain_text("Training engine: OneTrainer")


def test_checkouts_are_added_checked_and_removed_on_the_system_tab(visitor: Visitor, panel: Panel, tmp_path: Path) -> None:
    """Missing parts are listed; a checkout's lists can be imported into the settings."""
    bare = set_up(tmp_path / "bare", python=False)
    page = visitor.open("system")
    card = page.get_by_role("region", name="OneTrainer")
    first = card.locator(".og-checkout").first
    expect(first).to_contain_text("Ready")
    expect(first).to_contain_text("8 settings only in this version")
    first.get_by_text("8 settings only in this version").click()
    expect(first.get_by_role("row", name=re.compile("extra_arguments"))).to_contain_text('dict{"depth": 2}')
    expect(first.locator("[data-part=version]")).to_contain_text("version 12, this panel's version 11")
    page.locator("#og-checkout-folder").fill(str(tmp_path))
    card.get_by_role("button", name="Check", exact=True).click()
    expect(card).to_contain_text("doesn't contain OneTrainer")
    page.locator("#og-checkout-folder").fill(str(bare))
    card.get_by_role("button", name="Add", exact=True).click()
    second = card.locator(".og-checkout").nth(1)
    expect(second).to_contain_text("Not ready")
    expect(second).to_contain_text("no Python environment")
    expect(second.locator("[data-part=version]")).to_have_count(0)
    second.get_by_text("Import its concepts and sample prompts").click()
    second.get_by_role("button", name="Replace current").nth(1).click()
    expect(page.locator("#og-toasts")).to_contain_text("Imported the list of sample prompts")
    second.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(card.locator(".og-checkout")).to_have_count(1)
    card.get_by_text("Supported models by engine").click()
    expect(card.get_by_role("row", name=re.compile("NEW_MODEL_9 LoRA"))).to_contain_text("yes")


def test_what_stays_loaded_is_reported_and_can_be_let_go(visitor: Visitor, panel: Panel, checkout: Path) -> None:
    """After a run the card shows until when OneTrainer stays loaded; Unload ends it."""
    known = panel.get("api/onetrainer/checkouts")["checkouts"]
    if not known:
        known = [panel.send("POST", "api/onetrainer/checkouts", {"folder": str(checkout)})["checkout"]]
    panel.send("PUT", "api/engines", {"engine": f"onetrainer:{known[0]['id']}"})
    behave(checkout)
    panel.send("POST", "api/training/start", {"options": {"max_steps": 2}})
    panel.wait(lambda state: state["loaded_until"] is not None)
    page = visitor.open()
    page.get_by_role("tab", name="System").click()
    line = page.locator(".og-checkout-waiting")
    expect(line).to_contain_text(re.compile(r"The training process stays loaded until \d\d:\d\d"))
    line.get_by_role("button", name="Unload").click()
    expect(line).to_be_hidden()
    panel.wait(lambda state: state["loaded_until"] is None and not state["process_running"])
