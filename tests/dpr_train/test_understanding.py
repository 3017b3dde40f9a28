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
    said = Understanding(
        match=torch.zeros(1, 3, 1),
        presence=torch.full((1, 3), 50.0),
        roles=torch.zeros(1, 1, 3),
        polarity=polarity,
        real=torch.ones(1, 1),
        lift_above=torch.tensor(1e4),
    )
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


def heard(
    tokens: list[tuple[int, dict[int, float]]], *, tags: int = 3, lift_above: float, padding: int = 0
) -> Understanding:
    """One prompt, by hand: each token's class, and its match with some tags; it names all others not at all."""
    match = torch.full((1, tags, len(tokens)), -12.0)
    roles = torch.full((1, len(tokens), 3), -8.0)
    for t, (role, named) in enumerate(tokens):
        roles[0, t, role] = 8.0
        for tag, logit in named.items():
            match[0, tag, t] = logit
    real = torch.ones(1, len(tokens))
    if padding:
        real[:, -padding:] = 0
        match[:, :, -padding:] = -1e4
    where = torch.softmax(match, dim=-1)
    return Understanding(
        match=match,
        presence=(where * match).sum(-1),
        roles=roles,
        polarity=torch.matmul(where, torch.softmax(roles, dim=-1)),
        real=real,
        lift_above=torch.tensor(lift_above),
    )


def wishes(understood: Understanding) -> list[tuple[set[int], set[int]]]:
    """Of each prompt the tags that are asked for and those that are refused."""
    found = [[set(torch.nonzero(w[:, c] >= 0.5)[:, 0].tolist()) for c in (0, 1)] for w in understood.wish]
    return [(asked, refused) for asked, refused in found]


@pytest.mark.parametrize("role", [ASKED, REFUSED])
def test_a_wish_that_names_no_tag_is_read_as_the_nearest_one(role: int) -> None:
    tokens = [(NO_WISH, {0: -1.0}), (role, {1: -3.0, 2: -6.0})]
    asked_or_refused = ({1}, set()) if role == ASKED else (set(), {1})
    assert wishes(heard(tokens, lift_above=-4.0)) == [asked_or_refused]
    # As strong as the class of the token that carries it; the others are left as they were.
    lifted, plain = heard(tokens, lift_above=-4.0).wish, heard(tokens, lift_above=1e4).wish
    sure = torch.softmax(torch.tensor([8.0, -8.0, -8.0]), dim=0)[0]
    torch.testing.assert_close(lifted[0, 1, role - ASKED], sure)
    changed = lifted != plain
    assert changed.sum() == 1
    assert changed[0, 1, role - ASKED]


def test_a_wish_too_far_from_every_tag_is_not_lifted() -> None:
    tokens = [(ASKED, {1: -3.0, 2: -6.0})]
    assert wishes(heard(tokens, lift_above=-3.5)) == [({1}, set())]
    for above in (-2.5, 1e4):
        assert wishes(heard(tokens, lift_above=above)) == [(set(), set())]
        assert torch.equal(heard(tokens, lift_above=above).wish, heard(tokens, lift_above=1e4).wish)


def test_nothing_is_lifted_beside_a_tag_that_is_present_with_that_polarity() -> None:
    # "comedies, and something faintly like horror": the first is heard, and it stays at that.
    both = [(ASKED, {0: 9.0}), (ASKED, {1: -1.0})]
    assert wishes(heard(both, lift_above=-4.0)) == [({0}, set())]
    assert torch.equal(heard(both, lift_above=-4.0).wish, heard(both, lift_above=1e4).wish)
    # The other polarity is another matter.
    assert wishes(heard([(ASKED, {0: 9.0}), (REFUSED, {1: -1.0})], lift_above=-4.0)) == [({0}, {1})]


def test_a_tag_wished_for_is_never_lifted_to_its_opposite() -> None:
    # Tag 0 is asked for by name; what is refused comes nearest to it, too.
    tokens = [(ASKED, {0: 9.0}), (REFUSED, {0: -1.0, 1: -3.0})]
    understood = heard(tokens, lift_above=-4.0)
    assert wishes(understood) == [({0}, set())]
    assert torch.equal(understood.wish, heard(tokens, lift_above=1e4).wish)


def test_a_tag_that_is_nearest_to_a_request_and_to_a_refusal_is_lifted_to_neither() -> None:
    both = [(ASKED, {0: -2.0, 1: -3.0}), (REFUSED, {0: -1.0, 2: -3.0})]
    understood = heard(both, lift_above=-4.0)
    assert wishes(understood) == [(set(), set())]
    assert torch.equal(understood.wish, heard(both, lift_above=1e4).wish)
    # One of them alone is lifted, and so are both if they are nearest to different tags, or only one is near enough.
    assert wishes(heard(both[:1], lift_above=-4.0)) == [({0}, set())]
    apart = [(ASKED, {0: -2.0, 1: -3.0}), (REFUSED, {0: -3.0, 2: -1.0})]
    assert wishes(heard(apart, lift_above=-4.0)) == [({0}, {2})]
    assert wishes(heard(both, lift_above=-1.5)) == [(set(), {0})]


def test_nothing_is_lifted_without_a_token_that_carries_a_wish() -> None:
    assert wishes(heard([(NO_WISH, {1: -1.0})], lift_above=-4.0)) == [(set(), set())]
    padded = [(NO_WISH, {}), (ASKED, {1: -1.0})]
    assert wishes(heard(padded, lift_above=-4.0)) == [({1}, set())]
    assert wishes(heard(padded, lift_above=-4.0, padding=1)) == [(set(), set())]


@torch.no_grad()
def test_the_head_lifts_from_its_own_threshold_on(head: UnderstandingHead, batch: Batch) -> None:
    assert head(*batch).lift_above == 1e4  # until it is chosen
    head.match_bias.fill_(-30.0)  # no tag is present
    head.reader.role[-1].bias.copy_(torch.tensor([0.0, 9.0, 0.0]))  # every token asks
    assert wishes(head(*batch)) == [(set(), set())] * BATCH
    head.lift_above.fill_(-1e3)
    understood = head(*batch)
    nearest = (
        (understood.match + torch.log_softmax(understood.roles, -1)[:, None, :, ASKED]).amax(-1).argmax(1)
    )
    assert wishes(understood) == [({int(tag)}, set()) for tag in nearest]
    again = UnderstandingHead(P, DIM)
    again.load_state_dict(head.state_dict())
    assert again.lift_above == -1e3


@torch.no_grad()
def test_what_is_exported_lifts_as_the_head_does(head: UnderstandingHead, batch: Batch) -> None:
    class Wish(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, *arguments: torch.Tensor) -> torch.Tensor:
            return self.head(*arguments).wish

    head.match_bias.fill_(-12.0)
    head.reader.role[-1].weight.mul_(8.0)  # classes are clear
    unlifted = head(*batch).wish
    head.lift_above.fill_(-16.0)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = (({0: dynamic, 1: dynamic}, {0: dynamic, 1: dynamic}, {0: dynamic}),)
    exported = torch.export.export(Wish().eval(), batch, dynamic_shapes=shapes).module()
    assert (head(*batch).wish - unlifted).amax() > 0.4
    tokens, mask, tags = batch
    for rows in ([0, 1, 2, 3], [2, 0]):
        for some in (tags, tags[:1], torch.cat([tags, -tags, 2 * tags[:3] + 1])):
            arguments = tokens[rows], mask[rows], some
            torch.testing.assert_close(exported(*arguments), head(*arguments).wish, rtol=0, atol=1e-5)


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
