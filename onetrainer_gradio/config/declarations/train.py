"""The configuration of a run: OneTrainer's fields, names, nesting and defaults."""

from __future__ import annotations

from typing import ClassVar

from onetrainer_gradio.config.declarations.cloud import CloudConfig
from onetrainer_gradio.config.declarations.concept import ConceptConfig
from onetrainer_gradio.config.declarations.embedding import TrainEmbeddingConfig
from onetrainer_gradio.config.declarations.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.declarations.part import TrainModelPartConfig
from onetrainer_gradio.config.declarations.quantization import QuantizationConfig
from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.declarations.secret import SecretsConfig
from onetrainer_gradio.config.declarations.setting import FILE_NAME_PATTERN, Settings, setting
from onetrainer_gradio.config.declarations.visibility import (
    CONVOLUTIONAL,
    DIFFUSION,
    EMBEDDING,
    FORMATS_BY_TYPE,
    LAYER_PRESETS_BY_TYPE,
    LORA,
    LOSS_WEIGHTS_BY_TYPE,
    METHOD,
    METHODS_BY_TYPE,
    MODEL_TYPE,
    VIDEO,
    WITH_EMBEDDINGS,
    Only,
    can,
    has_part,
    types,
)
from onetrainer_gradio.config.device import default_device
from onetrainer_gradio.config.enums import (
    AttentionMechanism,
    AudioFormat,
    ConfigPart,
    DataType,
    EMAMode,
    GradientReducePrecision,
    ImageFormat,
    LearningRateScaler,
    LearningRateScheduler,
    LossScaler,
    LossWeight,
    ModelFormat,
    ModelType,
    PeftType,
    TimestepDistribution,
    TimeUnit,
    TrainingMethod,
    VideoFormat,
)
from onetrainer_gradio.config.families.sample_defaults import SAMPLE_DEFAULTS

RESOLUTION_PATTERN = r"^\s*\d+\s*(x\s*\d+\s*|(,\s*\d+\s*)*)$"
NUMBERS_PATTERN = r"^\s*\d+\s*(,\s*\d+\s*)*$"


def skips(encoder: str) -> Only:
    """The types that can leave out the last layers of an encoder."""
    words = "models that support CLIP skip for this text encoder"
    return types(words, lambda facts: "layer_skip" in facts.abilities and encoder in facts.encoders)


def prompt_length(encoder: str) -> Only:
    """The types in which the longest prompt of an encoder can be chosen."""
    return types("models with a configurable sequence length", lambda facts: encoder in facts.token_limited)


class TrainConfig(Settings):
    """Everything that a training run is: OneTrainer's configuration, version 11, with the same names and defaults."""

    config_version: ClassVar[int] = 11

    training_method: TrainingMethod = setting(
        TrainingMethod.FINE_TUNE,
        label="Training method",
        help="What is trained: a small adapter file (LORA), the whole model (FINE_TUNE), a new word (EMBEDDING) or the VAE's decoder (FINE_TUNE_VAE). An adapter needs far less memory and can be switched on and off later.",
        group="model",
        level="basic",
        choices_by=METHODS_BY_TYPE,
    )
    model_type: ModelType = setting(
        ModelType.STABLE_DIFFUSION_15,
        label="Model type",
        help="The family of the base model. It decides which parts there are and which settings apply.",
        group="model",
        level="basic",
    )
    debug_mode: bool = setting(
        False,
        label="Debug mode",
        help="Write what the model was given and what it predicted into the debug folder at every step. Slow and large; for finding errors only.",
        group="debug",
        level="expert",
    )
    debug_dir: str = setting(
        "debug",
        label="Debug folder",
        help="Folder for what debug mode writes.",
        group="debug",
        level="expert",
        kind="path",
        path="folder",
        shown={"debug_mode": (True,)},
    )
    workspace_dir: str = setting(
        "workspace/run",
        label="Workspace folder",
        help="Folder that collects samples, backups, saved models and logs of the run.",
        group="general",
        level="basic",
        kind="path",
        path="folder",
        required=True,
    )
    cache_dir: str = setting(
        "workspace-cache/run",
        label="Cache folder",
        help="Folder for pictures and captions in encoded form. It can grow large; nothing in it is needed after the run.",
        group="general",
        level="basic",
        kind="path",
        path="folder",
        required=True,
    )
    huggingface_cache_dir: str = setting(
        "",
        label="Hugging Face cache folder",
        help="Folder for models that are fetched from the hub. Empty means the library's own default.",
        group="model",
        level="expert",
        kind="path",
        path="folder",
    )
    offline_mode: bool = setting(
        False,
        label="Offline mode",
        help="Never ask the model hub; use only what is on this machine already. Turn it on when there is no internet.",
        group="model",
        level="advanced",
    )
    tensorboard: bool = setting(
        True,
        label="TensorBoard server",
        help="OneTrainer starts a TensorBoard server with the run. The panel writes the same log files and draws its own charts, so its own engine does not need one.",
        group="tensorboard",
        level="expert",
    )
    tensorboard_expose: bool = setting(
        False,
        label="Expose TensorBoard",
        help="Make that server reachable from other machines. Anyone who reaches the port sees your charts and samples.",
        group="tensorboard",
        level="expert",
    )
    tensorboard_always_on: bool = setting(
        False,
        label="TensorBoard always on",
        help="Keep OneTrainer's TensorBoard server running between runs, not only during them.",
        group="tensorboard",
        level="expert",
    )
    tensorboard_port: int = setting(
        6006,
        label="TensorBoard port",
        help="Port that the server listens on. Change it when another program uses 6006.",
        group="tensorboard",
        level="expert",
        ge=1,
        le=65535,
    )
    validation: bool = setting(
        False,
        label="Validation",
        help="Measure the loss on concepts of type VALIDATION now and then. They are not trained on; a rising loss there means overfitting.",
        group="validation",
        level="advanced",
    )
    validate_after: int = setting(
        1,
        label="Validate every",
        help="How often the validation loss is measured. Each time costs a pass over those pictures.",
        group="validation",
        level="advanced",
        unit_of="validate_after_unit",
        ge=0,
        shown={"validation": (True,)},
    )
    validate_after_unit: TimeUnit = setting(
        TimeUnit.EPOCH,
        label="Validate every: unit",
        help="Unit of the validation interval; NEVER turns it off.",
        group="validation",
        level="advanced",
        shown={"validation": (True,)},
    )
    continue_last_backup: bool = setting(
        False,
        label="Continue from last backup",
        help="Go on from the newest backup in the workspace instead of from the start. Without a backup the start is refused.",
        group="general",
        level="basic",
    )
    prevent_overwrites: bool = setting(
        False,
        label="Prevent overwrites",
        help="Refuse to start when the output file exists already. Off replaces it at the end.",
        group="general",
        level="advanced",
    )
    include_train_config: ConfigPart = setting(
        ConfigPart.NONE,
        label="Include config in model file",
        help="Writes these settings into the header of the finished file, so that it says how it was made. ALL includes concepts and prompts.",
        group="output",
        level="advanced",
    )
    multi_gpu: bool = setting(
        False,
        label="Multi-GPU",
        help="Train on several cards at once, each with its own batch. Nearly as many times faster as there are cards.",
        group="multi_gpu",
        level="advanced",
    )
    device_indexes: str = setting(
        "",
        label="Device indexes",
        help="Numbers of the cards to use, with commas: 0,1. Empty uses all.",
        group="multi_gpu",
        level="advanced",
        pattern=r"^\s*(\d+\s*(,\s*\d+\s*)*)?$",
        shown={"multi_gpu": (True,)},
    )
    gradient_reduce_precision: GradientReducePrecision = setting(
        GradientReducePrecision.FLOAT_32_STOCHASTIC,
        label="Gradient reduce precision",
        help="Number format in which the cards exchange gradients. 32 bits are exact; the format of the weights halves the traffic. Random rounding keeps small gradients from being lost.",
        group="multi_gpu",
        level="expert",
        shown={"multi_gpu": (True,)},
    )
    fused_gradient_reduce: bool = setting(
        True,
        label="Fused gradient reduce",
        help="Exchange each gradient as soon as it is there. Faster and lighter; needed for the fused back pass on several cards.",
        group="multi_gpu",
        level="expert",
        shown={"multi_gpu": (True,)},
    )
    async_gradient_reduce: bool = setting(
        True,
        label="Async gradient reduce",
        help="Let the cards go on calculating while gradients are exchanged. Faster, for a little memory.",
        group="multi_gpu",
        level="expert",
        shown={"multi_gpu": (True,)},
    )
    async_gradient_reduce_buffer: int = setting(
        100,
        label="Gradient reduce buffer size",
        help="Most memory that gradients on their way may use. Larger lets more of them wait.",
        group="multi_gpu",
        level="expert",
        unit="MB",
        ge=0,
        shown={"multi_gpu": (True,), "async_gradient_reduce": (True,)},
    )
    base_model_name: str = setting(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        label="Base model",
        help="The model to start from: a folder in diffusers layout, a single .safetensors file, or the name of a repository on the Hugging Face hub.",
        group="model",
        level="basic",
        kind="path",
        path="model",
        required=True,
    )
    output_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Output data type",
        help="Number format of the finished file. FLOAT_16 and BFLOAT_16 halve its size with no visible loss in most cases; 8 and 4 bits are smaller and rougher.",
        group="output",
        level="basic",
        choices=("FLOAT_16", "FLOAT_32", "BFLOAT_16", "FLOAT_8", "NFLOAT_4"),
    )
    output_model_format: ModelFormat = setting(
        ModelFormat.SAFETENSORS,
        label="Output format",
        help="Layout of the finished file. For adapters KOHYA_LORA is read by most programs, DIFFUSERS_LORA by the diffusers library; for full models DIFFUSERS is a folder, the others one file.",
        group="output",
        level="basic",
        choices_by=FORMATS_BY_TYPE,
    )
    output_model_destination: str = setting(
        "models/model.safetensors",
        label="Model output destination",
        help="Where the finished file is written. If it is an existing folder, the file in it is named by the time.",
        group="output",
        level="basic",
        kind="path",
        path="output",
        required=True,
    )
    async_offloading: bool = setting(
        True,
        label="Async offloading",
        help="Fetch offloaded layers while the card is calculating. Faster; turn it off only if offloading makes trouble.",
        group="device",
        level="expert",
    )
    force_circular_padding: bool = setting(
        False,
        label="Force circular padding (seamless tiling)",
        help="Let pictures wrap around at their edges, so that the model learns to paint tiles that fit together. Only for textures.",
        group="resolution",
        level="expert",
        shown={MODEL_TYPE: CONVOLUTIONAL},
    )
    compile: bool = setting(
        False,
        label="Compile transformer blocks",
        help="Turn the transformer blocks into faster code. The first steps take minutes longer; worth it for long runs.",
        group="model",
        level="advanced",
    )
    concept_file_name: str = setting(
        "training_concepts/concepts.json",
        label="Concept file",
        help="File that the concepts are read from when they are not inside the configuration. OneTrainer keeps them there.",
        group="concepts",
        level="expert",
        kind="path",
        path="file",
    )
    concepts: tuple[ConceptConfig, ...] | None = setting(
        None,
        label="Concepts",
        help="The folders of pictures to learn from. Each picture may have a .txt file of the same name with its caption.",
        group="concepts",
        level="basic",
        kind="list",
    )
    aspect_ratio_bucketing: bool = setting(
        True,
        label="Aspect ratio bucketing",
        help="Keep wide and tall pictures in their shape by grouping pictures of like shape. Off: everything is cropped to a square.",
        group="data",
        level="basic",
    )
    latent_caching: bool = setting(
        True,
        label="Cache latents",
        help="Encode each picture once and keep the result on disk. Off saves disk and costs time in every epoch.",
        group="data",
        level="basic",
    )
    clear_cache_before_training: bool = setting(
        True,
        label="Clear cache before training",
        help="Encode everything anew at each start. It is safe to leave this off: the panel's engine notices what changed and encodes only that.",
        group="data",
        level="basic",
    )
    learning_rate_scheduler: LearningRateScheduler = setting(
        LearningRateScheduler.CONSTANT,
        label="Learning rate scheduler",
        help="How the learning rate changes over the run. CONSTANT keeps it, COSINE and LINEAR lower it towards the end, REX late and steeply.",
        group="optimization",
        level="basic",
    )
    custom_learning_rate_scheduler: str | None = setting(
        None,
        label="Custom scheduler class",
        help="Python class of your own schedule, with its module: my_module.MySchedule.",
        group="optimization",
        level="expert",
        shown={"learning_rate_scheduler": ("CUSTOM",)},
    )
    scheduler_params: tuple[dict[str, str], ...] | None = setting(
        (),
        label="Scheduler parameters",
        help="Names and values for that class. %LR%, %EPOCHS%, %STEPS_PER_EPOCH%, %TOTAL_STEPS% and %SCHEDULER_STEPS% stand for the numbers of the run.",
        group="optimization",
        level="expert",
        kind="pairs",
        shown={"learning_rate_scheduler": ("CUSTOM",)},
    )
    learning_rate: float = setting(
        3e-06,
        label="Learning rate",
        help="Size of the optimizer's steps. Too high ruins the model within a few steps, too low learns nothing. Usual: 1e-4 for an adapter, 1e-6 to 1e-5 for a full model, 1 for optimizers that find it themselves.",
        group="optimization",
        level="basic",
        gt=0,
        le=100.0,
    )
    learning_rate_warmup_steps: float = setting(
        200.0,
        label="Learning rate warmup steps",
        help="Steps over which the learning rate rises from zero. A value up to 1 is a fraction of the run. Warm-up avoids a bad start at high rates.",
        group="optimization",
        level="basic",
        ge=0,
    )
    learning_rate_cycles: float = setting(
        1.0,
        label="Learning rate cycles",
        help="How many times the cosine goes up and down. 1 goes down once; 0.5 stops halfway.",
        group="optimization",
        level="advanced",
        ge=0,
        shown={"learning_rate_scheduler": ("COSINE", "COSINE_WITH_RESTARTS", "COSINE_WITH_HARD_RESTARTS")},
    )
    learning_rate_min_factor: float = setting(
        0.0,
        label="Learning rate min factor",
        help="The schedule never goes below this fraction of the learning rate. 0 lets it fall to nothing.",
        group="optimization",
        level="advanced",
        ge=0,
        le=0.99,
    )
    epochs: int = setting(
        100,
        label="Epochs",
        help="How often the run goes through all pictures. Too few learn little, too many overfit; watch the samples.",
        group="optimization",
        level="basic",
        ge=1,
    )
    batch_size: int = setting(
        1,
        label="Batch size",
        help="Pictures per step on each card. Larger is steadier and needs more graphics memory.",
        group="optimization",
        level="basic",
        ge=1,
    )
    gradient_accumulation_steps: int = setting(
        1,
        label="Gradient accumulation steps",
        help="Steps that are added up before the weights change: a larger batch without more memory, at the price of time.",
        group="optimization",
        level="basic",
        ge=1,
    )
    ema: EMAMode = setting(
        EMAMode.OFF,
        label="EMA",
        help="Keep a slowly moving average of the weights, which is often better than the last ones. GPU is fast, CPU saves graphics memory.",
        group="ema",
        level="advanced",
    )
    ema_decay: float = setting(
        0.999,
        label="EMA decay",
        help="How slow the average moves. 0.999 remembers about a thousand updates; 0.5 hardly averages, 1 never moves.",
        group="ema",
        level="advanced",
        ge=0.5,
        le=1,
        shown={"ema": ("GPU", "CPU")},
    )
    ema_update_step_interval: int = setting(
        5,
        label="EMA update step interval",
        help="Optimizer steps between two updates of the average. More is faster and coarser.",
        group="ema",
        level="advanced",
        unit="steps",
        ge=1,
        shown={"ema": ("GPU", "CPU")},
    )
    dataloader_threads: int = setting(
        2,
        label="Dataloader threads",
        help="How many pictures are read at the same time. More helps with slow disks and large pictures; offloaded text encoders allow only 1.",
        group="device",
        level="advanced",
        ge=1,
        le=64,
    )
    train_device: str = setting(
        factory=default_device,
        label="Train device",
        help="Where to train: cuda (NVIDIA, AMD), mps (Apple), cpu. Add a number for one of several cards, for instance cuda:1.",
        group="device",
        level="advanced",
        required=True,
    )
    temp_device: str = setting(
        "cpu",
        label="Temp device (offload target)",
        help="Where model parts wait while they are not needed, usually cpu.",
        group="device",
        level="expert",
        required=True,
    )
    train_dtype: DataType = setting(
        DataType.FLOAT_16,
        label="Train data type",
        help="Number format of the calculation. BFLOAT_16 is fast and robust on recent cards, FLOAT_16 on older ones, FLOAT_32 is exact, slow, and right for a CPU.",
        group="precision",
        level="basic",
        choices=("FLOAT_32", "FLOAT_16", "BFLOAT_16", "TFLOAT_32"),
    )
    fallback_train_dtype: DataType = setting(
        DataType.BFLOAT_16,
        label="Fallback train data type",
        help="Number format for those parts that FLOAT_16 is too small for. BFLOAT_16 on recent cards, FLOAT_32 on those that do not know it.",
        group="precision",
        level="advanced",
        choices=("FLOAT_32", "BFLOAT_16"),
    )
    enable_autocast_cache: bool = setting(
        True,
        label="Autocast cache",
        help="Convert weights to the training precision once a step instead of at each use. Faster; off saves graphics memory.",
        group="precision",
        level="expert",
    )
    only_cache: bool = setting(
        False,
        label="Only cache (no training)",
        help="Encode all pictures and captions, then end without training.",
        group="general",
        level="advanced",
    )
    resolution: str = setting(
        "512",
        label="Resolution",
        help="Size in pixels that pictures are scaled to: one number (512), several (512,768), or width x height (768x512). Multiples of 64 fit nearly every model; the base model's own size works best.",
        group="resolution",
        level="basic",
        pattern=RESOLUTION_PATTERN,
        required=True,
    )
    frames: str = setting(
        "25",
        label="Frames",
        help="Number of frames that are taken from each video, or several with commas. More need much more memory; 1 trains on pictures.",
        group="resolution",
        level="basic",
        pattern=NUMBERS_PATTERN,
        required=True,
        shown={MODEL_TYPE: can("frames", "models with a configurable number of frames")},
    )
    attention_mechanism: AttentionMechanism = setting(
        AttentionMechanism.SDP,
        label="Attention",
        help="How attention is computed. SDP picks the fastest that the machine offers and is right for almost everybody; the others insist on one way.",
        group="precision",
        level="advanced",
    )
    mse_strength: float = setting(
        1.0,
        label="MSE strength",
        help="Weight of the squared error, the standard measure. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    mae_strength: float = setting(
        0.0,
        label="MAE strength",
        help="Weight of the absolute error, less bothered by outliers. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    log_cosh_strength: float = setting(
        0.0,
        label="Log-cosh strength",
        help="Weight of the log-cosh error, between squared and absolute. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    huber_strength: float = setting(
        0.0,
        label="Huber strength",
        help="Weight of the Huber error: squared for small, absolute for large deviations. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    huber_delta: float = setting(
        1.0,
        label="Huber delta",
        help="Where the Huber error turns from squared to absolute. Smaller treats more deviations as outliers.",
        group="loss",
        level="expert",
        gt=0,
    )
    vb_loss_strength: float = setting(
        1.0,
        label="VB loss strength",
        help="Weight of the error of the predicted variance, which only PixArt models have. 1 is right; 0 no longer trains the variance.",
        group="loss",
        level="expert",
        ge=0,
        shown={MODEL_TYPE: can("vb_loss", "models that predict the variance")},
    )
    loss_weight_fn: LossWeight = setting(
        LossWeight.CONSTANT,
        label="Loss weight function",
        help="How much each noise level counts. CONSTANT treats all alike; MIN_SNR_GAMMA often learns faster; SIGMA favours strong noise.",
        group="loss",
        level="advanced",
        choices_by=LOSS_WEIGHTS_BY_TYPE,
    )
    loss_weight_strength: float = setting(
        5.0,
        label="Loss weight gamma (Min-SNR, P2)",
        help="Gamma of the weighting: 5 is usual for MIN_SNR_GAMMA, 1 for P2. Smaller evens out more.",
        group="loss",
        level="advanced",
        ge=1,
        le=20,
        shown={MODEL_TYPE: DIFFUSION, "loss_weight_fn": ("P2", "MIN_SNR_GAMMA")},
    )
    dropout_probability: float = setting(
        0.0,
        label="Dropout probability",
        help="Chance that a part of the adapter sits a step out, which slows overfitting. 0 is off, 0.1 is plenty, 1 learns nothing.",
        group="lora",
        level="advanced",
        ge=0,
        le=1,
        shown={METHOD: LORA},
    )
    loss_scaler: LossScaler = setting(
        LossScaler.NONE,
        label="Loss scaler",
        help="Multiply the loss by batch size, accumulation steps or both. NONE is right for almost everybody.",
        group="loss",
        level="expert",
    )
    learning_rate_scaler: LearningRateScaler = setting(
        LearningRateScaler.NONE,
        label="Learning rate scaler",
        help="Multiply the learning rate by the square root of batch size, accumulation steps or both. NONE uses it as it stands.",
        group="optimization",
        level="expert",
    )
    clip_grad_norm: float | None = setting(
        1.0,
        label="Clip gradient norm",
        help="Limits how far one step can go, which tames outliers. 1.0 is usual; empty turns it off.",
        group="optimization",
        level="advanced",
        ge=0,
    )
    offset_noise_weight: float = setting(
        0.0,
        label="Offset noise weight",
        help="Adds the same random brightness to a whole picture, which lets the model paint very dark and very bright scenes. 0.05 is a usual value, 0 is off.",
        group="noise",
        level="advanced",
        ge=0,
    )
    generalized_offset_noise: bool = setting(
        False,
        label="Generalized offset noise",
        help="Makes the offset depend on the noise level, so that it does not disturb fine details.",
        group="noise",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    perturbation_noise_weight: float = setting(
        0.0,
        label="Perturbation noise weight",
        help="Adds a second noise to the first, which makes the model more tolerant. 0 is off, 0.1 is usual.",
        group="noise",
        level="advanced",
        ge=0,
    )
    rescale_noise_scheduler_to_zero_terminal_snr: bool = setting(
        False,
        label="Zero terminal SNR (rescale scheduler + v-pred)",
        help="Lets the noise schedule end in pure noise and trains velocities. Only for models that are made for it.",
        group="unet",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    force_v_prediction: bool = setting(
        False,
        label="Force v-prediction",
        help="Trains with v-prediction, whatever the model files say. With the wrong type, samples are only noise. The built-in engine applies this to every training method, OneTrainer to full fine-tunes only.",
        group="unet",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    force_epsilon_prediction: bool = setting(
        False,
        label="Force epsilon prediction",
        help="Trains with epsilon prediction, whatever the model files say. With the wrong type, samples are only noise. The built-in engine applies this to every training method, OneTrainer to full fine-tunes only.",
        group="unet",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    min_noising_strength: float = setting(
        0.0,
        label="Min noising strength",
        help="Lowest noise level that is trained, as a fraction. Above 0 the finest details are left alone.",
        group="noise",
        level="advanced",
        ge=0,
        le=1,
    )
    max_noising_strength: float = setting(
        1.0,
        label="Max noising strength",
        help="Highest noise level that is trained, as a fraction. Below 1 the overall composition is left alone.",
        group="noise",
        level="advanced",
        ge=0,
        le=1,
    )
    timestep_distribution: TimestepDistribution = setting(
        TimestepDistribution.UNIFORM,
        label="Timestep distribution",
        help="Which noise levels are practised how often. UNIFORM treats all alike; LOGIT_NORMAL practises the middle, which suits flow models.",
        group="noise",
        level="advanced",
    )
    noising_weight: float = setting(
        0.0,
        label="Noising weight",
        help="Shape of the distribution; its meaning depends on the one chosen. Larger makes SIGMOID steeper, LOGIT_NORMAL wider and the parabola narrower.",
        group="noise",
        level="advanced",
        shown={"timestep_distribution": ("SIGMOID", "LOGIT_NORMAL", "HEAVY_TAIL", "INVERTED_PARABOLA", "BETA")},
    )
    noising_bias: float = setting(
        0.0,
        label="Noising bias",
        help="Centre of the distribution; negative values prefer less noise, positive more. 0 is the middle.",
        group="noise",
        level="advanced",
        shown={"timestep_distribution": ("SIGMOID", "LOGIT_NORMAL", "INVERTED_PARABOLA", "BETA")},
    )
    timestep_shift: float = setting(
        1.0,
        label="Timestep shift",
        help="Moves training towards noisier steps. 1 changes nothing, 3 is usual for flow models at 1024 pixels; below 1 prefers less noise.",
        group="noise",
        level="advanced",
        gt=0,
    )
    dynamic_timestep_shifting: bool = setting(
        False,
        label="Dynamic timestep shifting",
        help="Choose the shift from the size of each picture, larger for larger ones. The shift set above is then not used.",
        group="noise",
        level="advanced",
        shown={MODEL_TYPE: can("dynamic_shift", "models that support dynamic timestep shifting")},
    )
    unet: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=0),
        label="UNet",
        help="The part that paints.",
        group="unet",
        level="basic",
        kind="object",
    )
    prior: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=0),
        label="Prior",
        help="The part that paints, in small.",
        group="prior",
        level="basic",
        kind="object",
    )
    transformer: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=0),
        label="Transformer",
        help="The part that paints.",
        group="transformer",
        level="basic",
        kind="object",
    )
    unconditional_transformer: TrainModelPartConfig = setting(
        TrainModelPartConfig(train=False, gradient_checkpointing=False),
        label="Unconditional transformer",
        help="The part that paints without a prompt, for the guidance of samples. It is not trained.",
        group="unconditional_transformer",
        level="basic",
        kind="object",
    )
    quantization: QuantizationConfig = setting(
        QuantizationConfig(),
        label="Quantization",
        help="How frozen weights are squeezed.",
        group="quantization",
        level="basic",
        kind="object",
    )
    text_encoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder",
        help="The part that reads the prompt; the first one where there are several.",
        group="text_encoder",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="How many of the last layers of this text encoder are left out. 0 for most models, 1 for many anime models; more forgets what words mean.",
        group="text_encoder",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder")},
    )
    text_encoder_sequence_length: int | None = setting(
        512,
        label="Max sequence length",
        help="Longest prompt that this encoder reads, in tokens. Longer prompts are cut; more tokens need more memory. Empty takes the model's own.",
        group="text_encoder",
        level="advanced",
        unit="tokens",
        ge=1,
        shown={MODEL_TYPE: prompt_length("text_encoder")},
    )
    text_encoder_2: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder 2",
        help="The second part that reads the prompt.",
        group="text_encoder_2",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_2_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="How many of the last layers of this text encoder are left out. 0 for most models, 1 for many anime models; more forgets what words mean.",
        group="text_encoder_2",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder_2")},
    )
    text_encoder_2_sequence_length: int | None = setting(
        77,
        label="Max sequence length",
        help="Longest prompt that this encoder reads, in tokens. Longer prompts are cut; more tokens need more memory. Empty takes the model's own.",
        group="text_encoder_2",
        level="advanced",
        unit="tokens",
        ge=1,
        shown={MODEL_TYPE: prompt_length("text_encoder_2")},
    )
    text_encoder_3: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder 3",
        help="The third part that reads the prompt.",
        group="text_encoder_3",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_3_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="How many of the last layers of this text encoder are left out. 0 for most models, 1 for many anime models; more forgets what words mean.",
        group="text_encoder_3",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder_3")},
    )
    text_encoder_4: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder 4",
        help="The fourth part that reads the prompt.",
        group="text_encoder_4",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_4_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="How many of the last layers of this text encoder are left out. 0 for most models, 1 for many anime models; more forgets what words mean.",
        group="text_encoder_4",
        level="expert",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder_4")},
    )
    vae: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="VAE",
        help="The part that turns pictures into latents and back.",
        group="weights",
        level="basic",
        kind="object",
    )
    effnet_encoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="EfficientNet encoder",
        help="The part that turns pictures into small latents.",
        group="weights",
        level="basic",
        kind="object",
    )
    decoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="Decoder",
        help="The part that enlarges small latents.",
        group="weights",
        level="basic",
        kind="object",
    )
    decoder_text_encoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="Decoder text encoder",
        help="The part that reads the prompt for the decoder.",
        group="weights",
        level="basic",
        kind="object",
    )
    decoder_vqgan: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="Decoder VQGAN",
        help="The part that turns latents into pictures.",
        group="weights",
        level="basic",
        kind="object",
    )
    masked_training: bool = setting(
        False,
        label="Masked training",
        help="Learn only the white region of the mask beside each picture (name-masklabel.png). For subjects whose surroundings must not be learned.",
        group="masked",
        level="advanced",
    )
    unmasked_probability: float = setting(
        0.1,
        label="Unmasked probability",
        help="Only for inpainting models: share of steps in which the mask is left away, so that they still learn whole pictures. 0 never, 1 always.",
        group="masked",
        level="advanced",
        ge=0,
        le=1,
    )
    unmasked_weight: float = setting(
        0.1,
        label="Unmasked weight",
        help="How much the region outside the mask counts. 0 ignores it, 0.1 keeps it tidy, 1 treats all alike.",
        group="masked",
        level="advanced",
        ge=0,
        le=1,
        shown={"masked_training": (True,)},
    )
    normalize_masked_area_loss: bool = setting(
        False,
        label="Normalize masked area loss",
        help="Let pictures with small masks count as much as those with large ones.",
        group="masked",
        level="advanced",
        shown={"masked_training": (True,)},
    )
    masked_prior_preservation_weight: float = setting(
        0.0,
        label="Masked prior preservation weight",
        help="How strongly the region outside the mask is held to what the model painted before. 0 is off, 1 is strong; adapters only.",
        group="masked",
        level="advanced",
        ge=0,
        le=1,
        shown={"masked_training": (True,)},
    )
    custom_conditioning_image: bool = setting(
        False,
        label="Custom conditioning image",
        help="Read the picture an inpainting model is given from a file beside each picture (name-condlabel.png) instead of making it from the mask.",
        group="masked",
        level="advanced",
    )
    layer_filter: str = setting(
        "",
        label="Layer filter (patterns)",
        help="Which layers are trained: a comma list of name parts, for instance attn. Empty means all; a part that no layer has trains nothing.",
        group="layers",
        level="advanced",
    )
    layer_filter_preset: str = setting(
        "full",
        label="Layer filter preset",
        help="A ready choice of layers: it writes the patterns beside it, and only those count. full trains everything, attn-only the layers that join words and picture; custom lets you write your own.",
        group="layers",
        level="advanced",
        kind="layer_preset",
        choices_by=LAYER_PRESETS_BY_TYPE,
    )
    layer_filter_regex: bool = setting(
        False,
        label="Layer filter: use regex",
        help="Read the patterns as regular expressions.",
        group="layers",
        level="expert",
    )
    embedding_learning_rate: float | None = setting(
        None,
        label="Embedding learning rate",
        help="A learning rate of its own for new words. Empty uses the general one; words want much more than models, about 1e-3.",
        group="embeddings",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: WITH_EMBEDDINGS},
    )
    preserve_embedding_norm: bool = setting(
        False,
        label="Preserve embedding norm",
        help="Keep new words as long as ordinary ones, so that they do not drown the rest of the prompt.",
        group="embeddings",
        level="advanced",
        shown={MODEL_TYPE: WITH_EMBEDDINGS},
    )
    embedding: TrainEmbeddingConfig = setting(
        TrainEmbeddingConfig(),
        label="Embedding",
        help="The new word.",
        group="embedding",
        level="basic",
        kind="object",
        shown={METHOD: EMBEDDING},
        levels={"train": "expert", "stop_training_after": "expert", "stop_training_after_unit": "expert"},
    )
    additional_embeddings: tuple[TrainEmbeddingConfig, ...] = setting(
        (),
        label="Additional embeddings",
        help="New words that are trained beside the rest, or only used in captions. Each has a placeholder of its own.",
        group="additional_embeddings",
        level="advanced",
        kind="list",
        shown={MODEL_TYPE: WITH_EMBEDDINGS},
    )
    embedding_weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Embedding weight data type",
        help="Number format of the new word while it is trained. FLOAT_32 is best; it is small anyway.",
        group="embedding",
        level="advanced",
        choices=("FLOAT_32", "BFLOAT_16"),
        shown={METHOD: EMBEDDING},
    )
    cloud: CloudConfig = setting(
        CloudConfig(),
        label="Cloud",
        help="Training on a rented machine.",
        group="cloud",
        level="advanced",
        kind="object",
    )
    peft_type: PeftType = setting(
        PeftType.LORA,
        label="Adapter type",
        help="Kind of adapter. LORA is read by every program; LOHA and LOKR are smaller or more expressive; OFT_2 turns what is there instead of adding to it.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA},
    )
    lora_model_name: str = setting(
        "",
        label="LoRA base model (continue from)",
        help="An adapter file to go on from. Empty starts a new one.",
        group="lora",
        level="advanced",
        kind="path",
        path="file",
        shown={METHOD: LORA},
    )
    lora_rank: int = setting(
        16,
        label="LoRA rank",
        help="Size of the adapter. 4 to 16 for a simple subject, 32 to 128 for styles and many subjects; larger files learn more and overfit sooner.",
        group="lora",
        level="basic",
        ge=1,
        le=4096,
        shown={
            METHOD: LORA,
            "peft_type": (
                "LORA",
                "LOHA",
            ),
        },
    )
    lora_alpha: float = setting(
        1.0,
        label="LoRA alpha",
        help="Strength of the adapter: it is scaled by alpha divided by rank. Equal to the rank means full strength; 1 is gentle and wants a higher learning rate.",
        group="lora",
        level="basic",
        gt=0,
        shown={
            METHOD: LORA,
            "peft_type": (
                "LORA",
                "LOHA",
                "LOKR",
            ),
        },
    )
    lora_decompose: bool = setting(
        False,
        label="DoRA (decompose weights)",
        help="Learn direction and length of the weights apart. Often closer to a full fine-tune; slower and needs more memory.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LORA",)},
    )
    lora_decompose_norm_epsilon: bool = setting(
        True,
        label="DoRA norm epsilon",
        help="Add a tiny number to the length, so that it is never divided by zero. Leave it on.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LORA",), "lora_decompose": (True,)},
    )
    lora_decompose_output_axis: bool = setting(
        False,
        label="DoRA on output axis",
        help="Take the length along the output of a layer instead of its input, as most other programs do.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LORA",), "lora_decompose": (True,)},
    )
    lora_weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="LoRA weight data type",
        help="Number format of the adapter while it is trained. FLOAT_32 is best; BFLOAT_16 halves its memory.",
        group="lora",
        level="advanced",
        choices=("FLOAT_32", "BFLOAT_16"),
        shown={METHOD: LORA},
    )
    bundle_additional_embeddings: bool = setting(
        True,
        label="Bundle embeddings",
        help="Put additional embeddings into the adapter's file. Off writes them as files of their own.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA},
    )
    oft_block_size: int = setting(
        32,
        label="OFT block size",
        help="Size of the rotated blocks. Larger learns more and makes larger files; 16 to 64 are usual.",
        group="lora",
        level="basic",
        ge=1,
        shown={METHOD: LORA, "peft_type": ("OFT_2",)},
    )
    oft_block_share: bool = setting(
        False,
        label="OFT block share",
        help="Use one rotation for all blocks of a layer: a tiny file that learns less.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("OFT_2",)},
    )
    oft_scaled: bool = setting(
        False,
        label="Scaled OFT (SOFT)",
        help="Scale the rotation by the block size, so that the same learning rate suits every block size.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("OFT_2",)},
    )
    lokr_dim: int = setting(
        16,
        label="LoKr dimension",
        help="Size of the adapter's inner matrices. Larger learns more and makes larger files.",
        group="lora",
        level="basic",
        ge=1,
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_decompose_both: bool = setting(
        False,
        label="Decompose both matrices",
        help="Split the first matrix as well as the second: an even smaller file that learns less.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_decompose_factor: int = setting(
        -1,
        label="Decomposition factor",
        help="Where a weight is split into two matrices. -1 takes two of like size and is the smallest; 4 to 16 learn more.",
        group="lora",
        level="advanced",
        ge=-1,
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_use_tucker: bool = setting(
        False,
        label="Tucker decomposition (conv)",
        help="Split convolutions along their window too, for smaller files. Changes nothing in transformers.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_weight_decompose: bool = setting(
        False,
        label="DoRA (decompose weights)",
        help="Learn direction and length of the weights apart. Often closer to a full fine-tune; slower and needs more memory.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_dora_on_output: bool = setting(
        True,
        label="DoRA on output axis",
        help="Take the length along the output of a layer instead of its input.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LOKR",), "lokr_weight_decompose": (True,)},
    )
    lokr_full_matrix: bool = setting(
        False,
        label="Full matrix (W2)",
        help="Do not split the second matrix: learns most and makes the largest files. The dimension is then not used.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_vec_trick: bool = setting(
        True,
        label="Kronecker vec trick",
        help="Apply the adapter without building the large matrix. Faster and lighter with the same result; leave it on.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    optimizer: TrainOptimizerConfig = setting(
        TrainOptimizerConfig(),
        label="Optimizer",
        help="The rule that turns gradients into changes, and its parameters.",
        group="optimization",
        level="basic",
        kind="object",
    )
    optimizer_defaults: dict[str, TrainOptimizerConfig] = setting({})
    sample_definition_file_name: str = setting(
        "training_samples/samples.json",
        label="Sample file",
        help="File that the sample prompts are read from when they are not inside the configuration. OneTrainer keeps them there.",
        group="sampling",
        level="expert",
        kind="path",
        path="file",
    )
    samples: tuple[SampleConfig, ...] | None = setting(
        None,
        label="Sample prompts",
        help="Prompts that are painted during the run, so that you see what it has learned.",
        group="sampling",
        level="basic",
        kind="list",
        new_by_type=SAMPLE_DEFAULTS,
    )
    sample_after: int = setting(
        10,
        label="Sample every",
        help="How often the sample prompts are painted. Each round takes time from the training.",
        group="sampling",
        level="basic",
        unit_of="sample_after_unit",
        ge=0,
    )
    sample_after_unit: TimeUnit = setting(
        TimeUnit.MINUTE,
        label="Sample every: unit",
        help="Unit of the sampling interval; NEVER turns it off.",
        group="sampling",
        level="basic",
    )
    sample_skip_first: int = setting(
        0,
        label="Skip first",
        help="No samples before this many units have passed.",
        group="sampling",
        level="advanced",
        ge=0,
    )
    sample_image_format: ImageFormat = setting(
        ImageFormat.JPG,
        label="Image format",
        help="File type of the samples. PNG keeps every detail and the parameters, JPG is smaller.",
        group="sampling",
        level="advanced",
    )
    sample_video_format: VideoFormat = setting(
        VideoFormat.MP4,
        label="Video format",
        help="File type of sampled videos: one MP4, or a picture for each frame.",
        group="sampling",
        level="expert",
        shown={MODEL_TYPE: VIDEO},
    )
    sample_audio_format: AudioFormat = setting(AudioFormat.MP3)
    samples_to_tensorboard: bool = setting(
        True,
        label="Samples to TensorBoard",
        help="Also write the samples into the TensorBoard log, which grows with each of them.",
        group="sampling",
        level="expert",
    )
    non_ema_sampling: bool = setting(
        True,
        label="Non-EMA sampling",
        help="With a moving average, paint each sample a second time without it, to compare.",
        group="sampling",
        level="expert",
        shown={"ema": ("GPU", "CPU")},
    )
    backup_after: int = setting(
        30,
        label="Back up every",
        help="How often a backup is written. From a backup a run goes on exactly where it was.",
        group="backup",
        level="basic",
        unit_of="backup_after_unit",
        ge=0,
    )
    backup_after_unit: TimeUnit = setting(
        TimeUnit.MINUTE,
        label="Back up every: unit",
        help="Unit of the backup interval; NEVER turns it off.",
        group="backup",
        level="basic",
    )
    rolling_backup: bool = setting(
        False,
        label="Rolling backup",
        help="Delete older backups of this run, and of the runs it was resumed from, when new ones are written. "
        "Off keeps all, which can fill the disk.",
        group="backup",
        level="basic",
    )
    rolling_backup_count: int = setting(
        3,
        label="Rolling backup count",
        help="How many backups are kept.",
        group="backup",
        level="basic",
        ge=1,
        shown={"rolling_backup": (True,)},
    )
    backup_before_save: bool = setting(
        True,
        label="Back up before save",
        help="Write a backup before the final file is saved, so that the run can be continued later.",
        group="backup",
        level="basic",
    )
    save_every: int = setting(
        0,
        label="Save every",
        help="How often the model is also saved as a finished file during the run.",
        group="backup",
        level="basic",
        unit_of="save_every_unit",
        ge=0,
    )
    save_every_unit: TimeUnit = setting(
        TimeUnit.NEVER,
        label="Save every: unit",
        help="Unit of the saving interval; NEVER turns it off.",
        group="backup",
        level="basic",
    )
    save_skip_first: int = setting(
        0,
        label="Skip first",
        help="No saves before this many units have passed.",
        group="backup",
        level="advanced",
        ge=0,
    )
    save_filename_prefix: str = setting(
        "",
        label="Save filename prefix",
        help="Text put before the names of samples, saves and logs. It can't hold a path.",
        group="backup",
        level="advanced",
        file_name=True,
        pattern=FILE_NAME_PATTERN,
    )
    secrets: SecretsConfig = setting(
        SecretsConfig(),
        label="Secrets",
        help="Tokens and passwords; they stay on the server.",
        group="model",
        level="basic",
        kind="object",
    )
