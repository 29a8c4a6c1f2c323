"""Change the text of captions: find and replace, tags, trigger word. Each line of a caption file is a caption."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from onetrainer_gradio.config.dataset.caption_augmentation import tags_of
from onetrainer_gradio.errors import ConfigValueError

_LINES = re.compile(r"(\r\n|\n|\r)")


@dataclass(frozen=True)
class CaptionEdit:
    """A change of captions; ``kind`` is a key of ``EDITS``.

    ``find`` and ``to`` are texts or single tags, ``tags`` are the tags to add, remove or order. With ``first``, new tags come
    first. ``delimiter`` is the text between tags, without the space after it.
    """

    kind: str
    find: str = ""
    to: str = ""
    tags: tuple[str, ...] = ()
    first: bool = False
    match_case: bool = False
    whole_word: bool = False
    delimiter: str = ","


def edited(text: str, edit: CaptionEdit) -> str:
    """Return the content of a caption file after a change; line ends and unchanged lines stay.

    :raises ConfigValueError: if the change isn't possible.
    """
    check(edit)
    parts = _LINES.split(text)
    change = EDITS[edit.kind]
    # an empty file has one caption, an empty last line of a file has none
    return "".join(
        change(part, edit) if at % 2 == 0 and (part.strip() or len(parts) == 1) else part for at, part in enumerate(parts)
    )


def check(edit: CaptionEdit) -> None:
    """Check a change before it is applied.

    :raises ConfigValueError: if something is missing.
    """
    wrong = ""
    if edit.kind not in EDITS:
        wrong = f"{edit.kind[:100]!r} isn't a change of captions"
    elif edit.kind in ("replace", "rename_tag") and not edit.find.strip():
        wrong = "The text to find is empty"
    elif edit.kind in ("add_tags", "remove_tags") and not any(tag.strip() for tag in edit.tags):
        wrong = "No tag is given"
    elif edit.kind in ("trigger", "rename_tag") and not edit.to.strip():
        wrong = "The new text is empty"
    elif re.search(r"[\r\n\0]", edit.to + "".join(edit.tags)):
        wrong = "A caption is one line"
    elif not edit.delimiter.strip():
        wrong = "The delimiter is empty"
    if wrong:
        raise ConfigValueError(wrong, path="edit", value=edit.kind[:100], expected=", ".join(EDITS))


def _replace(line: str, edit: CaptionEdit) -> str:
    pattern = re.escape(edit.find)
    if edit.whole_word:
        pattern = rf"(?<!\w){pattern}(?!\w)"
    return re.sub(pattern, lambda found: edit.to, line, flags=0 if edit.match_case else re.IGNORECASE)


def _add(line: str, edit: CaptionEdit) -> str:
    known = _tags(line, edit)
    new = [tag.strip() for tag in edit.tags if tag.strip() and tag.strip() not in known]
    return _joined([*new, *known] if edit.first else [*known, *new], edit) if new else line


def _remove(line: str, edit: CaptionEdit) -> str:
    known, unwanted = _tags(line, edit), {tag.strip() for tag in edit.tags}
    kept = [tag for tag in known if tag not in unwanted]
    return line if kept == known else _joined(kept, edit)


def _rename(line: str, edit: CaptionEdit) -> str:
    known = _tags(line, edit)
    named = list(dict.fromkeys(edit.to.strip() if tag == edit.find.strip() else tag for tag in known))
    return line if edit.find.strip() not in known else _joined(named, edit)


def _order(line: str, edit: CaptionEdit) -> str:
    known = _tags(line, edit)
    place = {tag.strip(): at for at, tag in enumerate(edit.tags)}
    ordered = sorted(known, key=lambda tag: place.get(tag, len(place))) if place else sorted(known, key=str.casefold)
    return line if ordered == known else _joined(ordered, edit)


def _trigger(line: str, edit: CaptionEdit) -> str:
    """Put the trigger word first, once: as a tag, or as the first word of a sentence that begins with it already."""
    word = edit.to.strip()
    if re.match(rf"{re.escape(word)}(?!\w)", line.lstrip()):
        return line
    return _joined([word, *(tag for tag in _tags(line, edit) if tag != word)], edit)


def _deduplicate(line: str, edit: CaptionEdit) -> str:
    known = _tags(line, edit)
    unique = list(dict.fromkeys(known))
    return line if unique == known else _joined(unique, edit)


def _set(line: str, edit: CaptionEdit) -> str:
    return edit.to


EDITS: Mapping[str, Callable[[str, CaptionEdit], str]] = MappingProxyType(
    {
        "replace": _replace,
        "add_tags": _add,
        "remove_tags": _remove,
        "rename_tag": _rename,
        "order_tags": _order,
        "trigger": _trigger,
        "remove_duplicates": _deduplicate,
        "set": _set,
    }
)
"""Kind of a change -> how it changes a line."""


def _tags(line: str, edit: CaptionEdit) -> list[str]:
    return [tag for tag in tags_of(line, edit.delimiter) if tag]


def _joined(tags: list[str], edit: CaptionEdit) -> str:
    return f"{edit.delimiter} ".join(tags)
