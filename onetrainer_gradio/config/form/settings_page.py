"""Write the page that lists every setting: ``python -m onetrainer_gradio.config.form.settings_page``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.catalog import CATALOGUE, NOT_OFFERED, Entry, in_form_order, reason
from onetrainer_gradio.config.declarations.groups import GROUPS, TABS, Group
from onetrainer_gradio.config.declarations.labels import LABELS, label_of, within_sentence
from onetrainer_gradio.config.declarations.visibility import METHOD, MODEL_TYPE, Only
from onetrainer_gradio.config.declarations.walk import is_nullable, without_none
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.form.schema import plain
from onetrainer_gradio.config.optimizers import OPTIMIZERS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"

# Folder of the groups' screenshots, relative to the page.
IMAGE_FOLDER = "images/settings"

_INTRODUCTION = """# Settings

This page lists all settings in the order of the form. Names, nesting and defaults are the same as in OneTrainer, so you can open
files from either program in the other. *Basic* settings are always visible. *Advanced* and *expert* settings appear when you
choose that detail level. Settings that don't apply to your model, method, adapter type or optimizer are hidden. Saved files and
the API use `names like this`.

This page is generated from the declarations in `onetrainer_gradio/config/`. Don't edit it. Run
`python -m onetrainer_gradio.config.form.settings_page` instead.
"""

# Up to this many model types or values are listed.
_NAMED = 6

_KINDS: dict[str, str] = {
    "path": "path",
    "list": "list",
    "secret": "secret",
    "map": "names and values",
    "pairs": "names and values",
}
_TYPES: dict[Any, str] = {bool: "on, off", int: "integer", float: "number", str: "text"}


def settings_page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION, *_contents()]
    for tab in TABS:
        parts.append(f"## {tab.title}\n")
        parts.extend(_group(group) for group in GROUPS if group.tab == tab.key)
    parts += ["## Model types\n", _model_types(), "## Optimizers\n", _optimizers(), "## Choice labels\n", _choices()]
    parts += ["## Settings without a control\n", _without_control()]
    return "\n".join(parts)


def _contents() -> Iterator[str]:
    for tab in TABS:
        groups = [group for group in GROUPS if group.tab == tab.key]
        yield f"- **{tab.title}**: " + ", ".join(f"[{group.title}](#{_anchor(group)})" for group in groups)
    yield "- [Model types](#model-types), [Optimizers](#optimizers), [Choice labels](#choice-labels),"
    yield "  [Settings without a control](#settings-without-a-control)\n"


def _anchor(group: Group) -> str:
    return f"group-{group.key.replace('_', '-')}"


def _group(group: Group) -> str:
    entries = [entry for entry in in_form_order() if entry.offered and not entry.nested and entry.setting.group == group.key]
    inside = f" Each element of `{group.of}` has these settings." if group.of else ""
    rows = (_row(entry) for entry in entries)
    heading = f'<a id="{_anchor(group)}"></a>\n\n### {group.title}\n\n{group.about}{inside}\n'
    return "\n".join([heading, _images(group), _table(("Setting", "Default", "Values", "Level", "Description"), rows)])


def _images(group: Group) -> str:
    """Return the group's screenshots for a wide and a narrow window. ``docs/settings_screenshots.py`` takes them."""
    sizes = (("wide", 620, "in a wide window"), ("narrow", 190, "on a phone"))
    shown = (
        f'<img src="{IMAGE_FOLDER}/{group.key}-{size}.webp" width="{width}" alt="{group.title} {where}">'
        for size, width, where in sizes
    )
    return " ".join(shown) + "\n"


def _row(entry: Entry) -> tuple[str, ...]:
    name = f"**{entry.title}**<br>`{entry.path}`"
    does = " ".join([entry.setting.help, *_conditions(entry)])
    return name, _default(entry), _values(entry), entry.setting.level, does


def _default(entry: Entry) -> str:
    value = plain(entry.default)
    if entry.found:
        return "random" if entry.setting.fresh else "detected"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "empty" if value in (None, "", [], {}) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _values(entry: Entry) -> str:
    setting = entry.setting
    if entry.choices:
        listed = ", ".join(f"`{choice}`" if choice else "empty" for choice in entry.choices)
        named = listed if len(entry.choices) <= 2 * _NAMED else f"{len(entry.choices)} choices, see below"
        return f"{named}, by {_titles(setting.choices_by.by)}" if setting.choices_by else named
    bounds = [
        f"{word} {value:g}"
        for word, value in (("from", setting.ge), ("above", setting.gt), ("to", setting.le), ("below", setting.lt))
        if value is not None
    ]
    bare = without_none(entry.annotation)
    kind = _KINDS.get(setting.kind) or _TYPES.get(bare, "text")
    unit = f" ({setting.unit})" if setting.unit else ""
    infinite = ", or inf" if setting.infinite else ""
    empty = ", or empty" if is_nullable(entry.annotation) and setting.kind != "list" else ""
    return " ".join([kind, *bounds]) + unit + infinite + empty


def _titles(paths: Iterable[str]) -> str:
    return " and ".join(within_sentence(CATALOGUE[path].title) for path in paths)


def _conditions(entry: Entry) -> Iterator[str]:
    """Yield when the setting applies, one sentence per condition."""
    for path, only in entry.conditions.items():
        full = path[1:] if path.startswith("/") else f"{entry.element}[].{path}" if entry.element else path
        names = [_value_words(full, value) for value in only.values]
        if full == MODEL_TYPE:
            yield from _types(only, names)
        elif full == METHOD:
            yield f"*Only for the method {' or '.join(names)}.*"
        elif full == "optimizer.optimizer":
            yield f"*Used by {', '.join(names)}.*" if len(names) < len(OPTIMIZERS) else "*Used by all optimizers.*"
        elif names == ["on"]:
            yield f"*Only if {CATALOGUE[full].title} is on.*"
        else:
            yield f"*Only if {CATALOGUE[full].title} is {' or '.join(names)}.*"


def _types(only: Only, names: list[str]) -> Iterator[str]:
    if len(names) < len(MODELS):
        yield f"*Only for {only.words}{': ' + ', '.join(names) if len(names) <= _NAMED else ''}.*"


def _value_words(path: str, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return CATALOGUE[path].choice_label(plain(value))


def _model_types() -> str:
    rows = (
        (
            f"**{facts.label}**<br>`{name.value}`",
            ", ".join(facts.parts),
            "<br>".join(f"{method.value}: {', '.join(formats)}" for method, formats in facts.formats.items()),
            ", ".join(facts.layer_presets),
            str(facts.pixel_multiple),
        )
        for name, facts in MODELS.items()
    )
    return _table(
        ("Model type", "Components", "Methods and output formats", "Layer filter presets", "Image size: multiple of"), rows
    )


def _optimizers() -> str:
    rows = (
        (
            f"**{label_of(type(name), name)}**<br>`{name.value}`",
            ", ".join(f"`{key}` {_short(value)}" for key, value in facts.defaults.items()),
            ", ".join(
                words
                for words, holds in (
                    ("adapts the learning rate itself", facts.adaptive),
                    ("doesn't need a learning rate scheduler", facts.schedule_free),
                    ("supports Fused back pass", facts.fused_back_pass),
                )
                if holds
            ),
        )
        for name, facts in OPTIMIZERS.items()
    )
    return _table(("Optimizer", "Parameters and defaults", "Properties"), rows)


def _short(value: Any) -> str:
    shown = plain(value)
    if isinstance(shown, bool):
        return "on" if shown else "off"
    return "empty" if shown in (None, {}) else f"{shown:g}" if isinstance(shown, float) else str(shown)


def _choices() -> str:
    listed = {
        kind: words
        for kind, words in LABELS.items()
        if kind.__name__ not in ("ModelType", "Optimizer") and any(without_none(e.annotation) is kind for e in CATALOGUE.values())
    }
    rows = (
        (_used_by(kind), "<br>".join(f"`{value}`: {label}" for value, label in words.items())) for kind, words in listed.items()
    )
    return _table(("Settings", "Values"), rows)


def _used_by(kind: type[Enum]) -> str:
    paths = [entry.path for entry in CATALOGUE.values() if without_none(entry.annotation) is kind and entry.offered]
    return ", ".join(f"`{path}`" for path in paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _without_control() -> str:
    paths = [path for path, entry in CATALOGUE.items() if not entry.offered]
    lead = f"These {len(paths)} settings are kept as they are in a file, but the form has no control for them.\n"
    by_reason: Mapping[str, list[str]] = {
        words: [path for path in paths if reason(path) == words] for words in NOT_OFFERED.values()
    }
    rows = ((words, ", ".join(f"`{path}`" for path in found)) for words, found in by_reason.items())
    return "\n".join([lead, _table(("Reason", "Settings"), rows)])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
