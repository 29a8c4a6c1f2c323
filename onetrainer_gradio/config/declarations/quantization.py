"""Settings of the quantization of frozen weights."""

from __future__ import annotations

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.declarations.visibility import LAYER_PRESETS_BY_TYPE
from onetrainer_gradio.config.enums import DataType


class QuantizationConfig(Settings):
    """Which layers are quantized and how the error is corrected."""

    layer_filter: str = setting(
        "",
        label="Quantization layer filter (patterns)",
        help="Comma list of name parts of the layers that are stored in few bits. Empty takes all of them; leaving some out costs memory and keeps them exact.",
        group="quantization",
        level="advanced",
    )
    layer_filter_preset: str = setting(
        "full",
        label="Quantization layer filter preset",
        help="A ready choice of layers to quantize: it writes the patterns beside it, and only those count. custom lets you write your own.",
        group="quantization",
        level="advanced",
        kind="layer_preset",
        choices_by=LAYER_PRESETS_BY_TYPE,
    )
    layer_filter_regex: bool = setting(
        False,
        label="Quantization layer filter: use regex",
        help="Read the patterns as regular expressions instead of plain name parts.",
        group="quantization",
        level="expert",
    )
    svd_dtype: DataType = setting(
        DataType.NONE,
        label="SVDQuant",
        help="Store what quantization loses most of as a small exact correction in this format. Better quality for a little memory; NONE is off.",
        group="quantization",
        level="advanced",
        choices=("NONE", "FLOAT_32", "BFLOAT_16"),
    )
    svd_rank: int = setting(
        16,
        label="SVDQuant rank",
        help="Size of the correction. 16 is usual; higher restores more and costs memory, start-up time and speed.",
        group="quantization",
        level="advanced",
        ge=1,
        shown={"quantization.svd_dtype": ("FLOAT_32", "BFLOAT_16")},
    )
    cache_dir: str | None = setting(
        None,
        label="Quantization cache folder",
        help="Folder that keeps computed corrections for the next start. Empty uses a folder inside the cache folder.",
        group="quantization",
        level="expert",
        kind="path",
        path="folder",
    )
