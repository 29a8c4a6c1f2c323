"""From photos to a published LoRA in the browser: with few clicks, on a phone, and by keyboard alone."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor, forget
from tests.browser.test_axe import violations
from tests.browser.test_new_lora import shot
from tests.fakes.hub import FakeHub
from tests.models.annotators import write_blip

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]

WITH_A_SAVE, SHORT = 25, 2
"""Steps, of the 200 that the page plans: with samples and a save before the end, and without. What happens in the others, the
tests of the engine show."""
SAMPLING_STEPS = 4
TRAINED_WITHIN_S = 600.0
SOON_MS = 120_000
"""For what a busy machine with two cores does in seconds otherwise."""


def photo(seed: int) -> bytes:
    """Return an image of the demo model's size unlike any other."""
    out = io.BytesIO()
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((128, 128), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


def photos() -> dict[str, bytes]:
    """Return twenty files: one is a copy of another, one isn't an image."""
    found = {f"photo {number:02}.png": photo(number) for number in range(18)}
    return {**found, "photo copy.png": found["photo 03.png"], "photo broken.png": b"\x89PNG\r\n\x1a\n" + b"no image" * 50}


DROP = """(node, files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files)
    transfer.items.add(new File([Uint8Array.from(atob(data), each => each.charCodeAt(0))], name, { type: 'image/png' }));
  node.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@dataclass
class Person:
    """A person at the page whose actions are counted."""

    page: Any
    clicks: int = 0
    decisions: int = 0
    typed: int = 0

    def bring(self, files: dict[str, bytes]) -> None:
        """Drop files: one action."""
        self.clicks += 1
        data = [[name, base64.b64encode(content).decode()] for name, content in files.items()]
        self.page.locator(".og-new-drop").evaluate(DROP, data)

    def press(self, target: Any) -> None:
        self.clicks += 1
        target.click()

    def choose(self, target: Any) -> None:
        """Make a decision, unless it is the default."""
        if not target.is_checked():
            self.clicks += 1
            self.decisions += 1
            target.check()

    def type(self, target: Any, text: str) -> None:
        self.typed += 1
        target.fill(text)


class KeyboardPerson(Person):
    """A person without a mouse: Tab reaches everything; Enter, Space and arrow keys do the rest."""

    def reach(self, target: Any) -> None:
        target.wait_for()
        for _ in range(300):
            if target.evaluate("node => node === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"Tab doesn't reach {target}")

    def bring(self, files: dict[str, bytes]) -> None:
        self.clicks += 1
        with self.page.expect_file_chooser(timeout=SOON_MS) as chosen:
            self.reach(self.page.locator(".og-new").get_by_role("button", name="Upload files"))
            self.page.keyboard.press("Enter")
        chosen.value.set_files([{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files.items()])

    def press(self, target: Any) -> None:
        self.clicks += 1
        self.reach(target)
        self.page.keyboard.press("Enter")

    def choose(self, target: Any) -> None:
        if target.is_checked():
            return
        self.clicks += 1
        self.decisions += 1
        group = target.get_attribute("name")
        self.reach(self.page.locator(f"input[name='{group}']:checked"))
        for _ in range(50):
            if target.is_checked():
                return
            self.page.keyboard.press("ArrowDown")
        pytest.fail(f"The arrow keys don't reach {target}")

    def type(self, target: Any, text: str) -> None:
        self.typed += 1
        self.reach(target)
        self.page.keyboard.type(text)


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """A stand-in for the Hugging Face Hub, which the panel uses instead of the real one."""
    with FakeHub() as stand_in, pytest.MonkeyPatch.context() as patch:
        stand_in.account("hf_writer", "ada")
        patch.setenv("HF_ENDPOINT", stand_in.url)
        patch.delenv("HF_TOKEN", raising=False)
        yield stand_in


@pytest.fixture(scope="module")
def one_panel(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """A panel with a local captioner and a Hugging Face token. Its worker processes stay loaded for the next test."""
    folder = tmp_path_factory.mktemp("whole_way")
    write_blip(folder / "captioners" / "tiny")
    panel = Panel(folder, ()).start()
    panel.send("PUT", "api/secrets", {"huggingface_token": "hf_writer"})
    yield panel
    panel.stop()


@pytest.fixture
def fresh(one_panel: Panel, hub: FakeHub) -> Panel:
    """The panel without runs, datasets and models, and with unchanged settings."""
    one_panel.as_new()
    for folder in ("datasets", "models", "workspace"):
        shutil.rmtree(one_panel.folder / folder, ignore_errors=True)
    hub.repositories.clear()
    return one_panel


def shorten(page: Any, panel: Panel, steps: int) -> None:
    """Make Start end the run after a few steps, with samples of few steps, without other changes."""

    def start(route: Any) -> None:
        samples = panel.setting("samples")
        panel.change(samples=[{**each, "diffusion_steps": SAMPLING_STEPS} for each in samples])
        body = route.request.post_data_json
        route.continue_(post_data=json.dumps({**body, "options": {**body["options"], "max_steps": steps}}))

    page.route("**/api/training/start*", start)


def to_start(page: Any, person: Person) -> None:
    """Go from the first view to a run."""
    person.press(page.get_by_role("button", name="New LoRA", exact=True))
    page.locator(".og-new-drop").wait_for()
    person.bring(photos())
    expect(page.locator(".og-new-problem", has_text="unreadable")).to_be_visible(timeout=SOON_MS)
    expect(page.locator(".og-new-problem", has_text="the same image twice")).to_be_visible()
    person.press(page.get_by_role("button", name="Fix all"))
    expect(page.locator(".og-new-problem")).to_have_count(0, timeout=SOON_MS)
    expect(page.get_by_text("18 images in datasets/New LoRA.")).to_be_visible()
    person.type(page.get_by_role("textbox", name="Trigger word", exact=True), "zorble")
    person.choose(page.get_by_role("radio", name="Automatic"))
    expect(page.get_by_label("Caption model")).not_to_be_empty()
    person.press(page.get_by_role("button", name="Caption the images"))
    expect(page.get_by_text("Finished: 18 of 18 images.")).to_be_visible(timeout=SOON_MS)
    person.choose(page.locator(".og-new-option", has_text="Demo model").get_by_role("radio"))
    person.choose(page.get_by_role("radio", name="Quick"))
    expect(page.locator(".og-new-summary")).to_contain_text("200 steps")
    expect(page.locator(".og-new-check")).to_contain_text("of memory", timeout=SOON_MS)
    expect(page.locator(".og-new-found > *")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    person.press(page.locator(".og-new").get_by_role("button", name="Start", exact=True))
    expect(page.get_by_role("tab", name="Training", selected=True)).to_have_count(1, timeout=SOON_MS)


def to_first_try(page: Any, person: Person) -> None:
    """Go from the end of the run to images of its result at two strengths, next to the base model."""
    person.press(page.locator(".og-status").get_by_role("link", name="Try it"))
    person.press(page.get_by_role("button", name="Generate", exact=True))
    expect(page.locator(".og-try-cells img").first).to_be_visible(timeout=SOON_MS)


@pytest.mark.parametrize(
    ("who", "width", "steps"), [(Person, 1440, WITH_A_SAVE), (Person, 390, SHORT), (KeyboardPerson, 1440, SHORT)]
)
def test_from_photos_to_a_published_lora(
    profile: Any, fresh: Panel, hub: FakeHub, who: type[Person], width: int, steps: int
) -> None:
    """Twenty files become a run, images at two strengths and a repository: 3 decisions to Start, 10 clicks to an image."""
    forget(profile, fresh)
    with Visitor(profile, fresh.url).watched() as visitor:
        page = visitor.open("configuration")
        page.set_viewport_size({"width": width, "height": 900})
        person = who(page)
        shorten(page, fresh, steps)
        to_start(page, person)
        assert (person.decisions <= 3, person.typed) == (True, 1), person
        fresh.wait(lambda state: bool(state["run_id"]), 60)
        fresh.wait(lambda state: not state["process_running"], TRAINED_WITHIN_S)
        run = fresh.get("api/runs")["runs"][0]
        assert (run["status"], run["global_step"], run["name"]) == ("completed", steps, "New LoRA"), run
        to_first_try(page, person)
        assert person.clicks <= 10, person
        expect(page.locator(".og-try-cells img")).to_have_count(6, timeout=SOON_MS)
        captions = page.locator(".og-try-cells figcaption").all_text_contents()
        assert sum("strength" in each for each in captions) == 4
        assert violations(page) == []
        shot(page, f"whole-way-{who.__name__}-{width}")
        publish(page, person, hub)
        assert violations(page) == []


def publish(page: Any, person: Person, hub: FakeHub) -> None:
    """Publish the result from the page of its run, which suggests a private repository and the trigger word."""
    person.press(page.locator("summary", has_text="Publish"))
    expect(page.get_by_label("Repository")).to_have_value("ada/new-lora", timeout=SOON_MS)
    expect(page.locator(".og-hub-form").get_by_label("Trigger word")).to_have_value("zorble")
    assert hub.repositories == {}
    person.press(page.get_by_role("button", name="Publish", exact=True))
    expect(page.locator(".og-hub-line")).to_contain_text("Published", timeout=SOON_MS)
    made = hub.repositories["ada/new-lora"]
    assert made.private
    assert any(name.endswith(".safetensors") for name in made.files)
    assert "zorble" in made.files["README.md"].decode()
