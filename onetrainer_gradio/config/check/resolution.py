"""Checks of the resolutions of training and samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.dataset.buckets import Resolution, empty_side, parse_resolution, rounded, smallest_edge
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import TimeUnit
from onetrainer_gradio.errors import Finding

SMALLEST = 8
_LATENT = 8
# Sides of a sample are multiples of this number of pixels; 16 for other denoisers.
_SAMPLED = {"unet": 8, "prior": 128}
# The number of frames of a clip is a multiple of this, plus 1.
_FRAMES = 4


def training(plan: Plan) -> Iterator[Finding]:
    """Yield a finding if the training resolution isn't valid or isn't a multiple of what the model type requires."""
    value, resolution, setting = plan.config.resolution, plan.resolution, title_of("resolution")
    if resolution is None:
        expected = "512, or 512,768, or 768x512"
        message = f"{setting} “{value}” isn't valid"
        suggestion = f"Enter {setting} as 512, as 512,768 or as 768x512."
        yield found("resolution-syntax", "resolution", message, value=value, expected=expected, suggestion=suggestion)
        return
    multiple = plan.facts.pixel_multiple
    if min(resolution.numbers) < SMALLEST:
        message = f"{setting} must be at least {SMALLEST}, not {min(resolution.numbers)}"
        expected, suggestion = f"at least {SMALLEST}", f"Set {setting} to 512."
        yield found("resolution-small", "resolution", message, value=value, expected=expected, suggestion=suggestion)
    elif (finding := too_small(plan, "resolution", value, resolution)) is not None:
        yield finding
    elif any(number % multiple for number in resolution.numbers):
        better = _written(resolution, multiple)
        bucketed = plan.config.aspect_ratio_bucketing or resolution.fixed is not None
        # without buckets, an edge length is used as it is
        message = f"{setting} {value} isn't a multiple of {multiple}"
        message += f", so images are trained at {better}" if bucketed else f", but images are trained at {value}"
        yield found(
            "resolution-multiple",
            "resolution",
            message,
            value=value,
            expected=f"multiples of {multiple}",
            suggestion=f"Set {setting} to {better}.",
            fix={"resolution": better},
        )
    if resolution.fixed is not None and plan.config.aspect_ratio_bucketing:
        yield found(
            "setting-ignored",
            "aspect_ratio_bucketing",
            f"{title_of('aspect_ratio_bucketing')} has no effect, because {setting} {value} crops all images to one size",
            value=True,
            expected="one edge length, or no bucketing",
            suggestion=f"Turn off {title_of('aspect_ratio_bucketing')}, or set {setting} to one number to keep aspect ratios.",
            fix={"aspect_ratio_bucketing": False},
        )


def resolutions_too_small(config: TrainConfig) -> Iterator[Finding]:
    """Yield an error for each resolution of a configuration and its concepts that leads to a side of 0 pixels."""
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
    """Return an error if a side is rounded to 0 pixels."""
    multiple, bucketing = plan.facts.pixel_multiple, plan.config.aspect_ratio_bucketing
    number = empty_side(resolution, multiple, bucketing=bucketing)
    if number is None:
        return None
    fixed = resolution.fixed is not None
    least = multiple if fixed else smallest_edge(multiple)
    why = "this side becomes" if fixed else "the narrowest buckets become"
    better = ("x" if fixed else ",").join(str(max(rounded(side, multiple), least)) for side in resolution.numbers)
    return found(
        "resolution-small",
        path,
        f"{title_of(path)} {number} is too small for {plan.facts.label}: sides are rounded to multiples of {multiple}, "
        f"so {why} 0 pixels wide",
        value=value,
        expected=f"at least {least}",
        suggestion=f"Set {title_of(path)} to {better}"
        + ("." if fixed else f", or turn off {title_of('aspect_ratio_bucketing')}."),
        fix={path: better},
    )


def _written(resolution: Resolution, multiple: int) -> str:
    separator = "," if resolution.fixed is None else "x"
    return separator.join(str(rounded(number, multiple)) for number in resolution.numbers)


def frames(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for a number of frames that isn't valid, or doesn't fill the blocks of four after the first frame."""
    if "video" not in plan.facts.traits:
        return
    value = plan.config.frames.strip()
    numbers = [part.strip() for part in value.split(",")]
    if not all(is_whole(number) and int(number) > 0 for number in numbers):
        expected = "a number such as 25"
        message = f"{title_of('frames')} “{value}” isn't a whole number above 0"
        suggestion = f"Set {title_of('frames')} to 25."
        yield found("frames", "frames", message, value=value, expected=expected, suggestion=suggestion, fix={"frames": "25"})
    elif any((int(number) - 1) % _FRAMES for number in numbers):
        better = ",".join(str(rounded(int(number) - 1, _FRAMES) + 1 if int(number) > 1 else 1) for number in numbers)
        yield found(
            "frames",
            "frames",
            f"{title_of('frames')} {value} doesn't fill the blocks of {_FRAMES} after the first frame",
            value=value,
            expected="1, 5, 9, 13, 17, 21, 25 ...",
            suggestion=f"Set {title_of('frames')} to {better}.",
            fix={"frames": better},
            severity="warning",
        )


def samples(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for the size of a sample that isn't a multiple of what the model generates."""
    multiple = max(_SAMPLED.get(plan.denoiser, 16), plan.facts.pixel_multiple if plan.facts.pixel_multiple in (32, 128) else 0)
    for index, sample in enumerate(plan.config.samples or ()):
        if not sample.enabled:
            continue
        for side in ("width", "height"):
            path, value = f"samples.{index}.{side}", getattr(sample, side)
            if value % multiple:
                better = rounded(value, multiple)
                yield found(
                    "sample-size",
                    path,
                    f"{title_of(path)} {value} of sample {index + 1} isn't a multiple of {multiple}",
                    value=value,
                    expected=f"a multiple of {multiple}",
                    suggestion=f"Set {title_of(path)} to {better}.",
                    fix={path: better},
                    severity="error" if value % _LATENT else "warning",
                )


def sample_files(plan: Plan) -> Iterator[Finding]:
    """Yield an error for an inpainting sample without its base image or mask image."""
    for index, sample in enumerate(plan.config.samples or ()):
        if not (sample.enabled and sample.sample_inpainting and "mask_input" in plan.facts.traits):
            continue
        for name in ("base_image_path", "mask_image_path"):
            path, value = f"samples.{index}.{name}", getattr(sample, name)
            if not value or not os.path.isfile(plan.path(value)):
                yield found(
                    "file-missing",
                    path,
                    f"Sample {index + 1} uses inpainting, but its {title_of(path).lower()} "
                    + (f"{value} doesn't exist" if value else "isn't set"),
                    value=value,
                    expected="an existing image",
                    suggestion=f"Set {title_of(path)}, or turn off {title_of('samples[].sample_inpainting')} for this sample.",
                )


def no_samples(plan: Plan) -> Iterator[Finding]:
    """Yield a note if no samples will be generated during the run."""
    if not any(sample.enabled for sample in plan.config.samples or ()) and plan.config.sample_after_unit is not TimeUnit.NEVER:
        message = "No sample prompt is enabled, so the run generates no samples"
        yield found("no-samples", "samples", message, expected="one or more prompts", suggestion="Add or enable a sample prompt.")
