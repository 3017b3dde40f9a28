# Histories as token arrays: right-aligned, left padded with 0, item rows shifted by one.
"""Turn item-row sequences into the token arrays that backbones read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized

import numpy as np
import numpy.typing as npt

__all__ = ["alike_lengths", "masked_windows", "pad_left", "pad_to_longest", "training_windows"]

IntArray = npt.NDArray[np.int64]


def pad_left(histories: Sequence[IntArray], length: int) -> IntArray:
    """Tokens of the newest ``length`` items of each history, int64 (B, length); token = row + 1, 0 pads."""
    out = np.zeros((len(histories), length), dtype=np.int64)
    for row, history in enumerate(histories):
        newest = history[-length:]
        if len(newest):
            out[row, -len(newest) :] = newest + 1
    return out


def pad_to_longest(histories: Sequence[IntArray], limit: int) -> IntArray:
    """:func:`pad_left` to the longest history, but at most ``limit``: int64 (B, L), L >= 1."""
    return pad_left(histories, max(1, min(limit, max(len(history) for history in histories))))


def alike_lengths(sequences: Sequence[Sized], size: int) -> Iterator[IntArray]:
    """Numbers of ``size`` sequences at a time, int64, the shortest first: of like length, they need little padding."""
    order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
    return (order[start : start + size] for start in range(0, len(order), size))


def training_windows(
    sequences: Sequence[IntArray], length: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Cut every sequence into windows of next-item examples, from a random offset.

    Each interaction is a target exactly once; the first one of a sequence is predicted from the start token.

    Parameters
    ----------
    sequences : sequence of int64 arrays
        Item rows in time order.
    length : int
        Window length L.
    rng : numpy.random.Generator
        Chooses the offsets.

    Returns
    -------
    inputs, targets : int64 (W, L)
        Tokens; target 0 means no example at that position.
    """
    inputs, targets = [], []
    for sequence in sequences:
        y = sequence + 1
        x = np.concatenate([[0], y[:-1]])
        end = len(y)
        tail = int(rng.integers(0, min(length, end)))
        ends = ([end] if tail else []) + list(range(end - tail, 0, -length))
        for stop in ends:
            start = max(0, stop - (tail if stop == end and tail else length))
            window = np.zeros((2, length), dtype=np.int64)
            window[:, length - (stop - start) :] = x[start:stop], y[start:stop]
            inputs.append(window[0])
            targets.append(window[1])
    return np.stack(inputs), np.stack(targets)


def masked_windows(
    sequences: Sequence[IntArray], length: int, rng: np.random.Generator, share: float
) -> tuple[IntArray, IntArray]:
    """Cut every sequence into windows with some items hidden, and its newest items with the last one hidden alone.

    The second kind is what serving asks for.

    Parameters
    ----------
    sequences : sequence of int64 arrays
        Item rows in time order.
    length : int
        Window length L.
    rng : numpy.random.Generator
        Chooses offsets and what is hidden.
    share : float
        Probability that an item is hidden, in (0, 1]; a window where none is hides one all the same.

    Returns
    -------
    inputs, targets : int64 (W, L)
        Tokens; a hidden item is 0 in ``inputs`` and its token in ``targets``, which is 0 elsewhere.

    References
    ----------
    Sun et al., "BERT4Rec", CIKM 2019, sections 3.6 and 4.1.
    """
    _, tokens = training_windows(sequences, length, rng)  # (W, L), the targets: every item once
    real = tokens != 0
    hidden = (rng.random(tokens.shape) < share) & real
    draws = np.where(real, rng.random(tokens.shape), -1.0)
    none = ~hidden.any(1)
    hidden[none, draws[none].argmax(1)] = True
    newest = pad_left(sequences, length)
    last = np.zeros(newest.shape, dtype=np.bool_)
    last[:, -1] = newest[:, -1] != 0
    tokens, hidden = np.concatenate([tokens, newest]), np.concatenate([hidden, last])
    return np.where(hidden, 0, tokens), np.where(hidden, tokens, 0)
