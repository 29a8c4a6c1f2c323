"""Adapters of fused projections are split, joined and swapped without changing their effect on the weights."""

from __future__ import annotations

import pytest
import torch

from onetrainer_gradio.engine.keys.adapters import inputs_of, join, outputs_of, separate, split_key, swapped
from onetrainer_gradio.errors import ModelFormatError

SHARES = (1, 1, 1, 4)
OUT, IN, RANK = 7 * 4, 6, 2


def lora(out=OUT, alpha=1.0, rank=RANK):
    return {"lora_down.weight": torch.randn(rank, IN), "lora_up.weight": torch.randn(out, rank), "alpha": torch.tensor(alpha)}


def loha(out=OUT, alpha=1.0, rank=RANK):
    pairs = {
        f"hada_w{pair}_{side}": torch.randn(*((out, rank) if side == "a" else (rank, IN))) for pair in (1, 2) for side in "ab"
    }
    return pairs | {"alpha": torch.tensor(alpha)}


def lokr(rows=7, each=4):
    return {"lokr_w1": torch.randn(rows, 2), "lokr_w2": torch.randn(each, IN // 2), "alpha": torch.tensor(1.0)}


def change(layer):
    """Return the change of the weight."""
    if "lora_up.weight" in layer:
        return layer["alpha"] / layer["lora_down.weight"].shape[0] * layer["lora_up.weight"] @ layer["lora_down.weight"]
    if "hada_w1_a" in layer:
        first, second = (layer[f"hada_w{pair}_a"] @ layer[f"hada_w{pair}_b"] for pair in (1, 2))
        return layer["alpha"] / layer["hada_w1_b"].shape[0] * first * second
    return torch.kron(layer["lokr_w1"], layer["lokr_w2"])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("make", [lora, loha, lokr])
def test_a_layer_is_split_into_the_rows_of_its_projections(make):
    """This covers LoRA, LoHa and LoKr."""
    layer = make()
    pieces = separate(layer, SHARES, "m")
    assert [piece.shape[0] for piece in map(change, pieces)] == [4, 4, 4, 16]
    assert torch.allclose(torch.cat([change(piece) for piece in pieces]), change(layer), atol=1e-6)


@pytest.mark.parametrize("make", [lora, loha])
def test_split_layers_are_joined_at_the_same_rank(make):
    """Splitting a layer and joining the parts gives the original layer."""
    layer = make()
    again = join(separate(layer, SHARES, "m"), SHARES, "m")
    assert again.keys() == layer.keys()
    assert all(torch.equal(again[name], layer[name]) for name in layer)


@pytest.mark.parametrize("make", [lora, loha])
@pytest.mark.parametrize("missing", [None, 0, 3])
def test_separate_layers_are_joined_exactly(make, missing):
    """Ranks add up, different alphas become part of the matrices, and a missing layer has no effect."""
    layers = [make(4 * share, alpha, rank) for share, alpha, rank in zip(SHARES, (1.0, 2.0, 1.0, 3.0), (1, 2, 2, 3), strict=True)]
    if missing is not None:
        layers[missing] = None
    joined = join(layers, SHARES, "m")
    expected = [torch.zeros(4 * share, IN) if one is None else change(one) for one, share in zip(layers, SHARES, strict=True)]
    assert torch.allclose(change(joined), torch.cat(expected), atol=1e-5)


@pytest.mark.parametrize("make", [lora, loha, lambda: lokr(14, 2), lambda: lokr(1, OUT)])
def test_the_halves_of_the_output_change_places(make):
    """Swapping twice restores them."""
    layer = make()
    turned = swapped(layer, "m")
    assert torch.allclose(change(turned), torch.cat(change(layer).chunk(2)[::-1]), atol=1e-6)
    again = swapped(turned, "m")
    assert all(torch.equal(again[name], layer[name]) for name in layer)


def test_dora_per_output_moves_with_its_rows():
    """Its norms are over the input, so each row keeps its own."""
    layer = lora() | {"dora_scale": torch.rand(OUT, 1)}
    pieces = separate(layer, SHARES, "m")
    assert torch.equal(torch.cat([piece["dora_scale"] for piece in pieces]), layer["dora_scale"])
    assert torch.equal(join(pieces, SHARES, "m")["dora_scale"], layer["dora_scale"])
    assert torch.equal(swapped(layer, "m")["dora_scale"], torch.cat(layer["dora_scale"].chunk(2)[::-1]))


def test_oft_turns_the_common_input():
    """One rotation applies to each projection; different ones can't be joined."""
    layer = {"oft_R.weight": torch.randn(2, 3)}
    pieces = separate(layer, SHARES, "m")
    assert all(torch.equal(piece["oft_R.weight"], layer["oft_R.weight"]) for piece in pieces)
    assert torch.equal(join(pieces, SHARES, "m")["oft_R.weight"], layer["oft_R.weight"])
    pieces[1]["oft_R.weight"] = pieces[1]["oft_R.weight"] + 1
    with pytest.raises(ModelFormatError, match=r"“m”.*different rotations"):
        join(pieces, SHARES, "m")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda: separate(lora() | {"dora_scale": torch.ones(1, IN)}, SHARES, "m"), "magnitude per input"),
        (lambda: join([lora(4) | {"dora_scale": torch.ones(1, IN)}] * 3, (1, 1, 1), "m"), "magnitude per input"),
        (lambda: join([lora(4) | {"dora_scale": torch.ones(4, 1)}, None], (1, 1), "m"), "only some"),
        (lambda: separate(lokr(2, 14), SHARES, "m"), "factors of its LoKr"),
        (lambda: separate(lora(10), SHARES, "m"), "10 outputs"),
        (lambda: join([lokr()] * 2, (1, 1), "m"), "several LoKr"),
        (lambda: join([lora(4), loha(4)], (1, 1), "m"), "different types"),
        (lambda: join([lora(4), lora(5)], (1, 1), "m"), "outputs of the joined"),
        (lambda: swapped(lokr(), "m"), "halves"),
    ],
)
def test_what_would_change_the_result_is_rejected(act, reason):
    """The error names the layer and the reason."""
    with pytest.raises(ModelFormatError, match=f"“m”.*{reason}"):
        act()


@pytest.mark.parametrize("make", [lora, loha, lokr])
def test_the_size_of_a_layer_is_that_of_its_change(make):
    """This includes layers made of factors."""
    layer = make()
    assert (outputs_of(layer), inputs_of(layer)) == tuple(change(layer).shape)


@pytest.mark.parametrize(
    "suffix", ["alpha", "dora_scale", "lokr_w2_b", "lokr_t2", "hada_w1_a", "oft_R.weight", "oft_R.scaled_oft"]
)
def test_the_names_of_tensors_are_module_and_suffix(suffix):
    """This holds for every tensor of every adapter type."""
    assert split_key(f"unet.a.0.{suffix}") == ("unet.a.0", suffix)
    assert split_key("unet.a.weight") is None
