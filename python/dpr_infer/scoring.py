# Ranks the catalogue for encoded queries: filters and rule around the kernel of dpr_infer._core.

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import Catalogue, ScoreRule, build_index
from dpr_infer.bundle import Bundle
from dpr_infer.errors import BundleError, EngineError, QueryError
from dpr_infer.filters import flatten_rows, tag_filter
from dpr_infer.query_encoder import EncodedQueries
from dpr_infer.read_query import ReadQuery
from dpr_infer.tag_clauses import TagClauses, compile_expression
from dpr_infer.where import parse_where

_WHERE_CACHE_SIZE = 128
_STRENGTHS_KEPT = 64


class KernelQueries(NamedTuple):
    """B queries as the kernel takes them.

    Attributes
    ----------
    encoded : EncodedQueries
        User vectors, experts and gates.
    asked : sequence of ReadQuery, length B
        What may be returned, and how much the experts count.
    k : sequence of int, length B
        Most items to find, >= 1.
    """

    encoded: EncodedQueries
    asked: Sequence[ReadQuery]
    k: Sequence[int]

    def pick(self, which: Sequence[int]) -> KernelQueries:
        """Return some of the queries, by their places."""
        encoded = EncodedQueries(*(array[which] for array in self.encoded))
        return KernelQueries(encoded, [self.asked[b] for b in which], [self.k[b] for b in which])


class Scorer:
    """A bundle's catalogue together with its rule of scoring.

    A bundle of format version 1 has no index: one is built here, in memory.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.
    threads : int
        Threads that the kernel may use, >= 1.
    check_index : bool
        Recompute every bound of the index.

    Attributes
    ----------
    catalogue : dpr_infer._core.Catalogue
        The kernel's catalogue.
    rule : dpr_infer._core.ScoreRule
        What the experts do to a score.

    Raises
    ------
    BundleError
        If an item vector is not finite, or the index is not one of these vectors.
    """

    def __init__(self, bundle: Bundle, *, threads: int, check_index: bool) -> None:
        manifest, arrays = bundle.manifest, bundle.catalogue
        parts = list(manifest.dims.parts)
        try:
            index = arrays.index or build_index(arrays.vectors, parts=parts, threads=threads)
            self.catalogue = Catalogue(arrays.vectors, arrays.tag_bits, index=index, parts=parts)
            if check_index:
                self.catalogue.check_index()
        except ValueError as error:
            raise BundleError(f"catalogue.safetensors: {error}") from error
        self.rule = ScoreRule(
            roles=[expert.role for expert in manifest.experts],
            biases=[expert.bias for expert in manifest.experts],
            phi=manifest.phi,
            gain=manifest.gain,
        )
        self._threads = threads
        self._tag_words = manifest.dims.tag_words
        # No method of this object: in a cycle with its cache, it would outlive a reload until the collector comes by.
        self._clauses = lru_cache(maxsize=_WHERE_CACHE_SIZE)(
            partial(_compile, manifest.tags, self._tag_words)
        )

    def search(
        self, queries: KernelQueries, *, allowed: Sequence[NDArray[np.int64]] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find each query's best items.

        Parameters
        ----------
        queries : KernelQueries
            B queries; K is the largest number of items that one asks for.
        allowed : sequence of ndarray of int64, length B, optional
            The only rows that each query may be given, in any order; by default, all.

        Returns
        -------
        rows : ndarray of int64, shape (B, K)
            Best first, padded with -1. The order is total and scores do not depend on k, so what a query asks
            for with a smaller k are the first k of its row, bit for bit.
        scores : ndarray of float32, shape (B, K)
            Their scores, padded with -inf.

        Raises
        ------
        QueryError
            If the kernel cannot score the query, as when scores overflow.
        EngineError
            If the graphs gave something that is no finite number.
        """
        asked = queries.asked
        excluded = flatten_rows([query.excluded for query in asked])
        if len(asked) == 1:
            strength = _only(asked[0].options.strength)
        else:
            strength = np.array([query.options.strength for query in asked], dtype=np.float32)
        allowed_offsets, allowed_rows = (None, None) if allowed is None else flatten_rows(allowed)
        try:
            # By position: the core looks up each keyword in turn, which takes a tenth of a search of 4,000 items.
            return self.catalogue.search(
                *queries.encoded,
                self.rule,
                strength,
                max(queries.k),
                *excluded,
                allowed_offsets,
                allowed_rows,
                tag_filter(asked, self._tag_words),
                self._threads,
            )
        except ValueError as error:
            if not all(np.isfinite(part).all() for part in queries.encoded):
                raise EngineError(f"the bundle's graphs gave what cannot be scored: {error}") from error
            raise QueryError(f"the query cannot be scored: {error}") from error

    def compile_where(self, text: str) -> TagClauses | None:
        """Return a tag expression as clauses, None if it filters nothing; raises WhereError if it is wrong."""
        return self._clauses(text)


@lru_cache(_STRENGTHS_KEPT)
def _only(strength: float) -> NDArray[np.float32]:
    """Return the strength of a single query, nearly always that of the query before, as float32 (1,)."""
    array = np.array([strength], dtype=np.float32)
    array.flags.writeable = False
    return array


def _compile(tags: tuple[str, ...], tag_words: int, text: str) -> TagClauses | None:
    tree = parse_where(text, tags)
    return None if tree is None else compile_expression(tree, tag_words)
