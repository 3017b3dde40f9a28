# Stage 3. Backbone and prompt encoder are frozen; what they say is computed once. A backbone that learns: joint.py.
"""Stage 3: train Fusion, the experts and the tags' side vectors to steer the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from dpr_train.config import SteeringStage
from dpr_train.model import DPR
from dpr_train.progress import Progress
from dpr_train.sequences import IntArray
from dpr_train.stages.joint import train_jointly
from dpr_train.stages.pairing import Pairing
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw
from dpr_train.stages.steering_epochs import run_steering_epochs, steering_parameters
from dpr_train.stages.steering_losses import steering_losses, total_loss
from dpr_train.stages.user_states import UserStates, collect_user_states

__all__ = ["train_steering"]


def train_steering(
    model: DPR,
    train: Sequence[IntArray],
    pool: PromptPool,
    config: SteeringStage,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
    states: UserStates | None = None,
) -> list[Metrics]:
    """Train in place; the last epoch's weights are kept.

    Parameters
    ----------
    model : DPR
        With a trained backbone and a trained prompt encoder.
    train : sequence of int64 arrays
        Item rows of each user, without the validation and the test target.
    pool : PromptPool
        Training prompts.
    config : SteeringStage
        Epochs and rates.
    seed : int
        Of the run.
    folder : Path
        Saved progress.
    progress : callable
        ``(stage, done, total, text)``, called while training.
    states : UserStates, optional
        Of ``model.backbone`` and ``train``, if they are at hand; a frozen backbone always says the same.
    """
    if config.backbone_lr:
        return train_jointly(model, train, pool, config, seed=seed, folder=folder, progress=progress)
    trained = steering_parameters(model)
    optimizer = adamw((trained.parameters(), config.lr))
    if states is None:
        states = collect_user_states(model.backbone, train, model.carries)
    users, targets = states.users, states.targets
    pairs = Pairing(targets, states.counts, model.carries, pool, positions_first=config.positions_first)

    def losses(rng: np.random.Generator) -> dict[str, Tensor]:
        prompts, rows = pairs.draw(config.batch_size, rng)
        parts = steering_losses(model, users[rows], targets[rows], pool, prompts)
        return parts | {"all": total_loss(parts, config)}

    model.eval()  # neither dropout nor anything else differs here; the frozen parts must not
    stage = ResumableStage(folder, "steering", trained, optimizer, seed)
    return run_steering_epochs(stage, config, len(targets), losses, progress=progress)
