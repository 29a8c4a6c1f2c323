"""Compare the settings that OneTrainer uses with those that it was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.files.documents import VERSION_KEY
from onetrainer_gradio.events import WarningIssued

CODE = "config_read_back"
_MISSING = object()
_NOT_SENT = ("secrets", "note")  # secrets are never sent; a note is the panel's own


@dataclass(frozen=True)
class Difference:
    """A setting that came back with another value; ``known`` is False if the checkout doesn't have it."""

    path: str
    given: Any
    used: Any
    known: bool = True

    def warned(self) -> WarningIssued:
        """Return the difference as an event."""
        if self.known:
            text = f"{title_of(self.path)} is {_short(self.given)}, but OneTrainer uses {_short(self.used)}."
        else:
            text = (
                f"This OneTrainer version doesn't support “{title_of(self.path)}”. Its value {_short(self.given)} has no effect."
            )
        return WarningIssued(code=CODE, message=text, path=self.path)


def differences(given: Mapping[str, Any], used: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Difference]:
    """Return every setting that OneTrainer uses with another value than it was given.

    Settings that it lacks count only where they differ from ``defaults``: those have no effect either way.
    """
    for key, value in given.items():
        if key not in _NOT_SENT:
            yield from _compare(key, value, used.get(key, _MISSING), defaults.get(key, _MISSING))


def _compare(path: str, given: Any, used: Any, default: Any) -> Iterator[Difference]:
    if path.rpartition(".")[2] == VERSION_KEY:
        return
    if used is _MISSING:
        if default is _MISSING or not _same(given, default):
            yield Difference(path, given, None, known=False)
        return
    if isinstance(given, Mapping) and isinstance(used, Mapping):
        below = default if isinstance(default, Mapping) else {}
        for key, value in given.items():
            yield from _compare(f"{path}.{key}", value, used.get(key, _MISSING), below.get(key, _MISSING))
        return
    if isinstance(given, list) and isinstance(used, list) and len(given) == len(used):
        for index, (one, other) in enumerate(zip(given, used, strict=True)):
            yield from _compare(f"{path}.{index}", one, other, _MISSING)
        return
    if not _same(given, used):
        yield Difference(path, given, used)


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return float(one) == float(other)
    return bool(one == other) or str(one) == str(other)


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
