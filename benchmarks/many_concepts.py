"""Measure the pre-flight check of configurations with thousands of concepts: ``python benchmarks/many_concepts.py [NUMBER ...]``.

Each is checked with all concepts on one folder of images, with folders that don't exist, and without folders.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from onetrainer_gradio.config.check import check
from onetrainer_gradio.config.files.documents import from_document

IMAGES = 100
KINDS = {
    "one folder": lambda number: "images",
    "missing folders": lambda number: f"missing/{number}",
    "no folder": lambda number: "",
}


def measure(place: Path, kind: str, number: int) -> float:
    """Return the seconds to read and check a configuration with this many concepts."""
    concepts = [{"__version": 2, "name": f"concept {at}", "path": KINDS[kind](at), "seed": 1} for at in range(number)]
    started = time.monotonic()
    config, _ = from_document({"concepts": concepts, "base_model_name": str(place), "samples": []})
    check(config, base_folder=place)
    return time.monotonic() - started


def main() -> None:
    """Print a table."""
    numbers = [int(argument) for argument in sys.argv[1:]] or [1000, 8000, 30000]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "images").mkdir()
        for at in range(IMAGES):
            Image.new("L", (512, 512)).save(place / "images" / f"{at}.png")
            (place / "images" / f"{at}.txt").write_text("a cat")
        for number in numbers:
            times = ", ".join(f"{kind}: {measure(place, kind, number):.2f} s" for kind in KINDS)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(f"{number} concepts: {times}; peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
