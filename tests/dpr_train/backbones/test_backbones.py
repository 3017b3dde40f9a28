# What a backbone promises, for every kind. Random weights do: the promises hold for any.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_train.backbones import Backbone, build_backbone
from dpr_train.config import BackboneConfig
from dpr_train.sequences import pad_left

N_ITEMS, DIM, LONGEST = 20, 8, 6
HISTORIES = [np.array(h, dtype=np.int64) for h in ([], [3], [1, 4, 4], [7, 19, 0, 2], [9, 8, 7, 6, 5, 4])]


@pytest.fixture(params=["sasrec", "sasrec with biases", "gru4rec", "bert4rec"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        kind, *biases = request.param.split(" with ")
        config = BackboneConfig(
            kind=kind, dim=DIM, max_history=LONGEST, hidden=10, relative_bias=bool(biases)
        )
        made = build_backbone(config, N_ITEMS)
        for (
            parameter
        ) in made.parameters():  # far from their tame start, where most of this would hold by chance
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


def tokens(histories: list[np.ndarray], length: int) -> torch.Tensor:
    return torch.from_numpy(pad_left(histories, length))


@torch.no_grad()
def test_neither_padding_nor_batchmates_change_a_user_vector(backbone: Backbone) -> None:
    together = backbone(tokens(HISTORIES, LONGEST))
    for history, vector in zip(HISTORIES, together, strict=True):
        for length in range(max(1, len(history)), LONGEST + 1):
            alone = backbone(tokens([history], length))[0]
            torch.testing.assert_close(alone, vector, rtol=0, atol=1e-5)
    assert torch.unique(together.round(decimals=3), dim=0).shape[0] == len(HISTORIES)


@torch.no_grad()
def test_padding_does_not_change_the_states_of_real_positions(backbone: Backbone) -> None:
    history = HISTORIES[3]
    short, long = backbone.states(tokens([history], 4)), backbone.states(tokens([history], LONGEST))
    torch.testing.assert_close(long[:, -4:], short, rtol=0, atol=1e-5)


@torch.no_grad()
def test_padding_has_the_state_of_an_empty_history_wherever_it_lies(backbone: Backbone) -> None:
    empty = backbone(tokens([HISTORIES[0]], 1))
    for history in HISTORIES[:4]:
        padding = backbone.states(tokens([history], LONGEST))[0, : LONGEST - len(history)]
        torch.testing.assert_close(padding, empty.expand_as(padding), rtol=0, atol=1e-5)


@torch.no_grad()
def test_forward_is_the_last_state(backbone: Backbone) -> None:
    batch = tokens(HISTORIES, LONGEST)
    states = backbone.states(batch)
    assert states.shape == (len(HISTORIES), LONGEST, DIM)
    torch.testing.assert_close(backbone(batch), states[:, -1], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_later_item_changes_no_earlier_state(backbone: Backbone) -> None:
    before = tokens([HISTORIES[4]], LONGEST)
    for changed in range(1, LONGEST):
        after = before.clone()
        after[0, changed:] = 12
        old, new = backbone.states(before)[0], backbone.states(after)[0]
        torch.testing.assert_close(new[:changed], old[:changed], rtol=0, atol=1e-6)
        assert (new[changed] - old[changed]).abs().max() > 1e-3


@torch.no_grad()
def test_order_and_repetition_count(backbone: Backbone) -> None:
    one, other, more = backbone(tokens([np.array(h) for h in ([1, 2], [2, 1], [1, 2, 2])], LONGEST))
    assert (one - other).abs().max() > 1e-3
    assert (one - more).abs().max() > 1e-3


def test_an_empty_history_is_finite_and_its_state_is_learned(backbone: Backbone) -> None:
    user = backbone(tokens([np.array([], dtype=np.int64)], LONGEST))
    assert torch.isfinite(user).all()
    backbone.logits(user)[0, 3].backward()
    gradient = backbone.item_embedding.weight.grad
    assert gradient is not None
    assert gradient[0].abs().max() > 0
    assert torch.isfinite(gradient).all()


def test_logits_are_dot_products_with_the_item_vectors(backbone: Backbone) -> None:
    states = torch.randn(2, 3, DIM)
    logits = backbone.logits(states)
    assert logits.shape == (2, 3, N_ITEMS)
    assert backbone.item_vectors().shape == (N_ITEMS, DIM)
    torch.testing.assert_close(
        backbone.item_vectors()[4], backbone.item_embedding.weight[5]
    )  # row 4: token 5
    torch.testing.assert_close(logits[1, 2, 4], states[1, 2] @ backbone.item_embedding.weight[5])


def test_transformers_refuse_heads_that_do_not_divide_their_width() -> None:
    with pytest.raises(ValueError, match=r"backbone\.dim is 10; expected a multiple of backbone\.heads = 4"):
        BackboneConfig(dim=10, heads=4)
    with pytest.raises(ValueError, match="expected a multiple"):
        BackboneConfig(kind="bert4rec", dim=10, heads=4)
    assert BackboneConfig(kind="gru4rec", dim=10, heads=4).dim == 10
