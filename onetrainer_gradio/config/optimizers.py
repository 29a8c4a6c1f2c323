"""Define the parameters of each optimizer and their defaults.

These are OneTrainer's 43 optimizers with the defaults that are set when one is selected. With ``None``, the optimizer decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.config.enums import Optimizer


@dataclass(frozen=True)
class OptimizerFacts:
    """Parameters with their defaults, and how the optimizer uses the learning rate.

    ``adaptive`` adapts the learning rate (set it to 1.0), ``schedule_free`` needs no scheduler, ``fused_back_pass`` can step
    during the backward pass.
    """

    defaults: dict[str, Any]
    adaptive: bool = False
    schedule_free: bool = False
    fused_back_pass: bool = False


OPTIMIZERS: dict[Optimizer, OptimizerFacts] = {
    Optimizer.ADAGRAD: OptimizerFacts(
        {
            "lr_decay": 0,
            "weight_decay": 0,
            "initial_accumulator_value": 0,
            "eps": 1e-10,
            "optim_bits": 32,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
        }
    ),
    Optimizer.ADAGRAD_8BIT: OptimizerFacts(
        {
            "lr_decay": 0,
            "weight_decay": 0,
            "initial_accumulator_value": 0,
            "eps": 1e-10,
            "optim_bits": 8,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
            "fused_back_pass": False,
        }
    ),
    Optimizer.ADAM: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
            "weight_decay": 0,
            "amsgrad": False,
            "foreach": False,
            "maximize": False,
            "capturable": False,
            "differentiable": False,
            "fused": True,
            "stochastic_rounding": False,
            "fused_back_pass": False,
        },
        fused_back_pass=True,
    ),
    Optimizer.ADAM_8BIT: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
            "weight_decay": 0,
            "amsgrad": False,
            "optim_bits": 32,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
            "is_paged": False,
        }
    ),
    Optimizer.ADAMW: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
            "weight_decay": 0.01,
            "amsgrad": False,
            "foreach": False,
            "maximize": False,
            "capturable": False,
            "differentiable": False,
            "fused": True,
            "stochastic_rounding": False,
            "fused_back_pass": False,
        },
        fused_back_pass=True,
    ),
    Optimizer.ADAMW_8BIT: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
            "weight_decay": 0.01,
            "amsgrad": False,
            "optim_bits": 32,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
            "is_paged": False,
        }
    ),
    Optimizer.ADAMW_ADV: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.99,
            "eps": 1e-08,
            "cautious_wd": False,
            "weight_decay": 0.0,
            "nnmf_factor": False,
            "stochastic_rounding": True,
            "compile": False,
            "fused_back_pass": False,
            "use_atan2": False,
            "orthogonal_gradient": False,
            "use_AdEMAMix": False,
            "beta3_ema": 0.9999,
            "alpha": 5,
            "kourkoutas_beta": False,
        },
        fused_back_pass=True,
    ),
    Optimizer.AdEMAMix: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "beta3": 0.9999,
            "eps": 1e-08,
            "alpha": 5,
            "weight_decay": 0.01,
            "optim_bits": 32,
            "min_8bit_size": 4096,
            "is_paged": False,
        }
    ),
    Optimizer.AdEMAMix_8BIT: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "beta3": 0.9999,
            "eps": 1e-08,
            "alpha": 5,
            "weight_decay": 0.01,
            "min_8bit_size": 4096,
            "is_paged": False,
        }
    ),
    Optimizer.ADOPT: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.9999,
            "weight_decay": 0.0,
            "decoupled_decay": False,
            "fixed_decay": False,
            "cautious": False,
            "eps": 1e-06,
        }
    ),
    Optimizer.ADOPT_ADV: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.9999,
            "eps": 1e-06,
            "cautious_wd": False,
            "weight_decay": 0.0,
            "nnmf_factor": False,
            "stochastic_rounding": True,
            "compile": False,
            "fused_back_pass": False,
            "use_atan2": True,
            "orthogonal_gradient": False,
            "use_AdEMAMix": False,
            "beta3_ema": 0.9999,
            "alpha": 5,
            "Simplified_AdEMAMix": False,
            "alpha_grad": 100.0,
            "kourkoutas_beta": False,
        },
        fused_back_pass=True,
    ),
    Optimizer.LAMB: OptimizerFacts(
        {
            "bias_correction": True,
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
            "weight_decay": 0,
            "amsgrad": False,
            "adam_w_mode": True,
            "optim_bits": 32,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": False,
            "max_unorm": 1.0,
        }
    ),
    Optimizer.LAMB_8BIT: OptimizerFacts(
        {
            "bias_correction": True,
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
            "weight_decay": 0,
            "amsgrad": False,
            "adam_w_mode": True,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": False,
            "max_unorm": 1.0,
        }
    ),
    Optimizer.LARS: OptimizerFacts(
        {
            "momentum": 0,
            "dampening": 0,
            "weight_decay": 0,
            "nesterov": False,
            "optim_bits": 32,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "max_unorm": 0.02,
        }
    ),
    Optimizer.LARS_8BIT: OptimizerFacts(
        {
            "momentum": 0,
            "dampening": 0,
            "weight_decay": 0,
            "nesterov": False,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "max_unorm": 0.02,
        }
    ),
    Optimizer.LION: OptimizerFacts({"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "use_triton": False}),
    Optimizer.LION_8BIT: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "weight_decay": 0,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
            "is_paged": False,
        }
    ),
    Optimizer.LION_ADV: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.99,
            "cautious_wd": False,
            "weight_decay": 0.0,
            "clip_threshold": None,
            "nnmf_factor": False,
            "stochastic_rounding": True,
            "compile": False,
            "fused_back_pass": False,
            "orthogonal_gradient": False,
            "auto_kappa_p": True,
        },
        fused_back_pass=True,
    ),
    Optimizer.RMSPROP: OptimizerFacts(
        {
            "alpha": 0.99,
            "eps": 1e-08,
            "weight_decay": 0,
            "momentum": 0,
            "centered": False,
            "optim_bits": 32,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
        }
    ),
    Optimizer.RMSPROP_8BIT: OptimizerFacts(
        {
            "alpha": 0.99,
            "eps": 1e-08,
            "weight_decay": 0,
            "momentum": 0,
            "centered": False,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
        }
    ),
    Optimizer.SGD: OptimizerFacts(
        {
            "momentum": 0,
            "dampening": 0,
            "weight_decay": 0,
            "nesterov": False,
            "foreach": False,
            "maximize": False,
            "differentiable": False,
        }
    ),
    Optimizer.SGD_8BIT: OptimizerFacts(
        {
            "momentum": 0,
            "dampening": 0,
            "weight_decay": 0,
            "nesterov": False,
            "min_8bit_size": 4096,
            "percentile_clipping": 100,
            "block_wise": True,
        }
    ),
    Optimizer.SIGNSGD_ADV: OptimizerFacts(
        {
            "momentum": 0.95,
            "cautious_wd": False,
            "weight_decay": 0.0,
            "nnmf_factor": False,
            "stochastic_rounding": True,
            "compile": False,
            "fused_back_pass": False,
            "orthogonal_gradient": False,
            "Simplified_AdEMAMix": False,
            "alpha_grad": 100.0,
        },
        fused_back_pass=True,
    ),
    Optimizer.SCHEDULE_FREE_ADAMW: OptimizerFacts(
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.01, "r": 0.0, "weight_lr_power": 2.0, "foreach": False},
        schedule_free=True,
    ),
    Optimizer.SCHEDULE_FREE_SGD: OptimizerFacts(
        {"momentum": 0, "weight_decay": 0.01, "r": 0.0, "weight_lr_power": 2.0, "foreach": False}, schedule_free=True
    ),
    Optimizer.DADAPT_ADA_GRAD: OptimizerFacts(
        {"momentum": 0, "log_every": 0, "weight_decay": 0.0, "eps": 0.0, "d0": 1e-06, "growth_rate": math.inf}, adaptive=True
    ),
    Optimizer.DADAPT_ADAM: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
            "weight_decay": 0,
            "log_every": 0,
            "decouple": False,
            "use_bias_correction": False,
            "d0": 1e-06,
            "growth_rate": math.inf,
            "fsdp_in_use": False,
        },
        adaptive=True,
    ),
    Optimizer.DADAPT_ADAN: OptimizerFacts(
        {
            "beta1": 0.98,
            "beta2": 0.92,
            "beta3": 0.99,
            "eps": 1e-08,
            "weight_decay": 0.02,
            "no_prox": False,
            "log_every": 0,
            "d0": 1e-06,
            "growth_rate": math.inf,
        },
        adaptive=True,
    ),
    Optimizer.DADAPT_LION: OptimizerFacts(
        {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "log_every": 0, "d0": 1e-06, "fsdp_in_use": False}, adaptive=True
    ),
    Optimizer.DADAPT_SGD: OptimizerFacts(
        {"momentum": 0.0, "weight_decay": 0, "log_every": 0, "d0": 1e-06, "growth_rate": math.inf, "fsdp_in_use": False},
        adaptive=True,
    ),
    Optimizer.PRODIGY: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "beta3": None,
            "eps": 1e-08,
            "weight_decay": 0,
            "decouple": True,
            "use_bias_correction": False,
            "safeguard_warmup": False,
            "d0": 1e-06,
            "d_coef": 1.0,
            "growth_rate": math.inf,
            "fsdp_in_use": False,
            "slice_p": 11,
        },
        adaptive=True,
    ),
    Optimizer.PRODIGY_PLUS_SCHEDULE_FREE: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.99,
            "beta3": None,
            "weight_decay": 0.0,
            "weight_decay_by_lr": True,
            "use_bias_correction": False,
            "d0": 1e-06,
            "d_coef": 1.0,
            "prodigy_steps": 0,
            "use_speed": False,
            "eps": 1e-08,
            "split_groups": True,
            "split_groups_mean": False,
            "factored": True,
            "factored_fp32": True,
            "fused_back_pass": False,
            "use_stableadamw": True,
            "use_cautious": False,
            "use_grams": False,
            "use_adopt": False,
            "d_limiter": True,
            "stochastic_rounding": True,
            "use_schedulefree": True,
            "schedulefree_c": 0.0,
            "use_orthograd": False,
        },
        adaptive=True,
        schedule_free=True,
        fused_back_pass=True,
    ),
    Optimizer.PRODIGY_ADV: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.99,
            "beta3": None,
            "eps": 1e-08,
            "cautious_wd": False,
            "weight_decay": 0.0,
            "nnmf_factor": False,
            "stochastic_rounding": True,
            "compile": False,
            "fused_back_pass": False,
            "d0": 1e-06,
            "d_coef": 1.0,
            "growth_rate": math.inf,
            "slice_p": 11,
            "prodigy_steps": 0,
            "d_limiter": False,
            "use_atan2": False,
            "orthogonal_gradient": False,
            "use_AdEMAMix": False,
            "beta3_ema": 0.9999,
            "alpha": 5,
            "Simplified_AdEMAMix": False,
            "alpha_grad": 100.0,
            "kourkoutas_beta": False,
        },
        adaptive=True,
        fused_back_pass=True,
    ),
    Optimizer.ADAFACTOR: OptimizerFacts(
        {
            "eps": 1e-30,
            "eps2": 0.001,
            "clip_threshold": 1.0,
            "decay_rate": -0.8,
            "beta1": None,
            "weight_decay": 0.0,
            "scale_parameter": False,
            "relative_step": False,
            "warmup_init": False,
            "stochastic_rounding": True,
            "fused_back_pass": False,
        },
        fused_back_pass=True,
    ),
    Optimizer.CAME: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "beta3": 0.9999,
            "eps": 1e-30,
            "eps2": 1e-16,
            "weight_decay": 0.01,
            "stochastic_rounding": False,
            "use_cautious": False,
            "fused_back_pass": False,
        },
        fused_back_pass=True,
    ),
    Optimizer.CAME_8BIT: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "beta3": 0.9999,
            "eps": 1e-30,
            "eps2": 1e-16,
            "weight_decay": 0.01,
            "stochastic_rounding": False,
            "fused_back_pass": False,
            "min_8bit_size": 16384,
            "quant_block_size": 2048,
        },
        fused_back_pass=True,
    ),
    Optimizer.MUON: OptimizerFacts(
        {
            "momentum": 0.95,
            "weight_decay": 0.0,
            "MuonWithAuxAdam": True,
            "muon_hidden_layers": None,
            "muon_adam_regex": False,
            "muon_adam_lr": 0.0003,
            "muon_te1_adam_lr": None,
            "muon_te2_adam_lr": None,
            "muon_adam_config": {},
        }
    ),
    Optimizer.MUON_ADV: OptimizerFacts(
        {
            "beta1": 0.9,
            "cautious_wd": False,
            "weight_decay": 0.0,
            "accelerated_ns": False,
            "ns_steps": 5,
            "low_rank_ortho": False,
            "ortho_rank": 128,
            "rms_rescaling": True,
            "nnmf_factor": False,
            "stochastic_rounding": True,
            "compile": False,
            "fused_back_pass": False,
            "MuonWithAuxAdam": True,
            "muon_hidden_layers": None,
            "muon_adam_regex": False,
            "muon_adam_lr": 1e-06,
            "muon_te1_adam_lr": None,
            "muon_te2_adam_lr": None,
            "nesterov": True,
            "Simplified_AdEMAMix": False,
            "alpha_grad": 100.0,
            "normuon_variant": True,
            "beta2_normuon": 0.95,
            "orthogonal_gradient": False,
            "approx_mars": False,
            "muon_adam_config": {},
        },
        fused_back_pass=True,
    ),
    Optimizer.ADAMUON_ADV: OptimizerFacts(
        {
            "beta1": 0.95,
            "beta2": 0.95,
            "eps": 1e-08,
            "cautious_wd": False,
            "weight_decay": 0.0,
            "accelerated_ns": False,
            "ns_steps": 5,
            "low_rank_ortho": False,
            "ortho_rank": 128,
            "rms_rescaling": True,
            "nnmf_factor": False,
            "stochastic_rounding": True,
            "compile": False,
            "fused_back_pass": False,
            "MuonWithAuxAdam": True,
            "muon_hidden_layers": None,
            "muon_adam_regex": False,
            "muon_adam_lr": 1e-06,
            "muon_te1_adam_lr": None,
            "muon_te2_adam_lr": None,
            "nesterov": False,
            "use_atan2": False,
            "Simplified_AdEMAMix": False,
            "alpha_grad": 100.0,
            "normuon_variant": True,
            "orthogonal_gradient": False,
            "approx_mars": False,
            "muon_adam_config": {},
        },
        fused_back_pass=True,
    ),
    Optimizer.ADABELIEF: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-16,
            "weight_decay": 0,
            "amsgrad": False,
            "decoupled_decay": True,
            "fixed_decay": False,
            "rectify": True,
            "degenerated_to_sgd": True,
        }
    ),
    Optimizer.TIGER: OptimizerFacts({"beta1": 0.965, "weight_decay": 0.01, "decoupled_decay": True, "fixed_decay": False}),
    Optimizer.AIDA: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "k": 2,
            "xi": 1e-20,
            "weight_decay": 0.0,
            "decoupled_decay": False,
            "fixed_decay": False,
            "rectify": False,
            "n_sma_threshold": 5,
            "degenerated_to_sgd": True,
            "ams_bound": False,
            "r": 0.95,
            "adanorm": False,
            "adam_debias": False,
            "eps": 1e-08,
        }
    ),
    Optimizer.YOGI: OptimizerFacts(
        {
            "beta1": 0.9,
            "beta2": 0.999,
            "weight_decay": 0.0,
            "decoupled_decay": True,
            "fixed_decay": False,
            "r": 0.95,
            "adanorm": False,
            "adam_debias": False,
            "initial_accumulator": 1e-06,
            "eps": 0.001,
        }
    ),
}


def _auxiliary(like: Optimizer, *names: str) -> dict[str, Any]:
    usual = OPTIMIZERS[like].defaults
    return {name: usual[name] for name in names}


_PLAIN_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
_ADVANCED_ADAM = _auxiliary(
    Optimizer.ADAMW_ADV,
    *_PLAIN_ADAM,
    "nnmf_factor",
    "stochastic_rounding",
    "use_atan2",
    "orthogonal_gradient",
    "use_AdEMAMix",
    "beta3_ema",
    "alpha",
    "kourkoutas_beta",
)

# optimizer that trains some layers with Adam -> the parameters of that Adam with their defaults
AUXILIARY_PARAMETERS: dict[Optimizer, dict[str, Any]] = {
    Optimizer.MUON: _PLAIN_ADAM,
    Optimizer.MUON_ADV: _ADVANCED_ADAM,
    Optimizer.ADAMUON_ADV: _ADVANCED_ADAM,
}
AUXILIARY_NAMES = tuple(_ADVANCED_ADAM)
