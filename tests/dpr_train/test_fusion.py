# Gates and vectors of the experts, for any number of tags and any roles.

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpr_train.fusion import FusionMoE

DC, P, DW, BATCH, LENGTH = 6, 10, 5, 7, 4
THRESHOLD = 0.2


def make(roles: tuple[str, ...]) -> FusionMoE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fusion = FusionMoE(
            user_dim=DC, token_dim=P, side_dim=DW, dim=8, heads=2, roles=roles, threshold=THRESHOLD
        )
        for parameter in fusion.parameters():  # away from the start, where collaborative parts are 0
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    return fusion.eval()


def inputs(n_tags: int, wish: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_tags)
    mask = torch.ones(BATCH, LENGTH, dtype=torch.int64)
    mask[0, 2:] = 0
    drawn = torch.rand(BATCH, n_tags, 2, generator=generator)
    return (
        torch.randn(BATCH, DC, generator=generator),
        torch.randn(BATCH, LENGTH, P, generator=generator),
        mask,
        drawn if wish is None else wish,
        torch.randn(n_tags, DW, generator=generator),
    )


@pytest.mark.parametrize("roles", [("toward", "away"), ("away", "toward", "away", "toward"), ("away",)])
@pytest.mark.parametrize("n_tags", [1, 3, 70])
@torch.no_grad()
def test_gates_of_a_role_sum_to_its_strongest_wish(roles: tuple[str, ...], n_tags: int) -> None:
    user, tokens, mask, wish, vectors = inputs(n_tags)
    experts, gates = make(roles)(user, tokens, mask, wish, vectors)
    assert experts.shape == (BATCH, len(roles), DC + DW)
    assert gates.shape == (BATCH, len(roles))
    assert (gates >= 0).all()
    for column, role in enumerate(("toward", "away")):
        members = [e for e, r in enumerate(roles) if r == role]
        if members:
            strongest = ((wish[:, :, column] - THRESHOLD).clamp(min=0) / (1 - THRESHOLD)).amax(1)
            torch.testing.assert_close(gates[:, members].sum(1), strongest)


@pytest.mark.parametrize("level", [0.0, 0.1, THRESHOLD])
@torch.no_grad()
def test_gates_are_exactly_zero_up_to_the_threshold(level: float) -> None:
    wish = torch.full((BATCH, 3, 2), level)
    experts, gates = make(("toward", "away", "away"))(*inputs(3, wish))
    assert (gates == 0).all()
    assert torch.isfinite(experts).all()
    wish[:, 1, 1] = 0.9
    _, gates = make(("toward", "away", "away"))(*inputs(3, wish))
    assert (gates[:, 0] == 0).all()
    assert (gates[:, 1:] > 0).all()


@torch.no_grad()
def test_no_parameter_belongs_to_a_tag() -> None:
    fusion = make(("toward", "away"))
    user, tokens, mask, wish, vectors = inputs(5)
    experts, gates = fusion(user, tokens, mask, wish, vectors)
    order = torch.tensor([3, 0, 4, 1, 2])
    again = fusion(user, tokens, mask, wish[:, order], vectors[order])
    torch.testing.assert_close(again, (experts, gates))
    # Tags that nobody wishes for change nothing, however many there are.
    unwished = torch.zeros(BATCH, 40, 2)
    more = fusion(
        user, tokens, mask, torch.cat([wish, unwished], 1), torch.cat([vectors, torch.randn(40, DW)])
    )
    torch.testing.assert_close(more, (experts, gates))


@torch.no_grad()
def test_padding_of_the_prompt_changes_nothing() -> None:
    fusion = make(("toward", "away"))
    user, tokens, mask, wish, vectors = inputs(3)
    noisy = torch.cat([tokens, 100 * torch.randn(BATCH, 3, P)], dim=1)
    longer = torch.cat([mask, torch.zeros(BATCH, 3, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(
        fusion(user, noisy, longer, wish, vectors), fusion(user, tokens, mask, wish, vectors)
    )


@torch.no_grad()
def test_a_vector_depends_on_what_is_wished_and_not_on_how_much() -> None:
    fusion = make(("toward", "away"))
    weak, strong = torch.zeros(BATCH, 3, 2), torch.zeros(BATCH, 3, 2)
    weak[:, 1, 0], strong[:, 1, 0] = 0.4, 0.8
    vectors_weak, gates_weak = fusion(*inputs(3, weak))
    vectors_strong, gates_strong = fusion(*inputs(3, strong))
    torch.testing.assert_close(vectors_weak, vectors_strong)
    torch.testing.assert_close(gates_strong[:, 0], 3 * gates_weak[:, 0])  # (0.8 - 0.2) / (0.4 - 0.2)
    other = torch.zeros(BATCH, 3, 2)
    other[:, 2, 0] = 0.8
    assert (fusion(*inputs(3, other))[0][:, 0] - vectors_strong[:, 0]).abs().max() > 0.1


@torch.no_grad()
def test_users_and_tokens_reach_the_vectors() -> None:
    fusion = make(("toward", "away"))
    user, tokens, mask, wish, vectors = inputs(3)
    base, _ = fusion(user, tokens, mask, wish, vectors)
    assert (fusion(user + 1, tokens, mask, wish, vectors)[0] - base).abs().max() > 1e-3
    assert (fusion(user, tokens.flip(2), mask, wish, vectors)[0] - base).abs().max() > 1e-3
