"""The tabs and groups that settings belong to, in the order in which the form shows them: OneTrainer's, in its order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tab:
    """A tab of the form: its key and title."""

    key: str
    title: str


@dataclass(frozen=True)
class Group:
    """A group of settings: its key in the declarations, its tab, its title, and one sentence on what it is for.

    ``of`` names the list whose elements have these settings, for groups that are no part of the form itself but of an element.
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
    Tab("lora", "Adapter"),
    Tab("embedding", "Embedding"),
    Tab("additional_embeddings", "Additional embeddings"),
    Tab("cloud", "Cloud"),
)

GROUPS: tuple[Group, ...] = (
    Group("general", "general", "Folders and start", "Where a run keeps its things and what it starts from."),
    Group("validation", "general", "Validation", "Measuring the loss on pictures that are not trained on."),
    Group("device", "general", "Device", "Where the work is done."),
    Group("multi_gpu", "general", "Several graphics cards", "One run on more than one card."),
    Group("tensorboard", "general", "TensorBoard", "The charts of TensorBoard, beside those of the panel."),
    Group("debug", "general", "Looking for errors", "What is written down when a run does something odd."),
    Group("model", "model", "Model", "What to start from and how to train it."),
    Group("weights", "model", "Parts and number formats", "Where each part of the model comes from and how it lies in memory."),
    Group("quantization", "model", "Quantization", "How weights are squeezed into 8 bits or fewer."),
    Group("output", "model", "Output", "What comes out at the end."),
    Group("data", "data", "Data", "How pictures are prepared."),
    Group("concepts", "concepts", "Concepts", "The pictures to learn from."),
    Group("concept", "concepts", "General", "The folder and how much of it is used.", of="concepts"),
    Group("concept_image", "concepts", "Picture changes", "How pictures are altered before they are learned.", of="concepts"),
    Group("concept_text", "concepts", "Caption changes", "How captions are altered before they are learned.", of="concepts"),
    Group("optimization", "training", "Optimization", "How long, how fast and by which rule."),
    Group("optimizer", "training", "Optimizer parameters", "The parameters of the chosen optimizer."),
    Group("text_encoder", "training", "Text encoder", "The part that reads the prompt."),
    Group("text_encoder_2", "training", "Text encoder 2", "The second part that reads the prompt."),
    Group("text_encoder_3", "training", "Text encoder 3", "The third part that reads the prompt."),
    Group("text_encoder_4", "training", "Text encoder 4", "The fourth part that reads the prompt."),
    Group("embeddings", "training", "Embeddings", "How new words are trained."),
    Group("resolution", "training", "Picture size", "The size that pictures are trained in."),
    Group("precision", "training", "Precision", "Number formats of the calculation."),
    Group("ema", "training", "Moving average", "A slowly moving average of the weights (EMA)."),
    Group("unet", "training", "UNet", "The part that paints."),
    Group("prior", "training", "Prior", "The part that paints."),
    Group("transformer", "training", "Transformer", "The part that paints."),
    Group("unconditional_transformer", "training", "Unconditional transformer", "The part that paints without a prompt."),
    Group("noise", "training", "Noise", "Which noise is learned to be removed."),
    Group("masked", "training", "Masked training", "Learning only a region of each picture."),
    Group("loss", "training", "Loss", "How deviation is measured."),
    Group("layers", "training", "Layers", "Which layers are trained."),
    Group("sampling", "sampling", "Samples", "Pictures painted during the run."),
    Group("sample", "sampling", "Sample", "A prompt and how it is painted.", of="samples"),
    Group("backup", "backup", "Backups and saves", "What is kept on the way."),
    Group("lora", "lora", "Adapter", "Kind, size and form of the adapter."),
    Group("embedding", "embedding", "Embedding", "The new word that is trained."),
    Group(
        "additional_embeddings", "additional_embeddings", "Additional embeddings", "New words that are trained beside the rest."
    ),
    Group("additional_embedding", "additional_embeddings", "Embedding", "A new word.", of="additional_embeddings"),
    Group("cloud", "cloud", "Connection", "Training on a rented machine, carried out by OneTrainer."),
    Group("cloud_remote", "cloud", "On the machine", "Folders and programs over there."),
    Group("cloud_results", "cloud", "Results", "What is fetched, and what happens afterwards."),
    Group("cloud_machine", "cloud", "New machine", "What is rented when there is no machine yet."),
)

# Settings that stand at the head of their group, in this order; the others follow as the file has them.
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
