"""Define the enums of a configuration; the value of each member is its name."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

_NEWER = re.compile(r"[A-Z][A-Z0-9_]*")


class Name(StrEnum):
    """A name from an open list: a name that only a newer OneTrainer has is kept unchanged.

    Such a name is not a member; ``known`` distinguishes them. The pre-flight check reports it as an error, unless the run is
    executed by a checkout that has the name.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not _NEWER.fullmatch(value):
            return None
        newer = str.__new__(cls, value)
        newer._name_ = newer._value_ = value
        return newer

    @property
    def known(self) -> bool:
        """Return whether this release has the name."""
        return self._name_ in type(self).__members__


class AttentionMechanism(Name):
    SDP = "SDP"
    FLASH = "FLASH"
    CUDNN = "CUDNN"
    FLEX = "FLEX"


class AudioFormat(Name):
    MP3 = "MP3"


class BalancingStrategy(Name):
    REPEATS = "REPEATS"
    SAMPLES = "SAMPLES"


class CloudAction(Name):
    NONE = "NONE"
    STOP = "STOP"
    DELETE = "DELETE"


class CloudFileSync(Name):
    FABRIC_SFTP = "FABRIC_SFTP"
    NATIVE_SCP = "NATIVE_SCP"


class CloudType(Name):
    RUNPOD = "RUNPOD"
    LINUX = "LINUX"


class ConceptType(Name):
    STANDARD = "STANDARD"
    VALIDATION = "VALIDATION"
    PRIOR_PREDICTION = "PRIOR_PREDICTION"


class ConfigPart(Name):
    NONE = "NONE"
    SETTINGS = "SETTINGS"
    ALL = "ALL"


class DataType(Name):
    NONE = "NONE"
    FLOAT_8 = "FLOAT_8"
    FLOAT_16 = "FLOAT_16"
    FLOAT_32 = "FLOAT_32"
    BFLOAT_16 = "BFLOAT_16"
    TFLOAT_32 = "TFLOAT_32"
    INT_8 = "INT_8"
    NFLOAT_4 = "NFLOAT_4"
    FLOAT_W8A8 = "FLOAT_W8A8"
    INT_W8A8 = "INT_W8A8"
    FLOAT_W8A8_COMPRESSED = "FLOAT_W8A8_COMPRESSED"
    INT_W8A8_COMPRESSED = "INT_W8A8_COMPRESSED"
    GGUF = "GGUF"
    GGUF_A8_FLOAT = "GGUF_A8_FLOAT"
    GGUF_A8_INT = "GGUF_A8_INT"


class EMAMode(Name):
    OFF = "OFF"
    GPU = "GPU"
    CPU = "CPU"


class FileType(Name):
    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    AUDIO = "AUDIO"


class GenerateCaptionsModel(Name):
    BLIP = "BLIP"
    BLIP2 = "BLIP2"
    WD14_VIT_2 = "WD14_VIT_2"


class GenerateMasksModel(Name):
    CLIPSEG = "CLIPSEG"
    REMBG = "REMBG"
    REMBG_HUMAN = "REMBG_HUMAN"
    COLOR = "COLOR"


class GradientReducePrecision(Name):
    WEIGHT_DTYPE = "WEIGHT_DTYPE"
    FLOAT_32 = "FLOAT_32"
    WEIGHT_DTYPE_STOCHASTIC = "WEIGHT_DTYPE_STOCHASTIC"
    FLOAT_32_STOCHASTIC = "FLOAT_32_STOCHASTIC"


class ImageFormat(Name):
    PNG = "PNG"
    JPG = "JPG"


class LearningRateScaler(Name):
    NONE = "NONE"
    BATCH = "BATCH"
    GLOBAL_BATCH = "GLOBAL_BATCH"
    GRADIENT_ACCUMULATION = "GRADIENT_ACCUMULATION"
    BOTH = "BOTH"
    GLOBAL_BOTH = "GLOBAL_BOTH"


class LearningRateScheduler(Name):
    CONSTANT = "CONSTANT"
    LINEAR = "LINEAR"
    COSINE = "COSINE"
    COSINE_WITH_RESTARTS = "COSINE_WITH_RESTARTS"
    COSINE_WITH_HARD_RESTARTS = "COSINE_WITH_HARD_RESTARTS"
    REX = "REX"
    ADAFACTOR = "ADAFACTOR"
    CUSTOM = "CUSTOM"


class LossScaler(Name):
    NONE = "NONE"
    BATCH = "BATCH"
    GLOBAL_BATCH = "GLOBAL_BATCH"
    GRADIENT_ACCUMULATION = "GRADIENT_ACCUMULATION"
    BOTH = "BOTH"
    GLOBAL_BOTH = "GLOBAL_BOTH"


class LossWeight(Name):
    CONSTANT = "CONSTANT"
    P2 = "P2"
    MIN_SNR_GAMMA = "MIN_SNR_GAMMA"
    DEBIASED_ESTIMATION = "DEBIASED_ESTIMATION"
    SIGMA = "SIGMA"


class ModelFormat(Name):
    DIFFUSERS = "DIFFUSERS"
    ORIGINAL_SINGLE_FILE = "ORIGINAL_SINGLE_FILE"
    ORIGINAL_TRANSFORMER = "ORIGINAL_TRANSFORMER"
    COMFY_TRANSFORMER = "COMFY_TRANSFORMER"
    LEGACY_SAFETENSORS = "LEGACY_SAFETENSORS"
    DIFFUSERS_LORA = "DIFFUSERS_LORA"
    KOHYA_LORA = "KOHYA_LORA"
    ORIGINAL_LORA = "ORIGINAL_LORA"
    COMFY_LORA = "COMFY_LORA"
    LEGACY_LORA = "LEGACY_LORA"
    SAFETENSORS = "SAFETENSORS"
    INTERNAL = "INTERNAL"


class ModelType(Name):
    STABLE_DIFFUSION_15 = "STABLE_DIFFUSION_15"
    STABLE_DIFFUSION_15_INPAINTING = "STABLE_DIFFUSION_15_INPAINTING"
    STABLE_DIFFUSION_20 = "STABLE_DIFFUSION_20"
    STABLE_DIFFUSION_20_BASE = "STABLE_DIFFUSION_20_BASE"
    STABLE_DIFFUSION_20_INPAINTING = "STABLE_DIFFUSION_20_INPAINTING"
    STABLE_DIFFUSION_20_DEPTH = "STABLE_DIFFUSION_20_DEPTH"
    STABLE_DIFFUSION_21 = "STABLE_DIFFUSION_21"
    STABLE_DIFFUSION_21_BASE = "STABLE_DIFFUSION_21_BASE"
    STABLE_DIFFUSION_3 = "STABLE_DIFFUSION_3"
    STABLE_DIFFUSION_35 = "STABLE_DIFFUSION_35"
    STABLE_DIFFUSION_XL_10_BASE = "STABLE_DIFFUSION_XL_10_BASE"
    STABLE_DIFFUSION_XL_10_BASE_INPAINTING = "STABLE_DIFFUSION_XL_10_BASE_INPAINTING"
    WUERSTCHEN_2 = "WUERSTCHEN_2"
    STABLE_CASCADE_1 = "STABLE_CASCADE_1"
    PIXART_ALPHA = "PIXART_ALPHA"
    PIXART_SIGMA = "PIXART_SIGMA"
    FLUX_DEV_1 = "FLUX_DEV_1"
    FLUX_FILL_DEV_1 = "FLUX_FILL_DEV_1"
    FLUX_2 = "FLUX_2"
    SANA = "SANA"
    HUNYUAN_VIDEO = "HUNYUAN_VIDEO"
    HI_DREAM_FULL = "HI_DREAM_FULL"
    CHROMA_1 = "CHROMA_1"
    QWEN = "QWEN"
    ANIMA = "ANIMA"
    KREA_2 = "KREA_2"
    Z_IMAGE = "Z_IMAGE"
    ERNIE = "ERNIE"
    IDEOGRAM_4 = "IDEOGRAM_4"


class PeftType(Name):
    LORA = "LORA"
    LOHA = "LOHA"
    OFT_2 = "OFT_2"
    LOKR = "LOKR"


class NoiseScheduler(Name):
    DDIM = "DDIM"
    EULER = "EULER"
    EULER_A = "EULER_A"
    DPMPP = "DPMPP"
    DPMPP_SDE = "DPMPP_SDE"
    UNIPC = "UNIPC"
    EULER_KARRAS = "EULER_KARRAS"
    DPMPP_KARRAS = "DPMPP_KARRAS"
    DPMPP_SDE_KARRAS = "DPMPP_SDE_KARRAS"
    UNIPC_KARRAS = "UNIPC_KARRAS"


class Optimizer(Name):
    ADAGRAD = "ADAGRAD"
    ADAGRAD_8BIT = "ADAGRAD_8BIT"
    ADAM = "ADAM"
    ADAM_8BIT = "ADAM_8BIT"
    ADAMW = "ADAMW"
    ADAMW_8BIT = "ADAMW_8BIT"
    ADAMW_ADV = "ADAMW_ADV"
    AdEMAMix = "AdEMAMix"
    AdEMAMix_8BIT = "AdEMAMix_8BIT"
    ADOPT = "ADOPT"
    ADOPT_ADV = "ADOPT_ADV"
    LAMB = "LAMB"
    LAMB_8BIT = "LAMB_8BIT"
    LARS = "LARS"
    LARS_8BIT = "LARS_8BIT"
    LION = "LION"
    LION_8BIT = "LION_8BIT"
    LION_ADV = "LION_ADV"
    RMSPROP = "RMSPROP"
    RMSPROP_8BIT = "RMSPROP_8BIT"
    SGD = "SGD"
    SGD_8BIT = "SGD_8BIT"
    SIGNSGD_ADV = "SIGNSGD_ADV"
    SCHEDULE_FREE_ADAMW = "SCHEDULE_FREE_ADAMW"
    SCHEDULE_FREE_SGD = "SCHEDULE_FREE_SGD"
    DADAPT_ADA_GRAD = "DADAPT_ADA_GRAD"
    DADAPT_ADAM = "DADAPT_ADAM"
    DADAPT_ADAN = "DADAPT_ADAN"
    DADAPT_LION = "DADAPT_LION"
    DADAPT_SGD = "DADAPT_SGD"
    PRODIGY = "PRODIGY"
    PRODIGY_PLUS_SCHEDULE_FREE = "PRODIGY_PLUS_SCHEDULE_FREE"
    PRODIGY_ADV = "PRODIGY_ADV"
    ADAFACTOR = "ADAFACTOR"
    CAME = "CAME"
    CAME_8BIT = "CAME_8BIT"
    MUON = "MUON"
    MUON_ADV = "MUON_ADV"
    ADAMUON_ADV = "ADAMUON_ADV"
    ADABELIEF = "ADABELIEF"
    TIGER = "TIGER"
    AIDA = "AIDA"
    YOGI = "YOGI"


class PathIOType(Name):
    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    MODEL = "MODEL"


class TimeUnit(Name):
    EPOCH = "EPOCH"
    STEP = "STEP"
    SECOND = "SECOND"
    MINUTE = "MINUTE"
    HOUR = "HOUR"
    NEVER = "NEVER"
    ALWAYS = "ALWAYS"


class TimestepDistribution(Name):
    UNIFORM = "UNIFORM"
    SIGMOID = "SIGMOID"
    LOGIT_NORMAL = "LOGIT_NORMAL"
    HEAVY_TAIL = "HEAVY_TAIL"
    COS_MAP = "COS_MAP"
    INVERTED_PARABOLA = "INVERTED_PARABOLA"
    BETA = "BETA"


class TrainingMethod(Name):
    FINE_TUNE = "FINE_TUNE"
    LORA = "LORA"
    EMBEDDING = "EMBEDDING"
    FINE_TUNE_VAE = "FINE_TUNE_VAE"


class VideoFormat(Name):
    PNG_IMAGE_SEQUENCE = "PNG_IMAGE_SEQUENCE"
    JPG_IMAGE_SEQUENCE = "JPG_IMAGE_SEQUENCE"
    MP4 = "MP4"
