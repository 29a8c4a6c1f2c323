"""The table of all optimizers: the class of each name, and the arguments that OneTrainer creates it with.

A parameter that is empty in the settings has the default in this table, which is OneTrainer's. It isn't always the class's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.enums import Optimizer as Name

Compute = Callable[[TrainConfig], Any]


@dataclass(frozen=True)
class Setting:
    """The value of an optimizer parameter, or ``default`` while it is empty."""

    name: str
    default: Any = None

    def __call__(self, config: TrainConfig) -> Any:
        """Return the value in ``config``."""
        value = getattr(config.optimizer, self.name)
        return self.default if value is None else value


@dataclass(frozen=True)
class Together:
    """Several parameters as one tuple, such as betas."""

    settings: tuple[Compute, ...]

    def __call__(self, config: TrainConfig) -> tuple[Any, ...]:
        """Return the values in ``config``."""
        return tuple(setting(config) for setting in self.settings)


@dataclass(frozen=True)
class Recipe:
    """A class as ``module:Class``, and its arguments."""

    place: str
    arguments: Mapping[str, Compute] = field(default_factory=dict)

    def values(self, config: TrainConfig) -> dict[str, Any]:
        """Return the arguments in ``config``."""
        return {name: compute(config) for name, compute in self.arguments.items()}


def _recipe(place: str, *computed: Mapping[str, Compute], **defaults: Any) -> Recipe:
    """Return a recipe whose ``defaults`` are named like the settings."""
    arguments: dict[str, Compute] = {name: Setting(name, default) for name, default in defaults.items()}
    for more in computed:
        arguments |= more
    return Recipe(place, arguments)


def _betas(*defaults: float) -> dict[str, Compute]:
    return {"betas": Together(tuple(Setting(f"beta{number}", value) for number, value in enumerate(defaults, start=1)))}


def _two_eps(first: float, second: float) -> dict[str, Compute]:
    return {"eps": Together((Setting("eps", first), Setting("eps2", second)))}


def _ademamix_betas() -> dict[str, Compute]:
    """Beta 3 as OneTrainer reads it: if beta 1 is empty, it has its default, too, and else it is passed even if it is empty."""

    def beta3(config: TrainConfig) -> float | None:
        return 0.9999 if config.optimizer.beta1 is None else config.optimizer.beta3

    return {"betas": Together((Setting("beta1", 0.9), Setting("beta2", 0.999), beta3))}


def _warmup_updates(config: TrainConfig) -> float:
    return config.learning_rate_warmup_steps / config.gradient_accumulation_steps


def _raw_warmup(config: TrainConfig) -> float:
    return config.learning_rate_warmup_steps


def _no_relative_step_rate(config: TrainConfig) -> float | None:
    return None if config.optimizer.relative_step else config.learning_rate


_TORCH_ADAM = {
    "eps": 1e-8,
    "amsgrad": False,
    "foreach": False,
    "maximize": False,
    "capturable": False,
    "differentiable": False,
    "fused": False,
}
_SGD = {"momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False}
_BLOCKS = {"min_8bit_size": 4096, "percentile_clipping": 100, "block_wise": True}
_LAMB = {
    "bias_correction": True,
    "eps": 1e-8,
    "weight_decay": 0,
    "amsgrad": False,
    "adam_w_mode": True,
    "min_8bit_size": 4096,
    "percentile_clipping": 100,
    "block_wise": False,
    "max_unorm": 1.0,
}
_LARS = {**_SGD, "max_unorm": 0.02}
_RMSPROP = {"weight_decay": 0, "eps": 1e-8, "alpha": 0.99, "momentum": 0, "centered": False}
_ADAGRAD = {"weight_decay": 0, "eps": 1e-10, "lr_decay": 0, "initial_accumulator_value": 0}
_INFINITE = float("inf")
_DADAPT = {"log_every": 0, "d0": 1e-6}
_COMPILED: Mapping[str, Compute] = {"compiled_optimizer": Setting("compile", False)}
_ADV = {
    "weight_decay": 0.0,
    "nnmf_factor": False,
    "cautious_wd": False,
    "stochastic_rounding": True,
    "orthogonal_gradient": False,
}
_KOURKOUTAS: Mapping[str, Compute] = {
    "kourkoutas_beta": Setting("kourkoutas_beta", False),
    "k_warmup_steps": _warmup_updates,
    **_COMPILED,
}
# OneTrainer reads Beta 3 here, which these two optimizers have no field for, and ignores Beta 3 EMA.
_ADEMAMIX_BY_BETA3: Mapping[str, Compute] = {"beta3_ema": Setting("beta3", 0.9999)}
_ADEMAMIX = {"use_AdEMAMix": False, "alpha": 5}
_SIMPLIFIED = {"Simplified_AdEMAMix": False, "alpha_grad": 100}
_MUON_ADV = {
    **_ADV,
    **_SIMPLIFIED,
    "ns_steps": 5,
    "rms_rescaling": True,
    "nesterov": True,
    "normuon_variant": False,
    "low_rank_ortho": False,
    "ortho_rank": 128,
    "accelerated_ns": False,
    "approx_mars": False,
}
_DECOUPLED: Mapping[str, Compute] = {"weight_decouple": Setting("decoupled_decay", True)}
_BNB = "bitsandbytes.optim"
_OWN = "onetrainer_gradio.engine.optimizers"

RECIPES: Mapping[Name, Recipe] = {
    Name.SGD: _recipe("torch.optim:SGD", **_SGD, foreach=False, maximize=False, differentiable=False),
    Name.ADAM: _recipe("torch.optim:Adam", _betas(0.9, 0.999), **_TORCH_ADAM, weight_decay=0),
    Name.ADAMW: _recipe("torch.optim:AdamW", _betas(0.9, 0.999), **_TORCH_ADAM, weight_decay=1e-2),
    Name.ADAFACTOR: _recipe(
        f"{_OWN}.adafactor:SteppedAdafactor",
        _two_eps(1e-30, 1e-3),
        {"lr": _no_relative_step_rate},
        clip_threshold=1.0,
        decay_rate=-0.8,
        beta1=None,
        weight_decay=0.0,
        scale_parameter=True,
        relative_step=True,
        warmup_init=False,
        stochastic_rounding=True,
    ),
    Name.CAME: _recipe(
        f"{_OWN}.came:CAME",
        _two_eps(1e-30, 1e-16),
        _betas(0.9, 0.999, 0.9999),
        weight_decay=0,
        stochastic_rounding=True,
        use_cautious=False,
    ),
    Name.CAME_8BIT: _recipe(
        f"{_OWN}.came:CAME8bit",
        _two_eps(1e-30, 1e-16),
        _betas(0.9, 0.999, 0.9999),
        weight_decay=0,
        stochastic_rounding=True,
        min_8bit_size=16384,
        quant_block_size=2048,
    ),
    Name.LION: _recipe("lion_pytorch:Lion", _betas(0.9, 0.99), weight_decay=0, use_triton=False),
    Name.SCHEDULE_FREE_ADAMW: _recipe(
        "schedulefree:AdamWScheduleFree",
        _betas(0.9, 0.999),
        {"warmup_steps": _raw_warmup},
        weight_decay=1e-2,
        eps=1e-8,
        r=0,
        weight_lr_power=2.0,
        foreach=False,
    ),
    Name.SCHEDULE_FREE_SGD: _recipe(
        "schedulefree:SGDScheduleFree",
        {"warmup_steps": _raw_warmup},
        momentum=0,
        weight_decay=0,
        r=0,
        weight_lr_power=2.0,
        foreach=False,
    ),
    Name.DADAPT_SGD: _recipe(
        "dadaptation:DAdaptSGD", **_DADAPT, momentum=0.0, weight_decay=0, growth_rate=_INFINITE, fsdp_in_use=False
    ),
    Name.DADAPT_ADAM: _recipe(
        "dadaptation:DAdaptAdam",
        _betas(0.9, 0.999),
        **_DADAPT,
        eps=1e-8,
        weight_decay=0,
        decouple=False,
        use_bias_correction=False,
        growth_rate=_INFINITE,
        fsdp_in_use=False,
    ),
    Name.DADAPT_ADAN: _recipe(
        "dadaptation:DAdaptAdan",
        _betas(0.98, 0.92, 0.99),
        **_DADAPT,
        eps=1e-8,
        weight_decay=0.02,
        no_prox=False,
        growth_rate=_INFINITE,
    ),
    Name.DADAPT_ADA_GRAD: _recipe(
        "dadaptation:DAdaptAdaGrad", **_DADAPT, momentum=0, weight_decay=0.0, eps=0.0, growth_rate=_INFINITE
    ),
    Name.DADAPT_LION: _recipe("dadaptation:DAdaptLion", _betas(0.9, 0.999), **_DADAPT, weight_decay=0.0, fsdp_in_use=False),
    Name.PRODIGY: _recipe(
        "prodigyopt:Prodigy",
        _betas(0.9, 0.999),
        beta3=None,
        eps=1e-8,
        weight_decay=0,
        decouple=True,
        use_bias_correction=False,
        safeguard_warmup=False,
        d0=1e-6,
        d_coef=1.0,
        growth_rate=_INFINITE,
        fsdp_in_use=False,
        slice_p=1,
    ),
    Name.PRODIGY_PLUS_SCHEDULE_FREE: _recipe(
        "prodigyplus.prodigy_plus_schedulefree:ProdigyPlusScheduleFree",
        _betas(0.9, 0.99),
        beta3=None,
        weight_decay=0.0,
        weight_decay_by_lr=True,
        use_bias_correction=False,
        d0=1e-6,
        d_coef=1.0,
        prodigy_steps=0,
        use_speed=False,
        eps=None,
        split_groups=True,
        split_groups_mean=True,
        factored=True,
        factored_fp32=True,
        fused_back_pass=False,
        use_stableadamw=True,
        use_cautious=False,
        use_grams=False,
        use_adopt=False,
        stochastic_rounding=True,
        d_limiter=True,
        use_schedulefree=True,
        schedulefree_c=0.0,
        use_orthograd=False,
    ),
    Name.PRODIGY_ADV: _recipe(
        "adv_optm:Prodigy_adv",
        _betas(0, 0.99),
        _KOURKOUTAS,
        **_ADV,
        **_ADEMAMIX,
        **_SIMPLIFIED,
        beta3=None,
        eps=1e-8,
        d0=1e-6,
        d_coef=1.0,
        growth_rate=_INFINITE,
        slice_p=1,
        prodigy_steps=0,
        d_limiter=False,
        use_atan2=False,
        beta3_ema=0.9999,
    ),
    Name.ADAMW_ADV: _recipe(
        "adv_optm:AdamW_adv",
        _betas(0, 0.99),
        _KOURKOUTAS,
        _ADEMAMIX_BY_BETA3,
        **_ADV,
        **_ADEMAMIX,
        eps=1e-8,
        use_atan2=False,
    ),
    Name.ADOPT_ADV: _recipe(
        "adv_optm:Adopt_adv",
        _betas(0, 0.9999),
        _KOURKOUTAS,
        _ADEMAMIX_BY_BETA3,
        **_ADV,
        **_ADEMAMIX,
        **_SIMPLIFIED,
        eps=1e-6,
        use_atan2=False,
    ),
    Name.LION_ADV: _recipe("adv_optm:Lion_adv", _betas(0.9, 0.99), _COMPILED, **_ADV, clip_threshold=0.0, auto_kappa_p=False),
    Name.SIGNSGD_ADV: _recipe("adv_optm:SignSGD_adv", _COMPILED, **_ADV, **_SIMPLIFIED, momentum=0),
    Name.MUON: _recipe(
        f"{_OWN}.muon:Muon",
        {"auxiliary": Setting("muon_adam_config")},
        momentum=0.95,
        weight_decay=0.0,
    ),
    Name.MUON_ADV: _recipe("adv_optm:Muon_adv", _COMPILED, **_MUON_ADV, beta1=0.9, beta2_normuon=0.95),
    Name.ADAMUON_ADV: _recipe("adv_optm:AdaMuon_adv", _betas(0.9, 0.99), _COMPILED, **_MUON_ADV, eps=1e-8, use_atan2=False),
    Name.ADABELIEF: _recipe(
        f"{_OWN}.adabelief:AdaBelief",
        _betas(0.9, 0.999),
        weight_decay=0,
        eps=1e-16,
        amsgrad=False,
        decoupled_decay=True,
        fixed_decay=False,
        rectify=True,
        degenerated_to_sgd=True,
    ),
    Name.TIGER: _recipe(
        "pytorch_optimizer.optimizer.tiger:Tiger",
        {"beta": Setting("beta1", 0.9)},
        _DECOUPLED,
        weight_decay=0,
        fixed_decay=False,
    ),
    Name.AIDA: _recipe(
        "pytorch_optimizer.optimizer.aida:Aida",
        _betas(0.9, 0.999),
        _DECOUPLED,
        weight_decay=0.0,
        fixed_decay=False,
        k=2,
        xi=1e-20,
        rectify=False,
        n_sma_threshold=5,
        degenerated_to_sgd=True,
        ams_bound=False,
        r=0.95,
        adanorm=False,
        adam_debias=False,
        eps=1e-8,
    ),
    Name.ADOPT: _recipe(
        "pytorch_optimizer.optimizer.adopt:ADOPT",
        _betas(0.9, 0.9999),
        {"weight_decouple": Setting("decoupled_decay", False)},
        weight_decay=0.0,
        fixed_decay=False,
        cautious=False,
        eps=1e-6,
    ),
    Name.YOGI: _recipe(
        "pytorch_optimizer.optimizer.yogi:Yogi",
        _betas(0.9, 0.999),
        _DECOUPLED,
        weight_decay=0.0,
        fixed_decay=False,
        r=0.95,
        adanorm=False,
        adam_debias=False,
        initial_accumulator=1e-6,
        eps=1e-3,
    ),
    Name.SGD_8BIT: _recipe(f"{_BNB}:SGD8bit", **_SGD),
    # OneTrainer creates the class with 32-bit states under this name
    Name.ADAM_8BIT: _recipe(f"{_BNB}:Adam", _betas(0.9, 0.999), **_BLOCKS, weight_decay=0, eps=1e-8, is_paged=False),
    Name.ADAMW_8BIT: _recipe(f"{_BNB}:AdamW8bit", _betas(0.9, 0.999), **_BLOCKS, weight_decay=1e-2, eps=1e-8, is_paged=False),
    Name.AdEMAMix: _recipe(
        f"{_BNB}:AdEMAMix",
        _ademamix_betas(),
        weight_decay=1e-2,
        eps=1e-8,
        alpha=5,
        optim_bits=32,
        min_8bit_size=4096,
        is_paged=False,
    ),
    Name.AdEMAMix_8BIT: _recipe(
        f"{_BNB}:AdEMAMix8bit",
        _ademamix_betas(),
        weight_decay=1e-2,
        eps=1e-8,
        alpha=5,
        min_8bit_size=4096,
        is_paged=False,
    ),
    Name.ADAGRAD: _recipe(f"{_BNB}:Adagrad", **_ADAGRAD),
    Name.ADAGRAD_8BIT: _recipe(f"{_BNB}:Adagrad8bit", **_ADAGRAD, **_BLOCKS),
    Name.RMSPROP: _recipe(f"{_BNB}:RMSprop", **_RMSPROP),
    Name.RMSPROP_8BIT: _recipe(f"{_BNB}:RMSprop8bit", **_RMSPROP, **_BLOCKS),
    Name.LARS: _recipe(f"{_BNB}:LARS", **_LARS),
    Name.LARS_8BIT: _recipe(f"{_BNB}:LARS8bit", **_LARS, min_8bit_size=4096, percentile_clipping=100),
    Name.LAMB: _recipe(f"{_BNB}:LAMB", _betas(0.9, 0.999), **_LAMB, optim_bits=32),
    Name.LAMB_8BIT: _recipe(f"{_BNB}:LAMB8bit", _betas(0.9, 0.999), **_LAMB),
    Name.LION_8BIT: _recipe(f"{_BNB}:Lion8bit", _betas(0.9, 0.999), **_BLOCKS, weight_decay=0, is_paged=False),
}
