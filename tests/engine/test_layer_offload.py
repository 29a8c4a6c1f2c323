"""Blocks of a component stay in RAM until they are needed (engine/layer_offload.py)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onetrainer_gradio.engine.layer_offload import LayerOffload, offloaded_blocks

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("fraction", "offloaded"),
    [(0.0, 0), (0.2, 4), (0.5, 7), (0.8, 10), (1.0, 10)],
)
def test_the_fraction_counts_bytes_and_two_blocks_are_loaded(fraction, offloaded):
    """Resident blocks and the two moving ones use what the fraction leaves, unless two blocks are larger."""
    chosen = offloaded_blocks([8] * 10, fraction)
    assert len(chosen) == offloaded
    assert len(set(chosen)) == len(chosen)
    assert 10 - len(chosen) + 2 <= max(2, 10 * (1 - fraction)) or not chosen


def test_resident_blocks_are_spread():
    """No two neighbors are resident while other blocks are in RAM, so copies have time."""
    stay = set(range(12)) - set(offloaded_blocks([4] * 12, 0.6))
    assert len(stay) == 2
    assert min(abs(one - other) for one in stay for other in stay - {one}) > 3


def test_a_model_of_two_blocks_stays():
    """At least two blocks are loaded."""
    assert offloaded_blocks([8, 8], 1.0) == ()


@pytest.fixture
def stack() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(nn.Linear(3, 3) for _ in range(5))


def test_one_block_at_a_time_is_loaded(stack):
    """In both directions, a block is loaded when it computes, and the previous one has been moved out."""
    offload = LayerOffload(list(stack), 1.0, CPU, CPU, ahead=True)
    assert (offload.offloaded, offload.loaded) == (5, 0)
    home = [block.weight.data_ptr() for block in stack]
    for number in (0, 1, 4, 3, 2):
        stack[number](torch.ones(1, 3))
        assert offload.loaded == 1
        away = [place for place, block in enumerate(stack) if block.weight.data_ptr() != home[place]]
        assert away == [number]
    offload.move(stack, CPU)
    assert offload.loaded == 0


def test_trained_weights_are_kept_and_adapters_stay(stack):
    """Changes to a loaded block are in RAM afterwards; an adapter is never moved."""
    adapter = nn.Parameter(torch.zeros(2))
    for block in stack:
        block.register_parameter("adapter", adapter)
    offload = LayerOffload(list(stack), 1.0, CPU, CPU, ahead=False, adapters=[adapter])
    place = adapter.data_ptr()
    with torch.no_grad():
        offload.load(stack[2])
        stack[2].weight.fill_(7.0)
        offload.load(stack[3])
    assert stack[2].weight.unique().tolist() == [7.0]
    assert adapter.data_ptr() == place
