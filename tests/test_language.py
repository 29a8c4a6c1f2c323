"""Texts are in plain American English: no retired word is anywhere that a user or a contributor reads."""

from pathlib import Path

import pytest

from tests.language import ROOT, Text, area, found, hits, python_texts, script_texts

# Areas that still hold retired words, by kind of text. An area that is clean leaves the list; the aim is an empty list.
# `python -m tests.language PATH` prints what is left and what to use instead.
PENDING: set[tuple[str, str]] = set()


@pytest.fixture(scope="module")
def by_area() -> dict[tuple[str, str], list[str]]:
    """Every retired word in the project, by area and kind."""
    areas: dict[tuple[str, str], list[str]] = {}
    for hit in hits():
        areas.setdefault((area(hit.path), hit.kind), []).append(str(hit))
    return areas


def test_no_text_holds_a_retired_word(by_area: dict[tuple[str, str], list[str]]) -> None:
    new = [line for place, lines in by_area.items() if place not in PENDING for line in lines]
    assert not new, "\n" + "\n".join(new)


def test_an_area_that_is_clean_leaves_the_list(by_area: dict[tuple[str, str], list[str]]) -> None:
    clean = sorted(PENDING - by_area.keys())
    assert not clean, f"take these lines out of PENDING: {clean}"


@pytest.mark.parametrize(
    ("words", "retired"),
    [
        ("Pictures of the run", ["Pictures"]),
        ("on two graphics\n    cards", ["graphics cards"]),
        ("a run that is going on", ["going on"]),
        ("Write 0", ["Write 0"]),
        ("the colours", ["colours"]),
        ("see the model card", []),
        ("graphics_card", []),
        ("the kind `picture` and its color", []),
        ("Train on images. The run continues.", []),
    ],
)
def test_words_are_found_in_whole_only(words: str, retired: list[str]) -> None:
    assert [hit.word for hit in found(Text(ROOT / "README.md", 1, "text", words))] == retired


MODULE = """
class A:
    b: int
    'A field.'

raise E(f"Step {1 + 2} of " f"{x} steps", "Two " "parts", key="a_key")  # a comment
"""

SCRIPT = r"""
const a = 'A text'; // it's a comment
/* 'none' */
b(x => x.replace(/['\"`]/g, ''), `Step ${c({ d: 'Inner text' })} of ${e}`);
f("The last", 'key');
"""


def test_an_f_string_is_one_text_and_a_docstring_is_marked(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text(MODULE, encoding="utf-8")
    texts = [(text.line, text.kind, text.words) for text in python_texts(source)]
    assert sorted(texts) == [(4, "docstrings", "A field."), (6, "text", "Step {} of {} steps"), (6, "text", "Two parts")]


def test_literals_of_scripts_are_read_without_comments_and_expressions(tmp_path: Path) -> None:
    source = tmp_path / "a.js"
    source.write_text(SCRIPT, encoding="utf-8")
    texts = [(text.line, text.words) for text in script_texts(source) if text.words]
    assert sorted(texts) == [(2, "A text"), (4, "Inner text"), (4, "Step {} of {}"), (5, "The last")]
