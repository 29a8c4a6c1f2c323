"""Mark OneTrainer's final model as ours, so that a later run may replace only that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.events import Emit, Event, ModelSaved


@dataclass
class Results:
    """The final model of one run. Other files in its folder aren't marked."""

    config: TrainConfig
    _others: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        folder = Path(self.config.output_model_destination)
        made = marker.read(folder)
        if made is not None:
            with suppress(OSError):
                self._others = frozenset(marker.contents(folder, made).others)

    def foreign_file(self) -> str:
        """Return the file at the destination that no run wrote; empty if there is none."""
        path = Path(self.config.output_model_destination)
        return str(path) if path.is_file() and not path.is_symlink() and not marker.is_our_file(path) else ""

    def marking(self, emit: Emit) -> Emit:
        """Return an ``emit`` that marks the final model before it forwards the event."""

        def marked(event: Event) -> None:
            if isinstance(event, ModelSaved) and event.final:
                self._mark(Path(event.path))
            emit(event)

        return marked

    def _mark(self, path: Path) -> None:
        with suppress(OSError):  # without a marker, the next run with this destination fails at its start, and nothing is lost
            if path.is_dir():
                marker.write(path, marker.MODEL, without=self._others)
            else:
                marker.note_file(path)
