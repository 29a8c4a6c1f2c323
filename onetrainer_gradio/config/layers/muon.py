"""Select the weights that Muon trains: those whose names contain or match one of its patterns."""

from __future__ import annotations

from collections.abc import Sequence

from onetrainer_gradio.config import patterns as regular
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR
from onetrainer_gradio.errors import ConfigValueError

PATH = "optimizer.muon_hidden_layers"


def hidden_layer_patterns(config: TrainConfig) -> tuple[str, ...]:
    """Return the patterns of the settings, or those of the model type if there are none; empty if it has none either."""
    given = config.optimizer.muon_hidden_layers
    if given is None:
        return MODELS.get(config.model_type, UNFAMILIAR).hidden_layers
    return tuple(pattern for part in given.split(",") if (pattern := part.strip()))


def hidden_weights(config: TrainConfig, names: Sequence[str]) -> frozenset[int]:
    """Return the positions of the names that a pattern matches. A pattern of the model type is a part of a name.

    :raises ConfigValueError: if a pattern isn't a regular expression, or the patterns take too long.
    """
    patterns = hidden_layer_patterns(config)
    regex = config.optimizer.muon_adam_regex and config.optimizer.muon_hidden_layers is not None
    if not regex:
        return frozenset(at for at, name in enumerate(names) if any(pattern in name for pattern in patterns))
    chosen: frozenset[int] = frozenset()
    for pattern, fits in zip(patterns, regular.fits(patterns, names, "search", seconds=regular.RUN_S), strict=True):
        if isinstance(fits, str):
            raise ConfigValueError(
                f"“{pattern}” in {title_of(PATH)} isn't a valid regular expression: {fits}",
                path=PATH,
                value=config.optimizer.muon_hidden_layers,
                expected="regular expressions, separated by commas",
                suggestion=f"Correct the pattern, or turn off {title_of('optimizer.muon_adam_regex')}.",
            )
        chosen |= fits
    return chosen
