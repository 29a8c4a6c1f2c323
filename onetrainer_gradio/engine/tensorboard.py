"""Write TensorBoard event files with OneTrainer's tags, from the events of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import scalar

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine import ema
from onetrainer_gradio.engine.failures import translate
from onetrainer_gradio.engine.files import WITHOUT_EMA, safe_name
from onetrainer_gradio.events import Event, RunPlanned, SampleGenerated, StepDone, ValidationCompleted, WarningIssued

FLUSH_S = 15


class TensorBoard:
    """A listener to the events of a run, with one folder of event files per start.

    Charts that can't be written (a full disk, a folder that is gone) are a warning, and the run continues without them.
    """

    def __init__(self, folder: Path, config: TrainConfig, warn: Callable[[WarningIssued], None]) -> None:
        self._folder = folder
        self._config = config
        self._warn = warn
        self._groups: tuple[str, ...] = ()
        self._writer: SummaryWriter | None = None
        with self._survived():
            self._writer = SummaryWriter(str(folder), flush_secs=FLUSH_S)

    def __call__(self, event: Event) -> None:
        """Log what the event reports, if it is one of steps, validation or samples."""
        match event:
            case RunPlanned():
                self._groups = tuple(event.learning_rates)
            case StepDone():
                self._step(event)
            case ValidationCompleted():
                losses = {f"loss/validation_step/{name}": loss for name, loss in event.losses.items()}
                if len(losses) > 1:
                    losses["loss/validation_step/total_average"] = event.total
                self._scalars(losses, event.global_step)
            case SampleGenerated(kind="default") if self._config.samples_to_tensorboard:
                if not Path(event.path).parent.name.endswith(WITHOUT_EMA):
                    self._image(f"sample{event.index} - {safe_name(event.prompt)}", Path(event.path), event.global_step)

    def close(self) -> None:
        """Write everything to disk."""
        with self._survived():
            if self._writer is not None:
                self._writer.close()

    def _step(self, event: StepDone) -> None:
        scalars = {"loss/train_step": event.loss, "smooth_loss/train_step": event.smooth_loss}
        scalars |= {f"lr/{name}": rate for name, rate in zip(self._groups, event.learning_rates, strict=True)}
        if self._config.ema != "OFF":
            scalars["ema_decay"] = ema.decay(event.update_step - 1, self._config.ema_decay)
        # OneTrainer counts the steps of its charts from 0
        self._scalars(scalars, event.global_step - 1)

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        with self._survived():
            if self._writer is not None:  # one event for all of them: each costs as much as a small layer of the model
                entries = [entry for tag, value in values.items() for entry in scalar(tag, value).value]
                self._writer._get_file_writer().add_summary(Summary(value=entries), step)

    def _image(self, tag: str, path: Path, step: int) -> None:
        with self._survived():
            if self._writer is not None:
                with Image.open(path) as image:
                    self._writer.add_image(tag, numpy.asarray(image.convert("RGB")), step, dataformats="HWC")
                self._writer.flush()

    @contextmanager
    def _survived(self) -> Iterator[None]:
        """Handle an error of the writer's thread, which a later call raises, and every call after it."""
        try:
            yield
        except OSError as error:
            self._writer = None
            known = translate(error)
            cause = known.message if known else str(error)
            text = f"TensorBoard files can't be written, and training continues without them: {cause}"
            self._warn(WarningIssued(code="charts", message=text, path=str(self._folder)))
