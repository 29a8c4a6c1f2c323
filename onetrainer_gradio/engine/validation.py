"""Compute the validation loss: validation concepts at the same timestep and with the same noise every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from onetrainer_gradio.engine.data.dataset import Batch, Dataset
from onetrainer_gradio.engine.families.family import Draw, Prediction
from onetrainer_gradio.engine.intervals import Interval
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.engine.reporter import RunReporter, StopRequested
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.engine.timesteps import middle_timestep
from onetrainer_gradio.events import ValidationCompleted

NOISE_SEED = 0


@dataclass
class Validation:
    """Compute the validation loss when it is due; without data, do nothing."""

    data: Dataset | None
    interval: Interval
    model: Model
    predict: Callable[[Batch, Draw, Generator, int | None], Prediction]
    loss: Callable[[Prediction, Batch], Tensor]
    reporter: RunReporter

    def maybe(self, state: TrainState) -> None:
        """Compute the loss if it is due after this micro-batch, and count it. A requested stop omits it.

        Each validation is an epoch of the images: with their next variations, and in another order.
        """
        if self.data is None or not self.interval.due(state):
            return
        try:
            self.data.prepare(state.validations)
        except StopRequested:
            return
        finally:
            self.model.place(*self.model.needed())
        self.reporter.enter("validating")
        self._measure(self.data, state.validations, state.global_step)
        state.validations += 1

    @torch.no_grad()
    def _measure(self, data: Dataset, epoch: int, step: int) -> None:
        timestep = middle_timestep(self.model.objective.timesteps)
        generator = Generator(self.model.device)
        sums: dict[int, tuple[float, int]] = {}

        def draw(generator: Generator, batch: int, dynamic_shift: float | None = None) -> Tensor:
            return torch.full((batch,), timestep, dtype=torch.int32, device=generator.device)

        plan = data.plan(epoch)
        for done, items in enumerate(plan, 1):
            generator.manual_seed(NOISE_SEED)
            batch = data.batch(items)
            loss = float(self.loss(self.predict(batch, draw, generator, None), batch))
            concept = items[0].image.concept
            total, count = sums.get(concept, (0.0, 0))
            sums[concept] = total + loss, count + 1
            self.reporter.progress(done, len(plan))
        names = self._names(data)
        losses = {names[concept]: total / count for concept, (total, count) in sums.items()}
        overall = sum(total for total, _ in sums.values()) / sum(count for _, count in sums.values())
        self.reporter.report(ValidationCompleted(global_step=step, losses=losses, total=overall))

    def _names(self, data: Dataset) -> dict[int, str]:
        """Return a name for each concept: its own or its folder's, with a number if two are equal."""
        names: dict[int, str] = {}
        for number, concept in data.concepts.items():
            label = name = concept.name or Path(concept.path).name
            again = 0
            while name in names.values():
                again += 1
                name = f"{label}({again})"
            names[number] = name
        return names
