# The cheaper dropout against what dropout is.

from __future__ import annotations

import pytest
import torch

from dpr_train.backbones.dropout import QuickDropout, make_dropout, quick_dropout

DRAWS = 400_000


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.97])
def test_share_and_mean_are_those_of_dropout(p: float) -> None:
    torch.manual_seed(0)
    out = quick_dropout(torch.ones(DRAWS), p)
    share = round(p * 256) / 256
    # Five standard deviations of a binomial count.
    bound = 5 * (share * (1 - share) / DRAWS) ** 0.5
    assert abs((out == 0).double().mean().item() - share) < bound
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 1 / (1 - share)))
    assert abs(share - p) <= 1 / 512


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 8)])
def test_elements_are_drawn_apart(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    drawn = torch.stack([quick_dropout(torch.ones(shape), 0.5).flatten() != 0 for _ in range(400)])
    assert drawn.double().mean(0).sub(0.5).abs().max() < 0.15
    for first in range(drawn.shape[1]):
        for second in range(first):
            assert (drawn[:, first] == drawn[:, second]).double().mean().sub(0.5).abs() < 0.17


def test_gradients_pass_where_values_do() -> None:
    x = torch.randn(50, requires_grad=True)
    out = quick_dropout(x, 0.5)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 2.0))


def test_nothing_is_dropped_in_evaluation_or_without_a_rate() -> None:
    x = torch.randn(40)
    assert torch.equal(QuickDropout(0.5).eval()(x), x)
    assert torch.equal(QuickDropout(0.0)(x), x)
    assert (QuickDropout(0.5)(x) == 0).any()


def test_types_are_kept_and_the_seed_decides() -> None:
    x = torch.ones(33, dtype=torch.bfloat16)
    torch.manual_seed(3)
    one = quick_dropout(x, 0.3)
    torch.manual_seed(3)
    assert one.dtype == torch.bfloat16
    assert torch.equal(one, quick_dropout(x, 0.3))


def test_the_kind_is_chosen() -> None:
    assert isinstance(make_dropout(0.2, quick=True), QuickDropout)
    assert isinstance(make_dropout(0.2, quick=False), torch.nn.Dropout)
