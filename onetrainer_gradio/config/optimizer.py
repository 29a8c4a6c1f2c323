"""Settings of the optimizer: the union over all of them; each optimizer reads its own."""

from __future__ import annotations

from typing import Any

from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.setting import Settings, setting


class TrainOptimizerConfig(Settings):
    """Name and parameters of the optimizer; a parameter left empty takes the optimizer's own default."""

    optimizer: Optimizer = setting(
        Optimizer.ADAMW,
        label="Optimizer",
        help="The rule that turns gradients into changes. ADAMW is the safe choice.",
        group="optimization",
        level="basic",
        choices=("ADAMW", "ADAM", "SGD", "ADAFACTOR"),
    )
    adam_w_mode: bool = setting(False)
    alpha: float | None = setting(None)
    amsgrad: bool = setting(False)
    beta1: float | None = setting(
        None,
        label="Beta 1",
        help="How long the optimizer remembers the direction. Empty means 0.9.",
        group="optimization",
        level="expert",
        ge=0,
        lt=1,
        shown={"optimizer.optimizer": ("ADAMW", "ADAM")},
    )
    beta2: float | None = setting(
        None,
        label="Beta 2",
        help="How long the optimizer remembers the size of the gradients. Empty means 0.999.",
        group="optimization",
        level="expert",
        ge=0,
        lt=1,
        shown={"optimizer.optimizer": ("ADAMW", "ADAM")},
    )
    beta3: float | None = setting(None)
    bias_correction: bool = setting(False)
    block_wise: bool = setting(False)
    capturable: bool = setting(False)
    centered: bool = setting(False)
    clip_threshold: float | None = setting(None)
    d0: float | None = setting(None)
    d_coef: float | None = setting(None)
    dampening: float | None = setting(None)
    decay_rate: float | None = setting(None)
    decouple: bool = setting(False)
    differentiable: bool = setting(False)
    eps: float | None = setting(
        None,
        label="Epsilon",
        help="A tiny number that avoids division by zero. Empty means 1e-8.",
        group="optimization",
        level="expert",
        ge=0,
        shown={"optimizer.optimizer": ("ADAMW", "ADAM")},
    )
    eps2: float | None = setting(None)
    foreach: bool | None = setting(False)
    fsdp_in_use: bool = setting(False)
    fused: bool = setting(
        False,
        label="Fused kernel",
        help="One fast kernel for the whole update where the device has one.",
        group="optimization",
        level="expert",
        shown={"optimizer.optimizer": ("ADAMW", "ADAM")},
    )
    fused_back_pass: bool = setting(False)
    growth_rate: float | None = setting(None)
    initial_accumulator_value: int | None = setting(None)
    initial_accumulator: float | None = setting(None)
    is_paged: bool = setting(False)
    log_every: int | None = setting(None)
    lr_decay: float | None = setting(None)
    max_unorm: float | None = setting(None)
    maximize: bool = setting(False)
    min_8bit_size: int | None = setting(None)
    quant_block_size: int | None = setting(None)
    momentum: float | None = setting(
        None,
        label="Momentum",
        help="How much of the last step is carried on.",
        group="optimization",
        level="expert",
        ge=0,
        lt=1,
        shown={"optimizer.optimizer": ("SGD",)},
    )
    nesterov: bool = setting(False)
    no_prox: bool = setting(False)
    optim_bits: int | None = setting(None)
    percentile_clipping: int | None = setting(None)
    r: float | None = setting(None)
    relative_step: bool = setting(False)
    safeguard_warmup: bool = setting(False)
    scale_parameter: bool = setting(False)
    stochastic_rounding: bool = setting(
        True,
        label="Stochastic rounding",
        help="Round at random when weights are kept in 16 bits, so that small changes are not lost.",
        group="optimization",
        level="expert",
    )
    use_bias_correction: bool = setting(False)
    use_triton: bool = setting(False)
    warmup_init: bool = setting(False)
    weight_decay: float | None = setting(
        None,
        label="Weight decay",
        help="Pulls weights towards zero a little at each step, against overfitting. Empty means the optimizer's default.",
        group="optimization",
        level="advanced",
        ge=0,
    )
    weight_lr_power: float | None = setting(None)
    decoupled_decay: bool = setting(False)
    fixed_decay: bool = setting(False)
    rectify: bool = setting(False)
    degenerated_to_sgd: bool = setting(False)
    k: int | None = setting(None)
    xi: float | None = setting(None)
    n_sma_threshold: int | None = setting(None)
    ams_bound: bool = setting(False)
    adanorm: bool = setting(False)
    adam_debias: bool = setting(False)
    slice_p: int | None = setting(None)
    cautious: bool = setting(False)
    weight_decay_by_lr: bool = setting(True)
    prodigy_steps: int | None = setting(None)
    use_speed: bool = setting(False)
    split_groups: bool = setting(True)
    split_groups_mean: bool = setting(True)
    factored: bool = setting(True)
    factored_fp32: bool = setting(True)
    use_stableadamw: bool = setting(True)
    use_cautious: bool = setting(False)
    use_grams: bool = setting(False)
    use_adopt: bool = setting(False)
    d_limiter: bool | None = setting(True)
    use_schedulefree: bool | None = setting(True)
    use_orthograd: bool = setting(False)
    nnmf_factor: bool = setting(False)
    orthogonal_gradient: bool = setting(False)
    use_atan2: bool = setting(False)
    use_AdEMAMix: bool = setting(False)
    beta3_ema: float | None = setting(None)
    alpha_grad: float | None = setting(None)
    beta1_warmup: int | None = setting(None)
    min_beta1: float | None = setting(None)
    Simplified_AdEMAMix: bool = setting(False)
    kourkoutas_beta: bool = setting(False)
    schedulefree_c: float | None = setting(None)
    ns_steps: int | None = setting(None)
    MuonWithAuxAdam: bool = setting(False)
    muon_hidden_layers: str | None = setting(None)
    muon_adam_regex: bool = setting(False)
    muon_adam_lr: float | None = setting(None)
    muon_te1_adam_lr: float | None = setting(None)
    muon_te2_adam_lr: float | None = setting(None)
    muon_adam_config: dict[str, Any] | None = setting({})
    rms_rescaling: bool | None = setting(True)
    normuon_variant: bool = setting(False)
    beta2_normuon: float | None = setting(None)
    low_rank_ortho: bool = setting(False)
    ortho_rank: int | None = setting(None)
    accelerated_ns: bool = setting(False)
    cautious_wd: bool = setting(False)
    approx_mars: bool = setting(False)
    auto_kappa_p: bool = setting(False)
    compile: bool = setting(False)
