"""Read retired values of older files as OneTrainer reads them today."""

from __future__ import annotations

from typing import Any

from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.setting import Settings
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import Shape, fields_of, shapes_of
from onetrainer_gradio.errors import Finding

# path -> names that OneTrainer has removed; it uses the default instead
RETIRED_NAMES = {
    "attention_mechanism": ("DEFAULT", "XFORMERS"),
    "learning_rate_scheduler": ("constant",),
    "output_model_format": ("CKPT",),
    "optimizer.optimizer": ("SIMPLIFIED_AdEMAMix", "LION_PRODIGY_ADV"),
}


def without_retired(document: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Return the document (of the current version) without retired names and empty switches, with notes.

    The first files had switches that were neither on nor off, and each later version kept the null. OneTrainer treats it as
    off.
    """
    findings: list[Finding] = []
    empty: list[str] = []
    document = _cleared(TrainConfig, document, "", findings, empty)
    if empty:
        shown = ", ".join(empty[:3]) + (f" and {len(empty) - 3} more" if len(empty) > 3 else "")
        message = f"{len(empty)} switches in an old file have no value and are read as off: {shown}"
        findings.append(Finding("note", empty[0], message, None, "true or false"))
    return document, findings


def _cleared(kind: type[Settings], document: Any, prefix: str, findings: list[Finding], empty: list[str]) -> Any:
    if not isinstance(document, dict):
        return document  # damaged: the validation names it
    known = shapes_of(kind)
    cleared: dict[str, Any] = {}
    for key, value in document.items():
        path = f"{prefix}{key}"
        shape = known.get(key)
        if isinstance(value, str) and value in RETIRED_NAMES.get(path, ()):
            default = getattr(fields_of(kind)[key].get_default(call_default_factory=True), "value", "")
            title = title_of(path)
            message = f"{title} is {value}, which OneTrainer no longer supports. {default} is used instead, as in OneTrainer"
            findings.append(Finding("warning", path, message, value, "a supported name", f"Choose another value for {title}."))
        elif value is None and shape and shape.annotation is bool:
            empty.append(path)
            cleared[key] = False
        else:
            cleared[key] = _cleared_inside(shape, value, path, findings, empty) if shape else value
    return cleared


def _cleared_inside(shape: Shape, value: Any, path: str, findings: list[Finding], empty: list[str]) -> Any:
    if shape.nested:
        return _cleared(shape.nested, value, f"{path}.", findings, empty)
    if shape.element and isinstance(value, list):
        return [_cleared(shape.element, item, f"{path}.{place}.", findings, empty) for place, item in enumerate(value)]
    if shape.values and isinstance(value, dict):
        return {name: _cleared(shape.values, item, f"{path}.{name}.", findings, empty) for name, item in value.items()}
    return value
