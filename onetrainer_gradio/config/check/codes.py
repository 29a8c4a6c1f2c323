"""The catalogue of findings: what each code means and what to do about it; ``docs/preflight.md`` is made from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A kind of finding: its usual severity, its meaning and remedy for users, and its group in the catalogue.

    ``refusal`` is the number of the late refusal of OneTrainer that it says beforehand, 0 for none.
    """

    group: str
    severity: str
    meaning: str
    remedy: str
    refusal: int = 0


CODES: dict[str, Code] = {
    "nothing-trained": Code(
        "Model and method",
        "error",
        "No part of the model is trained, so the run would change nothing.",
        "Train the denoiser (UNet, transformer or prior) or a text encoder, or add an embedding.",
    ),
    "embedding-in-no-encoder": Code(
        "Model and method",
        "error",
        "An embedding is trained, and no text encoder takes part: Train embedding is off for each, or they are not included. "
        "A warning when the run trains something else as well.",
        "Turn Train embedding on for at least one included text encoder.",
    ),
    "method-for-type": Code(
        "Model and method",
        "error",
        "The model type cannot be trained with this method.",
        "Choose one of the methods that the finding names.",
    ),
    "base-model-missing": Code(
        "Model and method",
        "error",
        "No base model is named, or there is nothing at its path.",
        "Choose a folder, a file or a name on the hub.",
    ),
    "base-model-folder": Code(
        "Model and method",
        "error",
        "The base model is a folder without a model_index.json.",
        "Choose the folder that holds model_index.json.",
    ),
    "base-model-file": Code(
        "Model and method",
        "error",
        "The base model is a file of a kind that holds no model, as .json.",
        "Choose a folder in diffusers layout, or the file that holds the model.",
    ),
    "model-file": Code(
        "Model and method",
        "error",
        "A file or folder is not what the setting needs: a LoRA or embedding as the base model, a checkpoint without a VAE, "
        "a web page, a text file, a Git LFS pointer, an incomplete download, an index without its weight files, a pickle file "
        "that would run code.",
        "Choose what the finding proposes.",
    ),
    "base-model-type": Code(
        "Model and method",
        "error",
        "The base model's folder or its tensor names show a model of another type.",
        "Choose the model type that fits, or another base model.",
    ),
    "single-file-base": Code(
        "Model and method",
        "error",
        "The type needs a folder in diffusers layout, and the base is a single file.",
        "Name the published model as the base; where the type allows it, name the file as the transformer's.",
        refusal=20,
    ),
    "offline-model": Code(
        "Model and method",
        "warning",
        "The base model is a hub name, and Offline is on.",
        "Turn Offline off unless the model was fetched before.",
    ),
    "part-missing": Code(
        "Model and method",
        "error",
        "The type needs a part that its base model does not hold (effnet encoder, decoder, Llama encoder).",
        "Name it; the presets of the type show where it is found.",
    ),
    "file-missing": Code(
        "Model and method",
        "error",
        "A file that is named is not there.",
        "Correct the path or leave it empty.",
    ),
    "embeddings-for-type": Code(
        "Model and method",
        "error",
        "The type cannot learn new words, and an additional embedding is to be trained.",
        "Remove the embedding.",
    ),
    "resume-other-run": Code(
        "Model and method",
        "error",
        "The newest backup was made with another model type, method, adapter type or rank.",
        "Set what the finding names back, or do not continue from the backup.",
    ),
    "no-backup-to-continue": Code(
        "Model and method",
        "error",
        "The run is to go on from a backup, and the workspace has none.",
        "Turn Continue from last backup off, or choose the workspace that has one.",
    ),
    "nothing-left-to-train": Code(
        "Model and method",
        "error",
        "The run resumes from a backup that has reached the last epoch or the step limit.",
        "Raise Epochs or the step limit.",
    ),
    "format-for-method": Code(
        "Finished file",
        "error",
        "The output format does not exist for this model type and method. OneTrainer notices when it saves, after the training.",
        "Choose one of the formats that the finding names.",
        refusal=1,
    ),
    "legacy-lora": Code(
        "Finished file",
        "error",
        "LEGACY_LORA is what OneTrainer wrote before version 11, and the type never had one.",
        "Choose another adapter format.",
        refusal=15,
    ),
    "original-lora-parts": Code(
        "Finished file",
        "error",
        "ORIGINAL_LORA has room for the denoiser only, and a text encoder or a bundled embedding is trained too.",
        "Choose another format, or train the denoiser alone.",
        refusal=13,
    ),
    "comfy-lora-encoder": Code(
        "Finished file",
        "error",
        "COMFY_LORA has no name for the trained text encoder of this type, so ComfyUI would drop it.",
        "Choose another format, or do not train the text encoder.",
        refusal=14,
    ),
    "resume-fused": Code(
        "Finished file",
        "error",
        "The adapter to go on from keeps query, key and value apart and the format needs them fused, or the reverse.",
        "Choose a format of the adapter's kind, or start anew.",
        refusal=16,
    ),
    "output-name": Code(
        "Finished file",
        "error",
        "The output file is not named, or its ending does not fit the format (a warning where it only looks odd).",
        "Write the name that the finding proposes.",
    ),
    "output-exists": Code(
        "Finished file",
        "warning",
        "The output file exists and would be overwritten; an error with Protect existing files.",
        "Choose another name.",
    ),
    "output-protected": Code(
        "Finished file",
        "error",
        "The output file is, contains or is inside a folder that must not be replaced, such as the images, the base model or the "
        "workspace. Links are followed.",
        "Use the name that the finding proposes.",
    ),
    "output-foreign": Code(
        "Finished file",
        "error",
        "The output folder has files in it that no run wrote, or its files were changed since.",
        "Use the name that the finding proposes.",
    ),
    "output-link": Code(
        "Finished file",
        "note",
        "The output file is a link. The run replaces the link; the file that it points to stays as it is.",
        "Choose the file itself if you want it replaced.",
    ),
    "layer-filter-regex": Code(
        "Layers",
        "error",
        "A pattern is no regular expression, or holds characters that cannot be seen.",
        "Correct the pattern, or turn regular expressions off.",
        refusal=18,
    ),
    "layer-filter-slow": Code(
        "Layers",
        "error",
        "A regular expression took too long to evaluate. OneTrainer has no time limit for it and would hang.",
        "Remove repeats inside repeats, such as (a+)+, or use plain parts of names.",
    ),
    "layer-filter-no-match": Code(
        "Layers",
        "error",
        "A pattern fits no layer of the denoiser, or only layers that an earlier pattern takes already. A warning "
        "where training goes on without it.",
        "Remove the pattern, or choose a preset.",
        refusal=17,
    ),
    "layer-filter-partly-fused": Code(
        "Layers",
        "error",
        "The format stores several projections as one, and the filter takes only some of them.",
        "Choose DIFFUSERS_LORA, or add the missing layers.",
    ),
    "layer-preset-mismatch": Code(
        "Layers",
        "warning",
        "The name of the layer preset and the patterns beside it say different things. Only the patterns count.",
        "Choose the preset again, or choose custom.",
    ),
    "encoder-offload-threads": Code(
        "Memory",
        "error",
        "A text encoder is offloaded while several threads read pictures.",
        "Set the reading threads to 1.",
        refusal=2,
    ),
    "offload-without-checkpointing": Code(
        "Memory",
        "error",
        "A part is offloaded without gradient checkpointing.",
        "Turn gradient checkpointing on for the part.",
        refusal=3,
    ),
    "offload-needs-fused-back-pass": Code(
        "Memory",
        "error",
        "A part is trained as a whole and offloaded, and the optimizer does not step during the backward pass.",
        "Turn Fused back pass on, with an optimizer that has it.",
        refusal=4,
    ),
    "quantized-part-trained": Code(
        "Memory",
        "error",
        "A part is trained as a whole in a quantized number format, which has no gradients.",
        "Use BFLOAT_16 or FLOAT_32, or train an adapter.",
        refusal=10,
    ),
    "svd-with-gguf": Code(
        "Memory",
        "error",
        "SVDQuant corrects a quantization that it sees being made; a GGUF file is quantized already.",
        "Set SVDQuant to NONE.",
        refusal=11,
    ),
    "gguf-without-file": Code(
        "Memory",
        "error",
        "A part is to be loaded as GGUF, and no GGUF file is named for it.",
        "Name the file, or choose another number format.",
    ),
    "compressed-weights": Code(
        "Memory",
        "error",
        "Compressed weights need an NVIDIA card (and OneTrainer the nvCOMP library), or do not exist for this part.",
        "Use the format without COMPRESSED.",
        refusal=12,
    ),
    "weights-exceed-memory": Code(
        "Memory",
        "warning",
        "The denoiser alone is larger than the card's memory. An estimate.",
        "Offload more, use a smaller number format, or a preset for the memory size.",
    ),
    "fused-kernel-conflict": Code(
        "Optimizer and learning rate",
        "error",
        "ADAM and ADAMW: stochastic rounding or Fused back pass together with a fused or for-each kernel.",
        "Turn the kernel off.",
        refusal=5,
    ),
    "back-pass-without-fused-reduce": Code(
        "Optimizer and learning rate",
        "error",
        "Fused back pass on several cards without Fused gradient reduce.",
        "Turn Fused gradient reduce on.",
        refusal=6,
    ),
    "schedule-free-wuerstchen": Code(
        "Optimizer and learning rate",
        "error",
        "Wuerstchen and Stable Cascade cannot be trained with schedule-free optimizers.",
        "Choose another optimizer.",
        refusal=7,
    ),
    "custom-scheduler-class": Code(
        "Optimizer and learning rate",
        "error",
        "The schedule is CUSTOM and no class is named as module.Class.",
        "Name the class, or choose another schedule.",
        refusal=8,
    ),
    "schedule-ignored": Code(
        "Optimizer and learning rate",
        "warning",
        "A schedule-free optimizer is run at a constant rate, whatever schedule is chosen.",
        "Choose CONSTANT.",
    ),
    "adaptive-learning-rate": Code(
        "Optimizer and learning rate",
        "warning",
        "The optimizer finds the learning rate itself and multiplies it by the one given, which is far below 1.",
        "Write 1.",
    ),
    "learning-rate-too-high": Code(
        "Optimizer and learning rate",
        "warning",
        "A learning rate that ruins the model within a few steps.",
        "Lower it, or choose an optimizer that finds its own.",
    ),
    "loss-weight-family": Code(
        "Loss and noise",
        "error",
        "The loss weighting belongs to the other family: SIGMA to flow models, the others to noise predictors.",
        "Choose CONSTANT.",
        refusal=19,
    ),
    "no-loss": Code(
        "Loss and noise",
        "error",
        "All losses have the strength 0.",
        "Write 1 for the squared error.",
    ),
    "noise-window": Code(
        "Loss and noise",
        "error",
        "The least noise is not below the most.",
        "Write 0 and 1.",
    ),
    "two-predictions": Code(
        "Loss and noise",
        "error",
        "Noise and velocity are both forced as what the model predicts.",
        "Turn one off.",
    ),
    "nan-risk": Code(
        "Loss and noise",
        "warning",
        "Settings under which the loss becomes no number sooner or later: trained weights in FLOAT_16, or the VAE of "
        "SDXL in FLOAT_16.",
        "Use FLOAT_32 or BFLOAT_16 there.",
        refusal=21,
    ),
    "setting-ignored": Code(
        "Loss and noise",
        "note",
        "A setting that another one makes meaningless.",
        "Set it back, or change the other.",
    ),
    "list-file": Code(
        "Pictures and captions",
        "error",
        "The file that holds the concepts or samples cannot be read.",
        "Choose another file.",
    ),
    "no-concept": Code(
        "Pictures and captions",
        "error",
        "No concept is in use.",
        "Add a folder of pictures.",
    ),
    "concept-folder": Code(
        "Pictures and captions",
        "error",
        "A concept has no folder, or it does not exist.",
        "Choose the folder.",
    ),
    "concept-on-hub": Code(
        "Pictures and captions",
        "warning",
        "The folder does not exist and reads like the name of a data set on the hub.",
        "Correct the path if a folder is meant.",
    ),
    "concept-empty": Code(
        "Pictures and captions",
        "error",
        "There are no images in a concept's folder, or none of them can be read.",
        "Put images there, or include its subfolders.",
    ),
    "concept-without-effect": Code(
        "Pictures and captions",
        "warning",
        "A concept is in use, and its weight or balance comes to nothing.",
        "Raise it, or do not use the concept.",
    ),
    "picture-broken": Code(
        "Pictures and captions",
        "error",
        "A file with a picture's ending cannot be opened as one.",
        "Remove it, or put a whole one in its place.",
    ),
    "link-outside": Code(
        "Pictures and captions",
        "error",
        "A link in a concept's folder leads outside the allowed folders.",
        "Copy the files instead of linking them, or start the panel with --allow FOLDER.",
    ),
    "files-skipped": Code(
        "Pictures and captions",
        "warning",
        "Files can't be used: links that lead nowhere, folders that can't be read, names that aren't valid UTF-8.",
        "Repair or remove them.",
    ),
    "formats-skipped": Code(
        "Pictures and captions",
        "note",
        "Images in formats that neither the built-in engine nor OneTrainer trains (.jfif, .gif, .heic, .jxl and others), or "
        "videos next to a model that isn't trained on videos.",
        "Convert copies of the images with the button next to the finding.",
    ),
    "pictures-small": Code(
        "Pictures and captions",
        "warning",
        "Pictures have less than half the pixels that are trained.",
        "Lower the resolution, or leave them out.",
    ),
    "pictures-unread": Code(
        "Pictures and captions",
        "note",
        "There was no time to look at all pictures, so their shapes are not judged.",
        "Nothing; the next check goes on.",
    ),
    "captions-missing": Code(
        "Pictures and captions",
        "warning",
        "Pictures have no .txt file of the same name.",
        "Write captions, or take them from the file names.",
    ),
    "captions-empty": Code(
        "Pictures and captions",
        "note",
        "Caption files are empty.",
        "Write captions, unless they are meant to be empty.",
    ),
    "special-tags-slow": Code(
        "Pictures and captions",
        "error",
        "A special tag is a regular expression that took too long to evaluate on the captions of its concept.",
        "Remove repeats inside repeats, such as (a+)+, or turn regular expressions off.",
    ),
    "caption-file": Code(
        "Pictures and captions",
        "error",
        "The file with the captions of a concept is missing or empty.",
        "Correct the path.",
    ),
    "captions-encoding": Code(
        "Pictures and captions",
        "warning",
        "Caption files aren't UTF-8. The built-in engine detects the encoding and trains the text that the finding shows. "
        "OneTrainer can't read them.",
        "Convert them to UTF-8 with the button next to the finding; the originals are kept.",
    ),
    "captions-unreadable": Code(
        "Pictures and captions",
        "error",
        "Caption files aren't text, or can't be read.",
        "Save the files as UTF-8 text, or remove them.",
    ),
    "prior-prediction": Code(
        "Pictures and captions",
        "error",
        "A concept is of type PRIOR_PREDICTION, and no adapter is trained.",
        "Choose STANDARD.",
        refusal=9,
    ),
    "caption-dropout": Code(
        "Pictures and captions",
        "error",
        "Captions are to be left out at times, and the type has no answer to that: OneTrainer stops at the first.",
        "Write 0.",
    ),
    "validation-without-concept": Code(
        "Pictures and captions",
        "warning",
        "Validation is on without a concept of type VALIDATION.",
        "Add one, or turn validation off.",
    ),
    "validation-off": Code(
        "Pictures and captions",
        "note",
        "A concept is of type VALIDATION, and validation is off.",
        "Turn it on.",
    ),
    "masks-missing": Code(
        "Pictures and captions",
        "warning",
        "Masked training is on, and there is no mask.",
        "Make masks, or turn it off.",
    ),
    "conditions-missing": Code(
        "Pictures and captions",
        "warning",
        "Conditioning pictures are asked for, and there are none.",
        "Add them, or turn it off.",
    ),
    "variations-cached": Code(
        "Pictures and captions",
        "note",
        "Random changes of pictures or captions are drawn once and cached.",
        "Raise the variations, or turn caching off.",
    ),
    "batch-larger-than-dataset": Code(
        "Batches and sizes",
        "error",
        "All pictures of an epoch do not fill one batch.",
        "Lower the batch size, or raise the balance.",
    ),
    "bucket-empty": Code(
        "Batches and sizes",
        "error",
        "No shape has enough pictures for one batch: an epoch would have no step.",
        "Lower the batch size.",
    ),
    "bucket-smaller-than-batch": Code(
        "Batches and sizes",
        "warning",
        "Pictures of some shapes are never trained, because their shape does not fill a batch.",
        "Lower the batch size and raise the accumulation steps, or crop the pictures to fewer shapes.",
    ),
    "resolution-syntax": Code(
        "Batches and sizes",
        "error",
        "The resolution cannot be understood.",
        "Write 512, or 512,768, or 768x512.",
    ),
    "resolution-small": Code(
        "Batches and sizes",
        "error",
        "The resolution is below 8 pixels, or so small that an aspect ratio bucket would have a side of 0 pixels: sides are "
        "rounded to the multiple of the model type (8 for SD1.5, 64 for most types, 128 for Wuerstchen and Cascade).",
        "Set the resolution that the finding proposes.",
    ),
    "resolution-multiple": Code(
        "Batches and sizes",
        "warning",
        "The resolution is no multiple of what the type needs; pictures are trained in the next size.",
        "Write the multiple that the finding names.",
    ),
    "frames": Code(
        "Batches and sizes",
        "error",
        "The number of frames is no number, or (a warning) does not fill the blocks that clips are encoded in.",
        "Write a number such as 25.",
    ),
    "sample-size": Code(
        "Batches and sizes",
        "error",
        "The size of a sample is no multiple of 8, or (a warning) not of what the type paints.",
        "Write the multiple that the finding names.",
    ),
    "no-samples": Code(
        "Batches and sizes",
        "note",
        "There is no sample prompt.",
        "Add one to see what is learned.",
    ),
    "interval-never-due": Code(
        "Time",
        "warning",
        "Samples, backups, saves or validation have an interval that is longer than the run.",
        "Choose a shorter one, or NEVER.",
    ),
    "no-backup": Code(
        "Time",
        "warning",
        "No backup is made, neither on the way nor at the end.",
        "Turn Back up at the end on.",
    ),
    "backups-deleted": Code(
        "Time",
        "warning",
        "OneTrainer may delete backups of other runs in the same workspace.",
        "Choose a separate workspace.",
    ),
    "warmup-longer-than-run": Code(
        "Time",
        "warning",
        "The learning rate is still rising when the run ends.",
        "Write a fraction such as 0.1.",
    ),
    "ema-never-updated": Code(
        "Time",
        "error",
        "The moving average is never updated, so the result would be the untrained model.",
        "Write 1 as interval, or turn EMA off.",
    ),
    "accumulation-longer-than-run": Code(
        "Time",
        "error",
        "The run ends before its first update.",
        "Lower the accumulation steps.",
    ),
    "stopped-at-once": Code(
        "Time",
        "warning",
        "The training of a part stops before its first step.",
        "Choose NEVER as unit.",
    ),
    "device-unknown": Code(
        "Device",
        "error",
        "The device has no known name.",
        "Write cuda, mps or cpu.",
    ),
    "device-missing": Code(
        "Device",
        "error",
        "This machine does not have the device.",
        "Write the device that the finding names.",
    ),
    "device-indexes": Code(
        "Device",
        "error",
        "The numbers of the cards cannot be understood, or there is no such card.",
        "Leave the field empty to use all.",
    ),
    "multi-gpu-alone": Code(
        "Device",
        "warning",
        "Several cards are to be used, and there is one.",
        "Turn it off.",
    ),
    "dtype-slow": Code(
        "Device",
        "warning",
        "The device calculates slowly in this number format.",
        "Use the format that the finding names.",
    ),
    "dtype-unsupported": Code(
        "Device",
        "error",
        "The device cannot calculate with weights in this number format.",
        "Use the format that the finding names.",
    ),
    "fallback-dtype": Code(
        "Device",
        "error",
        "FLOAT_32 can take the place of FLOAT_16 on graphics cards of the cuda kind only.",
        "Write BFLOAT_16.",
    ),
    "attention-unsupported": Code(
        "Device",
        "error",
        "The attention kernel does not run on this device.",
        "Choose SDP.",
    ),
    "folder-missing": Code(
        "Folders and disk",
        "error",
        "No workspace or cache folder is named.",
        "Name a folder; it need not exist.",
    ),
    "folder-is-file": Code(
        "Folders and disk",
        "error",
        "A folder would lie where a file is.",
        "Choose another name.",
    ),
    "workspace-in-concept": Code(
        "Folders and disk",
        "error",
        "The workspace or the debug folder is inside the image folder of a concept with subfolders, so the next run would train "
        "on its samples.",
        "Use the folder that the finding proposes.",
    ),
    "concept-in-workspace": Code(
        "Folders and disk",
        "error",
        "The image folder of a concept is inside a folder that this run writes to, such as the workspace's samples.",
        "Move the images, or choose another workspace.",
    ),
    "workspace-in-panel": Code(
        "Folders and disk",
        "error",
        "The workspace is the panel's data folder, or a folder that the panel keeps for itself.",
        "Use the folder that the finding proposes.",
    ),
    "cache-in-concept": Code(
        "Folders and disk",
        "error",
        "The cache is inside the image folder of a concept.",
        "Use the folder that the finding proposes.",
    ),
    "concept-in-cache": Code(
        "Folders and disk",
        "error",
        "The image folder of a concept is inside the cache.",
        "Move the images, or choose another cache folder.",
    ),
    "cache-foreign": Code(
        "Folders and disk",
        "error",
        "OneTrainer removes the folders image, text and epoch-… of the cache at the start, but they hold other files.",
        "Use the folder that the finding proposes.",
    ),
    "path-unreadable": Code(
        "Folders and disk",
        "error",
        "A file or folder may not be read.",
        "Change its permissions.",
    ),
    "path-unwritable": Code(
        "Folders and disk",
        "error",
        "A folder may not be written to.",
        "Choose another one, or change its permissions.",
    ),
    "path-characters": Code(
        "Folders and disk",
        "error",
        "A path holds characters that cannot be seen.",
        "Type it anew.",
    ),
    "path-outside": Code(
        "Folders and disk",
        "error",
        "A path leads outside the folders that the panel may use.",
        "Choose another path, or start the panel with --allow.",
    ),
    "disk-space": Code(
        "Folders and disk",
        "warning",
        "There is probably too little room for backups and the finished model. An estimate on the generous side.",
        "Make room, keep fewer backups, or choose another disk.",
    ),
    "disk-full": Code(
        "Folders and disk",
        "error",
        "The disk is full.",
        "Make room.",
    ),
    "onetrainer-crash": Code(
        "OneTrainer",
        "error",
        "OneTrainer is the engine, and its own code is known to fail with this model type and these settings.",
        "Change the setting that the finding names, or choose the built-in engine where it supports the model type.",
    ),
    "onetrainer-ignores": Code(
        "OneTrainer",
        "warning",
        "OneTrainer is the engine, and it ignores this setting with the training method.",
        "Turn the setting off, or train with the built-in engine.",
    ),
    "value-out-of-bounds": Code(
        "Values",
        "error",
        "A value is outside of the bounds of its setting.",
        "Write a value within.",
    ),
}


def catalogue() -> str:
    """The catalogue as Markdown: one table a group."""
    lines: list[str] = []
    group = ""
    for name, code in CODES.items():
        if code.group != group:
            group = code.group
            lines += ["", f"## {group}", "", "| Code | Severity | Refusal | Meaning | Remedy |", "|---|---|---|---|---|"]
        lines.append(f"| `{name}` | {code.severity} | {code.refusal or ''} | {code.meaning} | {code.remedy} |")
    return "\n".join(lines).strip() + "\n"
