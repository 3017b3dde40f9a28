# One function a system: from queries and the backbone's scores to scores. No metric and no prompt is made here.
"""The systems that are compared, all on the same backbone and the same queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.quality.prompt_reading import ReadPrompts, Steering
from dpr_bench.quality.subject import Subject
from dpr_train.evaluate import TaskQueries

__all__ = [
    "RERANKED",
    "System",
    "additive",
    "backbone",
    "boost",
    "exact_filter",
    "filter_inside_top",
    "matching",
    "standardised",
    "steered",
    "text_rerank",
    "text_retrieval",
    "understood_filter",
]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Scorer = Callable[[slice, Tensor], Tensor]

RERANKED = 100  # items of the backbone that the text re-ranker orders


@dataclass(frozen=True)
class System:
    """A way to rank.

    Parameters
    ----------
    name : str
        As in the tables.
    score : callable
        From a slice of the queries and the backbone's scores float32 (b, N) to scores float32 (b, N).
    by_rank : bool
        Whether it looks at the backbone's ranks, so that it must see the masked scores where history is masked.
    """

    name: str
    score: Scorer
    by_rank: bool = False


def backbone() -> System:
    """The ranking without a prompt."""
    return System("backbone", lambda _, plain: plain)


def matching(tags: BoolArray, asked: IntArray, refused: IntArray) -> BoolArray:
    """Items that carry the tag asked for and lack the refused one, bool (b, N); -1 stands for no wish."""
    by_tag = tags.T
    wanted = np.where(asked[:, None] >= 0, by_tag[np.maximum(asked, 0)], True)
    unwanted = np.where(refused[:, None] >= 0, by_tag[np.maximum(refused, 0)], False)
    return wanted & ~unwanted


def exact_filter(tags: BoolArray, task: TaskQueries) -> System:
    """The backbone's ranking of the items that obey, by true tags and the true wish: an oracle."""

    def score(part: slice, plain: Tensor) -> Tensor:
        allowed = matching(tags, task.asked[part], task.refused[part])
        return plain.masked_fill(torch.from_numpy(~allowed), float("-inf"))

    return System("exact filter", score)


def understood_filter(subject: Subject, read: ReadPrompts) -> System:
    """The same filter with the wishes that our prompt encoder read off the prompt."""
    has = torch.from_numpy(subject.items.tags).float()  # (N, G)

    def score(part: slice, plain: Tensor) -> Tensor:
        wished = (read.wishes(part) >= subject.wish_threshold).float()  # (b, G, 2)
        lacking = wished[..., 0] @ (1 - has).T > 0
        return plain.masked_fill(lacking | (wished[..., 1] @ has.T > 0), float("-inf"))

    return System("understood filter", score)


def filter_inside_top(tags: BoolArray, task: TaskQueries, k: int) -> System:
    """The backbone's top k with the items that obey first; below it nothing changes."""

    def score(part: slice, plain: Tensor) -> Tensor:
        allowed = torch.from_numpy(matching(tags, task.asked[part], task.refused[part]))
        return _raise(plain, _inside(plain, k) & allowed)

    return System(f"filter inside top {k}", score, by_rank=True)


def boost(tags: BoolArray, task: TaskQueries, weight: float) -> System:
    """Standardised scores + ``weight`` for the tag asked for - ``weight`` for the refused one, by true tags."""
    by_tag = torch.from_numpy(tags.T.copy()).float()

    def carried(wished: IntArray) -> Tensor:
        known = torch.from_numpy((wished >= 0).astype(np.float32))[:, None]
        return by_tag[np.maximum(wished, 0)] * known

    def score(part: slice, plain: Tensor) -> Tensor:
        return standardised(plain) + weight * (carried(task.asked[part]) - carried(task.refused[part]))

    return System("true-tag boost", score)


def text_retrieval(subject: Subject, read: ReadPrompts) -> System:
    """Cosine of prompt and item description; the user plays no part."""
    return System("text retrieval", lambda part, _: _cosine(subject, read, part))


def text_rerank(subject: Subject, read: ReadPrompts) -> System:
    """The backbone's top 100 in the order of that cosine."""

    def score(part: slice, plain: Tensor) -> Tensor:
        cosine = _cosine(subject, read, part)
        return torch.where(_inside(plain, RERANKED), _above(plain) + 1 + cosine, plain)

    return System("text re-ranking of top 100", score, by_rank=True)


def additive(subject: Subject, read: ReadPrompts, weight: float) -> System:
    """Standardised scores + ``weight`` * cosine."""

    def score(part: slice, plain: Tensor) -> Tensor:
        return standardised(plain) + weight * _cosine(subject, read, part)

    return System("additive text steering", score)


def steered(
    subject: Subject,
    steering: Steering,
    read: ReadPrompts | None = None,
    *,
    strength: float = 1.0,
    vectors: Tensor | None = None,
    users: IntArray,
) -> System:
    """Ours; with ``read``, strict: items with a tag that the prompt refuses, as understood, are left out.

    Parameters
    ----------
    subject : Subject
        The model and its users.
    steering : Steering
        Of the queries.
    read : ReadPrompts, optional
        Prompts whose refusals are strict.
    strength : float
        How far the prompt moves the ranking.
    vectors : Tensor, optional
        float32 (N, D), item vectors in place of the model's.
    users : int64 (Q,)
        The user of each query.
    """
    has = torch.from_numpy(subject.items.tags).float()
    items = subject.vectors if vectors is None else vectors

    def score(part: slice, _: Tensor) -> Tensor:
        scores = subject.model.score(
            subject.users[users[part]],
            steering.experts[part],
            steering.gates[part],
            items,
            strength=strength,
        )
        if read is not None:
            refused = (read.wishes(part)[..., 1] >= subject.wish_threshold).float()
            scores = scores.masked_fill(refused @ has.T > 0, float("-inf"))
        return scores

    return System("ours" if read is None else "ours, strict", score)


def standardised(plain: Tensor) -> Tensor:
    """Scores of each query with mean 0 and standard deviation 1 over the catalogue."""
    spread, mean = torch.std_mean(plain, dim=1, keepdim=True)
    return (plain - mean) / spread.clamp(min=1e-6)


def _cosine(subject: Subject, read: ReadPrompts, part: slice) -> Tensor:
    return read.embedded[read.row[part]] @ subject.items.embedded.T


def _inside(plain: Tensor, k: int) -> Tensor:
    """Whether each item is among the k best, bool (b, N)."""
    k = min(k, plain.shape[1])
    best = torch.topk(plain, k, dim=1).indices
    return torch.zeros(plain.shape, dtype=torch.bool).scatter_(1, best, True) & ~torch.isneginf(plain)


def _above(plain: Tensor) -> Tensor:
    """A score above all of a query's, (b, 1)."""
    return plain.amax(1, keepdim=True) + 1


def _raise(plain: Tensor, chosen: Tensor) -> Tensor:
    """Put the chosen items before all others, both in their own order."""
    lowest = torch.where(torch.isneginf(plain), float("inf"), plain).amin(1, keepdim=True)
    return torch.where(chosen, plain + (_above(plain) - lowest), plain)
