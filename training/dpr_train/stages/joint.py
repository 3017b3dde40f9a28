# Stage 3 with a backbone that learns, too: its answers change with every step, so nothing of it can be kept.
"""Train Fusion, experts, side vectors and backbone together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from dpr_train.backbones import Backbone
from dpr_train.config import SteeringStage
from dpr_train.devices import device_of, tensors_on
from dpr_train.model import DPR
from dpr_train.progress import Progress
from dpr_train.sequences import IntArray, pad_to_longest
from dpr_train.stages.pairing import Pairing
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw
from dpr_train.stages.steering_epochs import run_steering_epochs, steering_parameters
from dpr_train.stages.steering_losses import steering_losses, total_loss
from dpr_train.tasks import recent_tag_counts

__all__ = ["train_jointly"]


def train_jointly(
    model: DPR,
    train: Sequence[IntArray],
    pool: PromptPool,
    config: SteeringStage,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
) -> list[Metrics]:
    """Train in place, the backbone at ``config.backbone_lr``; the last epoch's weights are kept.

    ``config.empty_share`` of the examples have no prompt. There all gates are 0 and the loss is that of the plain next
    item, so that the backbone goes on recommending to those who ask for nothing. With a fresh backbone this is joint
    training from scratch.

    Parameters
    ----------
    model, train, pool, config, seed, folder, progress
        As in :func:`dpr_train.stages.steering.train_steering`.
    """
    trained = steering_parameters(model, "backbone")
    steering = [p for name, p in trained.named_parameters() if not name.startswith("backbone.")]
    optimizer = adamw((steering, config.lr), (model.backbone.parameters(), config.backbone_lr))
    positions = _Positions.of(train, model.carries)
    pairs = Pairing(
        positions.targets, positions.counts, model.carries, pool, positions_first=config.positions_first
    )
    model.eval()
    model.backbone.train()  # its dropout is what keeps it from learning the histories by heart
    log = run_steering_epochs(
        ResumableStage(folder, "joint", trained, optimizer, seed),
        config,
        len(positions.targets),
        lambda rng: _losses(model, positions, pairs, config, rng),
        progress=progress,
    )
    model.eval()
    return log


@dataclass(frozen=True)
class _Positions:
    """Every training position with a history.

    ``sequences[users[m]][:ends[m]]`` is the history of position m, ``targets[m]`` what follows; ``users``, ``ends`` and
    ``targets`` are int64 (M,), ``counts`` int64 (M, G).
    """

    sequences: Sequence[IntArray]
    users: IntArray
    ends: IntArray
    targets: IntArray
    counts: IntArray

    @classmethod
    def of(cls, sequences: Sequence[IntArray], tag_matrix: npt.NDArray[np.bool_]) -> _Positions:
        places = [(user, end) for user, sequence in enumerate(sequences) for end in range(1, len(sequence))]
        users, ends = np.array(places, dtype=np.int64).T
        targets = np.concatenate([sequence[1:] for sequence in sequences])
        counts = np.stack([recent_tag_counts(sequences[user][:end], tag_matrix) for user, end in places])
        return cls(sequences, users, ends, targets, counts)

    def user_vectors(self, backbone: Backbone, rows: IntArray) -> Tensor:
        """What the backbone says now of the histories of some positions, float32 (B, dc)."""
        histories = [self.sequences[self.users[row]][: self.ends[row]] for row in rows]
        return backbone(*tensors_on(device_of(backbone), pad_to_longest(histories, backbone.max_history)))


def _losses(
    model: DPR, positions: _Positions, pairs: Pairing, config: SteeringStage, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Losses of a batch, steered examples first, then those without a prompt; ``all`` is what is minimised."""
    n_empty = round(config.batch_size * config.empty_share)
    prompts, steered = pairs.draw(config.batch_size - n_empty, rng)
    rows = np.concatenate([steered, rng.integers(len(positions.targets), size=n_empty)])
    user = positions.user_vectors(model.backbone, rows)
    targets = positions.targets[rows]
    n = len(steered)
    losses = steering_losses(model, user[:n], targets[:n], pairs.pool, prompts)
    losses["all"] = total_loss(losses, config) * (n / len(rows))
    if n_empty:
        (plain,) = tensors_on(user.device, targets[n:])
        losses["plain"] = F.cross_entropy(model.backbone.logits(user[n:]), plain)
        losses["all"] = losses["all"] + losses["plain"] * (n_empty / len(rows))
    return losses
