# Windows of training examples: nothing is lost, nothing is doubled.

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dpr_train.sequences import alike_lengths, masked_windows, pad_left, pad_to_longest, training_windows

LENGTHS = st.lists(st.integers(1, 14), min_size=1, max_size=4)


@given(lengths=LENGTHS, window=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_each_interaction_is_a_target_once_and_follows_its_predecessor(
    lengths: list[int], window: int, seed: int
) -> None:
    ends = np.cumsum(lengths)
    # Rows are unique over all sequences, so a pair tells where it comes from.
    sequences = [np.arange(end - length, end) for length, end in zip(lengths, ends, strict=True)]
    inputs, targets = training_windows(sequences, window, np.random.default_rng(seed))
    assert inputs.shape == targets.shape == (len(inputs), window)
    asked = targets != 0
    pairs = sorted(zip(inputs[asked].tolist(), targets[asked].tolist(), strict=True))
    expected = [
        (0 if place == 0 else int(row), int(row) + 1)
        for sequence in sequences
        for place, row in enumerate(sequence)
    ]
    assert pairs == sorted(expected)
    assert (inputs[~asked] == 0).all()


@given(lengths=LENGTHS, window=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_windows_are_contiguous_and_padded_on_the_left(lengths: list[int], window: int, seed: int) -> None:
    sequences = [np.arange(100 * n, 100 * n + length) for n, length in enumerate(lengths)]
    inputs, targets = training_windows(sequences, window, np.random.default_rng(seed))
    for x, y in zip(inputs, targets, strict=True):
        real = np.flatnonzero(y)
        assert real.tolist() == list(range(window - len(real), window))
        assert (np.diff(y[real]) == 1).all()
        np.testing.assert_array_equal(x[real][1:], y[real][:-1])


def test_offsets_differ_between_epochs() -> None:
    sequences = [np.arange(50)]
    starts = {
        tuple(training_windows(sequences, 10, np.random.default_rng(seed))[1][:, 0].tolist())
        for seed in range(8)
    }
    assert len(starts) > 1


def test_pad_left_keeps_the_newest_items() -> None:
    histories = [np.array(h, dtype=np.int64) for h in ([], [4], [0, 1, 2], [5, 6, 7, 8])]
    assert pad_left(histories, 3).tolist() == [[0, 0, 0], [0, 0, 5], [1, 2, 3], [7, 8, 9]]
    assert pad_left(histories, 3).dtype == np.int64
    assert pad_to_longest(histories, 3).tolist() == pad_left(histories, 3).tolist()
    assert pad_to_longest(histories[:2], 3).tolist() == [[0], [5]]
    assert pad_to_longest(histories[:1], 3).tolist() == [[0]]


def test_sequences_of_like_length_come_together_and_each_comes_once() -> None:
    sequences = ["ccc", "", "bb", "dddd", "a", "ee"]
    assert [part.tolist() for part in alike_lengths(sequences, 4)] == [[1, 4, 2, 5], [0, 3]]
    assert list(alike_lengths([], 4)) == []


@given(lengths=LENGTHS, window=st.integers(1, 6), share=st.floats(0.01, 1.0), seed=st.integers(0, 10_000))
def test_masked_windows_hide_items_and_lose_none(
    lengths: list[int], window: int, share: float, seed: int
) -> None:
    sequences = [np.arange(100 * n, 100 * n + length) for n, length in enumerate(lengths)]
    inputs, targets = masked_windows(sequences, window, np.random.default_rng(seed), share)
    assert ((inputs == 0) | (targets == 0)).all()  # what is asked is hidden
    assert (targets != 0).any(1).all()
    tokens = inputs + targets
    cut, newest = tokens[: -len(sequences)], tokens[-len(sequences) :]
    assert sorted(cut[cut != 0].tolist()) == sorted((np.concatenate(sequences) + 1).tolist())
    np.testing.assert_array_equal(newest, pad_left(sequences, window))
    last = targets[-len(sequences) :]
    assert ((last[:, :-1] == 0).all(1) & (last[:, -1] != 0)).all()


def test_the_share_that_is_hidden_is_the_one_asked_for() -> None:
    sequences = [np.arange(1000)]
    _, targets = masked_windows(sequences, 1000, np.random.default_rng(0), 0.2)
    # Five standard deviations of a binomial count.
    assert abs((targets[:-1] != 0).sum() / 1000 - 0.2) < 5 * (0.2 * 0.8 / 1000) ** 0.5
