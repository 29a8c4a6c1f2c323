"""Generate samples during training, and write them with their parameters."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError

from onetrainer_gradio.config import SampleConfig, TrainConfig
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import names_of
from onetrainer_gradio.config.enums import NoiseScheduler
from onetrainer_gradio.config.image_parameters import parameters_text
from onetrainer_gradio.engine.ema import EMA
from onetrainer_gradio.engine.failures import translate
from onetrainer_gradio.engine.families.family import SampleRequest
from onetrainer_gradio.engine.files import WITHOUT_EMA, safe_name, timestamp, whole_file
from onetrainer_gradio.engine.reporter import RunReporter, StopRequested
from onetrainer_gradio.engine.samplers import SAMPLERS
from onetrainer_gradio.engine.staging import unused
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.events import SampleGenerated

EXTENSIONS = {"PNG": ".png", "JPG": ".jpg"}
_PIL_FORMATS = {"PNG": "PNG", "JPG": "JPEG"}


def sample_of(params: dict[str, Any]) -> SampleConfig:
    """Return the sample that a command requests.

    :raises ConfigValueError: if a parameter is invalid.
    """
    try:
        sample = SampleConfig.model_validate(params)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise ConfigValueError(
            f"{title_of(f'samples[].{path}')} isn't valid: {first['msg']}", path=path, value=first.get("input")
        ) from error
    check(sample)
    return sample


def check(sample: SampleConfig) -> None:
    """Check that a sample can be generated.

    :raises ConfigValueError: with the path of an invalid parameter.
    """
    for name, value, allowed, expected in (
        ("width", sample.width, sample.width >= 8 and sample.width % 8 == 0, "a multiple of 8"),
        ("height", sample.height, sample.height >= 8 and sample.height % 8 == 0, "a multiple of 8"),
        ("diffusion_steps", sample.diffusion_steps, 1 <= sample.diffusion_steps < 1000, "between 1 and 999"),
        ("noise_scheduler", sample.noise_scheduler, sample.noise_scheduler in SAMPLERS, names_of(map(NoiseScheduler, SAMPLERS))),
    ):
        if not allowed:
            title = title_of(f"samples[].{name}")
            message = f"{title} must be {expected}, not {value}."
            raise ConfigValueError(message, path=name, value=value, expected=expected, suggestion=f"Change {title}.")


@dataclass
class SampleRunner:
    """Generate samples with the current weights between two steps."""

    config: TrainConfig
    generate: Callable[[SampleRequest], Any]
    """Returns a sample as a Pillow image, or None if it was ended early."""
    ema: EMA | None
    reporter: RunReporter
    images: Sequence[Path] = ()
    """The training images."""

    def sample_default(self, state: TrainState, command_id: str = "") -> int:
        """Generate the enabled prompts of the configuration. Return the number of samples.

        :raises StopRequested: if a stop is requested meanwhile.
        """
        samples = [(index, sample) for index, sample in enumerate(self.config.samples or ()) if sample.enabled]
        with self.ema.applied() if self.ema else nullcontext():
            made = self._round(samples, state, "default", ema=self.ema is not None, command_id=command_id)
        if self.ema and self.config.non_ema_sampling:
            made += self._round(samples, state, "default", ema=False, command_id=command_id, postfix=WITHOUT_EMA)
        return made

    def sample_custom(self, sample: SampleConfig, state: TrainState, command_id: str) -> Path:
        """Generate one sample with custom parameters.

        :raises StopRequested: if a stop is requested meanwhile.
        """
        with self.ema.applied() if self.ema else nullcontext():
            return self._one(0, sample, state, "custom", ema=self.ema is not None, command_id=command_id, steps=(0, 1))

    def _round(
        self,
        samples: Sequence[tuple[int, SampleConfig]],
        state: TrainState,
        kind: Literal["default", "custom"],
        *,
        ema: bool,
        command_id: str,
        postfix: str = "",
    ) -> int:
        for number, (index, sample) in enumerate(samples):
            self._one(index, sample, state, kind, ema=ema, command_id=command_id, postfix=postfix, steps=(number, len(samples)))
        return len(samples)

    def _one(
        self,
        index: int,
        sample: SampleConfig,
        state: TrainState,
        kind: Literal["default", "custom"],
        *,
        ema: bool,
        command_id: str,
        steps: tuple[int, int],
        postfix: str = "",
    ) -> Path:
        check(sample)
        started = time.monotonic()
        self.reporter.raise_if_stop_requested()
        number, count = steps

        def on_step(done: int, total: int) -> bool:
            self.reporter.progress(number * total + done, count * total, sample.prompt)
            return not self.reporter.control.stop_requested()

        seed = random.SystemRandom().randrange(2**32) if sample.random_seed else sample.seed
        image = self.generate(SampleRequest(sample, seed, on_step, self.images))
        if image is None:
            raise StopRequested
        prompt = safe_name(sample.prompt)
        folder = "custom" if kind == "custom" else f"{index} - {prompt}{postfix}"
        name = f"{self.config.save_filename_prefix}{timestamp()}-training-sample-{state.name}"
        image_format = self.config.sample_image_format
        path = unused(Path(self.config.workspace_dir) / "samples" / folder / f"{name}{EXTENSIONS[image_format]}")
        facts = {
            "prompt": sample.prompt,
            "negative_prompt": sample.negative_prompt,
            "width": sample.width,
            "height": sample.height,
            "seed": seed,
            "diffusion_steps": sample.diffusion_steps,
            "cfg_scale": sample.cfg_scale,
            "noise_scheduler": str(sample.noise_scheduler),
            "global_step": state.global_step,
            "epoch": state.epoch,
            "epoch_step": state.epoch_step,
        }
        try:
            write_sample(path, image, image_format, facts)
        except OSError as error:  # a full disk costs the image, not the run
            raise translate(error) or error from error
        self.reporter.report(
            SampleGenerated(
                path=str(path),
                kind=kind,
                index=index,
                seconds=time.monotonic() - started,
                ema=ema,
                command_id=command_id,
                **facts,  # type: ignore[arg-type]
            )
        )
        return path


def write_sample(path: Path, image: Any, image_format: str, facts: dict[str, Any]) -> None:
    """Write a Pillow image with its parameters, also in the form that other image programs read.

    ``facts`` are those of ``parameters_text``.
    """
    text = json.dumps(facts, ensure_ascii=False)
    options: dict[str, Any] = {}
    if image_format == "PNG":
        info = PngInfo()
        info.add_itxt("onetrainer_gradio", text)
        info.add_itxt("parameters", parameters_text(facts))
        options["pnginfo"] = info
    else:
        options["comment"] = text.encode(errors="replace")
    with whole_file(path, durable=False) as temporary:
        image.save(temporary, format=_PIL_FORMATS[image_format], **options)
