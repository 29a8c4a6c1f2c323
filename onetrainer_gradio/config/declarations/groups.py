"""Define the tabs and groups of the form, in the order of OneTrainer's window."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tab:
    """A tab of the form."""

    key: str
    title: str


@dataclass(frozen=True)
class Group:
    """A group of settings: its key in the declarations, its tab, its title, and a sentence about it.

    ``of`` is the list whose elements have these settings, for groups that belong to an element and not to the form itself.
    """

    key: str
    tab: str
    title: str
    about: str
    of: str = ""


TABS: tuple[Tab, ...] = (
    Tab("general", "General"),
    Tab("model", "Model"),
    Tab("data", "Data"),
    Tab("concepts", "Concepts"),
    Tab("training", "Training"),
    Tab("sampling", "Sampling"),
    Tab("backup", "Backup"),
    Tab("lora", "LoRA"),
    Tab("embedding", "Embedding"),
    Tab("additional_embeddings", "Additional embeddings"),
    Tab("cloud", "Cloud"),
)

GROUPS: tuple[Group, ...] = (
    Group("general", "general", "Workspace and resume", "Where the run stores its files, and whether it resumes from a backup."),
    Group("validation", "general", "Validation", "Measure the loss on images that are not used for training."),
    Group("device", "general", "Devices", "Which devices are used for training and offloading."),
    Group("multi_gpu", "general", "Multi-GPU", "Train one run on several GPUs."),
    Group("tensorboard", "general", "TensorBoard", "Log to TensorBoard in addition to the panel's own charts."),
    Group("debug", "general", "Debugging", "Extra output for diagnosing a run that misbehaves."),
    Group("model", "model", "Model", "The base model and the training method."),
    Group("weights", "model", "Components and data types", "Overrides and weight data types for each model component."),
    Group("quantization", "model", "Quantization", "Store frozen weights in 8 bits or fewer."),
    Group("output", "model", "Output", "Destination, format and data type of the final model."),
    Group("data", "data", "Data", "Bucketing and caching of training images."),
    Group("concepts", "concepts", "Concepts", "The datasets to train on: folders of images with captions."),
    Group("concept", "concepts", "General", "Image folder, captions, repeats and loss weight.", of="concepts"),
    Group(
        "concept_image", "concepts", "Image augmentation", "Random or fixed changes applied to training images.", of="concepts"
    ),
    Group(
        "concept_text",
        "concepts",
        "Text augmentation",
        "Random changes applied to captions: shuffling, dropout, capitalization.",
        of="concepts",
    ),
    Group("optimization", "training", "Optimization", "Optimizer, learning rate, batch size and epochs."),
    Group("optimizer", "training", "Optimizer parameters", "Parameters of the selected optimizer."),
    Group("text_encoder", "training", "Text encoder", "Encodes the prompt for the denoiser."),
    Group("text_encoder_2", "training", "Text encoder 2", "The second text encoder."),
    Group("text_encoder_3", "training", "Text encoder 3", "The third text encoder."),
    Group("text_encoder_4", "training", "Text encoder 4", "The fourth text encoder."),
    Group("embeddings", "training", "Embeddings", "Shared settings for trained embeddings (textual inversion)."),
    Group("resolution", "training", "Resolution", "Training resolution, and number of frames for video."),
    Group("precision", "training", "Precision and attention", "Mixed-precision data types and the attention backend."),
    Group("ema", "training", "EMA", "Exponential moving average of the trained weights."),
    Group("unet", "training", "UNet", "The denoiser."),
    Group("prior", "training", "Prior", "The denoiser."),
    Group("transformer", "training", "Transformer", "The denoiser."),
    Group(
        "unconditional_transformer",
        "training",
        "Unconditional transformer",
        "Predicts without a prompt, for classifier-free guidance when sampling. Not trained.",
    ),
    Group("noise", "training", "Timesteps and noise", "Which timesteps are trained and how noise is added."),
    Group("masked", "training", "Masked training", "Restrict the loss to a masked region of each image."),
    Group("loss", "training", "Loss", "Loss functions and how timesteps are weighted."),
    Group("layers", "training", "Layer filter", "Limit training to selected layers."),
    Group("sampling", "sampling", "Samples", "Images generated during training to track progress."),
    Group("sample", "sampling", "Sample", "A prompt and its sampling parameters.", of="samples"),
    Group("backup", "backup", "Backups and saves", "Resumable backups and intermediate model saves."),
    Group("lora", "lora", "LoRA", "Adapter type (LoRA, LoHa, LoKr, OFT), rank and alpha."),
    Group("embedding", "embedding", "Embedding", "The textual inversion embedding to train."),
    Group(
        "additional_embeddings",
        "additional_embeddings",
        "Additional embeddings",
        "Embeddings that are trained, or only used, alongside the main method.",
    ),
    Group("additional_embedding", "additional_embeddings", "Embedding", "One embedding.", of="additional_embeddings"),
    Group("cloud", "cloud", "Connection", "Train on a rented GPU. Requires OneTrainer."),
    Group("cloud_remote", "cloud", "Remote setup", "Folders and OneTrainer installation on the remote machine."),
    Group("cloud_results", "cloud", "Downloads and shutdown", "What to download, and what happens to the instance afterwards."),
    Group("cloud_machine", "cloud", "New instance", "The instance to rent when none is running."),
)

# Settings at the top of their group, in this order. The others follow in the order of the file.
FIRST: tuple[str, ...] = (
    "train_device",
    "temp_device",
    "model_type",
    "training_method",
    "base_model_name",
    "quantization.layer_filter_preset",
    "output_model_destination",
    "output_model_format",
    "output_dtype",
    "concepts",
    "concepts[].name",
    "concepts[].path",
    "concepts[].enabled",
    "concepts[].include_subdirectories",
    "concepts[].type",
    "concepts[].text",
    "optimizer",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.beta3",
    "optimizer.momentum",
    "optimizer.eps",
    "optimizer.weight_decay",
    "optimizer.d_coef",
    "learning_rate",
    "resolution",
    "frames",
    "unet",
    "layer_filter_preset",
    "samples",
    "samples[].enabled",
    "samples[].prompt",
    "samples[].negative_prompt",
    "samples[].width",
    "samples[].height",
    "peft_type",
    "lora_rank",
    "lora_alpha",
    "oft_block_size",
    "lokr_dim",
    "lora_model_name",
    "embedding.placeholder",
    "additional_embeddings[].placeholder",
    "cloud.install_onetrainer",
)
