"""Loss, noise and the risk of numbers that overflow."""

from __future__ import annotations

from collections.abc import Iterator

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.enums import DataType, LossWeight, TrainingMethod
from onetrainer_gradio.errors import Finding

_FLOW = (LossWeight.CONSTANT, LossWeight.SIGMA)
_DIFFUSION = (LossWeight.CONSTANT, LossWeight.P2, LossWeight.MIN_SNR_GAMMA, LossWeight.DEBIASED_ESTIMATION)
_STRENGTHS = ("mse_strength", "mae_strength", "log_cosh_strength", "huber_strength")


def weighting(plan: Plan) -> Iterator[Finding]:
    """Weightings by signal-to-noise ratio are for noise predictors, SIGMA for flow models."""
    chosen, allowed = plan.config.loss_weight_fn, _FLOW if plan.facts.flow else _DIFFUSION
    if chosen not in allowed:
        kind = "a flow model" if plan.facts.flow else "no flow model"
        yield found(
            "loss-weight-family",
            "loss_weight_fn",
            f"{chosen.value} cannot weigh the loss of {plan.facts.label}, which is {kind}",
            value=chosen.value,
            expected="one of " + ", ".join(item.value for item in allowed),
            suggestion="Choose CONSTANT.",
            fix={"loss_weight_fn": "CONSTANT"},
        )


def no_loss(plan: Plan) -> Iterator[Finding]:
    """Without a loss nothing is learned."""
    if not any(getattr(plan.config, name) for name in _STRENGTHS):
        yield found(
            "no-loss",
            "mse_strength",
            "All losses have the strength 0",
            value=0.0,
            expected="at least one above 0",
            suggestion="Write 1 for the squared error.",
            fix={"mse_strength": 1.0},
        )


def noise_window(plan: Plan) -> Iterator[Finding]:
    """No noise level lies between the least and the most."""
    least, most = plan.config.min_noising_strength, plan.config.max_noising_strength
    if least >= most:
        yield found(
            "noise-window",
            "min_noising_strength",
            f"The least noise, {least:g}, is not below the most, {most:g}",
            value=least,
            expected=f"less than {most:g}",
            suggestion="Write 0 for the least noise and 1 for the most, unless you want a part of the range.",
            fix={"min_noising_strength": 0.0, "max_noising_strength": 1.0},
        )


def two_predictions(plan: Plan) -> Iterator[Finding]:
    """A model predicts noise or velocities."""
    config = plan.config
    velocity = [name for name in ("force_v_prediction", "rescale_noise_scheduler_to_zero_terminal_snr") if getattr(config, name)]
    if config.force_epsilon_prediction and velocity:
        yield found(
            "two-predictions",
            "force_epsilon_prediction",
            "The model is to predict the noise and the velocity at once",
            value=True,
            expected="one of the two",
            suggestion="Turn Force epsilon prediction off, unless you know that the model predicts noise.",
            fix={"force_epsilon_prediction": False},
        )


def overflow(plan: Plan) -> Iterator[Finding]:
    """What makes a loss become no number any more, as far as the settings show it."""
    half = DataType.FLOAT_16
    adapter = plan.config.training_method is TrainingMethod.LORA
    trained = ["lora_weight_dtype"] if adapter and plan.trained else [f"{name}.weight_dtype" for name in plan.trained]
    if plan.trains_embeddings:
        trained.append("embedding_weight_dtype")
    for path in trained:
        if plan.at(path) is half:
            yield _nan_risk(path, "Weights that are trained in FLOAT_16 soon overflow or stand still", "FLOAT_32")
    vae = plan.config.vae
    fixed = "fp16" in f"{vae.model_name} {plan.config.base_model_name}".lower()
    if not plan.facts.float16_vae and vae.weight_dtype is half and not fixed:
        yield _nan_risk("vae.weight_dtype", "The VAE of SDXL overflows in FLOAT_16, and the loss becomes no number", "FLOAT_32")


def _nan_risk(path: str, message: str, better: str) -> Finding:
    return found(
        "nan-risk",
        path,
        message,
        value="FLOAT_16",
        expected="FLOAT_32 or BFLOAT_16",
        suggestion=f"Write {better}.",
        fix={path: better},
    )


def noise_ignored(plan: Plan) -> Iterator[Finding]:
    """Noise settings that another one makes meaningless."""
    config = plan.config
    if config.generalized_offset_noise and not config.offset_noise_weight:
        yield found(
            "setting-ignored",
            "generalized_offset_noise",
            "Generalized offset noise changes nothing while the offset noise is 0",
            value=True,
            expected="an offset noise above 0, or off",
            suggestion="Turn it off.",
            fix={"generalized_offset_noise": False},
        )
    if config.dynamic_timestep_shifting and "dynamic_shift" in plan.facts.abilities and config.timestep_shift != 1:
        yield found(
            "setting-ignored",
            "timestep_shift",
            f"The timestep shift of {config.timestep_shift:g} is not used: dynamic shifting takes its place",
            value=config.timestep_shift,
            expected="1 with dynamic shifting",
            suggestion="Write 1, or turn dynamic shifting off.",
            fix={"timestep_shift": 1.0},
        )
