# Items that nobody has taken yet, simulated: some items lose their learned vector and get a guess from tags and text.
"""Hit rate of test targets whose collaborative vector had to be guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.quality.prompt_reading import read_prompts, steer
from dpr_bench.quality.ranking import measure
from dpr_bench.quality.subject import Subject
from dpr_bench.quality.systems import System, matching, steered
from dpr_train.evaluate import TaskQueries, Wording

__all__ = ["choose_cold", "cold_probe", "ridge"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SHARE = 0.1
_MOST_POPULAR = 0.8  # percentile; the most popular fifth is never cold
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_FOLDS = 5


@dataclass(frozen=True)
class _Case:
    """Item vectors, real or guessed, and the queries about cold targets."""

    subject: Subject
    vectors: Tensor
    task: TaskQueries


def cold_probe(subject: Subject, wording: Wording) -> dict[str, Any]:
    """HR@10, history masked, of test users whose target is cold.

    A tenth of the items loses its learned collaborative vector; a ridge regression on the side vectors (tags and text),
    fitted on all other items, guesses one. Histories are read as before, and the other vectors were learned with the
    cold items' interactions in the data: it simulates new items in the ranking, not a whole training without them.

    Parameters
    ----------
    subject : Subject
        The model and its users.
    wording : Wording
        Of the prompts: training wording, so that understanding plays no part.

    Returns
    -------
    dict
        ``hr`` by system, with guessed vectors and with the learned ones.
    """
    rng = np.random.default_rng([subject.seed, 37])
    cold = choose_cold(subject.items.popularity, rng)
    width = subject.model.config.backbone.dim
    learned = subject.vectors.numpy().astype(np.float64)
    side, own = learned[:, width:], learned[:, :width]
    warm = np.setdiff1d(np.arange(len(learned)), cold)
    penalty = _best_penalty(side[warm], own[warm], rng)
    guessed = learned.copy()
    guessed[cold, :width] = ridge(side[warm], own[warm], penalty)(side[cold])
    task = _queries(subject, cold)
    document: dict[str, Any] = {"cold": len(cold), "users": len(task), "penalty": penalty}
    if not len(task):
        return document | {"hr": {}}
    prompts = wording.prompts(task, subject.seed)
    read = read_prompts(subject, prompts, embed=False)
    steering = steer(subject, task.users, read)
    document["hr"] = {}
    for name, vectors in (("guessed", torch.from_numpy(guessed).float()), ("learned", subject.vectors)):
        case = _Case(subject, vectors, task)
        ours = steered(subject, steering, vectors=vectors, users=task.users)
        document["hr"][name] = {
            "backbone": _hit_rate(case, _plain(case)),
            "exact filter": _hit_rate(case, _filtered(case)),
            "ours, positive prompt": _hit_rate(case, ours),
        }
    return document


def choose_cold(popularity: FloatArray, rng: np.random.Generator) -> IntArray:
    """A tenth of the catalogue, none of it among the most popular fifth, int64 (C,)."""
    unpopular = np.flatnonzero(popularity <= _MOST_POPULAR)
    size = min(len(unpopular), max(1, round(_SHARE * len(popularity))))
    return np.sort(rng.choice(unpopular, size, replace=False))


def ridge(x: FloatArray, y: FloatArray, penalty: float) -> Callable[[FloatArray], FloatArray]:
    """Fit a ridge regression with an intercept that is not penalised, and return its prediction.

    Parameters
    ----------
    x : float64 (n, p)
        Predictors.
    y : float64 (n, d)
        What is predicted.
    penalty : float
        Weight of the squared coefficients, > 0.
    """
    x_mean, y_mean = x.mean(0), y.mean(0)
    centred = x - x_mean
    weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y_mean))
    return lambda new: (new - x_mean) @ weights + y_mean


def _best_penalty(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> float:
    """The penalty with the least squared error on items that were not fitted, five folds."""
    fold = rng.permutation(len(x)) % _FOLDS

    def error(penalty: float) -> float:
        parts = [
            ((ridge(x[fold != f], y[fold != f], penalty)(x[fold == f]) - y[fold == f]) ** 2).sum()
            for f in range(_FOLDS)
        ]
        return float(sum(parts))

    return min(_PENALTIES, key=error)


def _plain(case: _Case) -> System:
    width = case.subject.model.config.backbone.dim
    users = case.task.users

    def score(part: slice, _: Tensor) -> Tensor:
        return case.subject.users[users[part]] @ case.vectors[:, :width].T

    return System("backbone", score)


def _filtered(case: _Case) -> System:
    ranked = _plain(case)

    def score(part: slice, plain: Tensor) -> Tensor:
        allowed = matching(case.subject.items.tags, case.task.asked[part], case.task.refused[part])
        return ranked.score(part, plain).masked_fill(torch.from_numpy(~allowed), float("-inf"))

    return System("exact filter", score)


def _hit_rate(case: _Case, system: System) -> float:
    return float(measure(case.subject, case.task, system).masked.values["hr"].mean())


def _queries(subject: Subject, cold: IntArray) -> TaskQueries:
    """Users whose target is cold; each asks for the rarest tag of the target."""
    tags = subject.items.tags
    users = np.flatnonzero(np.isin(subject.targets, cold) & tags[subject.targets].any(1))
    rarity = np.where(tags[subject.targets[users]], tags.sum(0)[None], np.iinfo(np.int64).max)
    asked = rarity.argmin(1) if len(users) else np.empty(0, dtype=np.int64)
    return TaskQueries("positive", users, asked, np.full(len(users), -1, dtype=np.int64))
