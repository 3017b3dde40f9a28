# Brings peers to the terms of a comparison: the better setting of an exact one, the recall of an approximate one.
"""Choose settings of peers, on queries other than those that are timed."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import numpy.typing as npt

from dpr_bench.kernel_peers_approximate import ApproximatePeer, AtEffort
from dpr_bench.kernel_peers_exact import Peer
from dpr_bench.kernel_question import Rows, recall

__all__ = ["faster_of", "fastest_at_recall"]

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

_LONG_S = 0.3


def fastest_at_recall(
    peer: ApproximatePeer, queries: F32, expected: I64, target: float
) -> tuple[AtEffort, float]:
    """Find the effort that reaches a recall in the least time.

    Parameters
    ----------
    peer : ApproximatePeer
        The index.
    queries : ndarray of float32, shape (T, D)
        Queries that are not timed later.
    expected : ndarray of int64, shape (T, k)
        Their exact answers.
    target : float
        Recall@k to reach.

    Returns
    -------
    peer : AtEffort
        The fastest that reaches it; if none does, the one with the highest recall.
    reached : float
        Its recall on these queries.
    """
    measured = []
    for effort in peer.efforts:
        contender = AtEffort(peer, effort)
        rows, seconds = _timed_search(contender, queries, expected.shape[1])
        measured.append((recall(rows, expected), seconds, contender))
    enough = [entry for entry in measured if entry[0] >= target]
    best = min(enough, key=lambda entry: entry[1]) if enough else max(measured, key=lambda entry: entry[0])
    return best[2], best[0]


def faster_of(peers: Sequence[Peer], queries: F32, k: int) -> tuple[Peer, str]:
    """Find the faster of peers that give the same answer.

    Parameters
    ----------
    peers : sequence of Peer
        At least one.
    queries : ndarray of float32, shape (B, D)
        As many as the calls to be timed have.
    k : int
        Likewise.

    Returns
    -------
    peer : Peer
        The fastest.
    note : str
        What each took.
    """
    seconds = [_timed_search(peer, queries, k)[1] for peer in peers]
    note = ", ".join(f"{peer.name} {1e3 * took:.3g} ms" for peer, took in zip(peers, seconds, strict=True))
    return peers[int(np.argmin(seconds))], note


def _timed_search(peer: Peer, queries: F32, k: int) -> tuple[Rows, float]:
    """Rows, and the seconds of the better of two runs; of one alone if that takes long."""
    taken: list[float] = []
    while not taken or (len(taken) < 2 and taken[0] < _LONG_S):
        begun = perf_counter()
        rows = peer.search(queries, k)
        taken.append(perf_counter() - begun)
    return rows, min(taken)
