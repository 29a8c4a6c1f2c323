"""The catalog of findings: what each code means and what to do about it; ``docs/preflight.md`` is generated from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A kind of finding: its default severity, its meaning and remedy for users, and its group in the catalog.

    ``late_error`` is the number of the late OneTrainer error that it reports in advance, 0 for none.
    """

    group: str
    severity: str
    meaning: str
    remedy: str
    late_error: int = 0


CODES: dict[str, Code] = {
    "nothing-trained": Code(
        "Model and method",
        "error",
        "No model component is trained, so the run would change nothing.",
        "Turn on Train for the denoiser (UNet, transformer or prior) or a text encoder, or add an embedding.",
    ),
    "embedding-in-no-encoder": Code(
        "Model and method",
        "error",
        "An embedding is trained, but no text encoder takes part in it, because Train embeddings is off for all of them "
        "or none is included. This is a warning if the run also trains something else.",
        "Turn on Train embeddings for at least one included text encoder.",
    ),
    "method-for-type": Code(
        "Model and method",
        "error",
        "This training method isn't supported for the model type.",
        "Choose one of the methods that the finding lists.",
    ),
    "base-model-missing": Code(
        "Model and method",
        "error",
        "No base model is set, or there is none at its path.",
        "Choose a folder, a file or a model on the Hugging Face Hub.",
    ),
    "base-model-folder": Code(
        "Model and method",
        "error",
        "The base model is a folder without model_index.json.",
        "Choose the folder that contains model_index.json.",
    ),
    "base-model-file": Code(
        "Model and method",
        "error",
        "The base model is a file of a type that can't contain a model, such as .json.",
        "Choose a folder in diffusers layout, or a model file.",
    ),
    "model-file": Code(
        "Model and method",
        "error",
        "A file or folder isn't what the setting requires: for example a LoRA or embedding as the base model, a "
        "checkpoint without a VAE, a web page, a text file, a Git LFS pointer, an incomplete download, an index without "
        "its weight files, or a pickle file that would run code.",
        "Follow the suggestion in the finding.",
    ),
    "base-model-type": Code(
        "Model and method",
        "error",
        "The folder or the tensor names of the base model show a model of another type.",
        "Choose the matching model type, or another base model.",
    ),
    "single-file-base": Code(
        "Model and method",
        "error",
        "This model type requires a folder in diffusers layout, but the base model is a single file.",
        "Set Base model to the published model. If the type supports it, set the transformer's Model override to the file.",
        late_error=20,
    ),
    "offline-model": Code(
        "Model and method",
        "warning",
        "The base model is on the Hugging Face Hub, but Offline mode is on.",
        "Turn off Offline mode, unless the model is already downloaded.",
    ),
    "part-missing": Code(
        "Model and method",
        "error",
        "The model type requires a component that the base model doesn't contain (effnet encoder, decoder or Llama text "
        "encoder).",
        "Set the component's Model override. The presets for this type show where to find it.",
    ),
    "file-missing": Code(
        "Model and method",
        "error",
        "A file doesn't exist.",
        "Correct the path, or clear the setting.",
    ),
    "embeddings-for-type": Code(
        "Model and method",
        "error",
        "The model type doesn't support embeddings, but an additional embedding is trained.",
        "Remove the embedding.",
    ),
    "resume-other-run": Code(
        "Model and method",
        "error",
        "The latest backup was created with another model type, training method, adapter type or rank.",
        "Change the setting back as the finding suggests, or turn off Continue from last backup.",
    ),
    "no-backup-to-continue": Code(
        "Model and method",
        "error",
        "Continue from last backup is on, but the workspace has no backup.",
        "Turn off Continue from last backup, or choose the workspace that has a backup.",
    ),
    "nothing-left-to-train": Code(
        "Model and method",
        "error",
        "The backup to resume from has already reached the last epoch or the step limit.",
        "Raise Epochs or the step limit.",
    ),
    "only-saves-result": Code(
        "Model and method",
        "warning",
        "The backup to resume from has already reached the last epoch or the step limit, and its final model is missing. The run "
        "saves the final model and ends.",
        "Raise Epochs or the step limit to train further.",
    ),
    "format-for-method": Code(
        "Output",
        "error",
        "The output format isn't available for this model type and training method. OneTrainer reports it only when it "
        "saves, after training.",
        "Choose one of the formats that the finding lists.",
        late_error=1,
    ),
    "legacy-lora": Code(
        "Output",
        "error",
        "The output format is Legacy LoRA, which OneTrainer wrote before version 11 and which doesn't exist for this model type.",
        "Choose another output format.",
        late_error=15,
    ),
    "original-lora-parts": Code(
        "Output",
        "error",
        "The Original LoRA format stores only the denoiser, but a text encoder or a bundled embedding is trained too.",
        "Choose another output format, or train only the denoiser.",
        late_error=13,
    ),
    "comfy-lora-encoder": Code(
        "Output",
        "error",
        "The ComfyUI LoRA format has no key names for the trained text encoder of this model type, so ComfyUI would drop it.",
        "Choose another output format, or turn off Train for the text encoder.",
        late_error=14,
    ),
    "resume-fused": Code(
        "Output",
        "error",
        "The LoRA to continue from stores query, key and value separately, but the output format requires them fused, or "
        "the reverse.",
        "Choose a matching output format, or start without that LoRA.",
        late_error=16,
    ),
    "output-name": Code(
        "Output",
        "error",
        "Model output destination is empty, or its extension doesn't match the output format. A mismatch that only looks "
        "odd is a warning.",
        "Set Model output destination to the name that the finding suggests.",
    ),
    "output-exists": Code(
        "Output",
        "warning",
        "The output file already exists and would be overwritten. This is an error if Prevent overwrites is on.",
        "Choose another name.",
    ),
    "output-protected": Code(
        "Output",
        "error",
        "The output file is, contains or is inside a folder that must not be replaced, such as the images, the base "
        "model or the workspace. Links are followed.",
        "Use the name that the finding suggests.",
    ),
    "output-foreign": Code(
        "Output",
        "error",
        "The output folder has files in it that no run wrote, or its files were changed after a run wrote them.",
        "Use the name that the finding suggests.",
    ),
    "output-link": Code(
        "Output",
        "note",
        "The output file is a link. The run replaces the link and keeps the file that it points to.",
        "Choose the file itself if you want to replace it.",
    ),
    "layer-filter-regex": Code(
        "Layers",
        "error",
        "A pattern isn't a valid regular expression, or contains invisible characters.",
        "Correct the pattern, or turn off regular expressions.",
        late_error=18,
    ),
    "layer-filter-slow": Code(
        "Layers",
        "error",
        "A regular expression took too long to evaluate. OneTrainer has no time limit for it and would hang.",
        "Remove nested repeats such as (a+)+, or use parts of layer names.",
    ),
    "layer-filter-no-match": Code(
        "Layers",
        "error",
        "A pattern matches no layer of the denoiser, or only layers that an earlier pattern already matches. This is a "
        "warning if training can continue without it.",
        "Remove the pattern, or choose a preset.",
        late_error=17,
    ),
    "layer-filter-partly-fused": Code(
        "Layers",
        "error",
        "The output format stores several projections as one, but the layer filter matches only some of them.",
        "Choose Diffusers as the output format, or add the missing layers.",
    ),
    "layer-preset-mismatch": Code(
        "Layers",
        "warning",
        "The layer filter preset and its patterns don't match. Only the patterns are used.",
        "Choose the preset again, or choose custom.",
    ),
    "encoder-offload-threads": Code(
        "Memory",
        "error",
        "A text encoder is offloaded while several threads load images.",
        "Set Dataloader threads to 1.",
        late_error=2,
    ),
    "offload-without-checkpointing": Code(
        "Memory",
        "error",
        "A model component is offloaded without gradient checkpointing.",
        "Turn on Gradient checkpointing for the component.",
        late_error=3,
    ),
    "offload-needs-fused-back-pass": Code(
        "Memory",
        "error",
        "A model component is fully fine-tuned and offloaded, but the optimizer doesn't step during the backward pass.",
        "Turn on Fused back pass, with an optimizer that supports it.",
        late_error=4,
    ),
    "quantized-part-trained": Code(
        "Memory",
        "error",
        "A fully fine-tuned component has a quantized data type, which has no gradients.",
        "Set the weight data type to bfloat16 or float32, or train a LoRA.",
        late_error=10,
    ),
    "svd-with-gguf": Code(
        "Memory",
        "error",
        "SVDQuant requires the original weights, but a GGUF file is already quantized.",
        "Set SVDQuant to None.",
        late_error=11,
    ),
    "gguf-without-file": Code(
        "Memory",
        "error",
        "The weight data type of a component is GGUF, but its Model override isn't a GGUF file.",
        "Set Model override to a .gguf file, or choose another weight data type.",
    ),
    "compressed-weights": Code(
        "Memory",
        "error",
        "Compressed weights require an NVIDIA GPU (and the nvCOMP library in OneTrainer), or aren't available for this "
        "component.",
        "Choose the weight data type without compression.",
        late_error=12,
    ),
    "weights-exceed-memory": Code(
        "Memory",
        "warning",
        "The denoiser alone is larger than the GPU's memory. This is an estimate.",
        "Offload more, choose a smaller weight data type, or use a preset for this amount of VRAM.",
    ),
    "memory-exceeds-gpu": Code(
        "Memory",
        "warning",
        "The run is expected to need more VRAM than the GPU has. This is an estimate, and not yet calibrated.",
        "Turn on gradient checkpointing, lower the batch size, or offload a fraction of the layers.",
    ),
    "fused-kernel-conflict": Code(
        "Optimizer and learning rate",
        "error",
        "With Adam and AdamW, stochastic rounding and Fused back pass can't be combined with the fused or for-each kernel.",
        "Turn off the kernel.",
        late_error=5,
    ),
    "back-pass-without-fused-reduce": Code(
        "Optimizer and learning rate",
        "error",
        "Fused back pass with Multi-GPU requires Fused gradient reduce.",
        "Turn on Fused gradient reduce.",
        late_error=6,
    ),
    "schedule-free-wuerstchen": Code(
        "Optimizer and learning rate",
        "error",
        "Schedule-free optimizers aren't supported for Wuerstchen and Stable Cascade.",
        "Choose another optimizer.",
        late_error=7,
    ),
    "custom-scheduler-class": Code(
        "Optimizer and learning rate",
        "error",
        "The learning rate scheduler is Custom, but Custom scheduler class isn't set as module.Class.",
        "Set Custom scheduler class, or choose another scheduler.",
        late_error=8,
    ),
    "custom-scheduler-parameters": Code(
        "Optimizer and learning rate",
        "error",
        "A parameter of the custom scheduler is neither a Python literal nor one of the placeholders such as %TOTAL_STEPS%.",
        "Correct the parameter. Texts are in quotes.",
    ),
    "adafactor-scheduler": Code(
        "Optimizer and learning rate",
        "error",
        "The learning rate scheduler Adafactor reports the rates of the optimizer Adafactor, and another one is selected.",
        "Choose another scheduler, or the optimizer Adafactor.",
    ),
    "optimizer-parameter-rejected": Code(
        "Optimizer and learning rate",
        "error",
        "The library of the optimizer rejects the value of a parameter.",
        "Set the parameter to a value in the given range.",
    ),
    "one-learning-rate": Code(
        "Optimizer and learning rate",
        "error",
        "The optimizer supports only one learning rate for all model components.",
        "Clear the learning rates of the components.",
    ),
    "muon-without-layers": Code(
        "Optimizer and learning rate",
        "error",
        "Muon requires patterns of hidden layers, because this model type has no defaults.",
        "Set Muon hidden layers, or choose another optimizer.",
    ),
    "beta3-ema-ignored": Code(
        "Optimizer and learning rate",
        "warning",
        "With AdamW advanced and ADOPT advanced, Beta 3 EMA has no effect. The slow EMA has the decay Beta 3, or 0.9999.",
        "Set Beta 3 EMA to 0.9999.",
    ),
    "schedule-ignored": Code(
        "Optimizer and learning rate",
        "warning",
        "A schedule-free optimizer uses a constant learning rate and ignores the learning rate scheduler.",
        "Set Learning rate scheduler to Constant.",
    ),
    "adaptive-learning-rate": Code(
        "Optimizer and learning rate",
        "warning",
        "This optimizer adapts the learning rate itself and uses yours as a multiplier. With a value far below 1 it "
        "barely learns.",
        "Set the learning rate to 1.",
    ),
    "learning-rate-too-high": Code(
        "Optimizer and learning rate",
        "warning",
        "With such a high learning rate, the model breaks within a few steps.",
        "Lower the learning rate, or choose an optimizer that adapts it.",
    ),
    "loss-weight-family": Code(
        "Loss and noise",
        "error",
        "The loss weight function isn't supported for this model type: Sigma is for flow-matching models, the others are "
        "for epsilon- and v-prediction models.",
        "Set Loss weight function to Constant.",
        late_error=19,
    ),
    "no-loss": Code(
        "Loss and noise",
        "error",
        "All loss strengths are 0.",
        "Set MSE strength to 1.",
    ),
    "noise-window": Code(
        "Loss and noise",
        "error",
        "Min noising strength must be lower than Max noising strength.",
        "Set them to 0 and 1.",
    ),
    "two-predictions": Code(
        "Loss and noise",
        "error",
        "Epsilon prediction and v-prediction can't be combined.",
        "Turn off one of them.",
    ),
    "nan-risk": Code(
        "Loss and noise",
        "warning",
        "These settings usually lead to NaN loss: training float16 weights, or running the SDXL VAE in float16.",
        "Set the weight data type to float32 or bfloat16.",
        late_error=21,
    ),
    "setting-ignored": Code(
        "Loss and noise",
        "note",
        "A setting has no effect because of another setting.",
        "Reset the setting, or change the other one.",
    ),
    "list-file": Code(
        "Dataset",
        "error",
        "Can't read the file with the concepts or samples.",
        "Choose another file.",
    ),
    "no-concept": Code(
        "Dataset",
        "error",
        "No concept is enabled for training.",
        "Add or enable a concept with a folder of images.",
    ),
    "concept-folder": Code(
        "Dataset",
        "error",
        "The folder of a concept isn't set or doesn't exist.",
        "Choose a folder.",
    ),
    "concept-on-hub": Code(
        "Dataset",
        "warning",
        "The folder doesn't exist, but its name could be a dataset on the Hugging Face Hub.",
        "Correct the path if it is a folder.",
    ),
    "concept-empty": Code(
        "Dataset",
        "error",
        "The folder of a concept contains no images, or none that can be read.",
        "Add images to the folder, or turn on Include subfolders.",
    ),
    "concept-without-effect": Code(
        "Dataset",
        "warning",
        "A concept is enabled but contributes no training samples, because of its loss weight or balancing.",
        "Raise the value, or disable the concept.",
    ),
    "image-broken": Code(
        "Dataset",
        "error",
        "A file with an image extension can't be opened as an image.",
        "Remove or replace the file.",
    ),
    "link-outside": Code(
        "Dataset",
        "error",
        "A link in the folder of a concept points outside the allowed folders.",
        "Copy the files instead of linking to them, or start the panel with --allow FOLDER.",
    ),
    "files-skipped": Code(
        "Dataset",
        "warning",
        "Some files can't be used, such as broken links, unreadable folders, and names that aren't valid UTF-8.",
        "Repair or remove them.",
    ),
    "formats-skipped": Code(
        "Dataset",
        "note",
        "Some images are in a format that neither the built-in engine nor OneTrainer supports (.jfif, .gif, .heic, .jxl "
        "and others), or there are videos and the model type isn't a video model.",
        "Convert copies of the images with the button next to the finding.",
    ),
    "images-small": Code(
        "Dataset",
        "warning",
        "Images have less than half the pixels of the training resolution and are upscaled.",
        "Lower the resolution, or remove the small images.",
    ),
    "images-unread": Code(
        "Dataset",
        "note",
        "Not all images could be read in the available time, so their buckets aren't checked. The next check continues.",
        "",
    ),
    "captions-missing": Code(
        "Dataset",
        "warning",
        "Images have no .txt file with the same name.",
        "Add caption files, or use the image file names as captions.",
    ),
    "captions-empty": Code(
        "Dataset",
        "note",
        "Caption files are empty.",
        "Add captions, unless the files are empty on purpose.",
    ),
    "special-tags-slow": Code(
        "Dataset",
        "error",
        "A regular expression in Special dropout tags took too long to evaluate on the captions of its concept.",
        "Remove nested repeats such as (a+)+, or turn off regular expressions.",
    ),
    "caption-file": Code(
        "Dataset",
        "error",
        "The caption file of a concept is missing or empty.",
        "Correct the path, or add captions to the file.",
    ),
    "captions-encoding": Code(
        "Dataset",
        "warning",
        "Caption files aren't UTF-8. The built-in engine detects the encoding and trains on the text that the finding "
        "shows. OneTrainer can't read them.",
        "Convert the files to UTF-8 with the button next to the finding. The originals are kept.",
    ),
    "captions-unreadable": Code(
        "Dataset",
        "error",
        "Caption files can't be read or aren't text.",
        "Save the files as UTF-8 text, or remove them.",
    ),
    "prior-prediction": Code(
        "Dataset",
        "error",
        "The type of a concept is Prior prediction, which requires a LoRA.",
        "Set the type of the concept to Training.",
        late_error=9,
    ),
    "caption-dropout": Code(
        "Dataset",
        "error",
        "Caption dropout isn't supported for this model type: OneTrainer stops at the first dropped caption.",
        "Set Caption dropout to 0.",
    ),
    "validation-without-concept": Code(
        "Dataset",
        "warning",
        "Validation is on, but no concept has the type Validation.",
        "Add a validation concept, or turn off Validation.",
    ),
    "validation-off": Code(
        "Dataset",
        "note",
        "A concept has the type Validation, but Validation is off.",
        "Turn on Validation.",
    ),
    "masks-missing": Code(
        "Dataset",
        "warning",
        "Masked training is on, but no image has a mask.",
        "Add masks, or turn off Masked training.",
    ),
    "conditions-missing": Code(
        "Dataset",
        "warning",
        "Custom conditioning image is on, but no image has a conditioning image.",
        "Add conditioning images, or turn off the setting.",
    ),
    "variations-cached": Code(
        "Dataset",
        "note",
        "Random augmentations are applied once and then cached.",
        "Raise the number of variations, or turn off Cache latents.",
    ),
    "batch-larger-than-dataset": Code(
        "Batches and resolution",
        "error",
        "One epoch has fewer images than one batch.",
        "Lower Batch size, or raise Balancing of a concept.",
    ),
    "bucket-empty": Code(
        "Batches and resolution",
        "error",
        "No bucket has enough images for one batch, so an epoch would have no steps.",
        "Lower Batch size.",
    ),
    "bucket-smaller-than-batch": Code(
        "Batches and resolution",
        "warning",
        "Some images are never trained, because their bucket doesn't fill a batch.",
        "Lower Batch size and raise Gradient accumulation steps, or crop the images to fewer aspect ratios.",
    ),
    "resolution-syntax": Code(
        "Batches and resolution",
        "error",
        "The resolution isn't valid.",
        "Enter it as 512, as 512,768 or as 768x512.",
    ),
    "resolution-small": Code(
        "Batches and resolution",
        "error",
        "The resolution is below 8 pixels, or so small that an aspect ratio bucket would have a side of 0 pixels. Sides "
        "are rounded to a multiple that depends on the model type (8 for SD1.5, 64 for most types, 128 for Wuerstchen "
        "and Cascade).",
        "Set Resolution to the value that the finding suggests.",
    ),
    "resolution-multiple": Code(
        "Batches and resolution",
        "warning",
        "The resolution isn't a multiple of what the model type requires. Images are trained at the nearest size.",
        "Set Resolution to the multiple that the finding suggests.",
    ),
    "frames": Code(
        "Batches and resolution",
        "error",
        "Frames isn't a whole number, or (as a warning) doesn't fill the blocks that clips are encoded in.",
        "Set Frames to a value such as 25.",
    ),
    "sample-size": Code(
        "Batches and resolution",
        "error",
        "The size of a sample isn't a multiple of 8, or (as a warning) of what the model type generates.",
        "Set the size to the multiple that the finding suggests.",
    ),
    "no-samples": Code(
        "Batches and resolution",
        "note",
        "There are no enabled sample prompts.",
        "Add a sample prompt to follow the training progress.",
    ),
    "interval-never-due": Code(
        "Intervals",
        "warning",
        "The interval of samples, backups, saves or validation is longer than the run.",
        "Choose a shorter interval, or set its unit to never.",
    ),
    "no-backup": Code(
        "Intervals",
        "warning",
        "No backup is created during or after training.",
        "Turn on Back up before save.",
    ),
    "backups-deleted": Code(
        "Intervals",
        "warning",
        "OneTrainer may delete backups of other runs in the same workspace.",
        "Choose a separate workspace folder.",
    ),
    "warmup-longer-than-run": Code(
        "Intervals",
        "warning",
        "The learning rate is still rising when the run ends.",
        "Set Learning rate warmup steps to a fraction such as 0.1.",
    ),
    "ema-never-updated": Code(
        "Intervals",
        "error",
        "The EMA weights are never updated, so the final model would be the untrained model.",
        "Set EMA update step interval to 1, or turn off EMA.",
    ),
    "accumulation-longer-than-run": Code(
        "Intervals",
        "error",
        "The run ends before its first optimizer step.",
        "Lower Gradient accumulation steps.",
    ),
    "stopped-at-once": Code(
        "Intervals",
        "warning",
        "Training of a component stops before its first step.",
        "Set the unit of Stop training after to never.",
    ),
    "device-unknown": Code(
        "Device",
        "error",
        "The device name isn't valid.",
        "Set it to cuda, mps or cpu.",
    ),
    "device-missing": Code(
        "Device",
        "error",
        "This machine doesn't have the device.",
        "Set it to the device that the finding suggests.",
    ),
    "device-indexes": Code(
        "Device",
        "error",
        "Device indexes isn't valid, or names a GPU that doesn't exist.",
        "Clear the field to use all GPUs.",
    ),
    "multi-gpu-alone": Code(
        "Device",
        "warning",
        "Multi-GPU is on, but this machine has only one GPU.",
        "Turn off Multi-GPU.",
    ),
    "dtype-slow": Code(
        "Device",
        "warning",
        "This data type is slow on the device.",
        "Choose the data type that the finding suggests.",
    ),
    "dtype-unsupported": Code(
        "Device",
        "error",
        "The device doesn't support weights in this data type.",
        "Choose the data type that the finding suggests.",
    ),
    "fallback-dtype": Code(
        "Device",
        "error",
        "Falling back from float16 to float32 requires a CUDA device.",
        "Set Fallback train data type to bfloat16.",
    ),
    "attention-unsupported": Code(
        "Device",
        "error",
        "The device doesn't support this attention backend.",
        "Set Attention to torch SDPA (default).",
    ),
    "folder-missing": Code(
        "Paths and disk",
        "error",
        "The workspace or cache folder isn't set.",
        "Choose a folder. It doesn't have to exist.",
    ),
    "folder-is-file": Code(
        "Paths and disk",
        "error",
        "The path of a folder leads through a file.",
        "Choose another folder.",
    ),
    "workspace-in-concept": Code(
        "Paths and disk",
        "error",
        "The workspace or the debug folder is inside the image folder of a concept with subfolders, so the next run "
        "would train on its samples.",
        "Use the folder that the finding suggests.",
    ),
    "concept-in-workspace": Code(
        "Paths and disk",
        "error",
        "The image folder of a concept is inside a folder that this run writes to, such as the workspace's samples.",
        "Move the images, or choose another workspace folder.",
    ),
    "workspace-in-panel": Code(
        "Paths and disk",
        "error",
        "The workspace is the panel's data folder, or a folder that is reserved for the panel.",
        "Use the folder that the finding suggests.",
    ),
    "cache-in-concept": Code(
        "Paths and disk",
        "error",
        "The cache is inside the image folder of a concept.",
        "Use the folder that the finding suggests.",
    ),
    "concept-in-cache": Code(
        "Paths and disk",
        "error",
        "The image folder of a concept is inside the cache.",
        "Move the images, or choose another cache folder.",
    ),
    "cache-foreign": Code(
        "Paths and disk",
        "error",
        "OneTrainer deletes the folders image, text and epoch-… of the cache at the start, but they contain other files.",
        "Use the folder that the finding suggests.",
    ),
    "path-unreadable": Code(
        "Paths and disk",
        "error",
        "Can't read a file or folder: permission denied.",
        "Change its permissions.",
    ),
    "path-unwritable": Code(
        "Paths and disk",
        "error",
        "Can't write to a folder: permission denied.",
        "Choose another folder, or change its permissions.",
    ),
    "path-characters": Code(
        "Paths and disk",
        "error",
        "A path contains invisible characters.",
        "Enter the path again.",
    ),
    "path-outside": Code(
        "Paths and disk",
        "error",
        "A path is outside the allowed folders.",
        "Choose another path, or start the panel with --allow FOLDER.",
    ),
    "disk-space": Code(
        "Paths and disk",
        "warning",
        "There is probably too little disk space for backups and the final model. This is a generous estimate.",
        "Free up space, keep fewer backups, or choose a folder on another disk.",
    ),
    "disk-full": Code(
        "Paths and disk",
        "error",
        "No space left on disk.",
        "Free up space.",
    ),
    "onetrainer-crash": Code(
        "OneTrainer",
        "error",
        "OneTrainer is selected as the engine and is known to fail with this model type and these settings.",
        "Change the setting as the finding suggests, or choose the built-in engine if it supports the model type.",
    ),
    "onetrainer-ignores": Code(
        "OneTrainer",
        "warning",
        "OneTrainer is selected as the engine and ignores this setting with the training method.",
        "Turn off the setting, or train with the built-in engine.",
    ),
    "value-out-of-bounds": Code(
        "Values",
        "error",
        "A value is outside the range of its setting.",
        "Set it to a value in the range.",
    ),
}


def catalog() -> str:
    """Return the catalog as Markdown, with one table per group."""
    lines: list[str] = []
    group = ""
    for name, code in CODES.items():
        if code.group != group:
            group = code.group
            lines += ["", f"## {group}", "", "| Code | Severity | Late error | Meaning | Remedy |", "|---|---|---|---|---|"]
        lines.append(f"| `{name}` | {code.severity} | {code.late_error or ''} | {code.meaning} | {code.remedy} |")
    return "\n".join(lines).strip() + "\n"
