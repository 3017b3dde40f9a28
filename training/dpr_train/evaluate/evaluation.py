# Runs the model over the tasks and measures. Full ranking everywhere; no sampled candidates.
"""Evaluate a promptable recommender against its own backbone and against the exact filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from dpr_train.evaluate.queries import TaskQueries, Wording, make_tasks, make_wordings
from dpr_train.metrics import hit_rate, mask_items, ndcg, target_rank, top_rows
from dpr_train.model import DPR
from dpr_train.progress import Progress, silent
from dpr_train.stages.prompt_pool import encode_prompts, stack_prompts
from dpr_train.user_vectors import user_vectors

__all__ = ["ResultRow", "evaluate"]

IntArray = npt.NDArray[np.int64]
Scorer = Callable[[slice], Tensor]  # scores float32 (b, N) of a slice of a task's queries

_K = 10
_BATCH = 256


@dataclass(frozen=True)
class ResultRow:
    """One system on one task, in one wording.

    Parameters
    ----------
    task, system, wording : str
        ``wording`` is "-" for systems that read no prompt.
    queries : int
        How many users take part.
    ndcg, hr : float
        NDCG@10 and HR@10, full ranking, items of the history masked.
    ndcg_se : float
        Standard error of ``ndcg`` over queries.
    ndcg_unmasked, hr_unmasked : float
        The same with items of the history left in the ranking.
    violation : float or None
        Share of the top 10 that carries the refused tag (masked ranking).
    precision : float or None
        Share of the top 10 that carries the wanted tag (masked ranking).
    """

    task: str
    system: str
    wording: str
    queries: int
    ndcg: float
    ndcg_se: float
    hr: float
    ndcg_unmasked: float
    hr_unmasked: float
    violation: float | None
    precision: float | None

    def as_dict(self) -> dict[str, str | int | float | None]:
        """Plain values for JSON."""
        return asdict(self)


@torch.no_grad()
def evaluate(
    model: DPR,
    tokenizer: Tokenizer,
    histories: Sequence[IntArray],
    targets: IntArray,
    *,
    seed: int,
    wordings: Sequence[Wording] | None = None,
    progress: Progress = silent,
) -> list[ResultRow]:
    """Measure backbone, exact filter and steering on every task and wording.

    The exact filter ranks with the backbone and leaves out every item that breaks the wish, by the true tags: an oracle
    that reads labels and not the prompt.

    Parameters
    ----------
    model : DPR
        Put in evaluation mode.
    tokenizer : Tokenizer
        The prompt encoder's.
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    seed : int
        Chooses the prompts.
    wordings : sequence of Wording, optional
        By default those of :func:`make_wordings`.
    progress : callable
        ``(what, done, total, text)``.

    Returns
    -------
    list of ResultRow
        By task, then system, then wording. Tasks without any query are left out.
    """
    model.eval()
    run = _Evaluation(model, histories, targets)
    rows = []
    for task in make_tasks(histories, targets, model.carries):
        if not len(task):
            continue
        rows.append(run.measure(task, "backbone", "-", run.plain(task)))
        if task.name == "standard":
            continue
        rows.append(run.measure(task, "exact filter", "-", run.filtered(task)))
        for wording in wordings if wordings is not None else make_wordings(model.config.tags):
            progress("evaluating", len(rows), 0, f"{task.name}, {wording.name}")
            texts = wording.prompts(task, seed)
            encoded = encode_prompts(model.prompt_encoder, tokenizer, model.tag_embeddings, texts)
            rows.append(run.measure(task, "steering", wording.name, run.steered(task, encoded)))
    return rows


class _Evaluation:
    """What all measurements share: users' vectors, item vectors, tags, histories."""

    def __init__(self, model: DPR, histories: Sequence[IntArray], targets: IntArray) -> None:
        self.model = model
        self.histories = histories
        self.targets = targets
        self.items = model.item_vectors()
        self.tags = model.carries
        self.users = user_vectors(model.backbone, histories, by_length=False)

    def plain(self, task: TaskQueries) -> Scorer:
        return lambda part: self.model.backbone.logits(self.users[task.users[part]])

    def filtered(self, task: TaskQueries) -> Scorer:
        def score(part: slice) -> Tensor:
            scores = self.model.backbone.logits(self.users[task.users[part]])
            allowed = _carries(self.tags, task.asked[part], default=True)
            allowed &= ~_carries(self.tags, task.refused[part], default=False)
            return scores.masked_fill(torch.from_numpy(~allowed), float("-inf"))

        return score

    def steered(self, task: TaskQueries, encoded: Sequence[tuple[Tensor, Tensor]]) -> Scorer:
        def score(part: slice) -> Tensor:
            user = self.users[task.users[part]]
            return self.model.steered(user, *stack_prompts(encoded[part]), self.items)

        return score

    def measure(self, task: TaskQueries, system: str, wording: str, scorer: Scorer) -> ResultRow:
        ranks, unmasked, tops = [], [], []
        for part in _slices(len(task)):
            scores = scorer(part)
            target = torch.from_numpy(self.targets[task.users[part]])
            unmasked.append(target_rank(scores, target).numpy())
            mask_items(scores, [self.histories[user] for user in task.users[part]])
            ranks.append(target_rank(scores, target).numpy())
            tops.append(top_rows(scores, _K).numpy())
        rank, rank_unmasked, top = np.concatenate(ranks), np.concatenate(unmasked), np.concatenate(tops)
        gains = ndcg(rank, _K)
        return ResultRow(
            task=task.name,
            system=system,
            wording=wording,
            queries=len(task),
            ndcg=float(gains.mean()),
            ndcg_se=float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0,
            hr=float(hit_rate(rank, _K).mean()),
            ndcg_unmasked=float(ndcg(rank_unmasked, _K).mean()),
            hr_unmasked=float(hit_rate(rank_unmasked, _K).mean()),
            violation=_share(self.tags, top, task.refused),
            precision=_share(self.tags, top, task.asked),
        )


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH))


def _carries(tags: npt.NDArray[np.bool_], wished: IntArray, *, default: bool) -> npt.NDArray[np.bool_]:
    """Which items carry each query's tag, bool (b, N); ``default`` for a query without one."""
    carried = tags.T[np.maximum(wished, 0)]
    return np.where(wished[:, None] >= 0, carried, default)


def _share(tags: npt.NDArray[np.bool_], top: IntArray, wished: IntArray) -> float | None:
    """Mean share of returned items that carry the query's tag; None where the task has no such tag."""
    if (wished < 0).any():
        return None
    returned = top >= 0
    carried = tags[np.maximum(top, 0), wished[:, None]] & returned
    return float((carried.sum(1) / np.maximum(1, returned.sum(1))).mean())
