"""Settings of the quantization of frozen weights."""

from __future__ import annotations

from onetrainer_gradio.config.enums import DataType
from onetrainer_gradio.config.setting import Settings, setting


class QuantizationConfig(Settings):
    """Which layers are quantized and how the error is corrected."""

    layer_filter: str = setting("")
    layer_filter_preset: str = setting("full")
    layer_filter_regex: bool = setting(False)
    svd_dtype: DataType = setting(DataType.NONE)
    svd_rank: int = setting(16)
    cache_dir: str | None = setting(None)
