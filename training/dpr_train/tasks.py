# What a prompt asks of a user, derived from history and target. Used to draw training prompts and to evaluate.
"""The promptable tasks: which tag a prompt names, given what the user took and takes next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "FEW",
    "HABIT",
    "RECENT",
    "recent_tag_counts",
    "refused_tag",
    "refused_tags",
    "wanted_tag",
    "wanted_tags",
]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

RECENT = 10  # how many of the newest items tell a habit
FEW, HABIT = 1, 3  # of them: at most so many with a tag lead away from it; at least so many make it a habit


def recent_tag_counts(history: IntArray, tag_matrix: BoolArray) -> IntArray:
    """c(g): how many of the last 10 items of a history carry each tag, int64 (G,)."""
    return tag_matrix[history[-RECENT:]].sum(0, dtype=np.int64)


def wanted_tags(target_tags: BoolArray, counts: IntArray, frequency: IntArray) -> IntArray:
    """Tags of the target that habit hardly leads to, c(g) <= 1: the least c first, then the rarest in the catalogue.

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
    ndarray
        int64 (at most G,), best first, equals in the order of tags.
    """
    candidates = np.flatnonzero(target_tags & (counts <= FEW))
    return candidates[np.lexsort((frequency[candidates], counts[candidates]))]


def wanted_tag(target_tags: BoolArray, counts: IntArray, frequency: IntArray) -> int | None:
    """The first of :func:`wanted_tags`, or None if there is none."""
    return _first(wanted_tags(target_tags, counts, frequency))


def refused_tags(target_tags: BoolArray, counts: IntArray) -> IntArray:
    """Habits that the target breaks: tags that it lacks, c(g) >= 3, the largest c first, equals in the order of tags.

    Parameters
    ----------
    target_tags : bool (G,)
        Tags of the target.
    counts : int64 (G,)
        :func:`recent_tag_counts` of the history.

    Returns
    -------
    ndarray
        int64 (at most G,).
    """
    candidates = np.flatnonzero(~target_tags & (counts >= HABIT))
    return candidates[np.argsort(-counts[candidates], kind="stable")]


def refused_tag(target_tags: BoolArray, counts: IntArray) -> int | None:
    """The first of :func:`refused_tags`, or None if there is none."""
    return _first(refused_tags(target_tags, counts))


def _first(tags: IntArray) -> int | None:
    return int(tags[0]) if len(tags) else None
