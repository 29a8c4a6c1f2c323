"""Batches: are there enough pictures of one shape to fill them."""

from __future__ import annotations

from collections.abc import Iterator

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.errors import Finding


def too_few_pictures(plan: Plan) -> Iterator[Finding]:
    """All pictures together do not fill one batch."""
    if not all(folder.complete for folder in plan.folders.values()):
        return
    total = sum(plan.per_epoch(index, concept) for index, concept in plan.concepts)
    size = plan.config.batch_size
    if 0 < total < plan.batch:
        fits = max(1, total // plan.devices)
        yield found(
            "batch-larger-than-dataset",
            "batch_size",
            f"{total} pictures an epoch do not fill one batch of {plan.batch}",
            value=size,
            expected=f"at most {fits}",
            suggestion=f"Set the batch size to {fits}, or raise the balance of a concept.",
            fix={"batch_size": fits} if fits * plan.devices <= total else None,
        )


def buckets(plan: Plan) -> Iterator[Finding]:
    """A batch holds pictures of one shape; what does not fill one is left out of the epoch."""
    counts, batch = plan.buckets, plan.batch
    if not counts or sum(counts.values()) < batch:
        return
    starved = {shape: number for shape, number in counts.items() if number < batch}
    if not starved:
        return
    smallest = max(1, min(starved.values()) // plan.devices)
    lost, total = sum(starved.values()), sum(counts.values())
    shapes = ", ".join(f"{number} in {width}x{height}" for (height, width), number in sorted(starved.items())[:3])
    more = f" and {len(starved) - 3} more shapes" if len(starved) > 3 else ""
    all_lost = len(starved) == len(counts)
    message = (
        f"No shape has enough pictures for a batch of {batch}: there would be no step at all ({shapes}{more})"
        if all_lost
        else f"{lost} of {total} pictures are never trained: their shapes do not fill a batch of {batch} ({shapes}{more})"
    )
    yield found(
        "bucket-empty" if all_lost else "bucket-smaller-than-batch",
        "batch_size",
        message,
        value=plan.config.batch_size,
        expected="a batch that every shape can fill",
        suggestion=f"Set the batch size to {smallest} (accumulation steps make up for it), or crop the pictures to fewer shapes.",
        fix={"batch_size": smallest},
    )


def unread_pictures(plan: Plan) -> Iterator[Finding]:
    """The time for reading ran out, so shapes and broken files are not known."""
    for index, folder in plan.folders.items():
        read, path = plan.sizes[index], f"concepts.{index}.path"
        if folder.complete and read.complete:
            continue
        looked = len(read.sizes) + len(read.broken)
        of = f"of {len(folder.pictures)}" if folder.complete else f"of more than {len(folder.pictures)}"
        yield found(
            "images-unread",
            path,
            f"Only {looked} {of} pictures were looked at in the time there was",
            value=plan.at(path),
            expected="a look at every picture",
            suggestion="Nothing needs to change; check again to look at more of them.",
        )
        return
