# Rows as callers give them, brought into the form that the core reads: int64, lists of several queries end to end.

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer.errors import QueryError, QueryTypeError

RowLists = tuple[NDArray[np.int64], NDArray[np.int64]]


def row_array(value: ArrayLike | Set[int], what: str, n_rows: int) -> NDArray[np.int64]:
    """Return rows as an int64 array in C order.

    Parameters
    ----------
    value : int, array-like or set of int
        What the caller gave.
    what : str
        Name of the argument, for messages.
    n_rows : int
        Rows given out so far.

    Returns
    -------
    ndarray of int64, shape (n,)
        The rows, in the order given.

    Raises
    ------
    QueryTypeError
        If it does not hold integers; bools and floats are none.
    QueryError
        If it has more than one dimension, or a row is not among 0 .. `n_rows` - 1.
    """
    array = _integers(list(value) if isinstance(value, Set) else value, what)
    if array.ndim > 1:
        raise QueryError(f"{what} must have one dimension; got the shape {array.shape}")
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= n_rows:
            raise QueryError(f"{what} must hold rows from 0 to {n_rows - 1}; got {low if low < 0 else high}")
    return np.ascontiguousarray(array.reshape(-1), dtype=np.int64)


def row_lists(value: Any, what: str, n_queries: int, n_rows: int) -> RowLists:
    """Return a list of rows for every query, end to end.

    Parameters
    ----------
    value : array-like of int, or sequence of array-likes of int
        One list for all queries, or one a query.
    what : str
        Name of the argument, for messages.
    n_queries : int
        B, the number of queries.
    n_rows : int
        Rows given out so far.

    Returns
    -------
    offsets : ndarray of int64, shape (B + 1,)
        Where each query's rows begin, and the end of the last.
    rows : ndarray of int64, shape (M,)
        All rows.

    Raises
    ------
    QueryTypeError, QueryError
        As `row_array`; also if there is one list a query, but not for every query.
    """
    if not _holds_lists(value):
        rows = row_array(value, what, n_rows)
        offsets = np.arange(n_queries + 1, dtype=np.int64) * len(rows)
        return offsets, rows if n_queries == 1 else np.tile(rows, n_queries)
    lists = list(value)
    if len(lists) != n_queries:
        raise QueryError(
            f"{what} must be one list of rows, or one a query, {n_queries}; got {len(lists)} lists"
        )
    arrays = [row_array(entry, f"{what}[{b}]", n_rows) for b, entry in enumerate(lists)]
    lengths = [0, *(len(rows) for rows in arrays)]
    return np.cumsum(lengths, dtype=np.int64), np.concatenate([np.empty(0, np.int64), *arrays])


def _holds_lists(value: Any) -> bool:
    """Tell whether something holds lists of rows rather than rows; the first entry speaks for all."""
    if isinstance(value, np.ndarray):
        return value.ndim > 1 or value.dtype == object
    if isinstance(value, Set) or not isinstance(value, Iterable):
        return False
    first = next(iter(value), 0)
    return isinstance(first, Iterable) and not isinstance(first, str) and getattr(first, "ndim", 1) > 0


def _integers(value: ArrayLike, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryTypeError(
            f"{what} must hold rows, integers; got {type(value).__name__}: {error}"
        ) from None
    if array.size == 0:  # np.array([]) is float64, and means no rows all the same
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise QueryTypeError(f"{what} must hold rows, integers; got dtype {array.dtype}")
    return array
