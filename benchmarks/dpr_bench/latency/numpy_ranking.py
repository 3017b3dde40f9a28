# Scores of all items by NumPy, and by faiss: how the catalogue is searched without our kernel.
"""Rank a catalogue for encoded queries, without dpr-infer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import faiss
import numpy as np

from dpr_bench.latency.pipeline import F32, Rows
from dpr_infer.manifest import Manifest

__all__ = ["FaissRanking", "NumpyRanking", "Ranking"]

_FIRST_FETCH = 4  # times k
_MORE = 4  # times as many, where those don't prove the answer
_LARGE_PART = 0.25


class Ranking(Protocol):
    """Searches all items."""

    def top(self, user: F32, experts: F32, gates: F32, excluded: Sequence[Rows], k: int) -> Rows:
        """Best k rows of each query, int64 (B, k): user (B, dc), experts (B, E, D), gates (B, E), rows to leave out."""


class _Score:
    """The score of docs/design.md in NumPy; an expert whose gate is closed in the whole batch costs nothing."""

    def __init__(self, manifest: Manifest, vectors: F32) -> None:
        self.vectors = vectors
        self._manifest = manifest
        self._width = manifest.dims.item

    def query(self, user: F32, experts: F32, gates: F32) -> F32:
        """The queries q, (B, D)."""
        query = np.zeros((len(user), self._width), dtype=np.float32)
        query[:, : user.shape[1]] = user  # np.pad takes some 30 us longer
        for e, expert in enumerate(self._manifest.experts):
            if expert.role == "toward":
                query += gates[:, e : e + 1] * experts[:, e]
        return query

    def of_all(self, user: F32, experts: F32, gates: F32) -> F32:
        """The scores of all items, (B, N): one product with q and every open away expert reads the items once."""
        queries, away = self.query(user, experts, gates), self._open_away(gates)
        stacked = np.concatenate([queries, *(experts[:, e] for e in away)]) if away else queries
        scores, *products = np.split(stacked @ self.vectors.T, 1 + len(away))
        return self._penalised(scores, products, away, gates)

    def penalised(self, scores: F32, experts: F32, gates: F32, vectors: F32) -> F32:
        """Subtract the penalty from scores (B, n) of items (n, D), in place; returns them."""
        away = self._open_away(gates)
        return self._penalised(scores, [experts[:, e] @ vectors.T for e in away], away, gates)

    def _open_away(self, gates: F32) -> list[int]:
        roles = [expert.role for expert in self._manifest.experts]
        return [e for e, role in enumerate(roles) if role != "toward" and gates[:, e].any()]

    def _penalised(self, scores: F32, products: Sequence[F32], away: Sequence[int], gates: F32) -> F32:
        for e, x in zip(away, products, strict=True):
            x += np.float32(self._manifest.experts[e].bias)
            scores -= gates[:, e : e + 1] * self._phi(x)
        return scores

    def _phi(self, x: F32) -> F32:
        if self._manifest.phi == "relu":
            return np.maximum(x, 0, out=x)
        x *= np.float32(self._manifest.gain)
        # Ten times as fast as logaddexp, for which NumPy has no vector code.
        tail: F32 = np.log1p(np.exp(-np.abs(x)))
        tail += np.maximum(x, 0, out=x)
        tail /= np.float32(self._manifest.gain)
        return tail


class NumpyRanking:
    """All scores by matrix products, `argpartition` for the top k.

    Parameters
    ----------
    manifest : Manifest
        Of the bundle: roles, biases and phi.
    vectors : ndarray of float32, shape (N, D)
        The items.
    """

    def __init__(self, manifest: Manifest, vectors: F32) -> None:
        self._score = _Score(manifest, vectors)

    def top(self, user: F32, experts: F32, gates: F32, excluded: Sequence[Rows], k: int) -> Rows:
        """See :class:`Ranking`."""
        scores = self._score.of_all(user, experts, gates)
        for query, rows in enumerate(excluded):
            scores[query, rows] = -np.inf
        return _best(scores, k)


class FaissRanking:
    """faiss's flat index by inner product, exact with penalties too.

    An index of inner products knows no penalty. But a penalty only lowers a score, so <q, v> bounds it from above:
    a few times k items are fetched by <q, v> and rescored in NumPy, and where the k-th of their scores reaches the
    lowest <q, v> that was fetched, no other item can be better. Where it does not, four times as many are fetched;
    and where that would be a large part of the catalogue, NumPy scores all of it, which is faster then.

    Parameters
    ----------
    manifest : Manifest
        Of the bundle: roles, biases and phi.
    vectors : ndarray of float32, shape (N, D)
        The items.
    """

    def __init__(self, manifest: Manifest, vectors: F32) -> None:
        self._score = _Score(manifest, vectors)
        self._all = NumpyRanking(manifest, vectors)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)

    def top(self, user: F32, experts: F32, gates: F32, excluded: Sequence[Rows], k: int) -> Rows:
        """See :class:`Ranking`."""
        query = self._score.query(user, experts, gates)
        found = np.empty((len(query), k), dtype=np.int64)
        rest = np.arange(len(query))  # queries whose answer is not proven
        fetch = _FIRST_FETCH * k + max(map(len, excluded), default=0)
        while len(rest) and fetch <= _LARGE_PART * self._index.ntotal:
            bounds, rows = self._index.search(query[rest], fetch)  # (b, fetch) each
            proven = []
            for place, b in enumerate(rest.tolist()):
                best, complete = self._rescored(
                    bounds[place], rows[place], experts[b : b + 1], gates[b : b + 1], excluded[b], k
                )
                if complete:
                    found[b] = best
                    proven.append(place)
            rest = np.delete(rest, proven)
            fetch *= _MORE
        if len(rest):
            some = [excluded[b] for b in rest.tolist()]
            found[rest] = self._all.top(user[rest], experts[rest], gates[rest], some, k)
        return found

    def _rescored(
        self, bounds: F32, rows: Rows, experts: F32, gates: F32, excluded: Rows, k: int
    ) -> tuple[Rows, bool]:
        """The best k of the fetched rows, and whether no row beyond them can be better."""
        lowest = bounds[-1]
        allowed = ~np.isin(rows, excluded)
        rows, scores = rows[allowed], bounds[allowed][None].copy()
        self._score.penalised(scores, experts, gates, self._score.vectors[rows])
        if len(rows) < k:
            return rows, False
        best = _best(scores, k)[0]
        return rows[best], bool(scores[0, best[-1]] >= lowest)


def _best(scores: F32, k: int) -> Rows:
    """Places of the k largest of each row, largest first, (B, k)."""
    best = np.argpartition(scores, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)
