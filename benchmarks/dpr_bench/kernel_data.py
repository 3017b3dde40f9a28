# Made-up vectors and queries, from fixed seeds: items of 256 clusters, and items without any structure.
"""Vectors and queries for the kernel's benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Data", "clustered", "half_of", "iid"]

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

_CHUNK = 1 << 18  # rows made at once: ten million need no more scratch memory than these


@dataclass(frozen=True, kw_only=True)
class Data:
    """A catalogue's vectors, and queries from the same source.

    ``vectors`` is float32 (N, D), ``queries`` and ``tuning`` are float32 (Q, D) and (T, D): settings of approximate
    peers are chosen on ``tuning``, everything else is measured on ``queries``. ``parts`` are the widths that sum to D.
    ``centres`` float32 (C, D) and ``query_clusters`` int64 (Q,) are there for clustered data alone; the centres are as
    long as a typical item. ``steering`` says what away experts want of the same queries, where real ones are known.
    """

    name: str
    vectors: F32
    queries: F32
    tuning: F32
    parts: tuple[int, ...]
    centres: F32 | None = None
    query_clusters: I64 | None = None
    steering: Steering | None = None

    @property
    def n_items(self) -> int:
        """N."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.vectors.shape[1])


@dataclass(frozen=True, kw_only=True)
class Steering:
    """Away experts of Q queries: ``away`` float32 (Q, M, D), ``gates`` float32 (Q, M), M biases, phi and its gain."""

    away: F32
    gates: F32
    biases: tuple[float, ...]
    phi: str
    gain: float


def clustered(
    n_items: int,
    dim: int,
    *,
    n_queries: int = 512,
    n_tuning: int = 512,
    n_clusters: int = 256,
    cosine: float = 0.7,
    sigma: float = 0.3,
    seed: int = 0,
) -> Data:
    """Make items that lie around cluster centres, with log-normal norms.

    Parameters
    ----------
    n_items, dim : int
        N and D >= 2.
    n_queries, n_tuning : int
        Q and T; drawn from the same mixture.
    n_clusters : int
        C; every item belongs to one, all equally likely.
    cosine : float
        Between an item and its centre.
    sigma : float
        Standard deviation of the norm's logarithm.
    seed : int
        Equal seeds give equal data.

    Returns
    -------
    Data
        ``centres`` have the items' median norm, 1.
    """
    rng = np.random.default_rng([seed, 0])
    centres = rng.standard_normal((n_clusters, dim), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def draw(stream: np.random.Generator, count: int) -> tuple[F32, I64]:
        chosen = stream.integers(0, n_clusters, count)
        near = centres[chosen]
        across = stream.standard_normal((count, dim), dtype=np.float32)
        across -= np.sum(across * near, axis=1, keepdims=True) * near
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        norms = np.exp(sigma * stream.standard_normal((count, 1), dtype=np.float32))
        made = (np.float32(cosine) * near + np.float32(np.sqrt(1 - cosine**2)) * across) * norms
        return np.ascontiguousarray(made, dtype=np.float32), chosen

    vectors = np.empty((n_items, dim), dtype=np.float32)
    for stream, place in _chunks(n_items, seed):
        vectors[place] = draw(stream, place.stop - place.start)[0]
    asked, clusters = draw(np.random.default_rng([seed, 1]), n_queries + n_tuning)
    return Data(
        name="clustered",
        vectors=vectors,
        queries=asked[:n_queries],
        tuning=asked[n_queries:],
        parts=(dim,),
        centres=centres,
        query_clusters=clusters[:n_queries],
    )


def iid(n_items: int, dim: int, *, n_queries: int = 512, n_tuning: int = 512, seed: int = 0) -> Data:
    """Make items and queries of independent standard normal numbers.

    Parameters
    ----------
    n_items, dim, n_queries, n_tuning, seed : int
        As for `clustered`.

    Returns
    -------
    Data
        Without centres.
    """
    vectors = np.empty((n_items, dim), dtype=np.float32)
    for stream, place in _chunks(n_items, seed):
        count = place.stop - place.start
        vectors[place] = stream.standard_normal((count, dim), dtype=np.float32)
    asked = np.random.default_rng([seed, 1]).standard_normal((n_queries + n_tuning, dim), dtype=np.float32)
    return Data(
        name="iid", vectors=vectors, queries=asked[:n_queries], tuning=asked[n_queries:], parts=(dim,)
    )


def half_of(n_items: int, *, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Choose a random half of the items.

    Parameters
    ----------
    n_items : int
        N.
    seed : int
        Equal seeds choose the same items.

    Returns
    -------
    ndarray of bool, shape (N,)
        Exactly N // 2 of them true.
    """
    chosen = np.zeros(n_items, dtype=np.bool_)
    chosen[np.random.default_rng([seed, 3]).permutation(n_items)[: n_items // 2]] = True
    return chosen


def _chunks(n_items: int, seed: int) -> Iterator[tuple[np.random.Generator, slice]]:
    """A random stream of its own for every chunk of rows."""
    for number, start in enumerate(range(0, n_items, _CHUNK)):
        yield np.random.default_rng([seed, 2, number]), slice(start, min(start + _CHUNK, n_items))
