"""Split, join and turn the tensors of an adapter: LoRA, DoRA, LoHa, LoKr and OFT, with their internal names.

A layer is a dict of its tensors by suffix. The change of its weight, out x in, is

- LoRA: alpha/r · up @ down
- LoHa: alpha/r · (w1_a @ w1_b) ∘ (w2_a @ w2_b)
- LoKr: alpha/r · kron(w1, w2), where w1 or w2 may be a product too

so rows of the output are rows of ``up``, of ``w1_a`` and ``w2_a``, and groups of rows of ``w1``. OFT turns the input of a layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from onetrainer_gradio.engine.keys.family_keys import Tensors
from onetrainer_gradio.errors import ModelFormatError

Layer = dict[str, Tensor]

_SUFFIX = re.compile(
    r"(?P<module>.+)\.(?P<suffix>alpha|dora_scale|(?:lora_down|lora_up|oft_R)\.weight|oft_R\.scaled_oft"
    r"|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?|lokr_t2)"
)
BUNDLE = "bundle_emb."
"""Beginning of the names of embeddings in the file of an adapter: ``bundle_emb.<placeholder>.<encoder>``."""

DOWN, UP = "lora_down.weight", "lora_up.weight"
_LOHA = tuple(f"hada_w{pair}_{side}" for pair in (1, 2) for side in "ab")
_OFT = "oft_R.weight"


def split_key(key: str) -> tuple[str, str] | None:
    """Return module and suffix of the name of an adapter's tensor; None if it is none."""
    found = _SUFFIX.fullmatch(key)
    return (found["module"], found["suffix"]) if found else None


def layers_of(adapter: Mapping[str, Tensor]) -> dict[str, Layer]:
    """Return the layers of an adapter, without embeddings."""
    layers: dict[str, Layer] = {}
    for key, tensor in adapter.items():
        found = split_key(key)
        if found and not key.startswith(BUNDLE):
            layers.setdefault(found[0], {})[found[1]] = tensor
    return layers


def tensors_of(layers: Mapping[str, Layer]) -> Tensors:
    """Return the tensors of layers by their names."""
    return {f"{module}.{suffix}": tensor for module, layer in layers.items() for suffix, tensor in layer.items()}


def _inexact(module: str, reason: str) -> ModelFormatError:
    return ModelFormatError(
        f"The layer “{module}” can't be converted exactly, because {reason}.",
        path="output_model_format",
        value=module,
        suggestion="Choose another format.",
    )


def _has(layer: Layer, name: str) -> bool:
    return name in layer or (f"{name}_a" in layer and f"{name}_b" in layer)


def is_complete(layer: Layer) -> bool:
    """Return whether all tensors of its type are there."""
    kinds = ((DOWN, UP), _LOHA, ("lokr_w1", "lokr_w2"), (_OFT,))
    return any(all(_has(layer, name) for name in kind) for kind in kinds)


def rank_of(layer: Layer) -> int | None:
    """Return the rank by which alpha is divided; None for OFT and for a LoKr of two full matrices."""
    places = ((DOWN, 0), ("hada_w1_b", 0), ("lokr_w1_b", 0), ("lokr_w2_b", 0))
    return next((layer[name].shape[place] for name, place in places if name in layer), None)


# -- rows of the output ---------------------------------------------------------------------------------------------------


def _row_names(layer: Layer) -> tuple[str, ...]:
    """Return the tensors whose rows are those of the output, except for LoKr."""
    return tuple(name for name in (UP, "hada_w1_a", "hada_w2_a") if name in layer)


def _kron_rows(layer: Layer) -> tuple[str, int, int]:
    """Return the name of LoKr's first factor with rows, their number, and the rows of the output that belong to each."""
    first = "lokr_w1" if "lokr_w1" in layer else "lokr_w1_a"
    second = layer["lokr_w2" if "lokr_w2" in layer else "lokr_w2_a"]
    each = second.shape[1 if "lokr_t2" in layer else 0]  # with a core, w2_a is transposed
    return first, layer[first].shape[0], each


def is_lokr(layer: Layer) -> bool:
    """Return whether the layer is a LoKr."""
    return any(name.startswith("lokr_") for name in layer)


def outputs_of(layer: Layer) -> int | None:
    """Return the number of outputs; None for OFT, whose tensors don't depend on it."""
    if is_lokr(layer):
        _, rows, each = _kron_rows(layer)
        return rows * each
    return next((layer[name].shape[0] for name in _row_names(layer)), None)


def inputs_of(layer: Layer) -> int | None:
    """Return the number of inputs of a linear layer; None for OFT."""
    if is_lokr(layer):
        sides = [("lokr_w1", "lokr_w1_b"), ("lokr_w2", "lokr_w2_b")]
        return int(torch.tensor([layer[full if full in layer else right].shape[1] for full, right in sides]).prod())
    return next((layer[name].shape[1] for name in (DOWN, "hada_w1_b") if name in layer), None)


def _per_input(layer: Layer) -> bool:
    return "dora_scale" in layer and layer["dora_scale"].shape[0] == 1


def swapped(layer: Layer, module: str) -> Layer:
    """Return the layer with the halves of its output exchanged.

    :raises ModelFormatError: for a LoKr whose factors don't divide into halves.
    """
    turned = {name: torch.cat(layer[name].chunk(2)[::-1]) for name in _row_names(layer)}
    if is_lokr(layer):
        first, rows, _ = _kron_rows(layer)
        second = "lokr_w2" if "lokr_w2" in layer else "lokr_w2_a"
        name = first if rows % 2 == 0 else second
        if name == second and (rows != 1 or "lokr_t2" in layer):
            raise _inexact(module, "the halves of its output can't change places in a LoKr of these factors")
        turned[name] = torch.cat(layer[name].chunk(2)[::-1])
    if "dora_scale" in layer and not _per_input(layer):
        turned["dora_scale"] = torch.cat(layer["dora_scale"].chunk(2)[::-1])
    return {**layer, **turned}


# -- fused projections ----------------------------------------------------------------------------------------------------


def separate(layer: Layer, shares: Sequence[int], module: str) -> list[Layer]:
    """Return a layer over joined projections as one layer for each; ``shares`` are their relative output sizes. Exact.

    :raises ModelFormatError: if it can't be split exactly.
    """
    if _per_input(layer):
        raise _inexact(module, "its DoRA magnitude per input belongs to all of the joined projections")
    if _OFT in layer:
        return [dict(layer) for _ in shares]
    total = outputs_of(layer)
    assert total is not None
    sizes = [total * share // sum(shares) for share in shares]
    if sum(sizes) != total:
        raise _inexact(module, f"its {total} outputs can't be divided {':'.join(map(str, shares))}")
    pieces: dict[str, Sequence[Tensor]] = {name: torch.split(layer[name], sizes) for name in _row_names(layer)}
    if is_lokr(layer):
        first, _, each = _kron_rows(layer)
        if any(size % each for size in sizes):
            raise _inexact(module, "the factors of its LoKr reach across the joined projections")
        pieces[first] = torch.split(layer[first], [size // each for size in sizes])
    if "dora_scale" in layer:
        pieces["dora_scale"] = torch.split(layer["dora_scale"], sizes)
    return [
        {name: (pieces[name][place].clone() if name in pieces else tensor.clone()) for name, tensor in layer.items()}
        for place in range(len(sizes))
    ]


def join(layers: Sequence[Layer | None], shares: Sequence[int], module: str) -> Layer:
    """Return one layer over joined projections, of the sum of the ranks unless they share their matrices. Exact.

    A missing layer (None) changes nothing. ``shares`` are the relative output sizes.

    :raises ModelFormatError: if they can't be joined exactly.
    """
    present = [layer for layer in layers if layer is not None]
    kinds = {frozenset(name for name in layer if name != "alpha") for layer in present}
    if len(kinds) != 1:
        raise _inexact(module, "the joined projections have adapters of different types")
    if any(_per_input(layer) for layer in present):
        raise _inexact(module, "its DoRA magnitude per input can't be joined with that of other projections")
    if "dora_scale" in present[0] and len(present) < len(layers):
        raise _inexact(module, "DoRA adapts only some of the joined projections")
    if _OFT in present[0]:
        return _joined_oft(present, len(layers), module)
    if is_lokr(present[0]):
        raise _inexact(module, "several LoKr can't be joined into one")
    unit = outputs_of(present[0])
    assert unit is not None
    unit //= next(share for share, layer in zip(shares, layers, strict=True) if layer is not None)
    sizes = [unit * share for share in shares]
    if any(layer is not None and outputs_of(layer) != size for layer, size in zip(layers, sizes, strict=True)):
        raise _inexact(module, f"the outputs of the joined projections aren't {':'.join(map(str, shares))}")
    sides = [(UP, DOWN)] if UP in present[0] else [("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b")]
    scales = [0.0 if layer is None else float(layer["alpha"]) / (rank_of(layer) or 1) for layer in layers]
    scale = next(scale for scale, layer in zip(scales, layers, strict=True) if layer is not None)
    shared = all(torch.equal(layer[down], present[0][down]) for layer in present for _, down in sides)
    joined: Layer = {}
    for place, (up, down) in enumerate(sides):
        # the second pair of a LoHa multiplies the first one, which already has the scale
        factors = [one / scale if place == 0 and scale else 1.0 for one in scales]
        rows = [
            torch.zeros(size, *present[0][up].shape[1:], dtype=present[0][up].dtype)
            if layer is None
            else layer[up] * factor
            if factor != 1.0
            else layer[up]
            for layer, factor, size in zip(layers, factors, sizes, strict=True)
        ]
        if shared:
            joined[down], joined[up] = present[0][down].clone(), torch.cat(rows)
        else:
            joined[down] = torch.cat([layer[down] for layer in present])
            joined[up] = _block_diagonal(rows, [0 if layer is None else layer[down].shape[0] for layer in layers])
    rank = rank_of(joined)
    assert rank is not None
    joined["alpha"] = torch.tensor(scale * rank, dtype=present[0]["alpha"].dtype)
    if "dora_scale" in present[0]:
        joined["dora_scale"] = torch.cat([layer["dora_scale"] for layer in present])
    return joined


def _joined_oft(layers: Sequence[Layer], count: int, module: str) -> Layer:
    if len(layers) < count or any(not torch.equal(layer[_OFT], layers[0][_OFT]) for layer in layers):
        raise _inexact(module, "the joined projections have different rotations of their common input")
    return dict(layers[0])


def _block_diagonal(rows: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
    blocks = [row if width else row[:, :0] for row, width in zip(rows, widths, strict=True)]
    tails = blocks[0].shape[2:]  # (1, 1) for a convolution
    joined = torch.zeros(sum(b.shape[0] for b in blocks), sum(b.shape[1] for b in blocks), *tails, dtype=blocks[0].dtype)
    row, column = 0, 0
    for block in blocks:
        joined[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return joined
