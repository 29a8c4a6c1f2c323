"""Give the size of optimizer states that can't be created without a GPU or without the optimizer's package."""

from __future__ import annotations

from collections.abc import Mapping

_BLOCK = 1 + 4 / 256
"""Bytes of one state in 8 bits, with its scale for each block of 256 (bitsandbytes)."""

QUANTIZED_STATES: Mapping[str, float] = {
    **dict.fromkeys(("ADAM_8BIT", "ADAMW_8BIT", "LAMB_8BIT", "CAME_8BIT"), 2 * _BLOCK),
    **dict.fromkeys(("ADAGRAD_8BIT", "LARS_8BIT", "LION_8BIT", "RMSPROP_8BIT", "SGD_8BIT"), _BLOCK),
    "AdEMAMix_8BIT": 3 * _BLOCK,
}
"""Optimizer -> bytes of its state per trained parameter."""

STATES: Mapping[str, int] = {
    **dict.fromkeys(("SGD", "LION", "LION_ADV", "LARS", "SIGNSGD_ADV", "SCHEDULE_FREE_SGD", "MUON", "MUON_ADV", "TIGER"), 1),
    **dict.fromkeys(("ADAGRAD", "RMSPROP", "CAME"), 1),
    **dict.fromkeys(("ADAM", "ADAMW", "ADAMW_ADV", "ADOPT", "ADOPT_ADV", "LAMB", "SCHEDULE_FREE_ADAMW"), 2),
    **dict.fromkeys(("ADAMUON_ADV", "ADABELIEF", "AIDA", "YOGI", "DADAPT_LION"), 2),
    **dict.fromkeys(("AdEMAMix", "DADAPT_ADA_GRAD", "DADAPT_ADAM", "DADAPT_SGD", "PRODIGY_PLUS_SCHEDULE_FREE"), 3),
    **dict.fromkeys(("DADAPT_ADAN", "PRODIGY", "PRODIGY_ADV"), 4),
    "ADAFACTOR": 0,
}
"""Optimizer -> number of states with the size of the weights, for those that can't run on the meta device."""
