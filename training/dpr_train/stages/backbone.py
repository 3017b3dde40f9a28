# Stage 1. Plain sequential recommendation; nothing here knows that prompts exist.
"""Stage 1: train the backbone to predict the next item, full-softmax cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpr_train.backbones import Backbone
from dpr_train.config import BackboneStage
from dpr_train.metrics import hit_rate, mask_items, ndcg, target_rank
from dpr_train.progress import Progress
from dpr_train.sequences import IntArray, pad_left, training_windows
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw, cosine_lr, has_fast_bf16

__all__ = ["next_item_metrics", "train_backbone"]


def train_backbone(
    backbone: Backbone,
    train: Sequence[IntArray],
    valid_targets: IntArray,
    config: BackboneStage,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
) -> list[Metrics]:
    """Train in place and keep the epoch with the best validation NDCG@10.

    Parameters
    ----------
    backbone : Backbone
        Freshly built, or of an interrupted run.
    train : sequence of int64 arrays
        Item rows of each user, without the validation and the test target.
    valid_targets : int64 (U,)
        Item row that follows each training sequence.
    config : BackboneStage
        Epochs, rates.
    seed : int
        Of the run.
    folder : Path
        Saved progress.
    progress : callable
        ``(stage, done, total, text)``, called while training.

    Returns
    -------
    list of dict
        Metrics of every epoch.
    """
    optimizer = adamw((backbone.parameters(), config.lr), weight_decay=config.weight_decay)
    stage = ResumableStage(folder, "backbone", backbone, optimizer, seed)
    bf16 = config.bf16 and has_fast_bf16()

    def run_epoch(epoch: int, rng: np.random.Generator) -> Metrics:
        inputs, targets = training_windows(train, backbone.max_history, rng)
        order = rng.permutation(len(inputs))
        starts = range(0, len(order), config.batch_size)
        backbone.train()
        total = 0.0
        for step, start in enumerate(starts):
            rows = order[start : start + config.batch_size]
            done = epoch * len(starts) + step
            cosine_lr(optimizer, done, config.epochs * len(starts), warmup=len(starts))
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = _loss(backbone, torch.from_numpy(inputs[rows]), torch.from_numpy(targets[rows]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(backbone.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
            progress("backbone", done + 1, config.epochs * len(starts), f"loss {total / (step + 1):.3f}")
        metrics = {"loss": total / len(starts)}
        if (epoch + 1) % config.evaluate_every == 0 or epoch + 1 == config.epochs:
            metrics |= {f"valid_{k}": v for k, v in next_item_metrics(backbone, train, valid_targets).items()}
        return metrics

    return stage.run(config.epochs, run_epoch, better=lambda m: m.get("valid_ndcg@10", float("-inf")))


def _loss(backbone: Backbone, inputs: Tensor, targets: Tensor) -> Tensor:
    asked = targets != 0  # (B, L)
    logits = backbone.logits(backbone.states(inputs)[asked])  # (examples, N)
    return F.cross_entropy(logits.float(), targets[asked] - 1)


@torch.no_grad()
def next_item_metrics(
    backbone: Backbone, histories: Sequence[IntArray], targets: IntArray, *, batch_size: int = 256
) -> Metrics:
    """HR@10 and NDCG@10 of the plain ranking over the whole catalogue, items of the history masked.

    Parameters
    ----------
    backbone : Backbone
        Put in evaluation mode.
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    """
    backbone.eval()
    ranks = []
    for start in range(0, len(histories), batch_size):
        part = histories[start : start + batch_size]
        scores = backbone.logits(backbone(torch.from_numpy(pad_left(part, backbone.max_history))))
        mask_items(scores, part)
        ranks.append(target_rank(scores, torch.from_numpy(targets[start : start + batch_size])).numpy())
    rank = np.concatenate(ranks)
    return {"hr@10": float(hit_rate(rank).mean()), "ndcg@10": float(ndcg(rank).mean())}
