# A search of a catalogue of bare vectors: what callers give, in the form of the core. At a few thousand items the core
# answers in microseconds, so nothing is done here that a plain search does not need.

from __future__ import annotations

from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer import _core
from dpr_infer.errors import QueryError, QueryTypeError
from dpr_infer.request import check_count
from dpr_infer.row_arguments import row_lists
from dpr_infer.steering import NO_AWAY, away_experts
from dpr_infer.tag_book import TagBook
from dpr_infer.vector_arguments import query_matrix
from dpr_infer.where_filters import Where, WhereFilters

_KEPT_BATCH_SIZES = 64

Ranking = tuple[NDArray[np.int64], NDArray[np.float32]]
_Plain = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
_Rows = NDArray[np.int64] | None
# Offsets and rows that are excluded, those that are allowed, and the tag filter.
_Limits = tuple[_Rows, _Rows, _Rows, _Rows, _core.TagFilter | None]
_NO_LIMITS: _Limits = (None, None, None, None, None)


class CatalogueSearch:
    """Searches a core catalogue.

    Parameters
    ----------
    core : dpr_infer._core.Catalogue
        The catalogue.
    book : TagBook or None
        Its tags.
    threads : int
        Threads that a search may use unless it says otherwise.
    """

    def __init__(self, core: _core.Catalogue, book: TagBook | None, threads: int) -> None:
        self._core = core
        self._dim = core.dim
        self._threads = threads
        self._filters = WhereFilters(None, 1) if book is None else WhereFilters(book.names, book.words)
        self._plain: dict[int, _Plain] = {}

    def rank(
        self,
        queries: ArrayLike,
        k: SupportsIndex,
        away: ArrayLike | None,
        gates: ArrayLike | None,
        rule_of: tuple[str, SupportsFloat, ArrayLike | None],
        where: Where,
        exclude: Any,
        allow: Any,
        threads: int | None,
        counters: _core.SearchCounters | None,
    ) -> Ranking:
        """Find the best items, as `dpr_infer.Catalogue.search`, which documents the arguments, promises.

        Parameters
        ----------
        queries, k, away, gates, where, exclude, allow, threads, counters
            As there.
        rule_of : tuple of phi, gain and biases
            As there.

        Returns
        -------
        rows, scores : ndarray of int64 and of float32, shape (B, k) or (k,)
            As there.

        Raises
        ------
        QueryError
            As there.
        """
        user, is_single = query_matrix(queries, self._dim)
        n_queries = len(user)
        experts, weights, strength = self._plain.get(n_queries) or self._keep_batch_size(n_queries)
        rule = NO_AWAY
        if away is not None:
            shape = (None if is_single else n_queries, self._dim)
            rule, experts, weights = away_experts(away, gates, rule_of, shape)
        elif gates is not None or rule_of[2] is not None:
            raise QueryError("gates and biases must come with away; got none")
        if counters is not None:
            _check_counters(counters)
        # By position: the core looks up each keyword in turn, which takes a tenth of a search of 4,000 items.
        limits = (
            _NO_LIMITS
            if where is exclude is allow is None
            else self._limits(n_queries, where, exclude, allow)
        )
        try:
            rows, scores = self._core.search(
                user,
                experts,
                weights,
                rule,
                strength,
                k if type(k) is int else _whole_number(k),
                *limits,
                self._threads if threads is None else _whole_threads(threads),
                counters,
            )
        except ValueError as error:
            raise QueryError(f"the queries cannot be answered: {error}") from error
        return (rows[0], scores[0]) if is_single else (rows, scores)

    def _limits(self, n_queries: int, where: Where, exclude: Any, allow: Any) -> _Limits:
        """Return the core's arguments of which items may be returned."""
        excluded: tuple[_Rows, _Rows] = (None, None)
        allowed: tuple[_Rows, _Rows] = (None, None)
        if exclude is not None:
            excluded = row_lists(exclude, "exclude", n_queries, self._core.n_rows)
        if allow is not None:
            allowed = row_lists(allow, "allow", n_queries, self._core.n_rows)
        return (*excluded, *allowed, self._filters.tag_filter(where, n_queries))

    def _keep_batch_size(self, n_queries: int) -> _Plain:
        """Keep what a batch of this size without away vectors needs: experts and gates of no width, strength 1."""
        if len(self._plain) >= _KEPT_BATCH_SIZES:
            self._plain.clear()
        arrays = (
            np.empty((n_queries, 0, self._dim), np.float32),
            np.empty((n_queries, 0), np.float32),
            np.ones(n_queries, np.float32),
        )
        self._plain[n_queries] = arrays
        return arrays


def _whole_number(k: SupportsIndex) -> int:
    number = int(k) if isinstance(k, np.integer) else k
    check_count("k", number, 1)
    return int(number)


def _whole_threads(threads: int) -> int:
    check_count("threads", threads, 1)
    return threads


def _check_counters(counters: object) -> None:
    if not isinstance(counters, _core.SearchCounters):
        raise QueryTypeError(f"counters must be a dpr_infer.SearchCounters; got {type(counters).__name__}")
