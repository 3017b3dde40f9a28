# Which prompts meet which training positions in stage 3. Trains nothing.
"""Pair prompts with training positions whose target obeys them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dpr_train.sequences import IntArray
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.tasks import FEW, HABIT

__all__ = ["Pairing"]

BoolArray = npt.NDArray[np.bool_]

_CANDIDATES = 48  # training positions looked at for each prompt
_KINDS = ((True, False), (False, True), (True, True))  # asks, refuses: the wishes that a position is given
_KIND_SHARES = (0.4, 0.35, 0.25)
_NONE = -1


class Pairing:
    """Pairs prompts with training positions, the one or the other first.

    Where prompts come first, each is given a position whose target obeys it, half of them as hard as can be found.
    Where positions come first, each is given a wish that its target grants: of a user who is about to take an item,
    the one that they would speak of. Half of those wishes are the hardest, by :mod:`dpr_train.tasks`, the others any.

    Parameters
    ----------
    targets : int64 (M,)
        Item row that each position predicts.
    counts : int64 (M, G)
        Tag habits of each position.
    carries : bool (N, G)
        Which item has which tag.
    pool : PromptPool
        Training prompts.
    positions_first : float
        Share of the pairs that begin with the position.
    """

    def __init__(
        self,
        targets: IntArray,
        counts: IntArray,
        carries: BoolArray,
        pool: PromptPool,
        *,
        positions_first: float,
    ) -> None:
        self.targets = targets
        self.counts = counts
        self.carries = carries
        self.pool = pool
        self.positions_first = positions_first
        self.usable = np.flatnonzero(pool.allowed[:, np.unique(targets)].any(1))
        self._frequency = carries.sum(0, dtype=np.int64)
        self._prompts = _by_wish(pool)

    def draw(self, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Rows of the pool and of the positions, int64 (at most ``size``,) each."""
        from_positions = round(size * self.positions_first)
        pairs = [self._prompts_first(size - from_positions, rng), self._positions_first(from_positions, rng)]
        prompts, rows = zip(*pairs, strict=True)
        return np.concatenate(prompts), np.concatenate(rows)

    def _prompts_first(self, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        prompts = rng.choice(self.usable, size)
        found = rng.integers(len(self.targets), size=(size, _CANDIDATES))
        obeys = self.pool.allowed[prompts[:, None], self.targets[found]]  # (size, candidates)
        value = rng.random(found.shape) + obeys * 100
        hard = rng.random(size) < 0.5
        value += hard[:, None] * self._hardness(prompts, found)
        best = value.argmax(1)
        kept = obeys[np.arange(size), best]  # a prompt that hardly any position obeys may find none
        return prompts[kept], found[np.arange(size), best][kept]

    def _hardness(self, prompts: IntArray, found: IntArray) -> npt.NDArray[np.float64]:
        """How many wishes of each prompt go against each position's habit, float64 (size, candidates).

        As in :mod:`dpr_train.tasks`: few of the last items have the tag asked for, or many the one refused.
        """
        counts = self.counts[found]  # (size, candidates, G)
        asked, refused = self.pool.asked[prompts][:, None], self.pool.refused[prompts][:, None]
        against = ((counts <= FEW) & asked) | ((counts >= HABIT) & refused)
        return against.sum(-1).astype(np.float64)

    def _positions_first(self, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        rows = rng.integers(len(self.targets), size=size)
        has, counts = self.carries[self.targets[rows]], self.counts[rows]  # (size, G)
        hard = (rng.random(size) < 0.5)[:, None]
        any_order = rng.random(has.shape)
        # The order of tasks.wanted_tags: fewest among the last items, then fewest in the catalogue.
        rarity = counts + self._frequency / (self._frequency.max() + 1)
        asked = _least(np.where(hard, rarity, any_order), has & (~hard | (counts <= FEW)))
        refused = _least(np.where(hard, -counts, any_order), ~has & (~hard | (counts >= HABIT)))
        kinds = np.array(_KINDS)[rng.choice(len(_KINDS), size, p=_KIND_SHARES)]
        possible = (~kinds[:, 0] | (asked != _NONE)) & (~kinds[:, 1] | (refused != _NONE))
        wishes = np.where(kinds, np.stack([asked, refused], axis=1), _NONE)
        pairs = [
            (_pick(self._prompts[wish], rng), row)
            for wish, row in zip(map(tuple, wishes[possible].tolist()), rows[possible], strict=True)
            if wish in self._prompts
        ]
        found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]


def _by_wish(pool: PromptPool) -> dict[tuple[int, ...], list[int]]:
    """Rows of the prompts that ask for one tag, refuse one, or both: by (asked, refused), ``_NONE`` for no wish."""
    found: dict[tuple[int, ...], list[int]] = {}
    for row, (asked, refused) in enumerate(zip(pool.asked, pool.refused, strict=True)):
        wish = np.flatnonzero(asked), np.flatnonzero(refused)
        if len(wish[0]) + len(wish[1]) > 0 and max(map(len, wish)) == 1:
            key = tuple(int(tags[0]) if len(tags) else _NONE for tags in wish)
            found.setdefault(key, []).append(row)
    return found


def _least(value: npt.NDArray[np.float64], possible: BoolArray) -> IntArray:
    """Column of the least value of each row among the possible ones, the first of equals; ``_NONE`` without any."""
    column = np.where(possible, value, np.inf).argmin(1)
    return np.where(possible.any(1), column, _NONE)


def _pick(rows: list[int], rng: np.random.Generator) -> int:
    return rows[int(rng.integers(len(rows)))]
