# Ranks the whole catalogue for every query of every case, and keeps what each user gave.
"""Measure a trained variant, user by user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.ablations.cases import PLAIN, Case
from dpr_train.devices import tensors_on
from dpr_train.metrics import mask_items, ndcg, target_rank, top_rows
from dpr_train.model import DPR
from dpr_train.stages.prompt_pool import stack_prompts

__all__ = ["ALL_PROMPTS", "VIOLATION", "Values", "measure"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ALL_PROMPTS, VIOLATION = "all prompts", "violation@10"
_K = 10
_BATCH = 256


@dataclass(frozen=True)
class Values:
    """What each user gave, float64 (U,) a case; NaN for users who take no part.

    ``ndcg`` is NDCG@10 and holds :data:`ALL_PROMPTS`, a user's mean over all cases with a prompt; ``violation`` is the
    share of the top ten that carries a refused tag and holds :data:`VIOLATION`, the mean over all cases with a refusal.
    """

    ndcg: dict[str, FloatArray]
    violation: dict[str, FloatArray]


@torch.no_grad()
def measure(
    model: DPR, users: Tensor, histories: Sequence[IntArray], targets: IntArray, cases: Sequence[Case]
) -> Values:
    """Full ranking, items of the history left out.

    Parameters
    ----------
    model : DPR
        Trained; put in evaluation mode.
    users : Tensor
        float32 (U, dc), the backbone's user vectors.
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    cases : sequence of Case
        What is asked.
    """
    model.eval()
    items = model.item_vectors()
    tags = model.carries
    values = Values({}, {})
    for case in cases:
        gains, broken = [], []
        wishes = case.wishes
        for start in range(0, len(wishes), _BATCH):
            part = slice(start, start + _BATCH)
            rows = wishes.users[part]
            scores = _score(model, users[rows], case, part, items)
            mask_items(scores, [histories[row] for row in rows])
            rank = target_rank(scores, *tensors_on(scores.device, targets[rows]))
            gains.append(ndcg(rank.cpu().numpy(), _K))
            top = top_rows(scores, _K).cpu().numpy()  # (b, 10)
            broken.append(_share(top, tags, wishes.refused[part]))
        values.ndcg[case.name] = _spread(np.concatenate(gains), wishes.users, len(targets))
        if wishes.refused.shape[1]:
            values.violation[case.name] = _spread(np.concatenate(broken), wishes.users, len(targets))
    prompted = [values.ndcg[case.name] for case in cases if case.wording != PLAIN]
    values.ndcg[ALL_PROMPTS] = _mean(prompted, len(targets))
    values.violation[VIOLATION] = _mean(list(values.violation.values()), len(targets))
    return values


def _score(model: DPR, user: Tensor, case: Case, part: slice, items: Tensor) -> Tensor:
    if case.wording == PLAIN:
        return model.backbone.logits(user)
    return model.steered(user, *stack_prompts(case.encoded[part]), items)


def _share(top: IntArray, tags: npt.NDArray[np.bool_], wished: IntArray) -> FloatArray:
    """Share of each list int64 (b, 10) that carries one of the tags int64 (b, w), float64 (b,)."""
    marked = np.zeros((len(wished), tags.shape[1]), dtype=np.bool_)
    np.put_along_axis(marked, wished, values=True, axis=1)
    returned = top >= 0
    carried = (tags[np.maximum(top, 0)] & marked[:, None]).any(2) & returned
    shares: FloatArray = carried.sum(1) / np.maximum(1, returned.sum(1))
    return shares


def _spread(values: FloatArray, users: IntArray, n_users: int) -> FloatArray:
    out = np.full(n_users, np.nan)
    out[users] = values
    return out


def _mean(columns: Sequence[FloatArray], n_users: int) -> FloatArray:
    """Each user's mean over the cases that they take part in; NaN without any."""
    if not columns:
        return np.full(n_users, np.nan)
    stacked = np.stack(columns)
    taken = ~np.isnan(stacked)
    total = np.where(taken, stacked, 0.0).sum(0)
    return np.where(taken.any(0), total / np.maximum(1, taken.sum(0)), np.nan)
