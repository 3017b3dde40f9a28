# Fusion cut in two: the halves say what the whole says, and the prompt's half knows nothing of the user.

from __future__ import annotations

import itertools

import pytest
import torch

from dpr_export.fusion_parts import PromptHalf, UserHalf
from dpr_train.fusion import FusionMoE

SIZES = {"user_dim": 16, "token_dim": 24, "tag_dim": 6, "text_dim": 4, "dim": 8, "heads": 2, "reader_dim": 12}
ALL_KINDS = ("toward", "away", "toward", "away", "toward_text", "away_text", "against")


def fusion(kinds, **options) -> FusionMoE:
    torch.manual_seed(0)
    made = FusionMoE(kinds=kinds, threshold=0.4, **SIZES | options).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # some begin as zeros
            parameter += 0.3 * torch.randn_like(parameter)
        made.text_basis.normal_()
        made.text_mean.normal_(std=0.1)
    return made


def feeds(batch: int = 5, length: int = 7, tags: int = 9) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    mask = (torch.arange(length) < torch.randint(1, length + 1, (batch, 1))).long()
    wish = torch.rand(batch, tags, 2) * torch.randint(0, 2, (batch, 1, 2))
    return torch.randn(batch, 16), torch.randn(batch, length, 24), mask, wish, torch.randn(tags, 10)


@pytest.mark.parametrize("kinds", [ALL_KINDS, ("toward", "away"), ("away_text",)])
@pytest.mark.parametrize(
    ("separate", "learned_gates", "token_attention"), list(itertools.product((True, False), repeat=3))
)
@torch.no_grad()
def test_the_halves_are_the_whole(kinds, separate, learned_gates, token_attention):
    made = fusion(kinds, separate=separate, learned_gates=learned_gates, token_attention=token_attention)
    user, tokens, mask, wish, vectors = feeds()
    experts, gates = made(user, tokens, mask, wish, vectors)
    keys, values, *share = PromptHalf(made)(tokens, mask, wish, vectors)
    got_experts, got_gates = UserHalf(made)(user, keys, values, mask, *share)
    assert torch.allclose(got_experts, experts, rtol=0, atol=1e-5 * experts.abs().max().item())
    assert torch.allclose(got_gates, gates, rtol=0, atol=1e-5)
    assert ((got_gates == 0) == (gates == 0)).all()  # closed means exactly 0
    assert (gates > 0).any()
    assert (gates == 0).any() or kinds == ("away_text",)  # random tokens always wish for something


@torch.no_grad()
def test_one_prompt_serves_many_users():
    made = fusion(ALL_KINDS)
    user, tokens, mask, wish, vectors = feeds()
    alone = [tensor[:1] for tensor in (tokens, mask, wish)]
    share = PromptHalf(made)(*alone, vectors)
    everybody = [part.expand(len(user), *part.shape[1:]) for part in share]
    many = [tensor.expand(len(user), *tensor.shape[1:]) for tensor in alone]
    experts, gates = made(user, *many, vectors)
    keys, values, *rest = everybody
    got_experts, got_gates = UserHalf(made)(user, keys, values, many[1], *rest)
    assert torch.allclose(got_experts, experts, rtol=0, atol=1e-5 * experts.abs().max().item())
    assert torch.allclose(got_gates, gates, rtol=0, atol=1e-5)
