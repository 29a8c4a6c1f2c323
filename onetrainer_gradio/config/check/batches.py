"""Checks whether the images of each bucket fill a batch."""

from __future__ import annotations

from collections.abc import Iterator

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.errors import Finding


def too_few_images(plan: Plan) -> Iterator[Finding]:
    """Yield an error if all images together don't fill one batch."""
    if not all(folder.complete for folder in plan.folders.values()):
        return
    total = sum(plan.per_epoch(index, concept) for index, concept in plan.concepts)
    size = plan.config.batch_size
    if 0 < total < plan.batch:
        fits = max(1, total // plan.devices)
        yield found(
            "batch-larger-than-dataset",
            "batch_size",
            f"The {total} images per epoch don't fill a batch of {plan.batch}",
            value=size,
            expected=f"at most {fits}",
            suggestion=f"Set {title_of('batch_size')} to {fits}, or raise {title_of('concepts[].balancing')} of a concept.",
            fix={"batch_size": fits} if fits * plan.devices <= total else None,
        )


def buckets(plan: Plan) -> Iterator[Finding]:
    """Yield a finding if images are dropped from the epoch because their bucket doesn't fill a batch."""
    counts, batch = plan.buckets, plan.batch
    if not counts or sum(counts.values()) < batch:
        return
    starved = {shape: number for shape, number in counts.items() if number < batch}
    if not starved:
        return
    smallest = max(1, min(starved.values()) // plan.devices)
    lost, total = sum(starved.values()), sum(counts.values())
    shapes = ", ".join(f"{number} in {width}x{height}" for (height, width), number in sorted(starved.items())[:3])
    more = f" and {len(starved) - 3} more buckets" if len(starved) > 3 else ""
    all_lost = len(starved) == len(counts)
    message = (
        f"No bucket has enough images for a batch of {batch} ({shapes}{more}), so an epoch would have no steps"
        if all_lost
        else f"{lost} of {total} images are never trained, because their buckets don't fill a batch of {batch} ({shapes}{more})"
    )
    yield found(
        "bucket-empty" if all_lost else "bucket-smaller-than-batch",
        "batch_size",
        message,
        value=plan.config.batch_size,
        expected="a batch size that every bucket can fill",
        suggestion=f"Set {title_of('batch_size')} to {smallest} and raise {title_of('gradient_accumulation_steps')} instead, "
        "or crop the images to fewer aspect ratios.",
        fix={"batch_size": smallest},
    )


def unread_images(plan: Plan) -> Iterator[Finding]:
    """Yield a note if the time ran out before all images were read: buckets and broken files are unknown then."""
    for index, folder in plan.folders.items():
        read, path = plan.sizes[index], f"concepts.{index}.path"
        if folder.complete and read.complete:
            continue
        looked = len(read.sizes) + len(read.broken)
        of = f"of {len(folder.images)}" if folder.complete else f"of more than {len(folder.images)}"
        yield found(
            "images-unread",
            path,
            f"Only {looked} {of} images could be read in the available time. The next check continues",
            value=plan.at(path),
            expected="a check of every image",
            suggestion="",
        )
        return
