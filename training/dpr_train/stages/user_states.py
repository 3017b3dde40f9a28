# Computes, once, what stage 3 needs of the frozen backbone.
"""User vectors of the training positions, with each position's target and tag habits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_train.backbones import Backbone
from dpr_train.sequences import IntArray, pad_left
from dpr_train.tasks import recent_tag_counts

__all__ = ["UserStates", "collect_user_states"]


@dataclass(frozen=True)
class UserStates:
    """M training positions: ``users`` float32 (M, dc), ``targets`` int64 (M,), ``counts`` int64 (M, G)."""

    users: Tensor
    targets: IntArray
    counts: IntArray

    def __len__(self) -> int:
        return len(self.targets)


@torch.no_grad()
def collect_user_states(
    backbone: Backbone,
    sequences: Sequence[IntArray],
    tag_matrix: npt.NDArray[np.bool_],
    *,
    batch_size: int = 256,
) -> UserStates:
    """Run the backbone over every training position that has a history.

    Windows overlap by half and only their second half is kept, so that every state has read at least half of what
    the backbone can take (or all there is): a pass per position would cost ``max_history`` times more.

    Parameters
    ----------
    backbone : Backbone
        Put in evaluation mode.
    sequences : sequence of int64 arrays
        Item rows of each user.
    tag_matrix : bool (N, G)
        Which item has which tag.
    batch_size : int
        Windows a pass.
    """
    backbone.eval()
    length = backbone.max_history
    stride = max(1, length // 2)
    windows: list[
        tuple[int, int, int]
    ] = []  # user, first kept position, end; position j predicts sequence[j]
    for user, sequence in enumerate(sequences):
        end = min(length, len(sequence) - 1)
        first = 1
        while first <= len(sequence) - 1:
            windows.append((user, first, end))
            first, end = end + 1, min(end + stride, len(sequence) - 1)
    users, targets, counts = [], [], []
    for start in range(0, len(windows), batch_size):
        part = windows[start : start + batch_size]
        tokens = pad_left([sequences[user][:end] for user, _, end in part], length)
        states = backbone.states(torch.from_numpy(tokens))  # (B, L, dc)
        for row, (user, first, end) in enumerate(part):
            users.append(states[row, length - (end - first + 1) :])
            targets.append(sequences[user][first : end + 1])
            counts += [recent_tag_counts(sequences[user][:j], tag_matrix) for j in range(first, end + 1)]
    return UserStates(torch.cat(users), np.concatenate(targets), np.stack(counts))
