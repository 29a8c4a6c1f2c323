"""Declare the parameters of all optimizers. ``optimizers.OPTIMIZERS`` lists which of them each optimizer uses."""

from __future__ import annotations

from functools import partial
from typing import Any

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.declarations.visibility import taken_by_optimizer
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import AUXILIARY_NAMES

_parameter = partial(setting, group="optimizer", level="expert", shown={"optimizer.optimizer": taken_by_optimizer})


class TrainOptimizerConfig(Settings):
    """Name and parameters of the optimizer. An empty parameter uses the optimizer's own default."""

    optimizer: Optimizer = setting(
        Optimizer.ADAMW,
        label="Optimizer",
        help="Algorithm that updates the weights. AdamW is the safe choice. Adafactor and 8-bit optimizers save VRAM. Prodigy adapts the learning rate itself (set Learning rate to 1).",
        group="optimization",
        level="basic",
    )
    adam_w_mode: bool = _parameter(
        False,
        label="AdamW mode",
        help="Apply weight decay as AdamW does, separately from the gradient. If off, it is added to the gradient as in Adam.",
    )
    alpha: float | None = _parameter(
        None,
        label="Alpha",
        help="RMSprop: decay of the second moment, usually 0.99. AdEMAMix: weight of the slow EMA, usually 5. 0 turns the slow EMA off.",
        ge=0,
    )
    amsgrad: bool = _parameter(
        False,
        label="AMSGrad",
        help="Never let the step size grow again after large gradients. More stable in theory, rarely better in practice.",
    )
    beta1: float | None = _parameter(
        None,
        label="Beta 1",
        help="Decay of the first moment (momentum). 0.9 averages about 10 steps. Higher values are smoother but react more slowly, 0 turns momentum off.",
        ge=0,
        lt=1,
    )
    beta2: float | None = _parameter(
        None,
        label="Beta 2",
        help="Decay of the second moment (size of the gradients). 0.999 averages about 1,000 steps. For short runs, 0.99 can be better.",
        ge=0,
        lt=1,
    )
    beta3: float | None = _parameter(
        None,
        label="Beta 3",
        help="AdEMAMix: decay of the slow EMA, usually 0.9999. Prodigy: decay of the step size estimate, if empty the square root of beta 2. CAME: decay of the confidence, usually 0.9999.",
        ge=0,
        lt=1,
    )
    bias_correction: bool = _parameter(
        False,
        label="Bias correction",
        help="Correct the moments for starting at 0. This matters in the first steps.",
    )
    block_wise: bool = _parameter(
        False,
        label="Block-wise quantization",
        help="Quantize the 8-bit state in blocks with separate scales, so that one outlier doesn't affect the rest. Leave it on.",
    )
    capturable: bool = _parameter(
        False,
        label="Capturable",
        help="Allow CUDA graphs to capture the step. Not needed here, leave it off.",
    )
    centered: bool = _parameter(
        False,
        label="Centered",
        help="Subtract the mean gradient from the second-moment estimate. Can help unstable runs but needs more memory.",
    )
    clip_threshold: float | None = _parameter(
        None,
        label="Clip threshold",
        help="Limit of the size of an update. 1 is typical for Adafactor. Smaller values are calmer. Leave it empty for no limit if the optimizer allows that.",
        gt=0,
    )
    d0: float | None = _parameter(
        None,
        label="Initial D (d0)",
        help="Initial estimate for the learning rate search. 1e-6 is right in nearly all cases. Higher values find the learning rate sooner but can overshoot.",
        gt=0,
    )
    d_coef: float | None = _parameter(
        None,
        label="D coefficient (d_coef)",
        help="Multiplier for the estimated learning rate. 1 uses it unchanged, 0.5 trains more gently, 2 harder. The main setting to tune with Prodigy.",
        level="advanced",
        gt=0,
    )
    dampening: float | None = _parameter(
        None,
        label="Dampening",
        help="Share of the new gradient that is held back while momentum is on. 0 is typical.",
        ge=0,
        le=1,
    )
    decay_rate: float | None = _parameter(
        None,
        label="Decay rate",
        help="How the decay of the second moment grows during the run. A negative number, usually -0.8.",
    )
    decouple: bool = _parameter(
        False,
        label="Decoupled weight decay",
        help="Decouple weight decay from the gradient, as AdamW does. Recommended if Weight decay isn't 0.",
    )
    differentiable: bool = _parameter(
        False,
        label="Differentiable",
        help="Let gradients flow through the step itself. Not needed here and costs memory, leave it off.",
    )
    eps: float | None = _parameter(
        None,
        label="Epsilon",
        help="Small number that avoids division by zero. 1e-8 is typical. Much larger values make steps smaller where gradients are tiny.",
        ge=0,
    )
    eps2: float | None = _parameter(
        None,
        label="Epsilon 2",
        help="Second epsilon. Adafactor: lower limit for the size of the weights, usually 0.001. CAME: the same for its confidence, usually 1e-16.",
        ge=0,
    )
    foreach: bool | None = _parameter(
        False,
        label="Foreach",
        help="Update all tensors in few large operations. Faster, with a higher memory peak. Not compatible with Stochastic rounding.",
    )
    fsdp_in_use: bool = _parameter(
        False,
        label="FSDP in use",
        help="Tell the optimizer that weights are sharded over several GPUs (FSDP). They never are here, so leave it off.",
    )
    fused: bool = _parameter(
        False,
        label="Fused kernel",
        help="Use one fast kernel for the whole update if the device has one. Not compatible with Stochastic rounding or Fused back pass.",
    )
    fused_back_pass: bool = _parameter(
        False,
        label="Fused back pass",
        help="Update each weight as soon as its gradient is computed, then free the gradient. Saves a lot of VRAM. Gradients are then not accumulated over steps.",
        level="advanced",
    )
    growth_rate: float | None = _parameter(
        None,
        label="Growth rate",
        help="How fast the estimated learning rate may grow per step. inf (no limit) is typical. 1.02 lets it rise slowly, like warmup.",
        ge=1,
        infinite=True,
    )
    initial_accumulator_value: int | None = _parameter(
        None,
        label="Initial accumulator value",
        help="Initial value of the sum of squared gradients. Larger values make the first steps smaller.",
        ge=0,
    )
    initial_accumulator: float | None = _parameter(
        None,
        label="Initial accumulator",
        help="Initial value of the second moment. Larger values make the first steps smaller.",
        ge=0,
    )
    is_paged: bool = _parameter(
        False,
        label="Paged optimizer",
        help="Let the optimizer state move to system RAM when VRAM is full. Avoids out-of-memory errors but is slower.",
    )
    log_every: int | None = _parameter(
        None,
        label="Log every",
        help="Log the estimated learning rate every N steps. 0 turns it off.",
        ge=0,
        unit="steps",
    )
    lr_decay: float | None = _parameter(
        None,
        label="Learning rate decay",
        help="Lower the learning rate a little at each step, in addition to the scheduler. 0 turns it off.",
        ge=0,
    )
    max_unorm: float | None = _parameter(
        None,
        label="Max update norm (max_unorm)",
        help="Limit of the norm of an update relative to the norm of the weights. 0 turns it off.",
        ge=0,
    )
    maximize: bool = _parameter(
        False,
        label="Maximize",
        help="Increase the loss instead of reducing it, which ruins the model. Leave it off.",
    )
    min_8bit_size: int | None = _parameter(
        None,
        label="Min 8-bit size",
        help="Tensors with fewer elements keep a 32-bit state, because they are small and sensitive. 4096 is typical.",
        ge=0,
    )
    quant_block_size: int | None = _parameter(
        None,
        label="Quantization block size",
        help="Number of values that share a scale in the 8-bit state. Smaller blocks are more exact but need more memory.",
        ge=1,
    )
    momentum: float | None = _parameter(
        None,
        label="Momentum",
        help="Share of the last step that is carried over. 0 turns it off, 0.9 is typical. Higher values are smoother but react more slowly.",
        ge=0,
        lt=1,
    )
    nesterov: bool = _parameter(
        False,
        label="Nesterov momentum",
        help="Look ahead along the momentum before each step. Often a little faster. Requires a momentum above 0.",
    )
    no_prox: bool = _parameter(
        False,
        label="No prox",
        help="Apply weight decay as AdamW does instead of Adan's own rule.",
    )
    optim_bits: int | None = _parameter(
        None,
        label="Optimizer bits",
        help="Bits per value of the optimizer state. 32 is exact, 8 needs a quarter of the memory.",
        ge=8,
        le=32,
        unit="bit",
    )
    percentile_clipping: int | None = _parameter(
        None,
        label="Percentile clipping",
        help="Clip gradients that are larger than this percentile of the last 100. 100 turns it off, 95 clips the largest 5%.",
        ge=0,
        le=100,
        unit="%",
    )
    r: float | None = _parameter(
        None,
        label="R",
        help="Schedule-free: how strongly later steps count in the average, 0 counts all equally. Aida and Yogi: decay of the normalized gradient, usually 0.95.",
        ge=0,
    )
    relative_step: bool = _parameter(
        False,
        label="Relative step",
        help="Let Adafactor compute the learning rate from the number of steps. Learning rate is then not used.",
    )
    safeguard_warmup: bool = _parameter(
        False,
        label="Safeguard warmup",
        help="Keep learning rate warmup from disturbing the learning rate search. Turn it on if you use warmup.",
    )
    scale_parameter: bool = _parameter(
        False,
        label="Scale parameter",
        help="Make steps larger where weights are large. Made for Relative step. Leave it off with a fixed learning rate.",
    )
    stochastic_rounding: bool = _parameter(
        True,
        label="Stochastic rounding",
        help="Round randomly when weights are stored in 16 bits, so that small updates aren't lost. Turn it on for bfloat16 weights. It has no effect on float32 weights.",
        level="advanced",
    )
    use_bias_correction: bool = _parameter(
        False,
        label="Bias correction",
        help="Correct the moments for starting at 0. This matters in the first steps.",
    )
    use_triton: bool = _parameter(
        False,
        label="Triton kernel",
        help="Use a faster kernel written in Triton. Requires Triton.",
    )
    warmup_init: bool = _parameter(
        False,
        label="Warmup init",
        help="Let Adafactor's relative step start small. Requires Relative step.",
    )
    weight_decay: float | None = _parameter(
        None,
        label="Weight decay",
        help="Pull weights toward 0 a little at each step, which reduces overfitting. 0 turns it off, 0.01 is typical, 0.1 is strong.",
        level="advanced",
        ge=0,
    )
    weight_lr_power: float | None = _parameter(
        None,
        label="Weight LR power",
        help="How little warmup steps count in the average of a schedule-free optimizer. 2 is typical, 0 counts all steps equally.",
        ge=0,
    )
    decoupled_decay: bool = _parameter(
        False,
        label="Decoupled weight decay",
        help="Decouple weight decay from the gradient, as AdamW does. Recommended if Weight decay isn't 0.",
    )
    fixed_decay: bool = _parameter(
        False,
        label="Fixed weight decay",
        help="Keep weight decay independent of the learning rate. It then stays strong when the scheduler lowers the learning rate.",
    )
    rectify: bool = _parameter(
        False,
        label="Rectify",
        help="Reduce the first steps until the second-moment estimate is reliable (RAdam), like a built-in warmup.",
    )
    degenerated_to_sgd: bool = _parameter(
        False,
        label="Degenerate to SGD",
        help="Take plain gradient steps while the second-moment estimate isn't reliable. If off, no steps are taken then.",
    )
    k: int | None = _parameter(
        None,
        label="K (projections)",
        help="How many times per step gradient and momentum are projected onto each other. 2 is typical. More take longer.",
        ge=0,
    )
    xi: float | None = _parameter(
        None,
        label="Xi (projection epsilon)",
        help="Small number that avoids division by zero in the projections. Leave it at 1e-20.",
        ge=0,
    )
    n_sma_threshold: int | None = _parameter(
        None,
        label="N SMA threshold",
        help="Number of averaged steps from which the second-moment estimate counts as reliable. 5 is typical.",
        ge=0,
    )
    ams_bound: bool = _parameter(
        False,
        label="AMSBound",
        help="Never let the step size grow again after large gradients.",
    )
    adanorm: bool = _parameter(
        False,
        label="AdaNorm",
        help="Normalize the gradients by their average size before they are used.",
    )
    adam_debias: bool = _parameter(
        False,
        label="Adam debias",
        help="Correct only the second moment for starting at 0, not the first. This makes the first steps smaller.",
    )
    slice_p: int | None = _parameter(
        None,
        label="Slice p",
        help="Estimate the learning rate from every p-th weight only, which saves memory. 1 uses all weights, 11 saves a lot.",
        ge=1,
    )
    cautious: bool = _parameter(
        False,
        label="Cautious",
        help="Skip updates that point against the current gradient. Often learns slightly faster.",
    )
    weight_decay_by_lr: bool = _parameter(
        True,
        label="Weight decay by LR",
        help="Multiply weight decay by the learning rate. If off, the same value has a much stronger effect.",
    )
    prodigy_steps: int | None = _parameter(
        None,
        label="Prodigy steps",
        help="Stop the learning rate search after this many steps and keep the estimate. 0 searches until the end.",
        ge=0,
        unit="steps",
    )
    use_speed: bool = _parameter(
        False,
        label="SPEED (use_speed)",
        help="Use another rule for the learning rate search, which needs less memory. Experimental.",
    )
    split_groups: bool = _parameter(
        True,
        label="Split groups",
        help="Estimate a separate learning rate for each component, such as UNet and text encoder. If off, all components share one.",
    )
    split_groups_mean: bool = _parameter(
        True,
        label="Split groups mean",
        help="Use the mean of the components' estimated learning rates for all of them.",
    )
    factored: bool = _parameter(
        True,
        label="Factored second moment",
        help="Store the second moment as rows and columns. Saves a lot of memory and is slightly less exact.",
    )
    factored_fp32: bool = _parameter(
        True,
        label="Factored in FP32",
        help="Keep the factored state in float32, regardless of the weight data type. Costs almost nothing, leave it on.",
    )
    use_stableadamw: bool = _parameter(
        True,
        label="StableAdamW",
        help="Shrink updates that are much larger than usual. Replaces gradient clipping. Leave it on.",
    )
    use_cautious: bool = _parameter(
        False,
        label="Cautious",
        help="Skip updates that point against the current gradient. Often learns slightly faster.",
    )
    use_grams: bool = _parameter(
        False,
        label="Grams",
        help="Take the direction of each update from the gradient and only its size from the moments. An alternative to Cautious.",
    )
    use_adopt: bool = _parameter(
        False,
        label="ADOPT",
        help="Scale by the second moment from before the current gradient, which makes every beta 2 stable. Experimental.",
    )
    d_limiter: bool | None = _parameter(
        True,
        label="D limiter",
        help="Keep the estimated learning rate from jumping up at the start, before training has settled.",
    )
    use_schedulefree: bool | None = _parameter(
        True,
        label="Schedule-free",
        help="Average the weights instead of lowering the learning rate. If off, you need a learning rate scheduler.",
    )
    use_orthograd: bool = _parameter(
        False,
        label="OrthoGrad",
        help="Remove the part of the gradient that is parallel to the weights, which reduces overfitting. Better for full fine-tunes than for LoRA.",
    )
    nnmf_factor: bool = _parameter(
        False,
        label="Factored optimizer (NNMF)",
        help="Store the optimizer state as rows, columns and signs. Saves nearly all of its memory and is slightly less exact.",
        level="advanced",
    )
    orthogonal_gradient: bool = _parameter(
        False,
        label="OrthoGrad",
        help="Remove the part of the gradient that is parallel to the weights, which reduces overfitting. Better for full fine-tunes than for LoRA.",
    )
    use_atan2: bool = _parameter(
        False,
        label="Atan2 scaling",
        help="Use the arc tangent instead of a division. Every step is bounded and Epsilon isn't needed.",
    )
    use_AdEMAMix: bool = _parameter(
        False,
        label="AdEMAMix EMA",
        help="Add a very slow EMA of the gradients to the momentum. Helps long runs, costs memory and needs thousands of steps to take effect.",
    )
    beta3_ema: float | None = _parameter(
        None,
        label="Beta 3 EMA",
        help="Decay of the slow EMA. 0.9999 averages about 10,000 steps. Use 0.999 for short runs.",
        ge=0,
        lt=1,
    )
    alpha_grad: float | None = _parameter(
        None,
        label="Grad α (alpha_grad)",
        help="Weight of the current gradient relative to the momentum. 100 suits small batches, 0 uses only the momentum.",
        ge=0,
    )
    beta1_warmup: int | None = setting(None)
    min_beta1: float | None = setting(None)
    Simplified_AdEMAMix: bool = _parameter(
        False,
        label="Simplified AdEMAMix",
        help="Accumulate momentum instead of averaging it. Steps become many times larger, so divide the learning rate by 10 or more.",
    )
    kourkoutas_beta: bool = _parameter(
        False,
        label="Kourkoutas beta",
        help="Lower beta 2 automatically while gradients are unstable and raise it while they are calm.",
    )
    schedulefree_c: float | None = _parameter(
        None,
        label="Schedule-free averaging strength (c)",
        help="How strongly the latest weights count in the schedule-free average. 0 is the standard rule. Higher values follow them faster, which suits large batches.",
        ge=0,
    )
    ns_steps: int | None = _parameter(
        None,
        label="Newton-Schulz iterations",
        help="Number of iterations that make an update orthogonal. 5 is typical. Fewer are faster and less exact.",
        ge=1,
    )
    MuonWithAuxAdam: bool = _parameter(
        False,
        label="Muon with auxiliary Adam",
        help="Train with Adam what Muon doesn't suit: embeddings, norms and all but the hidden layers. Leave it on.",
    )
    muon_hidden_layers: str | None = _parameter(
        None,
        label="Muon hidden layers",
        help="Comma-separated patterns of the layers that Muon trains. Leave it empty for the model's own blocks.",
    )
    muon_adam_regex: bool = _parameter(
        False,
        label="Muon hidden layers: use regex",
        help="Treat Muon hidden layers as regular expressions.",
    )
    muon_adam_lr: float | None = _parameter(
        None,
        label="Auxiliary Adam LR",
        help="Learning rate of the auxiliary Adam, usually much lower than Muon's.",
        ge=0,
    )
    muon_te1_adam_lr: float | None = _parameter(
        None,
        label="Auxiliary Adam LR (text encoder 1)",
        help="Learning rate of the auxiliary Adam in the first text encoder. Leave it empty to use Auxiliary Adam LR.",
        ge=0,
    )
    muon_te2_adam_lr: float | None = _parameter(
        None,
        label="Auxiliary Adam LR (text encoder 2)",
        help="Learning rate of the auxiliary Adam in the second text encoder. Leave it empty to use Auxiliary Adam LR.",
        ge=0,
    )
    muon_adam_config: dict[str, Any] | None = _parameter(
        {},
        label="Auxiliary Adam parameters",
        help="Parameters of the auxiliary Adam. Those that aren't set have their default.",
        kind="map",
        keys=AUXILIARY_NAMES,
    )
    rms_rescaling: bool | None = _parameter(
        True,
        label="RMS rescaling",
        help="Scale updates to the size of Adam's, so that learning rates for Adam fit. If off, they must be many times higher.",
    )
    normuon_variant: bool = _parameter(
        False,
        label="NorMuon",
        help="Even out the size of updates across neurons. Usually learns faster for little memory.",
    )
    beta2_normuon: float | None = _parameter(
        None,
        label="NorMuon beta 2",
        help="Decay of NorMuon's second moment. 0.95 is typical.",
        ge=0,
        lt=1,
    )
    low_rank_ortho: bool = _parameter(
        False,
        label="Low-rank orthogonalization",
        help="Make updates orthogonal in a smaller space. Faster for large layers but less exact.",
    )
    ortho_rank: int | None = _parameter(
        None,
        label="Orthogonalization rank",
        help="Size of the space for low-rank orthogonalization. 128 is typical. Larger is more exact but slower.",
        ge=1,
    )
    accelerated_ns: bool = _parameter(
        False,
        label="Accelerated Newton-Schulz",
        help="Use better coefficients in each Newton-Schulz iteration, so that fewer iterations are enough.",
    )
    cautious_wd: bool = _parameter(
        False,
        label="Cautious weight decay",
        help="Apply weight decay only where it agrees with the update, so that it doesn't hold back learning.",
    )
    approx_mars: bool = _parameter(
        False,
        label="Approx MARS-M",
        help="Correct each gradient by the previous one, which reduces noise. Needs memory for one more copy of the gradients.",
    )
    auto_kappa_p: bool = _parameter(
        False,
        label="Auto Lion-K (kappa p)",
        help="Let Lion choose between plain signs and smoother steps for each layer.",
    )
    compile: bool = _parameter(
        False,
        label="Compile the optimizer",
        help="Compile the optimizer with torch.compile. The first steps take much longer.",
    )
