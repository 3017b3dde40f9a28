# What was read from a prompt, and the rule by which numbers of the encoder become wishes.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer.types import Wish


@dataclass(frozen=True, slots=True)
class PromptShare:
    """What of the fusion depends on the prompt alone: the outputs of the graph prompt_fusion, for a batch of one.

    Attributes
    ----------
    keys, values : ndarray of float32, shape (1, T, fusion)
        Of the attention in which a user looks at the prompt.
    hidden : ndarray of float32, shape (1, E, hidden)
        The prompt's share of the experts' inner state.
    sides : ndarray of float32, shape (1, E, side)
        The side vectors that are wished for.
    strengths : ndarray of float32, shape (1, E)
        How much each expert's wish is wished; 0 without one.
    feed : dict of str to ndarray
        All of these by name, and an `attention_mask` of ones, int64 (1, T): what the graph fusion_moe takes beside one
        user. Nobody may change it.
    """

    keys: NDArray[np.float32]
    values: NDArray[np.float32]
    hidden: NDArray[np.float32]
    sides: NDArray[np.float32]
    strengths: NDArray[np.float32]
    feed: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class PromptReading:
    """What was read from one prompt.

    Attributes
    ----------
    tokens : ndarray of float32, shape (T, token)
        Token vectors.
    wish : ndarray of float32, shape (G, 2)
        How much each tag is asked for and refused, in [0, 1].
    released : ndarray of float32, shape (G,)
        How much the prompt speaks of each tag without leaving a wish about it, in [0, 1].
    wishes : tuple of Wish
        Those that reach the bundle's threshold, strongest first.
    refused_words : ndarray of uint64, shape (W,)
        Bitset of the tags whose refusal reaches the threshold.
    truncated : bool
        Whether the prompt had more tokens than are read.
    share : PromptShare or None
        What the fusion keeps with a whole prompt; a turn among others has none, nor has any in bundles of format
        versions 1 to 3.
    """

    tokens: NDArray[np.float32]
    wish: NDArray[np.float32]
    released: NDArray[np.float32]
    wishes: tuple[Wish, ...]
    refused_words: NDArray[np.uint64]
    truncated: bool
    share: PromptShare | None = None


@dataclass(frozen=True, slots=True)
class WishRule:
    """Tells which numbers of the encoder are wishes.

    Attributes
    ----------
    tags : tuple of str
        Names of the G tags.
    threshold : float
        What a number must reach to count.
    tag_words : int
        Words W of a tag bitset.
    """

    tags: tuple[str, ...]
    threshold: float
    tag_words: int

    def reading(
        self,
        tokens: NDArray[np.float32],
        wish: NDArray[np.float32],
        released: NDArray[np.float32],
        *,
        truncated: bool,
    ) -> PromptReading:
        """Return a reading, with what follows from its numbers; the parameters are its attributes."""
        return PromptReading(tokens, wish, released, self._wishes(wish), self._refused_words(wish), truncated)

    def _wishes(self, wish: NDArray[np.float32]) -> tuple[Wish, ...]:
        strength = wish.max(axis=1)
        order = np.argsort(-strength, kind="stable")
        return tuple(
            Wish(self.tags[g], float(wish[g, 0]), float(wish[g, 1]))
            for g in order.tolist()
            if strength[g] >= self.threshold
        )

    def _refused_words(self, wish: NDArray[np.float32]) -> NDArray[np.uint64]:
        words = np.zeros(self.tag_words, dtype=np.uint64)
        for g in np.flatnonzero(wish[:, 1] >= self.threshold).tolist():
            words[g // 64] |= np.uint64(1 << g % 64)
        return words
