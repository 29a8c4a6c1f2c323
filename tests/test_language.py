"""Texts are in plain American English: no retired word is anywhere that a user or a contributor reads."""

from pathlib import Path

import pytest

from tests.language import ROOT, Text, found, hits, python_texts, remark_hits, remark_texts, script_texts


@pytest.mark.slow
def test_no_text_holds_a_retired_word() -> None:
    """`python -m tests.language` prints the same list."""
    found_now = [str(hit) for hit in hits()]
    assert not found_now, "\n" + "\n".join(found_now)


@pytest.mark.slow
def test_no_docstring_of_a_test_and_no_comment_holds_a_retired_word() -> None:
    """Contributors read them; all files take 0.6 s of CPU time."""
    found_now = [str(hit) for hit in remark_hits()]
    assert not found_now, "\n" + "\n".join(found_now)


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


REMARKS = '''"""The module."""
TEXT = """
    not a docstring # nor a comment
"""
call(
    """an argument"""
)


def f():
    r"""A docstring
    of two lines."""
    a = "# text"  # one
    # comment
    b = 1
    # another
'''


def test_docstrings_and_comments_are_read_without_parsing(tmp_path: Path) -> None:
    """Adjacent comments are one text; strings that are values or arguments are none."""
    source = tmp_path / "a.py"
    source.write_text(REMARKS, encoding="utf-8")
    texts = [(text.line, " ".join(text.words.split())) for text in remark_texts(source, docstrings=True)]
    assert texts == [(1, "The module."), (11, "A docstring of two lines."), (13, "one comment"), (16, "another")]
