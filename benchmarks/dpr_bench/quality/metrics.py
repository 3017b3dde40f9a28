# What is measured of one ranked list. Ranks of targets are dpr_train.metrics'; this is the rest of a top ten.
"""Metrics of the top k: wanted and refused tags, popularity, diversity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["best_rows", "diversity", "popularity_percentiles", "share_carrying", "tag_similarity_of_pairs"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SPARE = 32  # items looked at beyond k, so that equal scores at the end of the list are in the order of rows


def best_rows(scores: Tensor, k: int) -> IntArray:
    """Rows of the k best items, ties by row: :func:`dpr_train.metrics.top_rows` without sorting the catalogue.

    Parameters
    ----------
    scores : Tensor
        float32 (B, N); -inf is never returned. At most 32 items may share the score of the last one.
    k : int
        Length of the list.

    Returns
    -------
    ndarray
        int64 (B, min(k, N)), -1 where nothing is left.
    """
    values, rows = torch.topk(scores, min(k + _SPARE, scores.shape[1]), dim=1)
    rows, order = torch.sort(rows, dim=1)
    values = values.gather(1, order)
    best = torch.sort(-values, dim=1, stable=True).indices[:, :k]
    rows, values = rows.gather(1, best), values.gather(1, best)
    return torch.where(torch.isneginf(values), -1, rows).numpy()


def share_carrying(top: IntArray, items: BoolArray) -> FloatArray:
    """Share of each list that is marked, float64 (B,).

    Parameters
    ----------
    top : int64 (B, k)
        Rows, -1 for none; a shorter list counts by its length, an empty one is 0.
    items : bool (B, N)
        The items marked for each query.
    """
    returned = top >= 0
    marked = np.take_along_axis(items, np.maximum(top, 0), axis=1) & returned
    share: FloatArray = marked.sum(1) / np.maximum(1, returned.sum(1))
    return share


def popularity_percentiles(interactions: Sequence[IntArray], n_items: int) -> FloatArray:
    """How popular each item is, float64 (N,) in [0, 1]: the share of items taken less often, ties counted half.

    Examples
    --------
    >>> popularity_percentiles([np.array([0, 1, 1]), np.array([1, 2])], 4).tolist()
    [0.5, 0.875, 0.5, 0.125]
    """
    counts = np.bincount(np.concatenate(interactions), minlength=n_items)
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, counts, side="left")
    up_to = np.searchsorted(ordered, counts, side="right")
    middle: FloatArray = (below + up_to) / (2.0 * n_items)
    return middle


def tag_similarity_of_pairs(top: IntArray, tags: BoolArray) -> FloatArray:
    """Jaccard similarity of the tags of every two places, float64 (B, k, k); items without tags share nothing."""
    carried = tags[np.maximum(top, 0)].astype(np.float32)  # (B, k, G)
    shared = carried @ carried.transpose(0, 2, 1)
    sizes = carried.sum(2)
    union = sizes[:, :, None] + sizes[:, None] - shared
    similarity: FloatArray = (shared / np.maximum(union, 1)).astype(np.float64)
    return similarity


def diversity(top: IntArray, tags: BoolArray) -> FloatArray:
    """Intra-list diversity of each list, float64 (B,): 1 - the mean Jaccard similarity of its pairs.

    A list of fewer than two items is 0.
    """
    k = top.shape[1]
    returned = top >= 0
    pairs = returned[:, :, None] & returned[:, None] & ~np.eye(k, dtype=np.bool_)
    similar = np.where(pairs, tag_similarity_of_pairs(top, tags), 0.0).sum((1, 2))
    count = pairs.sum((1, 2))
    return np.where(count > 0, 1 - similar / np.maximum(1, count), 0.0)
