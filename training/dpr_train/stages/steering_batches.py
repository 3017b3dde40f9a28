# What a step of stage 3 learns from: which prompts meet which positions, and the losses of a batch. Trains nothing.
"""Pair prompts with training positions, and judge how they are steered."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from dpr_train.config import SteeringStage
from dpr_train.model import DPR
from dpr_train.sequences import IntArray
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.tasks import FEW, HABIT

__all__ = ["Pairing", "steering_losses", "total_loss"]

_CANDIDATES = 48  # training positions looked at for each prompt


class Pairing:
    """Pairs prompts with training positions whose target obeys them, half of them as hard as can be found.

    Parameters
    ----------
    targets : int64 (M,)
        Item row that each position predicts.
    counts : int64 (M, G)
        Tag habits of each position.
    pool : PromptPool
        Training prompts.
    """

    def __init__(self, targets: IntArray, counts: IntArray, pool: PromptPool) -> None:
        self.targets = targets
        self.counts = counts
        self.pool = pool
        self.usable = np.flatnonzero(pool.allowed[:, np.unique(targets)].any(1))

    def draw(self, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Rows of the pool and of the positions, int64 (at most ``size``,) each."""
        prompts = rng.choice(self.usable, size)
        found = rng.integers(len(self.targets), size=(size, _CANDIDATES))
        obeys = self.pool.allowed[prompts[:, None], self.targets[found]]  # (size, candidates)
        value = rng.random(found.shape) + obeys * 100
        hard = rng.random(size) < 0.5
        value += hard[:, None] * self._hardness(prompts, found)
        best = value.argmax(1)
        kept = obeys[np.arange(size), best]  # a prompt that hardly any position obeys may find none
        return prompts[kept], found[np.arange(size), best][kept]

    def _hardness(self, prompts: IntArray, found: IntArray) -> npt.NDArray[np.float64]:
        """How many wishes of each prompt go against each position's habit, float64 (size, candidates).

        As in :mod:`dpr_train.tasks`: few of the last items have the tag asked for, or many the one refused.
        """
        counts = self.counts[found]  # (size, candidates, G)
        asked, refused = self.pool.asked[prompts][:, None], self.pool.refused[prompts][:, None]
        against = ((counts <= FEW) & asked) | ((counts >= HABIT) & refused)
        return against.sum(-1).astype(np.float64)


def steering_losses(
    model: DPR, user: Tensor, targets: IntArray, pool: PromptPool, prompts: IntArray
) -> dict[str, Tensor]:
    """Cross-entropy of the target, of the mass on what was asked for, and the mass left on what was refused.

    Parameters
    ----------
    model : DPR
        In training.
    user : Tensor
        float32 (B, dc).
    targets : int64 (B,)
        Item rows.
    pool, prompts
        The pool, and the row of each example's prompt, int64 (B,).
    """
    log_p = torch.log_softmax(model.steered(user, *pool.batch(list(prompts))), dim=1)  # (B, N)
    p = log_p.exp()
    asked, refused = (torch.from_numpy(x[prompts]).float() for x in (pool.asked, pool.refused))  # (B, G)
    has = model.tag_matrix  # (N, G)
    all_asked = (asked @ (1 - has).T == 0).float()  # (B, N)
    any_refused = (refused @ has.T > 0).float()
    wanted_mass = (p * all_asked).sum(1)[asked.any(1)]
    forbidden_mass = (p * any_refused).sum(1)[refused.any(1)]
    zero = torch.zeros(())
    return {
        "target": F.nll_loss(log_p, torch.from_numpy(targets)),
        "wanted": -(wanted_mass + 1e-8).log().mean() if len(wanted_mass) else zero,
        "forbidden": forbidden_mass.mean() if len(forbidden_mass) else zero,
    }


def total_loss(losses: dict[str, Tensor], config: SteeringStage) -> Tensor:
    """Weighted sum of the losses of a batch of prompts."""
    return (
        losses["target"]
        + config.wanted_weight * losses["wanted"]
        + config.forbidden_weight * losses["forbidden"]
    )
