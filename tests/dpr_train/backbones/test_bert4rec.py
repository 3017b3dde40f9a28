# What sets BERT4Rec apart: hidden items see both sides, and training sees what serving sees.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_train.backbones import BERT4Rec
from dpr_train.sequences import pad_left

N_ITEMS, LONGEST = 20, 6


@pytest.fixture
def backbone() -> BERT4Rec:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        made = BERT4Rec(N_ITEMS, 8, LONGEST, blocks=2, heads=2, dropout=0.0)
        for parameter in made.parameters():
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


@pytest.mark.parametrize("length", [0, 1, 4, LONGEST])
@torch.no_grad()
def test_a_hidden_last_item_has_the_state_that_is_served(backbone: BERT4Rec, length: int) -> None:
    history = np.arange(3, 3 + length)
    window = pad_left([np.append(history, 11)], LONGEST + 1)
    inputs, targets = window.copy(), np.zeros_like(window)
    inputs[0, -1], targets[0, -1] = 0, window[0, -1]
    trained = backbone.training_states(torch.from_numpy(inputs), torch.from_numpy(targets))[0, -1]
    served = backbone(torch.from_numpy(pad_left([history], LONGEST)))[0]
    torch.testing.assert_close(trained, served, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_hidden_item_sees_both_sides_and_not_what_pads(backbone: BERT4Rec) -> None:
    inputs = torch.tensor([[0, 0, 4, 0, 9, 2, 7]])
    targets = torch.tensor([[0, 0, 0, 5, 0, 0, 0]])
    state = backbone.training_states(inputs, targets)[0, 3]
    for place in (2, 4, 5, 6):
        other = inputs.clone()
        other[0, place] = 13
        assert (backbone.training_states(other, targets)[0, 3] - state).abs().max() > 1e-3
    shorter = backbone.training_states(inputs[:, 2:], targets[:, 2:])[0, 1]
    torch.testing.assert_close(shorter, state, rtol=0, atol=1e-5)


@torch.no_grad()
def test_states_are_what_every_beginning_is_served(backbone: BERT4Rec) -> None:
    items = torch.tensor([[3, 8, 8, 1], [0, 0, 5, 2]])
    states = backbone.states(items)
    for end in range(1, 5):
        torch.testing.assert_close(states[:, end - 1], backbone(items[:, :end]), rtol=0, atol=1e-6)
