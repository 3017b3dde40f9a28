# The k-core against its definition, computed the slow way.

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpr_train.data.kcore import k_core

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=60)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def slow_core(pairs: list[tuple[int, int]], k: int) -> set[int]:
    """Drop one interaction at a time until each that is left has enough companions."""
    left = set(range(len(pairs)))
    while True:
        users = Counter(pairs[n][0] for n in left)
        items = Counter(pairs[n][1] for n in left)
        rare = next((n for n in left if users[pairs[n][0]] < k or items[pairs[n][1]] < k), None)
        if rare is None:
            return left
        left.remove(rare)


@given(pairs=PAIRS, k=st.integers(1, 4))
def test_agrees_with_dropping_one_by_one(pairs: list[tuple[int, int]], k: int) -> None:
    kept = k_core(*columns(pairs), k)
    assert set(np.flatnonzero(kept).tolist()) == slow_core(pairs, k)


def test_drops_in_a_chain() -> None:
    # User 2 has one interaction; without it item 2 has one; without that user 1 has one, and so on.
    pairs = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (3, 3), (3, 4), (4, 3), (4, 4)]
    assert k_core(*columns(pairs), 2).tolist() == [False] * 5 + [True] * 4


def test_counts_every_interaction_of_one_pair() -> None:
    assert k_core(*columns([(0, 0), (0, 0)]), 2).all()


def test_no_interactions() -> None:
    assert k_core(*columns([]), 5).shape == (0,)


def test_refuses_k_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        k_core(*columns([(0, 0)]), 0)


def test_refuses_unequal_shapes() -> None:
    with pytest.raises(ValueError, match=r"got \(2,\) and \(1,\)"):
        k_core(np.zeros(2, np.int64), np.zeros(1, np.int64), 1)
