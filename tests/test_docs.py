"""The docs point at things that exist: links, headings, images, modules and commands."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from tests.language import READERS, files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "onetrainer_gradio"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/README.md",
    PACKAGE / "demo/README.md",
]

LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
# a module or folder of the project in code style, without placeholders
MODULE = re.compile(
    r"`((?:onetrainer_gradio|config|engine|backends|service|api|ui|assets|tests|benchmarks|docs|configs)/[\w/]*(?:\.py|\.js|/))`"
)
COMMAND = re.compile(r"python -m (onetrainer_gradio(?:\.\w+)+)|python ((?:docs|benchmarks)/\w+\.py)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its headings as GitHub links them, and explicit ones."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    names = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return names | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def broken_links(page: Path) -> Iterator[str]:
    """Yield the links of a page that lead nowhere in the project."""
    for match in LINK.finditer(page.read_text("utf-8")):
        link = match[1] or match[2]
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.slow
def test_every_image_of_the_docs_is_whole_and_small() -> None:
    """None is empty or cut off, and none makes a clone of the repository slow."""
    images = [path for path in sorted((ROOT / "docs" / "images").rglob("*")) if path.is_file()]
    assert images
    for path in images:
        assert 0 < path.stat().st_size < 250_000, path
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_modules_and_commands_in_the_text_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    missing = [
        name for name in MODULE.findall(text) if not any((place / name).exists() for place in (ROOT, PACKAGE, PACKAGE / "ui"))
    ]
    for module, script in COMMAND.findall(text):
        path = ROOT / (script or module.replace(".", "/") + ".py")
        if not path.exists() and not path.with_suffix("").is_dir():
            missing.append(module or script)
    assert missing == []


def test_every_page_is_in_the_index_of_the_readme() -> None:
    """A reader finds each page from the README, recipes by way of the contributing guide."""
    linked = {
        (page.parent / link).resolve() for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") for link in linked_pages(page)
    }
    assert set((ROOT / "docs").glob("*.md")) <= linked


def linked_pages(page: Path) -> set[str]:
    """Return the pages that a page links to."""
    return {match[1].partition("#")[0] for match in LINK.finditer(page.read_text("utf-8")) if match[1]}


LABEL = re.compile(r"\*\*([^*\n]+)\*\*")
EMPHASIS = {"A preset is an overlay"}


@cache
def shown_texts(*kinds: str) -> str:
    """Return the strings of the page and of the package in one text, in lower case and with plain quotes."""
    texts = [text.words for path in files(("onetrainer_gradio",)) if path.suffix in kinds for text in READERS[path.suffix](path)]
    shared = (PACKAGE / "vocabulary.json").read_text("utf-8")
    return plain("\n".join([*texts, shared]))


def plain(text: str) -> str:
    """Return a text in lower case with plain quotes."""
    return re.sub(r"\s+", " ", text.translate(str.maketrans("“”’‘", "\"\"''"))).lower()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_page_has_the_labels_that_its_guide_names() -> None:
    texts = shown_texts(".js", ".py")
    labels = set(LABEL.findall((ROOT / "docs/page.md").read_text("utf-8"))) - EMPHASIS
    assert sorted(label for label in labels if plain(label).rstrip(".:") not in texts) == []


# headings that describe what a user sees instead of quoting a message
SYMPTOMS = {
    "The output file contains the result of a later run",
    "The folder of a run was deleted while it trained",
    "A file of the data folder is damaged",
    "Leftover files: .unfinished-…, .replaced-…",
    "What saving and clearing never touch",
}


@pytest.mark.slow
def test_the_messages_in_troubleshooting_are_those_of_the_program() -> None:
    texts = shown_texts(".js", ".py")
    headings = set(re.findall(r"^### (.*)$", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.MULTILINE)) - SYMPTOMS
    # a heading may list several messages, and "…" stands for a name or value
    pieces = {piece.strip(' .:"') for heading in headings for piece in re.split("…|, (?:and )?(?=is |has |the )", plain(heading))}
    assert sorted(piece for piece in pieces if piece and piece not in texts) == []
