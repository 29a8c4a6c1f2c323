"""Read the original program's configuration (.yaml) next to a single file, as OneTrainer does.

The layout of a model follows from its type. What a file of the same type can differ in is what the denoiser predicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import ModelFormatError

_ENDINGS = (".yaml", ".yml")
_LARGEST_BYTES = 1_000_000
_PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}
_SCALINGS = {"EpsScaling": "epsilon", "VScaling": "v_prediction"}
"""The same in configurations of Stability AI's generative-models."""


def scheduler_changes(file: Path) -> dict[str, str]:
    """Return what the configuration next to ``file`` changes in that of the noise scheduler; nothing if there is none.

    :raises ModelFormatError: if it isn't the configuration of a model.
    """
    found = next((path for ending in _ENDINGS if (path := file.with_suffix(ending)).is_file()), None)
    if found is None:
        return {}
    params = _params(found)
    scaling = str(_at(params, "denoiser_config", "params", "scaling_config").get("target", "")).rpartition(".")[2]
    prediction = _SCALINGS.get(scaling, _PREDICTIONS.get(str(params.get("parameterization", "eps"))))
    if prediction is None:
        raise _unusable(found, f"parameterization is “{params['parameterization']}”")
    return {"prediction_type": prediction}


def _params(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise _unusable(file, "it is larger than 1 MB")
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _unusable(file, str(error)) from error
    params = _at(content, "model", "params")
    if not params:
        raise _unusable(file, "it has no model.params")
    return params


def _at(value: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _unusable(file: Path, why: str) -> ModelFormatError:
    return ModelFormatError(
        f"Can't use “{file}”, the configuration next to the base model: {why}.",
        path="base_model_name",
        value=str(file),
        expected="the configuration of the original program, with model.params",
        suggestion="Rename or remove this file, or replace it with the configuration of the model.",
    )
