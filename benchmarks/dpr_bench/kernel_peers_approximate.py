# Approximate peers: graphs, inverted lists and quantised trees. Each has an effort, which buys recall with time.
"""Approximate search by other libraries, behind one signature."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import faiss
import hnswlib
import numpy as np
import numpy.typing as npt
import scann
import usearch.index

from dpr_bench.kernel_index_cache import Built, IndexCache
from dpr_bench.kernel_threads import building_threads, n_cores, without_stderr

__all__ = ["APPROXIMATE", "ApproximatePeer", "AtEffort"]

F32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.integer[Any]]
Effort = tuple[int, ...]

_EF: tuple[Effort, ...] = tuple(
    (round(2 ** (step / 4)),) for step in range(16, 45)
)  # 16, 19, 23, 27, 32, ... 2048
_DEGREE = 16


class ApproximatePeer(Protocol):
    """An index of one library.

    ``setup`` says what was built; ``efforts`` are the settings to choose from, ``curve`` those that a plot shows. The
    first number of a graph's effort is at least k, or it is raised to that.
    """

    name: str
    is_graph: bool
    setup: str
    built: Built[Any]
    efforts: tuple[Effort, ...]
    curve: tuple[Effort, ...]

    def search(self, queries: F32, k: int, effort: Effort) -> Rows:
        """Rows int (B, k) of about the best items for queries float32 (B, D), on one thread."""

    def label(self, effort: Effort) -> str:
        """What the library calls the setting."""


class AtEffort:
    """An approximate peer with its effort fixed.

    Parameters
    ----------
    peer : ApproximatePeer
        The index.
    effort : tuple of int
        One of its settings.
    """

    def __init__(self, peer: ApproximatePeer, effort: Effort) -> None:
        self.name = f"{peer.name} {peer.label(effort)}"
        self.peer = peer
        self._effort = effort

    def search(self, queries: F32, k: int) -> Rows:
        """Rows int (B, k) of about the best items for queries float32 (B, D)."""
        return self.peer.search(queries, k, self._effort)


class HnswlibPeer:
    """hnswlib, compiled for this machine when it was installed."""

    name = "hnswlib"
    is_graph = True

    def __init__(self, vectors: F32, digest: str, cache: IndexCache, *, construction: int) -> None:
        setup = {
            "library": "hnswlib",
            "version": version("hnswlib"),
            "M": _DEGREE,
            "construction": construction,
        }
        self.setup = f"M={_DEGREE}, ef_construction={construction}"

        def build() -> hnswlib.Index:
            index = hnswlib.Index("ip", vectors.shape[1])
            index.init_index(len(vectors), M=_DEGREE, ef_construction=construction, random_seed=0)
            index.add_items(vectors, num_threads=n_cores())
            return index

        def load(path: str) -> hnswlib.Index:
            index = hnswlib.Index("ip", vectors.shape[1])
            index.load_index(path)
            return index

        self.built: Built[Any] = cache.get(
            setup, digest, build, lambda index, path: index.save_index(path), load
        )
        self.efforts: tuple[Effort, ...] = _EF
        self.curve: tuple[Effort, ...] = _EF[:25:3]

    def search(self, queries: F32, k: int, effort: Effort) -> Rows:
        """See :class:`ApproximatePeer`."""
        self.built.index.set_ef(max(effort[0], k))
        rows: Rows = self.built.index.knn_query(queries, k, num_threads=1)[0]
        return rows

    def label(self, effort: Effort) -> str:
        """See :class:`ApproximatePeer`."""
        return f"ef={effort[0]}"


class FaissHnswPeer:
    """faiss `IndexHNSWFlat`."""

    name = "faiss HNSW"
    is_graph = True

    def __init__(self, vectors: F32, digest: str, cache: IndexCache, *, construction: int) -> None:
        setup = {
            "library": "faiss-hnsw",
            "version": version("faiss-cpu"),
            "M": _DEGREE,
            "construction": construction,
        }
        self.setup = f"M={_DEGREE}, efConstruction={construction}"

        def build() -> faiss.IndexHNSWFlat:
            index = faiss.IndexHNSWFlat(vectors.shape[1], _DEGREE, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = construction
            with building_threads():
                index.add(vectors)
            return index

        self.built: Built[Any] = cache.get(setup, digest, build, faiss.write_index, faiss.read_index)
        self.efforts: tuple[Effort, ...] = _EF
        self.curve: tuple[Effort, ...] = _EF[:25:3]

    def search(self, queries: F32, k: int, effort: Effort) -> Rows:
        """See :class:`ApproximatePeer`."""
        self.built.index.hnsw.efSearch = max(effort[0], k)
        rows: Rows = self.built.index.search(queries, k)[1]
        return rows

    def label(self, effort: Effort) -> str:
        """See :class:`ApproximatePeer`."""
        return f"ef={effort[0]}"


class FaissIvfPeer:
    """faiss `IndexIVFFlat`, about sqrt(N) lists."""

    name = "faiss IVF"
    is_graph = False

    def __init__(self, vectors: F32, digest: str, cache: IndexCache, *, construction: int) -> None:
        lists = _power_of_two_near_root(len(vectors))
        setup = {"library": "faiss-ivf", "version": version("faiss-cpu"), "lists": lists}
        self.setup = f"{lists} lists"

        def build() -> faiss.IndexIVFFlat:
            dim = vectors.shape[1]
            coarse = faiss.IndexFlatIP(dim)
            index = faiss.IndexIVFFlat(coarse, dim, lists, faiss.METRIC_INNER_PRODUCT)
            with building_threads():
                index.train(vectors[:: max(1, len(vectors) // (64 * lists))])
                index.add(vectors)
            return index

        self.built: Built[Any] = cache.get(setup, digest, build, faiss.write_index, faiss.read_index)
        self.efforts: tuple[Effort, ...] = tuple(
            (probes,) for probes in (1, 2, 4, 8, 16, 32, 64, 128, 256) if probes <= lists
        )
        self.curve: tuple[Effort, ...] = self.efforts

    def search(self, queries: F32, k: int, effort: Effort) -> Rows:
        """See :class:`ApproximatePeer`."""
        self.built.index.nprobe = effort[0]
        rows: Rows = self.built.index.search(queries, k)[1]
        return rows

    def label(self, effort: Effort) -> str:
        """See :class:`ApproximatePeer`."""
        return f"nprobe={effort[0]}"


class UsearchPeer:
    """usearch in float32."""

    name = "usearch"
    is_graph = True

    def __init__(self, vectors: F32, digest: str, cache: IndexCache, *, construction: int) -> None:
        setup = {
            "library": "usearch",
            "version": version("usearch"),
            "M": _DEGREE,
            "construction": construction,
        }
        self.setup = f"connectivity={_DEGREE}, expansion_add={construction}"

        def build() -> usearch.index.Index:
            index = usearch.index.Index(
                ndim=vectors.shape[1],
                metric="ip",
                dtype="f32",
                connectivity=_DEGREE,
                expansion_add=construction,
            )
            index.add(np.arange(len(vectors)), vectors, threads=n_cores())
            return index

        self.built: Built[Any] = cache.get(
            setup, digest, build, lambda index, path: index.save(path), usearch.index.Index.restore
        )
        self.efforts: tuple[Effort, ...] = _EF
        self.curve: tuple[Effort, ...] = _EF[:25:3]

    def search(self, queries: F32, k: int, effort: Effort) -> Rows:
        """See :class:`ApproximatePeer`."""
        self.built.index.expansion_search = max(effort[0], k)
        rows: Rows = self.built.index.search(queries, k, threads=1).keys
        return rows.reshape(len(queries), k)

    def label(self, effort: Effort) -> str:
        """See :class:`ApproximatePeer`."""
        return f"ef={effort[0]}"


class ScannPeer:
    """ScaNN: a tree, anisotropic 4-bit codes, and reordering of the best in float32."""

    name = "ScaNN"
    is_graph = False
    _MOST_REORDERED = 400

    def __init__(self, vectors: F32, digest: str, cache: IndexCache, *, construction: int) -> None:
        leaves = 2 * _power_of_two_near_root(len(vectors))
        setup = {
            "library": "scann",
            "version": version("scann"),
            "leaves": leaves,
            "reorder": self._MOST_REORDERED,
        }
        self.setup = f"{leaves} leaves, 2 dimensions a code, threshold 0.2"

        def build() -> Any:
            maker = scann.scann_ops_pybind.builder(vectors, 10, "dot_product")
            maker = maker.set_n_training_threads(n_cores())
            maker = maker.tree(leaves, 32, training_sample_size=min(len(vectors), 128 * leaves))
            maker = maker.score_ah(2, anisotropic_quantization_threshold=0.2)
            with without_stderr():
                return maker.reorder(self._MOST_REORDERED).build()

        def save(index: Any, path: str) -> None:
            Path(path).mkdir(parents=True)
            with without_stderr():
                index.serialize(path, relative_path=True)

        self.built: Built[Any] = cache.get(setup, digest, build, save, _load_scann)
        some = [count for count in (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256) if count <= leaves]
        # Reordering only the 10 that are returned is no reordering at all.
        self.efforts: tuple[Effort, ...] = tuple(
            (count, kept) for kept in (10, 50, 100, 200, 400) for count in some
        )
        self.curve: tuple[Effort, ...] = tuple((count, 200) for count in some)

    def search(self, queries: F32, k: int, effort: Effort) -> Rows:
        """See :class:`ApproximatePeer`."""
        leaves, kept = effort[0], max(effort[1], k)
        if len(queries) == 1:
            one: Rows = self.built.index.search(queries[0], k, kept, leaves)[0]
            return one[None]
        rows: Rows = self.built.index.search_batched(queries, k, kept, leaves)[0]
        return rows

    def label(self, effort: Effort) -> str:
        """See :class:`ApproximatePeer`."""
        return f"leaves={effort[0]}, reorder={effort[1]}"


# Each takes the vectors (C order, kept alive by the caller), their digest, the cache, and how hard to build a graph.
APPROXIMATE: dict[str, Callable[..., ApproximatePeer]] = {
    peer.name: peer for peer in (HnswlibPeer, FaissHnswPeer, FaissIvfPeer, UsearchPeer, ScannPeer)
}


def _load_scann(path: str) -> Any:
    with without_stderr():
        return scann.scann_ops_pybind.load_searcher(path)


def _power_of_two_near_root(count: int) -> int:
    return int(2 ** round(np.log2(max(4, count)) / 2))
