# Runs one system over the queries of a task and keeps what each query gave. Full ranking; nothing is sampled.
"""Measure a system, query by query, with the history masked and not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.quality.metrics import best_rows, diversity, share_carrying
from dpr_bench.quality.subject import Subject, chunks
from dpr_bench.quality.systems import System
from dpr_train.evaluate import TaskQueries
from dpr_train.metrics import hit_rate, ndcg, target_rank

__all__ = ["METRICS", "K", "Measured", "Outcome", "measure", "top_tens"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

K = 10
METRICS = ("ndcg", "hr", "precision", "violation", "popularity", "diversity")


@dataclass(frozen=True)
class Outcome:
    """What the queries of a task gave under one masking.

    Parameters
    ----------
    values : dict of str to float64 (Q,)
        By the names of ``METRICS``; NaN where a query has no such wish.
    shown : bool (N,)
        Items that some query's top ten holds.
    """

    values: dict[str, FloatArray]
    shown: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Measured:
    """A system on a task: with items of the history left out of the ranking, and left in it."""

    users: IntArray
    masked: Outcome
    unmasked: Outcome


@dataclass
class _Lists:
    """Ranks and top tens, gathered chunk by chunk."""

    ranks: list[IntArray] = field(default_factory=list)
    tops: list[IntArray] = field(default_factory=list)

    def add(self, scores: Tensor, targets: Tensor) -> None:
        self.ranks.append(target_rank(scores, targets).numpy())
        self.tops.append(best_rows(scores, K))

    def outcome(self, subject: Subject, task: TaskQueries) -> Outcome:
        rank, top = np.concatenate(self.ranks), np.concatenate(self.tops)
        items = subject.items
        returned = top >= 0
        popular = np.where(returned, items.popularity[np.maximum(top, 0)], 0.0).sum(1)
        shown = np.zeros(len(items), dtype=np.bool_)
        shown[top[returned]] = True
        values = {
            "ndcg": ndcg(rank, K),
            "hr": hit_rate(rank, K),
            "precision": _share(subject, top, task.asked),
            "violation": _share(subject, top, task.refused),
            "popularity": popular / np.maximum(1, returned.sum(1)),
            "diversity": diversity(top, items.tags),
        }
        return Outcome(values, shown)


@torch.no_grad()
def measure(subject: Subject, task: TaskQueries, system: System) -> Measured:
    """Rank the whole catalogue for every query of a task.

    Parameters
    ----------
    subject : Subject
        Users, targets and catalogue.
    task : TaskQueries
        At least one query.
    system : System
        What ranks.
    """
    masked, unmasked = _Lists(), _Lists()
    for part in chunks(len(task)):
        users = task.users[part]
        targets = torch.from_numpy(subject.targets[users])
        plain = subject.plain(users)
        scores = system.score(part, plain)
        unmasked.add(scores, targets)
        if system.by_rank:
            scores = system.score(part, subject.mask(plain, users))
        masked.add(subject.mask(scores, users), targets)
    return Measured(task.users, masked.outcome(subject, task), unmasked.outcome(subject, task))


@torch.no_grad()
def top_tens(subject: Subject, users: IntArray, system: System) -> IntArray:
    """Top ten of every query, history masked, int64 (Q, 10)."""
    tops = []
    for part in chunks(len(users)):
        plain = subject.plain(users[part])
        if system.by_rank:
            subject.mask(plain, users[part])
        tops.append(best_rows(subject.mask(system.score(part, plain), users[part]), K))
    return np.concatenate(tops)


def _share(subject: Subject, top: IntArray, wished: IntArray) -> FloatArray:
    """Share of each top ten that carries the query's tag; NaN without one."""
    by_tag = subject.items.tags.T
    shares = [share_carrying(top[part], by_tag[np.maximum(wished[part], 0)]) for part in chunks(len(top))]
    return np.where(wished >= 0, np.concatenate(shares), np.nan)
