"""Run a training: load, plan, cache, loop, end."""

from __future__ import annotations

import functools
import gc
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from transformers.utils import logging as transformers_logging

from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.config.paths.backup_chain import Chain, chain_of_run, run_of
from onetrainer_gradio.config.resume import no_step_left, nothing_left, saves_result, steps_changed, total_steps
from onetrainer_gradio.config.timesteps import TimestepSettings
from onetrainer_gradio.engine import optimizers, precision
from onetrainer_gradio.engine.backups import EMA_FILE, OPTIMIZER_FILE, Backups, BackupWriter, read_state, read_tensors
from onetrainer_gradio.engine.data import cache
from onetrainer_gradio.engine.data.dataset import Batch, Collection, Dataset, Reports
from onetrainer_gradio.engine.ema import EMA
from onetrainer_gradio.engine.families.family import Prediction
from onetrainer_gradio.engine.files import timestamp, write_text
from onetrainer_gradio.engine.header import header_of, training_record
from onetrainer_gradio.engine.intervals import Interval, elapsed
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.learning_rates import LearningRates, learning_rates
from onetrainer_gradio.engine.losses import LossMix, Masking, predicts_prior, prior_targets
from onetrainer_gradio.engine.methods import method_of
from onetrainer_gradio.engine.methods.method import Method
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.engine.optimizers.back_pass import FusedBackPass
from onetrainer_gradio.engine.outputs import Outputs, protect, protect_existing
from onetrainer_gradio.engine.reporter import RunReporter, StopRequested
from onetrainer_gradio.engine.sampling import SampleRunner
from onetrainer_gradio.engine.scalers import loss_scale
from onetrainer_gradio.engine.staging import tidy_places
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.engine.step_actions import StepActions
from onetrainer_gradio.engine.tensorboard import TensorBoard
from onetrainer_gradio.engine.threads import fit_threads
from onetrainer_gradio.engine.timesteps import TimestepSampler
from onetrainer_gradio.engine.unsupported import raise_unsupported
from onetrainer_gradio.engine.validation import Validation
from onetrainer_gradio.errors import ConfigInvalidError, Finding, NonFiniteLossError
from onetrainer_gradio.events import Emit, Outcome, Resumed, RunPlanned, StepDone, WarningIssued


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Train with ``config`` (packed, absolute paths) until the run is done or stopped.

    :raises TrainerError: if it can't continue.
    """
    reporter = RunReporter(emit, control)
    training: Training | None = None
    try:
        raise_unsupported(config)
        freeze_imports()
        reporter.enter("loading")
        training = load(config, options, reporter)
        protect(config, options)
        tidy_places(config)
        training.plan()
        if config.only_cache:
            return training.only_cache()
        outcome = "completed" if training.only_saves else training.loop()
        training.end(outcome)
        return outcome
    except StopRequested:  # while loading or caching: nothing was trained, so nothing is saved
        reporter.enter("stopping")
        return "stopped"
    finally:
        if training is not None:
            training.close()
        del training
        # keeping the error (in a notebook or a thread) would keep its frames, and the model with them
        if (error := sys.exception()) is not None:
            traceback.clear_frames(error.__traceback__)
        release_memory()


def load(config: TrainConfig, options: RunOptions, reporter: RunReporter) -> Training:
    """Load everything that the loop needs: images, model, method, optimizer, and the state to resume from."""
    protect_existing(config)
    workspace = Path(config.workspace_dir)
    backup = Backups(workspace).to_resume(config, options)
    over = None
    if backup is not None:
        over = nothing_left(config, backup, options.max_steps, missing=saves_result(config, options, backup))
    if over is not None and over.severity == "error":
        raise ConfigInvalidError([over])
    method_class = method_of(config.training_method)
    device = precision.device_of(config.train_device)
    precision.allow_tf32(config.train_dtype)

    reporter.enter("loading", "reading the image folders")
    reports = Reports(reporter.warn, reporter.progress, reporter.raise_if_stop_requested)
    roots = tuple(Path(folder) for folder in options.allowed_folders)
    captions = method_class.uses_captions
    collections = [Collection.of(config, reports, validation=False, roots=roots, captions=captions)]
    if config.validation and any(concept.enabled and concept.type == "VALIDATION" for concept in config.concepts or ()):
        collections.append(Collection.of(config, reports, validation=True, roots=roots, captions=captions))

    def progress(done: int, total: int, part: str) -> None:
        reporter.raise_if_stop_requested()
        reporter.progress(done, total, part)

    reporter.enter("loading", "loading the model")
    silence_libraries()
    model = Model.load(config, method_class.base_model(config, backup), progress)
    reporter.raise_if_stop_requested()
    method = method_class.attach(model, config, options.seed, backup)
    model.set_checkpointing()
    model.place(*model.needed())
    optimizer = optimizers.make_optimizer(config, method.groups())
    parameters = [parameter for group in method.groups() for parameter in group.parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    ema = None
    if config.ema != "OFF":
        ema_device = device if config.ema == "GPU" else torch.device("cpu")
        ema = EMA(parameters, config.ema_decay, config.ema_update_step_interval, ema_device)
    training = Training(
        config=config,
        options=options,
        reporter=reporter,
        collections=collections,
        model=model,
        method=method,
        optimizer=optimizer,
        parameters=parameters,
        ema=ema,
        scaler=precision.loss_scaler(device, config.train_dtype, parameters),
        state=TrainState() if backup is None else read_state(backup),
        chain=chain_of_run(options.run_id or f"{timestamp()}-{os.getpid()}", backup),
    )
    try:
        if backup is not None:
            training.resume(backup)
            training.resumed_from = backup
        if over is not None:
            training.only_save(over)
        reporter.raise_if_stop_requested()
    except BaseException:  # hooks of gradients would keep the weights in memory
        training.close()
        raise
    return training


def silence_libraries() -> None:
    """Turn off progress bars and hints of libraries, because the run reports its own progress."""
    for logging in (transformers_logging, diffusers_logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()


@functools.cache
def freeze_imports() -> None:
    """Exclude half a million imported objects, which live as long as the process, from garbage collection.

    Only once: to count the objects that are frozen already takes as long as a collection.
    """
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Free the memory of a run, including VRAM."""
    clear_device_cache(garbage_collection=True)


@dataclass
class Training:
    """A loaded run."""

    config: TrainConfig
    options: RunOptions
    reporter: RunReporter
    collections: Sequence[Collection]
    model: Model
    method: Method
    optimizer: Optimizer
    parameters: Sequence[Parameter]
    ema: EMA | None
    scaler: torch.amp.GradScaler
    state: TrainState
    chain: Chain
    data: Dataset = field(init=False)
    outputs: Outputs = field(init=False)
    step_actions: StepActions = field(init=False)
    validation: Validation = field(init=False)
    learning_rates: LearningRates = field(init=False)
    tensorboard: TensorBoard | None = field(init=False, default=None)
    back_pass: FusedBackPass | None = field(init=False, default=None)
    resumed_from: Path | None = None
    only_saves: bool = False
    """Whether all steps are done, and only the final model is missing."""

    def __post_init__(self) -> None:
        config = self.config
        self._started_s = time.monotonic()
        self._generator = precision.generator(self.model.device)
        self._draw = TimestepSampler(self.model.objective.timesteps, TimestepSettings.of(config))
        self._mix = LossMix(
            config.mse_strength, config.mae_strength, config.log_cosh_strength, config.huber_strength, config.huber_delta
        )
        conditioned = "conditioning_image" in MODELS[config.model_type].traits
        self._masking = Masking.of(config, conditioned=conditioned)
        self._loss_scale = loss_scale(config.loss_scaler, config.batch_size, config.gradient_accumulation_steps)
        # gradients of micro-batches that no optimizer step has used yet, and the state before the first of them
        self._pending = 0
        self._loss_sum: Tensor | None = None
        self._seconds = 0.0
        self._resting = self.state.copy()
        self._updates = 0
        self._rates: tuple[float, ...] = ()
        self._threads = fit_threads(self.model)
        if optimizers.steps_early(config):
            self.back_pass = FusedBackPass(self.optimizer, config.clip_grad_norm, self.scaler)

    # -- before the loop ------------------------------------------------------------------------------------------------

    def resume(self, backup: Path) -> None:
        """Load optimizer, EMA and loss scaler of a backup; weights and state are already loaded."""
        saved = read_tensors(backup / OPTIMIZER_FILE, "state", "param_groups")
        if saved is None:
            text = f"The backup “{backup}” contains no optimizer state, so the optimizer starts from scratch."
            self.reporter.warn(WarningIssued(code="no_optimizer_state", message=text, path=str(backup)))
        else:
            optimizers.load_state(self.optimizer, saved, self.config)
        averages = read_tensors(backup / EMA_FILE, "ema_parameters")
        if self.ema is not None and averages is not None:
            self.ema.load_state_dict(averages)
        if self.scaler.is_enabled() and self.state.loss_scale is not None:
            now = self.scaler.state_dict()
            growth = self.state.loss_scale_growth
            self.scaler.load_state_dict({**now, "scale": self.state.loss_scale, "_growth_tracker": growth})
        self.reporter.report(Resumed(path=str(backup), global_step=self.state.global_step, run=run_of(backup)))

    def only_save(self, found: Finding) -> None:
        """Train nothing, because all steps are done: only the final model is missing, which a warning reports."""
        self.only_saves = True
        self.reporter.warn(WarningIssued(code=found.code, message=found.message, path=str(self.resumed_from)))

    def plan(self) -> None:
        """Open the data, fill the cache, and report the plan."""
        config = self.config
        write_text(
            Path(config.workspace_dir) / "config" / f"{config.save_filename_prefix}{timestamp()}.json",
            json.dumps(to_document(config, packed=True), indent=4),
        )
        self.reporter.enter("caching")
        if config.clear_cache_before_training and config.latent_caching and not self.only_saves:
            cache.clear(Path(config.cache_dir))
        datasets = [self._dataset(collection) for collection in self.collections]
        self.data = datasets[0]
        for dataset in datasets:
            if not self.only_saves:  # what is no longer trained isn't encoded
                dataset.prepare(self.state.epoch if dataset is self.data else self.state.validations)
        self.model.place(*self.model.needed())
        steps = len(self.data.plan(self.state.epoch))
        done = self.state.global_step // config.gradient_accumulation_steps
        self.learning_rates = learning_rates(config, self.optimizer, steps, done)
        total = self._total_steps(steps)
        self._open_outputs(datasets[1] if len(datasets) > 1 else None)
        self.reporter.report(
            RunPlanned(
                total_steps=total,
                steps_per_epoch=steps,
                total_updates=total // config.gradient_accumulation_steps,
                epochs=config.epochs,
                first_step=self.state.global_step,
                images=self.data.images,
                trainable_parameters=sum(parameter.numel() for parameter in self.parameters),
                learning_rates=optimizers.group_names(self.optimizer),
            )
        )

    def _total_steps(self, steps: int) -> int:
        """Return the last step of the run.

        :raises ConfigInvalidError: if the run resumes, there is no optimizer step left, and the final model exists.
        """
        accumulation = self.config.gradient_accumulation_steps
        at = self.state.progress()
        total = total_steps(at, steps, self.config, self.options.max_steps)
        if (backup := self.resumed_from) is not None and not self.config.only_cache and not self.only_saves:
            if (changed := steps_changed(at, steps, backup)) is not None:
                self.reporter.warn(changed)
            if total // accumulation <= at.global_step // accumulation:
                over = no_step_left(self.config, backup, missing=saves_result(self.config, self.options, backup))
                if over.severity == "error":
                    raise ConfigInvalidError([over])
                self.only_save(over)
        return total

    def _dataset(self, collection: Collection) -> Dataset:
        def encoding(kind: str) -> None:
            self.reporter.enter("caching")
            self.model.place(*self.model.encoders(kind))

        return Dataset.open(
            self.config,
            self.model,
            Reports(self.reporter.warn, self.reporter.progress, self.reporter.raise_if_stop_requested, encoding),
            collection=collection,
            text_fixed=self.model.text_fixed,
            dtype=precision.DTYPES[self.config.train_dtype],
            facts=self.method.encoding_facts(),
        )

    def _open_outputs(self, validated: Dataset | None) -> None:
        config, reporter = self.config, self.reporter
        workspace = Path(config.workspace_dir)
        folder = workspace / "tensorboard" / f"{config.save_filename_prefix}{timestamp()}"
        self.tensorboard = TensorBoard(folder, config, reporter.warn)
        reporter.subscribe(self.tensorboard)
        images = [image for group in self.data.groups for image in group.images]
        keys = keys_of(config.model_type, getattr(self.model.denoiser, "config", {}))
        header = header_of(config, keys, training_record(config, self.state, images))
        writer = BackupWriter(Backups(workspace), config, self.method, self.optimizer, self.ema, header, self.chain)
        self.outputs = Outputs(config, self.method, writer, self.ema, header, reporter, self.options, self._evaluated)
        self.step_actions = StepActions(
            reporter=reporter,
            sample_runner=SampleRunner(config, self.method.sample, self.ema, reporter, [image.path for image in images]),
            outputs=self.outputs,
            sample=Interval(config.sample_after, config.sample_after_unit, True, config.sample_skip_first),
            backup=Interval(config.backup_after, config.backup_after_unit, False),
            save=Interval(config.save_every, config.save_every_unit, False, config.save_skip_first),
            state=self.resting_state,
            eval_mode=self.eval_mode,
        )
        self.validation = Validation(
            data=validated,
            interval=Interval(config.validate_after, config.validate_after_unit, True),
            model=self.model,
            predict=self.method.predict,
            loss=self.loss,
            reporter=reporter,
        )

    def only_cache(self) -> Outcome:
        """Fill the cache for all epochs, without training or saving."""
        for epoch in range(self.state.epoch, self.config.epochs):
            self.data.prepare(epoch)
        return "completed"

    # -- the loop -------------------------------------------------------------------------------------------------------

    def loop(self) -> Outcome:
        """Run epochs of micro-batches, with all other actions between optimizer steps."""
        state, config = self.state, self.config
        self._set_training()
        self._freeze_parts(state.before())
        while state.epoch < config.epochs:
            for batch in self._timed(self.data.batches(state.epoch, skip=state.epoch_sample // config.batch_size)):
                state.epoch_length = self.data.length
                self.step_actions.note(state)
                if not self._pending and self.step_actions.act():
                    return "stopped"
                if self._is_over():
                    return "completed"
                self.reporter.enter("training")
                self.micro_step(batch)
            state.next_epoch()
            if not self._pending:
                self._resting = state.copy()
            if state.epoch < config.epochs and not self._prepare_epoch():
                self.step_actions.handle_commands()
                return "stopped"
        if self._updates and not self._pending:
            self.step_actions.note_end(state)
        self.step_actions.act()
        return "completed"

    def _prepare_epoch(self) -> bool:
        """Encode the data of the epoch. Return False if a stop was requested."""
        try:
            self.data.prepare(self.state.epoch)
        except StopRequested:
            return False
        finally:
            self.model.place(*self.model.needed())
        return True

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches, and count the time to get them as part of the step."""
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self._seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _is_over(self) -> bool:
        limit = self.options.max_steps
        if limit is not None and self.state.global_step >= limit:
            return True
        if any(parameter.requires_grad for parameter in self.parameters):
            return False
        self.reporter.warn(
            WarningIssued(code="nothing_left_to_train", message="Training of all components has stopped, so the run ends here.")
        )
        return True

    def micro_step(self, batch: Batch) -> None:
        """Run forward and backward for one micro-batch; the last one of an accumulation window also updates the weights."""
        began = time.perf_counter()
        state, accumulation = self.state, self.config.gradient_accumulation_steps
        step = state.global_step
        # the step number alone decides what is random, so that a resumed run continues as if it had never ended
        self._generator.manual_seed(step)
        if self.config.dropout_probability > 0:
            torch.manual_seed(step)
        optimizers.seed_rounding(self.optimizer, step)
        updated = (step + 1) % accumulation == 0
        if updated:  # before the backward pass, which may update weights already
            self.learning_rates.before_step(step // accumulation)
            self._rates = optimizers.reported_rates(self.optimizer, self.config)
        if self.back_pass is not None:
            self.back_pass.armed = updated
        loss = self.loss(self._predict(batch, step), batch) / accumulation
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        detached = loss.detach()
        self._loss_sum = detached if self._loss_sum is None else self._loss_sum + detached
        self._pending += 1
        measured = self.update(self._loss_sum) if updated else None
        self._seconds += time.perf_counter() - began
        self.validation.maybe(state)
        state.next_step(self.config.batch_size)
        if measured is not None:
            self._report(*measured)

    def _predict(self, batch: Batch, step: int) -> Prediction:
        """Return the prediction, and before it, where the loss needs it, that of the model without its adapter."""
        prior_BCHW = None
        if predicts_prior(self.config, batch.prior):
            with torch.no_grad(), self.method.without_adapter():
                prior_BCHW = self.method.predict(batch, self._draw, self._generator, step).predicted_BCHW
            self._generator.manual_seed(step)  # the same noise and timesteps again
        prediction = self.method.predict(batch, self._draw, self._generator, step)
        if prior_BCHW is None:
            return prediction
        target_BCHW = prior_targets(prediction.target_BCHW, prior_BCHW, batch.prior)
        return replace(prediction, target_BCHW=target_BCHW, prior_BCHW=prior_BCHW)

    def loss(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Return the mean loss of a batch with all weights."""
        mask_B1HW = None if self._masking is None else batch.tensors["mask"].to(prediction.predicted_BCHW.device)
        losses_B = self._mix(prediction.predicted_BCHW, prediction.target_BCHW, self._masking, mask_B1HW, prediction.prior_BCHW)
        losses_B = losses_B * self._loss_scale * batch.loss_weight_B.to(losses_B.device)
        if self.config.loss_weight_fn != "CONSTANT" and prediction.timestep_B is not None:
            name, strength = self.config.loss_weight_fn, self.config.loss_weight_strength
            losses_B = losses_B * self.model.objective.loss_weight(name, prediction.timestep_B, strength)
        return losses_B.mean()

    def update(self, loss: Tensor) -> tuple[float, float | None, tuple[float, ...]]:
        """Run one optimizer step. Return loss, gradient norm before clipping, and learning rates."""
        norm = self._step() if self.back_pass is None else self._finish_early_steps(self.back_pass)
        self.learning_rates.after_step()
        self.optimizer.zero_grad(set_to_none=True)
        # the one place where the processor waits for the device
        values = (loss[None] if norm is None else torch.stack([loss, norm.to(loss)])).tolist()
        self._require_finite(values)
        self.method.after_update()
        if self.ema is not None:
            self.ema.step(self.state.global_step // self.config.gradient_accumulation_steps)
        self._freeze_parts(self.state)
        self._loss_sum = None
        self._pending = 0
        self._updates += 1
        return values[0], None if norm is None else values[1], self._rates

    def _step(self) -> Tensor | None:
        limit = self.config.clip_grad_norm
        self.scaler.unscale_(self.optimizer)
        norm = None if limit is None else nn.utils.clip_grad_norm_(self.parameters, limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _finish_early_steps(self, back_pass: FusedBackPass) -> Tensor | None:
        """Let the optimizer do what it does once for all weights; their own steps are done."""
        if back_pass.finish():
            self.optimizer.step()
        return back_pass.norm()

    def _require_finite(self, values: Sequence[float]) -> None:
        # with a loss scaler infinite gradients only mean that this step is skipped
        watched = values[:1] if self.scaler.is_enabled() else values
        if all(math.isfinite(value) for value in watched):
            return
        what = "loss" if not math.isfinite(values[0]) else "norm of the gradients"
        raise NonFiniteLossError(
            f"The {what} became {values[0] if what == 'loss' else values[1]} at step {self.state.global_step} "
            f"(epoch {self.state.epoch}).",
            path="learning_rate",
            value=self.config.learning_rate,
            expected="a finite number",
            suggestion="Lower the learning rate, set Train data type to bfloat16 or float32, or check for damaged images. "
            "Then resume from the last backup.",
        )

    def _report(self, loss: float, norm: float | None, rates: tuple[float, ...]) -> None:
        state, accumulation = self.state, self.config.gradient_accumulation_steps
        smooth = state.smooth(loss)
        self._resting = state.copy()
        seconds, self._seconds = self._seconds, 0.0
        update_step = state.global_step // accumulation
        self.reporter.report(
            StepDone(
                update_step=update_step,
                global_step=state.global_step,
                epoch=state.epoch,
                epoch_step=state.epoch_step,
                epoch_sample=state.epoch_sample,
                loss=loss,
                smooth_loss=smooth,
                grad_norm=norm,
                learning_rates=rates,
                seconds=seconds,
                images=self.config.batch_size * accumulation,
            )
        )

    def _freeze_parts(self, state: TrainState) -> None:
        """Stop training components whose limit is reached after the step of ``state``; their optimizer state stays."""
        running_s = time.monotonic() - self._started_s
        for group in self.method.groups():
            settings = group.settings or getattr(self.config, group.part)
            delay = settings.stop_training_after
            if delay is not None and elapsed(delay, settings.stop_training_after_unit, state, running_s):
                for parameter in group.parameters:
                    parameter.requires_grad_(False)

    def _set_training(self) -> None:
        optimizers.set_training(self.optimizer, self.config)
        for module in self.method.trained_modules():
            module.train()

    def _evaluated(self) -> AbstractContextManager[None]:
        return optimizers.evaluated(self.optimizer, self.config)

    @contextmanager
    def eval_mode(self) -> Iterator[None]:
        """Put the model into evaluation mode within the block; sampling places components as it needs them."""
        with self._evaluated():
            yield from self._eval_modules()

    def _eval_modules(self) -> Iterator[None]:
        trained = self.method.trained_modules()
        for module in trained:
            module.eval()
        try:
            yield
        finally:
            self.model.place(*self.model.needed())
            for module in trained:
                module.train()

    def resting_state(self) -> TrainState:
        """Return the state after the last optimizer step, which matches the weights: the state of a backup."""
        state = self._resting.copy() if self._pending else self.state.copy()
        if self.scaler.is_enabled():
            state.loss_scale = self.scaler.get_scale()
            state.loss_scale_growth = self.scaler._get_growth_tracker()
        return state

    # -- the end --------------------------------------------------------------------------------------------------------

    def end(self, outcome: Outcome) -> None:
        """Write the last backup and the result, if anything was trained or the result is missing."""
        if self.only_saves:
            self._set_training()
            self.outputs.save_final(self.state, self.resumed_from)
        if not self._updates:
            return
        state = self.resting_state()
        backup = self.outputs.back_up_once(state) if self.config.backup_before_save else None
        self.outputs.save_final(state, backup)

    def close(self) -> None:
        """Write the charts to disk, and restore the number of threads."""
        torch.set_num_threads(self._threads)
        if self.back_pass is not None:
            self.back_pass.close()
        if self.tensorboard is not None:
            self.tensorboard.close()
