"""Define the labels of enum members in the form. A member without a label is shown by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from onetrainer_gradio.config import enums
from onetrainer_gradio.config.families.models import MODELS

_SCALERS = {
    "NONE": "None",
    "BATCH": "Batch size",
    "GLOBAL_BATCH": "Global batch size",
    "GRADIENT_ACCUMULATION": "Gradient accumulation steps",
    "BOTH": "Batch size × accumulation steps",
    "GLOBAL_BOTH": "Global batch size × accumulation steps",
}

_CLOUD_ACTIONS = {"NONE": "None (keep running)", "STOP": "Stop", "DELETE": "Delete"}

LABELS: dict[type[Enum], Mapping[str, str]] = {
    enums.ModelType: {name.value: facts.label for name, facts in MODELS.items()},
    enums.TrainingMethod: {
        "FINE_TUNE": "Full fine-tune",
        "LORA": "LoRA",
        "EMBEDDING": "Embedding",
        "FINE_TUNE_VAE": "Fine-tune VAE",
    },
    enums.ModelFormat: {
        "DIFFUSERS": "Diffusers folder",
        "ORIGINAL_SINGLE_FILE": "Original single file",
        "ORIGINAL_TRANSFORMER": "Original transformer only",
        "COMFY_TRANSFORMER": "ComfyUI transformer only",
        "LEGACY_SAFETENSORS": "Legacy safetensors",
        "DIFFUSERS_LORA": "Diffusers",
        "KOHYA_LORA": "Kohya",
        "ORIGINAL_LORA": "Original",
        "COMFY_LORA": "ComfyUI",
        "LEGACY_LORA": "Legacy LoRA",
        "SAFETENSORS": "Safetensors",
        "INTERNAL": "Internal (backups only)",
    },
    enums.PeftType: {"LORA": "LoRA", "LOHA": "LoHa", "OFT_2": "OFT v2", "LOKR": "LoKr"},
    enums.DataType: {
        "NONE": "None",
        "FLOAT_32": "float32",
        "BFLOAT_16": "bfloat16",
        "FLOAT_16": "float16",
        "TFLOAT_32": "tf32",
        "FLOAT_8": "float8",
        "INT_8": "int8",
        "NFLOAT_4": "nfloat4 (NF4)",
        "FLOAT_W8A8": "float8 W8A8",
        "INT_W8A8": "int8 W8A8",
        "FLOAT_W8A8_COMPRESSED": "float8 W8A8 compressed",
        "INT_W8A8_COMPRESSED": "int8 W8A8 compressed",
        "GGUF": "GGUF",
        "GGUF_A8_FLOAT": "GGUF A8 float8",
        "GGUF_A8_INT": "GGUF A8 int8",
    },
    enums.TimeUnit: {
        "EPOCH": "epochs",
        "STEP": "steps",
        "SECOND": "seconds",
        "MINUTE": "minutes",
        "HOUR": "hours",
        "NEVER": "never",
        "ALWAYS": "always",
    },
    enums.EMAMode: {"OFF": "Off", "GPU": "GPU", "CPU": "CPU"},
    enums.AttentionMechanism: {
        "SDP": "torch SDPA (default)",
        "FLASH": "FlashAttention",
        "CUDNN": "cuDNN",
        "FLEX": "FlexAttention",
    },
    enums.GradientReducePrecision: {
        "WEIGHT_DTYPE": "Weight data type",
        "FLOAT_32": "float32",
        "WEIGHT_DTYPE_STOCHASTIC": "Weight data type, stochastic rounding",
        "FLOAT_32_STOCHASTIC": "float32, stochastic rounding",
    },
    enums.LearningRateScheduler: {
        "CONSTANT": "Constant",
        "LINEAR": "Linear",
        "COSINE": "Cosine",
        "COSINE_WITH_RESTARTS": "Cosine with restarts",
        "COSINE_WITH_HARD_RESTARTS": "Cosine with hard restarts",
        "REX": "REX",
        "ADAFACTOR": "Adafactor",
        "CUSTOM": "Custom",
    },
    enums.LearningRateScaler: _SCALERS,
    enums.LossScaler: _SCALERS,
    enums.LossWeight: {
        "CONSTANT": "Constant",
        "P2": "P2",
        "MIN_SNR_GAMMA": "Min-SNR gamma",
        "DEBIASED_ESTIMATION": "Debiased estimation",
        "SIGMA": "Sigma",
    },
    enums.TimestepDistribution: {
        "UNIFORM": "Uniform",
        "SIGMOID": "Sigmoid",
        "LOGIT_NORMAL": "Logit-normal",
        "HEAVY_TAIL": "Heavy tail",
        "COS_MAP": "CosMap",
        "INVERTED_PARABOLA": "Inverted parabola",
        "BETA": "Beta",
    },
    enums.NoiseScheduler: {
        "DDIM": "DDIM",
        "EULER": "Euler",
        "EULER_A": "Euler ancestral",
        "DPMPP": "DPM++",
        "DPMPP_SDE": "DPM++ SDE",
        "UNIPC": "UniPC",
        "EULER_KARRAS": "Euler, Karras",
        "DPMPP_KARRAS": "DPM++, Karras",
        "DPMPP_SDE_KARRAS": "DPM++ SDE, Karras",
        "UNIPC_KARRAS": "UniPC, Karras",
    },
    enums.ConfigPart: {"NONE": "None", "SETTINGS": "Settings", "ALL": "All (incl. concepts and samples)"},
    enums.ConceptType: {
        "STANDARD": "Training",
        "VALIDATION": "Validation",
        "PRIOR_PREDICTION": "Prior prediction",
    },
    enums.BalancingStrategy: {"REPEATS": "Repeats", "SAMPLES": "Samples per epoch"},
    enums.ImageFormat: {"PNG": "PNG", "JPG": "JPEG"},
    enums.VideoFormat: {"PNG_IMAGE_SEQUENCE": "PNG image sequence", "JPG_IMAGE_SEQUENCE": "JPEG image sequence", "MP4": "MP4"},
    enums.CloudType: {"RUNPOD": "RunPod", "LINUX": "Linux (SSH)"},
    enums.CloudFileSync: {"NATIVE_SCP": "Native scp", "FABRIC_SFTP": "Fabric SFTP"},
    enums.CloudAction: _CLOUD_ACTIONS,
    enums.Optimizer: {
        "ADAGRAD": "Adagrad",
        "ADAGRAD_8BIT": "Adagrad 8-bit",
        "ADAM": "Adam",
        "ADAM_8BIT": "Adam 8-bit",
        "ADAMW": "AdamW",
        "ADAMW_8BIT": "AdamW 8-bit",
        "ADAMW_ADV": "AdamW advanced",
        "AdEMAMix": "AdEMAMix",
        "AdEMAMix_8BIT": "AdEMAMix 8-bit",
        "ADOPT": "ADOPT",
        "ADOPT_ADV": "ADOPT advanced",
        "LAMB": "LAMB",
        "LAMB_8BIT": "LAMB 8-bit",
        "LARS": "LARS",
        "LARS_8BIT": "LARS 8-bit",
        "LION": "Lion",
        "LION_8BIT": "Lion 8-bit",
        "LION_ADV": "Lion advanced",
        "RMSPROP": "RMSprop",
        "RMSPROP_8BIT": "RMSprop 8-bit",
        "SGD": "SGD",
        "SGD_8BIT": "SGD 8-bit",
        "SIGNSGD_ADV": "SignSGD advanced",
        "SCHEDULE_FREE_ADAMW": "Schedule-free AdamW",
        "SCHEDULE_FREE_SGD": "Schedule-free SGD",
        "DADAPT_ADA_GRAD": "D-Adaptation Adagrad",
        "DADAPT_ADAM": "D-Adaptation Adam",
        "DADAPT_ADAN": "D-Adaptation Adan",
        "DADAPT_LION": "D-Adaptation Lion",
        "DADAPT_SGD": "D-Adaptation SGD",
        "PRODIGY": "Prodigy",
        "PRODIGY_PLUS_SCHEDULE_FREE": "Prodigy plus schedule-free",
        "PRODIGY_ADV": "Prodigy advanced",
        "ADAFACTOR": "Adafactor",
        "CAME": "CAME",
        "CAME_8BIT": "CAME 8-bit",
        "MUON": "Muon",
        "MUON_ADV": "Muon advanced",
        "ADAMUON_ADV": "AdaMuon advanced",
        "ADABELIEF": "AdaBelief",
        "TIGER": "Tiger",
        "AIDA": "Aida",
        "YOGI": "Yogi",
    },
}


def label_of(kind: Any, value: str) -> str:
    """Return the label of a member of an enum."""
    return LABELS.get(kind, {}).get(value, value)


def name_of(member: Enum) -> str:
    """Return the label of a member of an enum, for messages: "bfloat16", not ``BFLOAT_16``."""
    return label_of(type(member), member.value)


def names_of(members: Iterable[Enum]) -> str:
    """Return the labels of members of an enum as an alternative: "bfloat16, float16 or float32"."""
    *most, last = (name_of(member) for member in members)
    return f"{', '.join(most)} or {last}" if most else last


def within_sentence(label: str) -> str:
    """Return a label as it is written after a colon or in a sentence: in lower case, except acronyms and names like LoRA."""
    first = label.split(" ", 1)[0]
    return label if any(letter.isupper() for letter in first[1:]) else label[:1].lower() + label[1:]
