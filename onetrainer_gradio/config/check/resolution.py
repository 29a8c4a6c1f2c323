"""Resolutions of training and samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.dataset.buckets import Resolution, empty_side, parse_resolution, rounded, smallest_edge
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import TimeUnit
from onetrainer_gradio.errors import Finding

SMALLEST = 8
_LATENT = 8
# pixels that sides of a picture that is painted are multiples of, where it is not 8
_PAINTED = {"unet": 8, "prior": 128}
# frames of a clip = this times a number, plus 1
_FRAMES = 4


def training(plan: Plan) -> Iterator[Finding]:
    """Both sides of a training picture are rounded to the type's multiple."""
    value, resolution = plan.config.resolution, plan.resolution
    if resolution is None:
        expected = "512, or 512,768, or 768x512"
        message = f"Resolution is {value!r}"
        yield found("resolution-syntax", "resolution", message, value=value, expected=expected, suggestion="Write it like that.")
        return
    multiple = plan.facts.pixel_multiple
    if min(resolution.numbers) < SMALLEST:
        message = f"Resolution {min(resolution.numbers)} is too small"
        expected, suggestion = f"at least {SMALLEST}", "Write 512."
        yield found("resolution-small", "resolution", message, value=value, expected=expected, suggestion=suggestion)
    elif (finding := too_small(plan, "resolution", value, resolution)) is not None:
        yield finding
    elif any(number % multiple for number in resolution.numbers):
        better = _written(resolution, multiple)
        bucketed = plan.config.aspect_ratio_bucketing or resolution.fixed is not None
        # without buckets an edge length is used as it is
        trained = f"pictures of {plan.facts.label} are trained in {better if bucketed else value}"
        message = f"{value} is no multiple of {multiple}, so {trained}" if bucketed else f"{trained}, no multiple of {multiple}"
        yield found(
            "resolution-multiple",
            "resolution",
            message,
            value=value,
            expected=f"multiples of {multiple}",
            suggestion=f"Write {better}.",
            fix={"resolution": better},
        )
    if resolution.fixed is not None and plan.config.aspect_ratio_bucketing:
        yield found(
            "setting-ignored",
            "aspect_ratio_bucketing",
            f"All pictures are cropped to {value}: aspect ratio buckets are not used with one fixed size",
            value=True,
            expected="one edge length, or buckets off",
            suggestion="Turn the buckets off, or write one number as resolution to keep shapes.",
            fix={"aspect_ratio_bucketing": False},
        )


def resolutions_too_small(config: TrainConfig) -> Iterator[Finding]:
    """Every resolution of a configuration, its concepts' included, that leads to a side of 0 pixels."""
    plan = Plan(config, Path())
    named = [("resolution", config.resolution)]
    named += [
        (f"concepts.{index}.image.resolution_override", concept.image.resolution_override)
        for index, concept in plan.concepts
        if concept.image.enable_resolution_override
    ]
    for path, value in named:
        resolution = parse_resolution(value)
        finding = too_small(plan, path, value, resolution) if resolution is not None else None
        if finding is not None:
            yield finding


def too_small(plan: Plan, path: str, value: str, resolution: Resolution) -> Finding | None:
    """Sides are rounded to the type's multiple, and a side must not become 0."""
    multiple, bucketing = plan.facts.pixel_multiple, plan.config.aspect_ratio_bucketing
    number = empty_side(resolution, multiple, bucketing=bucketing)
    if number is None:
        return None
    fixed = resolution.fixed is not None
    least = multiple if fixed else smallest_edge(multiple)
    why = "this side becomes" if fixed else "the narrowest aspect ratio buckets become"
    better = ("x" if fixed else ",").join(str(max(rounded(side, multiple), least)) for side in resolution.numbers)
    return found(
        "resolution-small",
        path,
        f"Resolution {number} is too small for {plan.facts.label}: sides are rounded to multiples of {multiple}, "
        f"so {why} 0 pixels wide",
        value=value,
        expected=f"at least {least}",
        suggestion=f"Set it to {better}" + ("." if fixed else ", or turn aspect ratio bucketing off."),
        fix={path: better},
    )


def _written(resolution: Resolution, multiple: int) -> str:
    separator = "," if resolution.fixed is None else "x"
    return separator.join(str(rounded(number, multiple)) for number in resolution.numbers)


def frames(plan: Plan) -> Iterator[Finding]:
    """Clips are encoded four frames at a time, after the first."""
    if "video" not in plan.facts.traits:
        return
    value = plan.config.frames.strip()
    numbers = [part.strip() for part in value.split(",")]
    if not all(is_whole(number) and int(number) > 0 for number in numbers):
        expected = "a number such as 25"
        message = f"Frames is {value!r}"
        yield found("frames", "frames", message, value=value, expected=expected, suggestion="Write 25.", fix={"frames": "25"})
    elif any((int(number) - 1) % _FRAMES for number in numbers):
        better = ",".join(str(rounded(int(number) - 1, _FRAMES) + 1 if int(number) > 1 else 1) for number in numbers)
        yield found(
            "frames",
            "frames",
            f"{value} frames do not fill the blocks of {_FRAMES} that follow the first frame",
            value=value,
            expected="1, 5, 9, 13, 17, 21, 25 ...",
            suggestion=f"Write {better}.",
            fix={"frames": better},
            severity="warning",
        )


def samples(plan: Plan) -> Iterator[Finding]:
    """Sizes of the pictures that are painted on the way."""
    painted = max(_PAINTED.get(plan.denoiser, 16), plan.facts.pixel_multiple if plan.facts.pixel_multiple in (32, 128) else 0)
    for index, sample in enumerate(plan.config.samples or ()):
        if not sample.enabled:
            continue
        for side in ("width", "height"):
            path, value = f"samples.{index}.{side}", getattr(sample, side)
            if value % painted:
                better = rounded(value, painted)
                yield found(
                    "sample-size",
                    path,
                    f"The {side} of a sample is {value}",
                    value=value,
                    expected=f"a multiple of {painted}",
                    suggestion=f"Write {better}.",
                    fix={path: better},
                    severity="error" if value % _LATENT else "warning",
                )


def sample_files(plan: Plan) -> Iterator[Finding]:
    """An inpainting sample needs its picture and its mask."""
    for index, sample in enumerate(plan.config.samples or ()):
        if not (sample.enabled and sample.sample_inpainting and "mask_input" in plan.facts.traits):
            continue
        for name in ("base_image_path", "mask_image_path"):
            value = getattr(sample, name)
            if not value or not os.path.isfile(plan.path(value)):
                yield found(
                    "file-missing",
                    f"samples.{index}.{name}",
                    f"An inpainting sample has no file {value!r}",
                    value=value,
                    expected="an existing picture",
                    suggestion="Choose the picture, or turn inpainting off for this sample.",
                )


def no_samples(plan: Plan) -> Iterator[Finding]:
    """Nothing will be seen of the run before it ends."""
    if not any(sample.enabled for sample in plan.config.samples or ()) and plan.config.sample_after_unit is not TimeUnit.NEVER:
        message = "There are no sample prompts, so no pictures will be painted during the run"
        yield found("no-samples", "samples", message, expected="a prompt or two", suggestion="Add a sample prompt.")
