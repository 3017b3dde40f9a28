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
from dpr_train.devices import device_of, tensors_on
from dpr_train.sequences import IntArray, pad_to_longest
from dpr_train.tasks import recent_tag_counts

__all__ = ["UserStates", "collect_user_states"]

# Fifty seconds on one thread for d = 128 and two blocks.
_MOST_TOKENS = 4_000_000


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

    For a causal backbone windows overlap by half and only their second half is kept, so that every state has read at
    least half of what the backbone can take (or all there is): a pass per position would cost ``max_history`` times
    more. Any other backbone needs that pass, and then every n-th position of a user is taken, counted from the newest,
    with n such that the passes read no more than about four million tokens (ML-100K: n = 1).

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
    windows = _halves(sequences, length) if backbone.causal else _beginnings(sequences, length)
    users, targets, counts = [], [], []
    for start in range(0, len(windows), batch_size):
        part = windows[start : start + batch_size]
        histories = [sequences[user][:end] for user, _, end in part]
        (tokens,) = tensors_on(device_of(backbone), pad_to_longest(histories, length))
        states = backbone.states(tokens) if backbone.causal else backbone(tokens)[:, None]  # (B, L or 1, dc)
        for row, (user, first, end) in enumerate(part):
            users.append(states[row, states.shape[1] - (end - first + 1) :])
            targets.append(sequences[user][first : end + 1])
            counts += [recent_tag_counts(sequences[user][:j], tag_matrix) for j in range(first, end + 1)]
    return UserStates(torch.cat(users), np.concatenate(targets), np.stack(counts))


# A user, the first position that is kept, the last; position j predicts sequence[j] and has read those before it.
_Window = tuple[int, int, int]


def _halves(sequences: Sequence[IntArray], length: int) -> list[_Window]:
    """Windows that cover every position with a history once."""
    stride = max(1, length // 2)
    windows = []
    for user, sequence in enumerate(sequences):
        end = min(length, len(sequence) - 1)
        first = 1
        while first <= len(sequence) - 1:
            windows.append((user, first, end))
            first, end = end + 1, min(end + stride, len(sequence) - 1)
    return windows


def _beginnings(sequences: Sequence[IntArray], length: int) -> list[_Window]:
    """A window for each position that is taken, those of about the same length together."""
    tokens = sum(int(np.minimum(np.arange(1, len(sequence)), length).sum()) for sequence in sequences)
    step = max(1, -(-tokens // _MOST_TOKENS))
    places = [
        (user, place, place)
        for user, sequence in enumerate(sequences)
        for place in range(len(sequence) - 1, 0, -step)
    ]
    return sorted(places, key=lambda window: window[2])
