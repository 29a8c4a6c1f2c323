"""Generate the screenshots of each group of settings in docs/images/settings, for ``python docs/screenshots.py`` or alone.

``python docs/settings_screenshots.py`` generates all of them, and with names of groups (``ema noise``) only theirs. They show the
settings of presets.
"""

from __future__ import annotations

import io
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Locator, Page

from onetrainer_gradio.config.declarations.groups import GROUPS

TITLES = {group.key: group.title for group in GROUPS}
FOLDER = Path(__file__).resolve().parent / "images" / "settings"
# the window is as high as the longest group, so that no fixed element covers a part of it
SIZES = {"wide": (1240, 2600), "narrow": (390, 4200)}
# longer groups are cropped
LONGEST = {"wide": 1100, "narrow": 1500}

# Turns on everything that shows further settings.
ALL_ON = {
    "validation": True,
    "multi_gpu": True,
    "tensorboard": True,
    "debug_mode": True,
    "ema": "GPU",
    "masked_training": True,
    "samples": [{"prompt": "a photo of <my-style>", "seed": 1}],
    "additional_embeddings": [{"placeholder": "<my-style>", "token_count": 4, "initial_embedding_text": "oil on canvas"}],
    "cloud": {"enabled": True, "create": True},
}

# preset -> changes to it, and the groups that show it
SCENES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "SD 1.5/LoRA 8 GB": (
        ALL_ON,
        (
            *(
                "general",
                "validation",
                "device",
                "multi_gpu",
                "tensorboard",
                "debug",
                "model",
                "weights",
                "quantization",
                "output",
            ),
            *("data", "concepts", "optimization", "optimizer", "text_encoder", "embeddings", "resolution", "precision", "ema"),
            *("unet", "noise", "masked", "loss", "layers", "sampling", "backup", "lora", "additional_embeddings", "cloud"),
            *("cloud_remote", "cloud_results", "cloud_machine"),
        ),
    ),
    "PixArt/Sigma embedding 16 GB": ({}, ("embedding",)),
    "Flux 1/fine-tune 24 GB": ({}, ("transformer", "text_encoder_2")),
    "SD 3/3.5 large fine-tune 24 GB": ({}, ("text_encoder_3",)),
    "HiDream/Full LoRA 16 GB": ({"training_method": "FINE_TUNE"}, ("text_encoder_4",)),
    "Wuerstchen/v2 fine-tune 16 GB": ({}, ("prior",)),
    "Ideogram 4/fine-tune 24 GB": ({}, ("unconditional_transformer",)),
}
# group of the elements of a list -> the group of the list, the title of the section in an entry
ELEMENTS = {
    "concept": ("concepts", "General"),
    "concept_image": ("concepts", "Image augmentation"),
    "concept_text": ("concepts", "Text augmentation"),
    "sample": ("sampling", ""),
    "additional_embedding": ("additional_embeddings", ""),
}

SECTIONS = frozenset(element for element, (_, title) in ELEMENTS.items() if title)

# Hides errors that only mean that this machine lacks the GPU or the models.
QUIET = ".og-errors, .og-note, .og-item-wrap .og-look, .og-reset, .og-was { display: none !important }"


def call(url: str, method: str, path: str, body: Any = None) -> Any:
    """Send a request to the panel and return its response."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


def settings_screenshots(browser: Browser, url: str, neutral: str, places: list[list[str]], only: Sequence[str] = ()) -> None:
    """Save all of them, or those of some groups; the script ``neutral`` replaces the texts in ``places``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    before = call(url, "GET", "api/config/current")
    concepts = before["config"]["concepts"]
    for preset, (changes, every) in SCENES.items():
        groups = [group for group in every if not only or group in only]
        if not groups:
            continue
        config = call(url, "GET", f"api/config/presets/{urllib.parse.quote(preset)}")["config"]
        call(url, "PUT", "api/config/current", {"config": config | {"concepts": concepts} | changes, "name": preset})
        for size, (width, height) in SIZES.items():
            context = browser.new_context(viewport={"width": width, "height": height})
            context.add_init_script("localStorage.setItem('og-level', 'expert')")
            page = context.new_page()
            page.goto(url)
            page.locator(".og-rows > *").first.wait_for()
            page.add_style_tag(content=QUIET)
            for group in groups:
                take(page, group, size, neutral, places)
                for element, (owner, title) in ELEMENTS.items():
                    if owner == group:
                        take_element(page, element, title, size, neutral, places)
            context.close()
    call(url, "PUT", "api/config/current", {"config": before["config"], "name": before["name"]})


def take(page: Page, group: str, size: str, neutral: str, places: list[list[str]]) -> None:
    """Save a screenshot of a group."""
    if size == "wide":
        page.locator(f".og-nav-groups [data-group={group}]").click()
    else:
        page.locator("#og-group").select_option(group)
    page.mouse.move(0, 0)
    page.locator("#og-group-title", has_text=re.compile(f"^{re.escape(TITLES[group])}$")).wait_for()
    page.wait_for_timeout(500)  # the effect of its settings is loaded
    keep(page, page.locator(".og-group-card"), group, size, neutral, places)


def take_element(page: Page, element: str, title: str, size: str, neutral: str, places: list[list[str]]) -> None:
    """Save a screenshot of the first entry of a list, or of one section in it."""
    card = page.locator(".og-item-wrap").first
    if not card.locator(".og-card-body").is_visible():
        card.locator("summary").first.click()
    place = card
    if title:
        place = card.locator(".og-section").filter(has=page.locator("summary span", has_text=title)).first
        if place.get_attribute("open") is None:
            place.locator("summary").first.click()
    page.wait_for_timeout(300)
    keep(page, place, element, size, neutral, places)


def keep(page: Page, place: Locator, name: str, size: str, neutral: str, places: list[list[str]]) -> None:
    """Write one screenshot; a form has few colors, so that it is small without loss."""
    page.evaluate(neutral, places)
    page.evaluate("document.activeElement?.blur()")
    image = Image.open(io.BytesIO(place.screenshot())).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, LONGEST[size])))
    if name in SECTIONS:
        image = ImageOps.expand(image, 16, image.getpixel((1, 1)))  # a section ends where its text does
    few = image.quantize(48, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).convert("RGB")
    few.save(FOLDER / f"{name}-{size}.webp", lossless=True, quality=100, method=6)


def main() -> None:
    """Generate only these screenshots."""
    import os
    import shutil
    import sys

    from playwright.sync_api import sync_playwright
    from screenshots import FLAGS, NAMES, NEUTRAL, PLACES, panel

    path = os.environ.get("ONETRAINER_GRADIO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with panel("--demo") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        settings_screenshots(browser, url, NEUTRAL, PLACES, sys.argv[1:])
        browser.close()


if __name__ == "__main__":
    main()
