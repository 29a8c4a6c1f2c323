"""Read the resolution of a run or a concept."""

from __future__ import annotations

from onetrainer_gradio.config.dataset import buckets
from onetrainer_gradio.config.dataset.buckets import Resolution
from onetrainer_gradio.errors import ConfigValueError

SMALLEST = 8


def parse(text: str) -> Resolution:
    """Parse ``512``, ``512, 768`` or ``768x512`` (width x height).

    :raises ConfigValueError: for anything else.
    """
    found = buckets.parse_resolution(text)
    if found is None or min(found.numbers) < SMALLEST:
        raise ConfigValueError(
            f"The resolution “{text}” isn't valid.",
            path="resolution",
            value=text,
            expected="one edge length (512), several (512,768), or width x height (768x512), each at least 8",
            suggestion="Enter Resolution as 512, as 512,768 or as 768x512.",
        )
    return found
