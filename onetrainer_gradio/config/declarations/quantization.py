"""Declare the settings for the quantization of frozen weights."""

from __future__ import annotations

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.declarations.visibility import LAYER_PRESETS_BY_TYPE
from onetrainer_gradio.config.enums import DataType


class QuantizationConfig(Settings):
    """Which layers are quantized and how the error is corrected."""

    layer_filter: str = setting(
        "",
        label="Quantization layer filter (patterns)",
        help="Quantize only layers whose name contains one of these patterns, separated by commas. Leave it empty to quantize all layers. Other layers stay exact and need more VRAM.",
        group="quantization",
        level="advanced",
    )
    layer_filter_preset: str = setting(
        "full",
        label="Quantization layer filter preset",
        help="Fill in the patterns of the quantization layer filter. “full” quantizes all layers, “custom” keeps your own patterns. Only the patterns have an effect.",
        group="quantization",
        level="advanced",
        kind="layer_preset",
        choices_by=LAYER_PRESETS_BY_TYPE,
    )
    layer_filter_regex: bool = setting(
        False,
        label="Quantization layer filter: use regex",
        help="Treat the patterns of the quantization layer filter as regular expressions.",
        group="quantization",
        level="expert",
    )
    svd_dtype: DataType = setting(
        DataType.NONE,
        label="SVDQuant",
        help="Store a small correction of the quantization error in this data type. Better quality for a little more VRAM. “None” turns it off.",
        group="quantization",
        level="advanced",
        choices=("NONE", "FLOAT_32", "BFLOAT_16"),
    )
    svd_rank: int = setting(
        16,
        label="SVDQuant rank",
        help="Rank of the SVDQuant correction. 16 is typical. Higher ranks restore more but need more VRAM, a longer start and more time per step.",
        group="quantization",
        level="advanced",
        ge=1,
        shown={"quantization.svd_dtype": ("FLOAT_32", "BFLOAT_16")},
    )
    cache_dir: str | None = setting(
        None,
        label="Quantization cache folder",
        help="Folder to keep SVDQuant corrections in for the next start. Leave it empty to use a folder inside the cache folder.",
        group="quantization",
        level="expert",
        kind="path",
        path="folder",
    )
