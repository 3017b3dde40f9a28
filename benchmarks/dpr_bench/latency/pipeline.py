# What every contender is to the benchmark, and what those that are not ours share.
"""The protocol of a query pipeline, and the cache of prompts that every peer has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["CACHED_PROMPTS", "F32", "Histories", "KeptPrompts", "Pipeline", "Rows"]

F32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Histories = Sequence[Sequence[str]]
T = TypeVar("T")

CACHED_PROMPTS = 1024  # the default of Recommender


class Pipeline(Protocol):
    """Answers batches. What an encoder says of a prompt is kept by the prompt's text, as every pipeline here does."""

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """Rows of the k best items, int64 (B, k), best first; items of the history are left out."""


class KeptPrompts(Generic[T]):
    """A cache of prompts as dpr-infer has it: by text, the least recently used goes first.

    Parameters
    ----------
    read : callable
        Reads those texts that are not in the cache, all at once.
    size : int
        Most prompts to keep.
    """

    def __init__(self, read: Callable[[list[str]], Sequence[T]], size: int = CACHED_PROMPTS) -> None:
        self._read = read
        self._size = size
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, texts: Sequence[str]) -> list[T]:
        """What was read from each text."""
        new = list(dict.fromkeys(text for text in texts if text not in self._kept))
        if new:
            self._kept.update(zip(new, self._read(new), strict=True))
        found = [self._kept[text] for text in texts]
        for text in texts:
            self._kept.move_to_end(text)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return found
