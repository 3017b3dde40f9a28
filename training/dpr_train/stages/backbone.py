# Stage 1. Plain sequential recommendation; nothing here knows that prompts exist.
"""Stage 1: train the backbone on item sequences alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from dpr_train.backbones import Backbone
from dpr_train.config import BackboneStage
from dpr_train.devices import device_of, tensors_on
from dpr_train.metrics import hit_rate, mask_items, ndcg, target_rank
from dpr_train.progress import Progress
from dpr_train.sequences import IntArray, alike_lengths, pad_to_longest
from dpr_train.stages.average import WeightAverage
from dpr_train.stages.objective import batch_loss
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw, cosine_lr
from dpr_train.stages.windows import batches_of_windows, epoch_windows

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
    device = device_of(backbone)
    optimizer = adamw((backbone.parameters(), config.lr), weight_decay=config.weight_decay)
    average = WeightAverage(backbone, config.average) if config.average else None
    stage = ResumableStage(folder, "backbone", backbone, optimizer, seed, average)

    def run_epoch(epoch: int, rng: np.random.Generator) -> Metrics:
        inputs, targets = epoch_windows(backbone, train, rng, mask_share=config.mask_share)
        lengths = _tokens(inputs, targets)
        batches = batches_of_windows(
            lengths, rng, batch_size=config.batch_size, batch_tokens=config.batch_tokens
        )
        backbone.train()
        total = 0.0
        for step, rows in enumerate(batches):
            done, steps = epoch * len(batches) + step, config.epochs * len(batches)
            cosine_lr(optimizer, done, steps, warmup=len(batches))
            used = slice(None) if config.batch_tokens is None else slice(-int(lengths[rows].max()), None)
            x, y = tensors_on(device, inputs[rows][:, used], targets[rows][:, used])
            loss = batch_loss(backbone, x, y, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(backbone.parameters(), 5.0)
            optimizer.step()
            if average:
                average.update()
            total += loss.item()
            progress("backbone", done + 1, steps, f"loss {total / (step + 1):.3f}")
        metrics = {"loss": total / len(batches)}
        if (epoch + 1) % config.evaluate_every == 0 or epoch + 1 == config.epochs:
            with average.applied() if average else nullcontext():
                valid = next_item_metrics(backbone, train, valid_targets)
            metrics |= {f"valid_{k}": v for k, v in valid.items()}
        return metrics

    return stage.run(config.epochs, run_epoch, better=lambda m: m.get("valid_ndcg@10", float("-inf")))


def _tokens(inputs: IntArray, targets: IntArray) -> IntArray:
    """Positions of each window from its first token on, int64 (W,); a hidden item is a token, too."""
    used = (inputs != 0) | (targets != 0)
    return used.shape[1] - used.argmax(axis=1)


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
    device = device_of(backbone)
    rank = np.empty(len(histories), dtype=np.int64)
    for rows in alike_lengths(histories, batch_size):
        part = [histories[row] for row in rows]
        tokens, wanted = tensors_on(device, pad_to_longest(part, backbone.max_history), targets[rows])
        users = backbone(tokens)
        scores = mask_items(backbone.logits(users), part)
        rank[rows] = target_rank(scores, wanted).cpu().numpy()
    return {"hr@10": float(hit_rate(rank).mean()), "ndcg@10": float(ndcg(rank).mean())}
