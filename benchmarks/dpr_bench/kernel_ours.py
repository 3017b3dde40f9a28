# Our side of the kernel's benchmarks: the public class as users call it, and the native call beneath it.
"""dpr-infer's catalogue, ready to be asked and timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from dpr_bench.kernel_question import Answer, Question
from dpr_bench.kernel_reference import core_arguments, core_rule
from dpr_infer import Catalogue, _core

__all__ = ["NativeIndex", "OurIndex", "Work"]

F32 = npt.NDArray[np.float32]
_BLOCK_ITEMS = 64


@dataclass(frozen=True)
class Work:
    """What one call read and computed, mean over calls.

    ``pairs`` are (block, query) pairs, ``scanned`` those whose codes were read, ``rescored`` the items whose float32
    score was computed, ``bytes_read`` codes (each block once a call) and rescored vectors, ``operations``
    multiplications and additions of the codes that were read.
    """

    pairs: float
    scanned: float
    rescored: float
    bytes_read: float
    operations: float


class OurIndex:
    """`dpr_infer.Catalogue` over vectors that may carry the tag "half".

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        The items.
    parts : tuple of int
        Widths that sum to D.
    half : ndarray of bool, shape (N,), optional
        Items with the tag.
    threads : int
        For building; searches are told theirs.
    """

    def __init__(
        self,
        vectors: F32,
        parts: tuple[int, ...],
        *,
        half: npt.NDArray[np.bool_] | None = None,
        threads: int = 2,
    ) -> None:
        tags = None if half is None else [("half",) if tagged else () for tagged in half.tolist()]
        read_only = vectors.view()
        read_only.flags.writeable = False  # the class looks at such an array where it lies
        begun = perf_counter()
        self.catalogue = Catalogue(read_only, tags, parts=list(parts), threads=threads)
        self.build_s = perf_counter() - begun
        self._block_bytes = _BLOCK_ITEMS * sum(-(-width // 4) * 4 for width in parts)

    def call(self, question: Question, *, threads: int = 1) -> Callable[[], Answer]:
        """A call that answers, with everything that can be made ready before made ready.

        Parameters
        ----------
        question : Question
            B queries.
        threads : int
            For the search.

        Returns
        -------
        callable
            Returns rows int64 (B, k) and scores float32 (B, k).
        """
        return partial(
            self.catalogue.search, question.queries, question.k, threads=threads, **_options(question)
        )

    def work(self, question: Question, batch: int) -> Work:
        """Count what a call does.

        Parameters
        ----------
        question : Question
            All queries.
        batch : int
            Queries a call.

        Returns
        -------
        Work
            Mean over the calls.
        """
        counters = _core.SearchCounters()
        bytes_read = 0.0
        parts = list(question.split(batch))
        for part in parts:
            pairs, scanned, rescored = counters.n_pairs, counters.n_pairs_scanned, counters.n_rescored
            self.catalogue.search(part.queries, part.k, threads=1, counters=counters, **_options(part))
            blocks = min(counters.n_pairs_scanned - scanned, (counters.n_pairs - pairs) / batch)
            bytes_read += blocks * self._block_bytes
            bytes_read += (counters.n_rescored - rescored) * 4 * question.queries.shape[1]
        return Work(
            pairs=counters.n_pairs / len(parts),
            scanned=counters.n_pairs_scanned / len(parts),
            rescored=counters.n_rescored / len(parts),
            bytes_read=bytes_read / len(parts),
            operations=2.0 * counters.n_pairs_scanned * self._block_bytes / len(parts),
        )


class NativeIndex:
    """`dpr_infer._core.Catalogue` with an index of its own, for levels and for what the class above it costs.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        The items.
    parts : tuple of int
        Widths that sum to D.
    index : mapping of str to ndarray, optional
        As `build_index` made it; built here if not given.
    simd_level : str, optional
        Of the search; the highest by default.
    """

    def __init__(
        self,
        vectors: F32,
        parts: tuple[int, ...],
        *,
        index: Mapping[str, npt.NDArray[Any]] | None = None,
        simd_level: str | None = None,
    ) -> None:
        self.index = (
            _core.build_index(vectors, parts=list(parts), threads=2) if index is None else dict(index)
        )
        self._catalogue = _core.Catalogue(vectors, index=self.index, parts=list(parts), simd_level=simd_level)

    def call(self, question: Question, *, threads: int = 1) -> Callable[[], Answer]:
        """As `OurIndex.call`, without tags."""
        return partial(
            self._catalogue.search,
            *core_arguments(question),
            rule=core_rule(question),
            strength=np.ones(len(question.queries), dtype=np.float32),
            k=question.k,
            threads=threads,
        )


def _options(question: Question) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if question.away is not None:
        options = {
            "away": question.away,
            "gates": question.gates,
            "biases": question.biases,
            "phi": question.phi,
            "gain": question.gain,
        }
    return {**options, "where": "half"} if question.half else options
