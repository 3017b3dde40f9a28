# Brings exclusions and tag filters into the form of the kernel.

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import TagFilter
from dpr_infer.tag_clauses import TagClauses

# Rows of one query.
Rows = Sequence[int] | NDArray[np.int64]


def flatten_rows(rows: Sequence[Rows]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay lists of rows one after another.

    Parameters
    ----------
    rows : sequence of (sequence of int, or ndarray of int64), length B
        Rows to exclude, by query.

    Returns
    -------
    offsets : ndarray of int64, shape (B + 1,)
        Where each query's rows begin, and the end of the last.
    flat : ndarray of int64, shape (M,)
        All rows.
    """
    if len(rows) == 1:
        return np.array([0, len(rows[0])], dtype=np.int64), np.asarray(rows[0], dtype=np.int64)
    offsets = [0, *accumulate(map(len, rows))]
    return np.array(offsets, dtype=np.int64), np.array(list(chain.from_iterable(rows)), dtype=np.int64)


def tag_filter(
    clauses: Sequence[TagClauses | None], refused: Sequence[NDArray[np.uint64] | None], tag_words: int
) -> TagFilter | None:
    """Combine the expression and the refused tags of every query.

    Parameters
    ----------
    clauses : sequence of TagClauses or None, length B
        The compiled expressions.
    refused : sequence of ndarray of uint64 (W,) or None, length B
        Bitsets of tags that no item may have.
    tag_words : int
        Words W of a bitset.

    Returns
    -------
    TagFilter or None
        None where nothing is filtered.
    """
    given = [compiled for compiled in clauses if compiled is not None]
    if not given and not any(words is not None for words in refused):
        return None
    batch = len(refused)
    must_have, none = (np.zeros((batch, tag_words), dtype=np.uint64) for _ in range(2))
    offsets = [0]
    for b, (compiled, words) in enumerate(zip(clauses, refused, strict=True)):
        if compiled is not None:
            must_have[b] = compiled.all
            none[b] = compiled.none
        if words is not None:
            none[b] |= words
        offsets.append(offsets[-1] + (0 if compiled is None else len(compiled.clause_with)))
    empty = np.empty((0, tag_words), dtype=np.uint64)
    return TagFilter(
        all=must_have,
        none=none,
        clause_offsets=np.array(offsets, dtype=np.int64),
        clause_with=np.concatenate([empty, *(compiled.clause_with for compiled in given)]),
        clause_without=np.concatenate([empty, *(compiled.clause_without for compiled in given)]),
    )
