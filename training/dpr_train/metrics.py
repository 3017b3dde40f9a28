# Ranks and the metrics computed from them. One target a query, full ranking.
"""Full-ranking metrics of queries with one relevant item each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_train.devices import tensors_on

__all__ = ["hit_rate", "mask_items", "ndcg", "target_rank", "top_rows"]


def mask_items(scores: Tensor, histories: Sequence[npt.NDArray[np.int64]]) -> Tensor:
    """Give every query's own items the score -inf, in place.

    Parameters
    ----------
    scores : Tensor
        float32 (B, N).
    histories : sequence of int64 arrays
        Item rows, one array a query.

    Returns
    -------
    Tensor
        ``scores``.
    """
    queries = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    scores[tensors_on(scores.device, queries, np.concatenate(histories))] = float("-inf")
    return scores


def target_rank(scores: Tensor, target: Tensor) -> Tensor:
    """Position of each query's target in the order score descending, then row ascending.

    Parameters
    ----------
    scores : Tensor
        float32 (B, N); masked items hold -inf.
    target : Tensor
        int64 (B,), rows.

    Returns
    -------
    Tensor
        int64 (B,), from 0. A target that is masked itself ranks N: it can't be recommended.
    """
    own = scores.gather(1, target[:, None])
    rows = torch.arange(scores.shape[1], device=scores.device)[None]
    before = (scores > own) | ((scores == own) & (rows < target[:, None]))
    return torch.where(torch.isneginf(own[:, 0]), scores.shape[1], before.sum(1))


def top_rows(scores: Tensor, k: int) -> Tensor:
    """Rows of the k best items of each query, int64 (B, min(k, N)), ties by row; masked ones are -1."""
    # A stable sort of the negated scores keeps ties in row order; topk does not promise any.
    order = torch.sort(-scores, dim=1, stable=True).indices[:, :k]
    return torch.where(torch.isneginf(scores.gather(1, order)), -1, order)


def hit_rate(rank: np.ndarray, k: int = 10) -> np.ndarray:
    """HR@k of each query, float64 (B,), from ranks that start at 0."""
    return (rank < k).astype(np.float64)


def ndcg(rank: np.ndarray, k: int = 10) -> np.ndarray:
    """NDCG@k of each query with one relevant item, float64 (B,): 1 / log2(rank + 2) inside the top k, else 0.

    References
    ----------
    Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002.
    """
    return np.where(rank < k, 1.0 / np.log2(rank + 2.0), 0.0)
