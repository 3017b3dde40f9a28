# What a trained backbone says of many histories, for everything that ranks. Training reads its own batches.
"""User vectors of many histories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dpr_train.backbones import Backbone
from dpr_train.devices import device_of, tensors_on
from dpr_train.sequences import IntArray, alike_lengths, pad_left, pad_to_longest

__all__ = ["user_vectors"]


@torch.no_grad()
def user_vectors(
    backbone: Backbone, histories: Sequence[IntArray], *, by_length: bool = True, batch_size: int = 256
) -> Tensor:
    """User vectors, float32 (U, dc), in the order of the histories.

    Parameters
    ----------
    backbone : Backbone
        Put in evaluation mode.
    histories : sequence of int64 arrays
        Item rows, oldest first.
    by_length : bool
        Read histories of about the same length together, so that little padding is computed. Otherwise all are padded
        to ``max_history``; with wide backbones the two differ in the last bits.
    batch_size : int
        Histories a pass.
    """
    backbone.eval()
    device = device_of(backbone)
    if not by_length:
        parts = [histories[start : start + batch_size] for start in range(0, len(histories), batch_size)]
        return torch.cat([backbone(*tensors_on(device, pad_left(p, backbone.max_history))) for p in parts])
    users = torch.empty(len(histories), backbone.dim, device=device)
    for rows in alike_lengths(histories, batch_size):
        part = [histories[row] for row in rows]
        users[rows] = backbone(*tensors_on(device, pad_to_longest(part, backbone.max_history)))
    return users
