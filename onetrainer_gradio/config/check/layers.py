"""Checks for layer filters whose patterns fail, match nothing, or differ from their preset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.formats import FUSED_FORMATS
from onetrainer_gradio.config.check.parts import QUANTIZED
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.enums import DataType, ModelFormat, ModelType, TrainingMethod
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.layers.filter import Selection, fitting, patterns_of, select
from onetrainer_gradio.errors import ConfigValueError, Finding, PatternError

_FILTERED_METHODS = frozenset({TrainingMethod.FINE_TUNE, TrainingMethod.LORA})
_CUSTOM = "custom"


@dataclass(frozen=True)
class Filter:
    """A layer filter: its place in the configuration and its settings."""

    prefix: str
    patterns: str
    regex: bool
    preset: str


def _filters(plan: Plan) -> Iterator[Filter]:
    """Yield the filters in use: the training's, and the quantization's if a component is quantized."""
    config = plan.config
    if config.training_method in _FILTERED_METHODS:
        yield Filter("", config.layer_filter, config.layer_filter_regex, config.layer_filter_preset)
    if any(plan.at(f"{name}.weight_dtype") in QUANTIZED | {DataType.FLOAT_8} for name in plan.loaded):
        quantization = config.quantization
        preset = quantization.layer_filter_preset
        yield Filter("quantization.", quantization.layer_filter, quantization.layer_filter_regex, preset)


# The patterns of a model type with unknown layers are matched against the layers of this one.
_STAND_IN = ModelType.STABLE_DIFFUSION_XL_10_BASE


def pattern_errors(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a pattern that isn't a valid regular expression, takes too long, or has invisible characters."""
    try:
        names = layer_names(plan.config.model_type)
    except KeyError:
        names = layer_names(_STAND_IN)
    for item in _filters(plan):
        path = f"{item.prefix}layer_filter"
        unseen = next((pattern for pattern in patterns_of(item.patterns) if not pattern.isprintable()), None)
        if unseen is not None:
            yield _no_pattern(path, item, unseen, "it has invisible characters", "Enter the pattern again.")
            continue
        try:
            fits = fitting(names, item.patterns, item.regex)
        except PatternError as error:
            yield found(
                "layer-filter-slow",
                path,
                error.message,
                value=item.patterns,
                expected=error.expected,
                suggestion=error.suggestion or "Simplify it.",
            )
            continue
        for pattern, each in zip(patterns_of(item.patterns), fits, strict=True):
            if isinstance(each, str):
                yield _no_pattern(
                    path, item, pattern, each, f"Correct the pattern, or turn off {title_of(f'{item.prefix}layer_filter_regex')}."
                )
                break


def _no_pattern(path: str, item: Filter, pattern: str, problem: str, suggestion: str) -> Finding:
    return found(
        "layer-filter-regex",
        path,
        f"The pattern “{pattern}” in {title_of(path)} isn't valid: {problem}",
        value=item.patterns,
        expected="regular expressions, separated by commas" if item.regex else "parts of layer names, separated by commas",
        suggestion=suggestion,
    )


def nothing_matches(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for a pattern that matches no layer. OneTrainer fails on it after it loaded the model."""
    names = layer_names(plan.config.model_type)
    for item in _filters(plan):
        selection = _selected(names, item)
        if selection is None or not selection.unused:
            continue
        path = f"{item.prefix}layer_filter"
        kept = selection.used
        unused = " and ".join(f"“{pattern}”" for pattern in selection.unused)
        model = f"the {plan.called(plan.denoiser)} of {plan.facts.label}"
        fits = dict(zip(patterns_of(item.patterns), fitting(names, item.patterns, item.regex), strict=True))
        late = all(fits[pattern] for pattern in selection.unused)
        yield found(
            "layer-filter-no-match",
            path,
            (f"An earlier pattern already matches the layers of {unused}" if late else f"{unused} matches no layer of {model}"),
            value=item.patterns,
            expected="patterns that match layers, such as " + _examples(plan),
            suggestion=f"Remove {unused}." if kept else f"Choose a preset, or clear {title_of(path)} to select all layers.",
            fix={path: ",".join(kept)} if kept else _preset_fix(plan, item.prefix, "full"),
            severity="" if not item.prefix and plan.config.training_method is TrainingMethod.LORA else _severity(selection),
        )


def _severity(selection: Selection) -> str:
    """Return the severity outside of LoRA training, where only an empty selection is an error."""
    return "warning" if selection.layers else ""


def _examples(plan: Plan) -> str:
    names = {pattern for preset in plan.facts.layer_presets.values() for pattern in preset.patterns if not preset.regex}
    return " or ".join(sorted(names)[:2]) or "attention"


def _selected(names: tuple[str, ...], item: Filter) -> Selection | None:
    if not item.patterns.isprintable():
        return None
    try:
        return select(names, item.patterns, item.regex)
    except ConfigValueError:  # reported by another finding
        return None


def preset_mismatch(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if the patterns differ from their preset: only the patterns are used."""
    names = layer_names(plan.config.model_type)
    for item in _filters(plan):
        path = f"{item.prefix}layer_filter_preset"
        if item.preset == _CUSTOM:
            continue
        preset, actual = plan.facts.layer_presets.get(item.preset), _selected(names, item)
        if actual is None:
            continue
        if preset is None:
            known = ", ".join([*plan.facts.layer_presets, _CUSTOM])
            message = f"{plan.facts.label} has no layer preset “{item.preset}”, so only the patterns are used"
            yield _mismatch(path, message, item.preset, known, {path: _CUSTOM} if item.patterns else {path: "full"})
        elif set(select(names, ",".join(preset.patterns), preset.regex).layers) != set(actual.layers):
            used = f"“{item.patterns}” is used" if item.patterns else "the filter is empty, so all layers are used"
            message = f"{title_of(path)} is {item.preset}, but {used}"
            fix = _preset_fix(plan, item.prefix, item.preset)
            yield _mismatch(path, message, item.preset, "the patterns of the preset", fix)


def _mismatch(path: str, message: str, value: str, expected: str, fix: dict[str, object]) -> Finding:
    suggestion = "Choose the preset again to use its patterns, or choose custom to keep yours."
    return found("layer-preset-mismatch", path, message, value=value, expected=expected, suggestion=suggestion, fix=fix)


def _preset_fix(plan: Plan, prefix: str, name: str) -> dict[str, object]:
    preset = plan.facts.layer_presets[name]
    return {
        f"{prefix}layer_filter_preset": name,
        f"{prefix}layer_filter": ",".join(preset.patterns),
        f"{prefix}layer_filter_regex": preset.regex,
    }


def partly_fused(plan: Plan) -> Iterator[Finding]:
    """Yield an error if a format fuses query, key and value and only some of them are trained."""
    config = plan.config
    fused = config.training_method is TrainingMethod.LORA and config.output_model_format in FUSED_FORMATS
    item = next(_filters(plan), None)
    if not fused or item is None or not plan.facts.fusions:
        return
    selection = _selected(layer_names(config.model_type), item)
    if selection is None or selection.unused:
        return
    layers, known = set(selection.layers), layer_names(config.model_type)
    for fusion in plan.facts.fusions:
        first = f"{fusion.block}.0."
        leaves = [f"{first}{leaf}" for leaf in fusion.leaves if f"{first}{leaf}" in known]
        taken = [leaf for leaf in leaves if leaf in layers]
        if taken and len(taken) < len(leaves):
            missing = ", ".join(leaf.removeprefix(first) for leaf in leaves if leaf not in layers)
            yield found(
                "layer-filter-partly-fused",
                "layer_filter",
                f"{title_of('output_model_format')} {name_of(config.output_model_format)} stores {', '.join(fusion.leaves)} of "
                f"{fusion.block} as one layer, but {title_of('layer_filter')} doesn't match {missing}",
                value=config.layer_filter,
                expected="all of them, or a format that stores them separately",
                suggestion=f"Set {title_of('output_model_format')} to {name_of(ModelFormat.DIFFUSERS_LORA)}, "
                f"or add the missing layers to {title_of('layer_filter')}.",
                fix={"output_model_format": "DIFFUSERS_LORA"},
            )
            return
