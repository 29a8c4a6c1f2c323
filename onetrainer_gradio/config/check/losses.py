"""Checks of loss, noise and the risk of NaN loss."""

from __future__ import annotations

from collections.abc import Iterator

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of, names_of
from onetrainer_gradio.config.enums import DataType, LossWeight, TrainingMethod
from onetrainer_gradio.errors import Finding

_FLOW = (LossWeight.CONSTANT, LossWeight.SIGMA)
_DIFFUSION = (LossWeight.CONSTANT, LossWeight.P2, LossWeight.MIN_SNR_GAMMA, LossWeight.DEBIASED_ESTIMATION)
_STRENGTHS = ("mse_strength", "mae_strength", "log_cosh_strength", "huber_strength")


def weighting(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a loss weight function of the wrong kind of model: SNR weights don't suit flow matching."""
    chosen, allowed = plan.config.loss_weight_fn, _FLOW if plan.facts.flow else _DIFFUSION
    if chosen not in allowed:
        kind = "a flow-matching model" if plan.facts.flow else "an epsilon- or v-prediction model"
        yield found(
            "loss-weight-family",
            "loss_weight_fn",
            f"{title_of('loss_weight_fn')} {name_of(chosen)} isn't supported for {plan.facts.label}, which is {kind}",
            value=chosen.value,
            expected=names_of(allowed),
            suggestion=f"Set {title_of('loss_weight_fn')} to {name_of(LossWeight.CONSTANT)}.",
            fix={"loss_weight_fn": "CONSTANT"},
        )


def no_loss(plan: Plan) -> Iterator[Finding]:
    """Yield an error if all loss strengths are 0."""
    if not any(getattr(plan.config, name) for name in _STRENGTHS):
        yield found(
            "no-loss",
            "mse_strength",
            "All loss strengths are 0",
            value=0.0,
            expected="at least one above 0",
            suggestion=f"Set {title_of('mse_strength')} to 1.",
            fix={"mse_strength": 1.0},
        )


def noise_window(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the range of timesteps is empty."""
    least, most = plan.config.min_noising_strength, plan.config.max_noising_strength
    lowest, highest = title_of("min_noising_strength"), title_of("max_noising_strength")
    if least >= most:
        yield found(
            "noise-window",
            "min_noising_strength",
            f"{lowest} ({least:g}) must be lower than {highest} ({most:g})",
            value=least,
            expected=f"less than {most:g}",
            suggestion=f"Set {lowest} to 0 and {highest} to 1, unless you want a smaller range.",
            fix={"min_noising_strength": 0.0, "max_noising_strength": 1.0},
        )


def two_predictions(plan: Plan) -> Iterator[Finding]:
    """Yield an error if epsilon prediction and v-prediction are both forced."""
    config = plan.config
    velocity = [name for name in ("force_v_prediction", "rescale_noise_scheduler_to_zero_terminal_snr") if getattr(config, name)]
    if config.force_epsilon_prediction and velocity:
        yield found(
            "two-predictions",
            "force_epsilon_prediction",
            f"{title_of('force_epsilon_prediction')} and {' and '.join(title_of(name) for name in velocity)} can't be combined",
            value=True,
            expected="one of the two",
            suggestion=f"Turn off {title_of('force_epsilon_prediction')}, unless you know that the model uses epsilon "
            "prediction.",
            fix={"force_epsilon_prediction": False},
        )


def overflow(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for data types that usually lead to NaN loss."""
    half = DataType.FLOAT_16
    adapter = plan.config.training_method is TrainingMethod.LORA
    trained = ["lora_weight_dtype"] if adapter and plan.trained else [f"{name}.weight_dtype" for name in plan.trained]
    if plan.trains_embeddings:
        trained.append("embedding_weight_dtype")
    for path in trained:
        if plan.at(path) is half:
            yield _nan_risk(path, f"Training {name_of(half)} weights usually leads to NaN loss or no progress")
    vae = plan.config.vae
    fixed = "fp16" in f"{vae.model_name} {plan.config.base_model_name}".lower()
    if not plan.facts.float16_vae and vae.weight_dtype is half and not fixed:
        yield _nan_risk("vae.weight_dtype", f"The SDXL VAE overflows in {name_of(half)}, so the loss becomes NaN")


def _nan_risk(path: str, message: str) -> Finding:
    return found(
        "nan-risk",
        path,
        message,
        value=DataType.FLOAT_16.value,
        expected=names_of((DataType.FLOAT_32, DataType.BFLOAT_16)),
        suggestion=f"Set {title_of(path)} to {name_of(DataType.FLOAT_32)}.",
        fix={path: DataType.FLOAT_32.value},
    )


def noise_ignored(plan: Plan) -> Iterator[Finding]:
    """Yield a note for noise settings that have no effect because of another one."""
    config = plan.config
    if config.generalized_offset_noise and not config.offset_noise_weight:
        yield found(
            "setting-ignored",
            "generalized_offset_noise",
            f"{title_of('generalized_offset_noise')} has no effect, because {title_of('offset_noise_weight')} is 0",
            value=True,
            expected="an offset noise weight above 0, or off",
            suggestion=f"Turn off {title_of('generalized_offset_noise')}.",
            fix={"generalized_offset_noise": False},
        )
    if config.dynamic_timestep_shifting and "dynamic_shift" in plan.facts.abilities and config.timestep_shift != 1:
        yield found(
            "setting-ignored",
            "timestep_shift",
            f"{title_of('timestep_shift')} {config.timestep_shift:g} has no effect, because "
            f"{title_of('dynamic_timestep_shifting')} is on",
            value=config.timestep_shift,
            expected="1 with dynamic shifting",
            suggestion=f"Set {title_of('timestep_shift')} to 1, or turn off {title_of('dynamic_timestep_shifting')}.",
            fix={"timestep_shift": 1.0},
        )
