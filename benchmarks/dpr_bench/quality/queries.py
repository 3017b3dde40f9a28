# Which users are asked what. The tasks are dpr_train's; here the tag is also chosen without a rule.
"""Evaluation queries: the tag chosen hard, as in training, or uniformly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dpr_train.evaluate import TaskQueries, make_tasks, queries_of
from dpr_train.tasks import HABIT, recent_tag_counts

__all__ = ["CHOICES", "choose_uniformly", "make_queries", "recent_counts"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

CHOICES = ("hard", "uniform")
_UNIFORM_SEED = 7919  # apart from the seed of the prompts' words


def make_queries(
    choice: str, histories: Sequence[IntArray], targets: IntArray, tags: BoolArray, *, seed: int
) -> list[TaskQueries]:
    """Queries of the four tasks.

    Parameters
    ----------
    choice : {"hard", "uniform"}
        "hard" asks for the tag of the target that the habit leads to least, and refuses the strongest habit that the
        target breaks. "uniform" asks for any tag of the target, and refuses any habit (at least three of the last ten
        items) that the target breaks: nothing about the choice is known to whoever trains.
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    tags : bool (N, G)
        Which item has which tag.
    seed : int
        Of the uniform choice.
    """
    if choice == "hard":
        return make_tasks(histories, targets, tags)
    rng = np.random.default_rng([seed, _UNIFORM_SEED])
    carried = tags[targets]  # (U, G)
    habits = ~carried & (recent_counts(histories, tags) >= HABIT)
    asked, refused = choose_uniformly(carried, rng), choose_uniformly(habits, rng)
    return queries_of(asked, refused)


def recent_counts(histories: Sequence[IntArray], tags: BoolArray) -> IntArray:
    """How many of the last ten items of each history carry each tag, int64 (U, G)."""
    return np.stack([recent_tag_counts(history, tags) for history in histories])


def choose_uniformly(allowed: BoolArray, rng: np.random.Generator) -> IntArray:
    """One allowed column of each row, each as likely as the others: bool (U, G) -> int64 (U,); -1 where none is."""
    draws = np.where(allowed, rng.random(allowed.shape), -1.0)
    return np.where(allowed.any(1), draws.argmax(1), -1)
