"""Checks of regular expressions in special dropout tags, on the captions of the concept: OneTrainer has no time limit "
"for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.dataset.caption_augmentation import matching, special_tags, tags_of
from onetrainer_gradio.config.dataset.captions import UnreadableTextError, decode_text, split_lines
from onetrainer_gradio.config.dataset.files import is_inside
from onetrainer_gradio.config.declarations.concept import ConceptConfig
from onetrainer_gradio.errors import Finding, PatternError

# The longest tags take the longest time.
_MAX_TAGS = 200
_MAX_BYTES = 100_000
_READING_S = 0.5


def slow_patterns(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a regular expression that takes too long on the captions of its concept."""
    give_up_at = time.monotonic() + _READING_S
    for index, concept in plan.concepts:
        text = concept.text
        if not text.tag_dropout_enable or not text.tag_dropout_special_tags_regex or text.tag_dropout_special_tags_mode == "NONE":
            continue
        tags = {tag for caption in _captions(plan, index, concept, give_up_at) for tag in tags_of(caption, text.tag_delimiter)}
        try:
            matching(_special(plan, concept), sorted(tags, key=len)[-_MAX_TAGS:])
        except PatternError as error:
            yield found(
                "special-tags-slow",
                f"concepts.{index}.text.tag_dropout_special_tags",
                f"{concept.name or f'Concept {index + 1}'}: {error.message[0].lower()}{error.message[1:]}",
                value=text.tag_dropout_special_tags,
                expected=error.expected,
                suggestion=error.suggestion or "Simplify the regular expression.",
            )


def _special(plan: Plan, concept: ConceptConfig) -> list[str]:
    value = concept.text.tag_dropout_special_tags
    if value.endswith((".txt", ".csv")) and is_inside(plan.path(value), plan.roots):
        try:
            return special_tags(plan.path(value))
        except (OSError, UnreadableTextError):  # not a file: a tag that ends like one
            pass
    return tags_of(value, concept.text.tag_delimiter)


def _captions(plan: Plan, index: int, concept: ConceptConfig, give_up_at: float) -> Iterator[str]:
    source, folder = concept.text.prompt_source, plan.folders.get(index)
    if source == "concept":
        yield from _lines(plan, plan.path(concept.text.prompt_path))
        return
    for item in folder.items if folder else ():
        if time.monotonic() > give_up_at:
            return
        if source == "filename":
            yield item.stem
        elif folder and (file := folder.caption_of(item)):
            yield from _lines(plan, file)


def _lines(plan: Plan, file: Path) -> list[str]:
    try:
        if not is_inside(file, plan.roots):
            return []
        with file.open("rb") as opened:
            return split_lines(decode_text(opened.read(_MAX_BYTES)).content)
    except (OSError, UnreadableTextError):
        return []
