"""Report the samples that OneTrainer generates, and answer those who asked for them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .commands import merged, with_same
from .errors import OutcomeProbe, problem_of
from .files import unused
from .run_state import RunState

STOPPING = "the run is stopping"
COMMAND_ID = "onetrainer_gradio_command_id"


class SamplingStopped(Exception):  # noqa: N818 - a signal, not an error
    """A stop was requested while an image is generated."""


class Sampling(RunState):
    """The part of a run that concerns samples."""

    def listen_to_sampler(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap its sampler, which generates one image per call; report path, parameters and progress."""

        def sample(*values: Any, **named: Any) -> Any:
            config = named.get("sample_config", values[0] if values else None)
            destination = unused(str(named.get("destination", values[1] if len(values) > 1 else "")))
            if "destination" in named:
                named["destination"] = destination
            elif len(values) > 1:
                values = (values[0], destination, *values[2:])
            body = self.custom.get(getattr(config, COMMAND_ID, ""))
            self.round_custom = self.round_custom or body is not None
            if body is None:  # requests before a due round are answered by it
                self.collect("sample_default")
            if self.stopping:
                self.answer_custom(body, "refused", STOPPING)
                return None
            report = self.guarded(partial(self.report_sample, config, destination, body, time.monotonic()))
            try:
                with OutcomeProbe(report):
                    self.choose_seed(config)
                    self.show_progress(named, config, custom=body is not None)
                    return original(*values, **named)
            except SamplingStopped:
                return None

        return sample

    def report_sample(
        self, config: Any, destination: str, body: dict[str, Any] | None, started: float, error: BaseException | None
    ) -> None:
        """Report that the sampler has returned, with an error or without."""
        if error is None:
            self.emit_sample(config, destination, time.monotonic() - started, body)
        elif isinstance(error, SamplingStopped):
            self.answer_custom(body, "refused", STOPPING)
        elif isinstance(error, Exception):
            self.report_sample_failure(body, problem_of(error))

    def report_sample_failure(self, body: dict[str, Any] | None, reason: str) -> None:
        self.sampling_error = reason
        self.answer_custom(body, "refused", reason)
        self.warn("sampling_failed", f"Sampling failed: {reason}", "samples")

    def answer_default(self) -> None:
        asked, self.asked["sample_default"] = self.asked["sample_default"], []
        for body in asked:
            if self.sampled:
                self.inbox.answer(body)
            else:
                none = STOPPING if self.stopping else "no sample prompt is enabled"
                self.inbox.answer(body, "refused", self.sampling_error or none)

    def answer_custom(self, body: dict[str, Any] | None, outcome: str = "done", reason: str = "", result: str = "") -> None:
        """Answer the command that asked for a custom sample, if one did."""
        if body is not None and self.custom.pop(body["id"], None) is not None:
            for one in with_same(body):
                self.inbox.answer(one, outcome, reason, result)

    def choose_seed(self, config: Any) -> None:
        """Choose a random seed here, so that the image can be generated again."""
        if getattr(config, "random_seed", False):
            config.random_seed = False
            config.seed = random.SystemRandom().randrange(2**31)

    def show_progress(self, named: dict[str, Any], config: Any, *, custom: bool) -> None:
        original = named.get("on_update_progress")
        enabled = [item for item in self.config.samples or () if item.enabled]
        number, count = self.sampled, 1 if custom else max(len(enabled), self.sampled + 1)

        def on_update_progress(done: int, total: int) -> None:
            if original is not None:
                original(done, total)
            self.progress(number * total + done, count * total, str(config.prompt))
            if self.stopping:
                raise SamplingStopped

        named["on_update_progress"] = on_update_progress

    def emit_sample(self, config: Any, destination: str, seconds: float, body: dict[str, Any] | None) -> None:
        folder, name = os.path.split(destination)
        try:
            made = sorted(item for item in os.listdir(folder) if item.startswith(name))
        except OSError:  # no folder, or none that can be read
            made = []
        if not made:
            self.report_sample_failure(body, "OneTrainer wrote no image")
            return
        self.sampled += 1
        folder_name = os.path.basename(folder)
        progress = self.trainer.model.train_progress
        path = os.path.join(folder, made[0])
        index = folder_name.partition(" - ")[0]
        ema = getattr(self.trainer.model, "ema", None) is not None and not folder_name.endswith(" - no-ema")
        commands = [body] if body is not None else self.asked["sample_default"]
        self.wire.event(
            "sample_generated",
            path=path,
            kind="custom" if body is not None else "default",
            index=int(index) if index.isdecimal() and body is None else 0,
            prompt=config.prompt,
            negative_prompt=config.negative_prompt,
            width=config.width,
            height=config.height,
            seed=config.seed,
            diffusion_steps=config.diffusion_steps,
            cfg_scale=config.cfg_scale,
            noise_scheduler=str(config.noise_scheduler),
            global_step=progress.global_step,
            epoch=progress.epoch,
            epoch_step=progress.epoch_step,
            seconds=seconds,
            ema=ema,
            command_id=commands[0].get("id", "") if commands else "",
        )
        self.answer_custom(body, result=path)

    def collect(self, kind: str) -> bool:
        """Return whether the parent asked for it; who asked is remembered for the answer."""
        taken = self.inbox.take(kind)
        self.asked[kind].extend(taken)
        return bool(taken)

    def collect_custom(self) -> list[Any]:
        """Return the images that the parent asked for, as OneTrainer's objects."""
        samples = []
        for body in merged(self.inbox.take("sample_custom")):
            self.custom[body["id"]] = body
            try:
                samples.append(self.sample_config(body))
            except (AttributeError, KeyError, TypeError, ValueError) as error:  # what values of another shape lead to
                self.answer_custom(body, "refused", f"these are not sampling parameters: {problem_of(error)}")
        return samples

    def sample_config(self, body: dict[str, Any]) -> Any:
        kind, parameters = self.onetrainer["SampleConfig"], body.get("params", {})
        if not isinstance(parameters, dict):
            raise TypeError(f"{parameters!r:.100} isn't an object")
        try:
            sample = kind.default_values(self.config.model_type)
        except TypeError:  # older revisions have the same defaults for every model
            sample = kind.default_values()
        sample = sample.from_dict(parameters)
        sample.enabled = True
        setattr(sample, COMMAND_ID, body["id"])
        return sample
