# Batches lose no window, and by tokens they are of even size.

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dpr_train.stages.windows import batches_of_windows

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=60)


@given(lengths=LENGTHS, size=st.integers(1, 9), tokens=st.none() | st.integers(1, 400))
def test_every_window_is_in_one_batch(lengths: list[int], size: int, tokens: int | None) -> None:
    batches = batches_of_windows(
        np.array(lengths), np.random.default_rng(0), batch_size=size, batch_tokens=tokens
    )
    assert all(len(batch) for batch in batches)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    if tokens is None:
        assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)


@given(lengths=LENGTHS, tokens=st.integers(1, 400), seed=st.integers(0, 9))
def test_batches_by_tokens_are_even_and_hardly_padded(lengths: list[int], tokens: int, seed: int) -> None:
    batches = batches_of_windows(
        np.array(lengths), np.random.default_rng(seed), batch_size=1, batch_tokens=tokens
    )
    spans = [(min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in batches]
    for batch in batches:
        own = [lengths[i] for i in batch]
        assert sum(own) < tokens + max(own)
    # The noise is below 8: a shorter batch may reach no further than that into the next one.
    assert all(b[0] > a[1] - 8 or a[0] > b[1] - 8 for a, b in combinations(spans, 2))


def test_epochs_differ() -> None:
    lengths = np.full(40, 10)
    orders = {
        tuple(
            map(
                tuple,
                batches_of_windows(lengths, np.random.default_rng(s), batch_size=1, batch_tokens=50),
            )
        )
        for s in range(4)
    }
    assert len(orders) == 4
