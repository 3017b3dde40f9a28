# What several turns say together (docs/turns.md): later turns decide about the tags that they speak of.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dpr_infer.prompt_reading import PromptReading, WishRule

_NOBODY = -1


def merge_turns(readings: Sequence[PromptReading], rule: WishRule, token_limit: int) -> PromptReading | None:
    """Merge the readings of turns into one.

    Parameters
    ----------
    readings : sequence of PromptReading
        At least one; oldest first, none from before the last start-over.
    rule : WishRule
        What counts as a wish.
    token_limit : int
        Most tokens of the result; the newest are kept.

    Returns
    -------
    PromptReading or None
        A single reading as it is. Of several, the wishes that stand at the end, and the tokens of the turns
        that made them. None if every wish was taken back. Where there never was a wish, the first reading that
        has a token, and None if there is none: exact turns that only release have none.
    """
    if len(readings) == 1:
        return _first_said(readings)
    decisions = _Decisions(len(rule.tags), rule.threshold)
    for turn, reading in enumerate(readings):
        decisions.add(turn, reading)
    if not decisions.began:
        return _first_said(readings)
    holding = sorted(set(decisions.holder.tolist()) - {_NOBODY})
    if not holding:
        return None
    # What the oldest of them said below the threshold stays, as it does in a prompt of one turn.
    wish = readings[holding[0]].wish.copy()  # (G, 2)
    wish[decisions.released] = 0
    for turn in holding[1:]:
        held = decisions.holder == turn
        wish[held] = readings[turn].wish[held]
    tokens = [readings[turn].tokens for turn in holding]
    cut = sum(map(len, tokens)) > token_limit
    return rule.reading(
        np.concatenate(tokens)[-token_limit:],
        wish,
        decisions.released.astype(np.float32),
        truncated=cut or any(reading.truncated for reading in readings),
    )


def _first_said(readings: Sequence[PromptReading]) -> PromptReading | None:
    return next((reading for reading in readings if len(reading.tokens)), None)


class _Decisions:
    """Which turn decided last about each tag.

    Attributes
    ----------
    holder : ndarray of int64, shape (G,)
        The turn whose wish about the tag stands; -1 for none.
    released : ndarray of bool, shape (G,)
        Tags whose wish was taken back, while others stood, and not made again.
    began : bool
        Whether any turn has made a wish.
    """

    def __init__(self, n_tags: int, threshold: float) -> None:
        self.holder: NDArray[np.int64] = np.full(n_tags, _NOBODY, dtype=np.int64)
        self.released: NDArray[np.bool_] = np.zeros(n_tags, dtype=bool)
        self.began = False
        self._threshold = threshold

    def add(self, turn: int, reading: PromptReading) -> None:
        """Let the next turn decide."""
        strength = reading.wish.max(axis=1)  # (G,)
        wished = strength >= self._threshold
        if (self.holder != _NOBODY).any():
            released = (reading.released >= self._threshold) & (reading.released > strength)
            wished &= ~released
            self.holder[released] = _NOBODY
            self.released[released] = True
        elif wished.any():
            # Nothing stands that could be taken back: the turn means what it means alone.
            self.began = True
            self.released[:] = False
        self.holder[wished] = turn
        self.released[wished] = False
