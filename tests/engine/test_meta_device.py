"""For memory, the meta device behaves like a GPU: autocast, attention, and the lifetime of tensors."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from onetrainer_gradio.engine.meta_device import AsOnGpu, MemoryCount, MetaAutocast, backward

KIB = 1024


def matrix(rows: int, columns: int, dtype: torch.dtype = torch.float32, **options: bool) -> torch.Tensor:
    return torch.empty(rows, columns, device="meta", dtype=dtype, **options)


def test_autocast_runs_products_in_the_lower_precision_and_norms_in_float32():
    """The data types are those of CUDA's autocast, and none apply outside the block."""
    x, weight = matrix(4, 8), matrix(16, 8)
    with AsOnGpu():
        with MetaAutocast(torch.bfloat16):
            product = functional.linear(x, weight)
            assert product.dtype == torch.bfloat16
            assert functional.layer_norm(product, (16,)).dtype == torch.float32
            assert (product + product).dtype == torch.bfloat16
            with MetaAutocast(None):
                assert functional.linear(x, weight).dtype == torch.float32
        assert functional.linear(x, weight).dtype == torch.float32


def test_a_data_type_error_is_found():
    """A half-precision input of a float32 layer fails, as on a GPU without autocast."""
    with AsOnGpu(), pytest.raises(RuntimeError):
        functional.linear(matrix(4, 8, torch.bfloat16), matrix(16, 8))


def test_tensors_count_while_they_live():
    """The peak contains both; tensors freed before don't add to later ones."""
    count = MemoryCount()
    with count:
        first = matrix(256, 256)
        del first
        second = matrix(256, 128)
        third = second.t()
    assert count.peak() == {"activations": 256 * KIB}
    count.restart()
    assert count.peak() == {"activations": 128 * KIB}
    del second, third


def test_views_of_a_weight_and_held_sizes_are_not_counted_twice():
    """A weight counts with its storage size, whatever views exist."""
    weight, count = matrix(256, 256), MemoryCount()
    count.hold([weight], "weights", lambda tensor: 1000)
    with count:
        weight.t()[:10].unsqueeze(0)
    assert count.peak() == {"weights": 1000}


def step(attention: bool, checkpointed: bool) -> dict[str, int]:
    count = MemoryCount()
    weights = [torch.empty(64, 64, device="meta", requires_grad=True) for _ in range(4)]
    count.hold(weights, "weights", lambda tensor: 0)
    for weight in weights:
        weight.register_post_accumulate_grad_hook(lambda one: count.hold([one.grad], "gradients"))

    def block(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        y = functional.linear(x, weight).view(1, 4, -1, 16)
        y = functional.scaled_dot_product_attention(y, y, y)
        return functional.gelu(y.reshape(-1, 64)).sin()

    with AsOnGpu(attention), count:
        x = torch.empty(2048, 64, device="meta")
        for weight in weights:
            x = checkpoint(block, x, weight, use_reentrant=False) if checkpointed else block(x, weight)
        with count.backward():
            backward(x.mean())
    return count.peak()


@pytest.mark.slow
def test_attention_keeps_no_scores_unless_the_math_kind_is_asked_for():
    """2048 x 2048 scores of 4 heads are 64 MiB in float32."""
    assert sum(step(True, False).values()) < 32 * KIB * KIB
    assert sum(step(False, False).values()) > 4 * 64 * KIB * KIB


@pytest.mark.slow
def test_checkpointing_keeps_only_the_inputs_of_blocks():
    """The peak falls, and recomputed tensors count as activations."""
    plain, checkpointed = step(True, False), step(True, True)
    assert sum(checkpointed.values()) < 0.6 * sum(plain.values())
    assert checkpointed["activations"] > 0


def test_a_repeated_operation_counts_as_the_first_time():
    """Its results are new tensors with the same shape, strides and data type; a view stays one, whether declared or not."""
    with torch.device("meta"), MemoryCount() as count:
        one = torch.empty(64, 32)
        made = [(one.t() + 1, torch.ops.aten._unsafe_view(one, [32, 64]), one.to(torch.bfloat16)) for _ in range(3)]
        layouts = {tuple((each.shape, each.stride(), each.dtype) for each in group) for group in made}
        assert len(layouts) == 1
        assert [each.shape for each in made[2]] == [(32, 64), (32, 64), (64, 32)]
        assert len({each.untyped_storage()._cdata for group in made for each in group}) == 2 * 3 + 1
        assert sum(count.peak().values()) == (1 + 3) * 64 * 32 * 4 + 3 * 64 * 32 * 2
        assert sum((one + 1.5).dtype == torch.float32 for _ in range(2)) == 2
        ones = torch.empty(4, dtype=torch.int32)
        assert [(ones + number).dtype for number in (1, 1.0, 1, True)] == [torch.int32, torch.float32, torch.int32, torch.int32]
