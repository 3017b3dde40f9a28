# A batch of windows -> the loss that the configuration names.
"""The loss of a batch in stage 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dpr_train.backbones import Backbone
from dpr_train.config import BackboneStage
from dpr_train.devices import has_fast_bf16
from dpr_train.stages.losses import chunked_softmax_loss, gbce_exponent, gbce_loss, softmax_loss

__all__ = ["batch_loss"]


def batch_loss(backbone: Backbone, inputs: Tensor, targets: Tensor, config: BackboneStage) -> Tensor:
    """Mean loss of the positions of a batch that have a target.

    Parameters
    ----------
    backbone : Backbone
        In training mode.
    inputs, targets : Tensor
        Tokens, int64 (B, L); target 0 asks nothing.
    config : BackboneStage
        Which loss, and whether to multiply in bfloat16.
    """
    bf16 = config.bf16 and has_fast_bf16(inputs.device)
    asked = targets != 0  # (B, L)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
        states = backbone.training_states(inputs, targets)
        if config.loss == "gbce":
            return _sampled_loss(backbone, states, targets, config)
        wanted, items = targets[asked] - 1, backbone.item_vectors()
        if not config.bf16:
            return softmax_loss(states[asked], items, wanted)
    dtype = torch.bfloat16 if bf16 else torch.float32
    return chunked_softmax_loss(states[asked].float(), items, wanted, dtype)


def _sampled_loss(backbone: Backbone, states: Tensor, targets: Tensor, config: BackboneStage) -> Tensor:
    """Negatives are drawn for each window and shared by its positions: one for each position costs K times more.

    They are uniform over the catalogue; where one is the target itself it is left out.
    """
    asked = targets != 0
    k = min(config.negatives, backbone.n_items - 1)
    drawn = torch.randint(1, backbone.n_items + 1, (len(targets), k), device=targets.device)  # (B, K), tokens
    vectors = backbone.item_embedding(drawn)  # (B, K, dc)
    scores = torch.matmul(states, vectors.transpose(1, 2)).float()  # (B, L, K)
    scores = scores.masked_fill(drawn[:, None] == targets[..., None], float("-inf"))
    positive = (states * backbone.item_embedding(targets)).sum(-1).float()  # (B, L)
    exponent = gbce_exponent(backbone.n_items, k, config.calibration)
    # A constant on all scores changes no ranking. This one is the best constant score: without it the item vectors
    # grow a large common part first, which drowns what GRU4Rec reads from them, and it never learns more than
    # popularity.
    base = math.log(exponent / k)
    return gbce_loss(positive[asked] + base, scores[asked] + base, exponent)
