"""Adapters: small trained tensors over the layers of a model, by their type."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.methods.adapters.adapter import Adapter
from onetrainer_gradio.engine.methods.adapters.dora import Dora
from onetrainer_gradio.engine.methods.adapters.layer import Layer
from onetrainer_gradio.engine.methods.adapters.loha import LoHa
from onetrainer_gradio.engine.methods.adapters.lokr import LoKr
from onetrainer_gradio.engine.methods.adapters.lora import Lora
from onetrainer_gradio.engine.methods.adapters.oft import Oft


def _lora(layer: Layer, config: TrainConfig) -> Adapter:
    return (Dora if config.lora_decompose else Lora)(layer, config)


ADAPTERS: Mapping[str, Callable[[Layer, TrainConfig], Adapter]] = {"LORA": _lora, "LOHA": LoHa, "LOKR": LoKr, "OFT_2": Oft}
"""``peft_type`` -> the function that makes the adapter of a layer."""
