# Brings exclusions and tag filters into the form of the kernel.

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import TagFilter
from dpr_infer.read_query import ReadQuery


def flatten_rows(
    rows: Sequence[NDArray[np.int64]],
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Lay lists of rows one after another.

    Parameters
    ----------
    rows : sequence of ndarray of int64, length B
        Rows, by query.

    Returns
    -------
    offsets : ndarray of int64, shape (B + 1,), or None
        Where each query's rows begin, and the end of the last; None for a single query.
    flat : ndarray of int64, shape (M,)
        All rows.
    """
    if len(rows) == 1:
        return None, rows[0]
    return np.array([0, *accumulate(map(len, rows))], dtype=np.int64), np.concatenate(rows)


def tag_filter(queries: Sequence[ReadQuery], tag_words: int) -> TagFilter | None:
    """Combine the expression and the refused tags of every query.

    Parameters
    ----------
    queries : sequence of ReadQuery, length B
        The queries.
    tag_words : int
        Words W of a bitset.

    Returns
    -------
    TagFilter or None
        None where no query has an expression or is strict.
    """
    for query in queries:
        if query.clauses is not None or query.options.strict:
            break
    else:
        return None
    given = [query.clauses for query in queries if query.clauses is not None]
    must_have, none = (np.zeros((len(queries), tag_words), dtype=np.uint64) for _ in range(2))
    offsets = [0]
    for b, query in enumerate(queries):
        compiled, words = query.clauses, query.refused
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
