# The cached states of stage 3 against one forward pass a position.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_train.backbones import Backbone, build_backbone
from dpr_train.config import BackboneConfig
from dpr_train.sequences import pad_left
from dpr_train.stages import user_states
from dpr_train.stages.user_states import collect_user_states
from dpr_train.tasks import recent_tag_counts

LENGTHS = (1, 2, 6, 7, 15, 30)
N_ITEMS = 25


@pytest.fixture
def sequences() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, N_ITEMS, length) for length in LENGTHS]


def make(kind: str, max_history: int) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BackboneConfig(kind=kind, dim=8, max_history=max_history, hidden=10)
        return build_backbone(config, N_ITEMS).eval()


@pytest.mark.parametrize("max_history", [1, 2, 6, 7, 40])
def test_every_position_with_a_history_is_there_once(sequences: list[np.ndarray], max_history: int) -> None:
    tags = np.random.default_rng(1).random((N_ITEMS, 3)) < 0.5
    states = collect_user_states(make("sasrec", max_history), sequences, tags, batch_size=3)
    places = [(sequence, place) for sequence in sequences for place in range(1, len(sequence))]
    assert len(states) == len(places)
    assert states.targets.tolist() == [sequence[place] for sequence, place in places]
    expected = [recent_tag_counts(sequence[:place], tags) for sequence, place in places]
    np.testing.assert_array_equal(states.counts, expected)
    assert not states.users.requires_grad


@pytest.mark.parametrize("max_history", [1, 2, 6, 7, 40])
@torch.no_grad()
def test_a_state_has_read_at_least_half_of_what_fits(sequences: list[np.ndarray], max_history: int) -> None:
    # A recurrent backbone: what it has read decides its state, wherever in a window the position lies.
    backbone = make("gru4rec", max_history)
    states = collect_user_states(backbone, sequences, np.ones((N_ITEMS, 1), dtype=bool))
    places = [(sequence, place) for sequence in sequences for place in range(1, len(sequence))]
    for (sequence, place), state in zip(places, states.users, strict=True):
        read = range(min(place, -(-max_history // 2)), min(place, max_history) + 1)
        exact = backbone(torch.from_numpy(pad_left([sequence[place - n : place] for n in read], max_history)))
        assert (state - exact).abs().amax(1).min() < 1e-5, place


@torch.no_grad()
def test_the_newest_state_is_the_one_that_is_served(sequences: list[np.ndarray]) -> None:
    backbone = make("sasrec", 6)
    states = collect_user_states(backbone, sequences, np.ones((N_ITEMS, 1), dtype=bool))
    newest = np.cumsum([length - 1 for length in LENGTHS])[1:] - 1
    served = backbone(torch.from_numpy(pad_left([sequence[:-1] for sequence in sequences[1:]], 6)))
    torch.testing.assert_close(states.users[newest], served, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("budget", "step"), [(4_000_000, 1), (300, 2), (100, 5)])
@torch.no_grad()
def test_a_backbone_that_is_not_causal_is_asked_position_by_position(
    sequences: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, budget: int, step: int
) -> None:
    monkeypatch.setattr(user_states, "_MOST_TOKENS", budget)
    backbone = make("bert4rec", 15)
    tags = np.random.default_rng(1).random((N_ITEMS, 3)) < 0.5
    states = collect_user_states(backbone, sequences, tags, batch_size=4)
    places = [(s, place) for s in sequences for place in range(len(s) - 1, 0, -step)]
    places.sort(key=lambda pair: pair[1])
    assert states.targets.tolist() == [sequence[place] for sequence, place in places]
    served = backbone(torch.from_numpy(pad_left([sequence[:place] for sequence, place in places], 15)))
    torch.testing.assert_close(states.users, served, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(
        states.counts, [recent_tag_counts(sequence[:place], tags) for sequence, place in places]
    )
