# What is asked, and how two ways of answering it are compared.
"""Questions to the kernel, cut into calls, and the comparison of answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Answer", "Question", "Rows", "different", "recall", "same_order"]

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Rows = npt.NDArray[np.integer[Any]]
Answer = tuple[I64, F32]


@dataclass(frozen=True, kw_only=True)
class Question:
    """The k best items of B queries.

    ``queries`` is float32 (B, D); ``away`` float32 (B, M, D) and ``gates`` float32 (B, M) are there together or not at
    all, with M ``biases``, ``phi`` and ``gain``. ``half``: only items with the tag "half".
    """

    queries: F32
    k: int
    away: F32 | None = None
    gates: F32 | None = None
    biases: tuple[float, ...] = ()
    phi: str = "relu"
    gain: float = 1.0
    half: bool = False

    def part(self, start: int, stop: int) -> Question:
        """The queries from `start` up to `stop`, as a question of their own."""
        place = slice(start, stop)
        return replace(
            self,
            queries=self.queries[place],
            away=None if self.away is None else self.away[place],
            gates=None if self.gates is None else self.gates[place],
        )

    def split(self, batch: int) -> Iterator[Question]:
        """Cut into questions of `batch` queries each; a rest that fills no batch is left out."""
        for start in range(0, len(self.queries) - batch + 1, batch):
            yield self.part(start, start + batch)


def different(got: Answer, expected: Answer) -> int:
    """Count the queries whose answers are not the same, bit for bit.

    Parameters
    ----------
    got, expected : pair of ndarray
        Rows int64 (B, k) and scores float32 (B, k).

    Returns
    -------
    int
        From 0 to B.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    shapes, wanted = [[array.shape for array in answer] for answer in (got, expected)]
    if shapes != wanted:
        raise ValueError(f"answers must have the shapes {wanted}; got {shapes}")
    rows = got[0] != expected[0]
    bits = got[1].view(np.uint32) != expected[1].view(np.uint32)
    return int(np.sum(np.any(rows | bits, axis=1)))


def recall(rows: Rows, expected: I64) -> float:
    """Share of the expected rows that were found, mean over queries.

    Parameters
    ----------
    rows : ndarray of int, shape (B, k')
        What was found; -1 pads.
    expected : ndarray of int, shape (B, k)
        The exact answer.

    Returns
    -------
    float
        From 0 to 1.
    """
    found = [len(set(some.tolist()) & set(all_.tolist())) for some, all_ in zip(rows, expected, strict=True)]
    return float(np.mean(found) / expected.shape[1])


def same_order(rows: Rows, expected: I64) -> float:
    """Share of queries with exactly the expected rows in exactly that order: rounding swaps near ties.

    Parameters
    ----------
    rows, expected : ndarray of int, shape (B, k)
        What was found, and the exact answer.

    Returns
    -------
    float
        From 0 to 1.
    """
    return float(np.mean(np.all(rows == expected, axis=1)))
