# What stage 3 minimises, given user vectors, targets and prompts.
"""Losses of steering."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dpr_train.config import SteeringStage
from dpr_train.devices import tensors_on
from dpr_train.model import DPR
from dpr_train.sequences import IntArray
from dpr_train.stages.prompt_pool import PromptPool

__all__ = ["steering_losses", "total_loss"]


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
    wished = tensors_on(user.device, pool.asked[prompts], pool.refused[prompts], targets)
    asked, refused, target = wished[0].float(), wished[1].float(), wished[2]  # (B, G), (B, G), (B,)
    has = model.tag_matrix  # (N, G)
    all_asked = (asked @ (1 - has).T == 0).float()  # (B, N)
    any_refused = (refused @ has.T > 0).float()
    wanted_mass = (p * all_asked).sum(1)[asked.any(1)]
    forbidden_mass = (p * any_refused).sum(1)[refused.any(1)]
    zero = user.new_zeros(())
    return {
        "target": F.nll_loss(log_p, target),
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
