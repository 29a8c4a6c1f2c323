"""Settings of the optimizer: the union over all of them. Each optimizer takes its own, as ``optimizers.OPTIMIZERS`` says."""

from __future__ import annotations

from functools import partial
from typing import Any

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.declarations.visibility import taken_by_optimizer
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import AUXILIARY_NAMES

_parameter = partial(setting, group="optimizer", level="expert", shown={"optimizer.optimizer": taken_by_optimizer})


class TrainOptimizerConfig(Settings):
    """Name and parameters of the optimizer; a parameter left empty takes the optimizer's own default."""

    optimizer: Optimizer = setting(
        Optimizer.ADAMW,
        label="Optimizer",
        help="The rule that turns gradients into changes. ADAMW is the safe choice, ADAFACTOR and the 8-bit ones save memory, PRODIGY finds the learning rate by itself (set it to 1).",
        group="optimization",
        level="basic",
    )
    adam_w_mode: bool = _parameter(
        False,
        label="AdamW mode",
        help="Apply weight decay as AdamW does, apart from the gradient. Off adds it to the gradient as Adam does.",
    )
    alpha: float | None = _parameter(
        None,
        label="Alpha",
        help="RMSprop: how long the size of the gradients is remembered, usually 0.99. AdEMAMix: how strongly the slow average counts, usually 5; 0 leaves it out.",
        ge=0,
    )
    amsgrad: bool = _parameter(
        False,
        label="AMSGrad",
        help="Never let the step size grow back after large gradients. Steadier in theory, rarely better in practice.",
    )
    beta1: float | None = _parameter(
        None,
        label="Beta 1",
        help="How long the direction is remembered. 0.9 looks back about ten steps; higher is smoother and slower to turn, 0 forgets at once.",
        ge=0,
        lt=1,
    )
    beta2: float | None = _parameter(
        None,
        label="Beta 2",
        help="How long the size of the gradients is remembered. 0.999 looks back about a thousand steps; for short runs 0.99 can be better.",
        ge=0,
        lt=1,
    )
    beta3: float | None = _parameter(
        None,
        label="Beta 3",
        help="A third memory. AdEMAMix: the slow average, usually 0.9999. Prodigy: the estimate of the step size, empty takes the square root of beta 2. CAME: the confidence, usually 0.9999.",
        ge=0,
        lt=1,
    )
    bias_correction: bool = _parameter(
        False,
        label="Bias correction",
        help="Correct the memories for having started at zero. Off makes the first steps smaller.",
    )
    block_wise: bool = _parameter(
        False,
        label="Block-wise quantization",
        help="Quantize the 8-bit state in blocks of its own scale, so that one outlier does not spoil the rest. Leave it on.",
    )
    capturable: bool = _parameter(
        False,
        label="Capturable",
        help="Make the step recordable as a CUDA graph. Of no use here; leave it off.",
    )
    centered: bool = _parameter(
        False,
        label="Centered",
        help="Subtract the mean gradient when its size is measured. Can help unsteady runs, costs memory.",
    )
    clip_threshold: float | None = _parameter(
        None,
        label="Clip threshold",
        help="Limit of the size of one update. 1.0 is usual for Adafactor; smaller is calmer, empty does not limit where the optimizer allows that.",
        gt=0,
    )
    d0: float | None = _parameter(
        None,
        label="Initial D (d0)",
        help="Where the search for the learning rate begins. 1e-6 is right nearly always; higher finds it sooner and can overshoot.",
        gt=0,
    )
    d_coef: float | None = _parameter(
        None,
        label="D coefficient (d_coef)",
        help="Multiplies the learning rate that was found. 1 trusts it; 0.5 trains more gently, 2 harder. The one knob to turn with Prodigy.",
        level="advanced",
        gt=0,
    )
    dampening: float | None = _parameter(
        None,
        label="Dampening",
        help="How much of the new gradient is held back while momentum is on. 0 is usual.",
        ge=0,
        le=1,
    )
    decay_rate: float | None = _parameter(
        None,
        label="Decay rate",
        help="How the memory of the gradients lengthens during the run. A negative number, usually -0.8.",
    )
    decouple: bool = _parameter(
        False,
        label="Decoupled weight decay",
        help="Apply weight decay apart from the gradient, as AdamW does. Recommended wherever weight decay is not 0.",
    )
    differentiable: bool = _parameter(
        False,
        label="Differentiable",
        help="Let gradients flow through the step itself. Of no use here, costs memory; leave it off.",
    )
    eps: float | None = _parameter(
        None,
        label="Epsilon",
        help="A tiny number that avoids division by zero. Much larger ones make steps smaller where gradients are tiny.",
        ge=0,
    )
    eps2: float | None = _parameter(
        None,
        label="Epsilon 2",
        help="A second such number. Adafactor: the least size that weights are taken to have, usually 0.001. CAME: the same for its confidence, usually 1e-16.",
        ge=0,
    )
    foreach: bool | None = _parameter(
        False,
        label="Foreach",
        help="Update all tensors in few large operations: faster, with more memory at its peak. Not together with stochastic rounding.",
    )
    fsdp_in_use: bool = _parameter(
        False,
        label="FSDP in use",
        help="Tells the optimizer that weights lie on several cards in pieces. They never do here; leave it off.",
    )
    fused: bool = _parameter(
        False,
        label="Fused kernel",
        help="One fast kernel for the whole update, where the device has one. Not together with stochastic rounding or the fused back pass.",
    )
    fused_back_pass: bool = _parameter(
        False,
        label="Fused back pass",
        help="Update each weight as soon as its gradient is there and forget the gradient: saves much graphics memory. Gradients are then not added up over steps.",
        level="advanced",
    )
    growth_rate: float | None = _parameter(
        None,
        label="Growth rate",
        help="How fast the found learning rate may grow in a step. inf does not limit it; 1.02 lets it rise slowly, like a warm-up.",
        ge=1,
        infinite=True,
    )
    initial_accumulator_value: int | None = _parameter(
        None,
        label="Initial accumulator value",
        help="What the sum of squared gradients starts from. A larger number makes the first steps smaller.",
        ge=0,
    )
    initial_accumulator: float | None = _parameter(
        None,
        label="Initial accumulator",
        help="What the memory of the gradients' size starts from. A larger number makes the first steps smaller.",
        ge=0,
    )
    is_paged: bool = _parameter(
        False,
        label="Paged optimizer",
        help="Let the optimizer's state move to main memory when the card is full. Avoids out-of-memory errors, costs speed.",
    )
    log_every: int | None = _parameter(
        None,
        label="Log every",
        help="Print the found learning rate every so many steps. 0 never does.",
        ge=0,
        unit="steps",
    )
    lr_decay: float | None = _parameter(
        None,
        label="Learning rate decay",
        help="Lowers the learning rate a little at each step, beside the schedule. 0 is off.",
        ge=0,
    )
    max_unorm: float | None = _parameter(
        None,
        label="Max update norm (max_unorm)",
        help="Limit of an update beside the size of the weights. 0 is off.",
        ge=0,
    )
    maximize: bool = _parameter(
        False,
        label="Maximize",
        help="Make the loss larger instead of smaller, which ruins the model. Leave it off.",
    )
    min_8bit_size: int | None = _parameter(
        None,
        label="Min 8-bit size",
        help="Tensors with fewer numbers keep an exact state: they are small and matter. 4096 is usual.",
        ge=0,
    )
    quant_block_size: int | None = _parameter(
        None,
        label="Quantization block size",
        help="How many numbers share a scale in the 8-bit state. Smaller is more exact and needs more memory.",
        ge=1,
    )
    momentum: float | None = _parameter(
        None,
        label="Momentum",
        help="How much of the last step is carried on. 0 is off, 0.9 is usual; higher is smoother and slower to turn.",
        ge=0,
        lt=1,
    )
    nesterov: bool = _parameter(
        False,
        label="Nesterov momentum",
        help="Look ahead along the momentum before measuring. Often a little faster; needs a momentum above 0.",
    )
    no_prox: bool = _parameter(
        False,
        label="No prox",
        help="Apply weight decay as AdamW does instead of Adan's own rule.",
    )
    optim_bits: int | None = _parameter(
        None,
        label="Optimizer bits",
        help="Bits of each number of the optimizer's state: 32 is exact, 8 needs a quarter of the memory.",
        ge=8,
        le=32,
        unit="bit",
    )
    percentile_clipping: int | None = _parameter(
        None,
        label="Percentile clipping",
        help="Clip gradients that are larger than this share of the last hundred. 100 is off, 95 tames the largest twentieth.",
        ge=0,
        le=100,
        unit="%",
    )
    r: float | None = _parameter(
        None,
        label="R",
        help="Schedule-free: how strongly late steps count in the average, 0 counts all alike. Aida and Yogi: memory of the normalised gradient, usually 0.95.",
        ge=0,
    )
    relative_step: bool = _parameter(
        False,
        label="Relative step",
        help="Let Adafactor choose the learning rate from the number of steps. The learning rate set elsewhere is then not used.",
    )
    safeguard_warmup: bool = _parameter(
        False,
        label="Safeguard warmup",
        help="Keep a warm-up of the learning rate from disturbing the search for it. Turn it on when there is a warm-up.",
    )
    scale_parameter: bool = _parameter(
        False,
        label="Scale parameter",
        help="Make steps larger where weights are large. Made for own step sizes; leave it off with a fixed learning rate.",
    )
    stochastic_rounding: bool = _parameter(
        True,
        label="Stochastic rounding",
        help="Round at random when weights are kept in 16 bits, so that small changes are not lost. Turn it on for weights in BFLOAT_16; it changes nothing in FLOAT_32.",
        level="advanced",
    )
    use_bias_correction: bool = _parameter(
        False,
        label="Bias correction",
        help="Correct the memories for having started at zero. On makes the first steps larger, and the found learning rate settles lower.",
    )
    use_triton: bool = _parameter(
        False,
        label="Triton kernel",
        help="Use a faster kernel written in Triton, which has to be installed.",
    )
    warmup_init: bool = _parameter(
        False,
        label="Warmup init",
        help="Let Adafactor's own step size start small. Only with Own step size.",
    )
    weight_decay: float | None = _parameter(
        None,
        label="Weight decay",
        help="Pulls weights towards zero a little at each step, against overfitting. 0 is off, 0.01 is usual, 0.1 is strong.",
        level="advanced",
        ge=0,
    )
    weight_lr_power: float | None = _parameter(
        None,
        label="Weight LR power",
        help="How little the steps of the warm-up count in the average of a schedule-free optimizer. 2 is usual, 0 counts all alike.",
        ge=0,
    )
    decoupled_decay: bool = _parameter(
        False,
        label="Decoupled weight decay",
        help="Apply weight decay apart from the gradient, as AdamW does. Recommended wherever weight decay is not 0.",
    )
    fixed_decay: bool = _parameter(
        False,
        label="Fixed weight decay",
        help="Let the decay not follow the learning rate. It then stays strong when the schedule goes down.",
    )
    rectify: bool = _parameter(
        False,
        label="Rectify",
        help="Hold the first steps back until their size is known well, like a warm-up of its own.",
    )
    degenerated_to_sgd: bool = _parameter(
        False,
        label="Degenerate to SGD",
        help="Take plain gradient steps while the size of the gradients is not known well. Off takes none then.",
    )
    k: int | None = _parameter(
        None,
        label="K (projections)",
        help="How many times a step projects gradient and momentum onto each other. 2 is usual; more costs time.",
        ge=0,
    )
    xi: float | None = _parameter(
        None,
        label="Xi (projection epsilon)",
        help="A tiny number that avoids division by zero in the projections. Leave it at 1e-20.",
        ge=0,
    )
    n_sma_threshold: int | None = _parameter(
        None,
        label="N SMA threshold",
        help="How many steps' worth of memory are needed before the size of the gradients is trusted. 5 is usual.",
        ge=0,
    )
    ams_bound: bool = _parameter(
        False,
        label="AMSBound",
        help="Never let the step size grow back after large gradients.",
    )
    adanorm: bool = _parameter(
        False,
        label="AdaNorm",
        help="Even out the size of the gradients over time before they are used.",
    )
    adam_debias: bool = _parameter(
        False,
        label="Adam debias",
        help="Correct only the memory of the size, not that of the direction: smaller first steps.",
    )
    slice_p: int | None = _parameter(
        None,
        label="Slice p",
        help="Search for the learning rate on every so many-th weight only, which saves memory. 1 takes all, 11 is a good saving.",
        ge=1,
    )
    cautious: bool = _parameter(
        False,
        label="Cautious",
        help="Skip those changes that go against the present gradient. Often a little faster to learn.",
    )
    weight_decay_by_lr: bool = _parameter(
        True,
        label="Weight decay by LR",
        help="Multiply weight decay by the learning rate. Off makes the same number act much more strongly.",
    )
    prodigy_steps: int | None = _parameter(
        None,
        label="Prodigy steps",
        help="Stop the search for the learning rate after so many steps and keep what was found. 0 searches to the end.",
        ge=0,
        unit="steps",
    )
    use_speed: bool = _parameter(
        False,
        label="SPEED (use_speed)",
        help="Search for the learning rate by another rule, which needs less memory. An experiment; off is the known way.",
    )
    split_groups: bool = _parameter(
        True,
        label="Split groups",
        help="Search a learning rate for each part of the model by itself: UNet and text encoder then differ. Off finds one for all.",
    )
    split_groups_mean: bool = _parameter(
        True,
        label="Split groups mean",
        help="Use the mean of the rates found for the parts for all of them.",
    )
    factored: bool = _parameter(
        True,
        label="Factored second moment",
        help="Keep the memory of the gradients' size as rows and columns: saves much memory, a little less exact.",
    )
    factored_fp32: bool = _parameter(
        True,
        label="Factored in FP32",
        help="Keep the factored state in 32 bits, whatever the weights are. Costs next to nothing; leave it on.",
    )
    use_stableadamw: bool = _parameter(
        True,
        label="StableAdamW",
        help="Shrink updates that are much larger than usual. It takes the place of gradient clipping; leave it on.",
    )
    use_cautious: bool = _parameter(
        False,
        label="Cautious",
        help="Skip those changes that go against the present gradient. Often a little faster to learn.",
    )
    use_grams: bool = _parameter(
        False,
        label="Grams",
        help="Take the direction of each change from the gradient and only its size from the memory. An alternative to Cautious.",
    )
    use_adopt: bool = _parameter(
        False,
        label="ADOPT",
        help="Scale with the memory before the present gradient enters it, which makes any beta 2 stable. An experiment.",
    )
    d_limiter: bool | None = _parameter(
        True,
        label="D limiter",
        help="Keep the found learning rate from jumping up at the beginning, while everything is still unsettled.",
    )
    use_schedulefree: bool | None = _parameter(
        True,
        label="Schedule-free",
        help="Average the weights instead of lowering the learning rate. Off needs a schedule again.",
    )
    use_orthograd: bool = _parameter(
        False,
        label="OrthoGrad",
        help="Remove the part of the gradient that only makes weights longer or shorter, against overfitting. For full fine-tunes rather than adapters.",
    )
    nnmf_factor: bool = _parameter(
        False,
        label="Factored optimizer (NNMF)",
        help="Keep the optimizer's memories as rows, columns and signs: saves nearly all of their memory, a little less exact.",
        level="advanced",
    )
    orthogonal_gradient: bool = _parameter(
        False,
        label="OrthoGrad",
        help="Remove the part of the gradient that only makes weights longer or shorter, against overfitting. For full fine-tunes rather than adapters.",
    )
    use_atan2: bool = _parameter(
        False,
        label="Atan2 scaling",
        help="Take the arc tangent in place of the division: every step is bounded and epsilon is not needed.",
    )
    use_AdEMAMix: bool = _parameter(
        False,
        label="AdEMAMix EMA",
        help="Add a very slow average of the gradients to the momentum (AdEMAMix). Helps long runs, costs memory, needs thousands of steps to act.",
    )
    beta3_ema: float | None = _parameter(
        None,
        label="Beta 3 EMA",
        help="How long the slow average remembers. 0.9999 looks back ten thousand steps; use 0.999 for short runs.",
        ge=0,
        lt=1,
    )
    alpha_grad: float | None = _parameter(
        None,
        label="Grad α (alpha_grad)",
        help="How strongly the present gradient counts beside the momentum. 100 suits small batches, 0 uses the momentum alone.",
        ge=0,
    )
    beta1_warmup: int | None = setting(None)
    min_beta1: float | None = setting(None)
    Simplified_AdEMAMix: bool = _parameter(
        False,
        label="Simplified AdEMAMix",
        help="Add up momentum instead of averaging it. Steps get many times larger, so divide the learning rate by ten or more.",
    )
    kourkoutas_beta: bool = _parameter(
        False,
        label="Kourkoutas beta",
        help="Shorten the memory by itself while gradients are wild and lengthen it when they are calm.",
    )
    schedulefree_c: float | None = _parameter(
        None,
        label="Schedule-free averaging strength (c)",
        help="How much the latest weights count in the schedule-free average. 0 is the classic rule; higher follows them faster, which suits large batches.",
        ge=0,
    )
    ns_steps: int | None = _parameter(
        None,
        label="Newton-Schulz iterations",
        help="How many rounds make an update orthogonal. 5 is usual; fewer are faster and rougher.",
        ge=1,
    )
    MuonWithAuxAdam: bool = _parameter(
        False,
        label="Muon with auxiliary Adam",
        help="Train with Adam what Muon does not suit: embeddings, norms and all but the hidden layers. Leave it on.",
    )
    muon_hidden_layers: str | None = _parameter(
        None,
        label="Muon hidden layers",
        help="Comma list of name parts of the layers that Muon trains. Empty takes the model's own blocks.",
    )
    muon_adam_regex: bool = _parameter(
        False,
        label="Muon hidden layers: use regex",
        help="Read the list of layers for Muon as regular expressions.",
    )
    muon_adam_lr: float | None = _parameter(
        None,
        label="Auxiliary Adam LR",
        help="Learning rate for what Adam trains beside Muon; usually much lower than Muon's own.",
        ge=0,
    )
    muon_te1_adam_lr: float | None = _parameter(
        None,
        label="Auxiliary Adam LR (text encoder 1)",
        help="Learning rate of Adam in the first text encoder. Empty uses the one above.",
        ge=0,
    )
    muon_te2_adam_lr: float | None = _parameter(
        None,
        label="Auxiliary Adam LR (text encoder 2)",
        help="Learning rate of Adam in the second text encoder. Empty uses the one above.",
        ge=0,
    )
    muon_adam_config: dict[str, Any] | None = _parameter(
        {},
        label="Auxiliary Adam parameters",
        help="Parameters of the Adam that trains beside Muon. What is not set takes its usual value.",
        kind="map",
        keys=AUXILIARY_NAMES,
    )
    rms_rescaling: bool | None = _parameter(
        True,
        label="RMS rescaling",
        help="Scale updates to the size that Adam's have, so that learning rates for Adam fit. Off wants rates many times higher.",
    )
    normuon_variant: bool = _parameter(
        False,
        label="NorMuon",
        help="Even out the size of the updates from neuron to neuron. Usually learns faster for little memory.",
    )
    beta2_normuon: float | None = _parameter(
        None,
        label="NorMuon beta 2",
        help="How long NorMuon remembers the size of the updates. 0.95 is usual.",
        ge=0,
        lt=1,
    )
    low_rank_ortho: bool = _parameter(
        False,
        label="Low-rank orthogonalization",
        help="Make updates orthogonal in a smaller space: faster for large layers, less exact.",
    )
    ortho_rank: int | None = _parameter(
        None,
        label="Orthogonalization rank",
        help="Size of that smaller space. 128 is usual; larger is more exact and slower.",
        ge=1,
    )
    accelerated_ns: bool = _parameter(
        False,
        label="Accelerated Newton-Schulz",
        help="Use better numbers in each round, so that fewer rounds do as well.",
    )
    cautious_wd: bool = _parameter(
        False,
        label="Cautious weight decay",
        help="Let weight decay act only where it agrees with the update, so that it does not hold back learning.",
    )
    approx_mars: bool = _parameter(
        False,
        label="Approx MARS-M",
        help="Correct each gradient by the one before, which takes out noise. Costs memory for one more copy.",
    )
    auto_kappa_p: bool = _parameter(
        False,
        label="Auto Lion-K (kappa p)",
        help="Let Lion choose by itself between plain signs and rounder steps, layer by layer.",
    )
    compile: bool = _parameter(
        False,
        label="Compile the optimizer",
        help="Turn the update into faster code. The first steps take much longer.",
    )
