# Tag expressions of a batch of queries -> the kernel's filter. Expressions that were seen before are not read again.

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dpr_infer._core import TagFilter
from dpr_infer.errors import QueryError, QueryTypeError, WhereError
from dpr_infer.tag_clauses import TagClauses, compile_expression
from dpr_infer.where import parse_where

_CACHE_SIZE = 128

Where = str | Sequence[str | None] | None


class WhereFilters:
    """Makes the filters of a catalogue's tags.

    Parameters
    ----------
    tags : tuple of str or None
        Names of the tags; None where items have no tags.
    tag_words : int
        Words W of an item's bitset.
    """

    def __init__(self, tags: tuple[str, ...] | None, tag_words: int) -> None:
        self._tags = tags
        self._words = tag_words
        self._everything = compile_expression(None, tag_words)
        self._clauses = lru_cache(maxsize=_CACHE_SIZE)(self._compile)
        self._shared = lru_cache(maxsize=_CACHE_SIZE)(self._repeat)

    def tag_filter(self, where: Where, n_queries: int) -> TagFilter | None:
        """Return the filter of a batch.

        Parameters
        ----------
        where : str, None or sequence of str or None
            One expression (docs/where.md) for all queries, or one a query. A blank one and None pass every item.
        n_queries : int
            B, the number of queries.

        Returns
        -------
        TagFilter or None
            None where nothing is filtered.

        Raises
        ------
        WhereError
            If an expression is wrong, or there are no tags to speak of.
        QueryError
            If it is neither, or there is not one expression a query.
        """
        if where is None or isinstance(where, str):
            return self._shared(where, n_queries)
        if not isinstance(where, Sequence):
            raise QueryTypeError(
                f"where must be a str, None or a sequence of them, one a query; got {type(where).__name__}"
            )
        if len(where) != n_queries:
            raise QueryError(f"where must have one expression a query, {n_queries}; got {len(where)}")
        for b, text in enumerate(where):
            if text is not None and not isinstance(text, str):
                raise QueryTypeError(f"where[{b}] must be a str or None; got {type(text).__name__}")
        compiled = {text: self._clauses(text) for text in set(where)}
        return self._join([compiled[text] for text in where])

    def _compile(self, text: str | None) -> TagClauses | None:
        if text is None or not text.strip():
            return None
        if self._tags is None:
            raise WhereError(f"where needs a catalogue with tags; this one has none; got {text[:50]!r}")
        return compile_expression(parse_where(text, self._tags), self._words)

    def _repeat(self, text: str | None, n_queries: int) -> TagFilter | None:
        return self._join([self._clauses(text)] * n_queries)

    def _join(self, queries: Sequence[TagClauses | None]) -> TagFilter | None:
        """Lay the clauses of all queries end to end."""
        if not any(queries):
            return None
        parts = [self._everything if clauses is None else clauses for clauses in queries]
        counts = [0, *(len(clauses.clause_with) for clauses in parts)]
        return TagFilter(
            all=np.stack([clauses.all for clauses in parts]),
            none=np.stack([clauses.none for clauses in parts]),
            clause_offsets=np.cumsum(counts, dtype=np.int64),
            clause_with=np.concatenate([clauses.clause_with for clauses in parts]),
            clause_without=np.concatenate([clauses.clause_without for clauses in parts]),
        )
