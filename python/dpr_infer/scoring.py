# Ranks the catalogue for encoded queries: filters and rule around the kernel of dpr_infer._core.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import Catalogue, ScoreRule, build_index
from dpr_infer.bundle import Bundle
from dpr_infer.errors import BundleError, QueryError
from dpr_infer.filters import Rows, flatten_rows, tag_filter
from dpr_infer.query_encoder import EncodedQueries
from dpr_infer.request import Options
from dpr_infer.tag_clauses import TagClauses, compile_expression
from dpr_infer.where import parse_where

_WHERE_CACHE_SIZE = 128


@dataclass(frozen=True, slots=True)
class KernelQueries:
    """B queries as the kernel takes them.

    Attributes
    ----------
    user : ndarray of float32, shape (B, user)
        User vectors.
    experts : ndarray of float32, shape (B, E, item)
        Expert vectors.
    gates : ndarray of float32, shape (B, E)
        Gates.
    strength : ndarray of float32, shape (B,)
        How much the experts count.
    k : sequence of int, length B
        Most items to find, >= 1.
    excluded : sequence of (sequence of int, or ndarray of int64), length B
        Rows that must not be returned, in any order.
    refused : sequence of ndarray of uint64 (W,) or None, length B
        Bitsets of tags that no item may have.
    clauses : sequence of TagClauses or None, length B
        Tag expressions.
    """

    user: NDArray[np.float32]
    experts: NDArray[np.float32]
    gates: NDArray[np.float32]
    strength: NDArray[np.float32]
    k: Sequence[int]
    excluded: Sequence[Rows]
    refused: Sequence[NDArray[np.uint64] | None]
    clauses: Sequence[TagClauses | None]

    def pick(self, which: Sequence[int]) -> KernelQueries:
        """Return some of the queries, by their places."""
        return KernelQueries(
            self.user[which],
            self.experts[which],
            self.gates[which],
            self.strength[which],
            [self.k[b] for b in which],
            [self.excluded[b] for b in which],
            [self.refused[b] for b in which],
            [self.clauses[b] for b in which],
        )


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

    def queries(
        self,
        encoded: EncodedQueries,
        excluded: Sequence[Rows],
        options: Sequence[Options],
        k: Sequence[int],
    ) -> KernelQueries:
        """Bring queries into the kernel's form.

        Parameters
        ----------
        encoded : EncodedQueries
            B queries.
        excluded : sequence of (sequence of int, or ndarray of int64), length B
            Rows that must not be returned, in any order.
        options : sequence of Options, length B
            Strength, strictness and tag expression of each.
        k : sequence of int, length B
            Most items to find, >= 1.

        Returns
        -------
        KernelQueries
            The same queries.

        Raises
        ------
        WhereError
            If a tag expression is wrong.
        """
        refused = [
            reading.refused_words if asked.strict and reading is not None else None
            for (reading, _), asked in zip(encoded.readings, options, strict=True)
        ]
        clauses = [None if asked.where is None else self._clauses(asked.where) for asked in options]
        strength = np.array([asked.strength for asked in options], dtype=np.float32)
        return KernelQueries(
            encoded.user, encoded.experts, encoded.gates, strength, k, excluded, refused, clauses
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
        """
        offsets, rows = flatten_rows(queries.excluded)
        allowed_offsets, allowed_rows = (None, None) if allowed is None else _flatten(allowed)
        try:
            return self.catalogue.search(
                queries.user,
                queries.experts,
                queries.gates,
                rule=self.rule,
                strength=queries.strength,
                k=max(queries.k),
                excluded_offsets=offsets,
                excluded_rows=rows,
                allowed_offsets=allowed_offsets,
                allowed_rows=allowed_rows,
                tag_filter=tag_filter(queries.clauses, queries.refused, self._tag_words),
                threads=self._threads,
            )
        except ValueError as error:
            raise QueryError(f"the query cannot be scored: {error}") from error

    def check_where(self, text: str) -> None:
        """Check a tag expression, raising WhereError if it is wrong."""
        self._clauses(text)


def _compile(tags: tuple[str, ...], tag_words: int, text: str) -> TagClauses | None:
    tree = parse_where(text, tags)
    return None if tree is None else compile_expression(tree, tag_words)


def _flatten(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(line) for line in rows], out=offsets[1:])
    return offsets, np.concatenate(rows)
