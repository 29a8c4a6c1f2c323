"""Find the presets and the choices of settings that no engine of this panel supports."""

from __future__ import annotations

from collections.abc import Iterable

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.errors import ConfigError, ConfigValueError, Finding
from onetrainer_gradio.service.engines.selection import AUTO, Engines
from onetrainer_gradio.service.settings.configs import ConfigStore


class Availability:
    """Check presets and choices with the engines. It has no state."""

    def __init__(self, engines: Engines, configs: ConfigStore) -> None:
        self._engines = engines
        self._configs = configs

    def presets(self) -> list[dict[str, str]]:
        """Return ``kind``, ``name`` and ``why`` of each preset and saved configuration that no engine can train."""
        found = []
        for item in self._configs.list():
            why = self._why_not(item["kind"], item["name"])
            if why:
                found.append({"kind": item["kind"], "name": item["name"], "why": why})
        return found

    def _why_not(self, kind: str, name: str) -> str:
        try:
            config, _ = from_document(self._configs.read(name, kind))
        except (ConfigError, OSError) as error:
            return str(error)
        engines = self._engines.engine_support(config)
        return "" if any(engine["can"] for engine in engines) else str(engines[0]["why"])

    def choices(self, config: TrainConfig, paths: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return path -> choice -> reason, for each choice that no engine accepts together with the other settings.

        If an engine is selected, only that one is checked. Settings with all choices available are omitted.

        :raises ConfigValueError: if a path has no choices.
        """
        return {path: gone for path in dict.fromkeys(paths) if (gone := self._unavailable(config, path))}

    def _unavailable(self, config: TrainConfig, path: str) -> dict[str, str]:
        entry = CATALOGUE.get(path)
        if entry is None or not entry.offered or not entry.choices:
            raise ConfigValueError(f"{path!r} has no choices", path="path", value=path, expected="a setting with choices")
        found = {value: self._reason(apply(config, {path: value}), path) for value in entry.choices}
        return {value: why for value, why in found.items() if why}

    def _reason(self, config: TrainConfig, path: str) -> str:
        """Return the first reason against the value at ``path``; empty if an engine supports it."""
        choice = self._engines.choice()
        asked = [engine for engine in self._engines.all() if choice in (AUTO, engine.id)]
        reasons = [
            next((item.message for item in self._engines.findings(config, engine) if _against(item, path)), "")
            for engine in asked
        ]
        return reasons[0] if all(reasons) else ""


def _against(item: Finding, path: str) -> bool:
    return item.severity == "error" and item.path == path
