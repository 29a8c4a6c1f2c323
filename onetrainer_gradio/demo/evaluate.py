"""Evaluate a model on the toy dataset: known words and the trigger word, checked by pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.demo import MODEL_FOLDER, check, toy_dataset
from onetrainer_gradio.demo.generate import generate, open_pipeline

SEED = 1000
COUNT = 16


@dataclass(frozen=True)
class Evaluation:
    """The results per prompt.

    ``old``: whether each known caption was generated correctly (object, color, place, background). ``new``: whether each
    caption with the trigger word shows the new concept; ``placed``: also at the right place on the right background.
    ``images``: the images of the known prompts, then those of the new ones.
    """

    old: tuple[bool, ...]
    new: tuple[bool, ...]
    placed: tuple[bool, ...]
    images: tuple[toy_dataset.Pixels, ...]

    def lost_since(self, before: Evaluation) -> int:
        """Return how many known prompts were correct before and are wrong now."""
        return sum(was and not now for was, now in zip(before.old, self.old, strict=True))


def evaluate(pipeline: Any, *, seed: int = SEED, count: int = COUNT) -> Evaluation:
    """Generate ``count`` known and ``count`` new prompts; the seed selects the prompts and the noise."""
    old, new = toy_dataset.known_scenes(count, seed), toy_dataset.new_scenes(count, seed)
    generated_old = generate(pipeline, [scene.caption for scene in old], seed=seed)
    generated_new = generate(pipeline, [scene.caption for scene in new], seed=seed)
    return Evaluation(
        tuple(check.shows_scene(image, scene) for image, scene in zip(generated_old, old, strict=True)),
        tuple(check.shows_new(image) for image in generated_new),
        tuple(check.shows_scene(image, scene) for image, scene in zip(generated_new, new, strict=True)),
        (*generated_old, *generated_new),
    )


def evaluate_file(adapter: Path | None = None, *, folder: Path = MODEL_FOLDER, seed: int = SEED) -> Evaluation:
    """Evaluate the model in a folder, optionally with a LoRA file."""
    pipeline = open_pipeline(folder)
    if adapter is not None:
        pipeline.load_lora_weights(str(adapter.parent), weight_name=adapter.name)
    return evaluate(pipeline, seed=seed)
