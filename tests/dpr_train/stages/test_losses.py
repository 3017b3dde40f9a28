# Losses against their definitions in float64, and gradients against autograd.

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dpr_train.stages import losses
from dpr_train.stages.losses import chunked_softmax_loss, gbce_exponent, gbce_loss, softmax_loss

M, N, DIM = 23, 17, 5


def some() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(M, DIM, generator=draw, requires_grad=True)
    items = torch.randn(N, DIM, generator=draw, requires_grad=True)
    return states, items, torch.randint(0, N, (M,), generator=draw)


@pytest.mark.parametrize("chunk", [1, 4, 23, 100])
def test_chunks_change_neither_loss_nor_gradients(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(losses, "_CHUNK", chunk)
    states, items, targets = some()
    plain = softmax_loss(states, items, targets)
    wanted = torch.autograd.grad(3 * plain, (states, items))
    chunked = chunked_softmax_loss(states, items, targets, torch.float32)
    torch.testing.assert_close(chunked, plain, rtol=0, atol=1e-6)
    for got, expected in zip(torch.autograd.grad(3 * chunked, (states, items)), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_bfloat16_stays_near() -> None:
    states, items, targets = some()
    plain = softmax_loss(states, items, targets)
    low = chunked_softmax_loss(states, items, targets, torch.bfloat16)
    # A score is a sum of 5 products of at most 9, rounded three times to 8 bits.
    torch.testing.assert_close(low, plain, rtol=0, atol=0.1)
    for got, expected in zip(
        torch.autograd.grad(low, (states, items)), torch.autograd.grad(plain, (states, items)), strict=True
    ):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, rtol=0, atol=0.02)


@given(k=st.integers(1, 99), t=st.floats(0, 1))
def test_exponent_lies_between_full_calibration_and_none(k: int, t: float) -> None:
    beta = gbce_exponent(100, k, t)
    assert k / 99 - 1e-12 <= beta <= 1 + 1e-12
    assert beta == pytest.approx(t * k / 99 + 1 - t)  # the published form, multiplied out


def test_gbce_is_the_published_formula() -> None:
    positive, negative = torch.tensor([1.5, -0.5]), torch.tensor([[0.3, -2.0], [4.0, -math.inf]])
    sigmoid = 1 / (1 + np.exp(-np.array([1.5, -0.5])))
    against = 1 / (1 + np.exp(-np.array([[0.3, -2.0], [4.0, -np.inf]])))
    expected = -(np.log(sigmoid**0.4) + np.log(1 - against).sum(1)).mean() / 3
    assert gbce_loss(positive, negative, 0.4).item() == pytest.approx(expected, rel=1e-6)


def test_full_calibration_recovers_the_probability_among_all_items() -> None:
    """With t = 1 the best score is the log odds of an item's share; without calibration it is overconfident."""
    n, k, share = 101, 10, 0.2
    for t, optimum in ((1.0, share), (0.0, share / (share + k / (n - 1) * (1 - share)))):
        score = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.LBFGS([score], max_iter=200)
        beta = gbce_exponent(n, k, t)

        def closure(score: torch.Tensor = score, beta: float = beta) -> torch.Tensor:
            # An item is the target in its share of the cases, and drawn as a negative k / (n - 1) times in the others.
            value = share * beta * torch.nn.functional.softplus(-score)
            value = value + (1 - share) * k / (n - 1) * torch.nn.functional.softplus(score)
            score.grad = torch.autograd.grad(value.sum(), score)[0]
            return value.sum()

        optimizer.step(closure)
        assert torch.sigmoid(score).item() == pytest.approx(optimum, abs=1e-3)
