# Weights of the baselines that have one, chosen on validation targets and training wording; the test is never seen.
"""Choose the weights of the boost and of additive steering on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from dpr_bench.quality.prompt_reading import read_prompts
from dpr_bench.quality.queries import make_queries
from dpr_bench.quality.subject import Subject, chunks
from dpr_bench.quality.systems import System, additive, boost
from dpr_train.evaluate import TaskQueries, Wording
from dpr_train.metrics import ndcg, target_rank

__all__ = ["ADDITIVE_GRID", "BOOST_GRID", "Weights", "best_weight", "tune"]

BOOST_GRID = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # standard deviations of a query's scores
# A cosine varies by about .1 over the items of a query. A negative weight pushes away what the prompt is about; it can
# know when to only because the weight is chosen for each task.
ADDITIVE_GRID = (-40.0, -20.0, -10.0, -5.0, -2.0, 0.0, 2.0, 5.0, 10.0, 20.0, 40.0)
_QUERIES = 1000  # of each task


@dataclass(frozen=True)
class Weights:
    """By task, the weight with the best NDCG@10 on validation targets, masked; ties go to the smaller one."""

    boost: dict[str, float] = field(default_factory=dict)
    additive: dict[str, float] = field(default_factory=dict)


def tune(validation: Subject, wording: Wording) -> Weights:
    """Choose both weights, for each task on its own, on at most a thousand queries.

    Parameters
    ----------
    validation : Subject
        On the validation split.
    wording : Wording
        Of the prompts that additive steering reads: training wording.
    """
    subject, weights = validation, Weights()
    for task in make_queries(
        "hard", subject.histories, subject.targets, subject.items.tags, seed=subject.seed
    ):
        if task.name == "standard" or not len(task):
            continue
        chosen = _sample(task, subject.seed)
        weights.boost[task.name] = best_weight(
            subject, chosen, BOOST_GRID, partial(boost, subject.items.tags, chosen)
        )
        read = read_prompts(subject, wording.prompts(chosen, subject.seed))
        weights.additive[task.name] = best_weight(
            subject, chosen, ADDITIVE_GRID, partial(additive, subject, read)
        )
    return weights


@torch.no_grad()
def best_weight(
    subject: Subject, task: TaskQueries, grid: Sequence[float], make: Callable[[float], System]
) -> float:
    """The weight of the grid with the best mean NDCG@10, history masked; of equals the one nearest to 0.

    Parameters
    ----------
    subject : Subject
        On the split to choose on.
    task : TaskQueries
        Queries.
    grid : sequence of float
        Weights to try.
    make : callable
        The system of a weight.
    """
    gains = dict.fromkeys(grid, 0.0)
    for part in chunks(len(task)):
        users = task.users[part]
        targets = torch.from_numpy(subject.targets[users])
        plain = subject.plain(users)
        for weight in grid:
            scores = subject.mask(make(weight).score(part, plain), users)
            gains[weight] += float(ndcg(target_rank(scores, targets).numpy()).sum())
    return max(sorted(grid, key=abs), key=lambda weight: gains[weight])


def _sample(task: TaskQueries, seed: int) -> TaskQueries:
    if len(task) <= _QUERIES:
        return task
    rows = np.sort(np.random.default_rng([seed, 11]).choice(len(task), _QUERIES, replace=False))
    return TaskQueries(task.name, task.users[rows], task.asked[rows], task.refused[rows])
