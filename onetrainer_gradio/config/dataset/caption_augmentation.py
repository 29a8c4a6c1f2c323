"""Augment captions at random: drop tags, change capitalization, shuffle tags.

The steps and their order are OneTrainer's. Only ``special_tags`` reads a file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from onetrainer_gradio.config import patterns as regular
from onetrainer_gradio.config.dataset.captions import read_text, split_lines
from onetrainer_gradio.config.declarations.concept import ConceptTextConfig

Draw = Callable[[str], Random]
"""Return the random generator of a step: ``drop_tags``, ``capitalize_tags`` or ``shuffle_tags``."""

_MARKS = frozenset(r".^$*+?{}[]|()\\")


def tags_of(caption: str, delimiter: str) -> list[str]:
    """Return the tags of a caption without surrounding whitespace."""
    return [tag.strip() for tag in caption.split(delimiter)] if delimiter else [caption.strip()]


def is_augmented(text: ConceptTextConfig) -> bool:
    """Return whether captions with these settings can differ from what is in the file."""
    return _drops(text) or text.caps_randomize_lowercase or _capitalizes(text) or text.enable_tag_shuffling


def augment_caption(
    caption: str, text: ConceptTextConfig, draw: Draw, special: Sequence[str] | frozenset[str] | None = None
) -> str:
    """Return one random augmentation of a caption.

    ``special`` are the special tags if they come from a file; a set of them isn't evaluated as regular expressions any more.

    :raises PatternError: if special tags are regular expressions that take too long.
    """
    if _drops(text):
        listed = tags_of(text.tag_dropout_special_tags, text.tag_delimiter) if special is None else special
        caption = _dropped(caption, text, draw("drop_tags"), listed)
    if text.caps_randomize_lowercase:
        caption = caption.lower()
    if _capitalizes(text):
        caption = _capitalized(caption, text, draw("capitalize_tags"))
    if text.enable_tag_shuffling:
        kept, moved = _divided(caption, text)
        draw("shuffle_tags").shuffle(moved)
        caption = f"{text.tag_delimiter} ".join([*kept, *moved])
    return caption


def special_tags(path: Path) -> list[str]:
    """Return the special tags of a file: the lines of a .txt, the first column of a .csv.

    :raises OSError: if it can't be read.
    :raises UnreadableTextError: if it isn't text.
    """
    content = read_text(path).content
    if path.suffix == ".csv":
        return [row[0] for row in csv.reader(io.StringIO(content, newline="")) if row]
    lines = split_lines(content)
    return lines if lines[-1] else lines[:-1]


def _drops(text: ConceptTextConfig) -> bool:
    return text.tag_dropout_enable and text.tag_dropout_probability > 0


def _capitalizes(text: ConceptTextConfig) -> bool:
    return text.caps_randomize_enable and text.caps_randomize_probability > 0


def _divided(caption: str, text: ConceptTextConfig) -> tuple[list[str], list[str]]:
    """Return the tags that stay in place, and the others; empty ones are dropped."""
    tags = [tag for tag in tags_of(caption, text.tag_delimiter) if tag]
    return tags[: text.keep_tags_count], tags[text.keep_tags_count :]


def _dropped(caption: str, text: ConceptTextConfig, random: Random, special: Sequence[str] | frozenset[str]) -> str:
    kept, others = _divided(caption, text)
    if text.tag_dropout_special_tags_regex and not isinstance(special, frozenset):
        special = matching(special, others)
    named = frozenset(special)
    protected: Mapping[str, Callable[[str], bool]] = {
        "WHITELIST": lambda tag: tag in named,
        "BLACKLIST": lambda tag: tag not in named,
    }
    stays: Callable[[str], bool] = protected.get(text.tag_dropout_special_tags_mode, lambda tag: False)
    chance = text.tag_dropout_probability
    if text.tag_dropout_mode == "FULL":
        if random.random() < chance:
            others = [tag for tag in others if stays(tag)]
    else:
        weighted = text.tag_dropout_mode == "RANDOM WEIGHTED"
        chances = [chance * ((at + 1) / len(others)) if weighted else chance for at in range(len(others))]
        others = [tag for tag, each in zip(others, chances, strict=True) if random.random() > each or stays(tag)]
    return f"{text.tag_delimiter} ".join([*kept, *others])


def matching(patterns: Sequence[str], tags: Sequence[str], *, seconds: float = regular.CHECK_S) -> list[str]:
    """Return the tags that a pattern matches completely, with or without brackets; an invalid pattern is plain text.

    :raises PatternError: when the patterns take too long.
    """
    texts = tuple(dict.fromkeys(text for tag in tags for text in (tag, tag.strip("()"))))
    expressions = [pattern for pattern in patterns if _MARKS & set(pattern)]
    fitted = set(patterns) - set(expressions)
    for pattern, fits in zip(expressions, regular.fits(expressions, texts, "fullmatch", seconds=seconds), strict=True):
        fitted |= {pattern} if isinstance(fits, str) else {texts[at] for at in fits}
    return [tag for tag in tags if tag in fitted or tag.strip("()") in fitted]


_CAPITALS: Mapping[str, Callable[[str, Random], str]] = {
    "capslock": lambda tag, random: tag.upper(),
    "title": lambda tag, random: " ".join(word.capitalize() for word in tag.split()),
    "first": lambda tag, random: tag.capitalize(),
    "random": lambda tag, random: "".join(random.choice((letter.upper(), letter.lower())) for letter in tag),
}


def _capitalized(caption: str, text: ConceptTextConfig, random: Random) -> str:
    kinds = [kind.strip() for kind in text.caps_randomize_mode.split(",")]
    tags = []
    for tag in tags_of(caption, text.tag_delimiter):
        if random.random() < text.caps_randomize_probability:
            change = _CAPITALS.get(random.choice(kinds))
            tag = change(tag, random) if change else tag
        tags.append(tag)
    return text.tag_delimiter.join(tags)
