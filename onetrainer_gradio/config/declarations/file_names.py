"""Check settings that become part of a file name: they must not lead to another folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from onetrainer_gradio.config.declarations.catalog import CATALOGUE, pattern
from onetrainer_gradio.config.declarations.setting import Setting
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import Leaf, leaves
from onetrainer_gradio.errors import Finding

MAX_BYTES = 100
"""Maximum length in bytes. The time, the step and the extension follow in the file name."""

EXPECTED = f"a name of at most {MAX_BYTES} bytes without / \\ : or control characters that doesn't begin with a period"

_SEPARATORS = re.compile(r"[/\\:]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def fault(value: str) -> str:
    """Return what is wrong with a text as a part of a file's name; empty if nothing is."""
    if found := _SEPARATORS.search(value):
        return f"contains “{found[0]}”"
    if any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in value):
        return "contains control characters"
    if any(0xD800 <= ord(char) < 0xE000 for char in value):
        return "contains characters that can't be written as UTF-8"
    if value.startswith("."):
        return "begins with a period"
    if _RESERVED.fullmatch(value.strip(" .")):
        return "is a name that Windows reserves"
    size = len(value.encode(errors="surrogatepass"))
    return f"has {size} bytes" if size > MAX_BYTES else ""


def becomes_a_name(setting: Setting, annotation: Any) -> bool:
    """Select settings whose value becomes part of a file name."""
    return setting.file_name


def unusable_names(config: TrainConfig) -> Iterator[Finding]:
    """Yield an error for each setting that can't be part of a file's name."""
    for leaf in leaves(config, becomes_a_name):
        if (finding := unusable_name(leaf)) is not None:
            yield finding


def unusable_name(leaf: Leaf) -> Finding | None:
    """Return an error if a value can't be part of a file's name."""
    wrong = fault(str(leaf.value))
    if not wrong:
        return None
    title = CATALOGUE[pattern(leaf.path)].title or leaf.path
    message = f"{title} becomes part of a file name, but {wrong}"
    return Finding("error", leaf.path, message, leaf.value, EXPECTED, f"Set {title} to {EXPECTED}.")
