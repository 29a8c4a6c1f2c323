"""Measure how long the data of a run with many images is planned, and the memory that this takes.

Reads the headers and captions of all images, then plans one epoch and finds out what must be encoded. Usage:

    python benchmarks/planning.py [--images 100000] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.data.dataset import Collection, Dataset, Reports
from onetrainer_gradio.engine.data.seeds import Loader

SIZES = ((640, 480), (480, 640), (512, 512), (800, 450), (1024, 768))
PER_FOLDER = 1000


class NothingEncoded:
    """The encoder of a run whose images are only planned."""

    size_multiple_px = 64
    latent_factor = 8.0

    def loader(self) -> Loader:
        """Return the facts of a model with one text encoder."""
        return Loader()

    def image_facts(self) -> dict[str, Any]:
        """Return that nothing matters."""
        return {}

    def text_facts(self) -> dict[str, Any]:
        """Return that nothing matters."""
        return {}

    def encode_image(self, image: dict[str, Tensor]) -> dict[str, Tensor]:
        """Raise an error: planning encodes nothing."""
        raise NotImplementedError

    def tokenize(self, caption: str) -> dict[str, Tensor]:
        """Raise an error: planning needs no tokens."""
        raise NotImplementedError

    def encode_text(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        """Raise an error: planning encodes nothing."""
        raise NotImplementedError

    def collate(self, items: Any) -> dict[str, Tensor]:
        """Raise an error: planning makes no batches."""
        raise NotImplementedError


def make_images(folder: Path, count: int) -> None:
    """Fill ``folder`` with links to a few images, PNG and JPEG, and a caption for each."""
    noise = numpy.random.default_rng(0)
    originals = []
    for number, (width, height) in enumerate(SIZES):
        content = noise.integers(0, 255, (height // 8, width // 8, 3), dtype=numpy.uint8)
        for suffix in (".jpg", ".png"):
            path = folder / f"{number}{suffix}"
            Image.fromarray(content).resize((width, height)).save(path)
            originals.append(path)
    for number in range(count):
        inside = folder / "images" / f"{number // PER_FOLDER:04d}"
        inside.mkdir(parents=True, exist_ok=True)
        original = originals[number % len(originals)]
        os.link(original, inside / f"{number:07d}{original.suffix}")
        tags = [f"tag {(number * step) % 1000}" for step in range(1, 30)]
        (inside / f"{number:07d}.txt").write_text(", ".join(["photo", *tags]), encoding="utf-8")


def memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def measure(folder: Path, threads: int) -> None:
    """Print the times and the memory of each part."""
    config = TrainConfig.model_validate(
        {
            "cache_dir": str(folder / "cache"),
            "resolution": "512",
            "batch_size": 4,
            "dataloader_threads": threads,
            "concepts": [
                {
                    "path": str(folder / "images"),
                    "include_subdirectories": True,
                    "image": {"enable_random_flip": True, "enable_random_rotate": True, "random_rotate_max_angle": 3},
                    "text": {"enable_tag_shuffling": True},
                }
            ],
        }
    )
    reports = Reports(lambda warning: print(warning.message), lambda done, total: None, lambda: None)
    began, cpu, before = time.perf_counter(), time.process_time(), memory_mb()

    def report(what: str) -> None:
        wall, used = time.perf_counter() - began, time.process_time() - cpu
        print(f"{what:<42}{wall:>8.1f} s{used:>8.1f} s CPU{memory_mb() - before:>8.0f} MB", flush=True)

    collection = Collection.of(config, reports, validation=False)
    report(f"{len(collection.images)} headers and captions read")
    data = Dataset.open(config, NothingEncoded(), reports, collection=collection, text_fixed=True, dtype=torch.float32, facts={})
    batches = data.plan(0)
    report(f"{len(batches)} batches planned")
    images, texts = data.uncached(data.items(0))
    report(f"{len(images)} images, {len(texts)} captions to encode found")
    for epoch in range(1, 4):
        data.plan(epoch)
    report("3 more epochs planned")


def main() -> None:
    """Make the images and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        make_images(Path(made), asked.images)
        measure(Path(made), asked.threads)


if __name__ == "__main__":
    main()
