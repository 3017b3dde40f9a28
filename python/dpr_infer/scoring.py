# Ranks the catalogue for encoded queries: filters and rule around the kernel of dpr_infer._core.

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import Catalogue, ScoreRule
from dpr_infer.bundle import Bundle
from dpr_infer.errors import BundleError, QueryError
from dpr_infer.filters import flatten_rows, tag_filter
from dpr_infer.query_encoder import EncodedQueries
from dpr_infer.request import Options
from dpr_infer.tag_clauses import TagClauses, compile_expression
from dpr_infer.where import parse_where

_WHERE_CACHE_SIZE = 128


class Scorer:
    """A bundle's catalogue together with its rule of scoring.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.

    Raises
    ------
    BundleError
        If an item vector is not finite.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        try:
            self._catalogue = Catalogue(bundle.catalogue.vectors, bundle.catalogue.tag_bits)
        except ValueError as error:
            raise BundleError(f"catalogue.safetensors: {error}") from error
        self._rule = ScoreRule(
            roles=[expert.role for expert in manifest.experts],
            biases=[expert.bias for expert in manifest.experts],
            phi=manifest.phi,
            gain=manifest.gain,
        )
        self._tags = manifest.tags
        self._tag_words = manifest.dims.tag_words
        self._clauses = lru_cache(maxsize=_WHERE_CACHE_SIZE)(self._compile)

    def search(
        self, encoded: EncodedQueries, excluded: Sequence[Sequence[int]], options: Options, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find each query's best items.

        Parameters
        ----------
        encoded : EncodedQueries
            B queries.
        excluded : sequence of sequence of int, length B
            Rows that must not be returned, in any order.
        options : Options
            Strength, strictness and tag expression.
        k : int
            Columns of the result.

        Returns
        -------
        rows : ndarray of int64, shape (B, k)
            Best first, padded with -1.
        scores : ndarray of float32, shape (B, k)
            Their scores, padded with -inf.

        Raises
        ------
        WhereError
            If the tag expression is wrong.
        QueryError
            If the kernel cannot score the query, as when scores overflow.
        """
        offsets, rows = flatten_rows(excluded)
        refused = [
            reading.refused_words if options.strict and reading is not None else None
            for reading, _ in encoded.readings
        ]
        clauses = None if options.where is None else self._clauses(options.where)
        try:
            return self._catalogue.search(
                encoded.user,
                encoded.experts,
                encoded.gates,
                rule=self._rule,
                strength=np.full(len(refused), options.strength, dtype=np.float32),
                k=k,
                excluded_offsets=offsets,
                excluded_rows=rows,
                tag_filter=tag_filter(clauses, refused, self._tag_words),
            )
        except ValueError as error:
            raise QueryError(f"the query cannot be scored: {error}") from error

    def check_where(self, text: str) -> None:
        """Check a tag expression, raising WhereError if it is wrong."""
        self._clauses(text)

    def _compile(self, text: str) -> TagClauses | None:
        tree = parse_where(text, self._tags)
        return None if tree is None else compile_expression(tree, self._tag_words)
