# Gates and vectors of the experts, for any number of tags and any kinds.

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dpr_train.fusion import EXPERT_ROLES, FusionMoE
from dpr_train.understanding import ASKED, NO_WISH, REFUSED

DC, P, TAG, TEXT, BATCH, LENGTH = 6, 10, 5, 3, 7, 4
DW = TAG + TEXT
THRESHOLD = 0.2
ALL = ("toward", "toward", "away", "away", "toward_text", "away_text")


def make(kinds: tuple[str, ...], **options: Any) -> FusionMoE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fusion = FusionMoE(
            user_dim=DC, token_dim=P, tag_dim=TAG, text_dim=TEXT, dim=8, heads=2,
            kinds=kinds, threshold=THRESHOLD, reader_dim=8, **options,
        )  # fmt: skip
        for parameter in fusion.parameters():  # away from the start, where collaborative parts are 0
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        fusion.text_basis.copy_(torch.linalg.qr(torch.randn(P, TEXT)).Q)
        fusion.text_mean.copy_(0.1 * torch.randn(P))
    return fusion.eval()


def listen(fusion: FusionMoE, asked: float, refused: float) -> None:
    """Make the text reader say the same of every token."""
    last = fusion.reader.role[-1]
    last.weight.data.zero_()
    for name, share in ((NO_WISH, 1 - asked - refused), (ASKED, asked), (REFUSED, refused)):
        last.bias.data[name] = torch.tensor(share).log()


def vectors(n_tags: int, generator: torch.Generator) -> Tensor:
    return torch.cat([torch.randn(n_tags, TAG, generator=generator), torch.zeros(n_tags, TEXT)], dim=1)


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
        vectors(n_tags, generator),
    )


def wishes(*strengths: float, refused: bool = False) -> Tensor:
    """The same wishes of one polarity for the whole batch, a strength a tag."""
    wish = torch.zeros(BATCH, len(strengths), 2)
    wish[:, :, int(refused)] = torch.tensor(strengths)
    return wish


@pytest.mark.parametrize(
    "kinds", [("toward", "away"), ALL, ("away", "toward", "against", "away"), ("away_text",)]
)
@pytest.mark.parametrize("n_tags", [1, 3, 70])
@pytest.mark.parametrize("separate", [True, False])
@torch.no_grad()
def test_shapes_and_roles(kinds: tuple[str, ...], n_tags: int, separate: bool) -> None:
    fusion = make(kinds, separate=separate)
    assert fusion.roles == tuple(EXPERT_ROLES[kind] for kind in kinds)
    experts, gates = fusion(*inputs(n_tags))
    assert experts.shape == (BATCH, len(kinds), DC + DW)
    assert gates.shape == (BATCH, len(kinds))
    assert ((gates >= 0) & (gates <= 1)).all()
    assert torch.isfinite(experts).all()
    for e, kind in enumerate(kinds):  # an expert moves in its own part of a side vector
        text = kind.endswith("_text")
        empty = experts[:, e, DC : DC + TAG] if text else experts[:, e, DC + TAG :]
        assert (empty == 0).all()


@pytest.mark.parametrize("level", [0.0, 0.1, THRESHOLD])
@torch.no_grad()
def test_gates_of_a_neutral_prompt_are_exactly_zero(level: float) -> None:
    fusion = make(ALL)
    listen(fusion, 0.99 * level, 0.99 * level)  # softmax rounds
    experts, gates = fusion(*inputs(3, torch.full((BATCH, 3, 2), level)))
    assert (gates == 0).all()
    assert torch.isfinite(experts).all()


@torch.no_grad()
def test_one_refusal_opens_one_gate() -> None:
    fusion = make(ALL)
    listen(fusion, 0.1, 0.1)
    wish = torch.full((BATCH, 3, 2), 0.1)
    wish[:, 1, 1] = 0.9
    _, gates = fusion(*inputs(3, wish))
    opened = torch.tensor([kind == "away" for kind in ALL]) & (torch.arange(len(ALL)) == ALL.index("away"))
    assert (gates[:, opened] > 0).all()
    assert (gates[:, ~opened] == 0).all()


@torch.no_grad()
def test_the_strongest_wish_goes_to_the_first_expert_and_the_next_to_the_second() -> None:
    fusion = make(("toward", "away", "toward", "toward"), learned_gates=False)
    user, tokens, mask, _, sides = inputs(4)
    _, gates = fusion(user, tokens, mask, wishes(0.3, 0.9, 0.0, 0.6), sides)
    expected = (torch.tensor([0.9, 0.0, 0.6, 0.3]) - THRESHOLD).clamp(min=0) / (1 - THRESHOLD)
    torch.testing.assert_close(gates, expected.expand(BATCH, -1))
    # Each points where its own tag lies: alone, that wish gives the same direction.
    experts, _ = fusion(user, tokens, mask, wishes(0.3, 0.9, 0.0, 0.6), sides)
    for e, tag in ((0, 1), (2, 3), (3, 0)):
        along = experts[:, e, DC : DC + TAG]
        gain = (along @ sides[tag, :TAG]) / (sides[tag, :TAG] @ sides[tag, :TAG])
        assert (gain > 0).all()
        torch.testing.assert_close(along, gain[:, None] * sides[tag, :TAG])


@torch.no_grad()
def test_the_last_expert_takes_what_is_left() -> None:
    fusion = make(("away", "away"), learned_gates=False)
    user, tokens, mask, _, sides = inputs(3)
    experts, gates = fusion(user, tokens, mask, wishes(0.4, 0.6, 1.0, refused=True), sides)
    torch.testing.assert_close(gates, torch.tensor([1.0, 0.5]).expand(BATCH, -1))
    # 0.6 and 0.4 are 0.5 and 0.25 above the threshold: half as much of the weaker one.
    mixed = sides[1, :TAG] + 0.5 * sides[0, :TAG]
    along = experts[:, 1, DC : DC + TAG]
    cosine = torch.nn.functional.cosine_similarity(along, mixed.expand(BATCH, -1))
    torch.testing.assert_close(cosine, torch.ones(BATCH))


@torch.no_grad()
def test_equal_wishes_are_dealt_to_two_experts() -> None:
    fusion = make(("toward", "toward"), learned_gates=False)
    user, tokens, mask, _, sides = inputs(2)
    experts, gates = fusion(user, tokens, mask, wishes(0.7, 0.7), sides)
    torch.testing.assert_close(gates[:, 0], gates[:, 1])
    assert (experts[:, 0] - experts[:, 1]).abs().max() > 0.1


@torch.no_grad()
def test_a_learned_gate_is_a_share_of_the_wish() -> None:
    user, tokens, mask, wish, sides = inputs(3)
    _, plain = make(("toward", "away"), learned_gates=False)(user, tokens, mask, wish, sides)
    _, learned = make(("toward", "away"))(user, tokens, mask, wish, sides)
    opened = plain > 0
    assert opened.any()
    assert (learned[opened] < plain[opened]).all()
    assert (learned[opened] > 0).all()
    assert (learned[~opened] == 0).all()


@torch.no_grad()
def test_against_turns_the_query_away_from_what_is_refused() -> None:
    fusion = make(("against", "toward"))
    user, tokens, mask, _, sides = inputs(3)
    experts, gates = fusion(user, tokens, mask, wishes(0.0, 0.9, 0.0, refused=True), sides)
    assert (experts[:, 0, DC : DC + TAG] @ sides[1, :TAG] < 0).all()
    assert (gates[:, 0] > 0).all()
    assert (gates[:, 1] == 0).all()


@torch.no_grad()
def test_a_text_expert_opens_when_it_is_sure() -> None:
    fusion = make(("toward_text", "away_text"))
    arguments = inputs(3, torch.zeros(BATCH, 3, 2))
    listen(fusion, 0.39, 0.6)
    _, gates = fusion(*arguments)
    assert (gates[:, 0] == 0).all()
    assert (gates[:, 1] > 0).all()
    listen(fusion, 0.7, 0.2)
    _, gates = fusion(*arguments)
    assert (gates[:, 0] > 0).all()
    assert (gates[:, 1] == 0).all()
    # From one half on, in proportion; a wish about a tag opens at the threshold, which is lower.
    fusion.learned_gates = False
    for sure, gate in ((0.3, 0.0), (0.499, 0.0), (0.75, 0.5), (0.998, 0.996)):
        listen(fusion, sure, 0.001)
        _, gates = fusion(*arguments)
        torch.testing.assert_close(gates, torch.tensor([gate, 0.0]).expand(BATCH, -1), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_text_expert_points_at_the_content_among_items_texts() -> None:
    fusion = make(("toward_text",))
    user, tokens, mask, wish, sides = inputs(3)
    experts, _ = fusion(user, tokens, mask, wish, sides)
    content, _ = fusion.reader(tokens, mask)
    place = (content[:, 0] - fusion.text_mean) @ fusion.text_basis
    cosine = torch.nn.functional.cosine_similarity(experts[:, 0, DC + TAG :], place)
    torch.testing.assert_close(cosine, torch.ones(BATCH))


@torch.no_grad()
def test_no_parameter_belongs_to_a_tag() -> None:
    fusion = make(ALL)
    user, tokens, mask, wish, sides = inputs(5)
    experts, gates = fusion(user, tokens, mask, wish, sides)
    order = torch.tensor([3, 0, 4, 1, 2])
    again = fusion(user, tokens, mask, wish[:, order], sides[order])
    torch.testing.assert_close(again, (experts, gates))
    # Tags that nobody wishes for change nothing, however many there are.
    more_wishes = torch.cat([wish, torch.zeros(BATCH, 40, 2)], 1)
    more_sides = torch.cat([sides, vectors(40, torch.Generator().manual_seed(1))])
    more = fusion(user, tokens, mask, more_wishes, more_sides)
    torch.testing.assert_close(more, (experts, gates))


@torch.no_grad()
def test_padding_of_the_prompt_changes_nothing() -> None:
    fusion = make(ALL)
    user, tokens, mask, wish, sides = inputs(3)
    noisy = torch.cat([tokens, 100 * torch.randn(BATCH, 3, P)], dim=1)
    longer = torch.cat([mask, torch.zeros(BATCH, 3, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(
        fusion(user, noisy, longer, wish, sides), fusion(user, tokens, mask, wish, sides)
    )


@torch.no_grad()
def test_users_and_tokens_reach_the_vectors() -> None:
    fusion = make(("toward", "away"))
    user, tokens, mask, wish, sides = inputs(3)
    base, _ = fusion(user, tokens, mask, wish, sides)
    assert (fusion(user + 1, tokens, mask, wish, sides)[0] - base).abs().max() > 1e-3
    assert (fusion(user, tokens.flip(2), mask, wish, sides)[0] - base).abs().max() > 1e-3


@torch.no_grad()
def test_without_attention_tokens_reach_nothing_but_through_wishes() -> None:
    fusion = make(("toward", "away"), token_attention=False)
    user, tokens, mask, wish, sides = inputs(3)
    base = fusion(user, tokens, mask, wish, sides)
    torch.testing.assert_close(fusion(user, tokens.flip(2), mask, wish, sides), base, rtol=0, atol=0)
    assert (fusion(user, tokens, mask, wish.flip(1), sides)[0] - base[0]).abs().max() > 1e-3


def test_kinds_share_weights_unless_told_apart() -> None:
    kinds = ("toward", "toward", "away", "against", "toward_text", "away_text")
    assert set(make(kinds).experts) == set(kinds)
    assert set(make(kinds, separate=False).experts) == {"toward", "toward_text"}


@pytest.mark.parametrize("kinds", [("toward", "away"), ALL])
def test_batch_and_number_of_tags_stay_free_when_exported(kinds: tuple[str, ...]) -> None:
    fusion = make(kinds)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = (
        {0: dynamic},
        {0: dynamic, 1: dynamic},
        {0: dynamic, 1: dynamic},
        {0: dynamic, 1: dynamic},
        {0: dynamic},
    )
    exported = torch.export.export(fusion, inputs(5), dynamic_shapes=shapes).module()
    for n_tags in (1, 2, 70):
        user, tokens, mask, wish, sides = inputs(n_tags)
        for rows in (1, 4):
            arguments = (user[:rows], tokens[:rows, :3], mask[:rows, :3], wish[:rows], sides)
            torch.testing.assert_close(exported(*arguments), fusion(*arguments), rtol=0, atol=1e-5)
