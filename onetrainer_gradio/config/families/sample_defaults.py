"""What a new sample prompt begins with: the size, steps and guidance that suit the model type, the same as in OneTrainer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.config.enums import ModelType, NoiseScheduler

_T = ModelType


def _begin(
    size: tuple[int, int], steps: int, guidance: float, sampler: NoiseScheduler = NoiseScheduler.DDIM
) -> Mapping[str, Any]:
    """``size`` is width and height in pixels; flow models pass over the sampler."""
    width, height = size
    return MappingProxyType(
        {"width": width, "height": height, "diffusion_steps": steps, "cfg_scale": guidance, "noise_scheduler": sampler.value}
    )


_SMALL, _MIDDLE, _LARGE = (512, 512), (768, 768), (1024, 1024)
_SD1 = _begin(_SMALL, 30, 7.5, NoiseScheduler.EULER_A)
_SD2 = _begin(_MIDDLE, 30, 7.5)
_SDXL = _begin(_LARGE, 30, 7.5, NoiseScheduler.EULER_A)
_SD3 = _begin(_LARGE, 28, 7.0)
_WUERSTCHEN = _begin(_LARGE, 25, 4.0)
_PIXART = _begin(_LARGE, 25, 4.5)
_FLUX_1 = _begin(_LARGE, 30, 3.5)

SAMPLE_DEFAULTS: Mapping[ModelType, Mapping[str, Any]] = MappingProxyType(
    {
        _T.STABLE_DIFFUSION_15: _SD1,
        _T.STABLE_DIFFUSION_15_INPAINTING: _SD1,
        _T.STABLE_DIFFUSION_20: _SD2,
        _T.STABLE_DIFFUSION_20_BASE: _SD2,
        _T.STABLE_DIFFUSION_20_INPAINTING: _SD2,
        _T.STABLE_DIFFUSION_20_DEPTH: _SD2,
        _T.STABLE_DIFFUSION_21: _SD2,
        _T.STABLE_DIFFUSION_21_BASE: _SD2,
        _T.STABLE_DIFFUSION_3: _SD3,
        _T.STABLE_DIFFUSION_35: _SD3,
        _T.STABLE_DIFFUSION_XL_10_BASE: _SDXL,
        _T.STABLE_DIFFUSION_XL_10_BASE_INPAINTING: _SDXL,
        _T.WUERSTCHEN_2: _WUERSTCHEN,
        _T.STABLE_CASCADE_1: _WUERSTCHEN,
        _T.PIXART_ALPHA: _PIXART,
        _T.PIXART_SIGMA: _PIXART,
        _T.FLUX_DEV_1: _FLUX_1,
        _T.FLUX_FILL_DEV_1: _FLUX_1,
        _T.FLUX_2: _begin(_LARGE, 30, 4.0),
        _T.SANA: _begin(_LARGE, 20, 4.5),
        _T.HUNYUAN_VIDEO: _begin((848, 480), 30, 6.0),
        _T.HI_DREAM_FULL: _begin(_LARGE, 28, 5.0),
        _T.CHROMA_1: _begin(_LARGE, 30, 3.5),
        _T.QWEN: _begin(_LARGE, 25, 3.5),
        _T.ANIMA: _begin(_LARGE, 25, 4.0),
        _T.KREA_2: _begin(_LARGE, 28, 3.5),
        _T.Z_IMAGE: _begin(_LARGE, 28, 4.0),
        _T.ERNIE: _begin(_LARGE, 25, 4.0),
        _T.IDEOGRAM_4: _begin(_LARGE, 25, 3.0),
    }
)


def sample_defaults(model_type: str) -> dict[str, Any]:
    """What a new sample of the model type has other than every sample; empty for a type that is not known here."""
    return dict(SAMPLE_DEFAULTS.get(ModelType(model_type), {})) if model_type in ModelType.__members__ else {}
