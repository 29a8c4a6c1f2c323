"""Errors and findings are in plain language: suggestions start with a verb, and messages use the labels of the form."""

import ast
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

import onetrainer_gradio
from onetrainer_gradio.backends.onetrainer import failure
from onetrainer_gradio.config import enums, model_files
from onetrainer_gradio.config.check import CODES
from onetrainer_gradio.config.check.onetrainer import CRASHES
from onetrainer_gradio.config.declarations.labels import name_of
from tests.source import nodes

PACKAGE = Path(onetrainer_gradio.__file__).parent

# Verbs that a suggestion may start with. Add one if none of these fits.
VERBS = frozenset(
    {
        "Accept",
        "Add",
        "Ask",
        "Change",
        "Check",
        "Choose",
        "Clear",
        "Close",
        "Compute",
        "Convert",
        "Copy",
        "Correct",
        "Delete",
        "Download",
        "Enter",
    }
    | {
        "Follow",
        "Free",
        "Install",
        "Log",
        "Lower",
        "Move",
        "Offload",
        "Omit",
        "Open",
        "Put",
        "Raise",
        "Read",
        "Reinstall",
        "Reload",
    }
    | {
        "Remove",
        "Rename",
        "Repair",
        "Replace",
        "Report",
        "Request",
        "Reset",
        "Restore",
        "Resume",
        "Run",
        "Save",
        "Send",
        "Set",
        "Shorten",
        "Simplify",
    }
    | {"Create", "Finish", "Load", "Upload"}
    | {"Start", "Stop", "Train", "Try", "Turn", "Unpack", "Update", "Use", "Wait"}
)
NAMES = {
    member.value
    for kind in vars(enums).values()
    if inspect.isclass(kind) and issubclass(kind, Enum)
    for member in kind
    if name_of(member) != member.value
}
"""Members of enums that the form shows by another name."""

Written = tuple[str, str, str]
"""A text in the source: its place, how it begins, and how it ends; "{" stands for a value that is filled in."""


def enum_names_in(text: str) -> set[str]:
    """Return the enum names in a text that the form shows by a label."""
    return NAMES & set(re.findall(r"\w+", text))


def _ends(node: ast.expr) -> Iterator[tuple[str, str]]:
    """Yield the beginning and the end of each text that an expression can produce."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, node.value
    elif isinstance(node, ast.JoinedStr):
        first, last = (part.value if isinstance(part, ast.Constant) else "{" for part in (node.values[0], node.values[-1]))
        yield str(first), str(last)
    elif isinstance(node, ast.IfExp):
        yield from _ends(node.body)
        yield from _ends(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _ends(value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from ((begin, end) for begin, _ in _ends(node.left) for _, end in _ends(node.right))


def _suggestions(file: Path) -> Iterator[ast.expr]:
    for node in nodes(file):
        if isinstance(node, ast.Call):
            yield from (word.value for word in node.keywords if word.arg == "suggestion")
            if ast.unparse(node.func) == "Finding":
                yield from node.args[5:6]
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "suggestion" for target in node.targets):
            yield node.value


def written() -> Iterator[Written]:
    """Yield every suggestion that is written in the source or in a table."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in _suggestions(file):
            yield from ((f"{file.relative_to(PACKAGE)}:{node.lineno}", *ends) for ends in _ends(node))
    tables = {
        "check/codes.py": [code.remedy for code in CODES.values()],
        "check/onetrainer.py": [crash.suggestion for crash in CRASHES],
        "model_files.py": [
            *(suggestion for _, suggestion in model_files._BROKEN.values()),
            *(suggestion for kinds in model_files._MISPLACED.values() for suggestion in kinds.values()),
        ],
        "onetrainer/failure.py": [suggestion for *_, suggestion in failure._KNOWN],
    }
    yield from ((file, text, text) for file, texts in tables.items() for text in texts)


def messages() -> Iterator[tuple[str, str]]:
    """Yield every literal part of a message or suggestion in the source, with its location."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in nodes(file):
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "message" for target in node.targets):
                expressions: list[ast.expr] = [node.value]
            elif isinstance(node, ast.Call):
                expressions = [word.value for word in node.keywords if word.arg in ("suggestion", "message")]
                name = ast.unparse(node.func).rpartition(".")[2]
                if name in ("found", "Finding"):
                    expressions += node.args[2:3] + node.args[5:6]
                elif name.endswith("Error"):
                    expressions += node.args[:1]
            else:
                continue
            for text in expressions:
                for part in ast.walk(text):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield f"{file.relative_to(PACKAGE)}:{part.lineno}", part.value


@pytest.mark.slow
def test_every_suggestion_is_a_sentence_that_starts_with_a_verb() -> None:
    """Suggestions read like “Set it to 1.”, not like a bare noun; if nothing has to change, there is no suggestion."""
    texts = list(written())
    assert len(texts) > 300
    wrong = [
        f"{place}: {begin!r} … {end!r}"
        for place, begin, end in texts
        if (begin or end) and ((not begin.startswith("{") and begin.split(" ")[0] not in VERBS) or not end.endswith("."))
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.slow
def test_no_message_names_a_choice_by_its_enum_name() -> None:
    """Messages contain “bfloat16”, not ``BFLOAT_16``: users see the label."""
    wrong = [f"{place}: {text}" for place, text in messages() if enum_names_in(text)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", ["BFLOAT_16", "LORA", "SDP", "NEVER"])
def test_the_names_are_those_that_the_form_shows_otherwise(name: str) -> None:
    assert name in NAMES
