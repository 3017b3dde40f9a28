# Picks a few real histories for demonstrations.
"""Example users: different habits, histories long enough to show."""

from __future__ import annotations

import numpy as np

from dpr_train.data import Dataset
from dpr_train.tasks import recent_tag_counts

__all__ = ["choose_examples"]

_HISTORY = 15  # shortest history worth showing, where a data set has any


def choose_examples(dataset: Dataset, count: int = 8) -> list[tuple[str, list[str]]]:
    """Names and histories (item ids, oldest first) of users whose newest items lean on one tag each.

    Tags are tried from the most frequent one down, and each takes the user who leans on it most.

    Parameters
    ----------
    dataset : Dataset
        Where the users come from.
    count : int
        Most examples to choose.
    """
    tags = dataset.tag_matrix
    counts = np.stack([recent_tag_counts(sequence, tags) for sequence in dataset.sequences])  # (U, G)
    lengths = np.array([len(sequence) for sequence in dataset.sequences])
    usable = lengths >= min(_HISTORY, int(np.median(lengths)))
    chosen: list[int] = []
    for tag in np.argsort(-tags.sum(0), kind="stable")[:count]:
        lean = np.where(usable, counts[:, tag], -1)
        lean[chosen] = -1
        if lean.max() >= 0:
            chosen.append(int(np.argmax(lean)))
    ids = dataset.items.ids
    return [(f"user {dataset.user_ids[u]}", [ids[row] for row in dataset.sequences[u]]) for u in chosen]
