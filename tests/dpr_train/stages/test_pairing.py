# Which prompts meet which positions: targets obey, and a wish that is chosen from a position follows the tasks' rule.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_train.prompts import LabelledPrompt, Span
from dpr_train.stages.pairing import Pairing
from dpr_train.stages.prompt_pool import PromptPool, obedient_items
from dpr_train.tasks import refused_tag, wanted_tag

N_TAGS, N_ITEMS, N_POSITIONS = 5, 40, 300
WISHES = [
    *[((g,), ()) for g in range(N_TAGS)],
    *[((), (g,)) for g in range(N_TAGS)],
    *[((a,), (r,)) for a in range(N_TAGS) for r in range(N_TAGS) if a != r],
    ((0, 1), ()),
    ((), ()),
]
RNG = np.random.default_rng(3)
CARRIES = RNG.random((N_ITEMS, N_TAGS)) < [0.1, 0.2, 0.3, 0.5, 0.6]
TARGETS = RNG.integers(N_ITEMS, size=N_POSITIONS)
COUNTS = RNG.integers(0, 6, size=(N_POSITIONS, N_TAGS))


@pytest.fixture(scope="module")
def pool() -> PromptPool:
    prompts = [
        LabelledPrompt("p", (*(Span(0, 1, g, "ask") for g in a), *(Span(0, 1, g, "refuse") for g in r)))
        for a, r in WISHES
    ]
    asked, refused = np.zeros((2, len(WISHES), N_TAGS), dtype=np.bool_)
    for row, (a, r) in enumerate(WISHES):
        asked[row, list(a)] = True
        refused[row, list(r)] = True
    allowed = np.stack([obedient_items(p, CARRIES) for p in prompts])
    encoded = [(torch.zeros(1, 2), torch.zeros(N_TAGS, 2))] * len(prompts)
    return PromptPool(prompts, encoded, allowed, asked, refused)


def pairs_of(pool: PromptPool, positions_first: float, size: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    pairing = Pairing(TARGETS, COUNTS, CARRIES, pool, positions_first=positions_first)
    return pairing.draw(size, np.random.default_rng(0))


@pytest.mark.parametrize("positions_first", [0.0, 0.5, 1.0])
def test_every_target_obeys_its_prompt(pool: PromptPool, positions_first: float) -> None:
    prompts, rows = pairs_of(pool, positions_first)
    assert len(prompts) == len(rows) > 2000
    assert pool.allowed[prompts, TARGETS[rows]].all()


def test_positions_come_with_one_wish_of_each_polarity_at_most(pool: PromptPool) -> None:
    prompts, _ = pairs_of(pool, 1.0)
    asked, refused = pool.asked[prompts].sum(1), pool.refused[prompts].sum(1)
    assert asked.max() == refused.max() == 1
    assert (asked + refused).min() == 1
    assert {(1, 0), (0, 1), (1, 1)} == set(zip(asked.tolist(), refused.tolist(), strict=True))


def test_half_of_the_wishes_are_those_of_the_tasks(pool: PromptPool) -> None:
    prompts, rows = pairs_of(pool, 1.0)
    frequency = CARRIES.sum(0)
    hardest = np.array([wanted_tag(CARRIES[TARGETS[m]], COUNTS[m], frequency) for m in rows], dtype=float)
    asks = pool.asked[prompts].any(1) & ~np.isnan(hardest)
    several = CARRIES[TARGETS[rows]].sum(1) >= 3  # where chance rarely hits the same
    share = (pool.asked[prompts].argmax(1) == hardest)[asks & several].mean()
    assert 0.55 < share < 0.9
    refused = np.array([refused_tag(CARRIES[TARGETS[m]], COUNTS[m]) for m in rows], dtype=float)
    refuses = pool.refused[prompts].any(1) & ~np.isnan(refused)
    assert 0.55 < (pool.refused[prompts].argmax(1) == refused)[refuses].mean() < 0.95


def test_the_share_of_positions_is_the_one_asked_for(pool: PromptPool) -> None:
    prompts, _ = pairs_of(pool, 0.25)
    # Two asked tags, and none at all, are only found where prompts come first.
    other = [
        row
        for row, (a, r) in enumerate(WISHES)
        if (len(a) + len(r) in (0, 2) and len(a) != len(r)) or not a + r
    ]
    assert np.isin(prompts, other).any()
    assert not np.isin(pairs_of(pool, 1.0)[0], other).any()


def test_a_wish_without_a_prompt_is_left_out(pool: PromptPool) -> None:
    rows = [row for row, (a, r) in enumerate(WISHES) if 0 not in a + r]
    few = PromptPool(
        [pool.prompts[row] for row in rows],
        [pool.encoded[row] for row in rows],
        pool.allowed[rows],
        pool.asked[rows],
        pool.refused[rows],
    )
    prompts, found = pairs_of(few, 1.0)
    assert 500 < len(prompts) < 4000
    assert few.allowed[prompts, TARGETS[found]].all()
    assert not few.asked[prompts, 0].any()
