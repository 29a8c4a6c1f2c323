"""The configuration of a run: OneTrainer's fields, names, nesting and defaults."""

from __future__ import annotations

from typing import ClassVar

from onetrainer_gradio.config.cloud import CloudConfig
from onetrainer_gradio.config.concept import ConceptConfig
from onetrainer_gradio.config.device import default_device
from onetrainer_gradio.config.embedding import TrainEmbeddingConfig
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
from onetrainer_gradio.config.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.part import TrainModelPartConfig
from onetrainer_gradio.config.quantization import QuantizationConfig
from onetrainer_gradio.config.sample import SampleConfig
from onetrainer_gradio.config.secret import SecretsConfig
from onetrainer_gradio.config.setting import Settings, setting


class TrainConfig(Settings):
    """Everything that a training run is: OneTrainer's configuration, version 11, with the same names and defaults."""

    config_version: ClassVar[int] = 11

    training_method: TrainingMethod = setting(
        TrainingMethod.FINE_TUNE,
        label="Training method",
        help="What is trained: a small adapter file (LORA) or the whole model (FINE_TUNE). An adapter needs far less memory and can be switched on and off later.",
        group="model",
        level="basic",
        choices=("LORA", "FINE_TUNE"),
    )
    model_type: ModelType = setting(
        ModelType.STABLE_DIFFUSION_15,
        label="Model type",
        help="The family of the base model. It decides which parts there are and which settings apply.",
        group="model",
        level="basic",
        choices=("STABLE_DIFFUSION_15",),
    )
    debug_mode: bool = setting(False)
    debug_dir: str = setting("debug")
    workspace_dir: str = setting(
        "workspace/run",
        label="Workspace folder",
        help="Folder that collects samples, backups, saved models and logs of the run.",
        group="general",
        level="basic",
        kind="path",
        path="folder",
    )
    cache_dir: str = setting(
        "workspace-cache/run",
        label="Cache folder",
        help="Folder for pictures and captions in encoded form. It can grow large; nothing in it is needed after the run.",
        group="general",
        level="basic",
        kind="path",
        path="folder",
    )
    huggingface_cache_dir: str = setting(
        "",
        label="Hub cache folder",
        help="Folder for models that are fetched from the hub. Empty means the library's own default.",
        group="model",
        level="expert",
        kind="path",
        path="folder",
    )
    offline_mode: bool = setting(
        False,
        label="Offline",
        help="Never ask the model hub; use only what is on this machine already. Turn it on when there is no internet.",
        group="model",
        level="advanced",
    )
    tensorboard: bool = setting(
        True,
        label="TensorBoard server",
        help="OneTrainer starts a TensorBoard server with the run. The panel writes the same log files and draws its own charts, so its own engine does not need one.",
        group="general",
        level="expert",
    )
    tensorboard_expose: bool = setting(False)
    tensorboard_always_on: bool = setting(False)
    tensorboard_port: int = setting(6006)
    validation: bool = setting(
        False,
        label="Validation",
        help="Measure the loss on concepts of type VALIDATION now and then. They are not trained on.",
        group="general",
        level="advanced",
    )
    validate_after: int = setting(
        1,
        label="Validate every",
        help="How often the validation loss is measured.",
        group="general",
        level="advanced",
        unit_of="validate_after_unit",
        ge=0,
        shown={"validation": (True,)},
    )
    validate_after_unit: TimeUnit = setting(
        TimeUnit.EPOCH,
        label="Validation unit",
        help="Unit of the validation interval.",
        group="general",
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
        label="Protect existing files",
        help="Refuse to start when the output file exists already.",
        group="general",
        level="advanced",
    )
    include_train_config: ConfigPart = setting(
        ConfigPart.NONE,
        label="Settings in the file",
        help="Writes these settings into the header of the finished file, so that it says how it was made. ALL includes concepts and prompts.",
        group="model",
        level="advanced",
    )
    multi_gpu: bool = setting(False)
    device_indexes: str = setting("")
    gradient_reduce_precision: GradientReducePrecision = setting(GradientReducePrecision.FLOAT_32_STOCHASTIC)
    fused_gradient_reduce: bool = setting(True)
    async_gradient_reduce: bool = setting(True)
    async_gradient_reduce_buffer: int = setting(100)
    base_model_name: str = setting(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        label="Base model",
        help="The model to start from: a folder in diffusers layout, a single .safetensors file, or the name of a repository on the Hugging Face hub.",
        group="model",
        level="basic",
        kind="path",
        path="model",
    )
    output_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Output precision",
        help="Number format of the finished file. FLOAT_16 halves its size with no visible loss in most cases.",
        group="model",
        level="basic",
        choices=("FLOAT_32", "FLOAT_16", "BFLOAT_16"),
    )
    output_model_format: ModelFormat = setting(
        ModelFormat.SAFETENSORS,
        label="Output format",
        help="Layout of the finished file. KOHYA_LORA is read by most programs; DIFFUSERS_LORA by the diffusers library. Full models: DIFFUSERS is a folder, the others one file.",
        group="model",
        level="basic",
        choices=("KOHYA_LORA", "DIFFUSERS_LORA", "LEGACY_LORA", "DIFFUSERS", "ORIGINAL_SINGLE_FILE", "LEGACY_SAFETENSORS"),
    )
    output_model_destination: str = setting(
        "models/model.safetensors",
        label="Output file",
        help="Where the finished file is written. If it is an existing folder, the file in it is named by the time.",
        group="model",
        level="basic",
        kind="path",
        path="output",
    )
    async_offloading: bool = setting(True)
    force_circular_padding: bool = setting(False)
    compile: bool = setting(False)
    concept_file_name: str = setting("training_concepts/concepts.json")
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
        label="Aspect ratio buckets",
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
        label="Clear cache at start",
        help="Encode everything anew at each start. It is safe to leave this off: the panel's engine notices what changed and encodes only that.",
        group="data",
        level="basic",
    )
    learning_rate_scheduler: LearningRateScheduler = setting(
        LearningRateScheduler.CONSTANT,
        label="Learning rate schedule",
        help="How the learning rate changes over the run. CONSTANT keeps it, COSINE and LINEAR lower it towards the end.",
        group="optimization",
        level="basic",
        choices=("CONSTANT", "LINEAR", "COSINE", "COSINE_WITH_RESTARTS", "COSINE_WITH_HARD_RESTARTS", "REX"),
    )
    custom_learning_rate_scheduler: str | None = setting(None)
    scheduler_params: tuple[dict[str, str], ...] | None = setting(())
    learning_rate: float = setting(
        3e-06,
        label="Learning rate",
        help="Size of the optimizer's steps. Too high ruins the model within a few steps, too low learns nothing. Usual: 1e-4 for an adapter, 1e-6 to 1e-5 for a full model.",
        group="optimization",
        level="basic",
        gt=0,
        le=100.0,
    )
    learning_rate_warmup_steps: float = setting(
        200.0,
        label="Warm-up steps",
        help="Steps over which the learning rate rises from zero. A value up to 1 is a fraction of the run. Warm-up avoids a bad start at high rates.",
        group="optimization",
        level="basic",
        ge=0,
    )
    learning_rate_cycles: float = setting(
        1.0,
        label="Schedule cycles",
        help="How many times the cosine goes up and down (cosine schedules only).",
        group="optimization",
        level="advanced",
        ge=0,
        shown={"learning_rate_scheduler": ("COSINE", "COSINE_WITH_RESTARTS", "COSINE_WITH_HARD_RESTARTS")},
    )
    learning_rate_min_factor: float = setting(
        0.0,
        label="Lowest factor",
        help="The schedule never goes below this fraction of the learning rate. 0 lets it fall to nothing.",
        group="optimization",
        level="advanced",
        ge=0,
        le=0.99,
    )
    epochs: int = setting(
        100, label="Epochs", help="How often the run goes through all pictures.", group="optimization", level="basic", ge=1
    )
    batch_size: int = setting(
        1,
        label="Batch size",
        help="Pictures per step. Larger is steadier and needs more graphics memory.",
        group="optimization",
        level="basic",
        ge=1,
    )
    gradient_accumulation_steps: int = setting(
        1,
        label="Accumulation steps",
        help="Steps that are added up before the weights change: a larger batch without more memory, at the price of time.",
        group="optimization",
        level="basic",
        ge=1,
    )
    ema: EMAMode = setting(
        EMAMode.OFF,
        label="EMA",
        help="Keep a slowly moving average of the weights, which is often better than the last ones. GPU is fast, CPU saves graphics memory.",
        group="precision",
        level="advanced",
    )
    ema_decay: float = setting(
        0.999,
        label="EMA decay",
        help="How slow the average moves. 0.999 remembers about a thousand updates.",
        group="precision",
        level="advanced",
        ge=0.5,
        le=1,
        shown={"ema": ("GPU", "CPU")},
    )
    ema_update_step_interval: int = setting(
        5,
        label="EMA interval",
        help="Optimizer steps between two updates of the average.",
        group="precision",
        level="advanced",
        ge=1,
        shown={"ema": ("GPU", "CPU")},
    )
    dataloader_threads: int = setting(
        2,
        label="Reading threads",
        help="How many pictures are read at the same time. More helps with slow disks and large pictures.",
        group="general",
        level="advanced",
        ge=1,
        le=64,
    )
    train_device: str = setting(
        factory=default_device,
        label="Device",
        help="Where to train: cuda (NVIDIA, AMD), mps (Apple), cpu. Add a number for one of several cards, for instance cuda:1.",
        group="general",
        level="advanced",
    )
    temp_device: str = setting(
        "cpu",
        label="Parking device",
        help="Where model parts wait while they are not needed, usually cpu.",
        group="general",
        level="expert",
    )
    train_dtype: DataType = setting(
        DataType.FLOAT_16,
        label="Training precision",
        help="Number format of the calculation. BFLOAT_16 is fast and robust on recent cards, FLOAT_16 on older ones, FLOAT_32 is exact, slow, and right for a CPU.",
        group="precision",
        level="basic",
        choices=("FLOAT_32", "FLOAT_16", "BFLOAT_16", "TFLOAT_32"),
    )
    fallback_train_dtype: DataType = setting(DataType.BFLOAT_16)
    enable_autocast_cache: bool = setting(True)
    only_cache: bool = setting(
        False,
        label="Only fill the cache",
        help="Encode all pictures and captions, then end without training.",
        group="general",
        level="expert",
    )
    resolution: str = setting(
        "512",
        label="Resolution",
        help="Size in pixels that pictures are scaled to: one number (512), several (512,768), or width x height (768x512). Multiples of 8; the base model's own size works best.",
        group="data",
        level="basic",
    )
    frames: str = setting("25")
    attention_mechanism: AttentionMechanism = setting(
        AttentionMechanism.SDP,
        label="Attention",
        help="How attention is computed. SDP picks the fastest that the machine offers.",
        group="precision",
        level="expert",
        choices=("SDP",),
    )
    mse_strength: float = setting(
        1.0,
        label="Squared error",
        help="Weight of the squared error, the standard measure. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    mae_strength: float = setting(
        0.0,
        label="Absolute error",
        help="Weight of the absolute error, less bothered by outliers. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    log_cosh_strength: float = setting(
        0.0,
        label="Log-cosh error",
        help="Weight of the log-cosh error, between squared and absolute. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    huber_strength: float = setting(
        0.0,
        label="Huber error",
        help="Weight of the Huber error: squared for small, absolute for large deviations. The weights of all errors are added.",
        group="loss",
        level="advanced",
        ge=0,
    )
    huber_delta: float = setting(
        1.0,
        label="Huber threshold",
        help="Where the Huber error turns from squared to absolute.",
        group="loss",
        level="expert",
        gt=0,
    )
    vb_loss_strength: float = setting(1.0)
    loss_weight_fn: LossWeight = setting(
        LossWeight.CONSTANT,
        label="Loss weighting",
        help="How much each noise level counts. MIN_SNR_GAMMA often learns faster.",
        group="loss",
        level="advanced",
        choices=("CONSTANT", "P2", "MIN_SNR_GAMMA", "DEBIASED_ESTIMATION"),
    )
    loss_weight_strength: float = setting(
        5.0,
        label="Weighting gamma",
        help="Gamma of the weighting; 5 is usual for MIN_SNR_GAMMA, 1 for P2.",
        group="loss",
        level="advanced",
        ge=0,
        shown={"loss_weight_fn": ("P2", "MIN_SNR_GAMMA")},
    )
    dropout_probability: float = setting(
        0.0,
        label="Adapter dropout",
        help="Chance that a part of the adapter sits a step out, which slows overfitting. 0 is off.",
        group="lora",
        level="advanced",
        ge=0,
        le=1,
        shown={"training_method": ("LORA",)},
    )
    loss_scaler: LossScaler = setting(
        LossScaler.NONE,
        label="Loss scaling",
        help="Multiply the loss by batch size, accumulation steps or both. NONE is right for almost everybody.",
        group="loss",
        level="expert",
    )
    learning_rate_scaler: LearningRateScaler = setting(
        LearningRateScaler.NONE,
        label="Learning rate scaling",
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
        label="Offset noise",
        help="Adds the same random brightness to a whole picture, which lets the model paint very dark and very bright scenes. 0.05 is a usual value, 0 is off.",
        group="noise",
        level="advanced",
        ge=0,
    )
    generalized_offset_noise: bool = setting(
        False, label="Generalized offset noise", help="Makes the offset depend on the noise level.", group="noise", level="expert"
    )
    perturbation_noise_weight: float = setting(
        0.0,
        label="Perturbation noise",
        help="Adds a second noise to the first, which makes the model more tolerant. 0 is off.",
        group="noise",
        level="advanced",
        ge=0,
    )
    rescale_noise_scheduler_to_zero_terminal_snr: bool = setting(
        False,
        label="Zero terminal SNR",
        help="Lets the noise schedule end in pure noise and trains velocities. Only for models that are made for it.",
        group="noise",
        level="expert",
    )
    force_v_prediction: bool = setting(
        False,
        label="Force v-prediction",
        help="Train as a velocity model, whatever the model's own files say.",
        group="noise",
        level="expert",
    )
    force_epsilon_prediction: bool = setting(
        False,
        label="Force epsilon prediction",
        help="Train as a noise model, whatever the model's own files say.",
        group="noise",
        level="expert",
    )
    min_noising_strength: float = setting(
        0.0,
        label="Least noise",
        help="Lowest noise level that is trained, as a fraction. Above 0 the finest details are left alone.",
        group="noise",
        level="advanced",
        ge=0,
        le=1,
    )
    max_noising_strength: float = setting(
        1.0,
        label="Most noise",
        help="Highest noise level that is trained, as a fraction. Below 1 the overall composition is left alone.",
        group="noise",
        level="advanced",
        ge=0,
        le=1,
    )
    timestep_distribution: TimestepDistribution = setting(
        TimestepDistribution.UNIFORM,
        label="Timestep distribution",
        help="Which noise levels are practised how often. UNIFORM treats all alike.",
        group="noise",
        level="advanced",
    )
    noising_weight: float = setting(
        0.0,
        label="Noise weight",
        help="Shape of the distribution; its meaning depends on the one chosen.",
        group="noise",
        level="advanced",
        shown={"timestep_distribution": ("SIGMOID", "LOGIT_NORMAL", "HEAVY_TAIL", "COS_MAP", "INVERTED_PARABOLA", "BETA")},
    )
    noising_bias: float = setting(
        0.0,
        label="Noise bias",
        help="Centre of the distribution; negative values prefer less noise.",
        group="noise",
        level="advanced",
        shown={"timestep_distribution": ("SIGMOID", "LOGIT_NORMAL", "HEAVY_TAIL", "COS_MAP", "INVERTED_PARABOLA", "BETA")},
    )
    timestep_shift: float = setting(
        1.0,
        label="Timestep shift",
        help="Moves training towards noisier steps. 1 changes nothing.",
        group="noise",
        level="expert",
        gt=0,
    )
    dynamic_timestep_shifting: bool = setting(False)
    unet: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=0),
        label="UNet",
        help="The part that paints.",
        group="unet",
        level="basic",
        kind="object",
        fields=(
            "train",
            "learning_rate",
            "weight_dtype",
            "gradient_checkpointing",
            "stop_training_after",
            "stop_training_after_unit",
        ),
    )
    prior: TrainModelPartConfig = setting(TrainModelPartConfig(stop_training_after=0))
    transformer: TrainModelPartConfig = setting(TrainModelPartConfig(stop_training_after=0))
    unconditional_transformer: TrainModelPartConfig = setting(TrainModelPartConfig(train=False, gradient_checkpointing=False))
    quantization: QuantizationConfig = setting(QuantizationConfig())
    text_encoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder",
        help="The part that reads the prompt.",
        group="text_encoder",
        level="basic",
        kind="object",
        fields=(
            "train",
            "learning_rate",
            "weight_dtype",
            "gradient_checkpointing",
            "stop_training_after",
            "stop_training_after_unit",
            "dropout_probability",
        ),
    )
    text_encoder_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="How many of the last layers of the text encoder are left out (clip skip). 0 for most models, 1 for many anime models.",
        group="text_encoder",
        level="advanced",
        ge=0,
        le=11,
    )
    text_encoder_sequence_length: int | None = setting(512)
    text_encoder_2: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH)
    )
    text_encoder_2_layer_skip: int = setting(0)
    text_encoder_2_sequence_length: int | None = setting(77)
    text_encoder_3: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH)
    )
    text_encoder_3_layer_skip: int = setting(0)
    text_encoder_4: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH)
    )
    text_encoder_4_layer_skip: int = setting(0)
    vae: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="VAE",
        help="The part that turns pictures into latents and back; it stays as it is.",
        group="precision",
        level="basic",
        kind="object",
        fields=("weight_dtype",),
    )
    effnet_encoder: TrainModelPartConfig = setting(TrainModelPartConfig())
    decoder: TrainModelPartConfig = setting(TrainModelPartConfig())
    decoder_text_encoder: TrainModelPartConfig = setting(TrainModelPartConfig())
    decoder_vqgan: TrainModelPartConfig = setting(TrainModelPartConfig())
    masked_training: bool = setting(False)
    unmasked_probability: float = setting(0.1)
    unmasked_weight: float = setting(0.1)
    normalize_masked_area_loss: bool = setting(False)
    masked_prior_preservation_weight: float = setting(0.0)
    custom_conditioning_image: bool = setting(False)
    layer_filter: str = setting(
        "",
        label="Layer filter",
        help="Which layers are trained: a comma list of name parts, for instance attn. Empty means all.",
        group="lora",
        level="advanced",
    )
    layer_filter_preset: str = setting(
        "full",
        label="Layer filter preset",
        help="Name of the chosen set of layers; only the pattern beside it counts for the training.",
        group="lora",
        level="expert",
    )
    layer_filter_regex: bool = setting(
        False,
        label="Filter by regular expression",
        help="Read the patterns as regular expressions.",
        group="lora",
        level="expert",
    )
    embedding_learning_rate: float | None = setting(None)
    preserve_embedding_norm: bool = setting(False)
    embedding: TrainEmbeddingConfig = setting(TrainEmbeddingConfig())
    additional_embeddings: tuple[TrainEmbeddingConfig, ...] = setting(())
    embedding_weight_dtype: DataType = setting(DataType.FLOAT_32)
    cloud: CloudConfig = setting(CloudConfig())
    peft_type: PeftType = setting(
        PeftType.LORA,
        label="Adapter type",
        help="Kind of adapter.",
        group="lora",
        level="advanced",
        choices=("LORA",),
        shown={"training_method": ("LORA",)},
    )
    lora_model_name: str = setting(
        "",
        label="Start from adapter",
        help="An adapter file to go on from. Empty starts a new one.",
        group="lora",
        level="advanced",
        kind="path",
        path="file",
        shown={"training_method": ("LORA",)},
    )
    lora_rank: int = setting(
        16,
        label="Rank",
        help="Size of the adapter. 4 to 16 for a simple subject, 32 to 128 for styles and many subjects; larger files learn more and overfit sooner.",
        group="lora",
        level="basic",
        ge=1,
        le=4096,
        shown={"training_method": ("LORA",)},
    )
    lora_alpha: float = setting(
        1.0,
        label="Alpha",
        help="Strength of the adapter: it is scaled by alpha divided by rank. Equal to the rank means full strength; 1 is gentle and wants a higher learning rate.",
        group="lora",
        level="basic",
        gt=0,
        shown={"training_method": ("LORA",)},
    )
    lora_decompose: bool = setting(False)
    lora_decompose_norm_epsilon: bool = setting(True)
    lora_decompose_output_axis: bool = setting(False)
    lora_weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Adapter precision",
        help="Number format of the adapter while it is trained. FLOAT_32 is best.",
        group="lora",
        level="advanced",
        choices=("FLOAT_32", "BFLOAT_16", "FLOAT_16"),
        shown={"training_method": ("LORA",)},
    )
    bundle_additional_embeddings: bool = setting(True)
    oft_block_size: int = setting(32)
    oft_block_share: bool = setting(False)
    oft_scaled: bool = setting(False)
    lokr_dim: int = setting(16)
    lokr_decompose_both: bool = setting(False)
    lokr_decompose_factor: int = setting(-1)
    lokr_use_tucker: bool = setting(False)
    lokr_weight_decompose: bool = setting(False)
    lokr_dora_on_output: bool = setting(True)
    lokr_full_matrix: bool = setting(False)
    lokr_vec_trick: bool = setting(True)
    optimizer: TrainOptimizerConfig = setting(
        TrainOptimizerConfig(),
        label="Optimizer",
        help="The rule that turns gradients into changes. ADAMW is the safe choice.",
        group="optimization",
        level="basic",
        kind="object",
        fields=("optimizer", "beta1", "beta2", "eps", "weight_decay", "momentum", "stochastic_rounding", "fused"),
    )
    optimizer_defaults: dict[str, TrainOptimizerConfig] = setting({})
    sample_definition_file_name: str = setting("training_samples/samples.json")
    samples: tuple[SampleConfig, ...] | None = setting(
        None,
        label="Sample prompts",
        help="Prompts that are painted during the run, so that you see what it has learned.",
        group="sampling",
        level="basic",
        kind="list",
    )
    sample_after: int = setting(
        10,
        label="Sample every",
        help="How often the sample prompts are painted.",
        group="sampling",
        level="basic",
        unit_of="sample_after_unit",
        ge=0,
    )
    sample_after_unit: TimeUnit = setting(
        TimeUnit.MINUTE,
        label="Sampling unit",
        help="Unit of the sampling interval; NEVER turns it off.",
        group="sampling",
        level="basic",
    )
    sample_skip_first: int = setting(
        0, label="Skip first", help="No samples before this many units have passed.", group="sampling", level="advanced", ge=0
    )
    sample_image_format: ImageFormat = setting(
        ImageFormat.JPG,
        label="Picture format",
        help="File type of the samples. PNG keeps every detail and the parameters, JPG is smaller.",
        group="sampling",
        level="advanced",
    )
    sample_video_format: VideoFormat = setting(VideoFormat.MP4)
    sample_audio_format: AudioFormat = setting(AudioFormat.MP3)
    samples_to_tensorboard: bool = setting(
        True,
        label="Samples to TensorBoard",
        help="Also write the samples into the TensorBoard log.",
        group="sampling",
        level="expert",
    )
    non_ema_sampling: bool = setting(
        True,
        label="Samples without EMA too",
        help="With EMA on, paint each sample a second time without the average.",
        group="sampling",
        level="expert",
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
        label="Backup unit",
        help="Unit of the backup interval; NEVER turns it off.",
        group="backup",
        level="basic",
    )
    rolling_backup: bool = setting(
        False,
        label="Keep only the newest backups",
        help="Delete older backups when new ones are written.",
        group="backup",
        level="basic",
    )
    rolling_backup_count: int = setting(
        3,
        label="Backups to keep",
        help="How many backups are kept.",
        group="backup",
        level="basic",
        ge=1,
        shown={"rolling_backup": (True,)},
    )
    backup_before_save: bool = setting(
        True,
        label="Back up at the end",
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
        label="Saving unit",
        help="Unit of the saving interval; NEVER turns it off.",
        group="backup",
        level="basic",
    )
    save_skip_first: int = setting(
        0, label="Skip first", help="No saves before this many units have passed.", group="backup", level="advanced", ge=0
    )
    save_filename_prefix: str = setting(
        "",
        label="File name prefix",
        help="Text put before the names of samples, saves and logs.",
        group="backup",
        level="advanced",
    )
    secrets: SecretsConfig = setting(SecretsConfig())
