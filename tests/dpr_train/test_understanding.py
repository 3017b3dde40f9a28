# The head that reads wishes: promises that hold for any weights.

from __future__ import annotations

import pytest
import torch

from dpr_train.understanding import ASKED, NO_WISH, REFUSED, TextReader, Understanding, UnderstandingHead

P, DIM, BATCH, LENGTH, TAGS = 12, 16, 4, 6, 5

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture
def head() -> UnderstandingHead:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        made = UnderstandingHead(P, DIM)
        for parameter in made.parameters():  # both matches begin alike; trained ones don't stay so
            parameter.data.add_(0.3 * torch.randn_like(parameter))
        made.match_bias.data.fill_(-1.0)
    return made.eval()


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(BATCH, LENGTH, P, generator=generator)
    mask = torch.ones(BATCH, LENGTH, dtype=torch.int64)
    mask[1, 4:] = 0
    mask[2, 1:] = 0
    return tokens, mask, torch.randn(TAGS, P, generator=generator)


@torch.no_grad()
def test_shapes_and_range(head: UnderstandingHead, batch: Batch) -> None:
    understood = head(*batch)
    wish, released = understood.wish, understood.released
    assert understood.match.shape == (BATCH, TAGS, LENGTH)
    assert understood.presence.shape == released.shape == (BATCH, TAGS)
    assert understood.roles.shape == (BATCH, LENGTH, 3)
    assert understood.polarity.shape == (BATCH, TAGS, 3)
    assert wish.shape == (BATCH, TAGS, 2)
    assert ((wish >= 0) & (wish <= 1) & (released[..., None] >= 0)).all()
    # All roles share one presence: a tag can't be wholly asked for and wholly refused, or wholly let go.
    torch.testing.assert_close(wish.sum(-1) + released, torch.sigmoid(understood.presence))
    torch.testing.assert_close(understood.polarity.sum(-1), torch.ones(BATCH, TAGS))


def test_wishes_by_class() -> None:
    polarity = torch.zeros(1, 3, 3)
    polarity[0, 0, NO_WISH] = polarity[0, 1, ASKED] = polarity[0, 2, REFUSED] = 1
    said = Understanding(torch.zeros(1, 3, 1), torch.full((1, 3), 50.0), torch.zeros(1, 1, 3), polarity)
    assert said.wish.tolist() == [[[0, 0], [1, 0], [0, 1]]]
    assert said.released.tolist() == [[1, 0, 0]]


@torch.no_grad()
def test_a_tags_polarity_is_the_class_of_the_tokens_that_name_it(
    head: UnderstandingHead, batch: Batch
) -> None:
    tokens, _, tags = batch
    mask = torch.ones(BATCH, LENGTH, dtype=torch.int64)
    head.match_scale.fill_(1e4)  # matches as sharp as they get
    understood = head(tokens, mask, tags)
    named_by = understood.match.argmax(-1)  # (B, G)
    classes = torch.softmax(understood.roles, dim=-1)
    expected = classes.gather(1, named_by[..., None].expand(-1, -1, 3))
    torch.testing.assert_close(understood.polarity, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(understood.presence, understood.match.amax(-1), rtol=1e-4, atol=1e-2)


@torch.no_grad()
def test_padding_changes_no_wish(head: UnderstandingHead, batch: Batch) -> None:
    tokens, mask, tags = batch
    plain = head(tokens, mask, tags)
    noisy = torch.cat([tokens, 50 * torch.randn(BATCH, 5, P)], dim=1)
    longer = torch.cat([mask, torch.zeros(BATCH, 5, dtype=torch.int64)], dim=1)
    padded = head(noisy, longer, tags)
    torch.testing.assert_close(padded.wish, plain.wish, rtol=0, atol=1e-6)
    torch.testing.assert_close(padded.released, plain.released, rtol=0, atol=1e-6)
    for row in range(BATCH):
        length = int(mask[row].sum())
        alone = head(tokens[row : row + 1, :length], mask[row : row + 1, :length], tags).wish[0]
        torch.testing.assert_close(alone, plain.wish[row], rtol=0, atol=1e-6)


@torch.no_grad()
def test_tags_do_not_see_each_other(head: UnderstandingHead, batch: Batch) -> None:
    tokens, mask, tags = batch
    wish = head(tokens, mask, tags).wish
    for g in range(TAGS):
        alone = head(tokens, mask, tags[g : g + 1]).wish[:, 0]
        torch.testing.assert_close(alone, wish[:, g], rtol=0, atol=1e-6)
    order = torch.randperm(TAGS)
    torch.testing.assert_close(head(tokens, mask, tags[order]).wish, wish[:, order], rtol=0, atol=1e-6)
    assert head(tokens, mask, tags[:0]).wish.shape == (BATCH, 0, 2)


@torch.no_grad()
def test_tokens_count_and_matching_goes_by_direction(head: UnderstandingHead, batch: Batch) -> None:
    tokens, mask, tags = batch
    wish = head(tokens, mask, tags).wish
    assert (wish[0] - wish[3]).abs().max() > 1e-3
    # Matching is by direction; a token's class is not.
    longer = head(2 * tokens, mask, tags)
    torch.testing.assert_close(longer.match, head(tokens, mask, tags).match)
    assert (longer.roles - head(tokens, mask, tags).roles).abs().max() > 1e-3


def test_an_untrained_head_finds_nothing_but_what_is_named_alike() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = UnderstandingHead(P, DIM)
    tags = torch.eye(P)[:3]
    tokens = torch.stack([5 * tags[1], torch.eye(P)[8], torch.eye(P)[9]])[None]
    presence = torch.sigmoid(head(tokens, torch.ones(1, 3, dtype=torch.int64), tags).presence)[0]
    assert presence[1] > 0.99
    assert presence[[0, 2]].max() < 0.01


@pytest.fixture
def reader(head: UnderstandingHead) -> TextReader:
    return head.reader


@torch.no_grad()
def test_the_reader_weighs_tokens_by_their_class(reader: TextReader, batch: Batch) -> None:
    tokens, mask, _ = batch
    content, strength = reader(tokens, mask)
    classes = torch.softmax(reader.roles(tokens), dim=-1) * mask[..., None]
    assert content.shape == (BATCH, 2, P)
    torch.testing.assert_close(content.norm(dim=-1), torch.ones(BATCH, 2))
    for role, name in ((0, ASKED), (1, REFUSED)):
        torch.testing.assert_close(strength[:, role], classes[..., name].amax(1))
        weighed = (classes[..., name, None] * reader.content(tokens)).sum(1)
        torch.testing.assert_close(content[:, role], weighed / weighed.norm(dim=-1, keepdim=True))


@torch.no_grad()
def test_the_reader_reads_no_padding(reader: TextReader, batch: Batch) -> None:
    tokens, mask, _ = batch
    noisy = torch.cat([tokens, 50 * torch.randn(BATCH, 5, P)], dim=1)
    longer = torch.cat([mask, torch.zeros(BATCH, 5, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(reader(noisy, longer), reader(tokens, mask), rtol=0, atol=1e-6)


def test_the_reader_begins_with_what_the_encoder_says() -> None:
    reader = TextReader(P, DIM)
    tokens = torch.randn(2, 3, P)
    torch.testing.assert_close(reader.content(tokens), tokens)
