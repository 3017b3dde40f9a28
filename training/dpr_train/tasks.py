# What a prompt asks of a user, derived from history and target. Used to draw training prompts and to evaluate.
"""The promptable tasks: which tag a prompt names, given what the user took and takes next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["RECENT", "recent_tag_counts", "refused_tag", "wanted_tag"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

RECENT = 10  # how many of the newest items make a habit


def recent_tag_counts(history: IntArray, tag_matrix: BoolArray) -> IntArray:
    """c(g): how many of the last 10 items of a history carry each tag, int64 (G,)."""
    return tag_matrix[history[-RECENT:]].sum(0, dtype=np.int64)


def wanted_tag(target_tags: BoolArray, counts: IntArray, frequency: IntArray) -> int | None:
    """The tag of the target that the habit leads to least: c(g) <= 1, the least c, then the rarest in the catalogue.

    Parameters
    ----------
    target_tags : bool (G,)
        Tags of the target.
    counts : int64 (G,)
        :func:`recent_tag_counts` of the history.
    frequency : int64 (G,)
        How many items of the catalogue carry each tag.

    Returns
    -------
    int or None
        None if the target has no such tag.
    """
    candidates = np.flatnonzero(target_tags & (counts <= 1))
    if not len(candidates):
        return None
    order = np.lexsort((frequency[candidates], counts[candidates]))
    return int(candidates[order[0]])


def refused_tag(target_tags: BoolArray, counts: IntArray) -> int | None:
    """The habit that the target breaks: a tag it lacks, c(g) >= 3, the largest c (the first of equals); else None."""
    candidates = np.flatnonzero(~target_tags & (counts >= 3))
    if not len(candidates):
        return None
    return int(candidates[np.argmax(counts[candidates])])
