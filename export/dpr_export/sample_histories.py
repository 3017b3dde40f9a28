# Whom to ask for when a bundle is measured: the export knows no user but the examples.
"""Histories for measurements of a bundle."""

from __future__ import annotations

import numpy as np

from dpr_infer import Recommender

__all__ = ["sample_histories"]

_LONGEST = 50


def sample_histories(
    recommender: Recommender, count: int, *, seed: int
) -> tuple[list[list[str]], dict[str, int]]:
    """Examples of the bundle, filled up with histories of items drawn at random.

    Parameters
    ----------
    recommender : Recommender
        Of the bundle.
    count : int
        How many histories.
    seed : int
        Of the drawing.

    Returns
    -------
    histories : list of list of str
        Item ids.
    counts : dict
        How many are ``examples`` and how many were ``drawn``.
    """
    examples = [list(history) for history in recommender.examples.values()][:count]
    rng = np.random.default_rng(seed)
    ids = recommender.items.ids
    longest = min(_LONGEST, recommender.manifest.history_limit, len(ids))
    drawn = [
        [ids[row] for row in rng.choice(len(ids), rng.integers(1, longest + 1), replace=False)]
        for _ in range(count - len(examples))
    ]
    return examples + drawn, {"examples": len(examples), "drawn": len(drawn)}
