# The head that reads wishes: promises that hold for any weights.

from __future__ import annotations

import pytest
import torch

from dpr_train.understanding import UnderstandingHead

P, DIM, REACH, BATCH, LENGTH, TAGS = 12, 16, 3, 4, 6, 5


@pytest.fixture
def head() -> UnderstandingHead:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        made = UnderstandingHead(P, DIM, REACH)
        for parameter in made.parameters():  # the distance bias starts at 0 and would hide what it does
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(BATCH, LENGTH, P, generator=generator)
    mask = torch.ones(BATCH, LENGTH, dtype=torch.int64)
    mask[1, 4:] = 0
    mask[2, 1:] = 0
    return tokens, mask, torch.randn(TAGS, P, generator=generator)


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@torch.no_grad()
def test_shapes_and_range(head: UnderstandingHead, batch: Batch) -> None:
    understanding = head(*batch)
    wish = understanding.wish
    assert understanding.match.shape == (BATCH, TAGS, LENGTH)
    assert understanding.presence.shape == understanding.polarity.shape == (BATCH, TAGS)
    assert wish.shape == (BATCH, TAGS, 2)
    assert ((wish >= 0) & (wish <= 1)).all()
    # Both sides share one presence: a tag can't be wholly asked for and wholly refused.
    torch.testing.assert_close(wish.sum(-1), torch.sigmoid(understanding.presence))


@torch.no_grad()
def test_padding_changes_no_wish(head: UnderstandingHead, batch: Batch) -> None:
    tokens, mask, tags = batch
    wish = head(tokens, mask, tags).wish
    noisy = torch.cat([tokens, 50 * torch.randn(BATCH, 5, P)], dim=1)
    longer = torch.cat([mask, torch.zeros(BATCH, 5, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(head(noisy, longer, tags).wish, wish, rtol=0, atol=1e-6)
    for row in range(BATCH):
        length = int(mask[row].sum())
        alone = head(tokens[row : row + 1, :length], mask[row : row + 1, :length], tags).wish[0]
        torch.testing.assert_close(alone, wish[row], rtol=0, atol=1e-6)


@torch.no_grad()
def test_tags_do_not_see_each_other(head: UnderstandingHead, batch: Batch) -> None:
    tokens, mask, tags = batch
    wish = head(tokens, mask, tags).wish
    for g in range(TAGS):
        torch.testing.assert_close(
            head(tokens, mask, tags[g : g + 1]).wish[:, 0], wish[:, g], rtol=0, atol=1e-6
        )
    order = torch.randperm(TAGS)
    torch.testing.assert_close(head(tokens, mask, tags[order]).wish, wish[:, order], rtol=0, atol=1e-6)


@torch.no_grad()
def test_tokens_and_their_order_count(head: UnderstandingHead, batch: Batch) -> None:
    tokens, mask, tags = batch
    wish = head(tokens, mask, tags).wish
    assert (head(tokens.flip(1), torch.ones_like(mask), tags).wish[0] - wish[0]).abs().max() > 1e-4
    assert (wish[0] - wish[3]).abs().max() > 1e-3
