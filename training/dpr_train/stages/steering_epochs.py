# What stage 3 does alike with a frozen backbone (steering.py) and with one that learns, too (joint.py).
"""Which parameters stage 3 trains, and the loop over its steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from dpr_train.config import SteeringStage
from dpr_train.model import DPR
from dpr_train.progress import Progress
from dpr_train.stages.resumable import Metrics, ResumableStage, cosine_lr

__all__ = ["run_steering_epochs", "steering_parameters"]


def steering_parameters(model: DPR, *others: str) -> nn.ModuleDict:
    """Freeze the model but for Fusion, the tags' side vectors, the biases, and the modules named in ``others``.

    Returns
    -------
    nn.ModuleDict
        What is left to train. The text reader is in it, frozen: it knows wished tokens from stage 2.
    """
    trained = nn.ModuleDict({name: getattr(model, name) for name in ("fusion", *others)})
    trained.register_parameter("tag_parts", model.tag_parts)
    trained.register_parameter("biases", model.biases)
    model.requires_grad_(False)
    trained.requires_grad_(True)
    model.fusion.reader.requires_grad_(False)
    return trained


def run_steering_epochs(
    stage: ResumableStage,
    config: SteeringStage,
    positions: int,
    losses: Callable[[np.random.Generator], dict[str, Tensor]],
    *,
    progress: Progress,
) -> list[Metrics]:
    """Minimise ``losses(generator)["all"]`` over the epochs that are left.

    Parameters
    ----------
    stage : ResumableStage
        What is trained, and where its progress is kept.
    config : SteeringStage
        Epochs and sizes.
    positions : int
        Training positions that there are: an epoch has as many examples, or ``config.examples``.
    losses : callable
        Of a batch drawn with the generator; each becomes a metric.
    progress : callable
        ``(stage, done, total, text)``.
    """
    steps = -(-min(positions, config.examples) // config.batch_size)

    def run_epoch(epoch: int, rng: np.random.Generator) -> Metrics:
        sums: dict[str, float] = {}
        for step in range(steps):
            done = epoch * steps + step
            cosine_lr(stage.optimizer, done, config.epochs * steps, warmup=max(1, steps // 4))
            parts = losses(rng)
            stage.optimizer.zero_grad(set_to_none=True)
            parts["all"].backward()
            torch.nn.utils.clip_grad_norm_(stage.module.parameters(), 5.0)
            stage.optimizer.step()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.item()
            progress("steering", done + 1, config.epochs * steps, f"target {sums['target'] / (step + 1):.3f}")
        return {name: value / steps for name, value in sums.items()}

    return stage.run(config.epochs, run_epoch)
