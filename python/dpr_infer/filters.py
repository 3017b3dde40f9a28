# Brings exclusions and tag filters into the form of the kernel.

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import TagFilter
from dpr_infer.tag_clauses import TagClauses


def flatten_rows(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay lists of rows one after another.

    Parameters
    ----------
    rows : sequence of sequence of int, length B
        Rows to exclude, by query.

    Returns
    -------
    offsets : ndarray of int64, shape (B + 1,)
        Where each query's rows begin, and the end of the last.
    flat : ndarray of int64, shape (M,)
        All rows.
    """
    offsets = [0, *accumulate(map(len, rows))]
    return np.array(offsets, dtype=np.int64), np.array(list(chain.from_iterable(rows)), dtype=np.int64)


def tag_filter(
    clauses: TagClauses | None, refused: Sequence[NDArray[np.uint64] | None], tag_words: int
) -> TagFilter | None:
    """Combine an expression that all queries share with the tags that each one refuses.

    Parameters
    ----------
    clauses : TagClauses or None
        The compiled expression.
    refused : sequence of ndarray of uint64 (W,) or None, length B
        Bitsets of tags that no item may have, by query.
    tag_words : int
        Words W of a bitset.

    Returns
    -------
    TagFilter or None
        None where nothing is filtered.
    """
    if clauses is None and not any(words is not None for words in refused):
        return None
    batch = len(refused)
    count = 0 if clauses is None else len(clauses.clause_with)
    must_have, none = (np.zeros((batch, tag_words), dtype=np.uint64) for _ in range(2))
    clause_with, clause_without = (np.zeros((batch * count, tag_words), dtype=np.uint64) for _ in range(2))
    if clauses is not None:
        must_have[:] = clauses.all
        none[:] = clauses.none
        if count:
            clause_with[:] = np.tile(clauses.clause_with, (batch, 1))
            clause_without[:] = np.tile(clauses.clause_without, (batch, 1))
    for line, words in zip(none, refused, strict=True):
        if words is not None:
            line |= words
    return TagFilter(
        all=must_have,
        none=none,
        clause_offsets=np.arange(batch + 1, dtype=np.int64) * count,
        clause_with=clause_with,
        clause_without=clause_without,
    )
