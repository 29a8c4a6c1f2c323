"""Declare the configuration of a run with OneTrainer's fields, names, nesting and defaults."""

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
    """Return the model types that support CLIP skip for a text encoder."""
    words = "models that support CLIP skip for this text encoder"
    return types(words, lambda facts: "layer_skip" in facts.abilities and encoder in facts.encoders)


def prompt_length(encoder: str) -> Only:
    """Return the model types with a configurable sequence length for a text encoder."""
    return types("models with a configurable sequence length", lambda facts: encoder in facts.token_limited)


class TrainConfig(Settings):
    """The complete configuration of a run: OneTrainer's version 11, with the same names and defaults."""

    config_version: ClassVar[int] = 11

    training_method: TrainingMethod = setting(
        TrainingMethod.FINE_TUNE,
        label="Training method",
        help="What to train: LoRA (a small adapter file that needs far less VRAM), Full fine-tune (all weights), Embedding (a trigger word, also called textual inversion) or Fine-tune VAE (the VAE decoder).",
        group="model",
        level="basic",
        choices_by=METHODS_BY_TYPE,
    )
    model_type: ModelType = setting(
        ModelType.STABLE_DIFFUSION_15,
        label="Model type",
        help="Architecture of the base model, such as SDXL or Flux. It determines the model components and which settings apply.",
        group="model",
        level="basic",
    )
    debug_mode: bool = setting(
        False,
        label="Debug mode",
        help="Write the model's inputs and predictions to the debug folder at every step. Slow, and needs a lot of disk space. Use it only to track down errors.",
        group="debug",
        level="expert",
    )
    debug_dir: str = setting(
        "debug",
        label="Debug folder",
        help="Folder for the output of debug mode.",
        group="debug",
        level="expert",
        kind="path",
        path="folder",
        shown={"debug_mode": (True,)},
    )
    workspace_dir: str = setting(
        "workspace/run",
        label="Workspace folder",
        help="Folder for the run's samples, backups, saves and logs (kohya: output_dir, logging_dir).",
        group="general",
        level="basic",
        kind="path",
        path="folder",
        required=True,
    )
    cache_dir: str = setting(
        "workspace-cache/run",
        label="Cache folder",
        help="Folder for cached latents and text encoder outputs. It can grow large. You can delete it after the run.",
        group="general",
        level="basic",
        kind="path",
        path="folder",
        required=True,
    )
    huggingface_cache_dir: str = setting(
        "",
        label="Hugging Face cache folder",
        help="Folder for models downloaded from the Hugging Face Hub (diffusers: cache_dir). Leave it empty for the default of the Hugging Face libraries.",
        group="model",
        level="expert",
        kind="path",
        path="folder",
    )
    offline_mode: bool = setting(
        False,
        label="Offline mode",
        help="Use only models that are already on this machine and never connect to the Hugging Face Hub. Turn it on if there is no internet connection.",
        group="model",
        level="advanced",
    )
    tensorboard: bool = setting(
        True,
        label="TensorBoard server",
        help="Start OneTrainer's TensorBoard server with each run. The panel writes the same log files and draws its own charts, so the built-in engine doesn't need the server.",
        group="tensorboard",
        level="expert",
    )
    tensorboard_expose: bool = setting(
        False,
        label="Expose TensorBoard",
        help="Make the TensorBoard server reachable from other machines. Anyone who can reach the port sees your charts and samples.",
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
        help="Port of the TensorBoard server. Change it if another program uses 6006.",
        group="tensorboard",
        level="expert",
        ge=1,
        le=65535,
    )
    validation: bool = setting(
        False,
        label="Validation",
        help="Compute the loss on concepts of the type “Validation” at intervals. They aren't used for training. If their loss rises while the training loss falls, the model overfits.",
        group="validation",
        level="advanced",
    )
    validate_after: int = setting(
        1,
        label="Validate every",
        help="How often to compute the validation loss (kohya: validate_every_n_steps). Every epoch is typical. Each validation processes all validation images once.",
        group="validation",
        level="advanced",
        unit_of="validate_after_unit",
        ge=0,
        shown={"validation": (True,)},
    )
    validate_after_unit: TimeUnit = setting(
        TimeUnit.EPOCH,
        label="Validate every: unit",
        help="Unit of the validation interval. “never” turns validation off.",
        group="validation",
        level="advanced",
        shown={"validation": (True,)},
    )
    continue_last_backup: bool = setting(
        False,
        label="Continue from last backup",
        help="Resume from the newest backup in the workspace (kohya: resume). If there is no backup, the run doesn't start.",
        group="general",
        level="basic",
    )
    prevent_overwrites: bool = setting(
        False,
        label="Prevent overwrites",
        help="Don't start the run if the output file already exists. If off, the run replaces the file at the end.",
        group="general",
        level="advanced",
    )
    include_train_config: ConfigPart = setting(
        ConfigPart.NONE,
        label="Include config in model file",
        help="Store the configuration in the metadata of the final model, so that you can see later how it was trained. “Settings” omits concepts and samples.",
        group="output",
        level="advanced",
    )
    multi_gpu: bool = setting(
        False,
        label="Multi-GPU",
        help="Train on several GPUs at once, each with its own batch. With N GPUs, training is nearly N times as fast.",
        group="multi_gpu",
        level="advanced",
    )
    device_indexes: str = setting(
        "",
        label="Device indexes",
        help="Indexes of the GPUs to use, separated by commas, such as 0,1. Leave it empty to use all GPUs.",
        group="multi_gpu",
        level="advanced",
        pattern=r"^\s*(\d+\s*(,\s*\d+\s*)*)?$",
        shown={"multi_gpu": (True,)},
    )
    gradient_reduce_precision: GradientReducePrecision = setting(
        GradientReducePrecision.FLOAT_32_STOCHASTIC,
        label="Gradient reduce precision",
        help="Data type in which GPUs exchange gradients. “float32” is exact. “Weight data type” needs less bandwidth. Stochastic rounding keeps small gradients from being rounded to 0.",
        group="multi_gpu",
        level="expert",
        shown={"multi_gpu": (True,)},
    )
    fused_gradient_reduce: bool = setting(
        True,
        label="Fused gradient reduce",
        help="Exchange each gradient during the backward pass, as soon as it is computed. Faster and needs less VRAM. Required for Fused back pass with several GPUs.",
        group="multi_gpu",
        level="expert",
        shown={"multi_gpu": (True,)},
    )
    async_gradient_reduce: bool = setting(
        True,
        label="Async gradient reduce",
        help="Exchange gradients in the background while the GPUs keep computing. Faster, but needs a little VRAM.",
        group="multi_gpu",
        level="expert",
        shown={"multi_gpu": (True,)},
    )
    async_gradient_reduce_buffer: int = setting(
        100,
        label="Gradient reduce buffer size",
        help="Maximum VRAM for gradients that are exchanged in the background. 100 MB is typical. A larger buffer lets more gradients wait.",
        group="multi_gpu",
        level="expert",
        unit="MB",
        ge=0,
        shown={"multi_gpu": (True,), "async_gradient_reduce": (True,)},
    )
    base_model_name: str = setting(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        label="Base model",
        help="Model to start from: a Hugging Face Hub repository, a folder in Diffusers layout or a single .safetensors file (kohya, diffusers: pretrained_model_name_or_path).",
        group="model",
        level="basic",
        kind="path",
        path="model",
        required=True,
    )
    output_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Output data type",
        help="Data type of the final model (kohya: save_precision). float16 and bfloat16 halve the file size, usually without visible loss. 8-bit and 4-bit types are smaller but lose quality.",
        group="output",
        level="basic",
        choices=("FLOAT_16", "FLOAT_32", "BFLOAT_16", "FLOAT_8", "NFLOAT_4"),
    )
    output_model_format: ModelFormat = setting(
        ModelFormat.SAFETENSORS,
        label="Output format",
        help="File layout of the final model. For LoRA, “Kohya” works in most programs and “Diffusers” in the diffusers library. For full models, “Diffusers folder” is a folder and all others are a single file.",
        group="output",
        level="basic",
        choices_by=FORMATS_BY_TYPE,
    )
    output_model_destination: str = setting(
        "models/model.safetensors",
        label="Model output destination",
        help="Path of the final model (kohya: output_dir, output_name). If it is an existing folder, the file in it is named by date and time.",
        group="output",
        level="basic",
        kind="path",
        path="output",
        required=True,
    )
    async_offloading: bool = setting(
        True,
        label="Async offloading",
        help="Load offloaded layers while the GPU is computing. Faster. Turn it off only if offloading causes errors.",
        group="device",
        level="expert",
    )
    force_circular_padding: bool = setting(
        False,
        label="Force circular padding (seamless tiling)",
        help="Wrap convolutions around the edges of the image, so that the model learns to generate seamless tiles. Use it only for textures and patterns.",
        group="resolution",
        level="expert",
        shown={MODEL_TYPE: CONVOLUTIONAL},
    )
    compile: bool = setting(
        False,
        label="Compile transformer blocks",
        help="Compile the transformer blocks with torch.compile. The first steps take minutes longer, the others are faster. Worth it for long runs.",
        group="model",
        level="advanced",
    )
    concept_file_name: str = setting(
        "training_concepts/concepts.json",
        label="Concept file",
        help="File to read concepts from if the configuration doesn't contain them. OneTrainer stores its concepts there.",
        group="concepts",
        level="expert",
        kind="path",
        path="file",
    )
    concepts: tuple[ConceptConfig, ...] | None = setting(
        None,
        label="Concepts",
        help="Datasets to train on: folders of images. The caption of an image is usually a .txt file of the same name.",
        group="concepts",
        level="basic",
        kind="list",
    )
    aspect_ratio_bucketing: bool = setting(
        True,
        label="Aspect ratio bucketing",
        help="Group images by aspect ratio, so that wide and tall images keep theirs (kohya: enable_bucket). If off, every image is cropped to a square.",
        group="data",
        level="basic",
    )
    latent_caching: bool = setting(
        True,
        label="Cache latents",
        help="Encode each image once and store the latents on disk (kohya: cache_latents). If off, every epoch encodes the images again, which is slower but saves disk space.",
        group="data",
        level="basic",
    )
    clear_cache_before_training: bool = setting(
        True,
        label="Clear cache before training",
        help="Encode all images and captions again at each start. You can leave it off: the built-in engine detects changes and encodes only what changed.",
        group="data",
        level="basic",
    )
    learning_rate_scheduler: LearningRateScheduler = setting(
        LearningRateScheduler.CONSTANT,
        label="Learning rate scheduler",
        help="How the learning rate changes during the run (kohya: lr_scheduler). “Constant” keeps it, “Cosine” and “Linear” lower it toward the end, “REX” lowers it late and steeply.",
        group="optimization",
        level="basic",
    )
    custom_learning_rate_scheduler: str | None = setting(
        None,
        label="Custom scheduler class",
        help="Python class of a custom scheduler, including its module, such as my_module.MyScheduler.",
        group="optimization",
        level="expert",
        shown={"learning_rate_scheduler": ("CUSTOM",)},
    )
    scheduler_params: tuple[dict[str, str], ...] | None = setting(
        (),
        label="Scheduler parameters",
        help="Arguments of the custom scheduler class. %LR%, %EPOCHS%, %STEPS_PER_EPOCH%, %TOTAL_STEPS% and %SCHEDULER_STEPS% are replaced by the values of the run.",
        group="optimization",
        level="expert",
        kind="pairs",
        shown={"learning_rate_scheduler": ("CUSTOM",)},
    )
    learning_rate: float = setting(
        3e-06,
        label="Learning rate",
        help="Step size of the optimizer. Typical: 1e-4 for LoRA, 1e-6 to 1e-5 for a full fine-tune, 1 for optimizers that adapt it themselves. Too high ruins the model within a few steps, too low learns nothing.",
        group="optimization",
        level="basic",
        gt=0,
        le=100.0,
    )
    learning_rate_warmup_steps: float = setting(
        200.0,
        label="Learning rate warmup steps",
        help="Steps over which the learning rate rises from 0 (kohya: lr_warmup_steps). 100 to 500 is typical, 0 turns warmup off. A value up to 1 is a fraction of the run. Warmup prevents a bad start at high learning rates.",
        group="optimization",
        level="basic",
        ge=0,
    )
    learning_rate_cycles: float = setting(
        1.0,
        label="Learning rate cycles",
        help="Number of cosine cycles (kohya: lr_scheduler_num_cycles). 1 decays once to the minimum, 0.5 stops halfway.",
        group="optimization",
        level="advanced",
        ge=0,
        shown={"learning_rate_scheduler": ("COSINE", "COSINE_WITH_RESTARTS", "COSINE_WITH_HARD_RESTARTS")},
    )
    learning_rate_min_factor: float = setting(
        0.0,
        label="Learning rate min factor",
        help="Lower limit of the learning rate, as a fraction of it. 0 lets it decay to 0, 0.1 stops at a tenth.",
        group="optimization",
        level="advanced",
        ge=0,
        le=0.99,
    )
    epochs: int = setting(
        100,
        label="Epochs",
        help="How many times to train on all images (kohya: max_train_epochs). 10 to 100 is typical. Too few learn little, too many overfit. Watch the samples to find the right number.",
        group="optimization",
        level="basic",
        ge=1,
    )
    batch_size: int = setting(
        1,
        label="Batch size",
        help="Images per step on each GPU (kohya: train_batch_size). 1 to 4 is typical. Larger batches train more smoothly but need more VRAM.",
        group="optimization",
        level="basic",
        ge=1,
    )
    gradient_accumulation_steps: int = setting(
        1,
        label="Gradient accumulation steps",
        help="Number of batches whose gradients are accumulated before the weights are updated. Has the effect of a larger batch without more VRAM, but takes longer. 1 turns it off.",
        group="optimization",
        level="basic",
        ge=1,
    )
    ema: EMAMode = setting(
        EMAMode.OFF,
        label="EMA",
        help="Keep an exponential moving average of the weights, which is often better than the last weights. “GPU” is fast, “CPU” saves VRAM.",
        group="ema",
        level="advanced",
    )
    ema_decay: float = setting(
        0.999,
        label="EMA decay",
        help="How slowly the EMA follows the weights. 0.999 averages about 1,000 updates, 0.5 barely averages, 1 never changes.",
        group="ema",
        level="advanced",
        ge=0.5,
        le=1,
        shown={"ema": ("GPU", "CPU")},
    )
    ema_update_step_interval: int = setting(
        5,
        label="EMA update step interval",
        help="Number of optimizer steps between two EMA updates. 1 to 5 is typical. A larger interval is faster but less accurate.",
        group="ema",
        level="advanced",
        unit="steps",
        ge=1,
        shown={"ema": ("GPU", "CPU")},
    )
    dataloader_threads: int = setting(
        2,
        label="Dataloader threads",
        help="Number of images to load in parallel (diffusers: dataloader_num_workers). 2 to 8 is typical. More helps with slow disks and large images. With an offloaded text encoder, it must be 1.",
        group="device",
        level="advanced",
        ge=1,
        le=64,
    )
    train_device: str = setting(
        factory=default_device,
        label="Train device",
        help="Device to train on: cuda (NVIDIA, AMD), mps (Apple) or cpu. Add an index to choose one of several GPUs, such as cuda:1.",
        group="device",
        level="advanced",
        required=True,
    )
    temp_device: str = setting(
        "cpu",
        label="Temp device (offload target)",
        help="Device that holds model components while they aren't needed, usually cpu.",
        group="device",
        level="expert",
        required=True,
    )
    train_dtype: DataType = setting(
        DataType.FLOAT_16,
        label="Train data type",
        help="Data type of the computation (kohya, diffusers: mixed_precision). bfloat16 is fast and robust on recent GPUs, float16 suits older ones. float32 is exact but slow, and right for a CPU.",
        group="precision",
        level="basic",
        choices=("FLOAT_32", "FLOAT_16", "BFLOAT_16", "TFLOAT_32"),
    )
    fallback_train_dtype: DataType = setting(
        DataType.BFLOAT_16,
        label="Fallback train data type",
        help="Data type for components that overflow in float16. Choose bfloat16 on recent GPUs and float32 on GPUs that don't support it.",
        group="precision",
        level="advanced",
        choices=("FLOAT_32", "BFLOAT_16"),
    )
    enable_autocast_cache: bool = setting(
        True,
        label="Autocast cache",
        help="Convert weights to the train data type once per step instead of at each use. Faster. Turn it off to save VRAM.",
        group="precision",
        level="expert",
    )
    only_cache: bool = setting(
        False,
        label="Only cache (no training)",
        help="Encode all images and captions, then stop without training.",
        group="general",
        level="advanced",
    )
    resolution: str = setting(
        "512",
        label="Resolution",
        help="Size in pixels that images are scaled to: one number (512), several (512,768) or width x height (768x512). Multiples of 64 fit nearly every model. The base model's native resolution works best.",
        group="resolution",
        level="basic",
        pattern=RESOLUTION_PATTERN,
        required=True,
    )
    frames: str = setting(
        "25",
        label="Frames",
        help="Number of frames to use from each video, or several numbers separated by commas. More frames need much more VRAM. 1 trains on images.",
        group="resolution",
        level="basic",
        pattern=NUMBERS_PATTERN,
        required=True,
        shown={MODEL_TYPE: can("frames", "models with a configurable number of frames")},
    )
    attention_mechanism: AttentionMechanism = setting(
        AttentionMechanism.SDP,
        label="Attention",
        help="Implementation of attention (kohya: sdpa, xformers). torch SDPA picks the fastest one that the GPU supports and suits almost everyone. The others force one implementation.",
        group="precision",
        level="advanced",
    )
    mse_strength: float = setting(
        1.0,
        label="MSE strength",
        help="Weight of the mean squared error (L2), the standard loss. The loss is the weighted sum of all loss functions. 1 is typical, 0 turns it off.",
        group="loss",
        level="advanced",
        ge=0,
    )
    mae_strength: float = setting(
        0.0,
        label="MAE strength",
        help="Weight of the mean absolute error (L1), which is less sensitive to outliers. The loss is the weighted sum of all loss functions. 0 turns it off.",
        group="loss",
        level="advanced",
        ge=0,
    )
    log_cosh_strength: float = setting(
        0.0,
        label="Log-cosh strength",
        help="Weight of the log-cosh loss, a compromise between MSE and MAE. The loss is the weighted sum of all loss functions. 0 turns it off.",
        group="loss",
        level="advanced",
        ge=0,
    )
    huber_strength: float = setting(
        0.0,
        label="Huber strength",
        help="Weight of the Huber loss, which is quadratic for small errors and linear for large ones. The loss is the weighted sum of all loss functions. 0 turns it off.",
        group="loss",
        level="advanced",
        ge=0,
    )
    huber_delta: float = setting(
        1.0,
        label="Huber delta",
        help="Error at which the Huber loss changes from quadratic to linear (kohya: huber_c). 1 is typical. Smaller values treat more errors as outliers.",
        group="loss",
        level="expert",
        gt=0,
    )
    vb_loss_strength: float = setting(
        1.0,
        label="VB loss strength",
        help="Weight of the variational bound loss, which trains the variance that PixArt models predict. 1 is typical. 0 doesn't train the variance.",
        group="loss",
        level="expert",
        ge=0,
        shown={MODEL_TYPE: can("vb_loss", "models that predict the variance")},
    )
    loss_weight_fn: LossWeight = setting(
        LossWeight.CONSTANT,
        label="Loss weight function",
        help="How much each timestep counts in the loss. “Constant” weights all timesteps equally. “Min-SNR gamma” often learns faster. “Sigma” emphasizes high noise levels.",
        group="loss",
        level="advanced",
        choices_by=LOSS_WEIGHTS_BY_TYPE,
    )
    loss_weight_strength: float = setting(
        5.0,
        label="Loss weight gamma (Min-SNR, P2)",
        help="Gamma of the loss weight function (kohya: min_snr_gamma). 5 is typical for Min-SNR gamma, 1 for P2. With Min-SNR gamma, lower values reduce the weight of low noise levels further.",
        group="loss",
        level="advanced",
        ge=1,
        le=20,
        shown={MODEL_TYPE: DIFFUSION, "loss_weight_fn": ("P2", "MIN_SNR_GAMMA")},
    )
    dropout_probability: float = setting(
        0.0,
        label="Dropout probability",
        help="Probability that a part of the LoRA is dropped in a step, which reduces overfitting (kohya: network_dropout). 0 turns it off, 0.1 is a lot, 1 learns nothing.",
        group="lora",
        level="advanced",
        ge=0,
        le=1,
        shown={METHOD: LORA},
    )
    loss_scaler: LossScaler = setting(
        LossScaler.NONE,
        label="Loss scaler",
        help="Multiply the loss by the batch size, the gradient accumulation steps or both. “None” is right for almost everyone.",
        group="loss",
        level="expert",
    )
    learning_rate_scaler: LearningRateScaler = setting(
        LearningRateScaler.NONE,
        label="Learning rate scaler",
        help="Multiply the learning rate by the square root of the batch size, the gradient accumulation steps or both. “None” uses the learning rate unchanged.",
        group="optimization",
        level="expert",
    )
    clip_grad_norm: float | None = setting(
        1.0,
        label="Clip gradient norm",
        help="Limit the norm of the gradients, which keeps outliers in check (kohya, diffusers: max_grad_norm). 1 is typical. Leave it empty to turn clipping off.",
        group="optimization",
        level="advanced",
        ge=0,
    )
    offset_noise_weight: float = setting(
        0.0,
        label="Offset noise weight",
        help="Add the same random brightness to a whole image, so that the model can generate very dark and very bright scenes (kohya: noise_offset). 0.05 is typical, 0 turns it off.",
        group="noise",
        level="advanced",
        ge=0,
    )
    generalized_offset_noise: bool = setting(
        False,
        label="Generalized offset noise",
        help="Make the offset noise depend on the timestep, so that it doesn't disturb fine details.",
        group="noise",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    perturbation_noise_weight: float = setting(
        0.0,
        label="Perturbation noise weight",
        help="Add a second noise to the first, which makes the model more robust (kohya: ip_noise_gamma). 0.1 is typical, 0 turns it off.",
        group="noise",
        level="advanced",
        ge=0,
    )
    rescale_noise_scheduler_to_zero_terminal_snr: bool = setting(
        False,
        label="Zero terminal SNR (rescale scheduler + v-pred)",
        help="Rescale the noise schedule to end in pure noise, and train with v-prediction (kohya: zero_terminal_snr). Only for base models that were trained this way.",
        group="unet",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    force_v_prediction: bool = setting(
        False,
        label="Force v-prediction",
        help="Train with v-prediction, even if the model files don't ask for it. With the wrong type, samples are only noise. The built-in engine applies it to every method, OneTrainer to full fine-tunes only.",
        group="unet",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    force_epsilon_prediction: bool = setting(
        False,
        label="Force epsilon prediction",
        help="Train with epsilon prediction, even if the model files don't ask for it. With the wrong type, samples are only noise. The built-in engine applies it to every method, OneTrainer to full fine-tunes only.",
        group="unet",
        level="expert",
        shown={MODEL_TYPE: has_part("unet")},
    )
    min_noising_strength: float = setting(
        0.0,
        label="Min noising strength",
        help="Lowest noise level to train on, as a fraction (kohya: min_timestep). 0 is typical. Higher values leave the finest details untrained.",
        group="noise",
        level="advanced",
        ge=0,
        le=1,
    )
    max_noising_strength: float = setting(
        1.0,
        label="Max noising strength",
        help="Highest noise level to train on, as a fraction (kohya: max_timestep). 1 is typical. Lower values leave the overall composition untrained.",
        group="noise",
        level="advanced",
        ge=0,
        le=1,
    )
    timestep_distribution: TimestepDistribution = setting(
        TimestepDistribution.UNIFORM,
        label="Timestep distribution",
        help="How often each timestep is sampled (kohya: timestep_sampling). “Uniform” samples all timesteps equally. “Logit-normal” prefers the middle, which suits flow-matching models.",
        group="noise",
        level="advanced",
    )
    noising_weight: float = setting(
        0.0,
        label="Noising weight",
        help="Shape of the timestep distribution. Larger values make “Sigmoid” steeper, “Logit-normal” wider (0 is typical) and “Inverted parabola” narrower. “Beta” uses it as α, which must be above 0.",
        group="noise",
        level="advanced",
        shown={"timestep_distribution": ("SIGMOID", "LOGIT_NORMAL", "HEAVY_TAIL", "INVERTED_PARABOLA", "BETA")},
    )
    noising_bias: float = setting(
        0.0,
        label="Noising bias",
        help="Center of the timestep distribution. 0 is the middle, negative values prefer less noise, positive values more. “Beta” uses it as β, which must be above 0.",
        group="noise",
        level="advanced",
        shown={"timestep_distribution": ("SIGMOID", "LOGIT_NORMAL", "INVERTED_PARABOLA", "BETA")},
    )
    timestep_shift: float = setting(
        1.0,
        label="Timestep shift",
        help="Shift training toward noisier timesteps (kohya: discrete_flow_shift). 1 changes nothing, 3 is typical for flow-matching models at 1024 px. Values below 1 prefer less noise.",
        group="noise",
        level="advanced",
        gt=0,
    )
    dynamic_timestep_shifting: bool = setting(
        False,
        label="Dynamic timestep shifting",
        help="Compute the shift from the resolution of each image, larger for larger images. Timestep shift is then not used.",
        group="noise",
        level="advanced",
        shown={MODEL_TYPE: can("dynamic_shift", "models that support dynamic timestep shifting")},
    )
    unet: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=0),
        label="UNet",
        help="The denoiser.",
        group="unet",
        level="basic",
        kind="object",
    )
    prior: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=0),
        label="Prior",
        help="The denoiser of the small latents.",
        group="prior",
        level="basic",
        kind="object",
    )
    transformer: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=0),
        label="Transformer",
        help="The denoiser.",
        group="transformer",
        level="basic",
        kind="object",
    )
    unconditional_transformer: TrainModelPartConfig = setting(
        TrainModelPartConfig(train=False, gradient_checkpointing=False),
        label="Unconditional transformer",
        help="Predicts without a prompt, for classifier-free guidance when sampling. Not trained.",
        group="unconditional_transformer",
        level="basic",
        kind="object",
    )
    quantization: QuantizationConfig = setting(
        QuantizationConfig(),
        label="Quantization",
        help="How frozen weights are quantized.",
        group="quantization",
        level="basic",
        kind="object",
    )
    text_encoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder",
        help="Encodes the prompt for the denoiser. The first one if the model has several.",
        group="text_encoder",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="Number of last layers of this text encoder to skip (kohya: clip_skip, counted from 1). 0 suits most models, 1 many anime models. Higher values lose the meaning of words.",
        group="text_encoder",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder")},
    )
    text_encoder_sequence_length: int | None = setting(
        512,
        label="Max sequence length",
        help="Maximum length of a prompt in tokens (kohya: max_token_length). Longer prompts are truncated. More tokens need more VRAM. Leave it empty for the model's own limit.",
        group="text_encoder",
        level="advanced",
        unit="tokens",
        ge=1,
        shown={MODEL_TYPE: prompt_length("text_encoder")},
    )
    text_encoder_2: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder 2",
        help="The second text encoder.",
        group="text_encoder_2",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_2_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="Number of last layers of this text encoder to skip (kohya: clip_skip, counted from 1). 0 suits most models, 1 many anime models. Higher values lose the meaning of words.",
        group="text_encoder_2",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder_2")},
    )
    text_encoder_2_sequence_length: int | None = setting(
        77,
        label="Max sequence length",
        help="Maximum length of a prompt in tokens (kohya: max_token_length). Longer prompts are truncated. More tokens need more VRAM. Leave it empty for the model's own limit.",
        group="text_encoder_2",
        level="advanced",
        unit="tokens",
        ge=1,
        shown={MODEL_TYPE: prompt_length("text_encoder_2")},
    )
    text_encoder_3: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder 3",
        help="The third text encoder.",
        group="text_encoder_3",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_3_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="Number of last layers of this text encoder to skip (kohya: clip_skip, counted from 1). 0 suits most models, 1 many anime models. Higher values lose the meaning of words.",
        group="text_encoder_3",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder_3")},
    )
    text_encoder_4: TrainModelPartConfig = setting(
        TrainModelPartConfig(stop_training_after=30, stop_training_after_unit=TimeUnit.EPOCH),
        label="Text encoder 4",
        help="The fourth text encoder.",
        group="text_encoder_4",
        level="basic",
        kind="object",
        levels={"activation_offloading": "expert"},
    )
    text_encoder_4_layer_skip: int = setting(
        0,
        label="Clip skip",
        help="Number of last layers of this text encoder to skip (kohya: clip_skip, counted from 1). 0 suits most models, 1 many anime models. Higher values lose the meaning of words.",
        group="text_encoder_4",
        level="expert",
        ge=0,
        shown={MODEL_TYPE: skips("text_encoder_4")},
    )
    vae: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="VAE",
        help="Encodes images to latents and decodes latents to images.",
        group="weights",
        level="basic",
        kind="object",
    )
    effnet_encoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="EfficientNet encoder",
        help="Encodes images to small latents.",
        group="weights",
        level="basic",
        kind="object",
    )
    decoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="Decoder",
        help="Upscales small latents.",
        group="weights",
        level="basic",
        kind="object",
    )
    decoder_text_encoder: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="Decoder text encoder",
        help="Encodes the prompt for the decoder.",
        group="weights",
        level="basic",
        kind="object",
    )
    decoder_vqgan: TrainModelPartConfig = setting(
        TrainModelPartConfig(),
        label="Decoder VQGAN",
        help="Decodes latents to images.",
        group="weights",
        level="basic",
        kind="object",
    )
    masked_training: bool = setting(
        False,
        label="Masked training",
        help="Train only on the white area of the mask next to each image (name-masklabel.png). Use it for subjects whose surroundings must not be learned (kohya: masked_loss).",
        group="masked",
        level="advanced",
    )
    unmasked_probability: float = setting(
        0.1,
        label="Unmasked probability",
        help="Probability that a step ignores the mask, so that inpainting models still learn whole images. Only for inpainting models. 0 never, 0.1 is typical, 1 always.",
        group="masked",
        level="advanced",
        ge=0,
        le=1,
    )
    unmasked_weight: float = setting(
        0.1,
        label="Unmasked weight",
        help="Loss weight of the area outside the mask. 0 ignores it, 0.1 keeps it stable, 1 treats the whole image equally.",
        group="masked",
        level="advanced",
        ge=0,
        le=1,
        shown={"masked_training": (True,)},
    )
    normalize_masked_area_loss: bool = setting(
        False,
        label="Normalize masked area loss",
        help="Divide the loss by the mask area, so that images with small masks count as much as images with large ones.",
        group="masked",
        level="advanced",
        shown={"masked_training": (True,)},
    )
    masked_prior_preservation_weight: float = setting(
        0.0,
        label="Masked prior preservation weight",
        help="How strongly to keep the area outside the mask as the base model predicts it. Only for LoRA. 0 turns it off, 1 is strong.",
        group="masked",
        level="advanced",
        ge=0,
        le=1,
        shown={"masked_training": (True,)},
    )
    custom_conditioning_image: bool = setting(
        False,
        label="Custom conditioning image",
        help="Load the conditioning image of an inpainting model from a file next to each image (name-condlabel.png) instead of making it from the mask.",
        group="masked",
        level="advanced",
    )
    layer_filter: str = setting(
        "",
        label="Layer filter (patterns)",
        help="Train only layers whose name contains one of these patterns, separated by commas, such as attn. Leave it empty to train all layers. A pattern that matches no layer trains nothing.",
        group="layers",
        level="advanced",
    )
    layer_filter_preset: str = setting(
        "full",
        label="Layer filter preset",
        help="Fill in the patterns of the layer filter. “full” trains all layers, “attn-only” the attention layers, “custom” keeps your own patterns. Only the patterns have an effect.",
        group="layers",
        level="advanced",
        kind="layer_preset",
        choices_by=LAYER_PRESETS_BY_TYPE,
    )
    layer_filter_regex: bool = setting(
        False,
        label="Layer filter: use regex",
        help="Treat the patterns of the layer filter as regular expressions.",
        group="layers",
        level="expert",
    )
    embedding_learning_rate: float | None = setting(
        None,
        label="Embedding learning rate",
        help="Learning rate of embeddings. Leave it empty to use Learning rate. Embeddings need a much higher one than models, about 1e-3.",
        group="embeddings",
        level="advanced",
        ge=0,
        shown={MODEL_TYPE: WITH_EMBEDDINGS},
    )
    preserve_embedding_norm: bool = setting(
        False,
        label="Preserve embedding norm",
        help="Keep the norm of trained embeddings equal to that of ordinary tokens, so that they don't dominate the prompt.",
        group="embeddings",
        level="advanced",
        shown={MODEL_TYPE: WITH_EMBEDDINGS},
    )
    embedding: TrainEmbeddingConfig = setting(
        TrainEmbeddingConfig(),
        label="Embedding",
        help="The embedding to train.",
        group="embedding",
        level="basic",
        kind="object",
        shown={METHOD: EMBEDDING},
        levels={"train": "expert", "stop_training_after": "expert", "stop_training_after_unit": "expert"},
    )
    additional_embeddings: tuple[TrainEmbeddingConfig, ...] = setting(
        (),
        label="Additional embeddings",
        help="Embeddings that are trained alongside the main method (pivotal tuning), or only used in captions. Each has its own placeholder.",
        group="additional_embeddings",
        level="advanced",
        kind="list",
        shown={MODEL_TYPE: WITH_EMBEDDINGS},
    )
    embedding_weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="Embedding weight data type",
        help="Data type of the embedding during training. float32 is best and costs little, because embeddings are small.",
        group="embedding",
        level="advanced",
        choices=("FLOAT_32", "BFLOAT_16"),
        shown={METHOD: EMBEDDING},
    )
    cloud: CloudConfig = setting(
        CloudConfig(),
        label="Cloud",
        help="Training on a rented GPU.",
        group="cloud",
        level="advanced",
        kind="object",
    )
    peft_type: PeftType = setting(
        PeftType.LORA,
        label="Adapter type",
        help="Type of adapter (kohya: network_module). LoRA works in every program. LoHa and LoKr are smaller or more expressive. OFT v2 rotates the weights instead of adding to them.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA},
    )
    lora_model_name: str = setting(
        "",
        label="LoRA base model (continue from)",
        help="LoRA file to continue training from (kohya: network_weights). Leave it empty to start a new one.",
        group="lora",
        level="advanced",
        kind="path",
        path="file",
        shown={METHOD: LORA},
    )
    lora_rank: int = setting(
        16,
        label="LoRA rank",
        help="Size of the LoRA (kohya: network_dim). 4 to 16 for a simple subject, 32 to 128 for styles and many subjects. Higher ranks learn more, overfit sooner and make larger files.",
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
        help="Strength of the LoRA, which is scaled by alpha / rank (kohya: network_alpha). Equal to the rank is full strength. 1 is gentle and needs a higher learning rate.",
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
        help="Train the direction and magnitude of the weights separately. Often closer to a full fine-tune, but slower and needs more VRAM.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LORA",)},
    )
    lora_decompose_norm_epsilon: bool = setting(
        True,
        label="DoRA norm epsilon",
        help="Add a small epsilon to the norm of the weights to avoid division by zero. Leave it on.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LORA",), "lora_decompose": (True,)},
    )
    lora_decompose_output_axis: bool = setting(
        False,
        label="DoRA on output axis",
        help="Compute the norm along the output axis of a layer instead of the input axis, as most other programs do.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LORA",), "lora_decompose": (True,)},
    )
    lora_weight_dtype: DataType = setting(
        DataType.FLOAT_32,
        label="LoRA weight data type",
        help="Data type of the LoRA weights during training. float32 is best, bfloat16 halves their memory.",
        group="lora",
        level="advanced",
        choices=("FLOAT_32", "BFLOAT_16"),
        shown={METHOD: LORA},
    )
    bundle_additional_embeddings: bool = setting(
        True,
        label="Bundle embeddings",
        help="Store additional embeddings in the LoRA file. If off, they are saved as separate files.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA},
    )
    oft_block_size: int = setting(
        32,
        label="OFT block size",
        help="Size of the rotated blocks. 16 to 64 is typical. Larger blocks learn more and make larger files.",
        group="lora",
        level="basic",
        ge=1,
        shown={METHOD: LORA, "peft_type": ("OFT_2",)},
    )
    oft_block_share: bool = setting(
        False,
        label="OFT block share",
        help="Use one rotation for all blocks of a layer. The file becomes tiny but learns less.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("OFT_2",)},
    )
    oft_scaled: bool = setting(
        False,
        label="Scaled OFT (SOFT)",
        help="Scale the rotation by the block size, so that the same learning rate fits every block size.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("OFT_2",)},
    )
    lokr_dim: int = setting(
        16,
        label="LoKr dimension",
        help="Size of the inner matrices of the LoKr (kohya: network_dim). 16 is typical. Higher values learn more and make larger files.",
        group="lora",
        level="basic",
        ge=1,
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_decompose_both: bool = setting(
        False,
        label="Decompose both matrices",
        help="Decompose the first matrix as well as the second. The file becomes even smaller but learns less.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_decompose_factor: int = setting(
        -1,
        label="Decomposition factor",
        help="Where to split a weight into two matrices (LyCORIS: factor). -1 splits evenly and makes the smallest file, 4 to 16 learn more.",
        group="lora",
        level="advanced",
        ge=-1,
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_use_tucker: bool = setting(
        False,
        label="Tucker decomposition (conv)",
        help="Also decompose convolutions along their kernel, for smaller files (LyCORIS: use_tucker). Has no effect on transformers.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_weight_decompose: bool = setting(
        False,
        label="DoRA (decompose weights)",
        help="Train the direction and magnitude of the weights separately. Often closer to a full fine-tune, but slower and needs more VRAM.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_dora_on_output: bool = setting(
        True,
        label="DoRA on output axis",
        help="Compute the norm along the output axis of a layer instead of the input axis.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LOKR",), "lokr_weight_decompose": (True,)},
    )
    lokr_full_matrix: bool = setting(
        False,
        label="Full matrix (W2)",
        help="Don't decompose the second matrix. Learns most and makes the largest files. LoKr dimension is then not used.",
        group="lora",
        level="advanced",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    lokr_vec_trick: bool = setting(
        True,
        label="Kronecker vec trick",
        help="Apply the LoKr without building the full matrix. Faster and needs less VRAM, with the same result. Leave it on.",
        group="lora",
        level="expert",
        shown={METHOD: LORA, "peft_type": ("LOKR",)},
    )
    optimizer: TrainOptimizerConfig = setting(
        TrainOptimizerConfig(),
        label="Optimizer",
        help="The optimizer and its parameters.",
        group="optimization",
        level="basic",
        kind="object",
    )
    optimizer_defaults: dict[str, TrainOptimizerConfig] = setting({})
    sample_definition_file_name: str = setting(
        "training_samples/samples.json",
        label="Sample file",
        help="File to read sample prompts from if the configuration doesn't contain them. OneTrainer stores its samples there.",
        group="sampling",
        level="expert",
        kind="path",
        path="file",
    )
    samples: tuple[SampleConfig, ...] | None = setting(
        None,
        label="Sample prompts",
        help="Prompts to sample during the run, so that you see what the model has learned.",
        group="sampling",
        level="basic",
        kind="list",
        new_by_type=SAMPLE_DEFAULTS,
    )
    sample_after: int = setting(
        10,
        label="Sample every",
        help="How often to generate samples (kohya: sample_every_n_steps). Training waits while they are generated.",
        group="sampling",
        level="basic",
        unit_of="sample_after_unit",
        ge=0,
    )
    sample_after_unit: TimeUnit = setting(
        TimeUnit.MINUTE,
        label="Sample every: unit",
        help="Unit of the sampling interval. “never” turns sampling off.",
        group="sampling",
        level="basic",
    )
    sample_skip_first: int = setting(
        0,
        label="Skip first",
        help="Don't generate samples before this many units have passed. 0 skips none.",
        group="sampling",
        level="advanced",
        ge=0,
    )
    sample_image_format: ImageFormat = setting(
        ImageFormat.JPG,
        label="Image format",
        help="File format of samples. PNG keeps every detail and the sampling parameters, JPEG is smaller.",
        group="sampling",
        level="advanced",
    )
    sample_video_format: VideoFormat = setting(
        VideoFormat.MP4,
        label="Video format",
        help="File format of video samples: one MP4 file, or one image per frame.",
        group="sampling",
        level="expert",
        shown={MODEL_TYPE: VIDEO},
    )
    sample_audio_format: AudioFormat = setting(AudioFormat.MP3)
    samples_to_tensorboard: bool = setting(
        True,
        label="Samples to TensorBoard",
        help="Also write samples to the TensorBoard log. The log grows with each sample.",
        group="sampling",
        level="expert",
    )
    non_ema_sampling: bool = setting(
        True,
        label="Non-EMA sampling",
        help="With EMA on, generate each sample a second time without EMA for comparison.",
        group="sampling",
        level="expert",
        shown={"ema": ("GPU", "CPU")},
    )
    backup_after: int = setting(
        30,
        label="Back up every",
        help="How often to write a backup (kohya: save_state). Every 30 minutes is typical. A run that resumes from a backup continues exactly where it was.",
        group="backup",
        level="basic",
        unit_of="backup_after_unit",
        ge=0,
    )
    backup_after_unit: TimeUnit = setting(
        TimeUnit.MINUTE,
        label="Back up every: unit",
        help="Unit of the backup interval. “never” turns backups off.",
        group="backup",
        level="basic",
    )
    rolling_backup: bool = setting(
        False,
        label="Rolling backup",
        help="Delete older backups of this run, and of the runs it was resumed from, when a new one is written. If off, all backups are kept, which can fill the disk.",
        group="backup",
        level="basic",
    )
    rolling_backup_count: int = setting(
        3,
        label="Rolling backup count",
        help="Number of backups to keep (diffusers: checkpoints_total_limit). 3 is typical.",
        group="backup",
        level="basic",
        ge=1,
        shown={"rolling_backup": (True,)},
    )
    backup_before_save: bool = setting(
        True,
        label="Back up before save",
        help="Write a backup before the final model is saved, so that you can resume the run later.",
        group="backup",
        level="basic",
    )
    save_every: int = setting(
        0,
        label="Save every",
        help="How often to save the model during the run, as a checkpoint that you can use right away (kohya: save_every_n_steps).",
        group="backup",
        level="basic",
        unit_of="save_every_unit",
        ge=0,
    )
    save_every_unit: TimeUnit = setting(
        TimeUnit.NEVER,
        label="Save every: unit",
        help="Unit of the saving interval. “never” turns saving off.",
        group="backup",
        level="basic",
    )
    save_skip_first: int = setting(
        0,
        label="Skip first",
        help="Don't save before this many units have passed. 0 skips none.",
        group="backup",
        level="advanced",
        ge=0,
    )
    save_filename_prefix: str = setting(
        "",
        label="Save filename prefix",
        help="Prefix of the file names of samples, saves and logs. It can't contain a path.",
        group="backup",
        level="advanced",
        file_name=True,
        pattern=FILE_NAME_PATTERN,
    )
    secrets: SecretsConfig = setting(
        SecretsConfig(),
        label="Secrets",
        help="Tokens and passwords. They stay on the server.",
        group="model",
        level="basic",
        kind="object",
    )
