"""The gradient norm of a OneTrainer run is the one computed for clipping."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from onetrainer_gradio.backends.onetrainer.worker.norms import GradientNorms


def library(norm: float = 2.0) -> SimpleNamespace:
    return SimpleNamespace(nn=SimpleNamespace(utils=SimpleNamespace(clip_grad_norm_=lambda parameters, limit: norm)))


def test_the_norm_of_an_update_is_read_once() -> None:
    """Clipping returns the same as before; an update without clipping has no norm."""
    torch = library(2.5)
    norms = GradientNorms(torch)
    norms.listen()
    assert torch.nn.utils.clip_grad_norm_([], 1.0) == 2.5
    assert norms.take() == 2.5
    assert norms.take() is None


def test_norms_of_single_weights_are_joined() -> None:
    """With a fused back pass, each weight is clipped separately."""
    torch = pytest.importorskip("torch")
    norms = GradientNorms(torch)
    norms.listen()
    try:
        for value in (3.0, 4.0):
            weight = torch.nn.Parameter(torch.zeros(1))
            weight.grad = torch.tensor([value])
            torch.nn.utils.clip_grad_norm_(weight, 100.0)
    finally:
        norms.close()
    assert norms.take() == pytest.approx(5.0)


def test_the_function_is_restored() -> None:
    """Another run in the same process reads only its own norms."""
    torch = library()
    original = torch.nn.utils.clip_grad_norm_
    norms = GradientNorms(torch)
    norms.listen()
    norms.close()
    assert torch.nn.utils.clip_grad_norm_ is original


def test_without_the_library_there_is_no_norm() -> None:
    """The stand-in checkout has no torch."""
    norms = GradientNorms(None)
    norms.listen()
    assert norms.take() is None
    norms.close()
