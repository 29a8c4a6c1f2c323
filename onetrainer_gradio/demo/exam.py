"""Evaluate a model on the toy dataset: known words and the trigger word, checked by pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.demo import MODEL_FOLDER, check, world
from onetrainer_gradio.demo.paint import open_pipeline, paint

SEED = 1000
COUNT = 16


@dataclass(frozen=True)
class Exam:
    """The results per prompt.

    ``old``: whether each known caption was generated correctly (object, color, place, background). ``new``: whether each
    caption with the trigger word shows the new concept; ``placed``: also at the right place on the right background.
    ``pictures``: the images of the known prompts, then those of the new ones.
    """

    old: tuple[bool, ...]
    new: tuple[bool, ...]
    placed: tuple[bool, ...]
    pictures: tuple[world.Pixels, ...]

    def lost_since(self, before: Exam) -> int:
        """Return how many known prompts were correct before and are wrong now."""
        return sum(was and not now for was, now in zip(before.old, self.old, strict=True))


def examine(pipeline: Any, *, seed: int = SEED, count: int = COUNT) -> Exam:
    """Generate ``count`` known and ``count`` new prompts; the seed selects the prompts and the noise."""
    old, new = world.known_scenes(count, seed), world.new_scenes(count, seed)
    painted_old = paint(pipeline, [scene.caption for scene in old], seed=seed)
    painted_new = paint(pipeline, [scene.caption for scene in new], seed=seed)
    return Exam(
        tuple(check.shows_scene(picture, scene) for picture, scene in zip(painted_old, old, strict=True)),
        tuple(check.shows_new(picture) for picture in painted_new),
        tuple(check.shows_scene(picture, scene) for picture, scene in zip(painted_new, new, strict=True)),
        (*painted_old, *painted_new),
    )


def examine_file(adapter: Path | None = None, *, folder: Path = MODEL_FOLDER, seed: int = SEED) -> Exam:
    """Evaluate the model in a folder, optionally with a LoRA file."""
    pipeline = open_pipeline(folder)
    if adapter is not None:
        pipeline.load_lora_weights(str(adapter.parent), weight_name=adapter.name)
    return examine(pipeline, seed=seed)
