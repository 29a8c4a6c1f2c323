"""Layers that an output format fuses are adapted together or not at all.

Covers ``engine/methods/fused_group.py``.
"""

from __future__ import annotations

import pytest

from onetrainer_gradio.engine.methods.fused_group import FusedGroup, selected_groups
from onetrainer_gradio.errors import ConfigValueError

GROUPS = (FusedGroup("b.1.qkv", ("b.1.q", "b.1.k")), FusedGroup("b.0.qkv", ("b.0.q", "b.0.k")))


def test_whole_groups_are_returned_in_their_order_and_others_left_out():
    """The order is that of the list, not of the layers, because it is the order of the initial random numbers."""
    assert selected_groups(GROUPS, ["b.0.q", "b.0.k", "b.1.q", "b.1.k", "c"]) == GROUPS
    assert selected_groups(GROUPS, ["b.0.q", "b.0.k", "c"]) == GROUPS[1:]
    assert selected_groups(GROUPS, ["c"]) == ()


def test_a_group_of_which_the_filter_selects_a_part_is_rejected():
    """The error names the missing layer and the setting."""
    with pytest.raises(ConfigValueError, match=r"doesn't select b\.1\.k\.") as raised:
        selected_groups(GROUPS, ["b.1.q"])
    assert raised.value.path == "layer_filter"
